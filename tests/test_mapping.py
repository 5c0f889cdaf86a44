"""Columns find their fields by their names."""

import pytest

from course_utils.data.mapping import NAMES, QUESTIONS, suggest
from course_utils.data.records import Record, to_records

FIELD = {"i": "instruction", "n": "input", "o": "output", "s": "system", "h": "history"}


@pytest.mark.parametrize(
    "columns, fields, unmapped",
    [
        ("prompt text label", "i n o", ""),  # the handbook's two examples
        ("prompt input output", "i n o", ""),
        ("instruction input output system history", "i n o s h", ""),
        ("question answer", "i o", ""),
        ("query response", "i o", ""),
        ("prompt query response", "i n o", ""),  # LLaMA-Factory's names
        ("question context answer", "i n o", ""),
        ("instruction question answer", "i n o", ""),
        ("text label", "n o", ""),
        ("title description category", "- n o", "title"),
        ("title content category label", "- n - o", "title category"),
        ("title category", "n o", ""),
        ("id Text LABEL", "- n o", "id"),
        ("text Text label", "n - o", "Text"),
        ("prompt text input label", "i - n o", "text"),
        ("指令 输入 输出", "i n o", ""),
        ("系统 历史 问题 答案", "s h i o", ""),
        ("标题 描述 类别", "- n o", "标题"),
        ("评论 标签", "n o", ""),
        ("系统提示词 ｐｒｏｍｐｔ 文本_内容 回复", "s i - o", "文本_内容"),
        ("a b", "- -", "a b"),
    ],
)
def test_columns_find_their_fields(columns, fields, unmapped):
    columns = columns.split()
    mapping = suggest([dict.fromkeys(columns, "文")])
    assert [mapping.columns.get(column) for column in columns] == [FIELD.get(f) for f in fields.split()]
    assert mapping.unmapped == tuple(unmapped.split()) and mapping.constants == {}
    assert len(set(mapping.columns.values())) == len(mapping.columns)


def test_what_is_suggested_is_what_to_records_takes():
    rows = [{"id": "1", "prompt": "判断情感", "text": "好", "label": "积极", "extra": None}]
    mapping = suggest(rows)
    assert to_records(rows, mapping.columns, mapping.constants) == [Record("判断情感", "好", "积极")]


def test_columns_of_later_rows_count_too():
    assert suggest([{"text": "好"}, {"text": "差", "label": "消极"}]).columns == {"text": "input", "label": "output"}


def test_explain_says_what_is_missing_and_left_over():
    said = suggest([{"text": "好", "label": "积极", "id": "7"}]).explain()
    assert "text → input（输入）" in said and "label → output（答案）" in said
    assert "没有用到的列：id" in said and "没有指令列" in said and "constants={'instruction'" in said
    assert "没有指令列" not in suggest([{"prompt": "问", "label": "答"}]).explain()
    said = suggest([{"id": "7"}]).explain()
    assert "还没有答案" in said and "还没有问题" in said
    rows = [{"conversations": [], "text": "好"}]
    assert suggest(rows).columns == {} and "不用映射" in suggest(rows).explain()


def test_no_name_stands_for_two_fields():
    names = [name for line in NAMES.values() for name in line.split()] + QUESTIONS.split()
    assert len(names) == len(set(names))
