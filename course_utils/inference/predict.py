"""Predictions for the rows of a file, by a run or by a base model."""

from collections.abc import Sequence
from pathlib import Path

from tqdm.auto import tqdm

from course_utils.data.formats import read_rows
from course_utils.data.records import Record, to_records, write_jsonl
from course_utils.errors import DataError
from course_utils.inference.choose import choose
from course_utils.inference.classify import classify, has_classes
from course_utils.inference.generate import generate


def predict(
    model,
    tokenizer,
    records: Sequence[Record],
    labels: Sequence[str] | None = None,
    max_length: int | None = None,
    max_new_tokens: int = 64,
    title: str = "预测",
) -> list[dict]:
    """`{"prediction": ...}` for each record, with `scores` (label -> probability) when `labels` are given.

    With labels the likeliest is chosen, see `choose`; a model with a classification head takes its own, see
    `classify`; without, the answer is generated freely, see `generate`, with at
    least half of `max_length` left to the prompt.
    """
    with tqdm(total=len(records), desc=title, unit="条", dynamic_ncols=True, delay=0.5) as bar:

        def progress(done: int) -> None:
            bar.update(done - bar.n)

        if has_classes(model):
            chosen = classify(model, tokenizer, records, max_length, progress=progress)
            return [{"prediction": choice.label, "scores": choice.scores} for choice in chosen]
        if labels:
            chosen = choose(model, tokenizer, records, labels, max_length, progress=progress)
            return [{"prediction": choice.label, "scores": choice.scores} for choice in chosen]
        if max_length:
            max_new_tokens = min(max_new_tokens, max_length // 2)
        answers = generate(model, tokenizer, records, max_new_tokens, max_length=max_length, progress=progress)
        return [{"prediction": answer} for answer in answers]


def predict_file(
    data: Path,
    out: Path,
    source: Path | str,
    mapping: dict[str, str],
    labels: list[str] | None = None,
    instruction: str | None = None,
) -> int:
    """Write the rows of `data` with their `prediction` to `out`, one JSON line each; returns how many.

    source: the folder of a run (a Path), or the name of a base model. instruction: replaces that of every row; without
    it, data with no column for the instruction get the one that all training rows of the run shared, and so for the
    system prompt. `out` (.jsonl) appears whole or not at all.
    """
    from course_utils.models.load import load
    from course_utils.training.run import Run

    if out.suffix.lower() != ".jsonl" or out.is_dir():
        raise DataError(f"答案不能写到 {out}。请给一个 .jsonl 文件，每行一条。")
    out.parent.mkdir(parents=True, exist_ok=True)  # fails now, not after an hour of predicting
    rows = read_rows(data)
    columns = {column for row in rows for column in row}
    missing = [column for column in mapping if column not in columns]
    if missing:
        raise DataError(f"{data.name} 里没有「{missing[0]}」这一列。有的列是：{'、'.join(sorted(columns))}。")
    run = Run(source) if isinstance(source, Path) else None
    constants = {"instruction": instruction} if instruction else {}
    for name in ("instruction", "system") if run else ():
        if name not in {*constants, *columns, *mapping.values()}:
            constants[name] = run.facts[name]
    records = to_records(rows, mapping, constants, answers=False)
    model, tokenizer = run.load() if run else load(str(source))
    answers = predict(model, tokenizer, records, labels, run.config.max_length if run else None)
    write_jsonl(({**row, **answer} for row, answer in zip(rows, answers, strict=True)), out)
    return len(rows)
