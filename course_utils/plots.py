"""The course's pictures, with Chinese text that renders on every machine.

Everything is drawn on `matplotlib.figure.Figure`, never through pyplot: no figure stays open, and a panel may draw
from a thread. Colours are few and quiet; sizes are for the width of a notebook.
"""

import io
import os
import uuid
from functools import lru_cache
from pathlib import Path

import numpy as np
import pandas as pd
from matplotlib import font_manager
from matplotlib.colors import LinearSegmentedColormap
from matplotlib.figure import Figure
from matplotlib.text import Text
from matplotlib.ticker import LogLocator, MaxNLocator, NullLocator

SHIPPED_FONT = Path(__file__).resolve().parent / "fonts" / "CourseSansSC-Regular.otf"
SYSTEM_FONTS = (
    "Microsoft YaHei", "PingFang SC", "Hiragino Sans GB", "Noto Sans CJK SC", "Noto Sans SC", "Source Han Sans SC",
    "Source Han Sans CN", "Noto Sans CJK JP", "WenQuanYi Micro Hei", "WenQuanYi Zen Hei", "SimHei", "Heiti SC",
    "STHeiti", "Arial Unicode MS",
)  # fmt: skip
PROBE = "训练损失对数刻度验证学习率步数预测标签类别样本其他还没有数据，：（）"  # a font is taken only if it draws all of these

INK, FAINT, GRID = "#333333", "#8A8F98", "#E6E8EB"
BLUE, ORANGE, GREEN = "#2F6DB5", "#D9622B", "#4C8C6B"
COLORS = (BLUE, ORANGE, GREEN, "#8E5EA2", "#B38B2D", "#4A4A4A")
BLUES = LinearSegmentedColormap.from_list("course", ["#F7FAFD", "#9DC3E6", "#2F6DB5", "#163F73"])
DPI = 150
STEEP = 8  # a loss that begins at so many times its median is drawn on a logarithmic axis


class Picture(Figure):
    """A figure that a notebook shows as it is, although pyplot never heard of it."""

    def _repr_png_(self) -> bytes:
        return png(self)


@lru_cache(maxsize=1)
def chinese_font() -> str:
    """The family name of a font that really has Chinese glyphs; matplotlib knows it after this call.

    A system font when there is one, else the subset in `fonts/`. For a picture of your own:
    `matplotlib.rcParams["font.family"] = [chinese_font(), "DejaVu Sans"]`.
    """
    installed = set(font_manager.fontManager.get_font_names())
    for family in SYSTEM_FONTS:
        if family in installed and _draws_chinese(font_manager.findfont(family)):
            return family
    font_manager.fontManager.addfont(SHIPPED_FONT)
    return font_manager.get_font(SHIPPED_FONT).family_name


def loss_curve(metrics: pd.DataFrame | list[dict], path: str | os.PathLike | None = None, title: str = "") -> Picture:
    """Training and validation loss over the steps, and the learning rate below.

    metrics: the rows of a run's `metrics.jsonl`: `step` (optimizer steps) and any of `loss`, `eval_loss` (nats per
    token) and `learning_rate`. Rows without a value, or with one that is not finite, are skipped; of a step that was
    logged twice (a resumed run) the last row counts. Without any loss the picture says so.
    path: where to save the PNG. It is replaced at once, so that a reader never sees half a file.

    From 20 points on, the training loss is drawn faintly, with a centred moving average over it: unlike an exponential
    one it does not lag behind while the loss falls.
    """
    train, validation, rate = (_points(metrics, key) for key in ("loss", "eval_loss", "learning_rate"))
    if train.empty and validation.empty:
        return _finished(_empty_picture(title), path)
    figure = Picture(figsize=(7.2, 4.6 if len(rate) else 3.6), layout="constrained")
    ratios = [3.4, 1] if len(rate) else [1]
    axes = figure.subplots(len(ratios), 1, sharex=True, squeeze=False, height_ratios=ratios)[:, 0]
    _draw_losses(axes[0], train, validation, _not_finite(metrics))
    if len(rate):
        _draw_rate(axes[1], rate)
    axes[-1].set_xlabel("步数")
    axes[-1].xaxis.set_major_locator(MaxNLocator(8, integer=True, steps=[1, 2, 2.5, 5, 10]))
    steps = [*train.index, *validation.index, *rate.index]
    if min(steps) == max(steps):
        axes[-1].set_xlim(steps[0] - 1, steps[0] + 1)  # one point: no fractions of a step
    axes[0].set_title(title, loc="left")
    for ax in axes:
        _clean(ax)
    figure.align_ylabels(axes)
    return _finished(figure, path)


