"""Handing in and grading a class: keys, names, scores, sheets, pages; without a model."""

import csv
import io
import json
import os
from concurrent.futures import Future
from concurrent.futures import TimeoutError as TimedOut

import pytest
from grading_samples import claim, good, lines, own_rows, shared_rows
from pebble import ProcessExpired
from typer.testing import CliRunner

from course_utils import paths
from course_utils.cli import app
from course_utils.data import presets
from course_utils.errors import ConfigError, DataError
from course_utils.evaluation.judge import ModelJudge
from course_utils.grading import classroom, given, marking
from course_utils.grading.alike import alike, copied
from course_utils.grading.exercises.ch05 import ANSWERS, CASES
from course_utils.grading.grade import grade
from course_utils.grading.key import make_key, read_key
from course_utils.grading.pages import cell, number_cell, visible
from course_utils.grading.references import FreeQuestion
from course_utils.grading.roster import Student, find_files, read_roster, whose
from course_utils.grading.rubric import default_rubric, read_rubric
from course_utils.grading.sheets import COMMENT
from course_utils.grading.statute_questions import statute_questions
from course_utils.grading.submission import read_submission

LONG = "不能直接上线。依据是我跑出来的数：引到该引的条文只有百分之六，拒绝的十一条里错了三条，所以夜里只能写草稿，第二天由律师看过再发。"


@pytest.fixture(scope="module")
def key(tmp_path_factory):
    return make_key(tmp_path_factory.mktemp("teacher"))


@pytest.fixture(scope="module")
def secret(key):
    return read_key(key)


# --- questions and the key ---


def test_the_given_questions_are_of_the_test_part_and_nothing_else():
    rows = {row["input"]: row for row in presets.rows("legal_qa")}
    test = {record.input for record in presets.parts("legal_qa")["test"]}
    questions = given.given_questions()
    assert len(questions) == 20 and len({question.id for question in questions}) == 20
    for question in questions:
        assert question.record.input in test and not question.record.output
        assert question.record.instruction == rows[question.record.input]["instruction"]
    text = (paths.ROOT / "course_utils" / "grading" / "given.yaml").read_text(encoding="utf-8")
    assert not any(rows[question.record.input]["output"][:20] in text for question in questions)


def test_without_given_drops_the_given_questions_also_slightly_changed():
    asked = given.given_questions()[0].record.input
    rows = [*presets.rows("legal_qa"), {"input": asked + "谢谢。"}]
    left = given.without_given(rows)
    assert len(left) == len(rows) - 21 and all(row["input"] != asked for row in left)


def test_a_key_is_its_owners_alone_and_its_questions_are_new(key, secret):
    if os.name == "posix":
        assert key.stat().st_mode & 0o777 == 0o600
    assert len(secret.hidden) == 24 and len({gold.question for gold in secret.hidden}) == 24
    public = [row["input"] for row in presets.rows("legal_qa")]
    assert not given.leaks([gold.question for gold in secret.hidden], public)
    assert {gold.kind for gold in secret.hidden} == {"解答", "拒绝"}
    with pytest.raises(ConfigError, match="已经在那里了"):
        make_key(key.parent)


def test_a_key_is_not_made_where_students_get_it(tmp_path):
    with pytest.raises(ConfigError, match="会跟着仓库到学生手里"):
        make_key(paths.ROOT / "workspace" / "key")
    (tmp_path / "repo" / ".git").mkdir(parents=True)
    with pytest.raises(ConfigError, match="会跟着仓库到学生手里"):
        make_key(tmp_path / "repo" / "teacher" / "key")
    assert not (tmp_path / "repo" / "teacher").exists()


@pytest.mark.skipif(os.name != "posix", reason="file modes")
def test_a_key_that_others_can_read_is_refused(tmp_path):
    path = make_key(tmp_path)
    path.chmod(0o644)
    with pytest.raises(ConfigError, match="chmod 600"):
        read_key(path)


