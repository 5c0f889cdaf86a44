"""Submissions that are nearly the same: the weights, the data, the free answers. A report for the teacher, not a penalty."""

import base64
from collections import Counter
from collections.abc import Sequence
from itertools import combinations

import numpy as np
from pydantic import BaseModel
from rapidfuzz import fuzz, process

from course_utils.data.cells import squeeze
from course_utils.grading.grade import Result
from course_utils.grading.references import free_questions

LIKE_WEIGHTS = 0.95  # cosine
LIKE_ROWS = 0.5  # share of the smaller data set's own rows
LEAST_ROWS = 10  # own rows, below which an overlap says nothing
COMMON = 0.25  # a row that more of the class has comes from a common source
LIKE_ANSWER = 85.0  # rapidfuzz ratio, 0 to 100
LEAST_ANSWER = 40  # characters


class Pair(BaseModel):
    """Two submissions, by their index; a before b. why: what is alike, a sentence each."""

    a: int
    b: int
    why: list[str]


def alike(results: Sequence[Result]) -> list[Pair]:
    """Every pair that is suspiciously alike, in order. Symmetric: it does not say who had it from whom."""
    found: dict[tuple[int, int], list[str]] = {}
    for compare in (_weights, _rows, _answers):
        for a, b, why in compare(results):
            found.setdefault((min(a, b), max(a, b)), []).append(why)
    return [Pair(a=a, b=b, why=why) for (a, b), why in sorted(found.items())]


def copied(result: Result) -> list[str]:
    """The free answers that are nearly the course's own, which anybody can read in `solutions/`."""
    own = free_questions(result.notebook)
    found = []
    for exercise, answer in sorted(result.traces.answers.items()):
        text = squeeze(answer)
        if exercise in own and len(text) >= LEAST_ANSWER:
            score = fuzz.ratio(text, squeeze(own[exercise].answer))
            if score >= LIKE_ANSWER:
                found.append(f"问答题 {exercise} 和课程的参考回答有 {score:.0f}% 相同。")
    return found


def _weights(results: Sequence[Result]):
    known = [i for i, r in enumerate(results) if r.traces.weights]
    sketches = [np.frombuffer(base64.b64decode(results[i].traces.weights), np.float16).astype("f4") for i in known]
    for (i, x), (j, y) in combinations(zip(known, sketches, strict=True), 2):
        one, two = results[i].traces, results[j].traces
        recipe = (
            "；设置、种子和训练数据的指纹都相同，各自训练也会这样" if one.recipe and one.recipe == two.recipe else ""
        )
        if one.adapter == two.adapter:
            yield i, j, f"适配器的文件一模一样{recipe}"
        elif len(x) == len(y) and (cosine := float(x @ y)) >= LIKE_WEIGHTS:
            yield i, j, f"适配器的权重余弦相似度 {cosine:.2f}{recipe}"


def _rows(results: Sequence[Result]):
    counts = Counter(row for r in results for row in set(r.traces.rows))
    common = max(3, COMMON * len(results))
    own = {i: {row for row in r.traces.rows if counts[row] <= common} for i, r in enumerate(results)}
    own = {i: rows for i, rows in own.items() if len(rows) >= LEAST_ROWS}
    for (i, x), (j, y) in combinations(own.items(), 2):
        share = len(x & y) / min(len(x), len(y))
        if share >= LIKE_ROWS:
            yield i, j, f"自己加的数据有 {share:.0%} 相同（{len(x & y)} 行）"


def _answers(results: Sequence[Result]):
    for name in sorted({name for r in results for name in r.traces.answers}):
        texts = {i: squeeze(r.traces.answers.get(name, "")) for i, r in enumerate(results)}
        texts = {i: text for i, text in texts.items() if len(text) >= LEAST_ANSWER}
        known = list(texts)
        scores = process.cdist(texts.values(), texts.values(), scorer=fuzz.ratio, score_cutoff=LIKE_ANSWER, workers=-1)
        for x, y in zip(*np.nonzero(np.triu(scores, 1)), strict=True):
            yield known[x], known[y], f"问答题 {name} 的文字有 {scores[x, y]:.0f}% 相同"
