"""Do the articles that an answer cites exist, and are they in force? Law by law, from data/statutes.py."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date

import numpy as np
import pandas as pd

from course_utils.data.statutes import Article, articles, citations, find
from course_utils.errors import DataError
from course_utils.evaluation.resample import Interval, mean_interval

NAME = "法条有效率"


@dataclass(frozen=True)
class Citations:
    """What `check_citations` returns."""

    valid: float | None  # share of the citations that exist and are in force; None when there is none
    interval: Interval  # 95 %, of the mean over answers that cite
    citing: float  # share of the answers that cite at least one article
    n: int  # answers
    n_citations: int  # each article counts once per answer
    rows: pd.Series  # each answer's own share of valid citations; NaN where it cites nothing
    invalid: pd.DataFrame  # 行 (1 is the first), 法律, 条文, 原因


def check_citations(answers: Sequence[str | None], day: date | None = None) -> Citations:
    """Look up every article that the answers cite, as the laws stand on `day` (today).

    Valid means that the article exists and is in force, not that it says what the answer claims. An answer without a
    citation lowers `citing`, not `valid`. The library holds laws of the National People's Congress: a citation of a
    regulation or a judicial interpretation is reported as 不在库里 and counts as invalid, since nobody checked it.
    Raises `DataError` when there are no answers, or the library is not installed.
    """
    if not len(answers):
        raise DataError("没有可以检查的回答；请检查文件是否为空。")
    shares, invalid, n_citations = [], [], 0
    for number, answer in enumerate(answers, 1):
        cited = citations(answer) if isinstance(answer, str) else []
        wrong = [(law, article) for law, article in cited if find(law, article, day) is None]
        invalid += [(number, law, article, _reason(law, day)) for law, article in wrong]
        shares.append(1 - len(wrong) / len(cited) if cited else np.nan)
        n_citations += len(cited)
    rows = pd.Series(shares, name=NAME, dtype=float)
    return Citations(
        valid=1 - len(invalid) / n_citations if n_citations else None,
        interval=mean_interval(rows.dropna()),
        citing=float(rows.notna().mean()),
        n=len(rows),
        n_citations=n_citations,
        rows=rows,
        invalid=pd.DataFrame(invalid, columns=["行", "法律", "条文", "原因"]),
    )


def article_recall(answer: str | None, reference: str) -> float | None:
    """The share of the articles that the reference cites which the answer cites too; None when it cites none."""
    wanted = set(citations(reference))
    return len(wanted & set(citations(answer or ""))) / len(wanted) if wanted else None


def law_scores(answers: Sequence[str | None], references: Sequence[str]) -> dict[str, float | None]:
    """How a model cites, by Chinese names: how often, whether what it cites exists, and whether it is the right article.

    That an article exists says little: the Civil Code has more than 1,200, and most numbers below are one of them.
    """
    found = check_citations(answers)
    each = [article_recall(answer, reference) for answer, reference in zip(answers, references, strict=True)]
    known = [value for value in each if value is not None]
    return {
        "引了条文的回答": found.citing,
        "引用（处）": found.n_citations,
        "存在并现行": found.valid,
        "引到该引的": float(np.mean(known)) if known else None,
    }


def open_book(question: str, given: Sequence[Article], longest: int = 150) -> str:
    """A question with the articles to answer it by in front, each cut after `longest` characters."""
    texts = [f"《{article.law}》{article.number}：{article.text[:longest]}" for article in given]
    return "\n".join(["参考条文：", *texts, f"提问：{question}"])


def _reason(law: str, day: date | None) -> str:
    return "现行文本里没有这一条" if articles(law, day) else "不在库里：没有这部法律，已经废止，或者是法规、司法解释"
