"""Chapter 4's exercises say what is wrong, and let the right answer through."""

import pytest

from course_utils.data import presets
from course_utils.grading.exercises.ch04 import exercise_04_1, exercise_04_2

PRESET = "product_classification"


@pytest.fixture(scope="module")
def shares():
    noun = {row["input"]: row["noun"] for row in presets.rows(PRESET)}
    found = {}
    for name, harder in (("随机", False), ("较难", True)):
        parts = presets.parts(PRESET, harder=harder)
        train, test = ([noun[r.input] for r in parts[part]] for part in ("train", "test"))
        found[name] = {
            "right": sum(n in set(train) for n in test) / len(test),
            "nouns": sum(n in set(train) for n in set(test)) / len(set(test)),
            "turned": sum(n in set(test) for n in train) / len(train),
        }
    return found


def test_the_shares_of_seen_nouns(shares):
    right = {name: found["right"] for name, found in shares.items()}
    assert right["较难"] == 0 and exercise_04_1(right) is None
    assert "不同的中心词" in exercise_04_1(right | {"随机": shares["随机"]["nouns"]})
    assert "方向反了" in exercise_04_1(right | {"随机": shares["随机"]["turned"]})
    assert "整条标题" in exercise_04_1(right | {"随机": 0.0})
    assert "「较难」一项不对" in exercise_04_1(right | {"较难": 0.5})


@pytest.mark.parametrize(
    "answer", [3, {"随机": 1}, {"随机": None, "较难": 0}, {"随机": 94, "较难": 0}, {"随机": True, "较难": 0}]
)
def test_what_is_no_pair_of_shares_is_told(answer):
    assert exercise_04_1(answer)


SURE = [[0.3, False], [0.5, True], [0.6, True], [0.7, False], [0.8, True], [0.9, True], [0.95, True], [0.99, True]]


@pytest.mark.parametrize(
    ("goal", "threshold", "said"),
    [
        (0.85, 0.5, None),  # 6 of 7; at 0.6 only 5 of 6 are right: the accuracy does not rise all the way
        (0.85, 0.8, "还可以更低"),
        (0.85, 0.6, "门槛还要高一些"),
        (0.85, 0.2, "门槛还要高一些"),
        (0.85, 1.0, "一件商品也放不过去"),
        (1.0, 0.75, None),  # between two confidences: passes the same rows as 0.8
        (1.0, None, "应当是 0 到 1 的数"),
    ],
)
def test_the_lowest_threshold(goal, threshold, said):
    found = exercise_04_2({"sure": SURE, "goal": goal, "threshold": threshold})
    assert found is None if said is None else said in found


def test_where_no_threshold_is_good_enough_one_above_all_is_right():
    sure = [[0.4, True], [0.9, False]]
    assert exercise_04_2({"sure": sure, "goal": 0.9, "threshold": 1.01}) is None
    assert "1.01" in exercise_04_2({"sure": sure, "goal": 0.9, "threshold": 0.9})


@pytest.mark.parametrize(
    "answer", [None, {}, {"sure": [], "goal": 0.9, "threshold": 0.5}, {"sure": [[1]], "goal": 0.9, "threshold": 1}]
)
def test_what_is_no_threshold_is_told(answer):
    assert exercise_04_2(answer)
