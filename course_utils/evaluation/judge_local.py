"""An offline judge: not a language model, but a comparison with the reference that has learnt what flaws look like.

It sees the signs of an answer (see `signs`) and weighs them; the weights are fitted on one half of the calibration set
(`datasets/judge_calibration`) and its agreement is measured on the other. It does not understand: an answer that is
right in a way that the reference does not mention it takes for worse, and a wrong fact in the reference's own words it
often overlooks.

Chosen by measurement, as the share of held-out rows whose good answer wins (`benchmarks/judge.py`): the mean over 16
halves of the set is 0.97 (wrong facts 0.90). With the question and the reference of another row the same answers have
0.65: what is left to see in the answer alone, such as one that was cut off. Of a kind of flaw that was wholly left out
of the fit they have 0.93 (cut off 0.77, wrong facts 0.85). The signs were thought out by one who knew the kinds of
flaws: on other flaws expect the latter numbers and not the former. Likelihoods from the embedded model (of the answer
given the reference, and the other way round) were tried on an earlier version of the set and had less than the signs.
"""

import hashlib
import math
import random
import re
from collections.abc import Sequence
from functools import cache

import numpy as np
from scipy.optimize import minimize

from course_utils import paths
from course_utils.data.formats import read_rows
from course_utils.data.statutes import citations, find
from course_utils.evaluation.judging import HIGHEST, LOWEST, Asked, Preference
from course_utils.evaluation.similarity import characters, words

CALIBRATION = paths.ROOT / "datasets" / "judge_calibration" / "裁判校准.jsonl"
SEED = 42
STRENGTH = 5.0  # of the pull of every weight towards zero (L2)
# Particles and words of grammar: that two answers share them says nothing.
GRAMMAR = set("的了是在也就都和与或而但把被让给对向从到着过吗呢吧啊这那有很再又还要会能可以一个您你我他它们")
FIGURES = "零一二三四五六七八九十百千万两半"
UNITS = "个条天年月日周小时分秒度倍次块元岁成折毫克斤升厘米点万亿项款种步层件页名人家"
NUMBER = re.compile(rf"\d+(?:\.\d+)?|[{FIGURES}]+(?=[{UNITS}])")
NEGATION = re.compile("[不没无别勿未非莫]")
FINISHED = re.compile(r"[。！？!?…”』」）)\]】}]$")


class TextJudge:
    """mark: 1 to 5, how sure it is that this is a good answer. prefer: the answer with the better signs."""

    name = "离线裁判（文字特征）"
    what = (
        "不是大模型：它拿回答和标准答案比文字（要点、数字、法条、有没有写完、有没有重复），权重从校准集的一半学来。"
        "它不懂意思：标准答案没提到的正确说法会吃亏，照着标准答案的话说错一处常常看不出来。"
    )
    free = True

    def __init__(self, weights: np.ndarray, centre: float, trained_on: frozenset[str] = frozenset()):
        """weights: of the signs; centre: the sum that is halfway between good and bad; trained_on: questions."""
        self.weights, self.centre, self.trained_on = weights, centre, trained_on

    @property
    def key(self) -> str:
        return f"text-{hashlib.sha256(np.round([*self.weights, self.centre], 6).tobytes()).hexdigest()[:12]}"

    def mark(self, asked: Asked, answer: str) -> float:
        sure = 1 / (1 + math.exp(self.centre - self._sum(asked, answer)))
        return LOWEST + (HIGHEST - LOWEST) * sure

    def prefer(self, asked: Asked, first: str, second: str) -> Preference:
        difference = self._sum(asked, first) - self._sum(asked, second)
        return "tie" if abs(difference) < 1e-9 else "first" if difference > 0 else "second"

    def _sum(self, asked: Asked, answer: str) -> float:
        return float(np.array(list(signs(asked, answer).values())) @ self.weights)


@cache
def text_judge() -> TextJudge:
    """The offline judge, fitted on the training half of the calibration set: a second's work."""
    return fit(halves(read_rows(CALIBRATION))[0])


