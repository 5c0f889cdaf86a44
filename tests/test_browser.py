"""The browser harness itself: what it clicks happens, what is broken it sees."""

import pytest

pytestmark = pytest.mark.slow

CLICKS = """
import ipywidgets as widgets
slider = widgets.IntSlider(description="步数", value=3, max=10)
name = widgets.Text(description="名字")
kind = widgets.Dropdown(description="种类", options=["书", "酒店"])
file = widgets.FileUpload(description="选择文件")
button, label = widgets.Button(description="开始"), widgets.Label("还没有开始")
def start(_):
    size = file.value[0].size if file.value else 0
    label.value = f"开始了：{slider.value} 步，{name.value}，{kind.value}，{size} 字节"
button.on_click(start)
widgets.VBox([slider, name, kind, file, button, label])
"""


def test_a_click_reaches_the_kernel_and_comes_back(lab, tmp_path):
    (tmp_path / "数据.txt").write_text("你好", encoding="utf-8")
    notebook = lab.notebook(CLICKS)
    notebook.run_all()
    notebook.fill("名字", "小明")
    notebook.choose("种类", "酒店")
    notebook.upload("选择文件", tmp_path / "数据.txt")
    notebook.click("开始")
    notebook.wait_for("开始了：3 步，小明，酒店，6 字节")
    notebook.assert_healthy()
    assert notebook.shot("browser-click").stat().st_size > 2000
    notebook.reload()
    notebook.wait_for("开始了：3 步")
    notebook.assert_healthy()


def test_a_widget_whose_kernel_is_gone_is_seen(lab):
    notebook = lab.notebook(CLICKS)
    notebook.run_all()
    notebook.reopen()
    with pytest.raises(AssertionError, match="Error displaying widget"):
        notebook.assert_healthy()


def test_a_traceback_is_seen(lab):
    notebook = lab.notebook("1 / 0")
    notebook.run_all()
    with pytest.raises(AssertionError, match="ZeroDivisionError"):
        notebook.assert_healthy()


def test_a_restart_forgets(lab):
    notebook = lab.notebook("x = globals().get('x', 0) + 1\nprint(f'第 {x} 次')")
    for expected in ("第 1 次", "第 2 次"):
        notebook.run_all()
        assert expected in notebook.text
    notebook.restart_kernel()
    notebook.run_all()
    assert "第 1 次" in notebook.text
