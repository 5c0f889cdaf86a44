"""Validity of the law articles that answers cite, as a metric of Hugging Face `evaluate`."""

import datasets
import evaluate

from course_utils.evaluation.law import check_citations

DESCRIPTION = "The share of cited articles of Chinese law that exist and are in force, and of answers that cite any."
INPUTS = """
Args:
    predictions: list of n strings.
Returns:
    valid: share of the citations that exist and are in force; None when there is no citation at all.
    citing: share of the answers with at least one citation.
    citations: how many there are. invalid: (row, law, article, reason) of each that is not valid; row 1 is the first.
"""


class CitationScores(evaluate.Metric):
    def _info(self):
        features = datasets.Features({"predictions": datasets.Value("string")})
        return evaluate.MetricInfo(description=DESCRIPTION, citation="", inputs_description=INPUTS, features=features)

    def _compute(self, predictions):
        result = check_citations(predictions)
        return {
            "valid": result.valid,
            "citing": result.citing,
            "citations": result.n_citations,
            "invalid": result.invalid.to_numpy().tolist(),
        }
