"""Scores into the gradebook of nbgrader 0.9.6, through its own API; nothing of a submission is run or shown by nbgrader.

nbgrader's exporter writes 0 for every student in its database who has no submission. So only those are written of whom
everything that the class was marked by is known; the others are named, and never become a zero through us.
"""

import os
import sys
import warnings
from collections import defaultdict
from contextlib import contextmanager, suppress
from pathlib import Path

from course_utils.errors import ConfigError
from course_utils.grading.classroom import GRADED, Line
from course_utils.grading.pages import visible

ASSIGNMENT = "llm-course-{}"  # with the chapter's number


def export_scores(lines: list[Line], database: Path) -> tuple[int, list[tuple[Line, str]]]:
    """Write the scores into the SQLite file `database`; returns how many students, and who was left out and why.

    A part is a grade cell with its points, scored by hand. Doing it again replaces the scores. Raises `ConfigError`
    when nbgrader is not installed.
    """
    try:
        from nbgrader.api import Gradebook, MissingEntry
    except ImportError:
        raise ConfigError("没有安装 nbgrader。请运行：pip install nbgrader==0.9.6") from None
    written, left_out, chapters = 0, [], defaultdict(list)
    for line in lines:
        if line.status == GRADED:
            chapters[line.result.notebook].append(line)
        else:
            left_out.append((line, f"{line.status}，不是 0 分。"))
    with _quiet_and_found(), Gradebook(f"sqlite:///{database.resolve()}") as book:
        for notebook, graded in sorted(chapters.items()):
            parts = _parts(graded)
            _prepare(book, notebook, parts)
            for line in graded:
                lacking = [s.part.title for s in line.parts if s.part.name in parts and s.got is None]
                if lacking:
                    left_out.append((line, f"{'、'.join(lacking)} 未评，而别人评了；在 nbgrader 里会变成 0 分。"))
                else:
                    _write(book, line, parts)
                    written += 1
        for i, (line, why) in enumerate(left_out):
            try:
                book.find_student(line.student.id)
            except MissingEntry:
                continue
            left_out[i] = (line, f"{why}注意：他已经在这个数据库里，nbgrader 自己的导出会把没有提交写成 0 分。")
    return written, left_out


@contextmanager
def _quiet_and_found():
    """nbgrader calls `alembic` by its bare name, which is on no path unless the environment is activated; and what
    SQLAlchemy warns of in nbgrader's own code is nothing that a teacher could mend.
    """
    from sqlalchemy.exc import SAWarning

    before = os.environ.get("PATH", "")
    os.environ["PATH"] = os.pathsep.join([str(Path(sys.executable).parent), before])
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", SAWarning)
            yield
    finally:
        os.environ["PATH"] = before


def _parts(graded: list[Line]) -> dict:
    """name -> part of all that were measured for at least one."""
    return {s.part.name: s.part for line in graded for s in line.parts if s.got is not None}


def _prepare(book, notebook: str, parts: dict) -> None:
    """A new assignment of these parts: in one that an earlier export left, a part that is not measured now would be 0."""
    from nbgrader.api import MissingEntry

    name = ASSIGNMENT.format(notebook)
    with suppress(MissingEntry):
        book.remove_assignment(name)
    book.add_assignment(name)
    book.add_notebook(notebook, name)
    for part in parts.values():
        book.add_grade_cell(part.name, notebook, name, max_score=part.points, cell_type="markdown")


def _write(book, line: Line, parts: dict) -> None:
    notebook, name = line.result.notebook, ASSIGNMENT.format(line.result.notebook)
    # nbgrader writes its CSV without quotes: a comma in a name would shift the scores
    student = visible(line.student.name).replace(",", "，").lstrip("=+-@")
    book.update_or_create_student(line.student.id, last_name=student)
    book.add_submission(name, line.student.id)
    for scored in line.parts:
        if scored.part.name in parts:
            grade = book.find_grade(scored.part.name, notebook, name, line.student.id)
            grade.manual_score, grade.needs_manual_grade = scored.got, False
    book.db.commit()
