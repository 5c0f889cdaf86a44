"""Runs beside one another: a table of all of them, only the settings that differ, and methods under one protocol."""

from collections.abc import Callable
from pathlib import Path

import pandas as pd

from course_utils import paths
from course_utils.data.records import Record
from course_utils.errors import ConfigError
from course_utils.training.config import TrainingConfig
from course_utils.training.run import Run


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
    same = {(c.epochs, c.batch_size, c.max_length, c.evaluations, c.validation_rows) for c in methods.values()}
    if len(same) > 1:
        raise ConfigError("几种方法的训练次数、批大小、最大长度和验证设置要相同，否则比的就不是方法。请改成一样的。")
    if not data.get("test"):
        raise ConfigError("没有测试集，比不出结果。请给 data 加上 test。")
    lines = []
    for title, config in methods.items():
        finished = [
            _trained(config.model_copy(update={"seed": seed}), data, f"{name}-{title}-{seed}", log) for seed in seeds
        ]
        scores = pd.Series([score(run, data["test"]) for run in finished])
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


def _trained(config: TrainingConfig, data: dict[str, list[Record]], name: str, log) -> Run:
    from course_utils.training.train import resume, train

    for run in runs():
        if run.folder.name.startswith(name) and run.config == config and run.records("train") == data["train"]:
            return resume(run, log)
    return train(config, data, name, log)
