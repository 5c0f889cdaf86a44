"""Judges: strict forms, gaps instead of zeros, both orders, and that one who prefers the worse answer is refused."""

import dataclasses
import json
import threading
import time

import pandas as pd
import pytest

from course_utils.data.formats import read_rows
from course_utils.errors import ConfigError, CourseError, DataError
from course_utils.evaluation import agreement, human, judge_local, ledger
from course_utils.evaluation.agreement import JudgeRefused, admit, calibrate, known_agreement, offline_judge
from course_utils.evaluation.judge import RUBRIC, Better, Cap, ModelJudge, Rubric, estimate
from course_utils.evaluation.judge_local import asked, fit, halves, signs, text_judge
from course_utils.evaluation.judging import AT_ONCE, HOPELESS, Asked, compare_answers, mark_answers

ROWS = read_rows(judge_local.CALIBRATION)
ASKED = [Asked(f"问题{i}", "标准答案") for i in range(6)]
A, B = [f"回答甲{'长' * i}" for i in range(6)], [f"回答乙{'长' * (5 - i)}" for i in range(6)]


class Fake:
    """A judge that says what `taste(asked, first, second)` says, and counts how often it is asked."""

    free, what = True, "测试用的裁判"

    def __init__(self, taste, name="假裁判"):
        self.taste, self.name, self.key, self.calls = taste, name, name, 0
        self.counting = threading.Lock()  # several threads ask

    def prefer(self, asked, first, second):
        with self.counting:
            self.calls += 1
        return self.taste(asked, first, second)

    def mark(self, asked, answer):
        return self.prefer(asked, answer, None)


def longer(asked, first, second):
    return "first" if len(first) > len(second) else "second" if len(first) < len(second) else "tie"


GOOD = {(row["question"], row["good"]) for row in ROWS}


def knows(asked, first, second):
    """Prefers the good answer of the calibration set."""
    return "first" if (asked.question, first) in GOOD else "second"


def rigged(asked, first, second):
    return "second" if (asked.question, first) in GOOD else "first"


# --- both orders ---


def test_an_impartial_judge_is_taken_at_its_word():
    found = compare_answers(Fake(longer), ASKED, A, B)
    assert found.winners == ["B", "B", "B", "A", "A", "A"]
    assert (found.swap_consistency, found.win_rate, found.judged) == (1, 0.5, 6)
    assert (found.longer, found.shorter) == (6, 0)
    assert found.longer_won == (1, pytest.approx(2 * 0.5**6))  # the sign test of six of six
    assert compare_answers(Fake(longer), ASKED, B, A).winners == ["A", "A", "A", "B", "B", "B"]


def test_a_judge_of_places_only_ties():
    found = compare_answers(Fake(lambda *_: "first"), ASKED, A, B)
    assert found.winners == ["平"] * 6
    assert (found.swap_consistency, found.win_rate) == (0, 0.5)
    assert found.longer + found.shorter == 0


def test_empty_and_equal_answers_need_no_judge():
    judge = Fake(longer)
    found = compare_answers(judge, ASKED, ["", "有", None, "同", " 同", "甲"], ["有", "", " ", "同", "同 ", "乙"])
    assert found.winners == ["B", "A", "平", "平", "平", "平"]
    assert judge.calls == 2 and found.swaps == 1
    marks = mark_answers(Fake(lambda *_: 5.0), ASKED, ["有", "", None, "有", "有", "有"])
    assert marks.values == [5, 1, 1, 5, 5, 5] and marks.n_empty == 2


# --- failures are gaps ---


def failing(on):
    def taste(asked, first, second):
        if asked.question == on:
            raise CourseError("超时")
        return longer(asked, first, second) if second is not None else 4.0

    return taste


def test_a_failure_is_a_gap_and_never_a_zero():
    found = compare_answers(Fake(failing("问题2")), ASKED, A, B)
    assert found.winners == ["B", "B", None, "A", "A", "A"]
    assert found.judged == 5 and found.win_rate == pytest.approx(3 / 5) and found.failures == ["超时"] * 2
    marks = mark_answers(Fake(failing("问题2")), ASKED, A)
    assert marks.values == [4, 4, None, 4, 4, 4] and marks.mean == 4 and marks.interval == (4, 4)


