"""A row of data: from a learner's columns or a conversation to the five Alpaca fields, and back."""

import json
import os
from collections.abc import Iterable
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from pathlib import Path

from course_utils.errors import DataError

FIELDS = ("instruction", "input", "output", "system", "history")
ASKING = ("human", "observation")  # ShareGPT's roles that speak to the model, at the odd places of a conversation
ANSWERING = ("gpt", "function_call", "function")  # the model's own, at the even places


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
    A row with `conversations` is read as ShareGPT, see `from_sharegpt`.
    constants: field -> the same text for every row, such as `{"instruction": "判断情感"}`.
    answers: whether `output` must be there (training) or may be missing (prediction).
    Raises `DataError` with row number (1 is the first), field and fix.
    """
    mapping, constants = mapping or {}, constants or {}
    wrong = [target for target in (*mapping.values(), *constants) if target not in FIELDS]
    if wrong:
        raise DataError(f"没有叫「{wrong[0]}」的字段。字段只能是：{'、'.join(FIELDS)}。")
    source = sources(mapping)
    records = []
    for number, row in enumerate(rows, 1):
        if "conversations" in row:
            record = from_sharegpt(row, number, constants)
            records.append(record if answers else replace(record, output=""))
        else:
            records.append(_record(row, number, source, constants, answers))
    return records


def sources(mapping: dict[str, str]) -> dict[str, str]:
    """For each field the column that it comes from."""
    own = {name: name for name in FIELDS if name not in mapping}  # a column that goes elsewhere goes there alone
    return own | {target: column for column, target in mapping.items()}


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
    values["history"] = read_history(values["history"], number)
    return Record(**values)


def read_history(value, number: int) -> list[tuple[str, str]]:
    """The turns of a `history` field, which may be missing or, in a table, JSON text. Raises `DataError`."""
    pairs = value or []
    if isinstance(value, str):  # a table's cell can hold it only as JSON text
        with suppress(ValueError):
            pairs = json.loads(value.strip() or "[]")
    good = isinstance(pairs, list) and all(
        isinstance(pair, list | tuple) and len(pair) == 2 and all(isinstance(text, str) for text in pair)
        for pair in pairs
    )
    if not good:
        raise DataError(f"第 {number} 行的「history」格式不对，应该是 [[问, 答], [问, 答]]。")
    return [tuple(pair) for pair in pairs]


def from_sharegpt(row: dict, number: int = 1, constants: dict[str, str] | None = None) -> Record:
    """The record of a ShareGPT row: the last question and answer become `instruction` and `output`, all before them
    `history`; what a tool returned (observation) counts as a question, what the model calls (function_call) as its
    answer. Text is taken without the blanks around it. What a record cannot hold, `sharegpt_extras` gives.

    The format is that of 讯飞星辰MaaS (https://www.xfyun.cn/doc/spark/数据集格式说明.html) and of LLaMA-Factory's
    data/README_zh.md. constants: as for `to_records`; only `system` has a place here. Raises `DataError`.
    """
    for where, what in sharegpt_mistakes(row):
        raise DataError(f"第 {number} 行{where}{what}")
    turns = row["conversations"]
    system = row.get("system") or ""
    if turns[0]["from"] == "system":
        system, turns = turns[0]["value"], turns[1:]
    system = (constants or {}).get("system", system)
    texts = [turn["value"].strip() for turn in turns]
    *history, (question, answer) = zip(texts[::2], texts[1::2], strict=True)
    return Record(instruction=question, output=answer, system=system.strip(), history=history)


def sharegpt_mistakes(row: dict) -> list[tuple[str, str]]:
    """`(place, what is wrong and how to mend it)` for everything that keeps a ShareGPT row from being read."""
    turns = row.get("conversations")
    if not isinstance(turns, list) or not turns:
        return [("", '没有对话：「conversations」要是一个列表，里面是 {"from": ……, "value": ……}。请补上。')]
    mistakes = []
    if not isinstance(row.get("system") or "", str):
        mistakes.append(("", "的「system」不是文本。请改成文本。"))
    offset = isinstance(turns[0], dict) and turns[0].get("from") == "system"
    if offset and row.get("system"):
        mistakes.append(("第 1 轮", "的角色是「system」，而「system」字段也有文本。请只留一处。"))
    for i, turn in enumerate(turns, 1):
        where, expected = f"第 {i} 轮", (ANSWERING, ASKING)[(i - offset) % 2]
        if not isinstance(turn, dict) or not isinstance(turn.get("value"), str):
            mistakes.append((where, '不是 {"from": ……, "value": 文本}。请改成这样。'))
            continue
        role = turn.get("from")
        if not turn["value"].strip():
            mistakes.append((where, "是空的：「value」里没有文本。请补上，或者删掉这一问一答。"))
        if offset and i == 1:
            continue
        if role not in ASKING + ANSWERING:
            mistakes.append((where, f"的角色「{role}」不认识。只能是 {'、'.join(ASKING + ANSWERING)}。请改名。"))
        elif role not in expected:
            side = "问（human 或 observation）" if expected is ASKING else "答（gpt 或 function_call）"
            mistakes.append((where, f"的角色是「{role}」，顺序不对：这里该是{side}。请一问一答地排列。"))
    if len(turns) == offset:
        mistakes.append(("", "没有对话：只有 system，没有一问一答。请补上，或者删除这一行。"))
    if (len(turns) - offset) % 2:
        mistakes.append((f"第 {len(turns)} 轮", "是最后一轮，却不是模型的回答。请补上回答，或者删掉这一轮。"))
    return mistakes


def sharegpt_extras(row: dict) -> dict:
    """What a `Record` does not hold of a ShareGPT row: `roles`, where they are not human and gpt in turn, and `tools`.

    Beside the five fields of a stored row, or for `to_sharegpt(record, **extras)`, they lose nothing.
    """
    roles = [turn["from"] for turn in row["conversations"]]
    plain = roles == ["human", "gpt"] * (len(roles) // 2)
    return ({} if plain else {"roles": roles}) | ({"tools": row["tools"]} if "tools" in row else {})


def to_sharegpt(record: Record, roles: list[str] | None = None, tools=None, number: int = 1) -> dict:
    """The ShareGPT row of a record, with `roles` and `tools` as `sharegpt_extras` gave them.

    number: of the row, for messages. Raises `DataError` when a text is empty or `roles` are not as many as the turns.
    """
    messages = record.messages()
    own_turn = bool(roles) and roles[0] == "system"
    texts = [message["content"] for message in messages if own_turn or message["role"] != "system"]
    roles = roles or ["human", "gpt"] * (len(texts) // 2)
    if len(roles) != len(texts):
        raise DataError(f"第 {number} 行有 {len(texts)} 轮对话，roles 却有 {len(roles)} 个。请一一对应。")
    turns = [{"from": role, "value": text} for role, text in zip(roles, texts, strict=True)]
    row = {"conversations": turns}
    if record.system and not own_turn:
        row["system"] = record.system
    if tools is not None:
        row["tools"] = tools
    for where, what in sharegpt_mistakes(row):
        raise DataError(f"第 {number} 行{where}{what}")
    return row


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
