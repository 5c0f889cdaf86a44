"""Several models answer the same rows. The work is a folder that explains itself, and that a kill does not spoil.

batch.json      the models, the task, the fields, the fingerprint of the data
data.jsonl      the rows
<model>.jsonl   a line per answered row, in the order of the data: the row's fields and `prediction`
progress.json   how far each model has come
stop            while this file is there, the work stops after the rows at hand
"""

import hashlib
import json
import re
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import asdict
from datetime import datetime
from functools import partial
from pathlib import Path

import pandas as pd

from course_utils import paths
from course_utils.data.formats import read_rows
from course_utils.data.records import FIELDS, Record, atomic_writer, write_jsonl
from course_utils.errors import ConfigError, DataError
from course_utils.evaluation.answering import asked
from course_utils.evaluation.ledger import append, mend, read_lines
from course_utils.evaluation.models import CHUNK, FREE_CHUNK, Source, Stream, Task, each_model, find_source, in_chunks
from course_utils.training.exam import task_labels
from course_utils.training.run import fingerprint, new_folder

ENGINES = ("local", "ray")


class Stopped(Exception):
    """The stop file has appeared."""


def batch_predict(
    models: Sequence[str],
    rows: str | Path | Sequence[dict] | Sequence[Record],
    out: str | Path,
    labels: Sequence[str] | None = None,
    mapping: dict[str, str] | None = None,
    constants: dict[str, str] | None = None,
    max_new_tokens: int = 256,
    engine: str = "local",
    log: Callable[[str], None] = print,
) -> dict[str, list[dict]]:
    """Let every model answer every row; returns model -> rows with their `prediction`, also in `out`, a file per model.

    models: as for `find_source`. rows: a file, rows, or records; mapping and constants: as for `to_records`.
    labels: choose among these; None: the labels of a label task (see `_labels`); []: answer freely.
    A run with a classification head gives its own labels. Data without an instruction get the one that all training
    rows of the run shared; a base or remote model that of the first run.
    Called again with the same arguments after a kill or a stop, it goes on with the rows that are missing.
    Raises `ConfigError` when `out` holds other work, `DataError` for the rows.
    """
    folder = prepare_batch(models, rows, out, labels, mapping, constants, max_new_tokens, engine)
    run_batch(folder, log)
    return answers(folder)


def submit_batch(models: Sequence[str], rows, name: str = "batch", **options):
    """`batch_predict` as a job in the queue, in a new folder of the workspace; returns the `Job`."""
    from course_utils.training.jobs import submit

    return submit("batch", prepare_batch(models, rows, new_folder(paths.workspace() / "batches", name), **options))


def prepare_batch(
    models: Sequence[str],
    rows,
    out: str | Path,
    labels: Sequence[str] | None = None,
    mapping: dict[str, str] | None = None,
    constants: dict[str, str] | None = None,
    max_new_tokens: int = 256,
    engine: str = "local",
) -> Path:
    """Write down the work; what cannot be done fails here, before a model is loaded. Arguments: `batch_predict`."""
    if not models or len(set(models)) < len(models):
        raise ConfigError("请给至少一个模型，每个只写一次。")
    if engine not in ENGINES:
        raise ConfigError(f"没有叫「{engine}」的引擎。可以用：{'、'.join(ENGINES)}。")
    sources = [find_source(name) for name in models]
    title = str(rows) if isinstance(rows, str | Path) else ""
    rows = read_rows(rows) if title else [asdict(r) if isinstance(r, Record) else dict(r) for r in rows]
    if not rows:
        raise DataError("没有要预测的数据。请给至少一行。")
    files = _file_names(models)
    work = {
        "models": {source.name: _where(source) | {"file": files[source.name]} for source in sources},
        "task": asdict(Task(_labels(labels, sources, rows), max_new_tokens)),
        "mapping": mapping or {},
        "constants": constants or {},
        "engine": engine,
        "source": title,
    }
    _records(work, rows, sources[0], sources)
    folder = Path(out).resolve()
    folder.mkdir(parents=True, exist_ok=True)
    _write_work(folder, work, rows)
    return folder


