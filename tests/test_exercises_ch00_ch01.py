"""The exercises of chapters 0 and 1 say what is wrong, and let the right answer through."""

from math import exp, log

import pytest

from course_utils.grading.exercises.ch00 import exercise_00_1, exercise_00_2
from course_utils.grading.exercises.ch01 import (
    exercise_01_1,
    exercise_01_2,
    exercise_01_3,
    exercise_01_4,
    exercise_01_5,
)

TRUTH = ["积极", "消极", "积极", "积极", "消极"]
SAID = ["积极", "消极", "消极", "消极", "消极"]
LOGITS = [3.0, 1.0, 0.0]


def softmax(values):
    parts = [exp(value) for value in values]
    return [part / sum(parts) for part in parts]


@pytest.mark.parametrize(
    ("accuracy", "majority", "told"),
    [
        (0.6, 0.6, None),
        (3, 0.6, "除以总条数"),
        (0.4, 0.6, "答错的"),
        (0.6, None, "还差 majority"),
        (0.6, 0.8, "模型的回答"),
        (0.6, 3, "除以总条数"),
    ],
)
def test_accuracy_beside_the_majority(accuracy, majority, told):
    said = exercise_00_1({"references": TRUTH, "predictions": SAID, "accuracy": accuracy, "majority": majority})
    assert said is None if told is None else told in said


def test_the_model_has_to_be_fooled():
    line = {"sentence": "前台很热情，可惜蟑螂也很热情", "human": "消极", "model": "消极"}
    assert "还没有骗倒" in exercise_00_2([line])
    assert exercise_00_2([line, line | {"model": "积极"}]) is None
    assert "只能是" in exercise_00_2([line | {"human": "差评"}])
    assert "太短" in exercise_00_2([line | {"sentence": "好", "model": "积极"}])


@pytest.mark.parametrize(
    ("given", "told"),
    [
        (softmax([value / 2 for value in LOGITS]), None),
        (softmax(LOGITS), "还没有用上"),
        (softmax([value * 2 for value in LOGITS]), "要除以它"),
        ([share / 2 for share in softmax(LOGITS)], "不是除在概率上"),
        ([exp(value / 2) for value in LOGITS], "加起来是"),
        ([0.5, 0.5], "要有 3 个概率"),
    ],
)
def test_temperature(given, told):
    said = exercise_01_1({"logits": LOGITS, "probabilities": {"2": given}})
    assert said is None if told is None else told in said


def test_loss_and_perplexity():
    shares = [0.5, 0.25, 0.125]
    loss = -sum(map(log, shares)) / 3

    def ask(loss, perplexity):
        return exercise_01_2({"probabilities": shares, "loss": loss, "perplexity": perplexity})

    assert ask(loss, exp(loss)) is None
    assert "负号" in ask(-loss, None) and "除以个数" in ask(3 * loss, None)
    assert "先平均了概率" in ask(-log(sum(shares) / 3), None)
    assert "还差 perplexity" in ask(loss, None) and "不是 2 的" in ask(loss, 2**loss)


def test_counting_lora():
    def ask(parameters, break_even=None):
        return exercise_01_3({"shape": [640, 2048], "rank": 8, "parameters": parameters, "break_even": break_even})

    assert ask(8 * 2688, 488) is None
    assert "A 和 B" in ask(640 * 2048) and "只数了 A" in ask(8 * 640) and "只数了 B" in ask(8 * 2048)
    assert "还差 break_even" in ask(8 * 2688) and "早已比 W 大" in ask(8 * 2688, 640)
    assert "差一点点" in ask(8 * 2688, 487)


TURN = [
    "<start_of_turn>",
    "user",
    "\n",
    "问",
    "<end_of_turn>",
    "\n",
    "<start_of_turn>",
    "model",
    "\n",
    "答",
    "<end_of_turn>",
]
ASKED, ANSWERED = [False] * 9, [True] * 2


@pytest.mark.parametrize(
    ("marks", "told"),
    [
        ((ASKED + ANSWERED) * 2, None),
        ([*ASKED, True, False] * 2, "漏了回答后面的"),
        (([False] * 4 + [True] + [False] * 4 + ANSWERED) * 2, "不用学"),
        ([not mark for mark in (ASKED + ANSWERED) * 2], "正好反了"),
        (([False] * 7 + [True] * 4) * 2, "对话模板"),
        ([False] * 20 + ANSWERED, "前几轮的回答也要学"),
        ([True], "一样多"),
    ],
)
def test_the_mask(marks, told):
    said = exercise_01_4({"pieces": TURN * 2, "marks": marks})
    assert said is None if told is None else told in said


def test_the_longest_common_subsequence():
    def ask(common, score=None):
        return exercise_01_5({"answer": "乙甲丙丁", "reference": "甲乙丙", "common": common, "rouge_l": score})

    assert ask(2, 4 / 7) is None
    assert "先后" in ask(3) and "还差 rouge_l" in ask(2)
    assert "F1" in ask(2, 2 / 4) and "应当是" in ask(2, 0.9)
