"""What is wrong with a training, in plain Chinese, from what the run folder says."""

from dataclasses import dataclass
from math import isfinite

from course_utils.training.exam import SAMPLE_TOKENS

ENOUGH = 30  # steps before the losses say anything
FIRST = 10  # steps that count as the beginning


@dataclass(frozen=True)
class Notice:
    """kind: also the heading in docs/training_troubles.md. what: what is seen, and what to do."""

    kind: str
    what: str


def diagnose(metrics: list[dict], samples: list[dict]) -> list[Notice]:
    """Everything that the lines of metrics.jsonl and samples.jsonl give reason to worry about."""
    losses = [line["loss"] for line in metrics if "loss" in line]
    validation = [line["eval_loss"] for line in metrics if "eval_loss" in line]
    checks = (_diverging(losses), _not_falling(losses), _overfitting(losses, validation), _never_ending(samples))
    return [notice for notice in checks if notice]


def _mean(values: list[float]) -> float:
    return sum(values) / len(values)


def _diverging(losses: list[float]) -> Notice | None:
    if any(not isfinite(loss) for loss in losses):
        return Notice(
            "损失发散",
            "损失变成了不是数（NaN）或无穷大。请停下，把「学习率」调到三分之一，精度改用 fp32 或 bf16 再试。",
        )
    if len(losses) >= ENOUGH and _mean(losses[-5:]) > 1.5 * _mean(losses[:FIRST]):
        return Notice("损失发散", "损失比开始时还高了一半。请停下，把「学习率」调到三分之一再试。")
    return None


def _not_falling(losses: list[float]) -> Notice | None:
    if len(losses) < ENOUGH or not all(map(isfinite, losses)):
        return None
    first, last = _mean(losses[:FIRST]), _mean(losses[-FIRST:])
    if 0.95 * first < last <= 1.5 * first:
        what = f"训练了 {len(losses)} 步，损失从 {first:.2f} 只到 {last:.2f}。"
        return Notice(
            "损失不下降", what + "学习率可能太小，或者答案列映射错了。请先预览几条数据，再把「学习率」调大三倍试试。"
        )
    return None


def _overfitting(losses: list[float], validation: list[float]) -> Notice | None:
    if len(validation) < 3 or not all(map(isfinite, validation)):
        return None
    best = min(validation)
    rising = validation[-1] > 1.1 * best and validation[-2] > best and validation.index(best) < len(validation) - 2
    if rising and losses and _mean(losses[-FIRST:]) < validation[-1]:
        return Notice(
            "过拟合",
            f"验证损失最低是 {best:.3f}，之后连续升到 {validation[-1]:.3f}，而训练损失还在降：模型在背训练集。"
            "会留下最好的那一次；下次可以少训练几遍、调低学习率，或者加数据。",
        )
    return None


def _never_ending(samples: list[dict]) -> Notice | None:
    if not samples or samples[-1]["step"] == 0:
        return None
    last = [line for line in samples if line["step"] == samples[-1]["step"]]
    short = [line for line in last if len(line["output"]) < SAMPLE_TOKENS // 2]  # a longer answer may need more tokens
    if short and not any(line["ended"] for line in short):
        return Notice(
            "不会停",
            "几条样例的回答都没有自己停下来。请再训练久一些；如果一直如此，检查答案里是不是混进了问题或多轮对话。",
        )
    return None