def test_questions_from_the_statutes_follow_from_the_seed_alone():
    one, again, other = (statute_questions(seed, 12, 3) for seed in ("a", "a", "b"))
    assert one == again and not {gold.question for gold in one} & {gold.question for gold in other}
    from course_utils.data.statutes import citations, find

    for gold in one:
        (cited,) = citations(gold.reference)
        assert find(*cited).text.replace("\n", "").count(gold.reference.split("，", 1)[1][:6]) or gold.kind == "拒绝"
    assert sum(gold.kind == "拒绝" for gold in one) == 3


def test_a_teachers_own_questions(tmp_path):
    rows = own_rows(99)
    for number, row in enumerate(rows):
        row["kind"] = "拒绝" if number < 3 else "解答"
    file = tmp_path / "mine.jsonl"
    file.write_text("\n".join(json.dumps(row, ensure_ascii=False) for row in rows), encoding="utf-8")
    found = read_key(make_key(tmp_path / "k", file))
    assert [gold.question for gold in found.hidden] == [row["input"] for row in rows]
    assert [gold.kind for gold in found.hidden].count("拒绝") == 3

    def refused(rows, message):
        file.write_text("\n".join(json.dumps(row, ensure_ascii=False) for row in rows), encoding="utf-8")
        with pytest.raises(DataError, match=message):
            make_key(tmp_path / "other", file)
        assert not (tmp_path / "other").exists()

    refused([*rows, {**rows[0], "input": "新问题？", "output": ""}], "第 13 行：答案是空的")
    refused([*rows, {**shared_rows()[0], "kind": "解答"}], "第 13 行和课程公开的数据几乎相同")
    refused([*rows[:11], {**rows[11], "kind": "也许"}], "第 12 行的 kind 是「也许」")
    refused(rows[:5], "至少要 8 道")


# --- whose it is ---

CLASS = [
    Student("20260101", "张三"),
    Student("20260102", "李四"),
    Student("20260103", "欧阳小明"),
    Student("20260104", "张三丰"),
]


@pytest.mark.parametrize(
    ("name", "number"),
    [
        ("20260101-张三-第五章作业", "20260101"),
        ("张三+20260101+法律助手", "20260101"),
        ("李四（20260102）", "20260102"),
        ("张三_4711_assignsubmission_file_", "20260101"),
        ("张三_4711_assignsubmission_file_李四-20260102", "20260101"),
        ("20260101 张三_4711_assignsubmission_file_", "20260101"),
        ("第五次作业-欧阳小明", "20260103"),
        ("20260101-张三-李四-20260102", "20260101"),
        ("张三-20260102", None),  # the platform says 张三, the student 李四
        ("20269999-王五", None),
        ("05", None),
    ],
)
def test_a_name_tells_whose_the_file_is(name, number):
    student, _ = whose(name, CLASS)
    assert (student.id if student else None) == number


def test_a_roster_is_read_as_spreadsheets_save_it(tmp_path):
    text = "姓名,学号,班级\n张三,20260101,一班\n\n李四,0012345678901\t,一班\n"
    for encoding in ("utf-8", "utf-8-sig", "gb18030"):
        (tmp_path / "r.csv").write_bytes(text.encode(encoding))
        assert read_roster(tmp_path / "r.csv") == [Student("20260101", "张三"), Student("0012345678901", "李四")]
    for text, message in (
        ("名字,号\n张三,1\n", "要有「学号」和「姓名」"),
        ("学号,姓名\n20260101,\n", "第 2 行缺学号或姓名"),
        ("学号,姓名\n2.02601E+12,张三\n", "第 2 行的学号变成了"),
        ("学号,姓名\n1,张三\n1,李四\n", "学号 1 出现了两次"),
        ("学号,姓名\n", "里没有学生"),
    ):
        (tmp_path / "r.csv").write_text(text, encoding="utf-8")
        with pytest.raises(DataError, match=message):
            read_roster(tmp_path / "r.csv")


# --- a class ---


