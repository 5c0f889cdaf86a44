"""The panels of the data tools, used in a real browser the way a learner uses them."""

import pytest

from course_utils import paths
from course_utils.data.store import DataSet

pytestmark = pytest.mark.slow

DOCUMENTS = paths.ROOT / "datasets" / "qa_extraction" / "documents"


@pytest.fixture
def here(lab, monkeypatch):
    """This process looks into the workspace of the browser's kernel."""
    monkeypatch.setenv("COURSE_WORKSPACE", str(lab.workspace))


def show(lab, panel: str):
    notebook = lab.notebook(f"from course_utils.widgets import {panel}\n{panel}()")
    notebook.run_all()
    return notebook


def test_extraction(lab, here):
    notebook = show(lab, "extract_panel")
    notebook.click("读取并分段")
    notebook.wait_for("还没有文档")
    notebook.shot("extract-1-empty")
    notebook.upload("上传文件", DOCUMENTS / "dev_faq.txt")
    notebook.wait_for("分段预览")
    notebook.shot("extract-2-chunks")
    notebook.fill("分隔符", "re:(")
    notebook.click("读取并分段")
    notebook.wait_for("不是正确的正则表达式")
    notebook.shot("extract-3-wrong")
    notebook.fill("分隔符", "空行")
    notebook.click("读取并分段")
    notebook.wait_for("分成")
    notebook.shot("extract-4-own-separator")
    notebook.fill("分隔符", "")
    notebook.click("读取并分段")
    notebook.click("2 抽取与核对")
    notebook.shot("extract-5-before")
    notebook.click("抽取")
    notebook.wait_for("抽取到")
    notebook.check("第 2 对", False)
    notebook.shot("extract-6-pairs")
    notebook.click("下一页")
    notebook.shot("extract-7-next-page")
    notebook.click("3 保存")
    notebook.fill("保存为", "问答")
    notebook.click("保存为数据集")
    notebook.wait_for("数据集「问答」第 1 版")
    notebook.click("查看等价代码")
    notebook.shot("extract-8-saved")
    notebook.assert_healthy()
    code = notebook.page.locator(".course-panel .course-code").last.inner_text()
    notebook.reopen()
    notebook.assert_healthy()
    notebook.wait_for("重新运行这个单元格")
    notebook.wait_for("数据集「问答」第 1 版")
    notebook.shot("extract-9-reopened")
    exec(code, {})  # what 查看等价代码 shows does the same
    assert DataSet.open("问答", 2).rows() == DataSet.open("问答", 1).rows()
    assert 2 not in [row["source_row"] for row in DataSet.open("问答").rows()["all"]]


def test_augmentation(lab, here):
    notebook = show(lab, "augment_panel")
    notebook.wait_for("与原文的相似度")
    notebook.shot("augment-1-open")
    notebook.fill("最多用几行", "2000")
    notebook.click("开始增强")
    notebook.wait_for("想要新增 4000 行", 60)
    notebook.shot("augment-2-running")
    notebook.click("停止")
    notebook.wait_for("已停止，没有保存任何东西", 60)
    notebook.shot("augment-3-stopped")
    notebook.click("保存为下一版")
    notebook.wait_for("还没有增强的结果")
    notebook.fill("最多用几行", "60")
    notebook.click("开始增强")
    notebook.wait_for("现在共", 60)
    notebook.shot("augment-4-done")
    notebook.button("保存为下一版").click()
    notebook.wait_for("数据集「评论情感」第 1 版")
    notebook.click("查看等价代码")
    notebook.shot("augment-5-saved")
    notebook.click("收起代码")
    notebook.click("单条在线")
    notebook.fill("第几行", "5")
    notebook.click("取这一行")
    notebook.click("增强")
    notebook.wait_for("种通过检查", 60)
    notebook.shot("augment-6-one-row")
    notebook.fill("指令", "麻烦你判断一下下面这条评论的情感")
    notebook.fill("输入", "这家店的早餐很丰富,房间也很干净!!!!服务员特别热情，下次还会再来的.")
    notebook.click("增强")
    notebook.wait_for("种通过检查", 60)
    notebook.click("优化")
    notebook.wait_for("指令：指令措辞")
    notebook.shot("augment-8-own-row")
    notebook.fill("保存为", "我写的")
    notebook.click("保存接受的")
    notebook.wait_for("数据集「我写的」第 1 版")
    notebook.assert_healthy()
    notebook.reopen()
    notebook.assert_healthy()
    notebook.wait_for("例子，左右对照")
    notebook.shot("augment-9-reopened")
    rows = DataSet.open("评论情感").rows()["all"]
    assert len(rows) > 60 and len({row["source_row"] for row in rows}) == 60


def test_prompts(lab, here, tiny_base, tiny_data):
    from course_utils.training.config import TrainingConfig
    from course_utils.training.train import train

    base = {"base_model": str(tiny_base), "precision": "fp32", "epochs": 6, "batch_size": 4, "learning_rate": 5e-3}
    train(TrainingConfig(**base), tiny_data, "小试", log=lambda text: None)
    notebook = show(lab, "prompts_panel")
    notebook.wait_for("有 68 个模板")
    notebook.shot("prompts-1-open")
    notebook.fill("搜索", "没有这种")
    notebook.wait_for("没有这样的模板")
    notebook.shot("prompts-2-none")
    notebook.fill("搜索", "合同")
    notebook.choose("类别", "法律")
    notebook.click("填好")
    notebook.wait_for("没有给值")
    notebook.click("填入例子")
    notebook.wait_for("填好的提示词")
    notebook.shot("prompts-3-filled")
    notebook.fill("搜索", "栏目")
    notebook.choose("类别", "分类")
    notebook.click("用到数据集")
    notebook.click("看前三行")
    notebook.wait_for("还没有内容")
    notebook.shot("prompts-4-slot-missing")
    notebook.page.get_by_placeholder("或者每行相同的文字").locator("visible=true").first.fill("积极、消极")
    notebook.choose("空位「新闻」", "input")
    notebook.click("看前三行")
    notebook.wait_for("前三行会是这样")
    notebook.click("保存为下一版")
    notebook.wait_for("数据集「评论情感」第 1 版")
    notebook.click("查看等价代码")
    notebook.shot("prompts-5-applied")
    notebook.click("收起代码")
    notebook.fill("搜索", "")
    notebook.choose("模板", "分类：评论情感二分类")
    notebook.click("比较两个模板")
    notebook.choose("模板 B", "分类：用户意图识别")
    notebook.page.get_by_placeholder("或者每行相同的文字").locator("visible=true").nth(1).fill("一家书店")
    notebook.choose("空位「话」", "input")
    notebook.choose("模型", "训练：小试")
    notebook.fill("行数", "8")
    notebook.click("比较")
    notebook.wait_for("同样的 8 行", 60)
    notebook.click("查看等价代码")
    notebook.shot("prompts-6-compared")
    notebook.assert_healthy()
    notebook.reopen()
    notebook.assert_healthy()
    notebook.wait_for("逐行对照")
    notebook.shot("prompts-7-reopened")
    row = DataSet.open("评论情感").rows()["all"][0]
    assert "积极、消极" in row["instruction"] and row["input"] == ""
