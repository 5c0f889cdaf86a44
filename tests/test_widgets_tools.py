"""The panels of the data tools, without a browser: extraction, augmentation, prompts."""

import json
import threading
import time
from dataclasses import asdict
from datetime import UTC, datetime

import pytest
from test_cli import course, fails  # noqa: F401, the fixture
from traitlets import Bunch

from course_utils import llm
from course_utils.data import presets, versions
from course_utils.data.building import split_dataset
from course_utils.data.records import Record
from course_utils.data.store import DataSet, names
from course_utils.errors import ConfigError, DataError
from course_utils.widgets import augmenting, one_row
from course_utils.widgets.augmenting import AugmentPanel
from course_utils.widgets.base import Panel, plain
from course_utils.widgets.extracting import MODEL, OFFLINE, ExtractPanel
from course_utils.widgets.pairs import PAGE
from course_utils.widgets.pieces import LongWork, Stopped
from course_utils.widgets.prompting import PromptsPanel

TEXT = """# 蓝鹭图书馆借阅办法

## 借书
每人最多借 5 本书，借期 30 天。
逾期的，每本每天收 0.1 元。

## 开放时间
周一至周五 8:30 至 21:00 开放。
周六、周日 9:00 至 17:00 开放。

## 问答
问：书丢了怎么办？
答：按原价赔偿，或者买一本新的。
"""


def message(panel: Panel) -> str:
    return plain(panel.message.value)


def run(work: LongWork) -> None:
    work.start()
    work.wait()


@pytest.fixture
def panel(tmp_path):
    (tmp_path / "办法.md").write_text(TEXT, encoding="utf-8")
    panel = ExtractPanel()
    panel.where.value = str(tmp_path / "办法.md")
    return panel


@pytest.fixture
def model(monkeypatch):
    """A language model that the environment names; its answers are taken from a list, an error is raised."""
    for name in llm.VARIABLES:
        monkeypatch.setenv(name, {"COURSE_LLM_BASE_URL": "http://127.0.0.1:9/v1"}.get(name, "小鹭"))
    answers = []

    def ask(messages, schema, **options):
        answer = answers.pop(0) if answers else llm.ModelError("模型没有给出可用的回答：超时。")
        if isinstance(answer, Exception):
            raise answer
        return schema.model_validate(answer)

    monkeypatch.setattr(llm, "ask_json", ask)
    return answers


# --- extraction ---


def test_extract_look_untick_and_save(panel):
    panel.read()
    assert message(panel).startswith("读到《蓝鹭图书馆借阅办法》") and "分段预览" in panel.result()
    run(panel.work)
    total = len(panel.found.pairs)
    assert total >= 4 and message(panel).startswith(f"抽取到 {total} 个问答对")
    assert all(pair.question in panel.result() for pair in panel.found.pairs)
    marked = f">{panel.found.pairs[0].answer}</mark>"
    assert marked in panel.pairs.cards[0].value or "</mark>" in panel.pairs.cards[0].value
    panel.pairs.ticks[1].value = False
    panel.name.value = "借阅"
    panel.save()
    saved = DataSet.open("借阅")
    rows = saved.rows()["all"]
    assert [row["source_row"] for row in rows] == [n for n in range(1, total + 1) if n != 2]
    first = panel.found.pairs[0]
    assert (rows[0]["instruction"], rows[0]["output"]) == (first.question, first.answer)
    assert rows[0]["evidence"] == TEXT[first.start : first.end] and rows[0]["source"] == "办法.md"
    assert saved.lineage["tool"] == "extract" and saved.lineage["method"] == OFFLINE
    assert ["没有勾选"] in [line["reasons"] for line in saved.dropped()]
    exec(panel.code(), {})
    assert DataSet.open("借阅", 2).rows() == saved.rows()


def test_own_separator_and_its_mistakes(panel):
    panel.separator.value = "##"
    panel.read()
    assert len(panel.pieces) == 4 and "分成 4 段" in message(panel)
    panel.separator.value = "re:("
    with panel.working():
        panel.read()
    assert "不是正确的正则表达式" in message(panel) and not panel.pieces
    panel.separator.value = "自动"  # the preview follows
    assert "分成 1 段" in message(panel) and len(panel.pieces) == 1


def test_a_new_document_forgets_the_pairs_of_the_last(panel, tmp_path):
    panel.read()
    run(panel.work)
    (tmp_path / "另一个.txt").write_text("只有一句话", encoding="utf-8")
    panel.where.value = str(tmp_path / "另一个.txt")
    panel.read()
    assert panel.found is None and panel.pairs.view.layout.display == "none"
    run(panel.work)
    assert message(panel).startswith("一个问答对也没有抽取到")
    with pytest.raises(DataError, match="一个问答对也没有，没有保存"):
        panel.save()