def run_batch(folder: str | Path, log: Callable[[str], None] = print) -> bool:
    """Answer what is not answered yet; False when the stop file asked to stop."""
    folder = Path(folder)
    work, rows = read_work(folder), read_lines(folder / "data.jsonl")
    sources = [find_source(spec["find"]) for spec in work["models"].values()]
    names = {spec["find"]: name for name, spec in work["models"].items()}
    files = {s.name: folder / work["models"][names[s.name]]["file"] for s in sources}
    for file in files.values():
        mend(file)
    left = [source for source in sources if len(read_lines(files[source.name])) < len(rows)]
    task = Task(**work["task"])
    with suppress(Stopped):
        for source, stream in _streams(work["engine"], left, task):
            file = files[source.name]
            done = len(read_lines(file))
            watch = Watch(folder, names[source.name], done, len(rows), log)
            records = _records(work, rows, source, sources)
            for found in stream(records[done:], watch.report):
                append(file, ({**row, **got} for row, got in zip(rows[done:], found, strict=False)))
                done += len(found)
                watch.check()
            watch.end()
        return True
    log("已经停下；再运行一次会接着做。")
    return False


def _streams(engine: str, sources: Sequence[Source], task: Task) -> Iterator[tuple[Source, Stream]]:
    if engine == "ray":
        from course_utils.evaluation.batch_ray import ray_streams

        return ray_streams(sources, task)
    size = CHUNK if task.labels else FREE_CHUNK
    return ((source, partial(in_chunks, answer, size)) for source, answer in each_model(sources, task))


def answers(folder: str | Path) -> dict[str, list[dict]]:
    """model -> the rows that it has answered, in the order of the data."""
    folder = Path(folder)
    return {name: read_lines(folder / spec["file"]) for name, spec in read_work(folder)["models"].items()}


def progress(folder: str | Path) -> pd.DataFrame:
    """A row per model: 模型, 已完成, 共, 每秒行数 and 剩余秒数 (empty before it has begun)."""
    return pd.DataFrame(_progress(Path(folder)))


def progress_line(folder: str | Path) -> str:
    """The progress of a job in one line: the model at work, its rows, and the minutes that it still needs."""
    for line in _progress(Path(folder)):
        if line["已完成"] < line["共"]:
            left = f"，剩余约 {line['剩余秒数'] / 60:.1f} 分钟" if line["剩余秒数"] else ""
            return f"{line['模型']}：{line['已完成']}/{line['共']} 行{left}"
    return "全部完成"


def _progress(folder: Path) -> list[dict]:
    work, now = read_work(folder), _state(folder)
    return [
        {
            "模型": name,
            "已完成": len(rows),  # what is on disk: what was computed and not yet written, a kill would take away
            "共": work["rows"],
            "每秒行数": now.get(name, {}).get("rows_per_second"),
            "剩余秒数": now.get(name, {}).get("time_left"),
        }
        for name, rows in answers(folder).items()
    ]


def read_work(folder: str | Path) -> dict:
    """What batch.json says. Raises `ConfigError` when there is none."""
    path = Path(folder) / "batch.json"
    if not path.exists():
        raise ConfigError(f"{folder} 里没有 batch.json，不是一次批量预测。请给 course batch --out 的文件夹。")
    return json.loads(path.read_text(encoding="utf-8"))


