"""The prompt library: templates with named slots, to look up, to fill, to put before the rows of a data set, to compare.

The templates stand in prompts.yaml. `{评论}` is a slot; braces around anything but a plain name are just braces.
"""

import json
import random
import re
from collections.abc import Callable, Sequence
from dataclasses import asdict, replace
from functools import cache
from pathlib import Path

import pandas as pd
import yaml
from pydantic import BaseModel

from course_utils.data.records import Record, to_records
from course_utils.errors import ConfigError, DataError

LIBRARY = Path(__file__).with_name("prompts.yaml")
SLOT = re.compile(r"\{([一-鿿A-Za-z_][一-鿿\w]*)\}")
PLACES = ("instruction", "system")
ROWS = 20  # that `compare` asks: enough to see a difference of half, too few for a small one


class Form(BaseModel, extra="forbid"):
    """What an answer must look like; what is left out is free."""

    labels: list[str] = []  # the answer is one of these
    json_keys: list[str] = []  # in the file `json`: an object with these keys, or an array of such objects
    lines: int | None = None  # lines that are not blank
    most: int | None = None  # characters, line breaks apart


class Template(BaseModel, extra="forbid"):
    """A prompt with slots, and an example of how it is used and what comes back."""

    id: str
    title: str
    category: str
    instruction: str
    example: dict[str, str]
    output: str
    form: Form = Form()
    tips: str

    @property
    def slots(self) -> list[str]:
        """The names of the slots, in the order of the text, each once."""
        return list(dict.fromkeys(SLOT.findall(self.instruction)))

    def fill(self, **values: str) -> str:
        """The instruction with a value in every slot. Braces inside a value are text, and no slots.

        Raises `ConfigError` that names a slot without a value, or a value without a slot.
        """
        missing = [slot for slot in self.slots if slot not in values]
        unknown = [name for name in values if name not in self.slots]
        if missing:
            raise ConfigError(f"模板「{self.title}」的空位「{missing[0]}」没有给值。要填的是：{self._names()}。")
        if unknown:
            raise ConfigError(f"模板「{self.title}」里没有叫「{unknown[0]}」的空位。可以填的是：{self._names()}。")
        return SLOT.sub(lambda match: str(values[match[1]]), self.instruction)

    def misfits(self, answer: str) -> list[str]:
        """What is wrong with the form of an answer, in Chinese; empty when it fits. Says nothing of its content."""
        answer, form, found = answer.strip(), self.form, []
        if not answer:
            return ["答案是空的"]
        if form.labels and answer not in form.labels:
            found.append(f"不是这些标签之一：{'、'.join(form.labels)}")
        if form.lines and (n := sum(bool(line.strip()) for line in answer.splitlines())) != form.lines:
            found.append(f"有 {n} 行，应该是 {form.lines} 行")
        if form.most and (n := len(answer.replace("\n", ""))) > form.most:
            found.append(f"有 {n} 个字符，最多 {form.most} 个")
        return found + (_json_misfits(answer, form.json_keys) if form.json_keys else [])

    def _names(self) -> str:
        return "、".join(self.slots) or "（没有空位）"


def templates(category: str | None = None, query: str = "") -> list[Template]:
    """The templates of a category (all: None) in which every word of `query` occurs: title, instruction, tips or id.

    Raises `ConfigError` for a category that does not exist.
    """
    if category is not None and category not in categories():
        raise ConfigError(f"没有叫「{category}」的类别。可以选：{'、'.join(categories())}。")
    words = query.lower().split()
    return [
        template
        for template in _library().values()
        if category in (None, template.category) and all(word in _searched(template) for word in words)
    ]


def categories() -> list[str]:
    """The categories, in the order of the library."""
    return list(dict.fromkeys(template.category for template in _library().values()))


def get(id: str) -> Template:
    """The template with this id. Raises `ConfigError` with what comes near."""
    if id not in _library():
        near = [name for name in _library() if set(id.split("-")) & set(name.split("-"))]
        hint = f"是不是：{'、'.join(near[:5])}？" if near else "请用 templates() 查看全部模板。"
        raise ConfigError(f"没有叫「{id}」的模板。{hint}")
    return _library()[id]


