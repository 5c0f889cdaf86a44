"""The exercises of chapter 0, 开始. The first paragraph of each docstring is shown to the learner: it is Chinese."""

from math import isclose

LABELS = ("积极", "消极")


def exercise_00_1(answer) -> str | None:
    """一个字典：references 和 predictions 是两列标签，accuracy 是模型的准确率，majority 是永远答最多的那个标签的准确率。"""
    truth, said = answer["references"], answer["predictions"]
    if not truth or len(truth) != len(said):
        return "references 和 predictions 要一样多，至少一条。请不要改那一行。"
    right, n = sum(a == b for a, b in zip(said, truth, strict=True)), len(truth)
    accuracy, most = answer["accuracy"], max(truth.count(label) for label in set(truth))
    if not isclose(accuracy, right / n, abs_tol=1e-6):
        if isclose(accuracy, right, abs_tol=1e-6):
            return f"{right} 是答对的条数。准确率还要除以总条数 {n}。"
        if isclose(accuracy, (n - right) / n, abs_tol=1e-6):
            return "你数的是答错的。准确率数的是 predictions 和 references 相等的。"
        return f"准确率应当是 {right}/{n} = {right / n:.2f}，你的是 {accuracy:.2f}。"
    majority = answer["majority"]
    if majority is None:
        return "accuracy 对了，还差 majority。"
    if isclose(majority, most / n, abs_tol=1e-6):
        return None
    if isclose(majority, max(said.count(label) for label in set(said)) / n, abs_tol=1e-6):
        return "accuracy 对了。majority 要看 references（标准答案）里哪个标签最多，你数的是模型的回答。"
    if isclose(majority, most, abs_tol=1e-6):
        return f"accuracy 对了。{most} 是条数，majority 还要除以总条数 {n}。"
    return f"accuracy 对了。最多的标签有 {most} 条，majority 应当是 {most}/{n}，你的是 {majority:.2f}。"


def exercise_00_2(answer) -> str | None:
    """一个列表，每一项是一句评论：sentence 是原话，human 是人的看法（积极或消极），model 是模型的回答。"""
    if not answer:
        return "还没有写评论。"
    for line in answer:
        sentence, human, model = line["sentence"].strip(), line["human"], line["model"]
        if human not in LABELS or model not in LABELS:
            return f"「{sentence}」的标签只能是“积极”或“消极”。"
        if len(sentence) < 5:
            return f"「{sentence}」太短了，人也看不出是褒是贬。写一句完整的话。"
    if all(line["human"] == line["model"] for line in answer):
        return (
            f"这 {len(answer)} 句它都答对了，还没有骗倒。试试反话（表面夸、其实骂）、先扬后抑，或者“坏词写的好评”，"
            "例如抱怨好吃到减肥失败。"
        )
    return None
