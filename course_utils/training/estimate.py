"""What a fine-tune will cost, in memory and minutes, from a few real steps of it before anything is started."""

import json
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from math import ceil
from pathlib import Path

import psutil

from course_utils.data.records import Record, write_jsonl
from course_utils.errors import ConfigError, CourseError
from course_utils.models.catalogue import catalogue
from course_utils.training.build import in_precision
from course_utils.training.config import TrainingConfig
from course_utils.training.run import Run, check_parts

QUANTILES = (1.0, 0.75, 0.5, 0.25)  # of the rows' lengths: the batches that are tried, each twice
SPARE_MB = 500  # that the rest of the machine wants to keep


@dataclass(frozen=True)
class Estimate:
    """memory_mb: the peak of the training process. minutes: of the whole training, evaluations and loading included.
    free_mb: what the machine has free now. steps: optimizer steps. step_seconds: of a step of middling length.
    """

    memory_mb: int
    minutes: float
    free_mb: int
    steps: int
    step_seconds: float

    @property
    def fits(self) -> bool:
        return self.memory_mb + SPARE_MB <= self.free_mb

    def summary(self) -> str:
        verdict = "放得下" if self.fits else "放不下：请调小「批大小」或「最大长度」，或者换小一些的模型"
        return (
            f"预计{f' {self.minutes:.0f} ' if self.minutes >= 1 else '不到 1 '}分钟（{self.steps} 步，每步约 {self.step_seconds:.1f} 秒）。"
            f"内存峰值约 {self.memory_mb / 1024:.1f} GB，现在空闲 {self.free_mb / 1024:.1f} GB，{verdict}。"
        )


def estimate(config: TrainingConfig, data: dict[str, list[Record]], log: Callable[[str], None] = print) -> Estimate:
    """Try a few steps in a process of its own and work out the rest; half a minute for the embedded model.

    Raises `ConfigError` with the knob to turn when the configuration cannot fit into this machine.
    """
    check_parts(data)
    check_fits(config)
    from course_utils.models.weights import prepare

    prepare(config.base_model, log)
    folder = Path(tempfile.mkdtemp(prefix="estimate-"))
    try:
        for part in ("train", "validation"):
            write_jsonl(map(asdict, data[part]), folder / "data" / f"{part}.jsonl")
        (folder / "config.yaml").write_text(json.dumps(config.model_dump(), ensure_ascii=False), encoding="utf-8")
        log("正在试算几步……")
        child = subprocess.run(
            [sys.executable, "-m", "course_utils.training.estimate", str(folder)], capture_output=True, text=True,
            encoding="utf-8",
        )  # fmt: skip
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    if child.returncode < 0:
        raise ConfigError(f"试算时进程被系统结束了，内存放不下。{_smaller(config)}")
    answer = json.loads(child.stdout.splitlines()[-1]) if child.stdout.strip() else {"error": child.stderr[-400:]}
    if "error" in answer:
        raise CourseError(f"试算没有成功：{answer['error']}")
    return Estimate(**answer, free_mb=psutil.virtual_memory().available >> 20)


def check_fits(config: TrainingConfig) -> None:
    """Raise `ConfigError` when the weights and what the optimizer keeps of them are more than this machine has.

    bf16 weights take 2 bytes a parameter; a parameter trained in full 16 more (fp32 copy, gradient, Adam's two means).
    """
    card = catalogue().get(config.base_model)
    if card is None:
        return
    have = memory_mb()
    weights = card.parameters * (4 if config.precision == "fp32" else 2) >> 20
    full = (card.parameters * 16 >> 20) if config.method == "full" else 0
    if weights + full + SPARE_MB <= have:
        return
    if weights + SPARE_MB <= have:
        raise ConfigError(
            f"全参微调 {card.title} 至少要 {(weights + full) / 1024:.1f} GB 内存，这台机器共 {have / 1024:.1f} GB。"
            "请把「微调方法」改为 lora，或者换小一些的模型。"
        )
    raise ConfigError(
        f"{card.title} 的权重就要 {weights / 1024:.1f} GB 内存，这台机器共 {have / 1024:.1f} GB。"
        f"请在「基座模型」里换小一些的模型，例如 {next(iter(catalogue()))}。"
    )


