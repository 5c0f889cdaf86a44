"""Scores in the gradebook of the real nbgrader, as its own exporter reads them."""

import csv

import pytest
from grading_samples import good

from course_utils.grading import classroom
from course_utils.grading.grade import Result, grade
from course_utils.grading.key import make_key, read_key
from course_utils.grading.measure import Measured
from course_utils.grading.nbgrader_export import export_scores
from course_utils.grading.roster import Found, Student
from course_utils.grading.rubric import default_rubric
from course_utils.grading.submission import read_submission

pytest.importorskip("nbgrader")

CLASS = [
    Student("1", "张三"),
    Student("2", "李四,王"),
    Student("3", "王五"),
    Student("4", "赵六"),
    Student("5", "钱七"),
]


@pytest.fixture
def made(tmp_path):
    """张三 and 李四 are graded, 王五 could not be read, 赵六 is absent, 钱七 lacks a part that the others have."""
    key = read_key(make_key(tmp_path / "key"))
    results = [grade(read_submission(good(str(i), "", seed=i)), key) for i in (1, 2, 5)]
    results.append(Result(sha256="", reason="坏了。"))
    found = [Found(f"{i}.zip", CLASS[i - 1], str(i)) for i in (1, 2, 5, 3)]

    def answers(result):
        return {"answers": Measured(None if result.student_id == "5" else 0.5, "")}

    return classroom.lines(found, results, default_rubric(), CLASS, answers)[0]


def exported(database, tmp_path) -> dict[str, dict]:
    from nbgrader.api import Gradebook
    from nbgrader.plugins.export import CsvExportPlugin

    plugin = CsvExportPlugin(to=str(tmp_path / "grades.csv"))
    with Gradebook(f"sqlite:///{database}") as book:
        plugin.export(book)
    return {row["student_id"]: row for row in csv.DictReader((tmp_path / "grades.csv").open(encoding="utf-8"))}


def test_only_what_is_known_is_exported_and_nobody_becomes_a_zero(made, tmp_path):
    database = tmp_path / "gradebook.db"
    for _ in range(2):  # again replaces
        written, left_out = export_scores(made, database)
        rows = exported(database, tmp_path)
        assert written == 2 and set(rows) == {"1", "2"}
        assert {line.student.id: why for line, why in left_out}.keys() == {"3", "4", "5"}
        for line in made[:2]:
            row = rows[line.student.id]
            assert float(row["score"]) == pytest.approx(line.got) and float(row["max_score"]) == line.out_of
            assert row["assignment"] == "llm-course-05"
    assert rows["2"]["last_name"] == "李四，王"
    whys = {line.student.id: why for line, why in left_out}
    assert "无法读取，不是 0 分" in whys["3"] and "未提交，不是 0 分" in whys["4"] and "问答题 未评" in whys["5"]


def test_a_part_that_is_no_longer_measured_leaves_no_zero_behind(made, tmp_path):
    database = tmp_path / "gradebook.db"
    export_scores(made, database)
    for line in made:
        line.parts = [part for part in line.parts if part.part.name != "answers"]
    written, _ = export_scores(made, database)
    assert written == 3
    for row in exported(database, tmp_path).values():
        assert float(row["max_score"]) == 55


def test_a_student_whom_nbgrader_would_make_a_zero_is_named(made, tmp_path):
    from nbgrader.api import Gradebook

    database = tmp_path / "gradebook.db"
    export_scores([], database)
    with Gradebook(f"sqlite:///{database}") as book:
        book.add_student("4")
    _, left_out = export_scores(made, database)
    assert "会把没有提交写成 0 分" in dict((line.student.id, why) for line, why in left_out)["4"]
    assert exported(database, tmp_path)["4"]["score"] == "0.0"  # nbgrader's own doing, as we say
