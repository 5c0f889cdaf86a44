"""What is asked of the model each time the validation loss is taken: a few rows in full, and the task's own score."""

import json
from collections import Counter

from course_utils.data.records import Record
from course_utils.data.split import are_labels
from course_utils.inference.choose import choose
from course_utils.inference.classify import classify
from course_utils.inference.generate import answer
from course_utils.training.build import in_precision
from course_utils.training.config import TrainingConfig
from course_utils.training.run import Run

SAMPLES = 3
SAMPLE_TOKENS = 48  # of an answer: enough to see whether it ends
BEYOND = 8  # tokens after a label that show the same


class Exam:
    """`exam(model, step)` appends the answers to samples.jsonl and returns `{"eval_accuracy": ...}` for label tasks.

    A line of samples.jsonl: step, input, output (what the data say), answer, and whether the answer ended by itself.
    """

    def __init__(self, run: Run, tokenizer, records: list[Record], labels: list[str] | None):
        self.run, self.tokenizer, self.records, self.labels = run, tokenizer, records, labels
        self.config: TrainingConfig = run.config

    def __call__(self, model, step: int, score: bool = True) -> dict[str, float]:
        training = model.training
        model.eval()
        with in_precision(model, self.config):
            self.show(model, step)
            found = {"eval_accuracy": self._accuracy(model)} if score and self.labels else {}
        model.train(training)
        return found

    def show(self, model, step: int) -> None:
        """Answer the sample rows."""
        rows = self.records[:SAMPLES]
        with (self.run.folder / "samples.jsonl").open("a", encoding="utf-8") as file:
            for record, (text, ended) in zip(rows, self._answers(model, rows), strict=True):
                line = {"step": step, "input": record.prompt[-120:], "output": record.output[:200], "answer": text}
                file.write(json.dumps(line | {"ended": ended}, ensure_ascii=False) + "\n")

    def _answers(self, model, rows: list[Record]) -> list[tuple[str, bool]]:
        length = self.config.max_length
        if self.config.task == "classification":
            return [(choice.label, True) for choice in classify(model, self.tokenizer, rows, length)]
        longest = min(SAMPLE_TOKENS, length // 2)
        if self.labels:  # an answer that does not end takes as long as it may
            longest = min(longest, max(map(len, self.labels)) + BEYOND)
        return answer(model, self.tokenizer, rows, longest, max_length=length)

    def _accuracy(self, model) -> float:
        length = self.config.max_length
        if self.config.task == "classification":
            choices = classify(model, self.tokenizer, self.records, length)
        else:
            choices = choose(model, self.tokenizer, self.records, self.labels, length)
        right = sum(c.label == r.output.strip() for c, r in zip(choices, self.records, strict=True))
        return right / len(self.records)


def task_labels(records: list[Record]) -> list[str] | None:
    """The labels of a label task, the most frequent first; None when the answers are no labels."""
    counts = Counter(record.output.strip() for record in records)
    return [label for label, _ in counts.most_common()] if are_labels(counts) else None
