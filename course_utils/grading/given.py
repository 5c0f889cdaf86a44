"""The given questions of chapter 5: everybody answers them with the trained model, and nobody may train on them."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from functools import cache
from pathlib import Path
from typing import TypeVar

import yaml

from course_utils.data.records import Record
from course_utils.data.split import near_duplicates

Row = TypeVar("Row", dict, Record)


@dataclass(frozen=True)
class Question:
    """id: "g01" of the given ones, "h01" of the hidden ones. record: what the model is asked, without an answer."""

    id: str
    record: Record


@cache
def given_questions() -> tuple[Question, ...]:
    """The given questions, in the order in which they are handed in."""
    content = yaml.safe_load(Path(__file__).with_name("given.yaml").read_text(encoding="utf-8"))
    return tuple(
        Question(line["id"], Record(content["instruction"], line["question"])) for line in content["questions"]
    )


def without_given(rows: Sequence[Row]) -> list[Row]:
    """The rows (records, or dicts with the five fields) whose question is not nearly the same as a given one."""
    near = leaks([_asked(row) for row in rows], [question.record.input for question in given_questions()])
    return [row for number, row in enumerate(rows) if number not in near]


def leaks(texts: Sequence[str], questions: Sequence[str]) -> dict[int, int]:
    """Which of `texts` are nearly the same as one of `questions`: index -> index of the question. See
    `near_duplicates`.
    """
    found = {}
    for group in near_duplicates([*questions, *texts]):
        if group[0] < len(questions):  # indices ascend: a question stands first
            found |= {i - len(questions): group[0] for i in group if i >= len(questions)}
    return found


def _asked(row: Row) -> str:
    values = asdict(row) if isinstance(row, Record) else row
    return values.get("input") or values.get("instruction") or ""