def test_a_judge_that_never_answers_is_not_asked_to_the_end():
    def taste(*_):
        raise CourseError("连不上")

    judge, many = Fake(taste), [Asked(f"问{i}", "答") for i in range(200)]
    with pytest.raises(CourseError, match="连不上"):
        mark_answers(judge, many, ["答"] * 200)
    assert judge.calls <= HOPELESS + 3 * AT_ONCE


def test_a_judge_is_stopped_after_any_question_and_what_it_said_is_kept(tmp_path):
    class Enough(Exception):
        pass

    def slow(*_):
        time.sleep(0.005)
        return 4.0

    def stop(done, total):
        assert total == 300
        if done == 3:
            raise Enough

    judge, many, file = Fake(slow), [Asked(f"问{i}", "答") for i in range(300)], tmp_path / "judge.jsonl"
    with pytest.raises(Enough):
        mark_answers(judge, many, ["答"] * 300, file, stop)
    assert len(ledger.read_lines(file)) == judge.calls < 100
    asked = judge.calls
    assert mark_answers(judge, many, ["答"] * 300, file).values == [4.0] * 300 and judge.calls == 300 > asked


def test_what_was_said_is_not_asked_again(tmp_path):
    file = tmp_path / "judge.jsonl"
    first = compare_answers(Fake(failing("问题2")), ASKED, A, B, file)
    with file.open("a") as out:
        out.write('{"key": "cut of')  # a kill
    again = Fake(longer)
    second = compare_answers(again, ASKED, A, B, file)
    assert again.calls == 2  # the two orders that failed
    assert second.winners == ["B", "B", "B", "A", "A", "A"] and first.winners[2] is None
    assert len(ledger.read_lines(file)) == 12
    assert compare_answers(Fake(longer, "别的裁判"), ASKED, A, B, file).judged == 6


def test_lengths_and_marks():
    answers = ["一", "一二", "一二三", "一二三四"]
    marks = mark_answers(Fake(lambda asked, answer, _: float(len(answer))), ASKED[:4], answers)
    assert marks.length_bias(answers) == pytest.approx(1)
    assert mark_answers(Fake(lambda *_: 3.0), ASKED[:4], answers).length_bias(answers) == 0


def test_lengths_of_the_lists_must_agree():
    with pytest.raises(DataError, match="题目有 6 条，回答有 1 条"):
        mark_answers(Fake(longer), ASKED, ["答"])


# --- the judge behind an endpoint ---


def test_a_mark_is_the_mean_under_the_lowest_cap():
    said = {"reason": "……", "正确": 5, "切题": 5, "完整": 4, "可靠": 2, "caps": []}
    asked_for = []

    def ask(messages, schema):
        asked_for.append(messages)
        return schema.model_validate_json(json.dumps(said))

    judge = ModelJudge(model="big", ask=ask)
    assert judge.mark(ASKED[0], "回答") == pytest.approx(4)
    said["caps"] = ["话没有说完", "没有回答所问的问题"]
    assert judge.mark(ASKED[0], "回答") == 2
    system, user = (message["content"] for message in asked_for[0])
    assert all(c.name in system and all(text in system for text in c.anchors.values()) for c in RUBRIC.criteria)
    assert all(f"{cap.when}（最高 {cap.at_most} 分）" in system for cap in RUBRIC.caps)
    assert json.loads(user.split("\n\n")[0]) == {"题目": "问题0", "标准答案": "标准答案", "回答": "回答"}


@pytest.mark.parametrize(
    "said",
    [
        {"reason": "", "正确": 6, "切题": 5, "完整": 4, "可靠": 2, "caps": []},
        {"reason": "", "正确": 5, "切题": 5, "完整": 4, "caps": []},
        {"reason": "", "正确": 5, "切题": 5, "完整": 4, "可靠": 2, "caps": ["我编的"]},
        {"reason": "", "正确": 5, "切题": 5, "完整": 4, "可靠": 2, "caps": [], "总分": 9},
    ],
)
def test_a_form_that_is_not_the_rubrics_is_no_mark(said):
    def ask(messages, schema):
        try:
            return schema.model_validate_json(json.dumps(said))
        except ValueError:  # as llm.ask_json ends, after it has asked anew
            raise CourseError("回答不合格式") from None

    marks = mark_answers(ModelJudge(model="big", ask=ask), ASKED, A)
    assert marks.values == [None] * 6 and len(marks.failures) == 6