@pytest.fixture(scope="module")
def homework(tmp_path_factory):
    """A folder as platforms hand it out, with every fate there is, and the class list."""
    home = tmp_path_factory.mktemp("class")
    folder = home / "作业"
    (folder / "李四_4711_assignsubmission_file_").mkdir(parents=True)
    right = [claim("05-2", [f"以下不是法律意见。{ANSWERS[0]}", f"以下不是法律意见。{ANSWERS[1]}", ANSWERS[2]])]
    right.append(claim("05-3", [(len(set(c) & set(w)) / len(set(w)) if w else None) for c, w in CASES]))
    lied = [claim("05-2", ["错", "错", "错"]), claim("05-1", {"train": [], "validation": [], "test": []})]
    evil = {"05-1": '=HYPERLINK("http://x","点我")<script>alert(\'作业\')</script>' + LONG, "05-2": "不知道。"}
    put = lambda name, content: (folder / name).write_bytes(content)  # noqa: E731
    put(
        "20260101-张三-法律助手.zip", good("20260101", "张三", claims=right, answers={"05-1": LONG, "05-2": LONG[::-1]})
    )
    put("李四_4711_assignsubmission_file_/作业.zip", good("20260102", "李四", seed=1, claims=lied, answers=evil))
    put("20260103-欧阳小明.zip", good("20260103", "欧阳小明", seed=2)[:-10])
    put("20260104-张三丰.docx", b"PK\x03\x04 a document")
    put("20260106-钱七.zip", good("20260106", "钱七", seed=3))
    put("20260106-钱七(1).zip", good("20260106", "钱七", seed=4))
    put("20260107-孙八.zip", good("20260107", "孙八", seed=1, answers={"05-1": LONG}))
    put("作业.zip", good("20269999", "外人", seed=5))
    put("无名.zip", good("20260108", "周九", seed=6, notebook="02", base=None, answers={"02-1": LONG}, **NOTHING))
    students = ["张三", "李四", "欧阳小明", "张三丰", "赵六", "钱七", "孙八", "周九"]
    roster = home / "名单.csv"
    text = "".join(f"{20260101 + i},{name}\n" for i, name in enumerate(students))
    roster.write_text("学号,姓名\n" + text, encoding="gb18030")
    return folder, roster


NOTHING = dict.fromkeys(
    ("adapter/adapter_model.safetensors", "adapter/adapter_config.json", "predictions.json", "training.json", "metrics.jsonl",
     "data/train.jsonl", "data/validation.jsonl"),
)  # fmt: skip


@pytest.fixture(scope="module")
def made(homework, key, tmp_path_factory):
    folder, roster = homework
    return marking.mark_class(folder, key, tmp_path_factory.mktemp("out"), roster, workers=2)


def book(out) -> dict[str, dict]:
    content = (out / "gradebook.csv").read_bytes()
    assert content.startswith(b"\xef\xbb\xbf")
    rows = csv.DictReader(io.StringIO(content.decode("utf-8-sig")))
    return {row["学号"].strip() or row["文件"]: row for row in rows}


def test_absent_unreadable_conflicting_unknown_and_graded_stay_apart(made):
    rows = book(made.out)
    assert {number: row["状态"] for number, row in rows.items()} == {
        "20260101": "已评", "20260102": "已评", "20260103": "无法读取", "20260104": "无法读取", "20260105": "未提交",
        "20260106": "有冲突", "20260107": "已评", "20260108": "已评", "作业.zip": "认不出是谁",
    }  # fmt: skip
    for number, row in rows.items():
        assert bool(row["总分（百分制，只算已评的部分）"]) == (row["状态"] == "已评"), number
    assert "没有完整的结尾" in rows["20260103"]["说明"] and "不是 zip" not in rows["20260103"]["说明"]
    assert "请留下该评的一个" in rows["20260106"]["说明"]
    assert "按学生自己写的学号算" in rows["20260108"]["请老师看"]
    assert "写的是「20269999 外人」，名单里没有" in rows["作业.zip"]["说明"]


