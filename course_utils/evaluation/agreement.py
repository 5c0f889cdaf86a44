"""How far a judge can be trusted, before it is: it is shown answers of which we know the better one.

The calibration set has for each question a reference, a good answer in other words, and an answer with one flaw.
"""

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Literal

import pandas as pd

from course_utils import paths
from course_utils.data.formats import read_rows
from course_utils.data.records import atomic_writer
from course_utils.errors import CourseError
from course_utils.evaluation.judge_local import CALIBRATION, asked, text_judge
from course_utils.evaluation.judging import Judge, Progress, compare_answers, mark_answers

LEAST = 0.75  # agreement below which a judge is refused
MOST_FAILURES = 0.2  # of the rows
How = Literal["pairs", "marks"]


class JudgeRefused(CourseError):
    """The judge agrees too little with what is known, or nobody has looked."""


@dataclass(frozen=True)
class Agreement:
    """What `calibrate` returns, as it is kept in the workspace. how: whether pairs or marks were asked for.

    agreement: share of the judged rows on which the good answer wins: in both orders, or by the higher mark. A tie is
    no agreement, since every bad answer has a flaw. interval: 95 % (Wilson 1927). by_flaw: flaw -> (agreed, judged).
    """

    judge: str
    what: str
    how: How
    agreement: float
    interval: tuple[float, float]
    n: int
    n_failed: int
    by_flaw: dict[str, tuple[int, int]]
    swap_consistency: float | None
    longer_won: float | None  # of decided rows; the set is balanced, so an impartial judge is near a half

    @property
    def passed(self) -> bool:
        return self.n > 0 and self.agreement >= LEAST and self.n_failed <= MOST_FAILURES * (self.n + self.n_failed)

    def table(self) -> pd.DataFrame:
        """A row per flaw: 毛病, 一致, 共, 一致率, 下限, 上限; the first row is all of them."""
        agreed = sum(a for a, _ in self.by_flaw.values())
        lines = [("全部", agreed, self.n), *((flaw, a, n) for flaw, (a, n) in self.by_flaw.items())]
        return pd.DataFrame(
            [(flaw, a, n, a / n if n else None, *_wilson(a, n)) for flaw, a, n in lines],
            columns=["毛病", "一致", "共", "一致率", "下限", "上限"],
        )

    def text(self) -> str:
        low, high = self.interval
        failed = f"，另有 {self.n_failed} 行没有判出来" if self.n_failed else ""
        swaps = f"，交换顺序后结论不变的占 {self.swap_consistency:.0%}" if self.swap_consistency is not None else ""
        end = "可以用。" if self.passed else f"低于 {LEAST:.0%} 或失败太多，不采用；请换一个裁判，或者请人来评。"
        return f"{self.judge}：与校准集一致 {self.agreement:.0%}（95% 区间 {low:.0%} 至 {high:.0%}，{self.n} 行{failed}）{swaps}。{end}"


def calibrate(
    judge: Judge,
    rows: Sequence[dict] | None = None,
    how: How = "pairs",
    file: str | Path | None = None,
    progress: Progress = lambda done, total: None,
) -> Agreement:
    """Ask the judge about the calibration set, and keep its agreement in the workspace.

    rows: `{question, reference, good, bad, flaw}`; by default the whole set, without what the judge was trained on.
    Raises `CourseError` when the judge does not answer at all.
    """
    seen = getattr(judge, "trained_on", frozenset())
    rows = [row for row in rows or read_rows(CALIBRATION) if row["question"] not in seen]
    questions = [asked(row) for row in rows]
    good, bad = ([row[kind] for row in rows] for kind in ("good", "bad"))
    if how == "pairs":
        verdicts = compare_answers(judge, questions, good, bad, file, progress)
        agreed = [None if winner is None else winner == "A" for winner in verdicts.winners]
        extra = {"swap_consistency": verdicts.swap_consistency, "longer_won": verdicts.longer_won[0]}
    else:
        marks = mark_answers(judge, questions * 2, good + bad, file, progress).values
        pairs = zip(marks[: len(rows)], marks[len(rows) :], strict=True)
        agreed = [None if None in pair else pair[0] > pair[1] for pair in pairs]
        extra = {"swap_consistency": None, "longer_won": None}
    found = _agreement(judge, how, [row["flaw"] for row in rows], agreed, extra)
    with atomic_writer(_file(judge, how)) as out:
        json.dump(asdict(found), out, ensure_ascii=False, indent=1)
    return found


def known_agreement(judge: Judge, how: How = "pairs") -> Agreement | None:
    """What `calibrate` found for this judge in this workspace."""
    path = _file(judge, how)
    if not path.exists():
        return None
    facts = json.loads(path.read_text(encoding="utf-8"))
    return Agreement(
        **facts | {"interval": tuple(facts["interval"]), "by_flaw": {f: tuple(v) for f, v in facts["by_flaw"].items()}}
    )


def admit(judge: Judge, how: How = "pairs") -> Agreement:
    """The agreement of a judge that may be used. Raises `JudgeRefused` with the reason."""
    found = known_agreement(judge, how)
    if found is None:
        raise JudgeRefused(f"{judge.name} 还没有校准，分数不能用。请先运行 calibrate(judge)。")
    if not found.passed:
        raise JudgeRefused(found.text())
    return found


def offline_judge() -> tuple[Judge, Agreement]:
    """The judge that comes with the course and needs no network, and its agreement on rows that it was not fitted to.

    Raises `JudgeRefused` if it does not reach what is asked of every judge.
    """
    judge = text_judge()
    for how in ("pairs", "marks"):
        if known_agreement(judge, how) is None:
            calibrate(judge, how=how)
    return judge, admit(judge)


def _agreement(judge: Judge, how: How, flaws: list[str], agreed: list[bool | None], extra: dict) -> Agreement:
    known = [(flaw, yes) for flaw, yes in zip(flaws, agreed, strict=True) if yes is not None]
    by_flaw = {
        flaw: (sum(yes for f, yes in known if f == flaw), sum(f == flaw for f, _ in known))
        for flaw in dict.fromkeys(flaws)
    }
    right = sum(yes for _, yes in known)
    share = right / len(known) if known else 0.0
    failed = agreed.count(None)
    return Agreement(
        judge.name, judge.what, how, share, _wilson(right, len(known)), len(known), failed, by_flaw, **extra
    )


def _wilson(right: int, n: int) -> tuple[float, float]:
    from scipy.stats import binomtest

    if not n:
        return 0.0, 1.0
    found = binomtest(right, n).proportion_ci(method="wilson")
    return float(found.low), float(found.high)


def _file(judge: Judge, how: How) -> Path:
    return paths.workspace() / "judges" / f"{judge.key}-{how}.json"
