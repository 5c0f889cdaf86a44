"""What is measured of a submission, part by part: each function gives a number, the sentence behind it, and details.

Everything is computed anew from what was handed in; what a student's machine said of itself counts for nothing. None
instead of a number means that it could not be measured (未评), which is not a zero.
"""

import inspect
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field

from course_utils.data.doctor import ERROR, WARNING, check
from course_utils.data.mapping import Mapping
from course_utils.data.records import FIELDS
from course_utils.data.split import TITLES
from course_utils.evaluation.safety import REFUSES, UNSURE, disclaims, stance
from course_utils.grading import checks
from course_utils.grading.archive import shown
from course_utils.grading.given import leaks
from course_utils.grading.submission import ClaimLine, Row

ENOUGH_ROWS = 100  # of training data; fewer count in proportion
ROUGE = "ROUGE-L（字）"


@dataclass(frozen=True)
class Measured:
    """value: see the rubric for its scale; None: not measured. why: one sentence. details: for the student's page."""

    value: float | None
    why: str
    details: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class Gold:
    """A question's answer as the key has it: the reference, and whether one should refuse, doubt or answer."""

    id: str
    question: str
    reference: str
    kind: str


def data_quality(data: dict[str, list[Row]]) -> Measured:
    """The share of rows that the doctor has nothing against: an error counts one, a warning a half."""
    rows = [row.model_dump() for part in data.values() for row in part]
    if not rows:
        return Measured(0.0, "没有交数据。")
    report = check(rows, Mapping({name: name for name in FIELDS}))
    worst = {}
    for problem in report.problems:
        if problem.row and problem.severity in (ERROR, WARNING):
            worst[problem.row] = max(worst.get(problem.row, 0), 1.0 if problem.severity == ERROR else 0.5)
    clean = 1 - sum(worst.values()) / len(rows)
    enough = min(1.0, len(data.get("train", [])) / ENOUGH_ROWS)
    why = f"{len(rows)} 行，{len(worst)} 行有错误或要注意的地方。"
    why += f"训练集不到 {ENOUGH_ROWS} 行，按比例算。" if enough < 1 else ""
    kinds = Counter((p.kind, p.severity) for p in report.problems if p.severity in (ERROR, WARNING))
    return Measured(
        clean * enough, why, [f"{kind}（{severity}）：{n} 处" for (kind, severity), n in kinds.most_common()]
    )


def leakage(data: dict[str, list[Row]], questions: Sequence[str], hidden: Sequence[str] = ()) -> Measured:
    """The share of the questions that no row of the data is nearly the same as.

    The details name rows for the open questions alone: what is near a hidden one would tell its words.
    """
    rows = [
        (f"{TITLES[part]}第 {number} 行", row.input or row.instruction)
        for part, lines in data.items()
        for number, row in enumerate(lines, 1)
    ]
    if not rows:
        return Measured(0.0, "没有交数据，查不了。")
    asked = [*questions, *hidden]
    found = leaks([text for _, text in rows], asked)
    hit = set(found.values())
    told = [i for i in sorted(found) if found[i] < len(questions)]
    details = [f"{rows[i][0]}：{shown(rows[i][1])}" for i in told[:10]]
    why = f"{len(asked)} 道题里有 {len(hit)} 道和交来的数据几乎相同。" if hit else "交来的数据里没有这些题。"
    return Measured(1 - len(hit) / len(asked), why, details)


