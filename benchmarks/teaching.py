"""Do the course's data teach? Each label preset, on its random and on its harder split: n-grams against a fine-tune.

    python benchmarks/teaching.py [--preset NAME] [--split 随机|较难] [--methods TF-IDF 分类头 生成] [--write]

--write puts the lines into the preset's card.yaml (`measured`). Runs are kept in the workspace: what was trained is not
trained again, and the worst errors can be read in each run's errors.csv.
"""

import argparse
import time

import pandas as pd
import yaml

from course_utils.data import presets
from course_utils.data.records import Record, atomic_writer
from course_utils.evaluation.baselines import tfidf
from course_utils.evaluation.classification import score_labels
from course_utils.training.config import TrainingConfig

METHODS = {
    "分类头": {"task": "classification", "lora_rank": 16, "lora_alpha": 32, "learning_rate": 3e-4, "best_by": "metric"},
    "生成": {"lora_rank": 16, "lora_alpha": 32, "learning_rate": 5e-4},
}
SIZES = {"sentiment_predict": {"rows": 3000, "epochs": 1}, "product_classification": {"rows": None, "epochs": 2}}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--preset", choices=SIZES, action="append")
    parser.add_argument("--split", choices=["随机", "较难"], action="append")
    parser.add_argument("--methods", nargs="+", default=["TF-IDF", *METHODS], choices=["TF-IDF", *METHODS])
    parser.add_argument("--write", action="store_true")
    options = parser.parse_args()
    for name in options.preset or SIZES:
        for split in options.split or ["随机", "较难"]:
            data = presets.parts(name, harder=split == "较难")
            for method in options.methods:
                line = {"split": split, "method": method} | measure(name, split, method, data)
                print(name, line, flush=True)
                if options.write:
                    write(name, line)


def measure(name: str, split: str, method: str, data: dict[str, list[Record]]) -> dict:
    """Accuracy on the whole test part with its 95 % interval, training rows and minutes."""
    references = [record.output for record in data["test"]]
    start = time.perf_counter()
    if method == "TF-IDF":
        texts, labels = ([getattr(record, field) for record in data["train"]] for field in ("input", "output"))
        answers, rows = tfidf(texts, labels, [record.input for record in data["test"]]), len(texts)
        minutes = (time.perf_counter() - start) / 60
    else:
        answers, rows, minutes = fine_tuned(name, split, method, data)
    result = score_labels(answers, references, presets.card(name).labels)
    low, high = result.interval
    return {
        "accuracy": round(result.accuracy, 4), "low": round(low, 4), "high": round(high, 4), "test_rows": len(answers),
        "train_rows": rows, "minutes": round(minutes, 1),
    }  # fmt: skip


def fine_tuned(name: str, split: str, method: str, data: dict[str, list[Record]]) -> tuple[list[str], int, float]:
    """Answers of a fine-tune of the embedded model, its training rows, and its minutes."""
    from course_utils.inference.predict import predict
    from course_utils.training.history import trained

    size = SIZES[name]
    train = data["train"][: size["rows"]]
    config = TrainingConfig(**METHODS[method], epochs=size["epochs"])
    run = trained(config, {**data, "train": train}, f"teaching-{name}-{split}-{method}", print)
    rows = predict(*run.load(), data["test"], presets.card(name).labels, config.max_length)
    answers = [row["prediction"] for row in rows]
    wrong = [
        {"input": record.input, "output": record.output, **row, "scores": max(row["scores"].values())}
        for record, row in zip(data["test"], rows, strict=True)
        if row["prediction"] != record.output
    ]
    pd.DataFrame(wrong).to_csv(run.folder / "errors.csv", index=False)
    return answers, len(train), run.facts["seconds"] / 60


def write(name: str, line: dict) -> None:
    """Replace the card's line of this method and split."""
    path = presets.FOLDER / name / "card.yaml"
    card = yaml.safe_load(path.read_text(encoding="utf-8"))
    kept = [old for old in card.get("measured", []) if (old["split"], old["method"]) != (line["split"], line["method"])]
    card["measured"] = sorted([*kept, line], key=lambda line: line["split"])
    with atomic_writer(path) as file:
        yaml.safe_dump(card, file, allow_unicode=True, sort_keys=False, width=110)


if __name__ == "__main__":
    main()
