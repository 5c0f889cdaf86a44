"""The exercises of chapter 1, 概念. The first paragraph of each docstring is shown to the learner: it is Chinese."""

from collections.abc import Sequence
from math import exp, isclose, log


def exercise_01_1(answer) -> str | None:
    """一个字典：logits 是几个分数，probabilities 是 温度 → 你算出来的概率（和分数一样多，加起来是 1）。"""
    logits, given = answer["logits"], answer["probabilities"]
    if not given or len(logits) < 2:
        return "logits 至少两个，probabilities 至少要有一种温度。请不要改那几行。"
    for text, shares in given.items():
        temperature, where = float(text), f"温度是 {text} 时，"
        if shares is None or len(shares) != len(logits):
            return f"{where}要有 {len(logits)} 个概率，和分数一样多。"
        right = _softmax([value / temperature for value in logits])
        if _close(shares, right):
            continue
        if temperature != 1 and _close(shares, _softmax(logits)):
            return f"{where}你的结果和温度是 1 的一样：温度还没有用上。先把每个分数除以温度，再做 softmax。"
        if _close(shares, _softmax([value * temperature for value in logits])):
            return f"{where}你乘了温度，要除以它。温度越高，分数之间的差距应当越小。"
        if _close(shares, [share / temperature for share in _softmax(logits)]):
            return f"{where}温度要除在分数上，不是除在概率上：除完再取指数。"
        if not isclose(sum(shares), 1, abs_tol=1e-5):
            return f"{where}加起来是 {sum(shares):.4f}，应当是 1。取指数以后，每一个都要除以它们的总和。"
        return f"{where}第一个应当是 {right[0]:.4f}，你的是 {shares[0]:.4f}。顺序是：除以温度，取指数 exp，除以总和。"
    return None


def exercise_01_2(answer) -> str | None:
    """一个字典：probabilities 是一句话里每个 token 的概率，loss 是损失，perplexity 是困惑度。"""
    shares, loss, perplexity = answer["probabilities"], answer["loss"], answer["perplexity"]
    right = -sum(map(log, shares)) / len(shares)
    if not isclose(loss, right, rel_tol=1e-3):
        if isclose(loss, -right, rel_tol=1e-3):
            return "loss 少了一个负号：概率不超过 1，它的对数不超过 0，损失是对数的相反数的平均。"
        if isclose(loss, right * len(shares), rel_tol=1e-3):
            return f"你把 {len(shares)} 个 token 的损失加起来了，还要除以个数：损失是平均每个 token 多少。"
        if isclose(loss, -log(sum(shares) / len(shares)), rel_tol=1e-3):
            return "你先平均了概率再取对数。次序反了：每个概率先取对数，再平均。"
        return f"loss 应当是 {right:.3f}，你的是 {loss:.3f}。它是 −log(概率) 的平均，log 是自然对数。"
    if perplexity is None:
        return "loss 对了，还差 perplexity。"
    if isclose(perplexity, exp(right), rel_tol=1e-3):
        return None
    if isclose(perplexity, 2**right, rel_tol=1e-3):
        return "loss 对了。我们的损失用的是自然对数，所以困惑度是 e 的 loss 次方，不是 2 的。"
    return f"loss 对了。困惑度是 exp(loss)，应当是 {exp(right):.2f}，你的是 {perplexity:.2f}。"


