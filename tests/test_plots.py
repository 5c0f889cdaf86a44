import os
import sys

import pandas as pd
import pytest
from matplotlib import font_manager
from matplotlib.image import imread
from matplotlib.text import Text

from course_utils import plots

# matplotlib draws a box for a glyph that no font has, and only warns.
pytestmark = pytest.mark.filterwarnings("error:.*[Gg]lyph.*")

MANY = [{"step": step, "loss": 3 / step, "learning_rate": 2e-4 / step} for step in range(1, 401)]
MANY += [{"step": step, "eval_loss": 3 / step + 0.1} for step in range(50, 401, 50)]
CONFUSION = pd.DataFrame([[8, 1, 1], [0, 20, 0]], index=["正面", "负面"], columns=["正面", "负面", "其他"])


@pytest.fixture
def shipped_font(monkeypatch):
    """As on a machine without any Chinese font."""
    monkeypatch.setattr(plots, "SYSTEM_FONTS", ())
    plots.chinese_font.cache_clear()
    yield plots.chinese_font()
    plots.chinese_font.cache_clear()


def words(figure) -> str:
    return "".join(text.get_text() for text in figure.findobj(Text))


def lines(ax, label):
    return next(line for line in ax.lines if label in line.get_label())


def test_a_font_without_chinese_glyphs_is_passed_over(monkeypatch):
    monkeypatch.setattr(plots, "SYSTEM_FONTS", ("DejaVu Sans",))
    plots.chinese_font.cache_clear()
    try:
        assert plots.chinese_font() == "Course Sans SC"
        # Now that matplotlib knows ours, it stands for an installed font that has the glyphs.
        monkeypatch.setattr(plots, "SYSTEM_FONTS", ("DejaVu Sans", "Course Sans SC"))
        monkeypatch.setattr(plots, "SHIPPED_FONT", None)
        plots.chinese_font.cache_clear()
        assert plots.chinese_font() == "Course Sans SC"
    finally:
        plots.chinese_font.cache_clear()


def test_the_shipped_font_has_every_character_of_our_pictures(shipped_font):
    font = font_manager.get_font(plots.SHIPPED_FONT)
    drawn = words(plots.loss_curve(MANY)) + words(plots.loss_curve([])) + words(plots.confusion_picture(CONFUSION))
    assert "训练损失" in drawn and "还没有数据" in drawn and "预测标签" in drawn
    common = "".join(bytes([row, cell]).decode("gb2312") for row in range(0xB0, 0xD7) for cell in range(0xA1, 0xFA))
    assert [c for c in drawn + common + plots.PROBE if not font.get_char_index(ord(c))] == []
    assert plots.SHIPPED_FONT.stat().st_size < 1_600_000
    assert "SIL OPEN FONT LICENSE Version 1.1" in (plots.SHIPPED_FONT.parent / "OFL.txt").read_text(encoding="utf-8")


def test_pictures_draw_chinese_without_a_missing_glyph(shipped_font, tmp_path):
    plots.loss_curve(MANY, tmp_path / "loss.png", title="情感分类")
    plots.confusion_picture(CONFUSION, tmp_path / "confusion.png", title="测试集")
    for name in ("loss.png", "confusion.png"):
        image = imread(tmp_path / name)
        assert image.shape[0] > 300 and image[..., :3].min() < 0.5 < image[..., :3].max()


def test_a_missing_glyph_would_fail_this_file(shipped_font):
    with pytest.raises(UserWarning, match=r"[Gg]lyph"):
        plots.png(plots.loss_curve([], title="\U0002070e"))  # a rare character that neither font has


def test_loss_curve_shows_all_three_series():
    loss, rate = plots.loss_curve(MANY, title="标题").axes
    assert [loss.get_ylabel(), rate.get_ylabel(), rate.get_xlabel()] == ["损失（对数刻度）", "学习率", "步数"]
    assert len(loss.lines[0].get_xdata()) == 400 and len(rate.lines[0].get_xdata()) == 400
    assert lines(loss, "训练损失（平滑）") is not loss.lines[0]  # the raw curve stays beneath
    validation = lines(loss, "验证损失")
    assert list(validation.get_xdata()) == list(range(50, 401, 50))
    assert "第 400 步" in validation.get_label()


