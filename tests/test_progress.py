"""Progress: what a learner has done, on a page of their own; and the class, from what was handed in."""

import csv
import hashlib
import json

import pytest
from typer.testing import CliRunner

from course_utils import paths
from course_utils.cli import app
from course_utils.data.store import DataSet
from course_utils.errors import DataError
from course_utils.grading import progress, progress_page, standing
from course_utils.grading.archive import MB
from course_utils.grading.measure import exercises_of
from course_utils.grading.pack import as_json, make_zip
from course_utils.grading.progress_page import HANDED_IN, MISSING, UNREADABLE
from course_utils.grading.quiz import Option, Quiz
from course_utils.grading.roster import Student
from course_utils.grading.standing import NOT_YET, PASSED, WRONG
from course_utils.grading.submission import FileEntry, Manifest


@pytest.fixture
def course(tmp_path, monkeypatch):
    """A course of two chapters: one with two exercises and a quiz, one with nothing to do."""
    folder = tmp_path / "root" / "notebooks"
    folder.mkdir(parents=True)
    for name, heading in (("88_try", "# 第 88 章　试一试"), ("89_end", "# 第 89 章　结束")):
        cell = {"cell_type": "markdown", "metadata": {}, "source": [f"{heading}\n", "正文"]}
        (folder / f"{name}.ipynb").write_text(json.dumps({"cells": [cell]}, ensure_ascii=False), encoding="utf-8")
    monkeypatch.setattr(paths, "ROOT", tmp_path / "root")
    asked = Quiz("88-q1", "哪个？", (Option("甲", True, "对。"), Option("乙", False, "乙 <b>不是</b>。")))
    monkeypatch.setattr(standing.quiz, "chapter", lambda number: {"88-q1": asked} if number == "88" else {})
    monkeypatch.setattr(standing, "exercises_of", lambda number: ["88-1", "88-2"] if number == "88" else [])
    monkeypatch.setattr(standing, "judged", lambda claim: None if claim.answer == 42 else f"{claim.answer} 不是 42。")


def steps(chapter):
    return {step.name: (step.state, step.attempts) for step in (*chapter.exercises, *chapter.quizzes)}


def test_an_empty_workspace(course):
    found = standing.own()
    assert steps(found.chapters[0]) == {name: (NOT_YET, 0) for name in ("88-1", "88-2", "88-q1")}
    assert found.totals() == {"练习": (0, 2), "小测验": (0, 1)}
    assert found.next_step() == "下一步：练习 88-1（第 88 章　试一试）。"
    page = progress_page.write_page(found).read_text(encoding="utf-8")
    assert "还没有训练过" in page and "还没有自己的数据集" in page and "这一章没有练习" in page
    assert not (paths.workspace() / "services.db").exists()  # looking makes nothing


def test_passed_once_is_passed_and_the_last_mistake_is_told(course):
    for exercise, answer in (("88-1", 41), ("88-1", 42), ("88-1", 43), ("88-2", 7), ("88-2", "<i>8")):
        progress.record(exercise, answer, True)  # what it says of itself counts for nothing
    progress.record("88-q1", "乙", True)
    progress.record("77-1", 42, True)  # of a chapter that there is no more
    found = standing.own()
    assert steps(found.chapters[0]) == {"88-1": (PASSED, 3), "88-2": (WRONG, 2), "88-q1": (WRONG, 1)}
    assert not found.chapters[0].finished and found.chapters[1].finished
    page = progress_page.write_page(found).read_text(encoding="utf-8")
    assert "&lt;i&gt;8 不是 42。" in page and "乙 &lt;b&gt;不是&lt;/b&gt;。" in page
    assert "http" not in page.replace("http-equiv", "")  # nothing is fetched
    progress.record("88-2", 42, False)
    progress.record("88-q1", "甲", False)
    assert standing.own().next_step() == "全部的练习和小测验都做完了。"


def test_what_lies_in_the_workspace(course, tiny_base, tiny_data):
    from course_utils.serving.publish import publish
    from course_utils.training.config import TrainingConfig
    from course_utils.training.train import train

    config = TrainingConfig(base_model=str(tiny_base), precision="fp32", epochs=1, batch_size=8, evaluations=1)
    run = train(config, tiny_data, "我的训练", log=lambda line: None)
    publish(run, "情感", log=lambda line: None)
    broken = paths.runs() / "坏的"
    broken.mkdir()
    (broken / "config.yaml").write_text("epochs: many")
    DataSet.create("评论", {"train": tiny_data["train"], "test": tiny_data["test"]}, {"tool": "import"})
    found = standing.own()
    rows = {row["名字"]: row for row in found.runs}
    assert rows["我的训练"]["状态"] == "已完成" and rows["我的训练"]["步数"] == str(run.facts["steps"])
    assert rows["坏的"]["状态"].startswith("读不出来")
    assert found.datasets == [{"名字": "评论", "版本": "第 1 版", "行数": "训练集 32 行，测试集 8 行"}]
    assert found.services == [{"名字": "情感", "当前": "第 1 版", "版本": "1 个"}]
    page = progress_page.write_page(found).read_text(encoding="utf-8")
    assert "我的训练" in page and "训练集 32 行" in page and "第 1 版" in page


def test_the_real_course_has_chapters_exercises_and_quizzes():
    found = standing.own().chapters
    assert [chapter.number for chapter in found] == sorted(chapter.number for chapter in found) and found
    assert all(chapter.title.startswith("第 ") for chapter in found)
    named = [step.name for chapter in found for step in chapter.exercises]
    assert named == [name for chapter in found for name in exercises_of(chapter.number)] and len(named) > 5
    assert any(chapter.quizzes for chapter in found)


