"""What accuracy does not say of a label task: whether the probabilities can be believed, and which errors are worst."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from course_utils.errors import DataError

BINS = 10


@dataclass(frozen=True)
class Calibration:
    """What `calibration` returns. ece: expected calibration error in [0, 1], 0 is best. table: a row per bin that has
    answers: 把握 (from, to), 条数, 平均把握, 准确率.
    """

    ece: float
    table: pd.DataFrame


def calibration(rows: Sequence[dict], references: Sequence[str], bins: int = BINS) -> Calibration:
    """Does a model that is 80 % sure have 80 % right?

    rows: with `prediction` and `scores` (label -> probability), as `predict` writes them. The confidence is the
    probability of the predicted label; the bins are of equal width. ECE (Naeini 2015, Guo 2017): the mean over the
    answers of how far the accuracy of their bin is from its mean confidence. Raises `DataError` without `scores`.
    """
    sure, right = _confidence(rows, references)
    place = np.minimum((sure * bins).astype(int), bins - 1)  # a confidence of 1 belongs to the last bin
    lines, ece = [], 0.0
    for bin in range(bins):
        chosen = place == bin
        if chosen.any():
            confidence, accuracy = sure[chosen].mean(), right[chosen].mean()
            ece += chosen.mean() * abs(confidence - accuracy)
            name = f"{bin / bins:.0%} 至 {(bin + 1) / bins:.0%}"
            lines.append({"把握": name, "条数": chosen.sum(), "平均把握": confidence, "准确率": accuracy})
    return Calibration(float(ece), pd.DataFrame(lines))


def worst_errors(rows: Sequence[dict], references: Sequence[str], n: int = 20) -> pd.DataFrame:
    """The wrong answers of which the model was surest, worst first: 行 (1 is the first), 原文, 标准答案, 预测, 把握.

    Often it is the reference that is wrong there. Raises `DataError` without `scores`.
    """
    sure, right = _confidence(rows, references)
    wrong = sorted(np.flatnonzero(~right), key=lambda i: -sure[i])[:n]
    lines = [
        (i + 1, text_of(rows[i]), references[i].strip(), str(rows[i]["prediction"] or ""), float(sure[i]))
        for i in wrong
    ]
    return pd.DataFrame(lines, columns=["行", "原文", "标准答案", "预测", "把握"])


def text_of(row: dict) -> str:
    """The text of a row that a reader needs to see: what was asked."""
    skip = {"prediction", "scores", "output", "instruction", "system", "history", "error"}
    texts = [row.get("input")] if row.get("input") else []
    texts = texts or [row[name] for name in ("instruction", "question", "text") if row.get(name)][:1]
    texts = texts or [value for name, value in row.items() if name not in skip and isinstance(value, str)][:1]
    return str(texts[0]) if texts else ""


def _confidence(rows: Sequence[dict], references: Sequence[str]) -> tuple[np.ndarray, np.ndarray]:
    """The probability of each prediction, and whether it is right."""
    if len(rows) != len(references) or not len(rows):
        raise DataError(f"答案有 {len(rows)} 条，标准答案有 {len(references)} 条；请让两者一一对应，至少一条。")
    for number, row in enumerate(rows, 1):
        if row.get("prediction") not in (row.get("scores") or {}):
            raise DataError(f"第 {number} 行没有概率（scores），算不出校准。请用给出标签的 course batch 重新预测。")
    sure = np.array([row["scores"][row["prediction"]] for row in rows], float)
    right = np.array([row["prediction"].strip() == str(r).strip() for row, r in zip(rows, references, strict=True)])
    return sure, right
