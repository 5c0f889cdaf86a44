"""How good extracted pairs are, by a stated rule, against facts that a person wrote down.

A gold fact is covered when the answer of some pair of at most 120 characters holds all its `keys` and the pair's span
overlaps the fact's evidence. Blanks and punctuation do not count; a key that stands only in the question does not help.

A pair is correct when its answer is text of its span and the question asks and does not hold the answer; and either
the span overlaps the evidence of a gold fact, or further checks pass: the question names something of the document,
the answer is not its whole paragraph, and its type fits the question word (多少 a number, 谁 no number, 什么时候 a
time). This is a lower bar than a teacher's: read the pairs as well.
"""

import json
import re
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from course_utils.data.extract import ASKS, LONGEST, Pair, subject_of
from course_utils.data.outline import Document
from course_utils.errors import DataError

TYPES = (
    (re.compile(r"多少|(?<!哪)几[^乎]|多大|多长|多久"), re.compile(r"[\d一二两三四五六七八九十百半]")),
    (re.compile(r"什么时候|几点|哪年|哪天"), re.compile(r"\d|[年月日周天时]|前|后")),
    (re.compile(r"谁"), re.compile(r"[^\W\d]{2,}")),
)


@dataclass(frozen=True)
class Fact:
    """A line of the gold file, see datasets/qa_extraction/GUIDE.md."""

    document: str
    kind: str
    question: str
    answer: str
    evidence: str
    keys: list[str]


@dataclass
class Score:
    """correct, covered: shares from 0 to 1. wrong: pairs with the reason; missed: facts that no pair answers."""

    pairs: int
    correct: float
    facts: int
    covered: float
    wrong: list[tuple[Pair, str]] = field(default_factory=list)
    missed: list[Fact] = field(default_factory=list)

    def summary(self) -> str:
        return f"问答对 {self.pairs} 个，按规则正确 {self.correct:.1%}；标准事实 {self.facts} 个，覆盖 {self.covered:.1%}。"


def read_gold(path: str | Path) -> dict[str, list[Fact]]:
    """document -> its facts. Raises `DataError` naming the line."""
    facts = defaultdict(list)
    names = Fact.__dataclass_fields__
    try:
        lines = Path(path).read_text("utf-8").splitlines()
    except OSError as error:
        raise DataError(f"打不开 {path}（{error.strerror}）。请检查路径。") from None
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        try:
            row = json.loads(line)
            fact = Fact(**{name: row[name] for name in names})
        except (ValueError, KeyError, TypeError) as error:
            raise DataError(f"{path} 第 {number} 行不是标准事实（{error}）。请按 GUIDE.md 修改。") from None
        facts[fact.document].append(fact)
    return dict(facts)


def score(pairs: Sequence[Pair], facts: Sequence[Fact], document: Document) -> Score:
    """Both shares for the pairs of one document; `total` adds documents up."""
    if not facts:
        raise DataError(f"标准答案里没有 {document.source} 的事实。请检查文件名。")
    places = _squeezed(document.text)
    spans = [_evidence(fact.evidence, places) for fact in facts]
    wrong = [(pair, reason) for pair in pairs if (reason := _fault(pair, document, spans))]
    missed = [fact for fact, span in zip(facts, spans, strict=True) if not any(_covers(p, fact, span) for p in pairs)]
    correct = 1 - len(wrong) / len(pairs) if pairs else 0.0
    return Score(len(pairs), correct, len(facts), 1 - len(missed) / len(facts), wrong, missed)


def total(scores: Sequence[Score]) -> Score:
    """The scores of several documents as one, each pair and each fact counting once."""
    wrong = [item for s in scores for item in s.wrong]
    missed = [item for s in scores for item in s.missed]
    pairs, facts = sum(s.pairs for s in scores), sum(s.facts for s in scores)
    return Score(pairs, 1 - len(wrong) / max(pairs, 1), facts, 1 - len(missed) / max(facts, 1), wrong, missed)


def _squeeze(text: str) -> str:
    return re.sub(r"[\W_]", "", text)


def _squeezed(text: str) -> tuple[str, list[int]]:
    """The text without blanks and punctuation, and where each of its characters stands."""
    kept = [(i, c) for i, c in enumerate(text) if c.isalnum()]
    return "".join(c for _, c in kept), [i for i, _ in kept]


def _evidence(evidence: str, places: tuple[str, list[int]]) -> tuple[int, int] | None:
    text, positions = places
    needle = "".join(c for c in evidence if c.isalnum())
    at = text.find(needle)
    return None if at < 0 else (positions[at], positions[at + len(needle) - 1] + 1)


def _overlap(pair: Pair, span: tuple[int, int] | None) -> bool:
    return span is not None and pair.start < span[1] and span[0] < pair.end


def _covers(pair: Pair, fact: Fact, span: tuple[int, int] | None) -> bool:
    answer = _squeeze(pair.answer)
    return len(pair.answer) <= LONGEST and _overlap(pair, span) and all(_squeeze(key) in answer for key in fact.keys)


def _fault(pair: Pair, document: Document, spans: Sequence[tuple[int, int] | None]) -> str:
    evidence, answer = document.text[pair.start : pair.end], _squeeze(pair.answer)
    clauses = [_squeeze(part) for part in re.split(r"[；。]", pair.answer)]
    if not answer or not all(part in _squeeze(evidence) for part in clauses):
        return "答案不是原文"
    if not ASKS.search(pair.question):
        return "不是问题"
    if answer in _squeeze(pair.question):
        return "答案就在问题里"
    for word, kind in TYPES:
        if word.search(pair.question) and not kind.search(pair.answer):
            return "答案与疑问词不合"
    if any(_overlap(pair, span) for span in spans):
        return ""
    block = next((b for b in document.blocks if b.start <= pair.start < b.end and b.kind == "段落"), None)
    if block and len(answer) > 40 and answer == _squeeze(document.text[block.start : block.end]):
        return "答案是整段"
    title = subject_of(document.title)[0]
    known = [title, *(heading for b in document.blocks for heading in b.path[-1:])]
    return "" if any(name and name in pair.question for name in known) or not title else "问题没有主语"
