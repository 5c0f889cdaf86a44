"""Scores of free text against references, as a metric of Hugging Face `evaluate`."""

import datasets
import evaluate

from course_utils.evaluation.similarity import similarity

DESCRIPTION = (
    "BLEU-4, ROUGE-1/2/L, chrF, exact match and edit similarity of n Chinese answers, tokenisation in the name."
)
INPUTS = """
Args:
    predictions: list of n strings; an empty one scores zero.
    references: list of n strings.
Returns:
    name of the metric -> float in [0, 1], and n_empty: how many predictions were empty.
"""


class SimilarityScores(evaluate.Metric):
    def _info(self):
        features = datasets.Features({"predictions": datasets.Value("string"), "references": datasets.Value("string")})
        return evaluate.MetricInfo(description=DESCRIPTION, citation="", inputs_description=INPUTS, features=features)

    def _compute(self, predictions, references):
        result = similarity(predictions, references)
        return dict(zip(result.table["指标"], result.table["分数"], strict=True)) | {"n_empty": result.n_empty}
