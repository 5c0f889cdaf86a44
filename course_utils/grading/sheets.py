"""Free answers are marked blind: a sheet to read (HTML) and one to fill in (CSV), both by a code instead of a name."""

import csv
import hashlib
import hmac
import io
import json
from collections.abc import Iterable
from pathlib import Path

from course_utils.data.records import atomic_writer
from course_utils.errors import DataError
from course_utils.evaluation.judging import Asked, Judge, mark_answers
from course_utils.grading.classroom import GRADED, Line
from course_utils.grading.grade import Result
from course_utils.grading.key import KeyFile
from course_utils.grading.measure import Measured
from course_utils.grading.pages import cell, write_csv, write_page
from course_utils.grading.references import FreeQuestion, free_questions
from course_utils.grading.roster import read_text
from course_utils.grading.rubric import HIGHEST, Rubric

EXERCISE, CODE, COMMENT, SUGGESTED = "题号", "编号", "评语", "裁判建议（1 到 5，仅供参考）"
MARKS = "marks.json"
Marks = dict[str, dict]  # code -> {"marks": {criterion: 0 to 4}, "comment": text}


def code(key: KeyFile, exercise: str, answer: str) -> str:
    """What stands for an answer: the same when it is handed in again, and telling nothing without the key.

    Letters alone: a spreadsheet would make a number of 1234E567.
    """
    digest = hmac.new(key.secret.encode(), f"{exercise} {answer}".encode(), hashlib.sha256).digest()
    return "".join(chr(ord("A") + byte % 26) for byte in digest[:8])


def write_sheets(
    lines: list[Line], key: KeyFile, rubric: Rubric, folder: Path, judge: Judge | None = None
) -> list[Path]:
    """An HTML and a CSV per free question with every answer that was written, in the order of the codes.

    folder: inside that of the grading; marks that were imported before are filled in. judge: fills a column of
    suggestions, which is never read back. Returns the CSV files. Raises `DataError` when there is nothing to mark, and
    before it would write over a sheet.
    """
    made, known = [], read_marks(folder.parent)
    for exercise, question, answers in _by_exercise(lines, key):
        path = folder / f"{exercise}.csv"
        if path.exists():
            raise DataError(f"{path} 已经在那里了，里面可能有填好的分数。请先导入，再把它移走。")
        suggested = _suggest(judge, question, answers, folder) if judge else {}
        made.append((path, exercise, question, answers, suggested))
    for path, exercise, question, answers, suggested in made:
        write_page(
            "sheet.html.jinja", path.with_suffix(".html"),
            exercise=exercise, question=question, answers=answers, criteria=rubric.criteria, highest=HIGHEST,
            suggested=suggested,
        )  # fmt: skip
        names = [criterion.name for criterion in rubric.criteria]
        rows = []
        for name in answers:
            marks, comment = known.get(name, {}).get("marks", {}), known.get(name, {}).get("comment", "")
            rows.append([exercise, name, *map(marks.get, names), comment, *([suggested.get(name)] if judge else [])])
        header = [EXERCISE, CODE, *names, COMMENT, *([SUGGESTED] if judge else [])]
        write_csv(path, header, [[cell(value) for value in row] for row in rows])
    if not made:
        raise DataError("没有要评的问答题：没有人写，或者这一章没有问答题。")
    return [path for path, *_ in made]


def _by_exercise(lines: list[Line], key: KeyFile):
    """`(exercise, question, {code: answer})`, the answers in the order of their codes."""
    graded = [line.result for line in lines if line.status == GRADED]
    for exercise in sorted({name for result in graded for name in exercises_of(result)}):
        texts = [result.traces.answers.get(exercise) for result in graded]
        answers = {code(key, exercise, text): text for text in texts if text}
        if answers:
            question = free_questions(exercise[:2]).get(exercise, FreeQuestion("", ""))
            yield exercise, question, dict(sorted(answers.items()))


def exercises_of(result: Result) -> list[str]:
    """The free questions of the notebook that was handed in."""
    known = list(free_questions(result.notebook))
    return known or sorted(name for name in result.traces.answers if name.startswith(f"{result.notebook}-"))