def test_a_preference_is_named_by_place():
    judge = ModelJudge(model="big", ask=lambda messages, schema: Better(reason="", better="二"))
    assert judge.prefer(ASKED[0], "甲", "乙") == "second"
    assert compare_answers(judge, ASKED, A, B).winners == ["平"] * 6


def test_judgements_of_another_rubric_or_model_are_not_mixed():
    other = RUBRIC.model_copy(update={"caps": [Cap(when="话没有说完", at_most=1)]})
    keys = {ModelJudge(model="a").key, ModelJudge(model="b").key, ModelJudge(other, model="a").key}
    assert len(keys) == 3
    with pytest.raises(ValueError):
        Rubric(name="空", criteria=[])


def test_cost_is_known_before_anything_is_asked():
    judge = ModelJudge(model="big", ask=None)
    cost = estimate(judge, ASKED, A, B)
    assert cost.calls == 12 and "要问 12 次" in cost.text()
    assert cost.tokens_in > estimate(judge, ASKED, A).tokens_in > 6 * len(RUBRIC.text()) * 0.5
    assert estimate(judge, ASKED, A, A).calls == 0
    assert estimate(text_judge(), ASKED, A, B).text() == "不用调用远程模型，不花钱。"


# --- trust ---


def test_a_judge_that_knows_is_admitted_and_its_agreement_is_by_flaw():
    found = calibrate(Fake(knows))
    assert (found.agreement, found.n, found.n_failed, found.swap_consistency) == (1, 168, 0, 1)
    assert found.passed and sum(n for _, n in found.by_flaw.values()) == 168
    assert found.longer_won == pytest.approx(0.5, abs=0.08)  # the set is fair to lengths
    assert admit(Fake(knows)) == found == known_agreement(Fake(knows))
    table = found.table()
    assert table["毛病"][0] == "全部" and table["下限"][0] == pytest.approx(168 / (168 + 1.96**2), abs=1e-3)  # Wilson


@pytest.mark.parametrize(
    ("taste", "most"), [(rigged, 0.0), (longer, 0.6), (lambda *_: "first", 0.0), (lambda *_: "tie", 0.0)]
)
def test_a_judge_that_prefers_the_worse_or_does_not_look_is_refused(taste, most):
    judge = Fake(taste, f"坏裁判{most}")
    found = calibrate(judge)
    assert found.agreement <= most and not found.passed
    with pytest.raises(JudgeRefused, match="不采用"):
        admit(judge)


def test_marks_are_calibrated_too():
    good = calibrate(Fake(lambda asked, answer, _: 5.0 if (asked.question, answer) in GOOD else 2.0), how="marks")
    flat = calibrate(Fake(lambda *_: 5.0, "一律五分"), how="marks")
    bad = calibrate(
        Fake(lambda asked, answer, _: 1.0 if (asked.question, answer) in GOOD else 2.0, "反的"), how="marks"
    )
    assert (good.agreement, flat.agreement, bad.agreement) == (1, 0, 0)


def test_a_judge_nobody_has_looked_at_is_refused():
    with pytest.raises(JudgeRefused, match="还没有校准"):
        admit(Fake(knows))


def test_a_judge_that_fails_too_often_is_refused():
    count = iter(range(10**6))

    def taste(asked, first, second):
        if next(count) > 20 and len(asked.question) % 2:
            raise CourseError("超时")
        return knows(asked, first, second)

    found = calibrate(Fake(taste))
    assert found.n_failed > 20 and found.agreement == 1 and not found.passed


# --- the offline judge ---


def test_the_offline_judge_says_what_it_is_and_passes_on_rows_it_has_not_seen():
    judge, found = offline_judge()
    assert "不是大模型" in judge.what and judge.free
    assert found.n == 84 and not judge.trained_on & {row["question"] for row in halves(ROWS)[1]}
    assert found.agreement >= 0.9 and found.interval[0] > agreement.LEAST
    assert known_agreement(judge, "marks").passed
    assert found.swap_consistency == 1