# --- the class --------------------------------------------------------------------------------------------------------


@pytest.fixture
def make(course, tmp_path):
    """`make(file, id, name, claims)` writes a zip as `course submit` does, of claims alone."""

    def made(file, student_id, name, claims):
        line = {"passed": True, "time": "2026-11-24T10:00:00+08:00", "profile": "classroom"}
        lines = [json.dumps(line | {"exercise": exercise, "answer": answer}) for exercise, answer in claims]
        content = "\n".join(lines).encode()
        entry = FileEntry(bytes=len(content), sha256=hashlib.sha256(content).hexdigest())
        manifest = Manifest(
            notebook="88", student_id=student_id, student_name=name, created="x", files={"claims.jsonl": entry}
        )
        path = tmp_path / "class" / file
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(make_zip({"manifest.json": as_json(manifest.model_dump()), "claims.jsonl": content}))

    return made


def test_handed_in_unreadable_and_missing_are_three_things(make, tmp_path):
    roster = [Student(f"2026000{n}", name) for n, name in enumerate(("张三", "李四", "王五", "赵六", "钱七"), 1)]
    make("20260001-张三-作业/88.zip", "20260002", "李四", [("88-1", 42), ("88-2", 7), ("88-q1", "甲"), ("99-1", 1)])
    make("20260001-张三-第二次.zip", "", "", [("88-2", 42)])
    make("李四.ZIP", "", "", [("88-1", 1), ("88-2", 1)])
    make("作业.zip", "20260003", "=HYPERLINK(1)", [])
    folder = tmp_path / "class"
    (folder / "20260004-赵六.zip").write_bytes(b"PK\x03\x04 and no more")
    with (folder / "大的.zip").open("wb") as huge:
        huge.truncate(161 * MB)
    found = {line.id or line.name: line for line in progress_page.read_class(folder, roster)}
    assert {name: line.state for name, line in found.items()} == {
        "20260001": HANDED_IN, "20260002": HANDED_IN, "20260003": HANDED_IN, "20260004": UNREADABLE,
        "20260005": MISSING, "大的.zip": UNREADABLE,
    }  # fmt: skip
    assert [line.name for line in found.values() if line.id] == [s.name for s in roster]  # as the list has them
    first, second = found["20260001"], found["20260002"]
    assert steps(first.chapters[0]) == {"88-1": (PASSED, 1), "88-2": (PASSED, 2), "88-q1": (PASSED, 1)}
    assert steps(second.chapters[0]) == {"88-1": (WRONG, 1), "88-2": (WRONG, 1), "88-q1": (NOT_YET, 0)}
    assert "按学生自己填的学号" in found["20260003"].notes[0]
    assert found["20260005"].chapters == found["20260004"].chapters == []
    assert "不是 zip" in found["20260004"].notes[0] and "161 MB" in found["大的.zip"].notes[0]
    assert progress_page.hardest(list(found.values())) == [("88-1", 1, 2), ("88-2", 1, 2)]


def test_the_class_as_page_and_table(make, tmp_path):
    make("a.zip", "01", "<script>张三", [("88-1", 42)])
    make("b.zip", "02", "=1+1", [])
    page = progress_page.write_class(
        progress_page.read_class(tmp_path / "class", [Student("09", "迟到")]), tmp_path / "班级.html"
    )
    text = page.read_text(encoding="utf-8")
    assert "<script>" not in text and "&lt;script&gt;张三" in text and "1/2 · 0/1" in text
    content = (tmp_path / "班级.csv").read_bytes()
    assert content.startswith(b"\xef\xbb\xbf")
    rows = list(csv.DictReader(content.decode("utf-8-sig").splitlines()))
    assert [row["姓名"] for row in rows] == ["<script>张三", "'=1+1", "迟到"]
    assert [row["第 88 章练习"] for row in rows] == ["1", "0", ""]  # nothing is not zero
    assert [row["状态"] for row in rows] == [HANDED_IN, HANDED_IN, MISSING]


def test_a_folder_without_files(tmp_path):
    with pytest.raises(DataError, match="没有文件"):
        progress_page.read_class(tmp_path)


def test_an_answer_that_breaks_a_check_is_not_passed(tmp_path):
    """With the real exercises: whatever a stranger's answer does to a check, the class is read on."""
    strange = [standing.own().chapters[0].exercises[0].name, "02-1"]
    for answer in (float, "", [], {"a": [1] * 10_000}, 10**400, [[[[]]]]):
        claims = [progress.Claim(name, answer, True, "2026-11-24T10:00", "ci") for name in strange]
        found = standing.chapters(claims)
        assert all(step.state in (WRONG, NOT_YET) for chapter in found for step in chapter.exercises)


# --- the command ------------------------------------------------------------------------------------------------------


def test_the_command_prints_and_writes(make, tmp_path):
    progress.record("88-1", 42, True)
    said = CliRunner().invoke(app, ["progress"])
    assert said.exit_code == 0, said.output
    assert "练习 1 / 2" in said.output and "下一步" in said.output
    assert (paths.workspace() / "progress.html").exists()
    make("20260001-张三.zip", "", "", [("88-1", 42)])
    roster = tmp_path / "名单.csv"
    roster.write_text("学号,姓名\n20260001,张三\n20260002,李四\n", encoding="utf-8-sig")
    out = tmp_path / "班级.html"
    command = ["progress", "--class", str(tmp_path / "class"), "--roster", str(roster), "--out", str(out)]
    said = CliRunner().invoke(app, command)
    assert said.exit_code == 0, said.output
    assert "已提交 1 人，无法读取 0 份，未提交 1 人" in said.output
    assert out.exists() and out.with_suffix(".csv").exists()
