"""What every judge has in common: it marks an answer, or prefers one of two; asked in both orders, kept in a file.

A judge that fails on a row leaves a gap there, never a zero. What it has said is kept in a file of JSON lines, by the
content of the question, so that a stopped evaluation goes on and nothing is paid for twice.
"""

import hashlib
import json
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from threading import Lock
from typing import Literal, Protocol

import numpy as np

from course_utils.errors import CourseError, DataError
from course_utils.evaluation.ledger import append, mend, read_lines
from course_utils.evaluation.resample import Interval, mean_interval

LOWEST, HIGHEST = 1, 5
AT_ONCE = 4  # questions under way at the same time
HOPELESS = 8  # failures at the start, without one success, after which the rest is not tried
Preference = Literal["first", "second", "tie"]
Progress = Callable[[int, int], None]  # done, total; after every question


@dataclass(frozen=True)
class Asked:
    """A row for a judge: what was asked, and what a good answer says."""

    question: str
    reference: str


class Judge(Protocol):
    """name: for the reader. what: what it is and cannot do, one or two sentences. key: changes when its judgements
    might. free: whether asking it costs nothing. Both methods raise `CourseError` when there is no judgement.
    """

    name: str
    what: str
    key: str
    free: bool

    def mark(self, asked: Asked, answer: str) -> float: ...
    def prefer(self, asked: Asked, first: str, second: str) -> Preference: ...


@dataclass(frozen=True)
class Marks:
    """What `mark_answers` returns. values: 1 to 5 for each answer, None where the judge failed."""

    judge: str
    values: list[float | None]
    n_empty: int  # empty answers: the lowest mark, without asking
    failures: list[str]  # a reason for each gap

    @property
    def known(self) -> list[float]:
        return [value for value in self.values if value is not None]

    @property
    def mean(self) -> float:
        return float(np.mean(self.known)) if self.known else float("nan")

    @property
    def interval(self) -> Interval:
        return mean_interval(self.known)

    def length_bias(self, answers: Sequence[str | None]) -> float:
        """Spearman's correlation of mark and length, -1 to 1; 0 when there is nothing to correlate."""
        from scipy.stats import spearmanr

        pairs = [(len(a or ""), v) for a, v in zip(answers, self.values, strict=True) if v is not None]
        lengths, values = zip(*pairs, strict=True) if pairs else ((), ())
        varied = len(set(lengths)) > 1 and len(set(values)) > 1
        return float(spearmanr(lengths, values).statistic) if varied else 0.0


@dataclass(frozen=True)
class Verdicts:
    """What `compare_answers` returns. winners: "A", "B", "平" or None (failed) for each row."""

    judge: str
    winners: list[str | None]
    swaps: int  # rows judged in both orders
    consistent: int  # of these, the rows on which both orders agree
    failures: list[str]
    longer: int  # decided rows that the longer answer won
    shorter: int  # decided rows that the shorter answer won

    @property
    def judged(self) -> int:
        return len(self.winners) - self.winners.count(None)

    @property
    def points(self) -> list[float]:
        """Per judged row 1 for a win of A, 0 for one of B, a half for a tie."""
        return [{"A": 1.0, "平": 0.5, "B": 0.0}[winner] for winner in self.winners if winner]

    @property
    def win_rate(self) -> float:
        return float(np.mean(self.points)) if self.points else float("nan")

    @property
    def interval(self) -> Interval:
        return mean_interval(self.points)

    @property
    def swap_consistency(self) -> float:
        return self.consistent / self.swaps if self.swaps else float("nan")

    @property
    def longer_won(self) -> tuple[float, float]:
        """The share of decided rows that the longer answer won, and the p-value of the sign test against one half."""
        from scipy.stats import binomtest

        n = self.longer + self.shorter
        return (self.longer / n, float(binomtest(self.longer, n).pvalue)) if n else (float("nan"), 1.0)


def mark_answers(
    judge: Judge,
    rows: Sequence[Asked],
    answers: Sequence[str | None],
    file: str | Path | None = None,
    progress: Progress = lambda done, total: None,
) -> Marks:
    """A mark for each answer; an empty answer has the lowest without asking. file: where judgements are kept.

    Raises `CourseError` when the judge does not answer at all.
    """
    texts = [_text(answer) for answer in _same_length(rows, answers)]
    questions = {
        _key(judge, "mark", row, text): (lambda row=row, text=text: judge.mark(row, text))
        for row, text in zip(rows, texts, strict=True)
        if text
    }
    found, failures = _ask_all(questions, file, progress)
    values = [
        found.get(_key(judge, "mark", row, text)) if text else float(LOWEST)
        for row, text in zip(rows, texts, strict=True)
    ]
    return Marks(judge.name, values, texts.count(""), failures)


