"""What comes out of a grading: the gradebook (CSV), a page for each student, and one for the teacher about the class."""

import re
import shutil
import statistics
from collections import Counter, defaultdict
from collections.abc import Sequence
from pathlib import Path

from course_utils.grading.alike import Pair
from course_utils.grading.archive import shown
from course_utils.grading.classroom import ABSENT, CONFLICT, GRADED, UNREADABLE, Line
from course_utils.grading.grade import Result
from course_utils.grading.key import KeyFile
from course_utils.grading.pages import cell, number_cell, write_csv, write_page
from course_utils.grading.roster import Found

GRADEBOOK, SUMMARY, FEEDBACK = "gradebook.csv", "summary.html", "feedback"
UNKNOWN, NOT_MEASURED = "认不出是谁", "未评"
MOST_MISTAKES = 20
Unknown = Sequence[tuple[Found, Result]]


def write_gradebook(path: Path, lines: list[Line], unknown: Unknown) -> None:
    """A row per student, then the files of nobody known. An absent, an unreadable and a graded zero all look different."""
    parts = {scored.part.name: scored.part for line in lines for scored in line.parts}
    header = ["学号", "姓名", "状态", "总分（百分制，只算已评的部分）", "得分", "已评部分的满分"]
    header += [part.title for part in parts.values()] + ["说明", "请老师看", "文件"]
    rows = []
    for line in lines:
        got = {scored.part.name: NOT_MEASURED if scored.got is None else scored.got for scored in line.parts}
        out_of = line.out_of if line.status == GRADED else None
        row = [line.percent, line.got, out_of, *(got.get(name) for name in parts), line.reason, " ".join(line.notes)]
        head = [number_cell(line.student.id), cell(line.student.name), line.status]
        rows.append(head + [cell(value) for value in (*row, line.file)])
    for one, result in unknown:
        blank = [""] * (3 + len(parts))
        rows.append(["", "", UNKNOWN, *blank, cell(_nobody(result)), "", cell(one.path)])
    write_csv(path, header, rows)


def write_feedback(folder: Path, lines: list[Line], key: KeyFile) -> None:
    """A page for everybody who handed something in; the folder is replaced as a whole. Hidden questions are not in it."""
    partial = folder.with_name(folder.name + ".partial")
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir(parents=True)
    for line in lines:
        if line.status != ABSENT:
            given = []
            if line.result:
                said = line.result.predictions
                given = [(gold.id, gold.question, said[gold.id]) for gold in key.given if gold.id in said]
            unmeasured = [scored.part.title for scored in line.parts if scored.got is None]
            page = partial / f"{file_name(line)}.html"
            if page.exists():  # two numbers that differ in what a file name cannot hold
                page = page.with_stem(f"{page.stem}-{lines.index(line)}")
            write_page("feedback.html.jinja", page, line=line, given=given, unmeasured=unmeasured)
    shutil.rmtree(folder, ignore_errors=True)
    partial.rename(folder)


def file_name(line: Line) -> str:
    """学号-姓名, of letters, figures and Chinese characters alone."""
    parts = (re.sub(r"\W", "_", text)[:40] for text in (line.student.id, line.student.name))
    return "-".join(part for part in parts if part)


def write_summary(
    path: Path, lines: list[Line], unknown: Unknown, pairs: list[Pair], key: KeyFile, rerun: bool
) -> None:
    """The page about the class. pairs: indices into the lines that were graded, in their order."""
    graded = [line for line in lines if line.status == GRADED]
    counts = Counter(line.status for line in lines)
    percents = [line.percent for line in graded if line.percent is not None]
    write_page(
        "summary.html.jinja",
        path,
        lines=lines,
        statuses=[(status, counts[status]) for status in (GRADED, ABSENT, UNREADABLE, CONFLICT) if counts[status]],
        marks=_marks(percents),
        parts=_parts(graded),
        mistakes=_mistakes(graded),
        ungraded=[line for line in lines if line.status != GRADED],
        unknown=[(one.path, _nobody(result)) for one, result in unknown],
        pairs=[(_who(graded[pair.a]), _who(graded[pair.b]), pair.why) for pair in pairs],
        notes=[(_who(line), note) for line in lines for note in line.notes],
        source=key.source,
        hidden=len(key.hidden),
        rerun=rerun,
    )


def _nobody(result: Result) -> str:
    """Why nobody knows whose a file is, and what to do."""
    if result.reason:
        return result.reason
    claimed = shown(f"{result.student_id} {result.student_name}".strip())
    told = f"压缩包里写的是「{claimed}」，名单里没有这个学号。" if claimed else "文件名和压缩包里都没有写。"
    return f"{told}请核对，把文件改名为 学号-姓名.zip。"


def _who(line: Line) -> str:
    return f"{line.student.id} {line.student.name}".strip()


def _marks(percents: list[float]) -> dict | None:
    if not percents:
        return None
    return {
        "n": len(percents),
        "mean": round(statistics.fmean(percents), 1),
        "median": round(statistics.median(percents), 1),
        "lowest": min(percents),
        "highest": max(percents),
        "zeros": percents.count(0),
    }


def _parts(graded: list[Line]) -> list[dict]:
    """A row per chapter and part: the mean over those for whom it was measured."""
    found, parts = defaultdict(list), {}
    for line in graded:
        for scored in line.parts:
            found[line.result.notebook, scored.part.name].append(scored.got)
            parts[line.result.notebook, scored.part.name] = scored.part
    rows = []
    for (notebook, name), values in sorted(found.items(), key=lambda item: item[0][0]):
        got, part = [value for value in values if value is not None], parts[notebook, name]
        mean = round(statistics.fmean(got), 2) if got else None
        left = len(values) - len(got)
        rows.append(
            {
                "notebook": notebook,
                "title": part.title,
                "points": part.points,
                "mean": mean,
                "n": len(got),
                "left": left,
            }
        )
    return rows


def _mistakes(graded: list[Line]) -> list[dict]:
    """What several students share, by the words before the colon of each detail; the most frequent first."""
    who, examples = defaultdict(set), defaultdict(Counter)
    for i, line in enumerate(graded):
        for scored in line.parts:
            if scored.part.name in ("data", "citations", "exercises"):
                for detail in scored.details:
                    what, _, example = detail.partition("：")
                    who[scored.part.title, what].add(i)
                    examples[scored.part.title, what][example] += 1
    order = sorted(who, key=lambda item: (-len(who[item]), item))
    return [
        {"part": part, "what": what, "n": len(who[part, what]), "example": shown(_most(examples[part, what]))}
        for part, what in order[:MOST_MISTAKES]
    ]


def _most(counts: Counter) -> str:
    return min(counts, key=lambda text: (-counts[text], text))
