"""A row of data: from a learner's file to the five Alpaca fields."""

import csv
import io
import json
import os
from collections.abc import Iterable
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from course_utils.errors import DataError

FIELDS = ("instruction", "input", "output", "system", "history")


@dataclass
class Record:
    """One training example in Alpaca's fields (https://github.com/tatsu-lab/stanford_alpaca, `history` as in 讯飞's
    and LLaMA-Factory's formats): what the user says is `instruction`, a newline, `input`; the model answers `output`.
    """

    instruction: str
    input: str = ""
    output: str = ""
    system: str = ""
    history: list[tuple[str, str]] = field(default_factory=list)  # earlier (question, answer) turns

    @property
    def prompt(self) -> str:
        """What the user says: instruction and input joined by a newline."""
        return "\n".join(part for part in (self.instruction, self.input) if part)

    def messages(self) -> list[dict[str, str]]:
        """The conversation as chat messages, the answer last."""
        turns = [{"role": "system", "content": self.system}] if self.system else []
        for question, answer in [*self.history, (self.prompt, self.output)]:
            turns += [{"role": "user", "content": question}, {"role": "assistant", "content": answer}]
        return turns


def to_records(
    rows: Iterable[dict],
    mapping: dict[str, str] | None = None,
    constants: dict[str, str] | None = None,
    answers: bool = True,
) -> list[Record]:
    """Map rows to records.

    mapping: column -> field, such as `{"text": "input"}`; a column that carries a field's own name needs no entry.
    constants: field -> the same text for every row, such as `{"instruction": "判断情感"}`.
    answers: whether `output` must be there (training) or may be missing (prediction).
    Raises `DataError` with row number (1 is the first), field and fix.
    """
    mapping, constants = mapping or {}, constants or {}
    wrong = [target for target in (*mapping.values(), *constants) if target not in FIELDS]
    if wrong:
        raise DataError(f"没有叫「{wrong[0]}」的字段。字段只能是：{'、'.join(FIELDS)}。")
    source = {name: name for name in FIELDS if name not in mapping}  # a column that goes elsewhere goes there alone
    source |= {target: column for column, target in mapping.items()}
    return [_record(row, number, source, constants, answers) for number, row in enumerate(rows, 1)]


def _record(row: dict, number: int, source: dict[str, str], constants: dict[str, str], answers: bool) -> Record:
    values = {name: constants.get(name, row.get(source.get(name))) for name in FIELDS}
    source = {name: name for name in FIELDS} | source  # from here on, for the messages
    if not answers:
        values["output"] = ""
    for name in ("instruction", "input", "output", "system"):
        value = values[name]
        if value is not None and not isinstance(value, str):
            raise DataError(f"第 {number} 行的「{source[name]}」不是文本，而是 {type(value).__name__}。请改成文本。")
        values[name] = (value or "").strip()
    if not values["instruction"] and not values["input"]:
        raise DataError(
            f"第 {number} 行没有问题：「{source['instruction']}」和「{source['input']}」都是空的。"
            f"请补上，或者用映射指明它们在哪一列（这一行的列有：{'、'.join(map(str, row))}）。"
        )
    if answers and not values["output"]:
        raise DataError(f"第 {number} 行缺少答案：「{source['output']}」是空的。请补上，或者删除这一行。")
    values["history"] = _history(values["history"], number)
    return Record(**values)


def _history(value, number: int) -> list[tuple[str, str]]:
    pairs = value or []
    good = isinstance(pairs, list) and all(
        isinstance(pair, list | tuple) and len(pair) == 2 and all(isinstance(text, str) for text in pair)
        for pair in pairs
    )
    if not good:
        raise DataError(f"第 {number} 行的「history」格式不对，应该是 [[问, 答], [问, 答]]。")
    return [tuple(pair) for pair in pairs]


def read_rows(path: str | Path) -> list[dict]:
    """The rows of a .jsonl, .json (an array) or .csv file in UTF-8, with or without BOM.

    Raises `DataError` naming the file, the line and the fix.
    """
    path = Path(path)
    readers = {".jsonl": _read_jsonl, ".json": _read_json, ".csv": _read_csv}
    if path.suffix.lower() not in readers:
        raise DataError(f"不认识 {path.name} 的格式。请给 {'、'.join(readers)} 文件。")
    try:
        text = path.read_text(encoding="utf-8-sig")
    except FileNotFoundError:
        raise DataError(f"找不到文件 {path}。请检查路径。") from None
    except UnicodeDecodeError as error:
        raise DataError(f"{path.name} 不是 UTF-8 编码（第 {error.start} 字节起读不懂）。请另存为 UTF-8。") from None
    rows = readers[path.suffix.lower()](text, path.name)
    if not rows:
        raise DataError(f"{path.name} 里没有数据。请给一个至少有一行的文件。")
    for number, row in enumerate(rows, 1):
        if not isinstance(row, dict):
            raise DataError(f'{path.name} 第 {number} 行不是一个带字段的对象（应该像 {{"input": "……"}}）。')
    return rows


def _read_jsonl(text: str, name: str) -> list:
    rows = []
    for number, line in enumerate(text.split("\n"), 1):
        if line.strip():
            try:
                rows.append(json.loads(line))
            except json.JSONDecodeError as error:
                raise DataError(
                    f"{name} 第 {number} 行不是完整的 JSON（第 {error.colno} 个字符处）。请修改这一行。"
                ) from None
    return rows


def _read_json(text: str, name: str) -> list:
    if not text.strip():
        return []
    try:
        rows = json.loads(text)
    except json.JSONDecodeError as error:
        raise DataError(f"{name} 不是完整的 JSON：第 {error.lineno} 行第 {error.colno} 个字符处读不下去。") from None
    if not isinstance(rows, list):
        raise DataError(f"{name} 的最外层应该是一个数组：[{{...}}, {{...}}]。")
    return rows


def _read_csv(text: str, name: str) -> list[dict]:
    reader = csv.DictReader(io.StringIO(text), strict=True)
    try:
        rows = list(reader)
    except csv.Error:
        raise DataError(
            f"{name} 读到第 {reader.line_num} 行时读不下去：双引号不配对，或者一格太长。文本里的双引号要写成两个。"
        ) from None
    for number, row in enumerate(rows, 1):
        if None in row or None in row.values():
            raise DataError(f"{name} 第 {number} 行的列数与表头不同。含逗号的文本请用英文双引号括起来。")
    return rows


@contextmanager
def atomic_writer(path: str | Path):
    """A text file that appears whole or not at all: written beside its place, then renamed."""
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(path.name + ".partial")
    try:
        with partial.open("w", encoding="utf-8", newline="") as file:
            yield file
        os.replace(partial, path)
    finally:
        partial.unlink(missing_ok=True)


def write_jsonl(rows: Iterable[dict], path: str | Path) -> None:
    """Write rows as JSON lines in UTF-8, atomically."""
    with atomic_writer(path) as file:
        for row in rows:
            file.write(json.dumps(row, ensure_ascii=False) + "\n")
