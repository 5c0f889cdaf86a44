"""Metrics for Hugging Face `evaluate` that need no network: the hub's own scripts are out of reach for many learners.

Each folder holds one script in `evaluate`'s own layout, so `evaluate.load("course_utils/evaluation/metrics/classification")`
works as well; `load` below is the same call with the cache in the course's folder.
"""

from functools import cache
from pathlib import Path

from course_utils import paths

FOLDER = Path(__file__).resolve().parent


@cache
def load(name: str):
    """One of our metrics, ready for `.compute(predictions=[...], references=[...], labels=[...])`.

    name: a folder here, such as "classification".
    Rows stay in memory, so that two processes share no file while they compute.
    """
    import evaluate  # slow to import, and most of this package does without it

    folder = str(paths.own_cache() / "evaluate")
    return evaluate.load(str(FOLDER / name), module_type="metric", keep_in_memory=True, cache_dir=folder)