def halves(rows: Sequence[dict], seed: int = SEED) -> tuple[list[dict], list[dict]]:
    """The rows to train on and those to measure on; each area and flaw is cut in half."""
    rng, kinds = random.Random(seed), {}
    for row in rows:
        kinds.setdefault((row["area"], row["flaw"]), []).append(row)
    train, held_out = [], []
    for number, kind in enumerate(kinds.values()):
        rng.shuffle(kind)
        middle = (len(kind) + number % 2) // 2  # of an odd number, the extra row goes here and there in turn
        train += kind[:middle]
        held_out += kind[middle:]
    return train, held_out


def fit(rows: Sequence[dict]) -> TextJudge:
    """Logistic regression on the difference of the signs of `good` and `bad`, no weight below zero.

    Every sign is turned so that more is better; that no weight may contradict its sign keeps the fit from learning the
    habits of those who wrote the rows (Bradley & Terry 1952, with bounds; scipy's L-BFGS-B).
    """
    good, bad = (np.array([list(signs(asked(row), row[k]).values()) for row in rows]) for k in ("good", "bad"))
    scale = np.concatenate([good, bad]).std(0) + 1e-6
    difference = (good - bad) / scale

    def loss(weights: np.ndarray) -> tuple[float, np.ndarray]:
        margin = difference @ weights
        slope = -(difference / (1 + np.exp(margin))[:, None]).sum(0) + STRENGTH * weights
        return np.logaddexp(0, -margin).sum() + STRENGTH * weights @ weights / 2, slope

    start = np.zeros(difference.shape[1])
    weights = minimize(loss, start, jac=True, method="L-BFGS-B", bounds=[(0, None)] * len(start)).x / scale
    return TextJudge(weights, float((good.mean(0) + bad.mean(0)) @ weights / 2), frozenset(r["question"] for r in rows))


def asked(row: dict) -> Asked:
    return Asked(row["question"], row["reference"])


def signs(asked: Asked, answer: str) -> dict[str, float]:
    """What the judge sees of an answer, each between 0 and 1 (写完 and the like) or -1 and 0, more is better."""
    reference = asked.reference
    ours, theirs, question = (_content(text) for text in (answer, reference, asked.question))
    our_chars, their_chars = (set(characters(text)) - GRAMMAR for text in (answer, reference))
    our_numbers, their_numbers = _numbers(answer), _numbers(reference)
    our_articles, their_articles = set(citations(answer)), set(citations(reference))
    extra = our_numbers - their_numbers - _numbers(asked.question)
    return {
        "标准答案的字出现了多少": _share(our_chars & their_chars, their_chars),
        "回答的字有多少在标准答案里": _share(our_chars & their_chars, our_chars),
        "题目之外的要点出现了多少": _share((set(theirs) - set(question)) & set(ours), set(theirs) - set(question)),
        "标准答案的数字出现了多少": _share(our_numbers & their_numbers, their_numbers, 1.0),
        "没有凭空的数字": -_share(extra, our_numbers),
        "凭空的数字少": -min(len(extra), 3) / 3,
        "标准答案的法条出现了多少": _share(our_articles & their_articles, their_articles, 1.0),
        "没有标准答案之外的法条": -_share(our_articles - their_articles, our_articles),
        "法条都存在": -_share({article for article in our_articles if find(*article) is None}, our_articles),
        "否定词的多少相近": -abs(_negations(answer) - _negations(reference)),
        "写完了": float(bool(FINISHED.search(answer.strip()))),
        "不重复": -(1 - len(set(ours)) / max(1, len(ours))),
    }


def _content(text: str) -> list[str]:
    return [word for word in words(text) if word[0].isalnum() and word not in GRAMMAR]


def _numbers(text: str) -> set[str]:
    return set(NUMBER.findall(text))


def _negations(text: str) -> float:
    """Negations among ten characters, at most one."""
    return min(1.0, 10 * len(NEGATION.findall(text)) / max(1, len(text)))


def _share(part: set, whole: set, of_nothing: float = 0.0) -> float:
    return len(part) / len(whole) if whole else of_nothing
