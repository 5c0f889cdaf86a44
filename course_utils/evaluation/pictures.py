"""The report's pictures, in the style of plots.py."""

from collections.abc import Sequence

import numpy as np
from matplotlib.ticker import PercentFormatter

from course_utils.evaluation.labels import Calibration
from course_utils.evaluation.resample import Interval
from course_utils.plots import BLUE, COLORS, FAINT, GREEN, INK, ORANGE, Picture, _clean, _finished

Bar = tuple[str, float, Interval | None]  # name, value, interval


def scores_picture(scores: dict[str, list[Bar]], title: str = "") -> Picture:
    """Scores in [0, 1] as points with their 95 % intervals. scores: model -> its bars, of the same names in order."""
    names = [name for name, _, _ in next(iter(scores.values()))]
    figure = Picture(figsize=(7.2, 0.7 + 0.22 * len(names) * max(1.6, len(scores))), layout="constrained")
    ax = figure.subplots()
    offsets = np.linspace(-0.25, 0.25, len(scores)) if len(scores) > 1 else [0]
    for (model, bars), offset, color in zip(scores.items(), offsets, COLORS * len(scores), strict=False):
        places = np.arange(len(names)) + offset
        _points(ax, places, bars, [color] * len(bars), model)
    _rows(ax, names)
    ax.set_xlim(0, 1)
    ax.xaxis.set_major_formatter(PercentFormatter(1))
    ax.set_title(title, loc="left")
    if len(scores) > 1:
        ax.legend(loc="upper left", bbox_to_anchor=(1.01, 1), frameon=False, fontsize=9)
    return _finished(figure, None)


def differences_picture(bars: Sequence[Bar], title: str = "") -> Picture:
    """Differences to the first model with their 95 % intervals: green is surely better, orange surely worse, grey is
    not to be told apart.
    """
    figure = Picture(figsize=(7.2, 0.9 + 0.32 * len(bars)), layout="constrained")
    ax = figure.subplots()
    colors = [GREEN if low > 0 else ORANGE if high < 0 else FAINT for _, _, (low, high) in bars]
    _points(ax, np.arange(len(bars)), bars, colors, None)
    _rows(ax, [name for name, _, _ in bars])
    ax.axvline(0, color=INK, linewidth=1)
    ax.set_title(title, loc="left")
    return _finished(figure, None)


def reliability_picture(found: Calibration, title: str = "") -> Picture:
    """Accuracy over confidence, a point per bin, as large as the bin has answers; on the diagonal it is calibrated."""
    figure = Picture(figsize=(4.2, 4.0), layout="constrained")
    ax = figure.subplots()
    table = found.table
    sizes = 30 + 300 * table["条数"] / table["条数"].sum()
    ax.plot([0, 1], [0, 1], color=FAINT, linewidth=1, linestyle="--")
    ax.plot(table["平均把握"], table["准确率"], color=BLUE, linewidth=1, alpha=0.5)
    ax.scatter(table["平均把握"], table["准确率"], s=sizes, color=BLUE, zorder=3)
    ax.set(xlim=(-0.03, 1.03), ylim=(-0.03, 1.03), xlabel="平均把握", ylabel="准确率")
    ax.set_title(title, loc="left")
    _clean(ax)
    return _finished(figure, None)


def _points(ax, places, bars: Sequence[Bar], colors: Sequence[str], label: str | None) -> None:
    for place, (_, value, interval), color in zip(places, bars, colors, strict=True):
        low, high = interval or (value, value)
        ax.plot([low, high], [place, place], color=color, linewidth=2, solid_capstyle="butt", alpha=0.55)
        ax.plot(value, place, "o", color=color, markersize=5, label=label)
        label = None  # one entry in the legend


def _rows(ax, names: Sequence[str]) -> None:
    ax.set_yticks(range(len(names)), names)
    ax.set_ylim(len(names) - 0.4, -0.6)  # the first on top
    _clean(ax)
    ax.grid(axis="y", visible=False)
    ax.grid(axis="x", color="#E6E8EB", linewidth=0.8)
