"""Progress as pages that need no network: a learner's own, and the roll-up of a class from what was handed in.

What is handed in comes from strangers: it is read by `submission` and its answers are judged anew; nothing of it is run.
"""

import csv
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path

import jinja2

from course_utils import paths
from course_utils.data.records import atomic_writer
from course_utils.grading.archive import SubmissionError, read_file
from course_utils.grading.roster import Student, find_files
from course_utils.grading.standing import PASSED, Chapter, Standing, chapters
from course_utils.grading.submission import ClaimLine, read_submission

HANDED_IN, UNREADABLE, MISSING = "已提交", "无法读取", "未提交"


@dataclass
class Line:
    """A student's line of the class. claims: of all files that could be read. notes: what is wrong with a file.

    state: `UNREADABLE` where no file can be read, `MISSING` for one of the class list without any file.
    """

    id: str
    name: str
    state: str = UNREADABLE
    files: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    claims: list[ClaimLine] = field(default_factory=list)
    chapters: list[Chapter] = field(default_factory=list)

    @property
    def last(self) -> str:
        return max((claim.time[:16].replace("T", " ") for claim in self.claims), default="")


def write_page(standing: Standing, path: Path | None = None) -> Path:
    """A learner's page, by default `progress.html` in the workspace."""
    return _render("progress.html.jinja", path or paths.workspace() / "progress.html", standing=standing)


def read_class(folder: str | Path, roster: list[Student] | None = None) -> list[Line]:
    """A line for everybody who handed something in, and for those of the class list who did not.

    Whose a file is, the platform's name for it says; where that does not tell, what the student typed. A file of
    nobody that cannot be read is a line of its own. Raises `DataError` when there is no file.
    """
    lines: dict[tuple[str, str], Line] = {}
    for found in find_files(folder, roster):
        who, claims, note = found.student, None, ""
        try:
            handed_in = read_submission(read_file(Path(folder) / found.path))
            claims = handed_in.claims
            if who is None and (typed := handed_in.manifest.student_id):
                who = next((s for s in roster or () if s.id == typed), Student(typed, handed_in.manifest.student_name))
                note = "文件名认不出人，按学生自己填的学号"
        except SubmissionError as error:
            note = str(error)
        who = who or Student("", found.path)
        line = lines.setdefault((who.id, who.name if not who.id else ""), Line(who.id, who.name))
        line.files.append(found.path)
        line.notes += [f"{found.path}：{note}"] if note else []
        if claims is not None:
            line.state = HANDED_IN
            line.claims += claims
    here = {line.id for line in lines.values()}
    absent = [Line(s.id, s.name, MISSING) for s in roster or () if s.id not in here]
    for line in lines.values():
        if line.state == HANDED_IN:
            line.chapters = chapters(line.claims)
    return sorted([*lines.values(), *absent], key=lambda line: (not line.id, line.id, line.name))


def write_class(students: list[Line], path: Path) -> Path:
    """The roll-up as a page, and beside it as a table for spreadsheets, `path` with .csv."""
    with atomic_writer(path.with_suffix(".csv")) as file:
        file.write("\ufeff")  # so that spreadsheets read it as UTF-8
        table = csv.writer(file)
        heads = [f"第 {chapter.number} 章{what}" for chapter in _one(students) for what in ("练习", "小测验")]
        table.writerow(["学号", "姓名", "状态", *heads, "最近一次", "文件", "说明"])
        for student in students:
            done = [n for chapter in student.chapters for n in (chapter.passed, chapter.answered)]
            cells = done or [""] * len(heads)  # not 0: nothing was read of these
            about = [student.last, "；".join(student.files), "；".join(student.notes)]
            table.writerow(map(_plain, [student.id, student.name, student.state, *cells, *about]))
    return _render("class.html.jinja", path, students=students, chapters=_one(students), hardest=hardest(students))


def hardest(students: list[Line], most: int = 8) -> list[tuple[str, int, int]]:
    """`(exercise or quiz, not right, tried)` of those that most students tried without success."""
    tried, failed = {}, {}
    for step in (step for s in students for c in s.chapters for step in (*c.exercises, *c.quizzes) if step.attempts):
        tried[step.name] = tried.get(step.name, 0) + 1
        failed[step.name] = failed.get(step.name, 0) + (step.state != PASSED)
    order = sorted(tried, key=lambda name: (-failed[name] / tried[name], -failed[name], name))
    return [(name, failed[name], tried[name]) for name in order if failed[name]][:most]


def _one(students: list[Line]) -> list[Chapter]:
    """The chapters of any who could be read: they are the same for all."""
    return next((student.chapters for student in students if student.chapters), [])


def _plain(cell) -> str:
    """A stranger's text must not become a formula in a spreadsheet."""
    text = str(cell)
    return f"'{text}" if text.startswith(("=", "+", "-", "@", "\t", "\r")) else text


def _render(template: str, path: Path, **values) -> Path:
    folder = jinja2.FileSystemLoader(Path(__file__).parent)
    environment = jinja2.Environment(
        loader=folder, autoescape=True, trim_blocks=True, lstrip_blocks=True, undefined=jinja2.StrictUndefined
    )
    with atomic_writer(path) as file:
        file.write(environment.get_template(template).render(now=f"{datetime.now():%Y-%m-%d %H:%M}", **values))
    return path
