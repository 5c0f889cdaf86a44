"""How sure a mean over a test set is: bootstrap intervals, and two models compared row by row."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

RESAMPLES = 1000
Interval = tuple[float, float]


@dataclass(frozen=True)
class Paired:
    """What `paired` returns: model A against model B on the same rows."""

    difference: float  # score of A minus score of B
    interval: Interval  # its 95 % interval: (low, high)
    wins: int  # rows on which A scores higher
    losses: int  # rows on which B scores higher
    p_value: float  # two-sided, see `paired`


def draws(n: int, seed: int = 42) -> np.ndarray:
    """How often each of n rows is drawn in each bootstrap resample, (RESAMPLES, n)."""
    return np.random.default_rng(seed).multinomial(n, np.full(n, 1 / n), RESAMPLES)


def bootstrap(stats: np.ndarray, score: Callable[[np.ndarray], float], seed: int = 42) -> np.ndarray:
    """The score of each resample. stats: (n, k) counts per row; score: takes their sums over the rows, (k,).

    A score of a whole corpus, such as BLEU, is no mean over rows; but its counts add up, and a resample only adds
    each row's counts as often as it was drawn.
    """
    return np.array([score(sums) for sums in draws(len(stats), seed) @ stats])


def mean_interval(values: Sequence[float], seed: int = 42) -> Interval:
    """The 95 % percentile interval of the mean over rows (Efron & Tibshirani 1993, ch. 13). No rows: (nan, nan)."""
    values = np.asarray(values, float)
    return percentiles(draws(len(values), seed) @ values / len(values)) if len(values) else (np.nan, np.nan)


def percentiles(scores: np.ndarray) -> Interval:
    low, high = np.percentile(scores, [2.5, 97.5])
    return float(low), float(high)


def paired(a: Sequence[float], b: Sequence[float], seed: int = 42) -> Paired:
    """Is A's mean higher than B's? The rows are compared one by one.

    The interval is the bootstrap's over the rows' differences; the p-value is Wilcoxon's signed-rank test, exact for
    few rows, with ties left out (`scipy.stats.wilcoxon`). Both were asked to answer the same rows.
    """
    from scipy.stats import wilcoxon

    differences = np.asarray(a, float) - np.asarray(b, float)
    wins, losses = int((differences > 0).sum()), int((differences < 0).sum())
    p_value = float(wilcoxon(differences).pvalue) if wins + losses else 1.0
    return Paired(float(differences.mean()), mean_interval(differences, seed), wins, losses, p_value)
