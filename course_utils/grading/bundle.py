"""What a learner hands in: answers to the given questions, a preflight with the grader's own code, one zip.

    answer_given("法律助手")                                   # the trained model answers the given questions
    preflight("05", run="法律助手", student_id="20260101", student_name="张三")
    submit("05", run="法律助手", student_id="20260101", student_name="张三")

A notebook without training is handed in as `submit("02", student_id=..., student_name=...)`: answers and exercises.
"""

import json
import os
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import NamedTuple

import pandas as pd

from course_utils import paths
from course_utils.data.records import atomic_writer
from course_utils.errors import ConfigError, CourseError, DataError
from course_utils.grading import submission as s
from course_utils.grading.given import given_questions
from course_utils.grading.measure import Measured, data_quality, exercises, exercises_of, leakage
from course_utils.grading.pack import (
    GIVEN,
    add_data,
    as_json,
    check_run,
    claims,
    free_answers,
    make_zip,
    notebook_cells,
    plain,
    run_files,
    sealed,
)
from course_utils.training.history import find_run
from course_utils.training.run import Run

MAX_NEW_TOKENS = 160
MUST, SHOULD = "必须改", "建议改"  # without it there is no zip; it costs points


class Finding(NamedTuple):
    """severity: `MUST` or `SHOULD`."""

    severity: str
    part: str
    what: str
    fix: str


@dataclass(frozen=True)
class Preflight:
    """What `preflight` found. content: the zip, when nothing stands in its way."""

    findings: list[Finding]
    content: bytes | None = field(repr=False)  # megabytes, which a notebook would print

    @property
    def ok(self) -> bool:
        return self.content is not None

    def table(self) -> pd.DataFrame:
        return pd.DataFrame(self.findings, columns=["程度", "部分", "问题", "怎么改"])

    def summary(self) -> str:
        musts = sum(finding.severity == MUST for finding in self.findings)
        if musts:
            return f"还不能交：有 {musts} 处{MUST}。"
        return f"可以交了，另有 {len(self.findings)} 处{SHOULD}。" if self.findings else "可以交了，没有发现问题。"

    def _repr_html_(self) -> str:
        table = self.table().to_html(index=False, escape=True) if self.findings else ""
        return f"<p>{self.summary()}</p>{table}"


def answer_given(
    run: Run | str | Path, max_new_tokens: int = MAX_NEW_TOKENS, log: Callable[[str], None] = print
) -> dict[str, str]:
    """id -> answer of the run's model to each given question, kept in the run folder as given.json.

    max_new_tokens: at most 512 of each answer. Greedy. Answers that this adapter has given before, with as many tokens, are taken from there. Raises `ConfigError`.
    """
    from course_utils.inference.predict import predict
    from course_utils.models.weights import sha256

    run = run if isinstance(run, Run) else find_run(str(run))
    check_run(run)
    if not 1 <= max_new_tokens <= s.MOST_TOKENS:
        raise ConfigError(f"每个回答最多 {max_new_tokens} 个 token，要在 1 到 {s.MOST_TOKENS} 之间。")
    path, digest = run.folder / GIVEN, sha256(run.weights / "adapter_model.safetensors")
    if path.exists():
        kept = json.loads(path.read_text(encoding="utf-8"))
        ids = [question.id for question in given_questions()]
        if (kept["adapter"], kept["max_new_tokens"], list(kept["answers"])) == (digest, max_new_tokens, ids):
            log(f"{len(kept['answers'])} 道给定题目之前答过了，在 {path}。")
            return kept["answers"]
    questions, config = given_questions(), run.config
    records = [question.record for question in questions]
    found = predict(*run.load(), records, None, config.max_length, max_new_tokens, title="给定题目")
    answers = {question.id: row["prediction"] for question, row in zip(questions, found, strict=True)}
    kept = {"adapter": digest, "max_new_tokens": max_new_tokens, "max_length": config.max_length, "answers": answers}
    with atomic_writer(path) as file:
        json.dump(kept, file, ensure_ascii=False, indent=1)
    log(f"{len(answers)} 道给定题目答好了，在 {path}。")
    return answers


