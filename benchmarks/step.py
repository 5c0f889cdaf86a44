"""One training step on made-up tokens: seconds, tokens per second and memory, for trying a change.

python benchmarks/step.py [--batch 8] [--length 80] [--steps 6] [--profile]
"""

import argparse
import time

from course_utils.allocator import kept_heap
from course_utils.measure import PeakMemory
from course_utils.models.load import fast_bf16, load
from course_utils.training.build import prepare_model, quicken_attention
from course_utils.training.config import TrainingConfig
from course_utils.training.trainer import head_mask, label_loss  # torch comes after course_utils, which sets it up

import torch  # isort: skip

ANSWER = 3  # supervised tokens of a row


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--length", type=int, default=80)
    parser.add_argument("--steps", type=int, default=6)
    parser.add_argument("--profile", action="store_true", help="also list the operations that take longest")
    options = parser.parse_args()
    config = TrainingConfig()
    model, _ = load(config.base_model)
    quicken_attention(model, config)
    model = prepare_model(model, config).train()
    parameters = [p for p in model.parameters() if p.requires_grad]
    optimizer = torch.optim.AdamW(parameters, lr=config.learning_rate)
    ids = torch.randint(1000, 200_000, (options.batch, options.length))
    labels = torch.full_like(ids, -100)
    labels[:, -ANSWER:] = ids[:, -ANSWER:]
    inputs = {"input_ids": ids, "attention_mask": torch.ones_like(ids), "labels": labels}
    inputs["logits_to_keep"] = head_mask(labels)

    def step() -> float:
        start = time.perf_counter()
        with torch.autocast("cpu", dtype=torch.bfloat16, enabled=fast_bf16()):
            loss = label_loss(model, inputs)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(parameters, 1.0)
        optimizer.step()
        optimizer.zero_grad()
        return time.perf_counter() - start

    with PeakMemory() as peak, kept_heap():
        seconds = [step() for _ in range(options.steps)]
    print("  ".join(f"{s:.2f}" for s in seconds), f"s; {ids.numel() / min(seconds):.0f} tokens/s; {peak.mb} MB")
    if options.profile:
        with torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CPU]) as profile:
            step()
        print(profile.key_averages().table(sort_by="self_cpu_time_total", row_limit=25))


if __name__ == "__main__":
    main()