def test_what_was_not_measured_is_no_zero(made):
    row = book(made.out)["20260101"]
    assert row["没见过的题的损失"] == row["没见过的题的相似度"] == row["裁判"] == row["问答题"] == "未评"
    measured = [
        float(row[name]) for name in ("数据质量", "没有泄漏", "条文有效", "给定题目的相似度", "安全规则", "小练习")
    ]
    assert float(row["得分"]) == pytest.approx(sum(measured)) and float(row["已评部分的满分"]) == 55
    assert float(row["总分（百分制，只算已评的部分）"]) == pytest.approx(100 * sum(measured) / 55, abs=0.06)
    assert book(made.out)["20260107"]["小练习"] == "0.0"  # this one is a zero: nothing was claimed


def test_exercises_are_computed_again_and_claims_are_not_believed(made):
    rows = book(made.out)
    assert float(rows["20260101"]["小练习"]) == pytest.approx(6.67)
    assert float(rows["20260102"]["小练习"]) == 0
    assert "05-1、05-2 说是对的，重新计算不对" in rows["20260102"]["请老师看"].replace("05-2、05-1", "05-1、05-2")


def test_grading_twice_gives_the_same_files_and_a_killed_grading_goes_on(homework, key, made, tmp_path):
    folder, roster = homework
    before = {path.name: path.read_bytes() for path in made.out.rglob("*") if path.suffix in (".csv", ".html")}
    again = marking.mark_class(folder, key, tmp_path / "fresh", roster, workers=1)
    assert before == {path.name: path.read_bytes() for path in again.out.rglob("*") if path.suffix in (".csv", ".html")}
    state = sorted((made.out / "state").glob("*.json"))
    kept = {path: path.stat().st_mtime_ns for path in state[2:]}
    state[0].unlink()
    state[1].write_text('{"sha256": "cut off in the mi')
    marking.mark_class(folder, key, made.out, roster, workers=1)
    assert before == {path.name: path.read_bytes() for path in made.out.rglob("*") if path.suffix in (".csv", ".html")}
    assert kept == {path: path.stat().st_mtime_ns for path in kept}  # not done a second time


def test_pages_and_table_carry_nothing_out(made):
    page = next((made.out / "feedback").glob("20260102*.html")).read_text(encoding="utf-8")
    assert "<script" not in page and "&lt;script&gt;" in page and "default-src 'none'" in page
    for text in ("=1+1", "+1", "-1", "@x", "\t=1", "＝1", " =1"):
        assert str(cell(text)).startswith("'")
    assert cell("张三") == "张三" and cell(-1.5) == -1.5 and cell(None) == ""
    assert number_cell("202601011234") == "202601011234\t" and number_cell("20260101") == "20260101"
    assert visible("a\u202eb\x07c\n👨\u200d👩") == "a�b�c\n👨\u200d👩"


def test_feedback_shows_no_hidden_question_and_everybody_who_handed_in_has_a_page(made, secret):
    pages = {path.name: path.read_text(encoding="utf-8") for path in (made.out / "feedback").iterdir()}
    assert len(pages) == 7 and "20260103-欧阳小明.html" in pages
    for text in [*pages.values(), (made.out / "summary.html").read_text(encoding="utf-8")]:
        assert not any(gold.question[:30] in text or gold.reference[:20] in text for gold in secret.hidden)
        assert not any(gold.reference[:20] in text for gold in secret.given)
    assert "这不是 0 分" in pages["20260103-欧阳小明.html"]


def test_nearly_the_same_submissions_are_named_symmetrically(made):
    graded = [line for line in made.lines if line.status == "已评"]
    who = [{graded[pair.a].student.name, graded[pair.b].student.name} for pair in made.pairs]
    whys = ["".join(pair.why) for pair in made.pairs]
    assert {"李四", "孙八"} in who and {"张三", "孙八"} in who and {"张三", "李四"} not in who
    assert "适配器的文件一模一样；设置、种子和训练数据的指纹都相同" in whys[who.index({"李四", "孙八"})]
    assert "自己加的数据有 100% 相同" in whys[who.index({"李四", "孙八"})]
    assert "问答题 05-1 的文字有 100% 相同" in whys[who.index({"张三", "孙八"})]
    results = [line.result for line in graded]
    turned = alike(results[::-1])
    assert {(len(results) - 1 - p.b, len(results) - 1 - p.a) for p in turned} == {(p.a, p.b) for p in made.pairs}