def _suggest(judge: Judge, question: FreeQuestion, answers: dict[str, str], folder: Path) -> dict[str, float | None]:
    asked = [Asked(question.prompt, question.answer)] * len(answers)
    marks = mark_answers(judge, asked, list(answers.values()), folder / "judge.jsonl")
    return dict(zip(answers, marks.values, strict=True))


def import_marks(files: Iterable[Path], lines: list[Line], key: KeyFile, rubric: Rubric, out: Path) -> Marks:
    """Read filled sheets, and add their marks to `out`/marks.json; an empty line is left 未评.

    Raises `DataError` with every line that is wrong; then nothing is taken over.
    """
    known = {name: exercise for exercise, _, answers in _by_exercise(lines, key) for name in answers}
    found, problems = read_marks(out), []
    seen: dict[str, str] = {}
    for path in files:
        for number, row in _rows(Path(path), rubric):
            where = f"{Path(path).name} 第 {number} 行"
            try:
                name, marks = _marks(row, known, rubric)
                if name in seen:
                    raise DataError(f"编号 {name} 在 {seen[name]} 已经有了。请只留一处。")
                seen[name] = where
                if marks is not None:
                    found[name] = {"marks": marks, "comment": (row.get(COMMENT) or "").strip()}
            except DataError as error:
                problems.append(f"{where}：{error}")
    if problems:
        raise DataError("\n".join([f"有 {len(problems)} 行不对，没有导入：", *problems[:30]]))
    with atomic_writer(out / MARKS) as file:
        json.dump(dict(sorted(found.items())), file, ensure_ascii=False, indent=1)
    return found


def _rows(path: Path, rubric: Rubric):
    reader = csv.DictReader(io.StringIO(read_text(path)))
    needed = [EXERCISE, CODE, *(criterion.name for criterion in rubric.criteria)]
    if missing := [name for name in needed if name not in (reader.fieldnames or [])]:
        raise DataError(f"{path.name} 缺少「{missing[0]}」这一列。请用导出的评分表填写，不要改第一行。")
    yield from enumerate(reader, 2)


def _marks(row: dict, known: dict[str, str], rubric: Rubric) -> tuple[str, dict[str, int] | None]:
    name, exercise = (row[CODE] or "").strip().upper(), (row[EXERCISE] or "").strip()
    if name not in known:
        raise DataError(f"没有编号 {name or '（空）'}。请检查是不是别的班或者旧的评分表，或者被表格软件改成了数字。")
    if known[name] != exercise:
        raise DataError(f"编号 {name} 是第 {known[name]} 题的，这里写的是 {exercise or '（空）'}。请改回来。")
    texts = {criterion.name: (row[criterion.name] or "").strip() for criterion in rubric.criteria}
    if not any(texts.values()):
        return name, None
    for title, text in texts.items():
        if text not in {str(mark) for mark in range(HIGHEST + 1)}:
            raise DataError(f"「{title}」是「{text or '空的'}」，要写 0 到 {HIGHEST} 的整数；整行都空着才算没有评。")
    return name, {title: int(text) for title, text in texts.items()}


def read_marks(out: Path) -> Marks:
    """The marks that were imported so far."""
    path = out / MARKS
    return json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}


def measured_answers(result: Result, key: KeyFile, marks: Marks) -> Measured:
    """The share of the points for free answers; 未评 as long as one that was written has no mark."""
    exercises = exercises_of(result)
    if not exercises:
        return Measured(None, "这一章没有问答题。")
    shares, details, left = [], [], []
    for exercise in exercises:
        answer = result.traces.answers.get(exercise)
        given = marks.get(code(key, exercise, answer or ""))
        if not answer:
            shares.append(0.0)
            details.append(f"问答题 {exercise}：没有写，0 分")
        elif given is None:
            left.append(exercise)
        else:
            shares.append(sum(given["marks"].values()) / (HIGHEST * len(given["marks"])))
            told = "，".join(f"{title} {mark}" for title, mark in given["marks"].items())
            details.append(f"问答题 {exercise}：{told}" + (f"。{given['comment']}" if given["comment"] else ""))
    if left:
        return Measured(None, f"问答题 {'、'.join(left)} 老师还没有评。", details)
    return Measured(sum(shares) / len(shares), f"{len(exercises)} 道，每项 0 到 {HIGHEST} 分。", details)
