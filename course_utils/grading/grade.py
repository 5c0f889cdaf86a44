"""One submission: read it, measure what can be measured without a model, and keep what other submissions are compared by."""

import base64
import hashlib
import json
from functools import cache
from pathlib import Path

import numpy as np
from pydantic import BaseModel

from course_utils.data import presets
from course_utils.data.cells import squeeze
from course_utils.grading import measure
from course_utils.grading.archive import SubmissionError, read_file
from course_utils.grading.key import PRESET, KeyFile
from course_utils.grading.measure import Measured
from course_utils.grading.submission import LEGAL, ClaimLine, Submission, read_submission


class Traces(BaseModel):
    """What tells whether two submissions are the same work: see `alike`."""

    adapter: str | None = None  # SHA-256 of the weights
    weights: str | None = None  # a sketch of them, float16 in base64
    recipe: str | None = None  # of settings, seed and training data: the same recipe makes the same weights
    rows: list[str] = []  # a hash of each question in the data that is not in the public data
    answers: dict[str, str] = {}  # exercise -> text


class Result(BaseModel):
    """What became of one file. reason: why it could not be read; then there is nothing else.

    measured: part -> what was measured; a part that needs a model, a judge or the teacher comes later.
    """

    sha256: str
    reason: str | None = None
    notebook: str = ""
    student_id: str = ""  # as the student typed it
    student_name: str = ""
    created: str = ""
    measured: dict[str, Measured] = {}
    predictions: dict[str, str] = {}
    claims: list[ClaimLine] = []
    doubts: list[str] = []
    traces: Traces = Traces()


def grade_file(path: Path, key: KeyFile) -> Result:
    """The result of a file that was handed in. Raises nothing over what is in it."""
    try:
        content = read_file(path)
    except SubmissionError as error:
        return Result(sha256="", reason=str(error))
    try:
        return grade(read_submission(content), key)
    except SubmissionError as error:
        return Result(sha256=hashlib.sha256(content).hexdigest(), reason=str(error))


def grade(read: Submission, key: KeyFile) -> Result:
    """The result of a submission that could be read."""
    manifest = read.manifest
    measured = {"exercises": measure.exercises(manifest.notebook, read.claims)}
    if manifest.notebook == LEGAL:
        measured |= _measure_legal(read, key)
    return Result(
        sha256=read.sha256,
        notebook=manifest.notebook,
        student_id=manifest.student_id,
        student_name=manifest.student_name,
        created=manifest.created,
        measured=measured,
        predictions=_predictions(read),
        claims=read.claims,
        doubts=read.doubts + _doubts(read, key),
        traces=_traces(read),
    )


def _measure_legal(read: Submission, key: KeyFile) -> dict[str, Measured]:
    given, hidden = ([gold.question for gold in golds] for golds in (key.given, key.hidden))
    measured = {
        "data": measure.data_quality(read.data),
        "leakage": measure.leakage(read.data, given, hidden),
    }
    if read.predictions is None:
        nothing = Measured(0.0, "没有交给定题目的回答。")
        return measured | dict.fromkeys(("citations", "given", "safety"), nothing)
    answers = read.predictions.answers
    return measured | {
        "citations": measure.citation_validity(answers, key.given),
        "given": measure.likeness(answers, key.given),
        "safety": measure.safety(answers, key.given),
    }


def _predictions(read: Submission) -> dict[str, str]:
    return read.predictions.answers if read.predictions else {}


def _doubts(read: Submission, key: KeyFile) -> list[str]:
    found = []
    missing = len({gold.id for gold in key.given} - read.predictions.answers.keys()) if read.predictions else 0
    if missing:
        found.append(f"给定题目的回答缺了 {missing} 道，算 0 分：可能用的是旧的课程。")
    if read.manifest.notebook == LEGAL:
        lacking = {
            "适配器": read.adapter,
            "给定题目的回答": read.predictions,
            "训练记录": read.training,
            "数据": read.data,
        }
        found += [f"没有交{name}。" for name, part in lacking.items() if not part]
    wrong = [c.exercise for c in read.claims if c.passed and "q" not in c.exercise and measure.judged(c) is not None]
    if wrong:
        found.append(f"练习 {'、'.join(wrong)} 说是对的，重新计算不对。")
    return found


def _traces(read: Submission) -> Traces:
    questions = {squeeze(row.input or row.instruction) for rows in read.data.values() for row in rows}
    recipe = None
    if read.training and read.config:
        facts = [read.config.model_dump(), {part: d.sha256 for part, d in sorted(read.training.data.items())}]
        recipe = _digest(json.dumps(facts, sort_keys=True))
    return Traces(
        adapter=read.adapter and read.adapter.sha256,
        weights=read.adapter and base64.b64encode(read.adapter.sketch().astype(np.float16)).decode(),
        recipe=recipe,
        rows=sorted(_digest(question) for question in questions - _public()),
        answers=read.answers,
    )


@cache
def _public() -> set[str]:
    return {squeeze(row["input"]) for row in presets.rows(PRESET)}


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:16]
