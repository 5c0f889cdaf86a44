"""Whether augmentation helps: accuracy on the test part with and without it, for few and for many source rows.

    python benchmarks/augmentation.py [--multiplier 3] [--quality 标准] [--harder] [--model] [--seeds 3]

TF-IDF by default (minutes on two cores). --model also fine-tunes the embedded model on each set: hours on a CPU.
Prints a Markdown table. The test rows are never augmented, and augmentation sees no test row.
"""

import argparse
import random
import statistics

from course_utils.data import presets
from course_utils.data.augment import augment
from course_utils.data.records import Record, to_records
from course_utils.evaluation.baselines import tfidf

PRESETS = ("sentiment_predict", "product_classification")
SIZES = (100, 300, 1000)
MODEL_TEST = 300  # test rows that a model answers


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--multiplier", type=int, default=3, help="wanted new rows for each row")
    parser.add_argument("--quality", default="标准", help="宽松, 标准 or 严格")
    parser.add_argument("--harder", action="store_true", help="the harder split of the presets that have one")
    parser.add_argument("--model", action="store_true", help="also fine-tune the embedded model")
    parser.add_argument("--seeds", type=int, default=3)
    options = parser.parse_args()
    print("| preset | method | rows | new rows | without | with | difference by seed | mean |")
    print("|---|---|---|---|---|---|---|---|", flush=True)
    for name in PRESETS:
        harder = options.harder and presets.card(name).harder is not None
        parts = presets.parts(name, harder=harder)
        for size in SIZES:
            sets = []
            for seed in range(options.seeds):
                rows = random.Random(seed).sample(parts["train"], min(size, len(parts["train"])))
                more = augment(rows, options.multiplier, options.quality, seed=seed)
                sets.append((rows, to_records(more.rows)))
            for method in ("TF-IDF", "Gemma 3 270M")[: 1 + options.model]:
                score = by_words if method == "TF-IDF" else by_model
                scores = [(score(rows, parts), score(more, parts)) for rows, more in sets]
                print(line(name + ("（较难）" if harder else ""), method, sets, scores), flush=True)


def line(name: str, method: str, sets: list, scores: list[tuple[float, float]]) -> str:
    """One row of the table, accuracies in percent."""
    gains = [100 * (after - before) for before, after in scores]
    without, augmented = (statistics.mean(100 * pair[i] for pair in scores) for i in (0, 1))
    new = statistics.mean(len(more) - len(rows) for rows, more in sets)
    by_seed = " ".join(f"{gain:+.1f}" for gain in gains)
    columns = (name, method, len(sets[0][0]), f"{new:.0f}", f"{without:.1f}", f"{augmented:.1f}", by_seed)
    return "| " + " | ".join(map(str, columns)) + f" | {statistics.mean(gains):+.1f} |"


def by_words(rows: list[Record], parts: dict[str, list[Record]]) -> float:
    """Accuracy of TF-IDF and logistic regression on the whole test part."""
    test = parts["test"]
    found = tfidf([row.input for row in rows], [row.output for row in rows], [row.input for row in test])
    return accuracy(found, test)


def by_model(rows: list[Record], parts: dict[str, list[Record]]) -> float:
    """Accuracy of the embedded model, fine-tuned with the default settings, on the first rows of the test part."""
    from course_utils.inference.predict import predict
    from course_utils.training.config import TrainingConfig
    from course_utils.training.train import train

    config = TrainingConfig()
    data = {"train": rows, "validation": parts["validation"][:100]}
    run = train(config, data, "augmentation-benchmark", log=lambda message: None)
    model, tokenizer = run.load()
    test = parts["test"][:MODEL_TEST]
    labels = sorted({row.output for row in parts["train"]})
    return accuracy(
        [answer["prediction"] for answer in predict(model, tokenizer, test, labels, config.max_length)], test
    )


def accuracy(found: list[str], test: list[Record]) -> float:
    return statistics.mean(answer == row.output for answer, row in zip(found, test, strict=True))


if __name__ == "__main__":
    main()
