"""Every panel, used in a real browser the way a learner uses it."""

import pytest

from course_utils.data.store import DataSet

pytestmark = pytest.mark.slow


def test_presets(lab):
    notebook = lab.notebook("from course_utils.widgets import presets_panel\npresets_panel()")
    notebook.run_all()
    notebook.wait_for("判断一条评论是积极还是消极")
    notebook.shot("presets-1-open")
    notebook.fill("保存为", "a/b")
    notebook.click("复制到工作区")
    notebook.wait_for("数据集的名字不能是「a/b」")
    notebook.shot("presets-2-wrong")
    notebook.fill("保存为", "我的评论")
    notebook.click("复制到工作区")
    notebook.wait_for("数据集「我的评论」第 1 版")
    assert len(list((lab.workspace / "datasets/我的评论/v1").glob("all.jsonl"))) == 1
    notebook.click("查看等价代码")
    notebook.wait_for("presets.rows('sentiment_predict')")
    notebook.shot("presets-3-copied")
    notebook.assert_healthy()
    notebook.reopen()
    notebook.assert_healthy()
    notebook.wait_for("重新运行这个单元格")
    notebook.wait_for("数据集「我的评论」第 1 版")
    notebook.shot("presets-4-reopened")


BAD_CSV = """评论,标注,来源
这本书很好，我很喜欢，推荐给大家,积极,甲
酒店太吵了，半夜睡不着,消极,乙
手机收到了，电话 13812345678 联系我,积极,甲
这本书很好，我很喜欢，推荐给大家,积极,甲
服务员态度很差，再也不来,消极 ,乙
还不错，就是贵了一点,,甲
"""


def write_reviews(path, n=60):
    words = ["书", "酒店", "手机", "电脑", "早餐", "房间"]
    lines = [
        f"第{i}次买{words[i % 6]}，{'很满意，质量好' if i % 2 else '太差了，要退货'}{'。' * (i % 3)}" for i in range(n)
    ]
    body = "".join(f"{line},{'积极' if i % 2 else '消极'},店{i % 4}\n" for i, line in enumerate(lines))
    path.write_text(BAD_CSV + body, encoding="utf-8")


def test_import(lab, tmp_path, monkeypatch):
    write_reviews(tmp_path / "评论.csv")
    notebook = lab.notebook("from course_utils.widgets import import_panel\nimport_panel()")
    notebook.run_all()
    notebook.click("读取文件")
    notebook.wait_for("还没有文件")
    notebook.shot("import-1-empty")
    notebook.upload("上传文件", tmp_path / "评论.csv")
    notebook.wait_for("从 评论.csv 读到 66 行")
    notebook.shot("import-2-read")
    notebook.click("下一步：映射")
    assert notebook.field("输入 input").input_value() == "评论"
    notebook.shot("import-3-mapping")
    notebook.page.get_by_placeholder("或者每行相同的指令").fill("判断评论的情感，只回答积极或消极。")
    notebook.choose("答案 output", "标注")
    notebook.click("下一步：检查")
    notebook.wait_for("有错误，改好以后才能训练")
    notebook.shot("import-4-check")
    notebook.click("修复：个人信息 1 处")
    notebook.wait_for("【手机号】")
    notebook.shot("import-5-repaired")
    notebook.click("撤销上一次修复")
    notebook.click("修复：重复 1 处")
    notebook.click("下一步：预览")
    notebook.wait_for("个要学")
    notebook.shot("import-6-preview")
    notebook.click("下一步：切分与保存")
    notebook.fill("保存为", "我的评论")
    notebook.click("切分并保存")
    notebook.wait_for("没有保存：有 1 处错误")
    notebook.shot("import-7-refused")
    notebook.click("3 检查")
    notebook.check("保存时去掉有错误的 1 行（去掉了哪些会记下来）")
    notebook.click("5 切分与保存")
    notebook.fill("训练集 %", "80")
    notebook.click("切分并保存")
    notebook.wait_for("加起来等于 1")
    notebook.fill("验证集 %", "10")
    notebook.fill("测试集 %", "10")
    notebook.click("切分并保存")
    notebook.wait_for("已保存为数据集「我的评论」第 2 版")
    notebook.click("查看等价代码")
    notebook.shot("import-8-saved")
    notebook.assert_healthy()
    code = notebook.page.locator(".course-panel .course-code").inner_text()
    notebook.reopen()
    notebook.assert_healthy()
    notebook.wait_for("已保存为数据集「我的评论」第 2 版")
    notebook.shot("import-9-reopened")
    # What 查看等价代码 shows does the same.
    monkeypatch.setenv("COURSE_WORKSPACE", str(lab.workspace))
    exec(code, {})
    imported, saved, _, again = (DataSet.open("我的评论", version) for version in (1, 2, 3, 4))
    assert again.rows() == saved.rows()
    assert [line["source_row"] for line in imported.dropped()] == [4, 6]
    assert {row["source_row"] for rows in saved.rows().values() for row in rows} == {*range(1, 67)} - {4, 6}