def test_extraction_before_its_time(panel):
    with pytest.raises(ConfigError, match="还没有问答对"):
        panel.save()
    run(panel.work)
    assert message(panel) == "请先在「1 文档与分段」里读取一个文档。"
    panel.where.value = " "
    with pytest.raises(DataError, match="还没有文档"):
        panel.read()
    panel.where.value = "没有.md"
    with pytest.raises(DataError, match="找不到文件"):
        panel.read()
    panel.where.value = "http://127.0.0.1/a"
    with pytest.raises(DataError):
        panel.read()


def test_an_upload_is_read(own_workspace):
    panel = ExtractPanel()
    data = TEXT.encode("gb18030")
    file = Bunch(name="../办法.txt", type="", size=1, content=memoryview(data), last_modified=datetime.now(UTC))
    panel.upload.value = [file]
    assert message(panel).startswith("读到《蓝鹭图书馆借阅办法》")
    assert "paths.workspace() / 'uploads/办法.txt'" in panel.code()


def test_many_pairs_come_page_by_page(panel):
    panel.read()
    run(panel.work)
    pair = panel.found.pairs[0]
    panel.pairs.show(panel.document, [pair] * (PAGE + 3))
    panel.pairs.on.click()
    assert [tick.description for tick in panel.pairs.ticks[:3]] == [f"第 {PAGE + i} 对" for i in (1, 2, 3)]
    assert panel.pairs.lines[3].layout.display == "none" and panel.pairs.on.disabled
    panel.pairs.ticks[2].value = False
    assert panel.pairs.left_out == {PAGE + 3} and f"勾选了 {PAGE + 2} 对" in plain(panel.pairs.place.value)
    panel.pairs.back.click()
    assert panel.pairs.left_out == {PAGE + 3} and panel.pairs.ticks[2].value


def test_the_model_is_offered_only_when_there_is_one():
    panel = ExtractPanel()
    assert panel.way.options == (OFFLINE,) and "COURSE_LLM_BASE_URL" in panel.about.value
    assert AugmentPanel().model.disabled


def test_chunks_that_fail_are_not_saved_as_a_success(model, panel):
    good = {"question": "最多借几本书？", "answer": "5 本", "kind": "数字", "evidence": "每人最多借 5 本书"}
    panel.way.value, panel.separator.value = MODEL, "##"
    assert "小鹭" in panel.about.value
    panel.read()
    model += [{"pairs": []}, {"pairs": [good]}, llm.ModelError("模型没有给出可用的回答：超时。"), {"pairs": []}]
    run(panel.work)
    assert "第 3 段没有抽取成功" in message(panel) and len(panel.found.pairs) == 1
    with pytest.raises(DataError, match="第 3 段没有抽取成功，没有保存"):
        panel.save()
    model.append({"pairs": []})  # only the one that failed is asked again
    run(panel.work)
    assert not model and message(panel).startswith("抽取到 1 个问答对")
    panel.save()
    assert DataSet.open(panel.name.value).lineage["failed_chunks"] == []


# --- long work ---


def test_long_work_can_be_stopped():
    class Slow(Panel):
        title = purpose = "慢"

        def code(self):
            return ""

        result = code

    panel, begun = Slow(), threading.Event()

    def work():
        for i in range(1000):
            begun.set()
            time.sleep(0.01)
            long.tick(i, 1000)

    long = LongWork(panel, "开始", work, "正在做……")
    long.start()
    begun.wait(5)
    assert long.running and not long.end.disabled
    long.stop()
    long.wait()
    assert message(panel) == "已停止，没有保存任何东西。" and not long.running and long.end.disabled
    assert panel.progress.layout.display == "none"


# --- augmentation ---


@pytest.fixture
def reviews():
    """A data set that was imported: reviews with something to say otherwise."""
    words = ["房间", "早餐", "手机", "屏幕", "电池", "服务", "位置", "书"]
    rows = [
        {
            "instruction": "判断这条评论的情感，只回答积极或消极。",
            "output": "积极" if i % 2 else "消极",
            "source_row": i,
        }
        | {
            "input": f"第 {i} 次来，因为{words[i % 8]}{'非常好，我很喜欢，下次还会再来' if i % 2 else '很差，我特别失望，以后不会再来'}。"
        }
        for i in range(1, 25)
    ]
    return DataSet.create("评论", {"all": rows}, {"tool": "test"})


