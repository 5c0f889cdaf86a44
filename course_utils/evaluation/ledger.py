"""Files of JSON lines that work is appended to as it finishes, so that a kill costs at most the line at hand."""

import json
import os
from collections.abc import Iterable
from pathlib import Path


def read_lines(path: str | Path) -> list[dict]:
    """The complete lines of the file; none when it is not there. A last line that a crash cut short is left out."""
    path = Path(path)
    content = path.read_bytes() if path.exists() else b""
    whole = content[: content.rfind(b"\n") + 1]
    return [json.loads(line) for line in whole.decode("utf-8").split("\n") if line]


def mend(path: str | Path) -> None:
    """Cut off a last line that has no end, so that the next one does not run into it."""
    path = Path(path)
    if path.exists():
        content = path.read_bytes()
        os.truncate(path, content.rfind(b"\n") + 1)


def append(path: str | Path, rows: Iterable[dict]) -> None:
    """Add rows to the end; they are on disk when this returns."""
    text = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)
    with Path(path).open("a", encoding="utf-8", newline="") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