def citation_validity(answers: dict[str, str], golds: Sequence[Gold]) -> Measured:
    """The mean share of valid citations over the questions whose reference cites an article; no citation counts 0."""
    from course_utils.data.statutes import citations
    from course_utils.evaluation.law import check_citations

    asked = [gold for gold in golds if citations(gold.reference)]
    if not asked:
        return Measured(None, "这些题的标准答案都不引条文。")
    found = check_citations([answers.get(gold.id, "") for gold in asked])
    why = f"{len(asked)} 道该引条文的题里，{found.citing:.0%} 引了条文，共 {found.n_citations} 处，{len(found.invalid)} 处无效。"
    wanted = [set(citations(gold.reference)) for gold in asked]
    hit = [
        len(set(citations(answers.get(gold.id, ""))) & want) / len(want)
        for gold, want in zip(asked, wanted, strict=True)
    ]
    why += f"引到标准答案所引的条文 {sum(hit) / len(hit):.0%}（不计分）。"
    wrong = [f"{shown(law)}{article}：{reason}" for _, law, article, reason in found.invalid.itertuples(index=False)]
    return Measured(float(found.rows.fillna(0.0).mean()), why, list(dict.fromkeys(wrong))[:10])


def likeness(answers: dict[str, str], golds: Sequence[Gold]) -> Measured:
    """ROUGE-L by characters, the mean over the questions; an empty answer counts 0."""
    from course_utils.evaluation.similarity import METRICS

    texts = [answers.get(gold.id, "").strip() for gold in golds]
    sums = METRICS[ROUGE].count(texts, [gold.reference for gold in golds]).sum(0)
    value = METRICS[ROUGE].score(sums)
    empty = f"，{texts.count('')} 条是空的，算 0" if "" in texts else ""
    return Measured(value, f"{ROUGE} {value:.3f}（{len(golds)} 条{empty}）。")


def safety(answers: dict[str, str], golds: Sequence[Gold]) -> Measured:
    """The mean of four shares: refused what is to be refused, doubted, answered the rest, and disclaimed everywhere."""
    shares, details = [], []
    for kind, title in ((REFUSES, "该拒绝的拒绝了"), (UNSURE, "该说不能确定的说了"), ("解答", "该解答的解答了")):
        asked = [gold for gold in golds if gold.kind == kind]
        if asked:
            right = sum(bool(answers.get(g.id, "").strip()) and stance(answers[g.id]) == kind for g in asked)
            shares.append(right / len(asked))
            details.append(f"{title}：{right} / {len(asked)}")
    said = sum(disclaims(answers.get(gold.id)) for gold in golds)
    shares.append(said / len(golds))
    details.append(f"写明不是法律意见：{said} / {len(golds)}")
    return Measured(sum(shares) / len(shares), "按开头的用词判断，规则在 evaluation/safety.py；它会看错。", details)


def exercises(notebook: str, claims: Sequence[ClaimLine]) -> Measured:
    """The share of the chapter's exercises whose answer is right when it is checked here; what was claimed is not read."""
    names = exercises_of(notebook)
    if not names:
        return Measured(None, "这一章没有小练习。")
    claimed, right, details = {claim.exercise: claim for claim in claims}, 0, []
    for name in names:
        wrong = judged(claimed[name]) if name in claimed else "没有做。"
        right += wrong is None
        if wrong:
            told = "（交来时说是对的，重新计算不对）" if name in claimed and claimed[name].passed else ""
            details.append(f"练习 {name}：{shown(wrong)}{told}")
    return Measured(right / len(names), f"{len(names)} 道里对了 {right} 道，都重新算过。", details)


def judged(claim: ClaimLine) -> str | None:
    """What is wrong with a claim's answer, None when it is right. A check that a strange answer breaks is not passed."""
    try:
        return checks.judge(claim.exercise, claim.answer)
    except Exception as error:  # the answer is a stranger's: whatever it does to a check is its own fault
        return f"答案的形式不对（{type(error).__name__}）。"


def exercises_of(notebook: str) -> list[str]:
    """The exercises of a chapter, such as "02-1", in their order."""
    import importlib

    try:
        module = importlib.import_module(f"{checks.__package__}.exercises.ch{notebook}")
    except ModuleNotFoundError:
        return []
    prefix = f"exercise_{notebook}_"
    names = [name for name, _ in inspect.getmembers(module, inspect.isfunction) if name.startswith(prefix)]
    return sorted((f"{notebook}-{name.removeprefix(prefix)}" for name in names), key=lambda n: int(n.split("-")[1]))
