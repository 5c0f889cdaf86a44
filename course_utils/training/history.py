"""Runs beside one another: a table of all of them, only the settings that differ, and methods under one protocol."""

import json
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path

import pandas as pd

from course_utils import paths
from course_utils.data.formats import read_rows
from course_utils.data.records import Record, atomic_writer, to_records, write_jsonl
from course_utils.errors import ConfigError
from course_utils.training.config import TrainingConfig
from course_utils.training.run import Run, new_folder


def runs() -> list[Run]:
    """The runs of this workspace, the newest first."""
    folders = [path.parent for path in paths.runs().glob("*/config.yaml")]
    return [Run(folder) for folder in sorted(folders, key=lambda f: f.stat().st_ctime, reverse=True)]


def find_run(name: str) -> Run:
    """The run called `name` in this workspace, or in the folder `name`. Raises `ConfigError`."""
    folder = paths.runs() / name
    if not (folder / "config.yaml").exists() and not (Path(name) / "config.yaml").exists():
        names = "、".join(run.folder.name for run in runs()[:10]) or "（还没有）"
        raise ConfigError(f"没有叫「{name}」的训练。有的是：{names}。")
    return Run(folder if (folder / "config.yaml").exists() else name)


def table(chosen: list[Run] | None = None) -> pd.DataFrame:
    """A row per run: when, base, method, rows, steps, seconds, best losses and accuracy."""
    lines = []
    for run in runs() if chosen is None else chosen:
        config, facts = run.config, run.facts
        lines.append(
            {
                "名字": run.folder.name,
                "时间": facts.get("created", "").replace("T", " ")[:16],
                "模型": config.base_model if len(config.base_model) < 40 else Path(config.base_model).name,
                "方法": {"lora": "LoRA", "full": "全参"}[config.method]
                + ("，分类头" if config.task != "generation" else ""),
                "训练行数": facts.get("data", {}).get("train", {}).get("rows"),
                "步数": facts.get("steps"),
                "分钟": round(facts["seconds"] / 60, 1) if facts.get("seconds") else None,
                "验证损失": facts.get("best_eval_loss"),
                "验证准确率": facts.get("best_eval_accuracy"),
                "状态": "已完成" if run.finished else "没有训练完",
            }
        )
    return pd.DataFrame(lines).round(4)


def differences(chosen: list[Run]) -> pd.DataFrame:
    """A row per setting that is not the same in all of the runs, a column per run."""
    settings = {run.folder.name: run.config.model_dump() for run in chosen}
    data = {run.folder.name: run.facts.get("data", {}).get("train", {}).get("sha256", "")[:8] for run in chosen}
    fields = TrainingConfig.model_fields
    lines = {
        fields[name].title: {run: str(values[name]) for run, values in settings.items()}
        for name in fields
        if len({str(values[name]) for values in settings.values()}) > 1
    }
    if len(set(data.values())) > 1:
        lines["训练数据（指纹）"] = data
    return pd.DataFrame(lines).T


def compare_methods(
    methods: dict[str, TrainingConfig],
    data: dict[str, list[Record]],
    score: Callable[[Run, list[Record]], float],
    seeds: tuple[int, ...] = (1, 2, 3),
    name: str = "比较",
    log: Callable[[str], None] = print,
) -> pd.DataFrame:
    """Train each method with each seed on the same data and for as many steps, and score all on `data["test"]`.

    methods: title -> settings; epochs, batch size and what else decides the number of steps must be the same.
    score: run and test rows -> a number. Returns a row per method: mean, spread over the seeds (standard deviation),
    the scores, minutes and peak memory (means). A run that was finished before is not trained again, so a comparison
    that was stopped goes on. Raises `ConfigError` when the protocol differs.
    """
    check_protocol(methods, data)
    lines = []
    for title, config in methods.items():
        finished = [
            trained(config.model_copy(update={"seed": seed}), data, f"{name}-{title}-{seed}", log) for seed in seeds
        ]
        scores = pd.Series([_scored(run, data["test"], score) for run in finished])
        lines.append(
            {
                "方法": title,
                "平均": scores.mean(),
                "标准差": scores.std(ddof=1),
                "各次": "、".join(f"{value:.3f}" for value in scores),
                "分钟": sum(run.facts["seconds"] for run in finished) / len(finished) / 60,
                "内存峰值 MB": round(sum(run.facts["peak_mb"] for run in finished) / len(finished)),
            }
        )
    return pd.DataFrame(lines)


