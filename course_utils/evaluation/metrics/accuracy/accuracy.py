"""Accuracy of text labels, as a metric of Hugging Face `evaluate`."""

import datasets
import evaluate

DESCRIPTION = "Accuracy: the share of rows whose predicted label equals the reference label, both stripped."
INPUTS = """
Args:
    predictions: list of n strings. An empty answer counts as wrong.
    references: list of n strings.
Returns:
    {"accuracy": float in [0, 1]}
"""


class Accuracy(evaluate.Metric):
    def _info(self):
        features = datasets.Features({"predictions": datasets.Value("string"), "references": datasets.Value("string")})
        return evaluate.MetricInfo(description=DESCRIPTION, citation="", inputs_description=INPUTS, features=features)

    def _compute(self, predictions, references):
        right = [(answer or "").strip() == label.strip() for answer, label in zip(predictions, references, strict=True)]
        return {"accuracy": sum(right) / len(right)}
