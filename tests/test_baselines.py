import pytest

from course_utils.data.records import Record
from course_utils.errors import DataError
from course_utils.evaluation.baselines import beside_tfidf, majority, tfidf


def test_majority_repeats_the_most_frequent_label():
    assert majority(["负面", "正面", "正面"], 4) == ["正面"] * 4
    assert majority(["负面", "正面"], 1) == ["负面"]  # a tie: the first
    assert majority(["负面"], 0) == []


def test_tfidf_learns_from_characters():
    texts = ["味道很好，还会再来", "服务太差，不会再来", "很好吃", "太差劲", "环境很好", "送餐太差"]
    labels = ["正面", "负面"] * 3
    assert tfidf(texts, labels, ["菜很好", "态度太差"]) == ["正面", "负面"]


def test_tfidf_ignores_what_was_seen_once_in_a_large_set():
    texts = ["好"] * 60 + ["差"] * 60 + ["奇"]  # 奇 occurs in one text only
    labels = ["正面"] * 60 + ["负面"] * 60 + ["负面"]
    assert tfidf(texts, labels, ["奇好", "好"]) == ["正面", "正面"]
    assert tfidf(texts, labels, ["奇"]) == tfidf(texts, labels, ["没见过的字"])


def test_tfidf_with_one_class_and_with_nothing_to_label():
    assert tfidf(["甲", "乙"], ["正面", "正面"], ["丙", "丁", "戊"]) == ["正面"] * 3
    assert tfidf(["甲", "乙"], ["正面", "负面"], []) == []


def test_errors_say_what_to_mend():
    with pytest.raises(DataError, match="训练集没有标签"):
        majority([], 3)
    with pytest.raises(DataError, match="训练文本有 1 条，标签有 2 条"):
        tfidf(["甲"], ["正面", "负面"], ["乙"])
    with pytest.raises(DataError, match="训练集没有文本"):
        tfidf([], [], ["乙"])


def test_a_model_beside_tfidf_on_the_same_rows():
    train = [
        Record("判断", text, label)
        for text, label in (("很好", "积极"), ("喜欢", "积极"), ("很差", "消极"), ("讨厌", "消极"))
    ]
    rows = [
        {"input": "真好", "output": "积极", "prediction": "积极"},
        {"input": "真差", "output": "消极", "prediction": "积极"},
    ]
    found = beside_tfidf(train, rows)
    guessed = tfidf([r.input for r in train], [r.output for r in train], [row["input"] for row in rows])
    assert found.tfidf.accuracy == sum(g == row["output"] for g, row in zip(guessed, rows, strict=True)) / 2
    assert found.model.accuracy == 0.5 and found.gap.difference == 0.5 - found.tfidf.accuracy
    assert "95% 区间" in found.text() and "分不出高下" in found.text()