def memory_mb() -> int:
    """The memory that a model can have here: the GPU's, else the machine's."""
    torch = sys.modules.get("torch")
    if torch and torch.cuda.is_available():
        return torch.cuda.get_device_properties(0).total_memory >> 20
    return psutil.virtual_memory().total >> 20


def _smaller(config: TrainingConfig) -> str:
    if config.batch_size > 1:
        return f"请把「批大小」从 {config.batch_size} 改为 {config.batch_size // 2}，再试算一次。"
    return f"请把「最大长度」从 {config.max_length} 改为 {config.max_length // 2}，或者换小一些的模型，再试算一次。"


def measure(folder: Path) -> dict:
    """The numbers of an `Estimate`, measured in this process with the trainer of the run in `folder`."""
    import numpy as np

    from course_utils.measure import PeakMemory
    from course_utils.training.train import build

    start = time.perf_counter()
    with PeakMemory() as peak:
        trainer, _ = build(Run(folder), lambda text: None)
        loading = time.perf_counter() - start
        rows, size = sorted(trainer.train_dataset, key=lambda row: len(row.input_ids)), trainer.args.train_batch_size
        first, seconds, tokens = [], [], []  # a batch of a new length first compiles its kernels
        for quantile in QUANTILES:
            end = max(min(size, len(rows)), ceil(quantile * len(rows)))
            inputs = trainer.data_collator(rows[end - min(size, len(rows)) : end])
            first.append(_step(trainer, inputs))
            seconds.append(min(_step(trainer, inputs), first[-1]))
            tokens.append(inputs["input_ids"].numel())
        few, exam = trainer.eval_dataset[: 4 * size], trainer.exam
        exam.records = exam.records[: 2 * size]

        def check() -> None:
            trainer.evaluation_loop(trainer.get_eval_dataloader(few), "try", prediction_loss_only=True)

        per_row = _again(check) / len(few)
        showing = _again(lambda: exam(trainer.model, 0, score=False))
        scoring = max(0.0, _again(lambda: exam(trainer.model, 0)) - showing) / max(1, len(exam.records))
    slope, level = _line(tokens, seconds)
    widths = [trainer.data_collator.width(len(row.input_ids)) for row in rows]
    steps = trainer.args.max_steps
    training = steps * (level + slope * size * float(np.mean(widths)))
    extra = [once - again for once, again in zip(first, seconds, strict=True)]
    compiling = extra[0] + float(np.median(extra[1:])) * len(set(widths))  # the very first step also sets up
    checks = ceil(steps / trainer.args.eval_steps) * (showing + len(trainer.eval_dataset) * (per_row + scoring))
    return {
        "memory_mb": int(peak.mb),
        "minutes": (loading + training + compiling + checks) / 60,
        "steps": steps,
        "step_seconds": float(np.median(seconds)),
    }


def _step(trainer, inputs) -> float:
    """Seconds of one optimizer step: with it, so that the optimizer's memory is there as well."""
    began = time.perf_counter()
    if trainer.optimizer is None:
        trainer.create_optimizer_and_scheduler(num_training_steps=1000)
    with in_precision(trainer.model, trainer.exam.config):
        trainer.training_step(trainer.model, inputs)
    trainer.optimizer.step()
    trainer.optimizer.zero_grad()
    return time.perf_counter() - began


def _again(work: Callable[[], None]) -> float:
    """Seconds of the second time: the first compiles its kernels."""
    work()
    began = time.perf_counter()
    work()
    return time.perf_counter() - began


def _line(x: list[float], y: list[float]) -> tuple[float, float]:
    """Slope and level of the least-squares line, neither below 0; equal x give the mean as level."""
    import numpy as np

    if len(set(x)) == 1:
        return 0.0, float(np.mean(y))
    slope, level = np.polyfit(x, y, 1)
    return (float(slope), float(level)) if slope > 0 and level > 0 else (float(np.sum(y) / np.sum(x)), 0.0)


if __name__ == "__main__":
    try:
        print(json.dumps(measure(Path(sys.argv[1]))))
    except CourseError as error:
        print(json.dumps({"error": str(error)}, ensure_ascii=False))
