"""The panels' own logic, without a browser: values in, clicks, messages out."""

import json
import re
from datetime import UTC, datetime

import pytest
from traitlets import Bunch

from course_utils.data import presets
from course_utils.data.records import Record
from course_utils.data.store import DataSet, versions
from course_utils.errors import ConfigError, DataError
from course_utils.models.preview import preview
from course_utils.widgets import importing
from course_utils.widgets.base import Panel, plain, table
from course_utils.widgets.importing import CHECK, PREVIEW, SAVE, ImportPanel
from course_utils.widgets.presets import PresetsPanel

CSV = "评论,标注\n" + "".join(
    f"第{i}本{'好书喜欢' if i % 2 else '差评讨厌'},{'积极' if i % 2 else '消极'}\n" for i in range(20)
)


def message(panel: Panel) -> str:
    return plain(panel.message.value)


@pytest.fixture
def panel(tmp_path):
    path = tmp_path / "评论.csv"
    path.write_text(CSV + "第2本差评讨厌,消极\n电话 13812345678,积极\n没有答案,\n", encoding="utf-8")
    panel = ImportPanel()
    panel.where.value = str(path)
    panel.read()
    return panel


def test_presets_are_copied_into_the_workspace():
    panel = PresetsPanel()
    panel.chosen.value = "sentiment_predict"
    panel.name.value = "评论"
    panel.copy()
    assert DataSet.open("评论").records() == {"all": presets.load("sentiment_predict")}
    assert "workspace/datasets/评论/v1" in message(panel).replace("\\", "/")
    assert "sentiment_predict" in panel.code() and "评论" in panel.result()


def test_an_upload_is_kept_in_the_workspace_and_read(own_workspace):
    panel = ImportPanel()
    file = Bunch(name="../坏.csv", type="", size=1, content=memoryview(CSV.encode()), last_modified=datetime.now(UTC))
    panel.upload.value = [file]
    assert message(panel) == "从 坏.csv 读到 20 行。"
    assert (own_workspace / "uploads" / "坏.csv").read_bytes() == CSV.encode()
    assert not panel.upload.value
    assert "paths.workspace() / 'uploads/坏.csv'" in panel.code()


@pytest.mark.parametrize("step", [CHECK, PREVIEW, SAVE])
def test_a_step_before_its_time_says_what_comes_first(step):
    empty = ImportPanel()
    empty.steps.selected_index = step
    assert message(empty) == "请先在「1 文件」里读取一个文件。"


def test_a_column_for_two_fields_is_refused(panel):
    panel.form.columns["instruction"].value = "评论"
    with pytest.raises(ConfigError, match="「评论」这一列选了两次"):
        _ = panel.form.mapping
    panel.form.constants["instruction"].value = "判断情感"  # a constant takes the column's place
    assert panel.form.mapping.columns == {"评论": "input", "标注": "output"}


def test_repairs_can_be_taken_back(panel):
    panel.steps.selected_index = CHECK
    rows = panel.doctor.rows
    panel.doctor.repair("个人信息")
    assert panel.doctor.rows[21]["评论"] == "电话 【手机号】"
    assert panel.doctor.kinds == ["个人信息"]
    panel.doctor.undo()
    assert panel.doctor.rows == rows and not panel.doctor.kinds


def test_rows_with_errors_are_left_out_only_when_asked(panel):
    panel.steps.selected_index = CHECK
    panel.doctor.repair("重复")
    with pytest.raises(DataError, match="第 22 行「标注」答案是空的"):
        panel.save()
    panel.doctor.drop.value = True
    panel.save()
    assert [line["source_row"] for line in DataSet.open("评论", 1).dropped()] == [21, 23]
    assert sum(map(len, DataSet.open("评论", 2).records().values())) == 21