def exercise_01_3(answer) -> str | None:
    """一个字典：shape 是矩阵的 [输入宽, 输出宽]，rank 是秩，parameters 是 LoRA 的参数个数，break_even 是不划算的秩。"""
    (wide, high), rank, given = answer["shape"], answer["rank"], answer["parameters"]
    right = rank * (wide + high)
    if given != right:
        hints = {
            wide * high: "那是原来的矩阵 W 的参数。LoRA 只数旁边的 A 和 B。",
            rank * wide: "你只数了 A。B 把秩 r 展开到输出宽，也要数。",
            rank * high: "你只数了 B。A 把输入宽压到秩 r，也要数。",
            wide + high: f"那是秩为 1 的个数，秩是 {rank} 时还要乘以 {rank}。",
        }
        return hints.get(given, f"A 是 {rank}×{wide}，B 是 {high}×{rank}，一共 {right} 个，你的是 {given}。")
    least, even = -(-wide * high // (wide + high)), answer["break_even"]
    if even is None:
        return "parameters 对了，还差 break_even。"
    if even == least:
        return None
    if even == min(wide, high):
        return "parameters 对了。到了这个秩，A 和 B 早已比 W 大。解 r ×（输入宽 + 输出宽）≥ 输入宽 × 输出宽，取最小的整数。"
    if even in (least - 1, least + 1):
        return f"parameters 对了。break_even 差一点点：秩 {even} 时 A 和 B 共 {even * (wide + high)} 个，W 有 {wide * high} 个。要的是最小的、A 和 B 不比 W 少的秩。"
    return f"parameters 对了。break_even 应当是 {least}：秩 {least} 时 A 和 B 有 {least * (wide + high)} 个参数，W 有 {wide * high} 个。"


def exercise_01_4(answer) -> str | None:
    """一个字典：pieces 是一个个 token 的文字，marks 是和它一样长的真假，要学的是 True。"""
    pieces, marks = answer["pieces"], answer["marks"]
    right = _supervised(pieces)
    if not any(right):
        return "pieces 里没有模型的回答。请不要改那一行。"
    if len(marks) != len(pieces):
        return f"pieces 有 {len(pieces)} 个，marks 有 {len(marks)} 个，要一样多。"
    marks = [bool(mark) for mark in marks]
    if marks == right:
        return None
    if marks == [not mark for mark in right]:
        return "正好反了：True 是要学的。"
    wrong = [i for i, (mine, theirs) in enumerate(zip(marks, right, strict=True)) if mine != theirs]
    first = wrong[0]
    if all(pieces[i] == "<end_of_turn>" and right[i] for i in wrong):
        return "回答都标对了，漏了回答后面的 <end_of_turn>。不学它，模型答完了不知道停。"
    if all(pieces[i] == "<end_of_turn>" for i in wrong):
        return "回答都标对了。用户说完的 <end_of_turn> 不用学：那不是模型写的。"
    if any(right[i] and not marks[i] for i in wrong) and any(marks[i] and right[i] for i in range(len(marks))):
        return f"漏了一些：第 {first + 1} 个 token {pieces[first]!r} 是模型的回答。前几轮的回答也要学，不只是最后一轮。"
    if marks[first] and pieces[first] in ("model", "\n", "<start_of_turn>"):
        return f"第 {first + 1} 个 token {pieces[first]!r} 是对话模板的一部分，使用时由程序写好，不用模型学。从它后面开始。"
    return f"第 {first + 1} 个 token {pieces[first]!r} 应当是 {right[first]}，你标的是 {marks[first]}。"


def exercise_01_5(answer) -> str | None:
    """一个字典：answer 和 reference 是两句话，common 是最长公共子序列的字数，rouge_l 是 ROUGE-L（0 到 1）。"""
    one, two = answer["answer"], answer["reference"]
    shared = _common(one, two)
    precision, recall = shared / len(one), shared / len(two)
    if answer["common"] != shared:
        if answer["common"] == len(set(one) & set(two)):
            return "你数的是两句都有的字。子序列还要讲先后：在两句话里都从左往右数得到。"
        return f"common 应当是 {shared}，你的是 {answer['common']}。子序列可以跳过字，但不能颠倒先后。"
    given = answer["rouge_l"]
    if given is None:
        return "common 对了，还差 rouge_l。"
    if isclose(given, 2 * shared / (len(one) + len(two)), abs_tol=1e-3):
        return None
    if isclose(given, precision, abs_tol=1e-3) or isclose(given, recall, abs_tol=1e-3):
        return "common 对了。你给的是精确率或召回率，ROUGE-L 是这两个的 F1：2 × common ÷（两句的字数之和）。"
    return f"common 对了。rouge_l 应当是 2 × {shared} ÷ ({len(one)} + {len(two)})，你的是 {given:.3f}。"


def _softmax(logits: Sequence[float]) -> list[float]:
    highest = max(logits)
    parts = [exp(value - highest) for value in logits]
    return [part / sum(parts) for part in parts]


def _close(mine: Sequence[float], theirs: Sequence[float]) -> bool:
    return all(isclose(a, b, abs_tol=1e-4) for a, b in zip(mine, theirs, strict=True))


def _supervised(pieces: Sequence[str]) -> list[bool]:
    """Gemma's template: the model speaks from after <start_of_turn>, model, line break, to <end_of_turn> included."""
    marks, speaking = [], False
    for i, piece in enumerate(pieces):
        speaking = speaking or list(pieces[max(0, i - 3) : i]) == ["<start_of_turn>", "model", "\n"]
        marks.append(speaking)
        speaking = speaking and piece != "<end_of_turn>"
    return marks


def _common(one: str, two: str) -> int:
    """The length of the longest common subsequence."""
    row = [0] * (len(two) + 1)
    for letter in one:
        above = row
        row = [0]
        for i, other in enumerate(two):
            row.append(above[i] + 1 if letter == other else max(above[i + 1], row[i]))
    return row[-1]
