"""What a zip that was handed in holds, part by part; reading it checks all that can be known without a key."""

import hashlib
from dataclasses import dataclass, field
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from course_utils.data.records import Record
from course_utils.grading.adapter import Adapter, read_adapter
from course_utils.grading.archive import AGAIN, MB, SubmissionError, shown, unpack
from course_utils.grading.untrusted import build, build_all, parse, parse_lines
from course_utils.training.config import TrainingConfig

LEGAL = "05"  # the notebook that is handed in with an adapter, predictions, training record and data
FORMAT = "llm-finetuning-course-submission"
MANIFEST, ANSWERS, CLAIMS, PREDICTIONS = "manifest.json", "answers.json", "claims.jsonl", "predictions.json"
TRAINING, METRICS = "training.json", "metrics.jsonl"
WEIGHTS, SETTINGS = "adapter/adapter_model.safetensors", "adapter/adapter_config.json"
TRAIN, VALIDATION = "data/train.jsonl", "data/validation.jsonl"
ALLOWED = {
    MANIFEST: MB // 16, ANSWERS: MB, CLAIMS: 4 * MB, PREDICTIONS: MB, TRAINING: MB // 4, METRICS: 16 * MB,
    WEIGHTS: 128 * MB, SETTINGS: MB // 64, TRAIN: 32 * MB, VALIDATION: 16 * MB,
}  # fmt: skip
MOST_TOKENS = 512  # of one answer: a rerun writes as many
LONGEST_ANSWER = 20_000  # characters of a free answer
TOGETHER = ((WEIGHTS, SETTINGS), (TRAINING, METRICS), (TRAIN, VALIDATION))  # one of these without the other is no use

Text = Annotated[str, Field(max_length=100_000)]
Essay = Annotated[str, Field(max_length=LONGEST_ANSWER)]
Short = Annotated[str, Field(max_length=200)]
Sha256 = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]


class Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True, allow_inf_nan=False)


class FileEntry(Strict):
    bytes: int
    sha256: Sha256


class Manifest(Strict):
    """student_id and student_name are what the student typed; whose the zip is, the roster decides."""

    format: Literal[FORMAT] = FORMAT
    version: Literal[1] = 1
    notebook: Annotated[str, Field(pattern=r"^\d\d$")]
    student_id: Short = ""
    student_name: Short = ""
    base_model: Short | None = None
    created: Short
    files: Annotated[dict[Short, FileEntry], Field(max_length=len(ALLOWED))]


class Predictions(Strict):
    """Answers to the given questions by id, and how they were written: greedy, by which adapter, with so many tokens."""

    adapter: Sha256
    max_new_tokens: int = Field(ge=1, le=MOST_TOKENS)
    max_length: int = Field(ge=16, le=32768)
    answers: Annotated[dict[Short, Text], Field(max_length=500)]


class Counted(Strict):
    rows: int
    sha256: Sha256


class Training(Strict):
    """The record of a run: its settings, and of its facts those that say how it was made and what came out."""

    run: Short
    config: dict[Short, Any]
    created: Short
    finished: bool
    steps: int
    seconds: float | None = None
    best_eval_loss: float | None = None
    versions: dict[Short, Short]
    machine: dict[Short, Short | int | None]
    data: dict[Short, Counted]


class Metric(BaseModel):
    """A line of the curve. Lines have more fields, which are not read."""

    model_config = ConfigDict(extra="ignore", strict=True)

    step: int
    loss: float | None = None
    eval_loss: float | None = None


class Row(Strict):
    """A row of the data set in the five fields."""

    instruction: Text = ""
    input: Text = ""
    output: Text = ""
    system: Text = ""
    history: Annotated[list[Annotated[list[Text], Field(min_length=2, max_length=2)]], Field(max_length=200)] = []

    def record(self) -> Record:
        return Record(self.instruction, self.input, self.output, self.system, [(q, a) for q, a in self.history])


class ClaimLine(Strict):
    """An exercise or a quiz as the student's own machine recorded it; see `progress.Claim`."""

    exercise: Annotated[str, Field(pattern=r"^\d\d-q?\d{1,3}$")]
    answer: Any
    passed: bool
    time: Short
    profile: Short


@dataclass(frozen=True)
class Submission:
    """A zip that could be read. What was not handed in is None or empty. doubts: what does not fit together."""

    sha256: str
    manifest: Manifest
    adapter: Adapter | None = None
    predictions: Predictions | None = None
    training: Training | None = None
    config: TrainingConfig | None = None
    metrics: list[Metric] = field(default_factory=list)
    data: dict[str, list[Row]] = field(default_factory=dict)
    answers: dict[str, str] = field(default_factory=dict)
    claims: list[ClaimLine] = field(default_factory=list)
    doubts: list[str] = field(default_factory=list)


