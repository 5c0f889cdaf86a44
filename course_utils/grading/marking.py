"""`course grade`: from a folder of files to gradebook, feedback and summary; and the sheets for the free answers.

OUT/gradebook.csv   OUT/summary.html   OUT/feedback/学号-姓名.html
OUT/sheets/NN-k.html, NN-k.csv   OUT/marks.json   the free answers
OUT/state/   what is done, so that a grading that was stopped goes on; can be deleted
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from course_utils import paths
from course_utils.errors import ConfigError, CourseError
from course_utils.evaluation.judging import Asked, Judge, mark_answers
from course_utils.grading.alike import Pair, alike, copied
from course_utils.grading.archive import read_file
from course_utils.grading.classroom import GRADED, Line, grade_all, lines
from course_utils.grading.feedback import FEEDBACK, GRADEBOOK, SUMMARY, write_feedback, write_gradebook, write_summary
from course_utils.grading.grade import Result
from course_utils.grading.key import KeyFile, read_key
from course_utils.grading.measure import Measured
from course_utils.grading.rerun import Rerun, rerun
from course_utils.grading.roster import Found, find_files, read_roster
from course_utils.grading.rubric import Rubric, default_rubric, read_rubric
from course_utils.grading.sheets import import_marks, measured_answers, read_marks, write_sheets
from course_utils.grading.submission import LEGAL, read_submission

SHEETS, STATE = "sheets", "state"
Log = Callable[[str], None]


@dataclass(frozen=True)
class Class:
    """A class that was graded. pairs: of nearly the same submissions, indices into the graded lines."""

    lines: list[Line]
    unknown: list[tuple[Found, Result]]
    pairs: list[Pair]
    key: KeyFile
    rubric: Rubric
    out: Path


def mark_class(
    folder: str | Path,
    key: str | Path,
    out: str | Path | None = None,
    roster: str | Path | None = None,
    rubric: str | Path | None = None,
    with_rerun: bool = False,
    judge: Judge | None = None,
    workers: int | None = None,
    log: Log = print,
) -> Class:
    """Grade a folder and write everything into `out`, else workspace/grading.

    Doing it again gives the same, and what is done is not done again.

    roster: a CSV with 学号 and 姓名; only with it is anybody 未提交. with_rerun: also answer with each adapter, which
    takes about a minute for each on two cores. judge: marks the answers to the given questions. Raises `CourseError`.
    """
    made = _graded(folder, key, out, roster, rubric, with_rerun, judge, workers, log)
    write_gradebook(made.out / GRADEBOOK, made.lines, made.unknown)
    write_feedback(made.out / FEEDBACK, made.lines, made.key)
    write_summary(made.out / SUMMARY, made.lines, made.unknown, made.pairs, made.key, with_rerun)
    return made


def export_sheets(
    folder, key, out, roster=None, rubric=None, judge: Judge | None = None, log: Log = print
) -> list[Path]:
    """Write the blind sheets of a class into `out`/sheets; the arguments are those of `mark_class`."""
    made = _graded(folder, key, out, roster, rubric, log=log)
    return write_sheets(made.lines, made.key, made.rubric, made.out / SHEETS, judge)


def import_sheets(
    folder, key, out=None, files: Sequence[str | Path] = (), roster=None, rubric=None, log: Log = print
) -> int:
    """Take over filled sheets, by default all in `out`/sheets; returns how many answers have marks now."""
    made = _graded(folder, key, out, roster, rubric, log=log)
    chosen = [Path(file) for file in files] or sorted((made.out / SHEETS).glob("*.csv"))
    if not chosen:
        raise ConfigError(f"{made.out / SHEETS} 里没有评分表。请先导出：course grade sheets。")
    return len(import_marks(chosen, made.lines, made.key, made.rubric, made.out))


def _graded(folder, key, out, roster, rubric, with_rerun=False, judge=None, workers=None, log: Log = print) -> Class:
    folder, secret = Path(folder), read_key(key)
    out = Path(out) if out else paths.workspace() / "grading"  # git does not look there
    chosen = read_rubric(rubric) if rubric else default_rubric()
    students = read_roster(roster) if roster else None
    if out.resolve().is_relative_to(folder.resolve()):
        raise ConfigError(f"结果不能写在作业文件夹 {folder} 里面，不然会被当成作业。请用 --out 换一个地方。")
    found = find_files(folder, students)
    results = grade_all(folder, found, secret, out / STATE, workers)
    marks = read_marks(out)
    reruns = _rerun_all(folder, found, results, secret, out / STATE, log) if with_rerun else {}

    def extra(result: Result) -> dict[str, Measured]:
        more = {"answers": measured_answers(result, secret, marks)}
        if result.notebook == LEGAL:
            more |= _without_rerun(with_rerun) if result.sha256 not in reruns else {}
            more["judge"] = _judge(judge, result, secret, out / STATE)
        if again := reruns.get(result.sha256):
            more |= again.measured(secret, result.predictions)
        return more

    made, unknown = lines(found, results, chosen, students, extra)
    graded = [line for line in made if line.status == GRADED]
    for line in graded:
        line.notes += copied(line.result)
        if again := reruns.get(line.result.sha256):
            line.notes += again.doubts()
    return Class(made, unknown, alike([line.result for line in graded]), secret, chosen, out)


def _without_rerun(tried: bool) -> dict[str, Measured]:
    why = "没有适配器，或者这台电脑没有它的基座。" if tried else "这一次没有用适配器重新回答（--rerun）。"
    return dict.fromkeys(("loss", "hidden"), Measured(None, why))


def _rerun_all(
    folder: Path, found: list[Found], results: list[Result], key: KeyFile, state: Path, log: Log
) -> dict[str, Rerun]:
    """SHA-256 of a zip -> what its adapter did, for all that have one."""
    with_adapter = [(one, r) for one, r in zip(found, results, strict=True) if r.traces.adapter]
    done = {}
    for number, (one, result) in enumerate(with_adapter, 1):
        log(f"重新回答 {number} / {len(with_adapter)}：{one.path}")
        again = rerun(read_submission(read_file(folder / one.path)), key, state, log)
        if again:
            done[result.sha256] = again
    return done


def _judge(judge: Judge | None, result: Result, key: KeyFile, state: Path) -> Measured:
    """The mean mark of the answers to the given questions; an answer on which the judge fails does not count."""
    if judge is None:
        return Measured(None, "没有设裁判。")
    if not result.predictions:
        return Measured(None, "没有可以评判的回答。")
    asked = [Asked(gold.question, gold.reference) for gold in key.given]
    answers = [result.predictions.get(gold.id, "") for gold in key.given]
    try:
        marks = mark_answers(judge, asked, answers, state / "judge.jsonl")
    except CourseError as error:  # an answer may be written to confuse the judge: that must not stop the class
        return Measured(None, f"裁判没有判出来：{error}")
    if not marks.known:
        return Measured(None, "裁判一条也没有判出来。")
    failed = f"，{len(marks.failures)} 条没有判出来，不算" if marks.failures else ""
    return Measured(marks.mean, f"{judge.name} 平均 {marks.mean:.2f}（1 到 5）{failed}。裁判会出错。")
