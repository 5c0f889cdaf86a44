"""The prompt library: every template renders, its example fits, and what a learner gets wrong is named."""

import json

import pytest

from course_utils.data import prompts
from course_utils.data.prompts import Form, Template, apply, compare, get, templates
from course_utils.data.records import Record, to_records
from course_utils.data.split import near_duplicates
from course_utils.errors import ConfigError, DataError

ALL = templates()
IDS = [template.id for template in ALL]


def test_there_are_enough_and_every_category_has_four():
    assert len(ALL) >= 64
    counts = {category: len(templates(category)) for category in prompts.categories()}
    assert len(counts) >= 12
    assert min(counts.values()) >= 4, counts


def test_ids_and_titles_are_unique():
    written = prompts.LIBRARY.read_text(encoding="utf-8")
    assert written.count("- id: ") == len(set(IDS))  # a second one of the same id would replace the first
    assert len({template.title for template in ALL}) == len(ALL)


def test_no_two_are_nearly_the_same():
    for texts in ([t.instruction for t in ALL], [t.output for t in ALL], [t.tips for t in ALL]):
        groups = near_duplicates(texts, threshold=0.5)
        assert all(len(group) == 1 for group in groups), [IDS[i] for g in groups if len(g) > 1 for i in g]


@pytest.mark.parametrize("template", ALL, ids=IDS)
def test_renders_and_its_example_fits(template):
    filled = template.fill(**template.example)
    assert not prompts.SLOT.search(filled)
    assert all(value in filled for value in template.example.values())
    assert template.slots and set(template.slots) == set(template.example)
    assert template.misfits(template.output) == []
    assert len(template.tips) >= 10 and template.tips.endswith("。")
    to_records([{"instruction": filled, "output": template.output}])


@pytest.mark.parametrize("template", [t for t in ALL if t.form.labels], ids=lambda t: t.id)
def test_labels_are_named_in_the_prompt_and_another_answer_does_not_fit(template):
    filled = template.fill(**template.example)
    assert all(label in filled or label == "0" for label in template.form.labels)
    assert template.misfits("别的")


def test_search():
    assert {t.id for t in templates("分类")} >= {"review-sentiment"}
    assert [t.id for t in templates(query="说明书 剂量")] == ["leaflet-plain"]
    assert templates("法律", "JSON")[0].id == "legal-facts"
    assert templates(query="没有这种东西") == []
    with pytest.raises(ConfigError, match=r"没有叫「占卜」的类别.*分类"):
        templates("占卜")


def test_get_names_what_comes_near():
    assert get("intent").category == "分类"
    with pytest.raises(ConfigError, match="review-sentiment"):
        get("review-happy")


def template(instruction, **more):
    return Template(
        id="x", title="试", category="分类", instruction=instruction, example={}, output="好", tips="无", **more
    )


def test_braces_in_values_do_no_harm():
    one = template("甲：{甲}\n乙：{乙}")
    assert one.fill(甲="{乙} {0} {", 乙='{"a": 1}') == '甲：{乙} {0} {\n乙：{"a": 1}'


def test_braces_that_are_no_slots_stay():
    one = template('写成 {"键": 值}，原文：{原文}')
    assert one.slots == ["原文"]
    assert one.fill(原文="x") == '写成 {"键": 值}，原文：x'


def test_missing_and_unknown_slots_are_named():
    one = template("{评论}和{商品}")
    with pytest.raises(ConfigError, match="「商品」没有给值"):
        one.fill(评论="x")
    with pytest.raises(ConfigError, match=r"没有叫「评价」的空位.*评论、商品"):
        one.fill(评论="x", 商品="y", 评价="z")


def test_misfits_say_what_is_wrong():
    assert template("x", form=Form(json_keys=["a"])).misfits("{") == ["不是 JSON"]
    assert template("x", form=Form(json_keys=["a"])).misfits(json.dumps([{"b": 1}])) == ["JSON 的键应该是：a"]
    assert template("x", form=Form(lines=2, most=3)).misfits("一行很长") == [
        "有 1 行，应该是 2 行",
        "有 4 个字符，最多 3 个",
    ]
    assert template("x").misfits("  ") == ["答案是空的"]


def test_apply_fills_from_columns_and_asks_nothing_twice():
    rows = [{"input": "很好{用}", "output": "积极", "店": "甲", "kind": "k"}]
    [row] = apply(template("{店}的评论：{评论}"), rows, {"评论": "input"})
    assert row == {"input": "", "output": "积极", "店": "甲", "kind": "k", "instruction": "甲的评论：很好{用}"}
    assert rows[0]["input"] == "很好{用}"  # the given rows stay as they are


def test_apply_into_system_keeps_the_input():
    [row] = apply(template("材料：{材料}"), [Record("问", "文", "答")], {"材料": "input"}, into="system")
    assert (row["system"], row["instruction"], row["input"]) == ("材料：文", "问", "文")


def test_apply_names_row_slot_and_place():
    rows = [{"text": "x", "output": "y"}, {"output": "y"}]
    with pytest.raises(DataError, match=r"第 2 行没有「text」，空位「评论」.*output"):
        apply(template("{评论}"), rows, {"评论": "text"})
    with pytest.raises(ConfigError, match="没有叫「平论」的空位"):
        apply(template("{评论}"), rows, {"平论": "text"})
    with pytest.raises(ConfigError, match="不能放进「output」"):
        apply(template("{评论}"), rows, {"评论": "text"}, into="output")


def test_compare_asks_both_about_the_same_rows():
    records = [Record("判断情感", f"第{i}条", "积极" if i % 2 else "消极") for i in range(50)]
    asked = []

    def answer(batch):
        asked.append(batch)
        return ["积极" if "甲" in record.instruction else "我觉得积极" for record in batch]

    strict = template("甲 {评论}", form=Form(labels=["积极", "消极"]))
    loose = template("乙 {评论}", form=Form(labels=["积极", "消极"]))
    table = compare(strict, loose, records, answer)
    assert len(table) == 20
    assert [r.instruction[2:] for r in asked[0]] == [r.instruction[2:] for r in asked[1]] == list(table["原文"])
    assert list(table["A 答对"]) == [label == "积极" for label in table["答案"]]
    assert not table["B 答对"].any() and table["B 的格式问题"].all() and not table["A 的格式问题"].any()
    assert f"答对 {table['A 答对'].sum()} 条，格式合格 20 条" in table.attrs["summary"]


def test_compare_refuses_answers_that_are_lost():
    with pytest.raises(DataError, match="3 个问题，却得到 1 个回答"):
        compare(template("{评论}"), template("{评论}"), [Record("问", str(i), "答") for i in range(3)], lambda _: ["x"])