class Watch:
    """Writes progress.json, prints a line now and then, and sees the stop file."""

    def __init__(self, folder: Path, name: str, done: int, total: int, log: Callable[[str], None]):
        self.folder, self.name, self.done, self.total, self.log = folder, name, done, total, log
        self.first, self.start, self.said, self.wrote = done, time.monotonic(), time.monotonic(), 0.0

    def report(self, done: int) -> None:
        """`done` rows are answered in this session."""
        self.done, now = self.first + done, time.monotonic()
        if now - self.wrote > 0.5:
            self._write(self.done)
            self.wrote = now
        if now - self.said > 10 and self.done < self.total:
            self.log(f"{self.name}：{self.done}/{self.total} 行，剩余约 {self._left() / 60:.1f} 分钟。")
            self.said = now
        self.check()

    def check(self) -> None:
        if (self.folder / "stop").exists():
            raise Stopped

    def end(self) -> None:
        self._write(self.total)
        self.log(f"{self.name}：{self.total} 行完成，{self._rate():.1f} 行/秒。")

    def _rate(self) -> float:
        return (self.done - self.first) / max(1e-9, time.monotonic() - self.start)

    def _left(self) -> float:
        return (self.total - self.done) / max(1e-9, self._rate())

    def _write(self, done: int) -> None:
        self.done = done
        now = {"rows_per_second": round(self._rate(), 3), "time_left": round(self._left(), 1)}
        with atomic_writer(self.folder / "progress.json") as file:
            json.dump(_state(self.folder) | {self.name: now}, file, ensure_ascii=False)


def _state(folder: Path) -> dict:
    path = folder / "progress.json"
    return json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}


def _records(work: dict, rows: Sequence[dict], source: Source, sources: Sequence[Source]) -> list[Record]:
    """The rows as this model is asked them; one without training takes over what the first run was trained with."""
    own = source.run or next((other.run for other in sources if other.run), None)
    return asked(rows, work["mapping"], work["constants"], own)


def _labels(given: Sequence[str] | None, sources: Sequence[Source], rows: Sequence[dict]) -> list[str]:
    """The labels to choose from: those given, else those that the first run learnt, else those in the rows' `output`;
    empty when the answers are no labels.
    """
    if given is not None:
        return [label.strip() for label in given]
    for source in sources:
        if source.run and (found := source.run.facts.get("labels") or task_labels(source.run.records("train"))):
            return sorted(found)
    outputs = [Record("", output=row["output"]) for row in rows if isinstance(row.get("output"), str)]
    return sorted(task_labels(outputs) or []) if len(outputs) == len(rows) else []


def _where(source: Source) -> dict:
    """What finds this model again from anywhere, and what the report says of it."""
    if source.run:
        return {"find": str(source.run.folder.resolve()), "kind": "run", "base": source.run.config.base_model}
    if source.remote:
        return {"find": f"remote:{source.remote.name}", "kind": "remote", "base": None}
    return {"find": source.base, "kind": "base", "base": source.base}


def _file_names(models: Sequence[str]) -> dict[str, str]:
    """A file for each model; a short hash tells apart those whose names differ only in what no file may be called."""
    plain = {name: re.sub(r"[^\w.\-]+", "_", Path(name).name) for name in models}
    taken = {"data", *FIELDS}
    return {
        name: f"{stem}-{hashlib.sha256(name.encode()).hexdigest()[:6]}.jsonl"
        if stem in taken or list(plain.values()).count(stem) > 1
        else f"{stem}.jsonl"
        for name, stem in plain.items()
    }


def _write_work(folder: Path, work: dict, rows: list[dict]) -> None:
    """batch.json and data.jsonl, or nothing when they are there already and the same. Raises `ConfigError`."""
    draft = folder / "data.new.jsonl"
    write_jsonl(rows, draft)
    work |= fingerprint(draft)
    if (folder / "batch.json").exists():
        draft.unlink()
        before = read_work(folder)
        other = [key for key in work if key not in ("engine", "source") and before.get(key) != work[key]]
        if other:
            names = {"models": "模型", "task": "标签或长度", "mapping": "映射", "constants": "统一的字段"}
            raise ConfigError(
                f"{folder} 里是另一次批量预测：{names.get(other[0], '数据')}不同。请换一个文件夹，或者删掉它。"
            )
        return
    draft.replace(folder / "data.jsonl")
    with atomic_writer(folder / "batch.json") as file:
        work["created"] = datetime.now().isoformat(timespec="seconds")
        json.dump(work, file, ensure_ascii=False, indent=1)