def test_a_loss_that_hardly_falls_keeps_a_plain_axis():
    loss = plots.loss_curve([{"step": i, "loss": 2 - i / 100} for i in range(1, 60)]).axes[0]
    assert loss.get_yscale() == "linear" and loss.get_ylabel() == "损失"


def test_a_table_draws_what_its_rows_draw():
    from_rows, from_table = plots.loss_curve(MANY), plots.loss_curve(pd.DataFrame(MANY))
    assert plots.png(from_rows) == plots.png(from_table)


def test_a_resumed_run_counts_the_last_row_of_a_step():
    rows = [{"step": 1, "loss": 3.0}, {"step": 2, "loss": 9.0}, {"step": 2, "loss": 2.0}, {"step": 3, "loss": 1.0}]
    line = plots.loss_curve(rows).axes[0].lines[0]
    assert (list(line.get_xdata()), list(line.get_ydata())) == ([1, 2, 3], [3, 2, 1])


@pytest.mark.parametrize("bad", [float("nan"), float("inf"), None])
def test_a_loss_that_is_no_number_is_left_out_and_said(bad):
    figure = plots.loss_curve([{"step": 1, "loss": 2.0}, {"step": 2, "loss": bad}])
    assert list(figure.axes[0].lines[0].get_xdata()) == [1]
    assert "另有 1 步不是有限数" in words(figure)


@pytest.mark.parametrize(
    ("rows", "expected"),
    [
        ([], "还没有数据"),
        ([{"step": 1, "seconds": 3.0}], "还没有数据"),
        ([{"step": 1, "loss": float("nan")}], "还没有数据"),
        ([{"step": 1, "loss": 2.0, "learning_rate": 0.0}], "训练损失"),
        ([{"step": 5, "eval_loss": 2.0}], "验证损失"),
    ],
)
def test_little_data_still_makes_a_picture(rows, expected):
    figure = plots.loss_curve(rows)
    assert plots.png(figure).startswith(b"\x89PNG")
    assert expected in words(figure)


def test_confusion_picture_shows_counts_and_labels():
    drawn = [text.get_text() for text in plots.confusion_picture(CONFUSION, title="混淆").findobj(Text)]
    for part in ("8", "20", "正面", "负面", "其他", "预测标签", "参考标签", "混淆"):
        assert part in drawn


def test_dark_cells_have_light_numbers():
    ax = plots.confusion_picture(CONFUSION).axes[0]
    colors = {text.get_text(): text.get_color() for text in ax.texts}
    assert colors["20"] == "white" and colors["1"] == plots.INK


def test_saving_replaces_at_once_and_leaves_no_draft(tmp_path, monkeypatch):
    path = tmp_path / "loss.png"
    plots.loss_curve(MANY, path)
    before = path.read_bytes()

    def fail(*_):
        raise OSError("disk")

    with monkeypatch.context() as patch:
        patch.setattr(os, "replace", fail)
        with pytest.raises(OSError, match="disk"):
            plots.loss_curve([], path)
    assert path.read_bytes() == before and os.listdir(tmp_path) == ["loss.png"]
    plots.loss_curve([], path)
    assert path.read_bytes() != before and os.listdir(tmp_path) == ["loss.png"]


def test_a_notebook_can_show_the_figure_and_pyplot_keeps_none():
    assert plots.loss_curve([])._repr_png_().startswith(b"\x89PNG")
    pyplot = sys.modules.get("matplotlib.pyplot")
    assert pyplot is None or pyplot.get_fignums() == []


def test_a_picture_of_lengths_says_what_a_limit_would_cut(shipped_font):
    figure = plots.lengths_picture([10, 20, 20, 40], {"最大长度 32": 32, "最大长度 64": 64}, title="评论的长度")
    assert "最大长度 32：25.0% 的行会截短" in words(figure) and "最大长度 64：0.0% 的行会截短" in words(figure)
    assert sum(bar.get_height() for bar in figure.axes[0].patches) == 4
    plots.png(figure)  # every glyph is in the shipped font
