"""Pictures of what a model computes: likely next tokens, matrices one can read, and how much of a matrix a rank keeps."""

import numpy as np
from matplotlib.colors import LinearSegmentedColormap
from matplotlib.ticker import FixedLocator, NullLocator, PercentFormatter

from course_utils.plots import BLUE, COLORS, INK, ORANGE, Picture, _clean, _finished

SIGNED = LinearSegmentedColormap.from_list("signed", [ORANGE, "#FFFFFF", BLUE])
READABLE = 64  # a matrix of at most so many numbers has them written in


def tokens_picture(panels: dict[str, dict[str, float]], title: str = "") -> Picture:
    """Bars of probabilities, one panel per text. panels: title -> token -> probability, the likeliest first."""
    rows = max(map(len, panels.values()))
    figure = Picture(figsize=(7.2, 0.9 + 0.27 * rows), layout="constrained")
    for ax, (name, bars) in zip(figure.subplots(1, len(panels), squeeze=False)[0], panels.items(), strict=True):
        names, values = [_visible(token) for token in bars], list(bars.values())
        ax.barh(range(len(bars)), values, color=BLUE, height=0.7)
        for place, value in enumerate(values):
            ax.text(value, place, f" {value:.1%}", va="center", fontsize=9, color=INK)
        ax.set_yticks(range(len(bars)), names, fontsize=11)
        ax.set_ylim(rows - 0.5, -0.5)
        ax.set_xlim(0, 1.3)  # the same in every panel: a flat distribution has to look flat
        ax.xaxis.set_major_locator(NullLocator())
        ax.set_title(name, loc="left", fontsize=10)
        _clean(ax)
        ax.grid(visible=False)
        ax.spines["bottom"].set_visible(False)
        ax.tick_params(length=0)
    figure.suptitle(title, x=0.01, ha="left")
    return _finished(figure, None)


def matrices_picture(matrices: dict[str, np.ndarray], title: str = "") -> Picture:
    """Matrices beside one another on one colour scale: blue above zero, orange below. Small ones show their numbers.

    matrices: title -> (rows, columns).
    """
    arrays = {name: np.asarray(matrix, float) for name, matrix in matrices.items()}
    limit = max(np.quantile(np.abs(a), 0.995) for a in arrays.values()) or 1
    small = all(a.size <= READABLE for a in arrays.values())
    figure = Picture(figsize=(7.2, 2.9), layout="constrained")
    ratios = [max(a.shape[1], 2) for a in arrays.values()] if small else None
    panels = figure.subplots(1, len(arrays), squeeze=False, width_ratios=ratios)[0]
    for ax, (name, array) in zip(panels, arrays.items(), strict=True):
        ax.imshow(array, cmap=SIGNED, vmin=-limit, vmax=limit, aspect="equal" if small else "auto")
        for row, column in np.ndindex(array.shape) if small else ():
            dark = abs(array[row, column]) > 0.7 * limit
            ax.text(column, row, f"{array[row, column]:.1f}", ha="center", va="center", fontsize=8,
                    color="white" if dark else INK)  # fmt: skip
        ax.set_xticks([])
        ax.set_yticks([])
        ax.spines[:].set_color("#C9CDD2")
        ax.set_title(name, fontsize=11)
    figure.suptitle(title, x=0.01, ha="left")
    return _finished(figure, None)


def kept(matrix, rank: int):
    """The closest matrix of this rank, and the share of the squared entries that it leaves out.

    matrix: torch (rows, columns). Truncated SVD; Eckart and Young (1936): no matrix of this rank comes closer.
    """
    import torch

    left, values, right = torch.linalg.svd(matrix.float(), full_matrices=False)
    closest = (left[:, :rank] * values[:rank]) @ right[:rank]
    return closest, float((values[rank:] ** 2).sum() / (values**2).sum())


def rank_picture(matrices: dict[str, object], ranks: tuple[int, ...], title: str = "") -> Picture:
    """The share of a matrix that its closest matrix of each rank keeps. matrices: title -> torch (rows, columns)."""
    import torch

    figure = Picture(figsize=(7.2, 3.4), layout="constrained")
    ax = figure.subplots()
    for (name, matrix), color in zip(matrices.items(), COLORS * len(matrices), strict=False):
        squares = torch.linalg.svdvals(matrix.float()) ** 2
        shares = (squares.cumsum(0) / squares.sum()).tolist()
        ranks = [rank for rank in ranks if rank <= len(shares)]
        ax.plot(ranks, [shares[rank - 1] for rank in ranks], color=color, marker="o", markersize=4, label=name)
    ax.set_xscale("log", base=2)
    ax.xaxis.set_major_locator(FixedLocator(ranks))
    ax.xaxis.set_minor_locator(NullLocator())
    ax.xaxis.set_major_formatter("{x:g}")
    ax.yaxis.set_major_formatter(PercentFormatter(1, decimals=0))
    ax.set_ylim(0, 1.03)
    ax.set_xlabel("秩 r（每往右一格翻一倍）")
    ax.set_ylabel("留下了多少")
    ax.set_title(title, loc="left")
    ax.legend(loc="best", frameon=False, fontsize=10)
    _clean(ax)
    return _finished(figure, None)


def _visible(token: str) -> str:
    """A token that can be read in a picture, blanks and line breaks too."""
    return token.replace("\n", "⏎").replace(" ", "␣")
