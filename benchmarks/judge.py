"""The offline judge on its calibration set: how often the good answer wins, and whether it goes by the reference.

python benchmarks/judge.py [--lora]

Without an option: seconds. --lora also trains a classifier of (question, reference, answer) on the embedded model and
measures it on the same held-out rows: minutes.
"""

import argparse
import statistics
from collections import defaultdict

from course_utils.data.records import Record
from course_utils.evaluation.judge_local import CALIBRATION, asked, fit, halves, read_rows

HALVES = 16
AWAY = 7  # rows: whose question and reference an answer gets instead of its own
QUESTION = "题目：{question}\n标准答案：{reference}\n回答：{answer}\n这个回答好不好？"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--lora", action="store_true", help="also a LoRA classifier on the embedded model")
    options = parser.parse_args()
    rows = read_rows(CALIBRATION)
    signs(rows)
    if options.lora:
        lora(*halves(rows))


def signs(rows: list[dict]) -> None:
    """Print the agreement on held-out rows, by flaw, with swapped references, and for flaws left out of the fit."""
    by_flaw, all_rows, swapped = defaultdict(list), [], []
    for seed in range(HALVES):
        train, held_out = halves(rows, seed)
        judge = fit(train)
        found = wins(judge, held_out, held_out)
        all_rows.append(statistics.mean(found))
        swapped.append(statistics.mean(wins(judge, held_out, held_out[AWAY:] + held_out[:AWAY])))
        for row, won in zip(held_out, found, strict=True):
            by_flaw[row["flaw"]].append(won)
    print(f"signs, mean over {HALVES} halves: {statistics.mean(all_rows):.3f}")
    print("  by flaw: " + ", ".join(f"{flaw} {statistics.mean(won):.2f}" for flaw, won in by_flaw.items()))
    print(f"  with question and reference of another row: {statistics.mean(swapped):.3f}")
    left = {}
    for flaw in by_flaw:
        ours, others = [r for r in rows if r["flaw"] == flaw], [r for r in rows if r["flaw"] != flaw]
        left[flaw] = wins(fit(others), ours, ours)
    print(f"  of a flaw left out of the fit: {statistics.mean(won for found in left.values() for won in found):.3f}")
    print("    " + ", ".join(f"{flaw} {statistics.mean(found):.2f}" for flaw, found in left.items()))


def wins(judge, rows: list[dict], questions: list[dict]) -> list[bool]:
    """For each row whether its good answer wins, as an answer to the question beside it."""
    return [
        judge.prefer(asked(question), row["good"], row["bad"]) == "first"
        for question, row in zip(questions, rows, strict=True)
    ]


def lora(train: list[dict], held_out: list[dict]) -> None:
    """Print the same for a LoRA classifier; its runs go into the workspace."""
    from course_utils.inference.classify import classify
    from course_utils.training.config import TrainingConfig
    from course_utils.training.train import train as fine_tune

    def record(question: dict, answer: str, label: str = "好") -> Record:
        return Record(
            QUESTION.format(question=question["question"], reference=question["reference"], answer=answer), output=label
        )

    records = [record(row, row[kind], label) for row in train for kind, label in (("good", "好"), ("bad", "坏"))]
    config = TrainingConfig(
        task="classification", epochs=4, batch_size=8, learning_rate=4e-4, max_length=512, evaluations=1
    )
    model, tokenizer = fine_tune(config, {"train": records, "validation": records[:16]}, "裁判").load()
    for title, questions in (("its own", held_out), ("another row's", held_out[AWAY:] + held_out[:AWAY])):
        good, bad = (
            classify(model, tokenizer, [record(q, row[kind]) for q, row in zip(questions, held_out, strict=True)], 512)
            for kind in ("good", "bad")
        )
        won = sum(a.scores["好"] > b.scores["好"] for a, b in zip(good, bad, strict=True))
        print(f"LoRA classifier, question and reference {title}: {won} of {len(held_out)}")


if __name__ == "__main__":
    main()
