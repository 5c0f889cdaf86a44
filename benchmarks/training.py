"""Training speed and memory, side by side: ours, TRL's SFTTrainer at its defaults, and the plain Trainer.

    python benchmarks/training.py [--steps N] [--out FILE.json]

Each runs in a process of its own, one after the other, on the same model, rows, batch size, LoRA settings and
precision. TRL is the extra `bench`: pip install -e .[bench]
"""

import argparse
import importlib.util
import json
import subprocess
import sys
import tempfile
import time
from contextlib import nullcontext
from pathlib import Path

from transformers import TrainerCallback

from course_utils.allocator import kept_heap
from course_utils.data import presets
from course_utils.measure import PeakMemory
from course_utils.models.encode import encode
from course_utils.models.load import device, fast_bf16, load
from course_utils.training.config import TrainingConfig

NAMES = ("ours", "trl", "trainer")
BATCH = 16
ROWS = 3000  # of a real run; the batches that are counted come from all of them, as they would there
WARM_UP = 2  # steps at the start that are not counted: each method compiles its first kernels then


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--steps", type=int, default=12, help="counted steps of each method")
    parser.add_argument("--out", type=Path, help="keep the results here, as JSON")
    parser.add_argument("--child", choices=NAMES, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.child:
        options.out.write_text(json.dumps(measure(options.child, options.steps)))
        return
    rates, results = [matmul_rate()], []
    for name in NAMES:
        if name == "trl" and not importlib.util.find_spec("trl"):
            print("trl: not installed, left out. Install it with: pip install -e .[bench]")
            continue
        results.append(in_child(name, options.steps))
        rates.append(matmul_rate())
    print(f"matrix products in {precision()}: {max(rates) / 1e9:.0f} GFLOP/s at best, {min(rates) / 1e9:.0f} at worst")
    for result in results:
        result["peak_share"] = round(result.pop("flop_per_second") / max(rates), 3)
        print("  ".join(f"{key} {value}" for key, value in result.items()))
    ours = results[0]
    for other in results[1:]:
        print(
            f"ours against {other['name']}: {ours['tokens_per_second'] / other['tokens_per_second']:.1f} times the "
            f"real tokens per second, {ours['peak_mb'] / other['peak_mb']:.2f} of the peak memory"
        )
    if options.out:
        options.out.write_text(json.dumps(results, indent=1) + "\n")


def in_child(name: str, steps: int) -> dict:
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / "result.json"
        command = [sys.executable, __file__, "--child", name, "--steps", str(steps), "--out", str(out)]
        process = subprocess.run(command, capture_output=True, text=True)
        if process.returncode:
            sys.exit(f"{name} failed:\n{process.stderr[-3000:]}")
        return json.loads(out.read_text())


def precision() -> str:
    return "bf16" if fast_bf16() else "fp32"


def matmul_rate() -> float:
    """FLOP/s of the matrix product that a step mostly consists of: 1024 tokens through the MLP's first matrix."""
    import torch

    dtype = torch.bfloat16 if fast_bf16() else torch.float32
    x, weight = torch.randn(1024, 640, dtype=dtype), torch.randn(2048, 640, dtype=dtype)
    best = float("inf")
    for _ in range(50):
        start = time.perf_counter()
        torch.nn.functional.linear(x, weight)
        best = min(best, time.perf_counter() - start)
    return 2 * 1024 * 640 * 2048 / best


def measure(name: str, steps: int) -> dict:
    """Train for WARM_UP + steps steps; seconds, real tokens (no padding) and FLOP of the counted ones."""
    config = TrainingConfig(batch_size=BATCH)
    records = presets.parts("sentiment_predict")["train"][:ROWS]
    with PeakMemory() as peak, tempfile.TemporaryDirectory() as folder:
        model, tokenizer = load(config.base_model)
        body = sum(p.numel() for p in model.model.layers.parameters())
        head = model.get_output_embeddings().weight.numel()
        trainer = {"ours": ours, "trl": trl, "trainer": plain}[name](model, tokenizer, records, config, folder)
        count = Count()
        trainer.add_callback(count)
        trainer.args.max_steps = WARM_UP + steps
        inner = trainer.training_step
        trainer.training_step = lambda m, inputs, *rest, **kw: (count.add(inputs), inner(m, inputs, *rest, **kw))[1]
        with kept_heap() if name == "ours" else nullcontext():
            trainer.train()
    seconds = sum(count.seconds[WARM_UP:])
    tokens, labels = sum(count.tokens[WARM_UP:]), sum(count.labels[WARM_UP:])
    # LoRA: forward and the gradient of the input, 2 FLOP each per weight and token; the head at the labels.
    flop = 4 * body * tokens + 4 * head * labels
    return {
        "name": name,
        "seconds_per_step": round(seconds / steps, 3),
        "first_step_seconds": round(count.seconds[0], 2),
        "tokens_per_second": round(tokens / seconds, 1),
        "padding": round(1 - tokens / sum(count.padded[WARM_UP:]), 3),
        "peak_mb": peak.mb,
        "flop_per_second": flop / seconds,
    }


def arguments(config: TrainingConfig, folder: str) -> dict:
    return {
        "output_dir": folder, "per_device_train_batch_size": config.batch_size, "num_train_epochs": 1,
        "learning_rate": config.learning_rate, "bf16": fast_bf16(), "use_cpu": device() == "cpu", "report_to": "none", "save_strategy": "no",
        "disable_tqdm": True, "seed": config.seed,
    }  # fmt: skip


def lora(config: TrainingConfig):
    from peft import LoraConfig

    return LoraConfig(
        r=config.lora_rank, lora_alpha=config.lora_alpha, lora_dropout=config.lora_dropout,
        target_modules=config.lora_targets, task_type="CAUSAL_LM",
    )  # fmt: skip


def ours(model, tokenizer, records, config, folder):
    from transformers import TrainingArguments

    from course_utils.training.build import prepare_model, quicken_attention
    from course_utils.training.trainer import Collator, LabelTrainer

    rows = [encode(record, tokenizer, config.max_length) for record in records]
    quicken_attention(model, config)
    return LabelTrainer(
        model=prepare_model(model, config),
        args=TrainingArguments(**arguments(config, folder), remove_unused_columns=False, dataloader_pin_memory=False),
        train_dataset=rows,
        data_collator=Collator([len(row.input_ids) for row in rows], pad_id=0),
    )


def trl(model, tokenizer, records, config, folder):
    from datasets import Dataset
    from trl import SFTConfig, SFTTrainer

    rows = [
        {"prompt": record.messages()[:-1], "completion": record.messages()[-1:]} for record in records
    ]  # prompt and completion: TRL then computes the loss on the completion only
    return SFTTrainer(
        model=model,
        args=SFTConfig(**arguments(config, folder), completion_only_loss=True),
        train_dataset=Dataset.from_list(rows),
        processing_class=tokenizer,
        peft_config=lora(config),
    )


def plain(model, tokenizer, records, config, folder):
    from peft import get_peft_model
    from transformers import DataCollatorForSeq2Seq, Trainer, TrainingArguments

    rows = [encode(record, tokenizer, config.max_length) for record in records]
    return Trainer(
        model=get_peft_model(model, lora(config)),
        args=TrainingArguments(**arguments(config, folder)),
        train_dataset=[{"input_ids": row.input_ids, "labels": row.labels} for row in rows],
        data_collator=DataCollatorForSeq2Seq(tokenizer),
    )


class Count(TrainerCallback):
    """A callback that times whole steps, and counts what went into them."""

    def __init__(self):
        self.seconds, self.tokens, self.padded, self.labels = [], [], [], []

    def add(self, inputs) -> None:
        self.tokens.append(int(inputs["attention_mask"].sum()))
        self.padded.append(inputs["attention_mask"].numel())
        self.labels.append(int((inputs["labels"] != -100).sum()))

    def on_step_begin(self, *args, **kwargs):
        self.start = time.perf_counter()

    def on_step_end(self, *args, **kwargs):
        self.seconds.append(time.perf_counter() - self.start)


if __name__ == "__main__":
    main()