def test_another_split_is_one_more_version(panel):
    panel.doctor.drop.value = True
    panel.save()
    panel.shares[0].value, panel.shares[2].value = 50, 35
    panel.save()
    assert versions("评论") == [1, 2, 3]
    assert DataSet.open("评论").lineage["shares"] == [0.5, 0.15, 0.35]
    panel.form.constants["instruction"].value = "判断情感"
    panel.save()
    assert versions("评论") == [1, 2, 3, 4, 5]


def test_conversations_need_no_mapping_and_lose_nothing(tmp_path):
    turns = [("human", "今天几号"), ("function_call", "date()"), ("observation", "1号"), ("gpt", "今天1号")]
    rows = [
        {"conversations": [{"from": role, "value": f"{text}{i}"} for role, text in turns], "system": "助手"}
        for i in range(9)
    ]
    path = tmp_path / "对话.json"
    path.write_text(json.dumps(rows, ensure_ascii=False), encoding="utf-8")
    panel = ImportPanel()
    panel.where.value = str(path)
    panel.read()
    assert panel.form.columns["input"].disabled
    panel.steps.selected_index = CHECK
    assert "没有错误" in message(panel) or "没有发现问题" in message(panel)
    panel.save()
    saved = [row for rows in DataSet.open("对话").rows().values() for row in rows]
    assert all(row["roles"] == [role for role, _ in turns] and row["system"] == "助手" for row in saved)
    assert sorted(row["source_row"] for row in saved) == list(range(1, 10))


def test_the_preview_names_the_row_of_the_file(panel, tiny, monkeypatch):
    monkeypatch.setattr(importing, "load_tokenizer", lambda name, log: tiny[1])
    panel.steps.selected_index = PREVIEW
    assert message(panel).startswith("第 1 行：共")
    assert "【" in plain(panel.seen.value)
    panel.number.value = 23
    assert message(panel).startswith("第 23 行缺少答案")


def test_the_preview_marks_what_is_learned(tiny):
    seen = preview(Record("判断情感", "书好🙂", "积极"), tiny[1])
    assert str(seen).endswith("model\n【积极<end_of_turn>】")
    assert "🙂" in str(seen)  # four byte tokens, one piece
    assert re.findall("<mark[^>]*>(.*?)</mark>", seen._repr_html_()) == ["积", "极", "&lt;end_of_turn&gt;"]


def test_an_unexpected_error_is_one_message_and_goes_on_to_the_log():
    panel = PresetsPanel()
    with pytest.raises(ZeroDivisionError), panel.working("……"):
        _ = 1 / 0
    assert message(panel).startswith("出现了意料之外的问题（ZeroDivisionError")


def test_a_table_escapes_and_shortens():
    shown = table([{"a": "<b>" + "长" * 300}])
    assert "&lt;b&gt;" in shown and "长" * 157 + "……" in shown and "长" * 158 not in shown


def test_hiding_the_choice_of_a_split_hides_nothing_else():
    from course_utils.widgets.studio import StudioPanel

    panel = StudioPanel(data="legal_qa")
    assert panel.split.layout.display == "none"
    assert not panel.data.layout.display and not panel.name.layout.display
    panel.data.value = "product_classification"
    assert panel.split.layout.display == ""


def test_a_file_with_its_mapping_is_trained_on_as_it_is(tmp_path):
    from course_utils.training.recipe import parse_recipe
    from course_utils.widgets.studio import FILE, StudioPanel

    file = tmp_path / "评论.csv"
    file.write_text("text,情感\n" + "".join(f"这家店第{i}次来了,{'积极' if i % 2 else '消极'}\n" for i in range(20)))
    panel = StudioPanel()
    panel.data.value = FILE
    assert not panel.file_choice.layout.display
    panel.file.value = str(file)
    panel.read()
    panel.mapping.constants["instruction"].value = "判断情感"
    assert panel.recipe["map"] == {"text": "input", "情感": "output"}
    _, data, _ = parse_recipe(panel.recipe)
    assert sum(map(len, data.values())) == 20 and data["train"][0].instruction == "判断情感"
    panel.mapping.columns["output"].value = "text"
    assert "选了两次" in message(panel)
