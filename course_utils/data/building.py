"""A learner's file becomes a data set in the workspace, and a data set becomes a split one; each step leaves its trace."""

import hashlib
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

from course_utils.data.doctor import Report, check
from course_utils.data.mapping import Mapping
from course_utils.data.records import sharegpt_extras, to_records
from course_utils.data.repair import Dropped, drop_bad, repair
from course_utils.data.split import Split, split
from course_utils.data.store import ALL, DataSet
from course_utils.errors import DataError


def import_rows(
    rows: Sequence[dict],
    mapping: Mapping,
    name: str,
    source: str | Path,
    repairs: Sequence[str] = (),
    drop: bool = False,
) -> DataSet:
    """Save rows, mapped, as the next version of data set `name`, not split yet.

    source: the file that they were read from, for the lineage. repairs: kinds to mend first, in this order, see
    `repair`. drop: leave out the rows with errors, which are listed in the data set's dropped.jsonl.
    Every stored row carries `source_row`, its number in the file, and `made_by`. Raises `DataError` when errors stand
    and `drop` is False; then nothing is saved.
    """
    numbered = [{**row, "source_row": number} for number, row in enumerate(rows, 1)]
    dropped: list[Dropped] = []
    traces = []
    for kind in repairs:
        mended = repair(numbered, mapping, kind)
        traces.append({"kind": kind, "changed": len(mended.changes), "dropped": len(mended.dropped)})
        numbered, dropped = mended.rows, dropped + mended.dropped
    report = check(numbered, mapping)
    if not report.ok:
        if not drop:
            raise DataError(f"没有保存：{refusal(report)}")
        numbered, bad = drop_bad(numbered, report)
        dropped += bad
    extras = [sharegpt_extras(row) if "conversations" in row else {} for row in numbered]
    records = to_records(numbered, mapping.columns, mapping.constants)
    stored = [
        asdict(record) | extra | {"source_row": row["source_row"], "made_by": "import"}
        for record, extra, row in zip(records, extras, numbered, strict=True)
    ]
    lineage = {
        "tool": "import",
        "source": _source(source, len(rows)),
        "mapping": mapping.columns,
        "constants": mapping.constants,
        "repairs": traces,
    }
    left_out = [{"source_row": d.content["source_row"], "reasons": d.reasons, "content": _plain(d)} for d in dropped]
    return DataSet.create(name, {ALL: stored}, lineage, sorted(left_out, key=lambda line: line["source_row"]))


def refusal(report: Report) -> str:
    """Why rows with errors are not saved: the first few, and how many there are."""
    lines = [f"第 {p.row} 行「{p.field}」{p.what}，{p.fix}" for p in report.errors[:3]]
    return f"有 {len(report.errors)} 处错误。" + "；".join(lines) + ("；……" if len(report.errors) > 3 else "。")


def split_dataset(
    dataset: DataSet, shares: Sequence[float] = (0.70, 0.15, 0.15), seed: int = 42
) -> tuple[DataSet, Split]:
    """Cut a data set into train, validation and test, saved as its next version; see `split`.

    Rows with the same `source_row`, such as a row and its augmentations, stay in one part.
    """
    rows = [row for part in dataset.rows().values() for row in part]
    records = to_records(rows)
    groups = [row.get("source_row", f"row {number}") for number, row in enumerate(rows)]
    parts = split(records, shares, seed, groups=groups)
    row_of = {id(record): row for record, row in zip(records, rows, strict=True)}
    lineage = {
        "tool": "split",
        "parent": f"{dataset.name}/v{dataset.version}",
        "shares": list(shares),
        "seed": seed,
        "kept_together": parts.kept_together,
    }
    stored = {part: [row_of[id(record)] for record in records] for part, records in parts.items()}
    return DataSet.create(dataset.name, stored, lineage), parts


def _source(path: str | Path, rows: int) -> dict:
    path = Path(path)
    facts = {"file": path.name, "rows": rows}
    if path.exists():
        with path.open("rb") as file:
            facts["sha256"] = hashlib.file_digest(file, "sha256").hexdigest()
    return facts


def _plain(dropped: Dropped) -> dict:
    return {name: value for name, value in dropped.content.items() if name != "source_row"}
