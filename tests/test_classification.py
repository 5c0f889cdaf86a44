import math
import socket

import numpy as np
import pandas as pd
import pytest
from scipy.stats import binom
from sklearn.metrics import f1_score

from course_utils.errors import DataError
from course_utils.evaluation import metrics
from course_utils.evaluation.classification import paired_difference, score_labels, summary

REFERENCES = ["正面", "正面", "正面", "负面", "负面", "中性"]
PREDICTIONS = ["正面", " 正面\n", "负面", "负面", None, "很好"]


def test_scores_by_hand():
    result = score_labels(PREDICTIONS, REFERENCES, ["正面", "负面", "中性"])
    assert (result.n, result.n_empty, result.n_unknown) == (6, 1, 1)
    assert result.accuracy == pytest.approx(3 / 6)
    table = result.per_class.set_index("label")
    assert table.index.tolist() == ["正面", "负面", "中性"]
    assert table["precision"].tolist() == pytest.approx([1, 1 / 2, 0])
    assert table["recall"].tolist() == pytest.approx([2 / 3, 1 / 2, 0])
    assert table["f1"].tolist() == pytest.approx([4 / 5, 1 / 2, 0])
    assert table["support"].tolist() == [3, 2, 1]
    assert result.macro_f1 == pytest.approx((4 / 5 + 1 / 2 + 0) / 3)


def test_confusion_has_a_column_for_what_is_no_label():
    confusion = score_labels(PREDICTIONS, REFERENCES, ["正面", "负面", "中性"]).confusion
    assert confusion.index.tolist() == ["正面", "负面", "中性"]
    assert confusion.columns.tolist() == ["正面", "负面", "中性", "其他"]
    assert confusion.to_numpy().tolist() == [[2, 1, 0, 0], [0, 1, 0, 1], [0, 0, 0, 1]]
    clean = score_labels(["负面", "正面"], ["正面", "正面"], ["正面", "负面"]).confusion
    assert clean.columns.tolist() == ["正面", "负面"]


def test_a_label_called_other_is_not_mixed_up_with_unknown_answers():
    confusion = score_labels(["其他", "胡说"], ["其他", "其他"]).confusion
    assert confusion.loc["其他"].to_dict() == {"其他": 1, "标签之外": 1}


@pytest.mark.parametrize("empty", [None, "", "  \n", float("nan")])
def test_every_kind_of_empty_answer_is_wrong_and_counted(empty):
    result = score_labels(["甲", empty], ["甲", "甲"])
    assert (result.accuracy, result.n_empty, result.n_unknown) == (0.5, 1, 0)


def test_nothing_but_surrounding_blanks_is_normalised():
    assert score_labels(["正 面", "正面。", "正面"], ["正面"] * 3).n_unknown == 2


def test_macro_f1_agrees_with_sklearn_on_clean_input():
    rng = np.random.default_rng(1)
    labels = ["甲", "乙", "丙", "丁"]
    references = rng.choice(labels[:3], 200).tolist()
    predictions = rng.choice(labels, 200).tolist()  # 丁 is predicted and never right
    result = score_labels(predictions, references, [*labels, "从不出现"])
    assert result.macro_f1 == pytest.approx(f1_score(references, predictions, average="macro"))


def test_unknown_answers_lower_recall_but_make_no_class():
    one_way = score_labels(["甲", "乙", "x", "x"], ["甲", "乙", "甲", "乙"])
    two_ways = score_labels(["甲", "乙", "x", "y"], ["甲", "乙", "甲", "乙"])
    assert one_way.macro_f1 == two_ways.macro_f1 == pytest.approx(2 / 3)  # precision 1, recall 1/2


def test_interval_is_that_of_resampled_rows_and_repeats_with_the_seed():
    references = ["甲"] * 200
    predictions = ["甲"] * 150 + ["乙"] * 50
    low, high = score_labels(predictions, references).interval
    exact = [binom.ppf(q, 200, 0.75) / 200 for q in (0.025, 0.975)]
    assert (low, high) == pytest.approx(exact, abs=0.011)
    assert low < 0.75 < high
    assert score_labels(predictions, references).interval == (low, high)
    small = score_labels(predictions[::10], references[::10]).interval
    assert small[1] - small[0] > high - low  # fewer rows, wider interval


@pytest.mark.parametrize(
    ("predictions", "references", "labels", "message"),
    [
        (["甲"], ["甲", "乙"], None, "预测有 1 条，参考标签有 2 条"),
        ([], [], None, "没有可以评分的数据"),
        (["甲", "甲"], ["甲", "丙"], ["甲", "乙"], "第 2 行的参考标签“丙”"),
        (["甲", "甲"], ["甲", " "], None, "第 2 行没有参考标签"),
        (["甲", 3], ["甲", "甲"], None, "第 2 行的预测是 int"),
    ],
)
def test_errors_say_what_to_mend(predictions, references, labels, message):
    with pytest.raises(DataError, match=message):
        score_labels(predictions, references, labels)


def test_paired_difference_by_hand():
    references = ["甲"] * 100
    better = ["甲"] * 90 + ["乙"] * 10  # wrong on the last 10
    worse = ["乙"] * 8 + ["甲"] * 82 + ["乙"] * 8 + ["甲"] * 2  # wrong on the first 8 and 8 of the last 10
    result = paired_difference(better, worse, references)
    assert (result.only_a, result.only_b) == (8, 2)
    assert result.difference == pytest.approx(0.06)
    # Two-sided exact test of 8 heads in 10 throws: 2 * (45 + 10 + 1) / 1024.
    assert result.p_value == pytest.approx(2 * 56 / 1024)
    assert result.interval[0] < 0.06 < result.interval[1]
    swapped = paired_difference(worse, better, references)
    assert (swapped.difference, swapped.p_value) == (pytest.approx(-0.06), result.p_value)


def test_a_model_does_not_differ_from_itself():
    result = paired_difference(PREDICTIONS, PREDICTIONS, REFERENCES)
    assert (result.difference, result.interval, result.p_value) == (0, (0, 0), 1)


def test_summary_names_the_numbers():
    text = summary(score_labels(PREDICTIONS, REFERENCES))
    for part in ("准确率 50.0%", "95% 区间", "宏 F1 0.433", "共 6 条", "空回答 1 条", "标签之外的回答 1 条"):
        assert part in text


@pytest.fixture
def no_network(monkeypatch):
    def refuse(*_):
        raise AssertionError("a metric asked the network")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    monkeypatch.setattr(socket, "getaddrinfo", refuse)


def test_evaluate_loads_our_metric_without_network(no_network):
    metrics.load.cache_clear()
    scores = metrics.load("classification").compute(
        predictions=["积极", "消极", ""], references=["积极", "积极", "消极"], labels=["积极", "消极"]
    )
    assert scores["accuracy"] == pytest.approx(1 / 3)
    assert scores["macro_f1"] == pytest.approx((2 / 3 + 0) / 2)
    assert scores["confusion"] == [[1, 1, 0], [0, 0, 1]]


def test_columns_of_a_table_are_scored_as_lists_are():
    result = score_labels(pd.Series(PREDICTIONS), pd.Series(REFERENCES))
    assert result.confusion.to_numpy().sum() == result.n
    assert not math.isnan(result.per_class.drop(columns="label").to_numpy().sum())