def compare_curves(runs: dict[str, list[dict]], path: str | os.PathLike | None = None, title: str = "") -> Picture:
    """The losses of several runs over one another, a colour per run: training smoothed and faint, validation dashed.

    runs: name -> the rows of its `metrics.jsonl`, as for `loss_curve`. The horizontal axis is the share of the training
    that is done (epochs), so that runs of different batch sizes can be compared.
    """
    figure = Picture(figsize=(7.2, 4.0), layout="constrained")
    ax = figure.subplots()
    lowest, first = np.inf, []
    for (name, metrics), color in zip(runs.items(), COLORS * len(runs), strict=False):
        epochs = {row["step"]: row.get("epoch", row["step"]) for row in metrics}
        train, validation = _points(metrics, "loss"), _points(metrics, "eval_loss")
        if len(train):
            smooth = train.rolling(max(5, len(train) // 20), center=True, min_periods=1).mean()
            ax.plot([epochs[step] for step in smooth.index], smooth, color=color, alpha=0.45, linewidth=1.2)
            first.append(train.iloc[0])
            lowest = min(lowest, smooth.min())
        if len(validation):
            ax.plot(
                [epochs[step] for step in validation.index], validation, color=color, linewidth=1.6, linestyle="--",
                marker="o", markersize=5, markeredgecolor="white", label=f"{name}（验证最低 {validation.min():.3f}）",
            )  # fmt: skip
    if not ax.lines:
        return _finished(_empty_picture(title), path)
    if lowest > 0 and first and max(first) > STEEP * lowest:
        ax.set_yscale("log")
        ax.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
        ax.yaxis.set_major_formatter("{x:g}")
        ax.yaxis.set_minor_locator(NullLocator())
    ax.set_xlabel("训练了几遍（浅色：训练损失；虚线：验证损失）")
    ax.set_ylabel("损失")
    ax.set_title(title, loc="left")
    if ax.get_legend_handles_labels()[0]:
        ax.legend(loc="best", frameon=True, framealpha=0.9, edgecolor="none", fontsize=10)
    _clean(ax)
    return _finished(figure, path)


def confusion_picture(confusion: pd.DataFrame, path: str | os.PathLike | None = None, title: str = "") -> Picture:
    """A confusion matrix as a heat map: rows are references, columns predictions, numbers are counts.

    confusion: counts, shape (labels, labels) or with one more column 其他, as in `score_labels(...).confusion`.
    Colour is the share of the row, so that a small class is as readable as a large one.
    """
    counts = confusion.to_numpy()
    share = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    rows, columns = counts.shape
    cell = 0.5 if columns > 8 else 0.7
    letters = max(len(str(label)) for label in [*confusion.index, *confusion.columns])
    crowded = letters * 0.14 > cell  # a character at size 10 is 0.14 inch wide
    width = columns * cell + 1.8 + 0.14 * letters  # beside the cells: labels on the left, the scale on the right
    height = rows * cell + (0.9 if title else 0.65) + (0.1 * letters if crowded else 0)
    figure = Picture(figsize=(width, height), layout="constrained")
    ax = figure.subplots()
    image = ax.imshow(share, cmap=BLUES, vmin=0, vmax=1)
    for row, column in np.ndindex(rows, columns):
        color = "white" if share[row, column] > 0.5 else INK if counts[row, column] else "#B8BEC6"
        ax.text(column, row, f"{counts[row, column]}", ha="center", va="center", color=color, fontsize=10)
    turned = {"rotation": 45, "ha": "right", "rotation_mode": "anchor"} if crowded else {}
    ax.set_xticks(range(columns), [str(label) for label in confusion.columns], **turned)
    ax.set_yticks(range(rows), [str(label) for label in confusion.index])
    ax.set_xlabel("预测标签")
    ax.set_ylabel("参考标签")
    ax.set_title(title, loc="left")
    ax.tick_params(length=0, colors=INK)
    ax.set_xticks(np.arange(columns + 1) - 0.5, minor=True)
    ax.set_yticks(np.arange(rows + 1) - 0.5, minor=True)
    ax.tick_params(which="minor", length=0)
    ax.grid(which="minor", color="white", linewidth=1.5)
    ax.spines[:].set_visible(False)
    beside = ax.inset_axes([1 + 0.12 / (columns * cell), 0, 0.16 / (columns * cell), 1])  # as high as the matrix
    bar = figure.colorbar(image, cax=beside, ticks=[0, 0.5, 1], format="{x:.0%}")
    bar.set_label("占该行的比例")
    bar.outline.set_visible(False)
    bar.ax.tick_params(length=0)
    return _finished(figure, path)


def lengths_picture(lengths: list[int], limits: dict[str, int], title: str = "") -> Picture:
    """How long rows are, in tokens, and where a limit would cut them: name -> tokens, a dashed line each."""
    figure = Picture(figsize=(7.2, 3.0), layout="constrained")
    ax = figure.subplots()
    ax.hist(lengths, bins=min(60, max(lengths) - min(lengths) + 1), color=BLUE, alpha=0.75)
    for (name, limit), color in zip(limits.items(), (ORANGE, GREEN, *COLORS[3:]), strict=False):
        cut = sum(length > limit for length in lengths) / len(lengths)
        ax.axvline(limit, color=color, linewidth=1.6, linestyle="--", label=f"{name}：{cut:.1%} 的行会截短")
    ax.set_xlabel("一行有多少个 token")
    ax.set_ylabel("行数")
    ax.set_title(title, loc="left")
    if limits:
        ax.legend(loc="best", frameon=True, framealpha=0.9, edgecolor="none", fontsize=10)
    _clean(ax)
    return _finished(figure, None)


def png(figure: Figure) -> bytes:
    """The figure as a PNG of 150 dots per inch, for a file or an image widget."""
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=DPI, facecolor="white")
    return buffer.getvalue()


def _draws_chinese(path: str) -> bool:
    font = font_manager.get_font(path)
    return all(font.get_char_index(ord(character)) for character in PROBE)


def _points(metrics: pd.DataFrame | list[dict], key: str) -> pd.Series:
    """The finite values of one column, by step, in the order of steps."""
    table = pd.DataFrame(metrics).reindex(columns=["step", key]).apply(pd.to_numeric, errors="coerce")
    table = table.replace([np.inf, -np.inf], np.nan).dropna().drop_duplicates("step", keep="last")
    return table.set_index("step")[key].sort_index().astype(float)


def _not_finite(metrics: pd.DataFrame | list[dict]) -> int:
    """Rows whose loss was logged and is NaN or infinite. A table cannot tell NaN from not logged: 0."""
    if isinstance(metrics, pd.DataFrame):
        return 0
    losses = pd.Series([row["loss"] for row in metrics if "loss" in row], dtype=object)
    return int((~np.isfinite(pd.to_numeric(losses, errors="coerce").astype(float))).sum())


def _draw_losses(ax, train: pd.Series, validation: pd.Series, not_finite: int) -> None:
    # A run that diverged must not look like one that merely stopped early.
    note = f"，另有 {not_finite} 步不是有限数" if not_finite else ""
    if len(train) >= 20:
        smooth = train.rolling(max(5, len(train) // 20), center=True, min_periods=1).mean()
        ax.plot(train.index, train, color=BLUE, alpha=0.25, linewidth=1)
        ax.plot(smooth.index, smooth, color=BLUE, linewidth=2, label=f"训练损失（平滑{note}）")
    elif len(train):
        ax.plot(train.index, train, color=BLUE, linewidth=2, marker="o", markersize=4, label=f"训练损失{note}")
    if len(validation):
        best = f"最低 {validation.min():.3f}，第 {validation.idxmin():.0f} 步"
        ax.plot(
            validation.index, validation, color=ORANGE, linewidth=1.2, linestyle="--",
            marker="o", markersize=5, markeredgecolor="white", label=f"验证损失（{best}）",
        )  # fmt: skip
    ax.set_ylabel("损失")
    losses = pd.concat([train, validation])
    if losses.min() > 0 and losses.iloc[0] > STEEP * losses.median():
        # A fresh model falls from 15 to 0.2 in a few steps; on a plain axis all the rest would be a flat line.
        ax.set_yscale("log")
        ax.set_ylabel("损失（对数刻度）")
        ax.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
        ax.yaxis.set_major_formatter("{x:g}")
        ax.yaxis.set_minor_locator(NullLocator())
    ax.margins(y=0.12)
    ax.legend(loc="best", frameon=True, framealpha=0.9, edgecolor="none", fontsize=10)


def _draw_rate(ax, rate: pd.Series) -> None:
    peak = rate.max()
    ax.plot(rate.index, rate, color=GREEN, linewidth=1.5, marker="o" if len(rate) == 1 else None, markersize=4)
    ax.set_ylabel("学习率")
    ax.set_ylim(0, peak * 1.2 or 1)
    ax.set_yticks([0], ["0"])
    if peak:
        ax.set_yticks([0, peak], ["0", np.format_float_scientific(peak, precision=2, trim="-", exp_digits=1)])


def _empty_picture(title: str) -> Picture:
    figure = Picture(figsize=(7.2, 3.0), layout="constrained")
    ax = figure.subplots()
    ax.set_title(title, loc="left")
    ax.set_xticks([])
    ax.set_yticks([])
    ax.spines[:].set_color(GRID)
    ax.text(0.5, 0.5, "还没有数据", ha="center", va="center", color=FAINT, fontsize=16, transform=ax.transAxes)
    return figure


def _clean(ax) -> None:
    ax.spines[["top", "right"]].set_visible(False)
    ax.spines[["left", "bottom"]].set_color(FAINT)
    ax.tick_params(colors=INK, length=3)
    ax.grid(axis="y", color=GRID, linewidth=0.8)
    ax.set_axisbelow(True)


def _finished(figure: Picture, path: str | os.PathLike | None) -> Picture:
    """Put the Chinese font on every text, and save. Not through rcParams, which all threads share."""
    family = [chinese_font(), "DejaVu Sans"]  # the second draws what the first has not
    for text in figure.findobj(Text):
        text.set_fontfamily(family)
    for ax in figure.axes:
        ax.tick_params(which="both", labelfontfamily=family)  # ticks are made anew when the limits move
    if path is not None:
        _replace(Path(path), png(figure))
    return figure


def _replace(path: Path, content: bytes) -> None:
    draft = path.with_name(f".{path.name}.{uuid.uuid4().hex}.tmp")
    try:
        draft.write_bytes(content)
        os.replace(draft, path)
    finally:
        draft.unlink(missing_ok=True)
