"""Chapters 2 and 3: a right answer passes, each likely mistake is told by its own message."""

import math

import pytest

from course_utils.grading.exercises.ch02 import (
    PAIRS,
    WRITTEN,
    exercise_02_1,
    exercise_02_2,
    exercise_02_3,
    exercise_02_4,
)
from course_utils.grading.exercises.ch03 import exercise_03_1, exercise_03_2, exercise_03_3, exercise_03_4


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({}, None),
        ({"不积极": "消极"}, None),
        ({"不积极": "积极"}, "意思却相反"),
        ({"中性": "消极"}, "应当返回 None"),
        ({"Positive": None}, "英文换成小写"),
        ({"差评": "积极"}, "写反了"),
        ({"好评": "好评"}, "不是“积极”“消极”或 None"),
    ],
)
def test_labels_are_made_one(changes, said):
    found = exercise_02_1(WRITTEN | changes)
    assert found is None if said is None else said in found


def test_bad_pairs_are_found():
    bad = [number for number, pair in enumerate(PAIRS, 1) if pair["bad"]]
    assert exercise_02_2(bad) is None
    assert "还差 1 对" in exercise_02_2(bad[:-1]) and "可以留" in exercise_02_2([*bad, 1])
    assert "号码从 1 到 8" in exercise_02_2([9])


SENTENCES = [
    ("拉链第三天就坏了", "拉链三天就坏了"),
    ("面料厚实", "面料厚实"),
    ("尺码偏小", "发货很快"),
    ("猫很满意", "狗很满意"),
]


def pieces(text):
    return {text[i : i + 3] for i in range(max(1, len(text) - 2))}


@pytest.mark.parametrize(
    ("likeness", "said"),
    [
        (lambda a, b: len(pieces(a) & pieces(b)) / len(pieces(a) | pieces(b)), None),
        (lambda a, b: len(pieces(a) & pieces(b)) / min(len(pieces(a)), len(pieces(b))), "较短的一句"),
        (lambda a, b: len(pieces(a) & pieces(b)) / (len(pieces(a)) + len(pieces(b))), "数了两次"),
        (lambda a, b: len(set(a) & set(b)) / len(set(a) | set(b)), "单个的字"),
        (lambda a, b: None, "不是数"),
        (lambda a, b: 0.123, "应当是"),
    ],
)
def test_likeness_is_that_of_pieces(likeness, said):
    found = exercise_02_3([[a, b, likeness(a, b)] for a, b in SENTENCES])
    assert found is None if said is None else said in found


def test_our_pieces_are_those_of_the_split():
    from course_utils.data.split import _jaccard, _shingles

    for one, two in SENTENCES:
        assert exercise_02_3([[one, two, _jaccard(_shingles(one), _shingles(two))]] * 3) is None


MINE = [
    (text, label)
    for label, texts in {
        "要回复": ["明天谁能来搬桌子？报名接龙", "请把疫苗本拍照发群里", "周五交不交餐费，今晚告诉我", "几号有空来开会？",
                   "孩子没到校的请说明原因", "同意请回个一"],
        "不用回": ["今天的作业写在黑板上了", "孩子们午睡都很乖", "运动会照片已经传到相册", "天冷了，早晚加件衣服",
                   "校车晚到十分钟，大家放心", "谢谢老师辛苦"],
    }.items()
    for text in texts
]  # fmt: skip


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda rows: rows, None),
        (lambda rows: rows[:5], "至少要 12 行"),
        (lambda rows: [row | {"output": "要回复"} for row in rows], "只有一种标签"),
        (lambda rows: [*rows, {"input": "几点放学", "output": "要回服"}], "只有 1 行"),
        (lambda rows: [*rows, {"input": "打 13812345678 联系我", "output": "要回复"}], "第 13 行"),
        (lambda rows: [*rows, {"input": "看到的都要回复一下", "output": "要回复"}], "直接写着答案"),
        (lambda rows: [*rows, {"input": "今天的作业写在黑板上了。", "output": "不用回"}], "几乎一样"),
        (lambda rows: [*rows, {"input": "", "output": "不用回"}], "第 13 行"),
        (lambda rows: [{"input": "缺了答案"}] * 12, "每一行都要是"),
    ],
)
def test_a_data_set_of_ones_own(change, said):
    found = exercise_02_4(change([{"input": text, "output": label} for text, label in MINE]))
    assert found is None if said is None else said in found


