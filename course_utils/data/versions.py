"""What the data tools make becomes a version of a data set in the workspace, and its lineage says from what."""

import random
from collections.abc import Collection, Sequence
from dataclasses import asdict, dataclass

from course_utils.data import presets, store
from course_utils.data.augment import MADE, Augmentation, Variant
from course_utils.data.extract import Extraction
from course_utils.data.outline import Document
from course_utils.data.polish import Polished
from course_utils.data.prompts import Template, apply
from course_utils.data.records import Record
from course_utils.data.store import ALL, DataSet
from course_utils.errors import ConfigError, DataError


@dataclass(frozen=True)
class Source:
    """A data set to make another one of. name: what that one is called at first. origin: for its lineage."""

    name: str
    parts: dict[str, list[dict]]
    origin: dict[str, str]

    @property
    def part(self) -> str:
        """The part to learn from: what is added is never added to validation or test."""
        return "train" if "train" in self.parts else next(iter(self.parts))

    @property
    def rows(self) -> list[dict]:
        """The rows of that part, each with its `source_row` and `made_by`."""
        return _numbered(self.parts[self.part])

    def sample(self, n: int, seed: int = 42) -> list[dict]:
        """`n` of the rows, drawn by `seed`, in their order; all of them when `n` is 0 or there are no more."""
        rows = self.rows
        if not 0 < n < len(rows):
            return rows
        return [rows[i] for i in sorted(random.Random(seed).sample(range(len(rows)), n))]


def open_source(name: str) -> Source:
    """Preset `name`, or the newest version of the learner's data set of that name. Raises `ConfigError`."""
    if name in presets.catalogue():
        return Source(presets.card(name).title, {ALL: presets.rows(name)}, {"source": f"preset/{name}"})
    dataset = DataSet.open(name)
    return Source(name, dataset.rows(), {"parent": f"{name}/v{dataset.version}"})


def save_pairs(
    document: Document,
    extraction: Extraction,
    name: str,
    leave_out: Collection[int] = (),
    allow_partial: bool = False,
    **how,
) -> DataSet:
    """Save question and answer pairs: the question is the instruction, the answer the output.

    leave_out: numbers of pairs, from 1, that the learner does not want. how: separator, method and what else the
    lineage should say. Each row keeps source, span and `evidence`, the words of the text. What was dropped or left
    out goes into dropped.jsonl. Raises `DataError` while chunks have failed, unless `allow_partial`.
    """
    failed = getattr(extraction, "failed", {})
    if failed and not allow_partial:
        numbers = "、".join(map(str, sorted(failed)))
        raise DataError(
            f"第 {numbers} 段没有抽取成功，没有保存。请再抽取一次，会接着做没完成的；或者只保存成功的部分。"
        )
    rows, dropped = [], []
    for number, pair in enumerate(extraction.pairs, 1):
        about = asdict(pair) | {"evidence": document.text[pair.start : pair.end], "source_row": number}
        if number in leave_out:
            dropped.append({"source_row": number, "reasons": ["没有勾选"], "content": about})
        else:
            row = {"instruction": about.pop("question"), "output": about.pop("answer")}
            rows.append(row | about | {"made_by": "extract"})
    dropped += [{"reasons": [d.reason], "content": asdict(d)} for d in extraction.dropped]
    lineage = {"tool": "extract", "source": document.source, **how, "failed_chunks": sorted(failed)}
    if not rows:
        raise DataError("一个问答对也没有，没有保存。请勾选要保存的，或者换一个文档、分隔符再抽取。")
    return DataSet.create(name, {ALL: rows}, lineage, dropped)


def save_augmented(source: Source, result: Augmentation, name: str, **how) -> DataSet:
    """Save rows and new rows as the next version of `name`; the parts that were not augmented stay as they are.

    how: multiplier, quality and what else the lineage should say. Raises `DataError` when there is no new row.
    """
    new = result.wanted - sum(result.short.values())
    if not new:
        raise DataError("一行也没有新增，没有保存。请放宽质量、多选几种做法，或者接入大模型再试。")
    lineage = {"tool": "augment", **source.origin, **how, "new": new, "refused": result.refused}
    return DataSet.create(name, source.parts | {source.part: result.rows}, lineage)


def save_accepted(name: str, row: dict, accepted: Sequence[Variant] = (), polished: Polished | None = None) -> DataSet:
    """Add accepted variants of one row to data set `name`, as its next version, or as a new data set.

    row: one of `Source.rows`, or a dict with the five fields that the learner wrote. Where data set `name` does not
    hold it, it is added too. polished: takes the row's place. The variants have the row's `source_row`, so that a
    split keeps them together. Raises `ConfigError` when nothing was accepted.
    """
    if not accepted and polished is None:
        raise ConfigError("还没有接受任何一条。请先增强或优化，再选「接受」。")
    source = open_source(name) if name in store.names() else Source(name, {ALL: []}, {})
    rows = source.rows
    if row not in rows:
        numbers = [line.get("source_row", 0) for lines in (*source.parts.values(), rows) for line in lines]
        row = {"made_by": "手写"} | row | {"source_row": max(numbers, default=0) + 1}
        rows.append(row)
    new = [row | asdict(v.record) | {"made_by": MADE + "、".join(v.operators)} for v in accepted]
    if polished is not None:
        rows[rows.index(row)] = row | asdict(polished.record)
    lineage = {"tool": "augment", **source.origin, "new": len(new), "polished": int(polished is not None)}
    return DataSet.create(name, source.parts | {source.part: rows + new}, lineage)


def save_prompted(source: Source, template: Template, mapping: dict[str, str], into: str, name: str) -> DataSet:
    """Save every part under a template as the next version of `name`; see `prompts.apply` for the arguments."""
    parts = {part: apply(template, rows, mapping, into) for part, rows in source.parts.items()}
    lineage = {"tool": "prompts", **source.origin, "template": template.id, "instruction": template.instruction}
    return DataSet.create(name, parts, lineage | {"mapping": mapping, "into": into})


def _numbered(rows: Sequence[dict]) -> list[dict]:
    empty = asdict(Record("", "", "")) | {"source_row": 0, "made_by": "import"}
    return [empty | {"source_row": number} | row for number, row in enumerate(rows, 1)]