def submit_comparison(
    methods: dict[str, TrainingConfig],
    data: dict[str, list[Record]],
    seeds: tuple[int, ...] = (1, 2, 3),
    name: str = "比较",
):
    """`compare_methods` by accuracy as a job in the queue; returns the `Job`. Its table.csv grows in its folder.

    For label tasks only. Raises `ConfigError` before anything is started.
    """
    from course_utils.training.exam import task_labels
    from course_utils.training.jobs import submit

    labels = task_labels(data["train"])
    if labels is None:
        raise ConfigError(
            "这份数据的答案不是标签，没有准确率可比。请换一个分类数据集，或者在代码里给 compare_methods 一个打分函数。"
        )
    check_protocol(methods, data)
    folder = new_folder(paths.workspace() / "comparisons", name)
    for part, records in data.items():
        write_jsonl(map(asdict, records), folder / "data" / f"{part}.jsonl")
    protocol = {"methods": {t: c.model_dump() for t, c in methods.items()}, "seeds": list(seeds), "labels": labels}
    with atomic_writer(folder / "protocol.json") as file:
        json.dump(protocol, file, ensure_ascii=False, indent=1)
    return submit("compare", folder)


def run_comparison(folder: Path) -> bool:
    """What the job does; what was trained before is not trained again. False when it was asked to stop."""
    from course_utils.inference.predict import predict

    protocol = json.loads((folder / "protocol.json").read_text(encoding="utf-8"))
    methods = {title: TrainingConfig(**values) for title, values in protocol["methods"].items()}
    data = {path.stem: to_records(read_rows(path)) for path in (folder / "data").glob("*.jsonl")}

    def accuracy(run: Run, test: list[Record]) -> float:
        rows = predict(*run.load(), test, protocol["labels"], run.config.max_length)
        return sum(row["prediction"] == record.output for row, record in zip(rows, test, strict=True)) / len(test)

    done = {}
    for title, config in methods.items():
        if (folder / "stop").exists():
            return False
        done[title] = config
        found = compare_methods(done, data, accuracy, tuple(protocol["seeds"]), folder.name)
        with atomic_writer(folder / "table.csv") as file:
            found.round(4).to_csv(file, index=False)
    return True


def check_protocol(methods: dict[str, TrainingConfig], data: dict[str, list[Record]]) -> None:
    """Raise `ConfigError` where the methods would not be compared under the same conditions."""
    same = {(c.epochs, c.batch_size, c.max_length, c.evaluations, c.validation_rows) for c in methods.values()}
    if len(same) > 1:
        raise ConfigError("几种方法的训练次数、批大小、最大长度和验证设置要相同，否则比的就不是方法。请改成一样的。")
    if not data.get("test"):
        raise ConfigError("没有测试集，比不出结果。请给 data 加上 test。")


def _scored(run: Run, test: list[Record], score) -> float:
    """Kept in run.json: a comparison that goes on does not score again."""
    if "test_score" not in run.facts:
        run.note(test_score=score(run, test))
    return run.facts["test_score"]


def trained(config: TrainingConfig, data: dict[str, list[Record]], name: str, log: Callable[[str], None]) -> Run:
    """The run of these settings and data whose name begins with `name`: taken when it is there, gone on with, or made."""
    from course_utils.training.train import resume, train

    for run in runs():
        if run.folder.name.startswith(name) and run.config == config and run.records("train") == data["train"]:
            return resume(run, log)
    return train(config, data, name, log)
