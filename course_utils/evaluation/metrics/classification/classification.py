"""Scores of text labels, as a metric of Hugging Face `evaluate`."""

import datasets
import evaluate
from sklearn.metrics import confusion_matrix, precision_recall_fscore_support

DESCRIPTION = "Accuracy, macro-F1, the scores of each label, and the confusion matrix of n answers of k labels."
INPUTS = """
Args:
    predictions: list of n strings. One that is none of the labels, such as an empty one, counts as wrong.
    references: list of n strings, each one of the labels.
    labels: list of k strings, in the order of the tables.
Returns:
    accuracy: float in [0, 1].
    macro_f1: float in [0, 1]; the plain mean of the F1 of the labels that occur among references or predictions.
    per_class: k dicts of label, precision, recall, f1 (0 where it is 0/0) and support.
    confusion: k lists of k + 1 counts; rows are references, columns predictions, the last one for unknown answers.
"""
UNKNOWN = "\0"  # no label can be this


class ClassificationScores(evaluate.Metric):
    def _info(self):
        features = datasets.Features({"predictions": datasets.Value("string"), "references": datasets.Value("string")})
        return evaluate.MetricInfo(description=DESCRIPTION, citation="", inputs_description=INPUTS, features=features)

    def _compute(self, predictions, references, labels):
        answers = [answer if answer in labels else UNKNOWN for answer in predictions]
        columns = precision_recall_fscore_support(references, answers, labels=labels, zero_division=0)
        names = ("label", "precision", "recall", "f1", "support")
        per_class = [
            dict(zip(names, row, strict=True)) for row in zip(labels, *(c.tolist() for c in columns), strict=True)
        ]
        occurring = [row["f1"] for row in per_class if row["label"] in {*references, *answers}]
        return {
            "accuracy": sum(a == r for a, r in zip(answers, references, strict=True)) / len(references),
            "macro_f1": sum(occurring) / len(occurring),
            "per_class": per_class,
            "confusion": confusion_matrix(references, answers, labels=[*labels, UNKNOWN])[:-1].tolist(),
        }