def test_augment_a_data_set_save_and_split(reviews):
    panel = AugmentPanel()
    assert panel.data.value == panel.name.value == "评论"
    with pytest.raises(ConfigError, match="还没有增强的结果"):
        panel.save()
    panel.rows.value = 0
    run(panel.work)
    new = panel.done.wanted - sum(panel.done.short.values())
    assert new > 0 and message(panel).startswith(f"想要新增 48 行，新增了 {new} 行")
    assert "例子，左右对照" in panel.result() and "</mark>" in panel.result()
    panel.save()
    saved = DataSet.open("评论")
    assert saved.version == 2 and saved.lineage["parent"] == "评论/v1" and saved.lineage["multiplier"] == 2
    rows = saved.rows()["all"]
    assert len(rows) == 24 + new and {row["source_row"] for row in rows} == set(range(1, 25))
    parts = split_dataset(saved)[0].rows()
    homes = [{row["source_row"] for row in lines} for lines in parts.values()]
    assert not homes[0] & homes[1] and not homes[0] & homes[2]
    exec(panel.code(), {})  # of the split data set now: only its training part


def test_only_the_training_part_grows(reviews):
    split_dataset(reviews)
    panel = AugmentPanel()
    panel.rows.value = 0
    run(panel.work)
    panel.save()
    before, after = (DataSet.open("评论", version).rows() for version in (2, 3))
    assert before["test"] == after["test"] and before["validation"] == after["validation"]
    assert len(after["train"]) > len(before["train"])


def test_augmentation_is_stopped_and_what_it_lacks_is_said(reviews, monkeypatch):
    panel = AugmentPanel()
    with monkeypatch.context() as patch:
        patch.setattr(augmenting, "augment", lambda *_, progress, **__: (panel.work.stop(), progress(1, 2)))
        run(panel.work)
    assert message(panel) == "已停止，没有保存任何东西。" and panel.done is None
    for box in panel.operators.values():
        box.value = False
    run(panel.work)
    assert message(panel).startswith("一种增强方法也没有选")


def test_quality_chooses_its_operators():
    panel = AugmentPanel()
    panel.quality.value = "严格"
    assert [name for name, box in panel.operators.items() if box.value] == ["同义词", "口语书面", "指令改写"]
    assert "55%" in panel.asked.value and "'quality': '严格'" in panel.code()


def test_a_model_writes_too_and_can_be_stopped(reviews, model):
    panel = AugmentPanel()
    panel.model.value, panel.rows.value, panel.multiplier.value = True, 1, 1
    source = panel.one.source.sample(1)[0]["input"]
    model.append({"rewrites": [source.replace("来", "到店", 1)]})
    run(panel.work)
    assert "大模型改写" in panel.outcome.value and "ask=ask_json" in panel.code()
    panel.work.stop()
    with pytest.raises(Stopped):
        panel.asks(panel.work, 1)["ask"]([], None)


def test_one_row_is_varied_accepted_and_saved(reviews):
    panel = AugmentPanel()
    one = panel.one
    one.number.value = 3
    one.take()
    run(one.work)
    assert "种说法" in message(panel) and one.variants and "单条在线" in panel.result()
    one.choices[0].value = one_row.TAKE
    for choice in one.choices[1:]:
        choice.value = one_row.REFUSE
    chosen = one.variants[0].record
    panel.steps.selected_index = 1
    code = panel.code()
    one.save()
    rows = DataSet.open("评论").rows()["all"]
    assert len(rows) == 25 and rows[-1]["source_row"] == 3 and rows[-1]["input"] == chosen.input
    assert rows[-1]["made_by"].startswith("增强：") and not one.variants
    with pytest.raises(ConfigError, match="还没有接受任何一条"):
        one.save()
    assert "found[i] for i in [0]" in code and "found[i] for i in [0]" in panel.code()


def test_one_row_of_ones_own_is_polished_and_kept():
    panel = AugmentPanel()
    one = panel.one
    own = {"instruction": "帮我总结一下下面这段话", "input": "今天开会,讨论了预算.", "output": "讨论了预算"}
    for name, text in own.items():
        one.texts[name].value = text
    one.polish()
    assert "标点" in message(panel) and "优化后" in panel.result()
    one.name.value = "我写的"
    one.save()
    [row] = DataSet.open("我写的").rows()["all"]
    assert row["input"] == "今天开会，讨论了预算。" and row["made_by"] == "手写" and row["source_row"] == 1
    assert "polished=polish(record)" in one.code()
    exec(one.code(), {})
    assert len(DataSet.open("我写的").rows()["all"]) == 2
    one.texts["output"].value = ""
    with panel.working():
        one.polish()
    assert "答案" in message(panel) or "output" in message(panel)


def test_a_row_of_another_data_set_comes_with_its_variants(reviews):
    source = versions.open_source("customer_service")
    row = source.rows[0]
    variant = Bunch(record=Record(row["instruction"] + "？", row["input"], row["output"]), operators=("同义词",))
    made = versions.save_accepted("评论", row, [variant])
    rows = made.rows()["all"]
    assert [line["source_row"] for line in rows[-2:]] == [25, 25] and made.lineage["parent"] == "评论/v1"


