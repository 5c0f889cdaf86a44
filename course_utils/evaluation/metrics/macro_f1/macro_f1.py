"""Macro-F1 of text labels, as a metric of Hugging Face `evaluate`."""

import datasets
import evaluate
from sklearn.metrics import f1_score

DESCRIPTION = "Macro-F1: the plain mean of the F1 of each label that occurs in the references."
INPUTS = """
Args:
    predictions: list of n strings. An empty or unknown answer lowers the recall of its reference's label.
    references: list of n strings.
Returns:
    {"macro_f1": float in [0, 1]}
"""


class MacroF1(evaluate.Metric):
    def _info(self):
        features = datasets.Features({"predictions": datasets.Value("string"), "references": datasets.Value("string")})
        return evaluate.MetricInfo(description=DESCRIPTION, citation="", inputs_description=INPUTS, features=features)

    def _compute(self, predictions, references):
        answers = [(answer or "").strip() for answer in predictions]
        truth = [label.strip() for label in references]
        score = f1_score(truth, answers, labels=sorted(set(truth)), average="macro", zero_division=0)
        return {"macro_f1": float(score)}