LAYERS = [[640, 1024], [640, 256], [2048, 640]]


@pytest.mark.parametrize(
    ("count", "said"),
    [
        (lambda r: sum(r * (a + b) for a, b in LAYERS), None),
        (lambda r: sum(a * b for a, b in LAYERS), "原来的权重 W"),
        (lambda r: sum(r * a for a, _ in LAYERS), "只数了 A 和 B 中的一个"),
        (lambda r: r * (640 + 1024), "只数了一层"),
        (lambda r: sum(r * a * r * b for a, b in LAYERS), "不是相乘"),
        (lambda r: 7, "应当是"),
    ],
)
def test_parameters_of_lora(count, said):
    found = exercise_03_1({"layers": LAYERS, "parameters": {str(r): count(r) for r in (2, 8)}})
    assert found is None if said is None else said in found


CHECKS = [[10, 0.5], [20, 0.3], [30, 0.35], [40, 0.36], [50, 0.29]]


@pytest.mark.parametrize(
    ("patience", "best", "stop", "said"),
    [
        (2, 50, 40, None),
        (3, 50, None, None),
        (1, 50, 30, None),
        (2, 0.29, 40, "要的是步数"),
        (2, 20, 40, "在第 50 步"),
        (2, 50, 50, "第 40 步"),
        (3, 50, 50, "一直没有停"),
    ],
)
def test_the_best_step_and_the_early_stop(patience, best, stop, said):
    found = exercise_03_2({"checks": CHECKS, "patience": patience, "best": best, "stop": stop})
    assert found is None if said is None else said in found


def test_the_last_check_is_not_always_the_best():
    found = exercise_03_2({"checks": CHECKS[:-1], "patience": 2, "best": 40, "stop": 40})
    assert "最后一次不一定最好" in found


PARTS = {"积极": [-0.7, -0.2, -0.1], "消极": [-1.1, -0.1, -0.9]}


def softmax(logs):
    total = sum(map(math.exp, logs.values()))
    return {label: math.exp(log) / total for label, log in logs.items()}


@pytest.mark.parametrize(
    ("probabilities", "said"),
    [
        (softmax({label: sum(logs) for label, logs in PARTS.items()}), None),
        (softmax({label: sum(logs) / 3 for label, logs in PARTS.items()}), "取了平均"),
        (softmax({label: sum(logs[:-1]) for label, logs in PARTS.items()}), "结束标记"),
        (softmax({label: logs[0] for label, logs in PARTS.items()}), "第一个 token"),
        ({label: math.exp(sum(logs)) for label, logs in PARTS.items()}, "加起来不是 1"),
        ({"积极": 0.5, "消极": 0.5}, "应当是"),
        ({"积极": 1.0}, "每个标签都要有"),
    ],
)
def test_the_probability_of_a_label(probabilities, said):
    found = exercise_03_3({"parts": PARTS, "probabilities": probabilities})
    assert found is None if said is None else said in found


SAID, TRUTH = ["积极", "积极", "消极", "积极", ""], ["积极", "消极", "消极", "积极", "积极"]


def scored(**changes):
    from sklearn.metrics import accuracy_score, f1_score

    f1 = dict(zip(["消极", "积极"], f1_score(TRUTH, SAID, labels=["消极", "积极"], average=None), strict=True))
    right = {"accuracy": accuracy_score(TRUTH, SAID), "f1": f1, "macro_f1": sum(f1.values()) / 2}
    return {"predictions": SAID, "references": TRUTH} | right | changes


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        (scored(), None),
        (scored(accuracy=0.75), "准确率应当是 0.6000"),
        (scored(f1={"消极": 0.75, "积极": 2 / 3}), "算术平均"),
        (scored(f1={"消极": 0.5, "积极": 2 / 3}), "精确率或召回率"),
        (scored(f1={"消极": 0.1, "积极": 2 / 3}), "「消极」的 F1 应当是"),
        (scored(macro_f1=0.6), "不要按条数加权"),
    ],
)
def test_f1_by_hand_is_the_library_s(answer, said):
    found = exercise_03_4(answer)
    assert found is None if said is None else said in found