# --- prompts ---


def test_search_preview_and_fill():
    panel = PromptsPanel()
    assert message(panel) == "有 68 个模板。"
    panel.search.value = "说明书 剂量"
    assert panel.list.value == "leaflet-plain" and "<mark" in panel.card.value
    with pytest.raises(ConfigError, match="没有给值"):
        panel.fill()
    panel.use_example()
    assert "填好的提示词" in panel.result()
    for text in panel.texts.values():
        text.value = "一次{两}片"
    panel.fill()
    assert "一次{两}片" in panel.filled.value
    panel.search.value = "没有这种东西"
    assert message(panel).startswith("没有这样的模板")
    with pytest.raises(ConfigError, match="还没有选模板"):
        panel.fill()
    with pytest.raises(ConfigError, match="请先在上面"):
        panel.save()
    panel.search.value, panel.category.value = "", "法律"
    assert all(label.startswith("法律") for label, _ in panel.list.options)


def test_apply_to_a_data_set(reviews):
    panel = PromptsPanel()
    panel.list.value = "news-topic"
    panel.steps.selected_index = 1
    with pytest.raises(ConfigError, match="空位「栏目」还没有内容"):
        panel.look()
    panel.applied.columns["新闻"].value = "input"
    panel.applied.constants["栏目"].value = "财{新闻}"
    with pytest.raises(ConfigError, match="会被当成空位"):
        panel.look()
    panel.applied.constants["栏目"].value = "积极、消极"
    panel.look()
    assert "积极、消极" in panel.seen.value
    panel.save()
    saved = DataSet.open("评论")
    row = saved.rows()["all"][0]
    assert saved.version == 2 and saved.lineage["tool"] == "prompts" and saved.lineage["template"] == "news-topic"
    assert "积极、消极" in row["instruction"] and row["input"] == "" and row["source_row"] == 1
    exec(panel.code(), {})  # from the newest version, whose input is gone
    panel.into.value = "system"
    panel.name.value = "系统"
    panel.save()
    row = DataSet.open("系统").rows()["all"][0]
    assert row["instruction"].startswith("判断") and "积极、消极" in row["system"]


def test_two_templates_are_compared_with_a_run(reviews, tiny_base, tiny_data):
    from course_utils.training.config import TrainingConfig
    from course_utils.training.train import train

    config = TrainingConfig(base_model=str(tiny_base), precision="fp32", epochs=1, batch_size=4)
    train(config, tiny_data, "小试", log=lambda text: None)
    panel = PromptsPanel()
    versus = panel.versus
    panel.steps.selected_index = 2
    assert versus.model.options[-1] == ("训练：小试", ("run", "小试"))
    versus.model.value, versus.rows.value, versus.longest.value = ("run", "小试"), 6, 4
    versus.other.value = "news-topic"
    run(versus.work)
    assert "空位「栏目」还没有内容" in message(panel)
    versus.b.constants["栏目"].value, versus.b.columns["新闻"].value = "积极、消极", "input"
    run(versus.work)
    assert message(panel).startswith("同样的 6 行：A（评论情感二分类）答对"), message(panel)
    assert "逐行对照" in panel.result() and "find_run('小试')" in panel.code()
    compile(panel.code(), "code", "exec")
    versus.work.stop()
    with pytest.raises(Stopped):
        versus.compare()


# --- the commands ---


def test_augment_and_prompts_from_a_terminal(course, reviews):  # noqa: F811
    status, out, err = course("data", "augment", "评论", "--multiplier", 2, "--quality", "标准")
    assert status == 0 and "想要新增 48 行" in out and "评论 第 2 版" in out, err
    fails(course("data", "augment", "评论", "--multiplier", 11), "1 到 10")
    fails(course("data", "augment", "评论", "--quality", "好"), "没有叫「好」的质量")
    fails(course("data", "augment", "没有"), "没有叫「没有」的数据集")
    fails(course("data", "augment", "评论", "--llm"), "COURSE_LLM_API_KEY")
    status, out, _ = course("data", "prompts", "--category", "法律", "--search", "合同")
    assert status == 0 and "（法律）" in out and out.strip().endswith("个模板。")
    fails(course("data", "prompts", "--category", "占卜"), "没有叫「占卜」的类别")


def test_a_sample_keeps_order_and_numbers():
    source = versions.open_source("customer_service")
    rows = source.sample(10)
    assert [row["source_row"] for row in rows] == sorted(row["source_row"] for row in rows)
    stored = presets.load("customer_service")
    assert all(rows[i]["output"] == stored[rows[i]["source_row"] - 1].output for i in range(10))
    assert len(source.sample(0)) == len(stored) and json.dumps(asdict(stored[0])) and not names()