def test_an_answer_copied_from_the_course_is_named(secret, monkeypatch):
    monkeypatch.setattr(
        "course_utils.grading.alike.free_questions", lambda notebook: {"05-1": FreeQuestion("？", LONG)}
    )
    result = grade(read_submission(good(answers={"05-1": LONG + "对。", "05-2": LONG})), secret)
    assert len(copied(result)) == 1 and "05-1" in copied(result)[0]


def test_training_on_a_given_question_is_found(secret):
    asked = {**shared_rows()[0], "input": given.given_questions()[3].record.input}
    read = read_submission(good(**{"data/train.jsonl": lines([*shared_rows(), asked])}))
    assert any("指纹" in doubt for doubt in read.doubts)
    measured = grade(read, secret).measured["leakage"]
    assert (
        measured.value == pytest.approx(1 - 1 / 44) and f"训练集第 {len(shared_rows()) + 1} 行" in measured.details[0]
    )


def test_feedback_does_not_tell_which_row_is_near_a_hidden_question(secret):
    asked = {**shared_rows()[0], "input": secret.hidden[0].question}
    measured = grade(read_submission(good(**{"data/train.jsonl": lines([*shared_rows(), asked])})), secret).measured
    assert measured["leakage"].value == pytest.approx(1 - 1 / 44) and measured["leakage"].details == []


def test_the_judge_marks_where_it_is_configured_and_a_failure_is_no_zero(homework, key, tmp_path, monkeypatch):
    from course_utils.errors import CourseError

    def ask(messages, schema):
        if "抵押给银行" in messages[1]["content"]:
            raise CourseError("没有回答")
        marks = {name: 4 for name in schema.model_fields if name not in ("reason", "caps")}
        return schema(reason="还行", caps=[], **marks)

    folder, roster = homework
    found = marking.mark_class(folder, key, tmp_path, roster, judge=ModelJudge(model="m", ask=ask), workers=1)
    (scored,) = [s for s in found.lines[0].parts if s.part.name == "judge"]
    assert scored.got == 3.75 and "1 条没有判出来，不算" in scored.why


# --- processes ---


def test_one_that_hangs_or_dies_stops_nobody(homework, key, tmp_path):
    folder, roster = homework
    found, secret = find_files(folder, read_roster(roster)), read_key(key)
    (late,) = classroom.grade_all(folder, found[:1], secret, tmp_path, workers=1, time_limit=0.001)  # it must import
    assert "停下了" in late.reason and not list(tmp_path.glob("*.json"))
    for error, words in (
        (TimedOut(), "停下了"),
        (ProcessExpired("killed"), "进程被系统结束了"),
        (MemoryError(), "内存太多"),
        (ZeroDivisionError("x"), "评分程序出错了"),
    ):
        future = Future()
        future.set_exception(error)
        result, finished = classroom._result(future, 1)
        assert words in result.reason and not finished


# --- free answers ---