def apply(
    template: Template,
    rows: Sequence[dict | Record],
    mapping: dict[str, str],
    into: str = "instruction",
) -> list[dict]:
    """The rows with the filled template as their `instruction` or `system`; a new list, nothing else changes.

    mapping: slot -> column of the row; a slot that it does not name takes the column of its own name. A field that
    went into a slot of the instruction is not asked twice: where it was `input`, `input` is emptied.
    Raises `ConfigError` for a place or a slot that does not exist, `DataError` with the row whose column is missing.
    """
    if into not in PLACES:
        raise ConfigError(f"模板不能放进「{into}」。只能放进：{'、'.join(PLACES)}。")
    unknown = [slot for slot in mapping if slot not in template.slots]
    if unknown:
        raise ConfigError(
            f"模板「{template.title}」里没有叫「{unknown[0]}」的空位。可以填的是：{'、'.join(template.slots)}。"
        )
    columns = {slot: mapping.get(slot, slot) for slot in template.slots}
    done = []
    for number, row in enumerate(rows, 1):
        row = asdict(row) if isinstance(row, Record) else row
        values = {slot: _cell(row, column, slot, number) for slot, column in columns.items()}
        asked = {"input": ""} if into == "instruction" and "input" in columns.values() else {}
        done.append(row | asked | {into: template.fill(**values)})
    return done


def compare(
    template_a: Template,
    template_b: Template,
    records: Sequence[Record],
    answer: Callable[[list[Record]], list[str]],
    mapping_a: dict[str, str] | None = None,
    mapping_b: dict[str, str] | None = None,
    seed: int = 42,
) -> pd.DataFrame:
    """Ask both templates about the same 20 rows (fewer where there are fewer), drawn by `seed`, side by side.

    answer: gives one answer for each record, in order, such as `lambda records: generate(model, tokenizer, records)`.
    mapping: slot -> field; with a single slot it takes `input`, or the instruction where that is empty.
    A row of the table: the text, the right answer, and for A and B the answer, whether it is the right one word for
    word, and what is wrong with its form. `table.attrs["summary"]` counts them in Chinese.
    Raises `ConfigError` and `DataError`, and `DataError` when the answers are not as many as the rows.
    """
    if not records:
        raise DataError("没有可以比较的数据。请至少给一行。")
    chosen = random.Random(seed).sample(list(records), min(ROWS, len(records)))
    table = {"原文": [record.input or record.instruction for record in chosen], "答案": [r.output for r in chosen]}
    counts = []
    for name, template, mapping in (("A", template_a, mapping_a), ("B", template_b, mapping_b)):
        given = _answers(template, chosen, answer, mapping)
        right = [text.strip() == record.output.strip() for text, record in zip(given, chosen, strict=True)]
        misfits = ["；".join(template.misfits(text)) for text in given]
        table |= {f"{name} 的回答": given, f"{name} 答对": right, f"{name} 的格式问题": misfits}
        counts.append(f"{name}（{template.title}）答对 {sum(right)} 条，格式合格 {misfits.count('')} 条")
    found = pd.DataFrame(table)
    found.attrs["summary"] = f"同样的 {len(chosen)} 行：{'；'.join(counts)}。行数少，相差一两条说明不了什么。"
    return found


def _answers(template: Template, records: list[Record], answer: Callable, mapping: dict[str, str] | None) -> list[str]:
    """What `answer` says to the records under this template."""
    if mapping is None and len(template.slots) == 1:
        whole = [replace(record, input=record.input or record.instruction) for record in records]
        rows = apply(template, whole, {template.slots[0]: "input"})
    else:
        rows = apply(template, records, mapping or {})
    given = answer(to_records(rows))
    if len(given) != len(records):
        raise DataError(f"「{template.title}」有 {len(records)} 个问题，却得到 {len(given)} 个回答。请让两者一一对应。")
    return list(given)


def _cell(row: dict, column: str, slot: str, number: int) -> str:
    if row.get(column) is None:
        have = "、".join(map(str, row))
        raise DataError(f"第 {number} 行没有「{column}」，空位「{slot}」填不上。请改映射；这一行的列有：{have}。")
    return str(row[column])


def _json_misfits(answer: str, keys: list[str]) -> list[str]:
    try:
        value = json.loads(answer)
    except ValueError:
        return ["不是 JSON"]
    items = value if isinstance(value, list) else [value]
    if not all(isinstance(item, dict) and set(item) == set(keys) for item in items):
        return [f"JSON 的键应该是：{'、'.join(keys)}"]
    return []


def _searched(template: Template) -> str:
    return f"{template.id} {template.title} {template.category} {template.instruction} {template.tips}".lower()


@cache
def _library() -> dict[str, Template]:
    found = yaml.safe_load(LIBRARY.read_text(encoding="utf-8"))
    for entry in found:
        form = entry.get("form", {})
        entry["form"] = {"json_keys" if name == "json" else name: value for name, value in form.items()}
    return {entry["id"]: Template(**entry) for entry in found}
