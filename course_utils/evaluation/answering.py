"""One file answered by one model; and what rows a model is asked, which a batch of several models has in common."""

from collections.abc import Sequence
from pathlib import Path

import pandas as pd

from course_utils.data.formats import read_rows
from course_utils.data.records import Record, to_records, write_jsonl
from course_utils.errors import DataError
from course_utils.evaluation.models import Source, Task, each_model, find_source
from course_utils.inference.predict import bar
from course_utils.training.run import Run


def predict_file(
    data: Path,
    out: Path,
    model: Path | str,
    mapping: dict[str, str],
    labels: list[str] | None = None,
    instruction: str | None = None,
    max_new_tokens: int = 64,
) -> int:
    """Write the rows of `data` with their `prediction` to `out`, one JSON line each; returns how many.

    model: the folder of a run (a Path), or a name as for `find_source`. instruction: replaces that of every row; without
    it see `asked`. labels: choose among these; without, the answer is free. `out` (.jsonl) appears whole or not at all.
    """
    if out.suffix.lower() != ".jsonl" or out.is_dir():
        raise DataError(f"答案不能写到 {out}。请给一个 .jsonl 文件，每行一条。")
    out.parent.mkdir(parents=True, exist_ok=True)  # fails now, not after an hour of predicting
    rows = read_rows(data)
    source = Source(str(model), run=Run(model)) if isinstance(model, Path) else find_source(model)
    records = asked(rows, mapping, {"instruction": instruction} if instruction else {}, source.run, f"{data.name} ")
    for _, answer in each_model([source], Task(labels or [], max_new_tokens)):
        with bar(len(records)) as progress:
            answers = answer(records, progress)
    write_jsonl(({**row, **found} for row, found in zip(rows, answers, strict=True)), out)
    return len(rows)


def before_after(run: Run, records: Sequence[Record], max_new_tokens: int = 24) -> pd.DataFrame:
    """The same questions to the base model as it came and to what was trained: 问题, 微调前, 微调后. Answers are free."""
    sources = [Source("微调前", base=run.config.base_model), Source("微调后", run=run)]
    said = {}
    for source, answer in each_model(sources, Task([], max_new_tokens)):
        said[source.name] = [found["prediction"] for found in answer(records, lambda done: None)]
    return pd.DataFrame({"问题": [r.input or r.instruction for r in records]} | {s.name: said[s.name] for s in sources})


def asked(
    rows: Sequence[dict], mapping: dict[str, str], constants: dict[str, str], run: Run | None, title: str = "数据"
) -> list[Record]:
    """The rows as a model is asked them: with the instruction and the system prompt that all training rows of `run`
    shared, where the data bring none. title: of the data, for messages. Raises `DataError`.
    """
    columns = {column for row in rows for column in row}
    missing = [column for column in mapping if column not in columns]
    if missing:
        raise DataError(f"{title}里没有「{missing[0]}」这一列。有的列是：{'、'.join(sorted(columns))}。")
    given = dict(constants)
    for name in ("instruction", "system") if run and "conversations" not in columns else ():
        if name not in {*given, *columns, *mapping.values()}:
            given[name] = run.facts.get(name, "")
    return to_records(rows, mapping, given, answers=False)