def test_the_offline_judge_goes_by_the_reference_and_not_by_the_style_of_the_set():
    """With the question and reference of another row there is nothing to judge by: near chance, or it has cheated."""
    held_out = halves(ROWS)[1]
    others = held_out[7:] + held_out[:7]
    said = [
        text_judge().prefer(asked(other), row["good"], row["bad"]) for row, other in zip(held_out, others, strict=True)
    ]
    assert 0.4 < said.count("first") / len(said) < 0.7


def test_halves_are_apart_and_alike():
    train, held_out = halves(ROWS)
    assert len(train) + len(held_out) == len(ROWS) and abs(len(train) - len(held_out)) <= 2
    assert not {row["question"] for row in train} & {row["question"] for row in held_out}
    kinds = pd.crosstab([row["flaw"] for row in train + held_out], [0] * len(train) + [1] * len(held_out))
    assert ((kinds[0] - kinds[1]).abs() <= 3).all()


def test_a_rigged_fit_does_not_pass():
    """Good and bad exchanged: no weight may contradict its sign, so the judge learns next to nothing."""
    train, held_out = halves(ROWS)
    judge = fit([row | {"good": row["bad"], "bad": row["good"]} for row in train])
    judge.name = "学反了的裁判"
    found = calibrate(judge, held_out)
    assert not found.passed