def compare_answers(
    judge: Judge,
    rows: Sequence[Asked],
    a: Sequence[str | None],
    b: Sequence[str | None],
    file: str | Path | None = None,
    progress: Progress = lambda done, total: None,
) -> Verdicts:
    """Which of two answers is better, row by row, asked in both orders; where the orders disagree it is a tie.

    An empty answer loses to one that is not, and equal answers tie, without asking. Raises `CourseError` when the judge
    does not answer at all.
    """
    pairs = list(zip(map(_text, _same_length(rows, a)), map(_text, _same_length(rows, b)), strict=True))
    questions = {
        _key(judge, "prefer", row, *order): (lambda row=row, order=order: judge.prefer(row, *order))
        for row, pair in zip(rows, pairs, strict=True)
        for order in (pair, pair[::-1])
        if all(pair) and pair[0] != pair[1]
    }
    found, failures = _ask_all(questions, file, progress)
    winners, swaps, consistent = [], 0, 0
    for row, (one, two) in zip(rows, pairs, strict=True):
        if not (one and two) or one == two:
            winners.append("平" if bool(one) == bool(two) else "A" if one else "B")
            continue
        forth, back = (found.get(_key(judge, "prefer", row, *order)) for order in ((one, two), (two, one)))
        if forth is None or back is None:
            winners.append(None)
            continue
        said = ({"first": "A", "second": "B"}.get(forth, "平"), {"first": "B", "second": "A"}.get(back, "平"))
        swaps, consistent = swaps + 1, consistent + (said[0] == said[1])
        winners.append(said[0] if said[0] == said[1] else "平")
    longer = [len(one) > len(two) for (one, two), w in zip(pairs, winners, strict=True) if _told(one, two, w)]
    won = [w == "A" for (one, two), w in zip(pairs, winners, strict=True) if _told(one, two, w)]
    by_longer = sum(x == y for x, y in zip(longer, won, strict=True))
    return Verdicts(judge.name, winners, swaps, consistent, failures, by_longer, len(won) - by_longer)


def _told(one: str, two: str, winner: str | None) -> bool:
    """Whether a row says anything of the judge's taste for length."""
    return winner in ("A", "B") and bool(one and two) and len(one) != len(two)


def _ask_all(questions: dict[str, Callable], file, progress: Progress) -> tuple[dict, list[str]]:
    """key -> judgement for all that were answered, and the reasons of those that were not. What `progress` raises stops
    it: what has been asked is still kept, the rest is not asked.
    """
    if file:
        Path(file).parent.mkdir(parents=True, exist_ok=True)
        mend(file)
    found = {line["key"]: line["said"] for line in read_lines(file)} if file else {}
    left, failures, keeping = [key for key in questions if key not in found], [], Lock()
    known = len(questions) - len(left)

    def ask(key: str) -> CourseError | None:
        try:
            said = questions[key]()
        except CourseError as error:
            return error
        with keeping:
            if file:
                append(file, [{"key": key, "said": said}])
            found[key] = said
        return None

    with ThreadPoolExecutor(AT_ONCE) as pool:
        try:
            for done, error in enumerate(pool.map(ask, left), 1):
                failures += [str(error)] if error else []
                if error and done == len(failures) == HOPELESS:
                    raise error
                progress(known + done, len(questions))
        except BaseException:
            pool.shutdown(cancel_futures=True)
            raise
    return found, failures


def _key(judge: Judge, kind: str, row: Asked, *answers: str) -> str:
    content = json.dumps([judge.key, kind, row.question, row.reference, *answers], ensure_ascii=False)
    return hashlib.sha256(content.encode()).hexdigest()[:24]


def _text(answer: str | None) -> str:
    return answer.strip() if isinstance(answer, str) else ""


def _same_length(rows: Sequence[Asked], answers: Sequence[str | None]) -> Sequence[str | None]:
    if len(rows) != len(answers) or not len(rows):
        raise DataError(f"题目有 {len(rows)} 条，回答有 {len(answers)} 条；请让两者一一对应，至少一条。")
    return answers
