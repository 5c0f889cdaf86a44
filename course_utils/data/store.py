"""The learner's own data sets: plain folders in the workspace, with versions and where every row came from."""

import itertools
import json
import os
import shutil
from collections.abc import Sequence
from dataclasses import asdict
from datetime import datetime
from pathlib import Path

from course_utils import paths
from course_utils.data.records import FIELDS, Record, to_records, write_jsonl
from course_utils.errors import ConfigError, DataError

ALL = "all"  # the one part of a data set that is not split yet


class DataSet:
    """One version of one data set: `workspace/datasets/NAME/vN/`.

    train.jsonl ...    the rows of each part (all.jsonl before the split), for a text editor and for us
    dataset_dict.json, train/ ...   the same rows for `datasets.load_from_disk`
    dropped.jsonl      what was left out: row number, reasons, and the row itself
    lineage.json       which tool made this version, from what, with which mapping and repairs; when; how many rows
    Each row has the five fields, and may carry more columns, such as `source_row`, its number in the source.
    """

    def __init__(self, folder: str | Path):
        self.folder = Path(folder)
        if not (self.folder / "lineage.json").exists():
            raise ConfigError(f"{self.folder} 不是一个数据集：里面没有 lineage.json。")

    @classmethod
    def create(
        cls, name: str, parts: dict[str, Sequence[dict | Record]], lineage: dict, dropped: Sequence[dict] = ()
    ) -> "DataSet":
        """Write the next version of data set `name`; it appears whole or not at all.

        parts: part -> rows, either records or dicts with the five fields and more. Raises `DataError`, `ConfigError`.
        """
        if not name or name.startswith(".") or any(mark in name for mark in '/\\:*?"<>|'):
            raise ConfigError(f"数据集的名字不能是「{name}」。请用文字、数字、下划线，不要用 / \\ : * ? 和引号。")
        if not any(parts.values()):
            raise DataError(f"数据集「{name}」没有一行数据，没有保存。")
        home = _home() / name
        home.mkdir(parents=True, exist_ok=True)
        partial = home / f".partial-{os.getpid()}"
        shutil.rmtree(partial, ignore_errors=True)
        rows = {part: [_plain(row) for row in rows] for part, rows in parts.items()}
        try:
            _write(partial, rows, dropped)
            facts = {"created": datetime.now().isoformat(timespec="seconds"), **lineage}
            facts["rows"] = {part: len(lines) for part, lines in rows.items()}
            facts["dropped"] = len(dropped)
            (partial / "lineage.json").write_text(json.dumps(facts, ensure_ascii=False, indent=1), encoding="utf-8")
            return cls(_claim(home, partial))
        finally:
            shutil.rmtree(partial, ignore_errors=True)

    @classmethod
    def open(cls, name: str, version: int | None = None) -> "DataSet":
        """Version `version` of data set `name`, the newest by default. Raises `ConfigError` with what there is."""
        found = versions(name)
        if not found:
            raise ConfigError(f"工作区里没有叫「{name}」的数据集。有的是：{'、'.join(names()) or '（还没有）'}。")
        if version is not None and version not in found:
            raise ConfigError(f"数据集「{name}」没有第 {version} 版。有的版本是：{'、'.join(map(str, found))}。")
        return cls(_home() / name / f"v{version or found[-1]}")

    @property
    def name(self) -> str:
        return self.folder.parent.name

    @property
    def version(self) -> int:
        return int(self.folder.name[1:])

    @property
    def lineage(self) -> dict:
        return json.loads((self.folder / "lineage.json").read_text(encoding="utf-8"))

    def rows(self) -> dict[str, list[dict]]:
        """part -> rows with all their columns."""
        return {part: _read(self.folder / f"{part}.jsonl") for part in self.lineage["rows"]}

    def all(self) -> list[dict]:
        """The rows of all parts, one part after another."""
        return [row for rows in self.rows().values() for row in rows]

    def records(self) -> dict[str, list[Record]]:
        """part -> records."""
        return {part: to_records(rows) for part, rows in self.rows().items()}

    def dropped(self) -> list[dict]:
        """What was left out, with row numbers and reasons."""
        return _read(self.folder / "dropped.jsonl")


def names() -> list[str]:
    """The learner's data sets."""
    return sorted(folder.name for folder in _home().iterdir() if versions(folder.name))


def versions(name: str) -> list[int]:
    """The versions of data set `name`, ascending."""
    return sorted(int(path.parent.name[1:]) for path in (_home() / name).glob("v*/lineage.json"))


def _home() -> Path:
    home = paths.workspace() / "datasets"
    home.mkdir(exist_ok=True)
    return home


def _plain(row: dict | Record) -> dict:
    """A row with the five fields first."""
    values = asdict(row) if isinstance(row, Record) else row
    fields = {name: values.get(name) or ([] if name == "history" else "") for name in FIELDS}
    fields["history"] = [list(pair) for pair in fields["history"]]
    return fields | {name: value for name, value in values.items() if name not in FIELDS}


def _write(folder: Path, rows: dict[str, list[dict]], dropped: Sequence[dict]) -> None:
    from datasets import Dataset, DatasetDict, disable_progress_bars, enable_progress_bars

    folder.mkdir()
    for part, lines in rows.items():
        write_jsonl(lines, folder / f"{part}.jsonl")
    write_jsonl(dropped, folder / "dropped.jsonl")
    disable_progress_bars()  # of a write that takes a second
    try:
        DatasetDict({part: Dataset.from_list(lines) for part, lines in rows.items() if lines}).save_to_disk(folder)
    finally:
        enable_progress_bars()


def _claim(home: Path, partial: Path) -> Path:
    """Rename to the next free version; when another process took that number meanwhile, to the one after."""
    for number in itertools.count(max(versions(home.name), default=0) + 1):
        folder = home / f"v{number}"
        if not folder.exists():
            try:
                return partial.rename(folder)
            except OSError:
                if not folder.exists():
                    raise


def _read(path: Path) -> list[dict]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").split("\n") if line]