@pytest.mark.parametrize("row", ROWS[::12], ids=lambda row: row["flaw"])
def test_the_reference_itself_beats_what_is_wrong_with_it(row):
    judge, question = text_judge(), asked(row)
    reference = row["reference"]
    for worse in (
        reference[: len(reference) // 2],
        "您好，这个要看具体情况，建议咨询专业人士。",
        row["question"],
        row["bad"],
    ):
        assert judge.prefer(question, reference, worse) == "first"
        assert judge.mark(question, reference) > judge.mark(question, worse)
    assert judge.prefer(question, reference, reference) == "tie"


def test_signs_by_hand():
    question = Asked("保修多久？", "保修三年，依据《民法典》第577条。")
    right = signs(question, "依据《民法典》第五百七十七条，保修三年。")
    wrong = signs(question, "保修一年，依据《民法典》第五百八十四条")
    assert right["标准答案的法条出现了多少"] == 1 and wrong["标准答案的法条出现了多少"] == 0
    assert right["没有标准答案之外的法条"] == 0 and wrong["没有标准答案之外的法条"] == -1
    assert right["写完了"] == 1 and wrong["写完了"] == 0
    assert right["标准答案的数字出现了多少"] > wrong["标准答案的数字出现了多少"]
    assert signs(question, "《民法典》第九千条")["法条都存在"] == -1
    assert signs(question, "很好很好很好").get("不重复") == pytest.approx(-(1 - 1 / 3), abs=0.35)


# --- people ---


@pytest.fixture
def sheet_of_six(tmp_path):
    return human.make_sheet(tmp_path / "human", [f"问{i}" for i in range(6)], A, B, ("微调", "基座"))


def side_of(folder, row, letter):
    sides = json.loads((folder / "key.json").read_text(encoding="utf-8"))["sides"][row]
    return "左右"[sides.index(letter)]


def test_a_sheet_is_blind_and_shuffled(tmp_path):
    many = [f"问{i}" for i in range(60)]
    folder = human.make_sheet(
        tmp_path, many, [f"甲{i}" for i in range(60)], [f"乙{i}" for i in range(60)], ("新", "旧")
    )
    text = (folder / "sheet.jsonl").read_text(encoding="utf-8")
    assert "新" not in text and "旧" not in text
    lines = human.sheet(folder, "张三")
    left = sum(line["left"].startswith("甲") for line in lines)
    assert 15 < left < 45  # neither model has a side of its own
    for line in lines:
        assert line[{"左": "left", "右": "right"}[side_of(folder, line["id"], "A")]].startswith("甲")
    assert [line["id"] for line in human.sheet(folder, "张三")] == [line["id"] for line in lines]
    assert [line["id"] for line in human.sheet(folder, "李四")] != [line["id"] for line in lines]


def test_ratings_are_counted_under_the_key(sheet_of_six):
    folder = sheet_of_six
    rows = [line["id"] for line in human.sheet(folder, "张三")]
    for i, row in enumerate(rows[:4]):  # A wins three, one tie
        human.rate(folder, "张三", row, "平" if i == 3 else side_of(folder, row, "A"))
    human.rate(folder, "张三", rows[0], side_of(folder, rows[0], "B"))  # changed their mind
    found = human.tally(folder)
    assert (found.a, found.b, found.wins_a, found.wins_b, found.ties) == ("微调", "基座", 2, 1, 1)
    assert found.win_rate == pytest.approx((1 + 1 + 0 + 0.5) / 4)
    assert found.kappa is None and found.rows == 4 and found.raters == ["张三"]


def test_a_model_that_people_like_wins_from_either_side(tmp_path):
    for names, expected in ((("好", "坏"), 1.0), (("坏", "好"), 0.0)):
        folder = tmp_path / names[0]
        answers = {"好": [f"好{i}" for i in range(8)], "坏": [f"坏{i}" for i in range(8)]}
        human.make_sheet(folder, [f"问{i}" for i in range(8)], answers[names[0]], answers[names[1]], names)
        for line in human.sheet(folder, "张"):
            human.rate(folder, "张", line["id"], "左" if line["left"].startswith("好") else "右")
        assert human.tally(folder).win_rate == expected


def test_kappa_by_hand():
    def table(one, two):
        rows = [(f"r{i}", "甲", c) for i, c in enumerate(one)] + [(f"r{i}", "乙", c) for i, c in enumerate(two)]
        return pd.DataFrame(rows, columns=["id", "rater", "choice"])

    # they agree on 3 of 4 (0.75); by chance 0.5 * 0.75 + 0.5 * 0.25 = 0.5
    assert human.kappa(table("左左右右", "左左左右")) == pytest.approx((0.75 - 0.5) / (1 - 0.5))
    assert human.kappa(table("左左", "左左")) == 1
    assert human.kappa(table("左右", "右左")) == pytest.approx(-1)


def test_ratings_of_two_machines_are_merged_once(sheet_of_six, tmp_path):
    import shutil

    folder, other = sheet_of_six, tmp_path / "别处"
    shutil.copytree(folder, other)
    for place, rater in ((folder, "张三"), (other, "李四")):
        for line in human.sheet(place, rater):
            human.rate(place, rater, line["id"], "左")
    assert human.merge(folder, [other]) == 6
    assert human.merge(folder, [other / "ratings.jsonl"]) == 0
    found = human.tally(folder)
    assert found.raters == ["张三", "李四"] and found.kappa == 1 and found.left_share == 1
    (other / "ratings.jsonl").write_text('{"id": "x", "rater": "王五", "choice": "左"}\n', encoding="utf-8")
    with pytest.raises(DataError, match="第 1 行不是这份评分表的评分"):
        human.merge(folder, [other])


def test_mistakes_of_raters(sheet_of_six, tmp_path):
    row = human.sheet(sheet_of_six, "张三")[0]["id"]
    for rater, line, choice, message in (
        (" ", row, "左", "名字"),
        ("张三", row, "上", "没有「上」"),
        ("张三", "x", "左", "没有 x"),
    ):
        with pytest.raises(ConfigError, match=message):
            human.rate(sheet_of_six, rater, line, choice)
    with pytest.raises(DataError, match="还没有人评分"):
        human.tally(sheet_of_six)
    with pytest.raises(DataError, match="全都一样"):
        human.make_sheet(tmp_path / "x", ["问"], ["同"], ["同 "], ("a", "b"))
    human.rate(sheet_of_six, "张三", row, "左")
    with pytest.raises(ConfigError, match="已经有别的评分"):
        human.make_sheet(sheet_of_six, ["问"], ["甲"], ["乙"], ("a", "b"))
    human.make_sheet(sheet_of_six, [f"问{i}" for i in range(6)], A, B, ("微调", "基座"))
    assert dataclasses.is_dataclass(human.tally(sheet_of_six))
