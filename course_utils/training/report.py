"""What a run says about itself while it trains: metrics.jsonl, the progress bar, the curve, the model card."""

import json
import time
from collections.abc import Callable
from pathlib import Path

from tqdm.auto import tqdm
from transformers import TrainerCallback

from course_utils.data.records import atomic_writer
from course_utils.models.catalogue import catalogue
from course_utils.training.run import Run


class Reporter(TrainerCallback):
    """Appends one line to metrics.jsonl per report, moves the progress bar, and stops where the run is asked to.

    Of several processes only the first writes.
    """

    def __init__(self, run: Run, log: Callable[[str], None]):
        self.run, self.log, self.bar = run, log, None

    def on_train_begin(self, args, state, control, **kwargs):
        self.earlier = max((line["seconds"] for line in self.run.metrics), default=0.0)
        self.start = self.step_start = time.perf_counter()
        self.first_step, self.tokens = state.global_step, state.num_input_tokens_seen
        self.run.note(total_steps=state.max_steps) if state.is_world_process_zero else None
        self.bar = tqdm(total=state.max_steps, initial=state.global_step, desc="训练", unit="步", dynamic_ncols=True)

    def on_step_begin(self, args, state, control, **kwargs):
        self.step_start = time.perf_counter()

    def on_step_end(self, args, state, control, **kwargs):
        now = time.perf_counter()
        self.speed = (state.num_input_tokens_seen - self.tokens) / (now - self.step_start)  # real tokens, no padding
        self.tokens = state.num_input_tokens_seen
        done = state.global_step - self.first_step
        self.left = (now - self.start) / done * (state.max_steps - state.global_step)
        self.bar.update()
        if self.run.stop_file.exists():
            control.should_save = control.should_training_stop = True

    def on_log(self, args, state, control, logs=None, **kwargs):
        if self.bar is None or not state.is_world_process_zero or not ("loss" in logs or "eval_loss" in logs):
            return
        line = {"step": state.global_step, "epoch": round(state.epoch or 0, 4)}
        line |= {name: logs[name] for name in ("loss", "eval_loss", "eval_accuracy", "learning_rate") if name in logs}
        if "loss" in logs:
            line["tokens_per_second"] = round(self.speed, 1)
            self.bar.set_postfix_str(f"损失 {logs['loss']:.3f}，{self.speed:.0f} token/秒，剩余 {clock(self.left)}")
        line["seconds"] = round(self.earlier + time.perf_counter() - self.start, 2)
        line["time_left"] = round(self.left, 1)
        with (self.run.folder / "metrics.jsonl").open("a", encoding="utf-8") as file:
            file.write(json.dumps(line) + "\n")
        if "eval_loss" in logs:
            accuracy = f"，验证准确率 {logs['eval_accuracy']:.1%}" if "eval_accuracy" in logs else ""
            self.log(f"第 {state.global_step} 步，验证损失 {logs['eval_loss']:.4f}{accuracy}")
            self._draw()

    def on_train_end(self, args, state, control, **kwargs):
        self.bar.close()
        self._draw()

    def _draw(self):
        from course_utils.plots import loss_curve

        loss_curve(self.run.metrics, self.run.folder / "curve.png", title=f"{self.run.folder.name} 的损失")


def clock(seconds: float) -> str:
    """Seconds as minutes:seconds."""
    return f"{int(seconds) // 60}:{int(seconds) % 60:02d}"


def forget_after(run: Run, step: int) -> None:
    """Drop the metrics and samples after `step`: a resumed run goes through those steps again."""
    for name, lines in (("metrics", run.metrics), ("samples", run.samples)):
        kept = [line for line in lines if line["step"] <= step]
        with atomic_writer(run.folder / f"{name}.jsonl") as file:
            file.writelines(json.dumps(line, ensure_ascii=False) + "\n" for line in kept)


def save_model_card(run: Run, folder: Path) -> None:
    """README.md in `folder`, beside the weights: base, licence, data, settings, result."""
    config, facts = run.config, run.facts
    base = catalogue().get(config.base_model)
    licence = f"{base.licence}（{base.licence_url}）" if base else "见基座模型自己的说明"
    kind = f"LoRA 适配器，秩 {config.lora_rank}" if config.method == "lora" else "全参微调"
    loss = facts["best_eval_loss"]
    settings = "\n".join(f"| {name} | {value} |" for name, value in config.model_dump().items())
    data = "\n".join(f"- {part}：{d['rows']} 行，SHA-256 `{d['sha256']}`" for part, d in facts["data"].items())
    versions = "，".join(f"{name} {version}" for name, version in facts["versions"].items())
    with atomic_writer(folder / "README.md") as file:
        file.write(f"""---
base_model: {config.base_model}
library_name: {"peft" if config.method == "lora" else "transformers"}
language: zh
---
# {run.folder.name}

{config.base_model} 的微调（{kind}）。训练 {facts["steps"]} 步，最低验证损失 {"未算" if loss is None else f"{loss:.4f}"}。

基座许可：{licence}。微调后的权重同样受它约束。

## 数据
{data}

## 设置
| 设置 | 值 |
|---|---|
{settings}

## 环境
{versions}；种子 {config.seed}。
""")