def test_blind_sheets_go_out_and_come_back(homework, key, made, tmp_path):
    folder, roster = homework
    out = tmp_path / "out"
    with pytest.raises(ConfigError, match="没有评分表"):
        marking.import_sheets(folder, key, out, roster=roster)
    written = marking.export_sheets(folder, key, out, roster)
    text = "".join(path.read_text(encoding="utf-8") for path in (out / "sheets").iterdir())
    assert "张三" not in text and "20260101" not in text and "法律助手.zip" not in text and "<script" not in text
    first = next(path for path in written if path.stem == "05-1")
    rows = list(csv.DictReader(io.StringIO(first.read_bytes().decode("utf-8-sig"))))
    assert len(rows) == 2 and all(row["编号"].isalpha() for row in rows)  # 张三 and 孙八 wrote the same
    with pytest.raises(DataError, match="可能有填好的分数"):
        marking.export_sheets(folder, key, out, roster)

    def fill(marks, encoding="utf-8-sig"):
        for row in rows:
            row.update(dict(zip(("正确", "有据", "老实"), marks, strict=True)), **{COMMENT: "数说得清楚"})
        target = io.StringIO()
        writer = csv.DictWriter(target, rows[0])
        writer.writeheader()
        writer.writerows(rows)
        first.write_bytes(target.getvalue().encode(encoding))

    for marks, message in (((4, 5, 0), "「有据」是「5」"), ((4, "", 0), "「有据」是「空的」"), ((4, "3.5", 0), "3.5")):
        fill(marks)
        with pytest.raises(DataError, match=f"05-1.csv 第 2 行：.*{message}"):
            marking.import_sheets(folder, key, out, [first], roster)
    assert not (out / "marks.json").exists()
    fill((4, 2, 3), "gb18030")
    assert marking.import_sheets(folder, key, out, roster=roster) == 2
    again = marking.mark_class(folder, key, out, roster, workers=1)
    by_name = {line.student.name: {s.part.name: s for s in line.parts} for line in again.lines}
    assert by_name["孙八"]["answers"].got is not None or "05-2" in by_name["孙八"]["answers"].why
    assert by_name["李四"]["answers"].got is None and "05-2 老师还没有评" in by_name["李四"]["answers"].why
    rows[0]["编号"] = "ZZZZZZZZ"
    fill((1, 1, 1))
    with pytest.raises(DataError, match="没有编号 ZZZZZZZZ"):
        marking.import_sheets(folder, key, out, [first], roster)
    rows[0]["编号"] = rows[1]["编号"]
    fill((1, 1, 1))
    with pytest.raises(DataError, match="已经有了"):
        marking.import_sheets(folder, key, out, [first], roster)


# --- rubric and commands ---


def test_the_rubric_adds_up_and_a_bad_one_is_refused(tmp_path):
    assert (
        sum(part.points for part in default_rubric().legal)
        == sum(part.points for part in default_rubric().plain)
        == 100
    )
    text = (paths.ROOT / "course_utils" / "grading" / "rubric.yaml").read_text(encoding="utf-8")
    for old, new, message in (
        (
            "points: 15, zero_at: 0.0, full_at: 0.2",
            "points: 25, zero_at: 0.0, full_at: 0.2",
            "加起来是 110，应当是 100",
        ),
        ("zero_at: 0.8, full_at: 1.0", "zero_at: 1.0, full_at: 1.0", "zero_at 要小于 full_at"),
        ("name: loss", "name: magic", "legal"),
    ):
        (tmp_path / "r.yaml").write_text(text.replace(old, new), encoding="utf-8")
        with pytest.raises(ConfigError, match=message):
            read_rubric(tmp_path / "r.yaml")
    part = default_rubric().legal[0]
    assert [part.score(x) for x in (0.0, 0.8, 0.9, 1.0, 2.0)] == [0, 0, 5.0, 10, 10]


def test_the_commands(homework, tmp_path):
    folder, roster = homework
    runner = CliRunner()
    done = runner.invoke(app, ["grade", "init", str(tmp_path / "k"), "--questions", "8"])
    assert done.exit_code == 0 and "隐藏题目 8 道" in done.output
    options = ["--key", str(tmp_path / "k" / "key.json"), "--out", str(tmp_path / "out"), "--roster", str(roster)]
    done = runner.invoke(app, ["grade", str(folder), *options])
    assert done.exit_code == 0, done.output
    assert "已评 4 人，没有成绩的 4 人，认不出是谁的文件 1 个" in done.output
    done = runner.invoke(app, ["grade", "sheets", str(folder), *options])
    assert done.exit_code == 0 and "05-1.html" in done.output
    with pytest.raises(ConfigError, match="结果不能写在作业文件夹"):
        marking.mark_class(folder, tmp_path / "k" / "key.json", folder / "out")
