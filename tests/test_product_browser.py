"""Chapter 4 as a learner does it: the five panels clicked in a real JupyterLab, and each cell below takes what was made.

At the size of `$COURSE_PROFILE`, ci when it is not set.
"""

import os
import re
import time

import pytest

from course_utils import notebooks
from course_utils.training import jobs

pytestmark = pytest.mark.slow

PATIENCE = 1200  # seconds of one step: a training waits for other work on this machine


class Cell:
    """One cell of an open notebook, found by a piece of its code; labels are looked for in its output alone."""

    def __init__(self, notebook, code: str):
        self.notebook = notebook
        place = "s => window.jupyterapp.shell.currentWidget.content.widgets.findIndex(c => c.model.type === 'code' && c.model.sharedModel.source.includes(s))"
        self.number = notebook.page.evaluate(place, code)
        assert self.number >= 0, code
        notebook.run(self.number)
        self.output = notebook.output(self.number)

    def field(self, label: str):
        return self.output.get_by_label(label, exact=True).locator("visible=true")

    def click(self, label: str) -> None:
        clickable = self.output.locator("button, [role=tab], .jupyter-widget-Collapse-header")
        clickable.filter(has_text=re.compile(rf"^\s*{re.escape(label)}\s*$")).locator("visible=true").click()
        self.notebook.wait_until_idle()

    def choose(self, label: str, *options: str) -> None:
        self.field(label).select_option(label=list(options))
        self.notebook.wait_until_idle()

    def fill(self, label: str, value: str) -> None:
        self.field(label).fill(value)
        self.field(label).press("Tab")
        self.notebook.wait_until_idle()

    def wait_for(self, text: str) -> None:
        self.output.get_by_text(text).locator("visible=true").first.wait_for(timeout=PATIENCE * 1000)

    def shot(self, name: str) -> None:
        self.output.screenshot(path=self.notebook.lab.shots / f"04-{name}.png")

    @property
    def text(self) -> str:
        return self.output.inner_text()


@pytest.fixture
def chapter(_lab, lab, monkeypatch):
    monkeypatch.setenv("COURSE_WORKSPACE", str(lab.workspace))
    lab.page.set_default_timeout(PATIENCE * 1000)
    lab.page.set_viewport_size({"width": 1280, "height": 2400})
    yield lab.open(notebooks.NOTEBOOKS / "04_product_classification.ipynb")
    lab.page.set_default_timeout(30_000)
    lab.page.set_viewport_size({"width": 1280, "height": 1600})
    for job in jobs.jobs():
        if job.state not in jobs.ENDED:
            jobs.stop(job.number)


@pytest.fixture(autouse=True, scope="module")
def small():
    """Set before the server starts: its kernels inherit it."""
    given = os.environ.get("COURSE_PROFILE")
    os.environ["COURSE_PROFILE"] = given or "ci"
    yield
    os.environ.pop("COURSE_PROFILE") if given is None else None


def test_the_five_panels(small, chapter):
    began = time.monotonic()
    panel = Cell(chapter, "presets_panel(")
    panel.click("复制到工作区")
    panel.wait_for("已复制")
    panel.shot("1-data")
    assert "用的是工作区里的数据集「商品分类」" in Cell(chapter, "pickup.dataset").text

    panel = Cell(chapter, "studio_panel(**recipe)")
    panel.click("看看数据")
    panel.wait_for("训练集的前三行")
    panel.shot("2-studio-data")
    panel.click("2 设置")
    panel.shot("2-studio-settings")
    panel.click("3 估算与提交")
    panel.click("估算")
    panel.wait_for("内存峰值")
    panel.shot("2-studio-estimate")
    panel.click("提交训练")
    panel.wait_for("已提交：第 1 号任务")
    assert "用的是「商品分类」（第 1 号任务" in Cell(chapter, "pickup.training").text

    panel = Cell(chapter, "watch_panel()")
    panel.output.get_by_text("它跳过了一部分训练数据，只挑最难的那些行来学").locator("visible=true").first.click()
    panel.wait_for("一行不少")
    panel.wait_for("已完成")
    panel.shot("3-watch")
    cell = Cell(chapter, 'Image(run.folder / "curve.png"')
    cell.output.locator("img").wait_for()
    cell.shot("3-curve")

    panel = Cell(chapter, "batch_panel(models=models")
    panel.click("提交")
    panel.wait_for("已提交：第 2 号任务")
    cell = Cell(chapter, 'pickup.batch("商品分类-评估"')
    assert "用的是批量推理「商品分类-评估」" in cell.text and "替你" not in cell.text
    panel.shot("4-batch")
    cell.shot("4-answers")
    panel = Cell(chapter, "scores_panel()")
    panel.click("算分")
    panel.wait_for("没有测的")
    panel.shot("4-scores")
    panel.click("3 报告")
    panel.click("写报告")
    panel.wait_for("下载这份报告")
    panel.shot("4-report")

    panel = Cell(chapter, "publish_panel()")
    panel.choose("训练", "商品分类")
    panel.fill("服务的名字", "商品分类")
    panel.click("发布")
    panel.wait_for("已发布：服务「商品分类」第 1 版")
    panel.shot("5-publish")
    panel = Cell(chapter, "chat_panel()")
    assert "用的是服务「商品分类」第 1 版" in panel.text
    panel.choose("模型", "商品分类@1")
    panel.fill("问题", "青禾 速溶豆浆粉 无糖 30 条")
    panel.click("发送")
    panel.wait_for("答完了")
    panel.shot("5-chat")
    print(f"五个面板：{(time.monotonic() - began) / 60:.1f} 分钟")

    for code in ('check("04-1"', "beside_tfidf", "worst_errors", 'check("04-2"'):
        if code == "beside_tfidf":
            Cell(chapter, "hard_run = trained")
        Cell(chapter, code).shot(f"6-{re.sub(r'[^a-z0-9]+', '-', code)}")
    chapter.assert_healthy()
    chapter.reopen()
    chapter.shot("reopened", whole=False)
    assert "重新运行这个单元格" in chapter.text
