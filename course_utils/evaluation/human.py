"""People compare two models blind: which answer stands on which side is drawn by lot, and nobody scoring can see it.

A folder: sheet.jsonl holds what the raters see, key.json which side is which, ratings.jsonl what they said, a line per
rating. Ratings of several machines are merged by putting the lines together.
"""

import hashlib
import json
import random
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import combinations
from pathlib import Path
from typing import Literal

import numpy as np
import pandas as pd

from course_utils.data.records import atomic_writer, write_jsonl
from course_utils.errors import ConfigError, DataError
from course_utils.evaluation.ledger import append, mend, read_lines
from course_utils.evaluation.resample import Interval, mean_interval

Choice = Literal["左", "右", "平"]
CHOICES = ("左", "右", "平")


@dataclass(frozen=True)
class Tally:
    """What `tally` returns. Each row counts once: the mean of its raters, 1 for a win of A, 0 for B, a half for a tie."""

    a: str
    b: str
    wins_a: int  # ratings, not rows
    wins_b: int
    ties: int
    win_rate: float  # of A, over the rows
    interval: Interval  # 95 %, over the rows
    rows: int
    raters: list[str]
    kappa: float | None  # Light's kappa; None with fewer than two raters of the same rows
    left_share: float  # of the decided ratings that chose the left side; far from a half the raters did not look


def make_sheet(
    folder: str | Path,
    questions: Sequence[str],
    a: Sequence[str | None],
    b: Sequence[str | None],
    names: tuple[str, str],
    references: Sequence[str] | None = None,
    seed: int = 42,
) -> Path:
    """Write the sheet and its key; rows with two equal answers are left out. Raises `DataError` when none is left."""
    folder, rng = Path(folder), random.Random(seed)
    lines, sides = [], {}
    for number, (question, one, two) in enumerate(zip(questions, a, b, strict=True)):
        one, two = (one or "").strip(), (two or "").strip()
        if one == two:
            continue
        swap = rng.random() < 0.5
        left, right = (two, one) if swap else (one, two)
        name = hashlib.sha256(json.dumps([question, left, right], ensure_ascii=False).encode()).hexdigest()[:12]
        reference = {"reference": references[number]} if references is not None else {}
        lines.append({"id": name, "question": question, "left": left, "right": right, **reference})
        sides[name] = "BA" if swap else "AB"
    if not lines:
        raise DataError("两个模型的回答全都一样，没有什么可比的。请换一个模型，或者换一份数据。")
    rng.shuffle(lines)
    if (folder / "ratings.jsonl").exists() and read_lines(folder / "sheet.jsonl") != lines:
        raise ConfigError(f"{folder} 里已经有别的评分。请换一个文件夹。")
    write_jsonl(lines, folder / "sheet.jsonl")
    with atomic_writer(folder / "key.json") as file:
        json.dump({"a": names[0], "b": names[1], "sides": sides}, file, ensure_ascii=False, indent=1)
    return folder


def sheet(folder: str | Path, rater: str) -> list[dict]:
    """The rows of the sheet in this rater's own order: two raters do not both tire at the same row."""
    lines = read_lines(Path(folder) / "sheet.jsonl")
    if not lines:
        raise ConfigError(f"{folder} 里没有评分表。请先用 make_sheet 做一份。")
    random.Random(rater).shuffle(lines)
    return lines


def rate(folder: str | Path, rater: str, row: str, choice: Choice, note: str = "") -> None:
    """Keep one rating; a second one of the same rater and row counts instead of the first."""
    rater = rater.strip()
    if not rater:
        raise ConfigError("请先写上评分人的名字（或代号）。")
    if choice not in CHOICES:
        raise ConfigError(f"没有「{choice}」这个选择。只能是：{'、'.join(CHOICES)}。")
    if row not in {line["id"] for line in read_lines(Path(folder) / "sheet.jsonl")}:
        raise ConfigError(f"评分表里没有 {row} 这一行。")
    path, now = Path(folder) / "ratings.jsonl", datetime.now().isoformat(timespec="seconds")
    mend(path)
    append(path, [{"id": row, "rater": rater, "choice": choice, "note": note, "at": now}])


def ratings(folder: str | Path) -> pd.DataFrame:
    """The ratings that count: id, rater, choice, note, at."""
    lines = read_lines(Path(folder) / "ratings.jsonl")
    table = pd.DataFrame(lines, columns=["id", "rater", "choice", "note", "at"])
    return table.sort_values("at", kind="stable").drop_duplicates(["id", "rater"], keep="last", ignore_index=True)


def merge(folder: str | Path, others: Iterable[str | Path]) -> int:
    """Add the ratings of other copies of the same sheet; returns how many are new. Raises `DataError` for other rows."""
    folder, fresh = Path(folder), []
    rows = {line["id"] for line in read_lines(folder / "sheet.jsonl")}
    have = {json.dumps(line, sort_keys=True) for line in read_lines(folder / "ratings.jsonl")}
    for other in map(Path, others):
        for number, line in enumerate(read_lines(other / "ratings.jsonl" if other.is_dir() else other), 1):
            if line.get("id") not in rows or line.get("choice") not in CHOICES or not line.get("rater"):
                raise DataError(f"{other} 第 {number} 行不是这份评分表的评分。请检查是不是拿错了文件。")
            text = json.dumps(line, sort_keys=True)
            if text not in have:
                have.add(text)
                fresh.append(line)
    mend(folder / "ratings.jsonl")
    append(folder / "ratings.jsonl", fresh)
    return len(fresh)


def tally(folder: str | Path) -> Tally:
    """Open the key and count. Raises `DataError` when nobody has rated yet."""
    if not (Path(folder) / "key.json").exists():
        raise DataError(f"{folder} 里没有评分表。请先用 make_sheet 建一张。")
    key = json.loads((Path(folder) / "key.json").read_text(encoding="utf-8"))
    table = ratings(folder)
    if table.empty:
        raise DataError("还没有人评分。")
    # on a sheet of "BA" the left answer is B's
    winner = [
        "平" if choice == "平" else key["sides"][row][choice == "右"]
        for row, choice in zip(table["id"], table["choice"], strict=True)
    ]
    table = table.assign(winner=winner, points=[{"A": 1.0, "B": 0.0, "平": 0.5}[w] for w in winner])
    rows = table.groupby("id")["points"].mean()
    decided = table[table["choice"] != "平"]
    return Tally(
        key["a"], key["b"], winner.count("A"), winner.count("B"), winner.count("平"),
        float(rows.mean()), mean_interval(rows), len(rows), sorted(set(table["rater"])), kappa(table),
        float((decided["choice"] == "左").mean()) if len(decided) else float("nan"),
    )  # fmt: skip


def kappa(table: pd.DataFrame) -> float | None:
    """Light's kappa (1971): the mean over pairs of raters of Cohen's kappa (1960) on the rows that both rated.

    1: they always agree; 0: as much as by chance. None when no two raters share a row.
    """
    from sklearn.metrics import cohen_kappa_score

    wide, found = table.pivot(index="id", columns="rater", values="choice"), []
    for one, two in combinations(wide.columns, 2):
        both = wide[[one, two]].dropna()
        if len(both):
            same = (both[one] == both[two]).all()  # with a single choice throughout Cohen's kappa is 0/0
            found.append(1.0 if same else float(cohen_kappa_score(both[one], both[two])))
    return float(np.mean(found)) if found else None