def preflight(
    notebook: str | Path,
    run: Run | str | Path | None = None,
    data: str | None = None,
    student_id: str = "",
    student_name: str = "",
) -> Preflight:
    """Everything that stands in the way of handing in (必须改), or costs points (建议改), each with its fix.

    notebook: "05", or the path of the learner's .ipynb; its saved file is read, for the free answers.
    run: the training to hand in, by name or folder; needed for notebook 05. data: a data set of the workspace, where
    there is no run; the data of a run come from its folder. The zip that would be written is read by the very code
    that grades it. Writes nothing, and raises `ConfigError` only for a notebook that there is not.
    """
    findings, files = [], {}
    number, cells = notebook_cells(notebook)
    base = None
    try:
        if run is not None:
            run = run if isinstance(run, Run) else find_run(str(run))
            check_run(run)
            base = run.config.base_model
            files |= run_files(run)
            if s.PREDICTIONS not in files:
                fix = f'请运行 answer_given("{run.folder.name}")'
                findings.append(Finding(MUST, "给定题目", "模型还没有回答给定题目", fix))
        elif number == s.LEGAL:
            findings.append(Finding(MUST, "训练", "没有给训练", '请写 run="训练的名字"，名字在 workspace/runs/ 里'))
        if data is not None:
            add_data(files, data)
    except CourseError as error:
        findings.append(Finding(MUST, "训练", str(error), "请照着改，再运行一次"))
    answers = free_answers(cells)
    for name in [name for name, text in answers.items() if not text]:
        fix = "请写在笔记本里那一格，保存笔记本（Ctrl+S），再运行这一格"
        findings.append(Finding(SHOULD, "问答题", f"问答题 {name} 没有写", fix))
    files[s.ANSWERS] = as_json({name: text for name, text in answers.items() if text})
    files[s.CLAIMS] = claims()
    if not student_id or not student_name:
        what, fix = "没有写学号或姓名", "请写 student_id 和 student_name；平台的文件名认不出人时就靠它们"
        findings.append(Finding(SHOULD, "学生", what, fix))
    now = datetime.now().astimezone().isoformat(timespec="seconds")
    content = make_zip(sealed(files, number, str(student_id), str(student_name), base, now))
    findings += _inspect(content, number)
    findings.sort(key=lambda finding: finding.severity != MUST)
    return Preflight(findings, None if any(f.severity == MUST for f in findings) else content)


def submit(
    notebook: str | Path,
    run: Run | str | Path | None = None,
    data: str | None = None,
    student_id: str = "",
    student_name: str = "",
    out: str | Path | None = None,
) -> Path:
    """Write the zip that is handed in and return its path: `out`, else workspace/submissions/学号-姓名-NN.zip.

    The arguments are those of `preflight`. Raises `DataError` with every problem that stands in the way; then nothing
    is written.
    """
    return write(preflight(notebook, run, data, student_id, student_name), out)


def write(found: Preflight, out: str | Path | None = None) -> Path:
    """Write the zip of a preflight, see `submit`."""
    if not found.ok:
        lines = [f"· {f.part}：{f.what}。{f.fix}。" for f in found.findings if f.severity == MUST]
        raise DataError("\n".join([found.summary(), *lines]))
    manifest = s.read_submission(found.content).manifest
    parts = (manifest.student_id, manifest.student_name, manifest.notebook)
    name = "-".join(plain(part) for part in parts if part)
    path = Path(out) if out else paths.workspace() / "submissions" / f"{name}.zip"
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(path.name + ".partial")
    try:
        partial.write_bytes(found.content)
        os.replace(partial, path)
    finally:
        partial.unlink(missing_ok=True)
    return path


def _inspect(content: bytes, notebook: str) -> list[Finding]:
    """What the grader would say of the zip."""
    try:
        read = s.read_submission(content)
    except s.SubmissionError as error:
        return [Finding(MUST, "提交", str(error), "请照着改，再运行一次")]
    found = [Finding(SHOULD, "一致", doubt, "请确认交的是同一次训练") for doubt in read.doubts]
    measured = []  # part, what was measured, fix
    if read.data:
        measured.append(("数据", data_quality(read.data), "请用 course data check 看每一处，改好再训练"))
    if read.predictions:
        questions = [question.record.input for question in given_questions()]
        measured.append(("泄漏", leakage(read.data, questions), "请用 without_given(rows) 去掉它们，再训练"))
        found += _unanswered(read.predictions)
    if exercises_of(notebook):
        measured.append(("小练习", exercises(notebook, read.claims), "请回到那一格重做"))
    return found + [Finding(SHOULD, part, _told(m), fix) for part, m, fix in measured if m.value < 1]


def _unanswered(predictions: s.Predictions) -> list[Finding]:
    ids = {question.id for question in given_questions()}
    if set(predictions.answers) != ids:
        return [Finding(MUST, "给定题目", "回答的题目和课程的不一样", "请更新课程，再运行 answer_given")]
    empty = [name for name, text in predictions.answers.items() if not text.strip()]
    return [Finding(SHOULD, "给定题目", f"{'、'.join(empty)} 是空的，算 0 分", "请看看训练")] if empty else []


def _told(measured: Measured) -> str:
    return "；".join([measured.why.rstrip("。"), *(detail.rstrip("。") for detail in measured.details[:3])])
