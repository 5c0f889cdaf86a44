"""The exercises of chapter 4, 商品分类: each takes the learner's answer as plain JSON data and says what is wrong with it."""

from math import isclose

PRESET = "product_classification"


def exercise_04_1(answer) -> str | None:
    """{"随机": 比例, "较难": 比例}，都是 0 到 1 的数：测试集的商品里，中心词在整个训练集出现过的占多少。"""
    if not isinstance(answer, dict) or answer.keys() != {"随机", "较难"}:
        return "答案应当是一个字典，有「随机」和「较难」两项。请不要改 answer 那一行。"
    if not all(_number(value) for value in answer.values()):
        return "两项都应当是数。share 有没有返回 answer？"
    if any(not 0 <= value <= 1 for value in answer.values()):
        return "比例在 0 到 1 之间。是不是忘了除以测试集的行数，或者写成了百分数？"
    for name, harder in (("随机", False), ("较难", True)):
        right, of_nouns, of_training, of_texts = _shares(harder)
        value = answer[name]
        if isclose(value, right, abs_tol=1e-6):
            continue
        if isclose(value, of_nouns, abs_tol=1e-6):
            return f"「{name}」一项数的是不同的中心词，题目问的是商品：同一个中心词有几件商品，就数几次。"
        if isclose(value, of_training, abs_tol=1e-6):
            return f"「{name}」一项方向反了：你数的是训练集的商品有多少在测试集里出现过。"
        if isclose(value, of_texts, abs_tol=1e-6):
            return f"「{name}」一项比的是整条标题，它们当然都不同。请先用 noun_of 换成中心词再比。"
        return (
            f"「{name}」一项不对。先收集训练集所有商品的中心词（一个集合），再数测试集里有几件商品的中心词在这个集合里，"
            "最后除以测试集的行数。验证集不算训练过。"
        )
    return None


def exercise_04_2(answer) -> str | None:
    """{"sure": [[把握, 对不对], ……], "goal": 要求的准确率, "threshold": 门槛}，门槛是一个数。

    The threshold is the lowest confidence from which on at least `goal` of the answers are right; where there is none
    it is above the highest.
    """
    if not isinstance(answer, dict) or not {"sure", "goal", "threshold"} <= answer.keys():
        return "答案应当有 sure、goal 和 threshold 三项。请不要改 answer 那一行。"
    sure, goal, threshold = answer["sure"], answer["goal"], answer["threshold"]
    if not _number(threshold) or not _number(goal) or not 0 < goal <= 1:
        return "threshold 和 goal 都应当是 0 到 1 的数。"
    if not isinstance(sure, list) or not sure or not all(_pair(line) for line in sure):
        return "sure 应当是 [把握, 对不对] 的列表，每条商品一项。请不要改那一行。"
    lowest = _lowest(sure, goal)
    if lowest is None:
        nothing = threshold > max(confidence for confidence, _ in sure)
        return (
            None if nothing else f"无论门槛多高，都到不了 {goal:.0%}；老实的答案是一个比所有把握都高的门槛，例如 1.01。"
        )
    passed = [right for confidence, right in sure if confidence >= threshold]
    if not passed:
        return "门槛太高，一件商品也放不过去。把门槛降到放得过东西、又刚好够准的地方。"
    if sum(passed) < goal * len(passed):
        share = sum(passed) / len(passed)
        return f"把握不低于 {threshold} 的有 {len(passed)} 件，对的只占 {share:.1%}，不到 {goal:.0%}。门槛还要高一些。"
    more = sum(confidence >= lowest for confidence, _ in sure)
    if more > len(passed):
        return (
            f"够准了，但还可以更低：放行 {len(passed)} 件，而最多能放行 {more} 件。把每个出现过的把握都当门槛试一遍，"
            "从低到高，第一个够准的就是。注意准确率不一定随门槛一路上升，不能从高往低碰到不够就停。"
        )
    return None


def _shares(harder: bool) -> tuple[float, float, float, float]:
    """The right share, and those of three likely mistakes: of nouns, of the training rows, of whole texts."""
    from course_utils.data import presets

    noun = {row["input"]: row["noun"] for row in presets.rows(PRESET)}
    parts = presets.parts(PRESET, harder=harder)
    train, test = ([noun[record.input] for record in parts[part]] for part in ("train", "test"))
    texts = {record.input for record in parts["train"]}
    return (
        _share(test, set(train)),
        _share(set(test), set(train)),
        _share(train, set(test)),
        _share([record.input for record in parts["test"]], texts),
    )


def _share(values, known: set) -> float:
    return sum(value in known for value in values) / len(values)


def _lowest(sure: list, goal: float) -> float | None:
    for candidate in sorted({confidence for confidence, _ in sure}):
        passed = [right for confidence, right in sure if confidence >= candidate]
        if sum(passed) >= goal * len(passed):
            return candidate
    return None


def _number(value) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and value == value


def _pair(line) -> bool:
    return isinstance(line, list | tuple) and len(line) == 2 and _number(line[0]) and isinstance(line[1], bool | int)