def read_submission(content: bytes) -> Submission:
    """The submission in the bytes of a zip. Raises `SubmissionError`, with the reason and the fix, and nothing else."""
    files = unpack(content, ALLOWED)
    manifest = _manifest(files)
    for names in TOGETHER:
        if missing := [name for name in names if name not in files and any(other in files for other in names)]:
            raise SubmissionError(f"缺少「{missing[0]}」，它要和{'、'.join(set(names) - set(missing))}一起交。{AGAIN}")
    adapter = predictions = training = config = None
    if WEIGHTS in files:
        adapter = read_adapter(files[SETTINGS], files[WEIGHTS], manifest.base_model or "")
    if PREDICTIONS in files:
        predictions = build(Predictions, parse(files[PREDICTIONS], PREDICTIONS), PREDICTIONS)
    if TRAINING in files:
        training = build(Training, parse(files[TRAINING], TRAINING), TRAINING)
        config = build(TrainingConfig, training.config, f"{TRAINING} 的设置")
    data = {
        part: build_all(Row, parse_lines(files[name], name), name)
        for part, name in (("train", TRAIN), ("validation", VALIDATION))
        if name in files
    }
    return Submission(
        hashlib.sha256(content).hexdigest(), manifest, adapter, predictions, training, config,
        metrics=build_all(Metric, parse_lines(files[METRICS], METRICS), METRICS) if METRICS in files else [],
        data=data,
        answers=_answers(files[ANSWERS]) if ANSWERS in files else {},
        claims=build_all(ClaimLine, parse_lines(files[CLAIMS], CLAIMS), CLAIMS) if CLAIMS in files else [],
        doubts=_doubts(manifest, files, adapter, predictions, training, config),
    )  # fmt: skip


class Answers(Strict):
    answers: Annotated[dict[Annotated[str, Field(pattern=r"^\d\d-\d{1,3}$")], Essay], Field(max_length=50)]


def _answers(content: bytes) -> dict[str, str]:
    return build(Answers, {"answers": parse(content, ANSWERS)}, ANSWERS).answers


def _manifest(files: dict[str, bytes]) -> Manifest:
    """The manifest, when it names exactly the files that are there, each with its size and SHA-256."""
    if MANIFEST not in files:
        raise SubmissionError(f"没有清单（{MANIFEST}），不是 course submit 写出的文件。{AGAIN}")
    manifest = build(Manifest, parse(files[MANIFEST], MANIFEST), MANIFEST)
    there, told = set(files) - {MANIFEST}, set(manifest.files)
    if there != told:
        raise SubmissionError(f"清单和文件不一致：{'、'.join(sorted(map(shown, there ^ told)))}。{AGAIN}")
    for name, entry in manifest.files.items():
        if entry.bytes != len(files[name]) or entry.sha256 != hashlib.sha256(files[name]).hexdigest():
            raise SubmissionError(f"「{name}」和清单里的 SHA-256 不符：打包以后被改过，或者传坏了。{AGAIN}")
    return manifest


def _doubts(
    manifest: Manifest,
    files: dict[str, bytes],
    adapter: Adapter | None,
    predictions: Predictions | None,
    training: Training | None,
    config: TrainingConfig | None,
) -> list[str]:
    """What a teacher should look at: parts that are each in order and do not belong together."""
    found = []
    if training and TRAIN in files:
        for part, name in (("train", TRAIN), ("validation", VALIDATION)):
            told = training.data.get(part)
            if told is None or told.sha256 != hashlib.sha256(files[name]).hexdigest():
                found.append(f"训练记录里 {part} 的数据指纹和交来的 {name} 不同：训练用的可能是另一份数据。")
    if adapter and predictions and predictions.adapter != adapter.sha256:
        found.append("给定题目的回答不是用交来的这个适配器写的。")
    if training and not training.finished:
        found.append("训练记录说这次训练没有训练完。")
    if adapter and config:
        if (config.lora_rank, config.lora_alpha) != (adapter.config.r, adapter.config.lora_alpha):
            found.append("训练记录里 LoRA 的秩或缩放系数和适配器的不同：可能不是同一次训练。")
        if config.base_model != manifest.base_model:
            found.append(f"训练记录的基座是「{shown(config.base_model)}」，和清单的不同。")
    return found
