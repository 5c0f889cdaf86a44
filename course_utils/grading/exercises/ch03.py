"""The exercises of chapter 3, 情感分类. The first paragraph of each docstring is shown to the learner: it is Chinese."""

from math import exp, isclose


def exercise_03_1(answer) -> str | None:
    """一个字典：layers 是每个线性层的 [输入宽, 输出宽]，parameters 是 秩 → LoRA 一共有多少个参数。"""
    layers = answer["layers"]
    for text, value in answer["parameters"].items():
        rank, where = int(text), f"秩是 {text} 时，"
        right = sum(rank * (wide + high) for wide, high in layers)
        if value == right:
            continue
        if value == sum(wide * high for wide, high in layers):
            return f"{where}你数的是原来的权重 W。LoRA 不动 W，只数旁边的 A 和 B。"
        if value in (sum(rank * wide for wide, _ in layers), sum(rank * high for _, high in layers)):
            return f"{where}只数了 A 和 B 中的一个。A 把输入宽压到秩，B 再从秩展开到输出宽，两个都要数。"
        if value in [rank * (wide + high) for wide, high in layers]:
            return f"{where}只数了一层。每个线性层旁边都有一对 A、B，要把所有层加起来。"
        if value == sum(rank * wide * rank * high for wide, high in layers):
            return f"{where}A 和 B 的参数要相加，不是相乘。"
        return f"{where}应当是 {right}，你的是 {value}。一层是 秩 ×（输入宽 + 输出宽），再把所有层加起来。"
    return None


def exercise_03_2(answer) -> str | None:
    """一个字典：checks 是每次验证的 [步数, 验证损失]，patience 是耐心，best 是该留下的步数，stop 是该停下的步数。"""
    checks, patience = answer["checks"], answer["patience"]
    best, stop = _best_and_stop(checks, patience)
    if answer["best"] != best:
        lowest = min(loss for _, loss in checks)
        if answer["best"] == lowest:
            return "best 要的是步数，你给的是损失。"
        if answer["best"] == checks[-1][0]:
            return "你留下的是最后一次。最后一次不一定最好：请找验证损失最低的那一次。"
        return f"应当留下验证损失最低的那一次，它在第 {best} 步，你给的是 {answer['best']}。"
    if answer["stop"] != stop:
        said = "一直没有停" if stop is None else f"第 {stop} 步"
        return (
            f"best 对了。stop 应当是{said}，你的是 {answer['stop']}。从头走一遍：比目前最低的还低，计数清零；不然计数加一，"
            f"加到 {patience} 就停在这一步。一直没有加到，就是 None。"
        )
    return None


def exercise_03_3(answer) -> str | None:
    """一个字典：parts 是 标签 → 各个 token 的对数概率，probabilities 是 标签 → 你算出来的概率。"""
    parts, given = answer["parts"], answer["probabilities"]
    if given.keys() != parts.keys():
        return f"每个标签都要有一个概率：{'、'.join(parts)}。"
    right = _shares({label: sum(logs) for label, logs in parts.items()})
    if all(isclose(given[label], right[label], abs_tol=1e-5) for label in parts):
        return None
    wrong = {
        "你把各个 token 的对数取了平均。要相加：一串 token 的概率是各个概率的乘积，取对数就是相加。": {
            label: sum(logs) / len(logs) for label, logs in parts.items()
        },
        "你漏了最后一项，也就是结束标记。没有它，“答了这个标签就停”的概率就没有算进去。": {
            label: sum(logs[:-1]) for label, logs in parts.items()
        },
        "你只用了第一个 token。后面的 token 和结束标记也要算。": {label: logs[0] for label, logs in parts.items()},
    }
    for message, logs in wrong.items():
        shares = _shares(logs)
        if all(isclose(given[label], shares[label], abs_tol=1e-5) for label in parts):
            return message
    if not isclose(sum(given.values()), 1, abs_tol=1e-5):
        return "几个概率加起来不是 1。相加得到对数以后，先取指数 exp，再除以它们的总和。"
    return f"应当是 { ({label: round(share, 4) for label, share in right.items()}) }。每个标签的对数先相加，再取 exp，再除以总和。"


def exercise_03_4(answer) -> str | None:
    """一个字典：predictions 和 references 是两列标签，accuracy 是准确率，f1 是 标签 → F1，macro_f1 是宏 F1。"""
    said, truth = answer["predictions"], answer["references"]
    if not said or len(said) != len(truth):
        return "预测和标注要一样多，至少一条。请不要改那两行。"
    right = sum(a == b for a, b in zip(said, truth, strict=True)) / len(truth)
    if not isclose(answer["accuracy"], right, abs_tol=1e-6):
        return f"准确率应当是 {right:.4f}，你的是 {answer['accuracy']:.4f}：答对的条数除以总条数。"
    scores = {label: _f1(said, truth, label) for label in sorted(set(truth))}
    if answer["f1"].keys() != scores.keys():
        return f"f1 里每个标签一项：{'、'.join(scores)}。"
    for label, (precision, recall, f1) in scores.items():
        value = answer["f1"][label]
        if isclose(value, f1, abs_tol=1e-6):
            continue
        if isclose(value, (precision + recall) / 2, abs_tol=1e-6):
            return f"「{label}」的 F1 用了算术平均。F1 是精确率和召回率的调和平均：2PR / (P + R)。"
        if isclose(value, precision, abs_tol=1e-6) or isclose(value, recall, abs_tol=1e-6):
            return f"「{label}」你给的是精确率或召回率，还要再合成 F1：2PR / (P + R)。"
        return f"「{label}」的 F1 应当是 {f1:.4f}，你的是 {value:.4f}。精确率的分母是模型答它的条数，召回率的分母是标注是它的条数。"
    mean = sum(f1 for *_, f1 in scores.values()) / len(scores)
    if not isclose(answer["macro_f1"], mean, abs_tol=1e-6):
        return f"宏 F1 是各类 F1 的简单平均，应当是 {mean:.4f}，你的是 {answer['macro_f1']:.4f}。不要按条数加权。"
    return None


def _best_and_stop(checks: list, patience: int) -> tuple[int, int | None]:
    """The step with the lowest loss, and the step at which `patience` checks in a row have brought nothing better."""
    lowest, waited, stop = float("inf"), 0, None
    for step, loss in checks:
        waited = 0 if loss < lowest else waited + 1
        lowest = min(lowest, loss)
        if waited == patience:
            stop = step
            break
    return min(checks, key=lambda check: check[1])[0], stop


def _shares(logs: dict[str, float]) -> dict[str, float]:
    """Softmax."""
    highest = max(logs.values())
    parts = {label: exp(value - highest) for label, value in logs.items()}
    return {label: part / sum(parts.values()) for label, part in parts.items()}


def _f1(said: list, truth: list, label: str) -> tuple[float, float, float]:
    """Precision, recall and F1; 0 where there is nothing to divide by."""
    both = sum(a == b == label for a, b in zip(said, truth, strict=True))
    precision, recall = both / max(1, said.count(label)), both / max(1, truth.count(label))
    return precision, recall, 2 * precision * recall / (precision + recall) if both else 0.0
