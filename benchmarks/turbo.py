"""极速模式 against plain LoRA: minutes and accuracy of three epochs on the same reviews, under one protocol.

    python benchmarks/turbo.py [--rows 800] [--epochs 3] [--seeds 1 2 3]

What was trained before is not trained again: runs are kept in the workspace.
"""

import argparse

from course_utils.data import presets
from course_utils.training.config import TrainingConfig
from course_utils.training.history import compare_methods
from course_utils.training.run import Run

TEST = 600


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rows", type=int, default=800)
    parser.add_argument("--epochs", type=float, default=3)
    parser.add_argument("--seeds", type=int, nargs="+", default=[1, 2, 3])
    options = parser.parse_args()
    data = presets.parts("sentiment_predict")
    data |= {"train": data["train"][: options.rows], "test": data["test"][:TEST]}
    plain = TrainingConfig(epochs=options.epochs, evaluations=3, validation_rows=80)
    methods = {"LoRA，全部 18 层": plain, "极速模式，上面 6 层": plain.model_copy(update={"turbo": True})}
    print(compare_methods(methods, data, accuracy, tuple(options.seeds), "turbo").to_string(index=False))


def accuracy(run: Run, test) -> float:
    from course_utils.inference.predict import predict

    rows = predict(*run.load(), test, presets.card("sentiment_predict").labels, run.config.max_length)
    return sum(row["prediction"] == record.output for row, record in zip(rows, test, strict=True)) / len(test)


if __name__ == "__main__":
    main()
