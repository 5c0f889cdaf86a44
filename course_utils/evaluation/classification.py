"""Scores for a classification task: how many answers are right, how sure we can be, and where the wrong ones went."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from scipy.stats import binomtest

from course_utils.data.formats import read_rows
from course_utils.errors import DataError
from course_utils.evaluation import metrics

RESAMPLES = 2000
OTHER = "其他"


@dataclass(frozen=True)
class Classification:
    """What `score_labels` returns. Scores lie in [0, 1]; k is the number of labels."""

    accuracy: float
    macro_f1: float
    interval: tuple[float, float]  # 95 % interval of the accuracy: (low, high)
    per_class: pd.DataFrame  # k rows: label, precision, recall, f1, support
    confusion: pd.DataFrame  # k rows (reference) by k columns (prediction), and one column more if some were unknown
    n: int
    n_empty: int  # answers that were None, missing or blank
    n_unknown: int  # answers that are no label of this task


@dataclass(frozen=True)
class Difference:
    """What `paired_difference` returns: model A against model B on the same rows."""

    difference: float  # accuracy of A minus accuracy of B
    interval: tuple[float, float]  # its 95 % interval: (low, high)
    only_a: int  # rows that A alone has right
    only_b: int  # rows that B alone has right
    p_value: float  # exact McNemar test, two-sided


def score_labels(
    predictions: list[str | None], references: list[str], labels: list[str] | None = None, seed: int = 42
) -> Classification:
    """Score n answers against n references.

    predictions: the model's answers. Blanks around an answer are stripped; nothing else is normalised.
    references: the right labels.
    labels: the task's labels, in the order of the tables; by default those of the references, sorted.

    An empty or unknown answer counts as wrong and is counted. It is a missed row of its reference's label, so it
    lowers that label's recall; it makes no class of its own, since a class without references would have F1 = 0
    and the mean would then depend on how many different ways the model found to be wrong.

    Macro-F1 is the plain mean over the labels that occur among references or answers; for a label that never
    occurs F1 is 0/0, and it is left out. A precision of 0/0 (label never predicted) is shown as 0.
    This is `sklearn.metrics.f1_score(average="macro")` when every answer is a label.

    The interval is the bootstrap's 95 % percentile interval over the rows (Efron & Tibshirani 1993, ch. 13). It
    knows only this test set: with every answer right it is (1, 1), however small the set.

    Raises `DataError`: lengths differ, no rows, an answer that is no text, a reference that is empty or no label.
    """
    answers, truth = _aligned(predictions, references)
    labels = list(dict.fromkeys(label.strip() for label in labels)) if labels is not None else sorted(set(truth))
    for row, label in enumerate(truth, start=1):
        if label not in labels:
            raise DataError(f"第 {row} 行的参考标签“{label}”不在标签集合中；请修正这一行，或把它加进 labels。")

    scores = metrics.load("classification").compute(predictions=answers, references=truth, labels=labels)
    low, high = np.percentile(_resampled_mean(scores["accuracy"], len(truth), seed), [2.5, 97.5])
    n_empty = answers.count("")
    return Classification(
        accuracy=scores["accuracy"],
        macro_f1=scores["macro_f1"],
        interval=(float(low), float(high)),
        per_class=pd.DataFrame(scores["per_class"]),
        confusion=_confusion_table(scores["confusion"], labels),
        n=len(truth),
        n_empty=n_empty,
        n_unknown=sum(answer not in labels for answer in answers) - n_empty,
    )


def score_file(path: str | Path, reference: str) -> Classification:
    """`score_labels` on a file of predictions: its field `prediction` against the field called `reference`.

    The labels are those of the references and, when the rows carry `scores`, of these. Raises `DataError`.
    """
    rows = read_rows(path)
    for number, row in enumerate(rows, 1):
        for name in ("prediction", reference):
            if name not in row:
                raise DataError(f"第 {number} 行没有「{name}」字段。这一行有的字段是：{'、'.join(row)}。")
    references = [row[reference] for row in rows]
    labels = {str(label).strip() for label in references} | set().union(*(row.get("scores", {}) for row in rows))
    return score_labels([row["prediction"] for row in rows], references, sorted(labels))


def paired_difference(
    predictions_a: list[str | None], predictions_b: list[str | None], references: list[str], seed: int = 42
) -> Difference:
    """Is model A better than model B? Both answered the same n rows, so the rows are compared one by one.

    The interval is the bootstrap's over rows, where a row contributes -1, 0 or 1. The p-value is the exact McNemar
    test (McNemar 1947): were both equally good, a row that only one has right would be A's with probability 1/2.
    Raises `DataError` as `score_labels` does.
    """
    answers_a, truth = _aligned(predictions_a, references)
    answers_b, _ = _aligned(predictions_b, references)
    right_a, right_b = np.array(answers_a) == np.array(truth), np.array(answers_b) == np.array(truth)
    n, only_a, only_b = len(truth), int((right_a & ~right_b).sum()), int((right_b & ~right_a).sum())
    # Resampling rows of three kinds with replacement is a draw from the multinomial distribution.
    draws = np.random.default_rng(seed).multinomial(n, [only_a / n, only_b / n, 1 - (only_a + only_b) / n], RESAMPLES)
    low, high = np.percentile((draws[:, 0] - draws[:, 1]) / n, [2.5, 97.5])
    p_value = binomtest(only_a, only_a + only_b).pvalue if only_a + only_b else 1.0
    return Difference((only_a - only_b) / n, (float(low), float(high)), only_a, only_b, float(p_value))


def summary(result: Classification) -> str:
    """Two short lines in Chinese: the scores, and how many answers could not be used."""
    low, high = result.interval
    return (
        f"准确率 {result.accuracy:.1%}（95% 区间 {low:.1%} 至 {high:.1%}），"
        f"宏 F1 {result.macro_f1:.3f}，共 {result.n} 条。\n"
        f"空回答 {result.n_empty} 条，标签之外的回答 {result.n_unknown} 条，都算错。"
    )


def _aligned(predictions, references) -> tuple[list[str], list[str]]:
    """Stripped answers ("" where there was none) and stripped references, checked row by row."""
    if len(predictions) != len(references):
        raise DataError(f"预测有 {len(predictions)} 条，参考标签有 {len(references)} 条；请让两者一一对应。")
    if len(references) == 0:
        raise DataError("没有可以评分的数据；请检查测试集是否为空。")
    answers, truth = [], []
    for row, (answer, label) in enumerate(zip(predictions, references, strict=True), start=1):
        if not isinstance(label, str) or not label.strip():
            raise DataError(f"第 {row} 行没有参考标签；请补上这一行的标签，或删去这一行。")
        if not isinstance(answer, str) and not pd.isna(answer):  # an empty cell of a table comes back as NaN
            raise DataError(f"第 {row} 行的预测是 {type(answer).__name__}，不是文字；请先用 str() 转成文字。")
        answers.append(answer.strip() if isinstance(answer, str) else "")
        truth.append(label.strip())
    return answers, truth


def _resampled_mean(mean: float, n: int, seed: int) -> np.ndarray:
    """Means of bootstrap resamples of n zeros and ones, shape (RESAMPLES,).

    Drawing n rows with replacement and counting the ones is a draw from Binomial(n, mean): no n x 2,000 table needed.
    """
    return np.random.default_rng(seed).binomial(n, mean, RESAMPLES) / n


def _confusion_table(counts: list[list[int]], labels: list[str]) -> pd.DataFrame:
    # A task may well have a label 其他 of its own; the column of unknown answers must not be taken for it.
    other = OTHER if OTHER not in labels else "标签之外"
    table = pd.DataFrame(counts, index=labels, columns=[*labels, other])
    return table if table[other].any() else table[labels]
