"""What a learner has done: one JSON line per attempt, appended to `workspace/progress.jsonl`."""

import json
from contextlib import suppress
from dataclasses import asdict, dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from filelock import FileLock

from course_utils import paths
from course_utils.profiles import profile


@dataclass(frozen=True)
class Claim:
    """One attempt at an exercise ("02-1") or a quiz ("01-q1").

    answer: plain JSON data; of a quiz, the text of the option. passed: what the check here said; a grader asks it anew.
    time: ISO 8601 with the offset from UTC.
    """

    exercise: str
    answer: Any
    passed: bool
    time: str
    profile: str


NAME = "progress.jsonl"  # in the workspace


def file() -> Path:
    return paths.workspace() / NAME


def record(exercise: str, answer: Any, passed: bool) -> Claim:
    """Append an attempt. answer: plain JSON data."""
    claim = Claim(exercise, answer, passed, datetime.now().astimezone().isoformat(timespec="seconds"), profile())
    line = json.dumps(asdict(claim), ensure_ascii=False).encode() + b"\n"
    with FileLock(file().with_name(".progress.lock")), file().open("ab+") as stream:
        if stream.tell():
            stream.seek(-1, 2)
            if stream.read() != b"\n":  # the power went while the last line was written: it must not spoil this one
                line = b"\n" + line
        stream.write(line)
    return claim


def attempts(path: Path | None = None) -> list[Claim]:
    """All claims, oldest first. A line that is no claim, as a broken last one, is skipped."""
    path = path or file()
    found = []
    for line in path.read_bytes().splitlines() if path.exists() else []:
        with suppress(ValueError, TypeError):
            found.append(Claim(**json.loads(line)))
    return found


def latest(path: Path | None = None) -> dict[str, Claim]:
    """The last claim of each exercise and quiz."""
    return {claim.exercise: claim for claim in attempts(path)}
