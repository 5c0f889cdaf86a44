"""Chapter 5's checks say what is wrong, and let the right answer through."""

import pytest

from course_utils.data import presets
from course_utils.grading.exercises.ch05 import ANSWERS, CASES, exercise_05_1, exercise_05_2, exercise_05_3
from course_utils.grading.given import without_given


@pytest.fixture(scope="module")
def kinds():
    return [row["kind"] for row in without_given(presets.rows("legal_qa"))]


@pytest.fixture
def parts(kinds):
    """A cut that passes: of each kind a tenth for validation and two fifths for the test."""
    cut = {"train": [], "validation": [], "test": []}
    for kind in ("解答", "拒绝", "不能确定"):
        mine = [i for i, found in enumerate(kinds) if found == kind]
        few, many = len(mine) // 10, len(mine) // 10 + 2 * len(mine) // 5
        for part, chosen in (("validation", mine[:few]), ("test", mine[few:many]), ("train", mine[many:])):
            cut[part] += chosen
    return cut


def test_a_cut_that_keeps_the_rare_kinds(parts):
    assert exercise_05_1(parts) is None


def test_each_mistake_in_cutting_is_named(parts, kinds):
    def moved(kind, source, target, keep=0):
        mine = [i for i in parts[source] if kinds[i] == kind][keep:]
        return parts | {source: [i for i in parts[source] if i not in mine], target: parts[target] + mine}

    assert "出现了 2 次" in exercise_05_1(parts | {"test": parts["test"] + parts["train"][:1]})
    assert "哪一份都没有" in exercise_05_1(parts | {"test": parts["test"][1:]})
    assert f"没有第 {len(kinds)} 行" in exercise_05_1(parts | {"test": [*parts["test"], len(kinds)]})
    assert "测试集里「拒绝」" in exercise_05_1(moved("拒绝", "test", "train"))
    assert "训练集里「不能确定」" in exercise_05_1(moved("不能确定", "train", "test", keep=3))
    assert "验证集里没有「拒绝」" in exercise_05_1(moved("拒绝", "validation", "train"))
    assert "不到一半" in exercise_05_1(moved("解答", "train", "test", keep=40))
    assert "三项" in exercise_05_1({"train": []}) and "整数" in exercise_05_1(parts | {"test": [{}]})


def test_the_notice():
    said = "以下不是法律意见。"
    good = [said + ANSWERS[0], said + ANSWERS[1], ANSWERS[2]]
    assert exercise_05_2(good) is None
    for place, wrong, told in (
        (0, ANSWERS[0], "还是没有"), (0, ANSWERS[0] + said, "最前面"), (1, said + ANSWERS[1].replace("\n", ""), "一个字也不能动"),
        (2, said + ANSWERS[2], "又加了一遍"), (1, "注意：" + said + ANSWERS[1], "不一样"), (0, "请注意" * 15 + said + ANSWERS[0], "太长"),
    ):  # fmt: skip
        assert told in exercise_05_2([*good[:place], wrong, *good[place + 1 :]])
    assert exercise_05_2([None] * 3) and exercise_05_2("")


def test_the_recall_of_articles():
    right = [1.0, 0.5, 0.0, None, 0.5]
    assert exercise_05_3(right) is None
    assert "None" in exercise_05_3([*right[:3], 0.0, 0.5])
    assert "不是 None" in exercise_05_3([1.0, 0.5, None, None, 0.5])
    assert "精确率" in exercise_05_3([1.0, 0.5, 0.0, None, 1.0])
    assert "不对" in exercise_05_3([1.0, 0.2, 0.0, None, 0.5])
    assert len(right) == len(CASES) and exercise_05_3([]) and exercise_05_3([True] * 5)
