"""More rows from the rows there are: each new one says the same in other words, is checked, and knows its source.

Augmentation helps where rows are few, and can do harm where they are many; benchmarks/augmentation.py measures both.
Augment the training part only, or split afterwards with `split_dataset`, which keeps a row and its copies together.
"""

import html
import statistics
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field, replace
from random import Random

import pandas as pd

from course_utils.data.augment_checks import QUALITIES, Checks
from course_utils.data.augment_llm import BY_MODEL, FAILED, rewrite_all
from course_utils.data.augment_ops import OPERATORS
from course_utils.data.records import Record, to_records
from course_utils.errors import ConfigError, DataError

MADE = "增强："  # `made_by` of a new row begins so
NOTHING = "没有可改的地方"
TYPOS, INSTRUCTION = "错别字", "指令改写"
BALANCE = "多于这个标签应有的比例"
CANDIDATES = 4  # tries for each row that is wanted


@dataclass(frozen=True)
class Augmentation:
    """rows: all rows for `DataSet.create`, the given ones first; each with `source_row` and `made_by`.

    refused: reason -> how many candidates it kept out. short: number of a source -> how many of its rows are missing.
    examples: a few candidates of each outcome, with source, operators and the reason of a refusal.
    """

    rows: list[dict]
    refused: dict[str, int]
    short: dict[int, int]
    examples: pd.DataFrame
    wanted: int

    @property
    def new(self) -> list[dict]:
        return [row for row in self.rows if str(row["made_by"]).startswith(MADE)]

    def summary(self) -> str:
        """A few Chinese sentences: how many rows were made, how many are missing and why."""
        made = self.wanted - sum(self.short.values())
        lines = [f"想要新增 {self.wanted} 行，新增了 {made} 行，现在共 {len(self.rows)} 行。"]
        if self.short:
            lines.append(f"有 {len(self.short)} 行原文没有增强够，共差 {sum(self.short.values())} 行。")
        if self.refused:
            lines.append("被拒绝的候选：" + "，".join(f"{reason} {n} 个" for reason, n in self.refused.items()) + "。")
        if self.short:
            lines.append("短句和套话能改的地方少。可以放宽质量、降低倍数，或者接入大模型再试。")
        return "\n".join(lines)


@dataclass(frozen=True)
class Variant:
    """One candidate for one record. reasons: why it was refused; none when it was accepted.

    likeness: Jaccard similarity of its pairs of characters with the source's, 0 to 1.
    """

    record: Record
    operators: tuple[str, ...]
    likeness: float
    reasons: list[str] = field(default_factory=list)

    @property
    def accepted(self) -> bool:
        return not self.reasons


def augment(
    rows: Sequence[dict | Record],
    multiplier: int = 1,
    quality: str = "标准",
    seed: int = 42,
    operators: Sequence[str] | None = None,
    ask: Callable | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> Augmentation:
    """Make up to `multiplier` (1 to 10) new rows from each row; the output is never touched.

    rows: records, or dicts with the five fields and more, which new rows inherit. Rows that were made by augmentation
    are kept, and not augmented again: each step away adds to the drift.
    quality: 宽松, 标准 or 严格, see `QUALITIES`. operators: some of `OPERATORS`; all that the quality allows.
    ask: `course_utils.llm.ask_json`; a language model then writes first, the offline operators fill up. What it writes
    is checked like the rest.
    progress: called with the rows made and the rows wanted.
    For label tasks no label may gain much more than the others (see `_level`): texts of one label are often easier to
    say otherwise, and a classifier would learn the new balance. What falls short is told, never padded. Raises `ConfigError` and `DataError`.
    """
    if not isinstance(multiplier, int) or not 1 <= multiplier <= 10:
        raise ConfigError(f"增强倍数是 {multiplier}，要在 1 到 10 之间。")
    chosen = _operators(operators, quality)
    plain = [asdict(row) if isinstance(row, Record) else dict(row) for row in rows]
    if not plain:
        raise DataError("一行数据也没有，没有可以增强的。请先选好数据集。")
    records = to_records(plain)
    given = [
        _stored(row, record) | {"source_row": row.get("source_row", number), "made_by": row.get("made_by", "import")}
        for number, (row, record) in enumerate(zip(plain, records, strict=True), 1)
    ]
    sources = [i for i, row in enumerate(given) if not str(row["made_by"]).startswith(MADE)]
    checks = Checks(records, quality, only_instruction=chosen == [INSTRUCTION])
    work = _Work(records, checks, chosen, seed, ask)
    made = work.fill(sources, multiplier, progress)
    if checks.labels:
        work.refused[BALANCE] += _level(made, [record.output for record in records])
    new = [
        given[i] | asdict(variant.record) | {"made_by": MADE + "、".join(variant.operators)}
        for i in sources
        for variant in made[i]
    ]
    short = {i + 1: multiplier - len(made[i]) for i in sources if len(made[i]) < multiplier}
    return Augmentation(
        given + new, dict((+work.refused).most_common()), short, pd.DataFrame(work.shown), multiplier * len(sources)
    )


def variants(
    record: Record,
    n: int = 4,
    quality: str = "标准",
    seed: int = 42,
    operators: Sequence[str] | None = None,
    ask: Callable | None = None,
    among: Sequence[Record] = (),
) -> list[Variant]:
    """Up to `n` different candidates for one record, side by side: accepted, or refused with the reasons.

    among: the other rows of the data set; with them duplicates are noticed, and for label tasks the label is checked.
    """
    chosen = _operators(operators, quality)
    checks = Checks([record, *among], quality, only_instruction=chosen == [INSTRUCTION])
    work = _Work([record, *among], checks, chosen, seed, ask)
    work.consult([0], n)
    found: dict[str, Variant] = {}
    accepted: list[Record] = []
    for _ in range(CANDIDATES * n):
        if candidate := work.candidate(0):
            changed, names = candidate
            if changed.prompt in found:
                continue
            [reasons] = checks.reasons([(0, changed, accepted)])
            found[changed.prompt] = Variant(changed, names, checks.likeness(record, changed), reasons)
            if not reasons:
                accepted.append(changed)
        if len(found) == n:
            break
    return list(found.values())


def compare_html(record: Record, shown: Sequence[Variant]) -> str:
    """The source and its variants as an HTML table, what differs marked with <ins> and <del>."""
    from course_utils.data.polish import marked

    lines = [f"<tr><th>原文</th><td>{html.escape(record.prompt)}</td><td></td></tr>"]
    for variant in shown:
        verdict = "采用" if variant.accepted else "拒绝：" + html.escape("、".join(variant.reasons))
        cells = f"<td>{marked(record.prompt, variant.record.prompt)}</td><td>{verdict}</td>"
        lines.append(f"<tr><th>{html.escape('、'.join(variant.operators))}</th>{cells}</tr>")
    return f"<table>{''.join(lines)}</table>"


class _Work:
    """The making of candidates for a list of records, and the account of what became of them."""

    def __init__(self, records: list[Record], checks: Checks, operators: list[str], seed: int, ask: Callable | None):
        self.records, self.checks, self.operators, self.ask = records, checks, operators, ask
        self.rngs = [Random(f"{seed} {i}") for i in range(len(records))]  # a row's luck does not hang on the others
        self.written: dict[int, list[str]] = {}  # source -> what the language model wrote and nobody used yet
        self.refused: Counter = Counter()
        self.shown: list[dict] = []

    def fill(self, sources: list[int], multiplier: int, progress: Callable | None) -> dict[int, list[Variant]]:
        """Rounds of one candidate for each source that lacks rows, checked together."""
        self.consult(sources, multiplier)
        made: dict[int, list[Variant]] = {i: [] for i in sources}
        open_sources = list(sources)
        for _ in range(CANDIDATES * multiplier):
            tried, stuck = [], set()
            for i in open_sources:
                if candidate := self.candidate(i):
                    tried.append((i, *candidate))
                else:
                    stuck.add(i)
                    self.refused[NOTHING] += 1
            earlier = {i: [variant.record for variant in made[i]] for i in open_sources}
            verdicts = self.checks.reasons([(i, record, earlier[i]) for i, record, _ in tried])
            for (i, record, names), reasons in zip(tried, verdicts, strict=True):
                variant = Variant(record, names, self.checks.likeness(self.records[i], record), reasons)
                self._note(i, variant)
                if variant.accepted:
                    made[i].append(variant)
            if progress:
                progress(sum(map(len, made.values())), multiplier * len(sources))
            open_sources = [i for i in open_sources if i not in stuck and len(made[i]) < multiplier]
            if not open_sources:
                break
        return made

    def consult(self, sources: list[int], n: int) -> None:
        """Have the language model, if there is one, write `n` texts and a spare one for each source."""
        if self.ask:
            found = rewrite_all([self.records[i] for i in sources], n + 1, self.ask)
            self.written = dict(zip(sources, found, strict=True))
            self.refused[FAILED] += sum(not texts for texts in found)

    def candidate(self, i: int) -> tuple[Record, tuple[str, ...]] | None:
        """A changed copy of record i and the names of the operators that changed it; None: nothing can be changed."""
        record, rng = self.records[i], self.rngs[i]
        if self.written.get(i):
            return _with_focus(record, self.written[i].pop()), (BY_MODEL,)
        focus = "input" if record.input else "instruction"
        ways = [name for name in self.operators if name not in (INSTRUCTION, TYPOS)]
        rng.shuffle(ways)
        most = 3 if len(getattr(record, focus)) > 60 else rng.randint(1, 3)  # a long text with one new word is no news
        names: list[str] = []
        changed = record
        for name in ways:
            if len(names) < most:
                changed = _apply(changed, name, focus, rng, names)
        if TYPOS in self.operators and record.input and (not names or rng.random() < 0.15):
            changed = _apply(changed, TYPOS, "input", rng, names)
        if INSTRUCTION in self.operators and (self.operators == [INSTRUCTION] or (record.input and rng.random() < 0.5)):
            changed = _apply(changed, INSTRUCTION, "instruction", rng, names)
        return (changed, tuple(names)) if names else None

    def _note(self, i: int, variant: Variant) -> None:
        self.refused.update(variant.reasons)
        outcome = variant.reasons[0] if variant.reasons else "采用"
        if sum(line["结果"] == outcome for line in self.shown) < 5:
            source = self.records[i]
            self.shown.append(
                {"行": i + 1, "原文": source.prompt, "新文": variant.record.prompt}
                | {"做法": "、".join(variant.operators), "结果": outcome}
            )


def _level(made: dict[int, list], labels: Sequence[str]) -> int:
    """Take away new rows until no label has more of them for each source than the label in the middle (of two: the
    lower). The sources with the most new rows give theirs first. Returns how many were taken.
    """
    of_label: dict[str, list[int]] = {}
    for i in made:
        of_label.setdefault(labels[i], []).append(i)
    gain = {label: sum(len(made[i]) for i in own) / len(own) for label, own in of_label.items()}
    most, taken = statistics.median_low(gain.values()), 0
    for own in of_label.values():
        rank = sorted(((k, i) for i in own for k in range(len(made[i]))), reverse=True)
        spare = len(rank) - int(most * len(own) + 1e-9)  # the product may lie a hair under a whole number
        for _, i in rank[: max(0, spare)]:
            made[i].pop()
        taken += max(0, spare)
    return taken


def _operators(names: Sequence[str] | None, quality: str) -> list[str]:
    if quality not in QUALITIES:
        raise ConfigError(f"没有叫「{quality}」的质量。可以选：{'、'.join(QUALITIES)}。")
    unknown = [name for name in names or () if name not in OPERATORS]
    if unknown:
        raise ConfigError(f"没有叫「{unknown[0]}」的增强方法。可以选：{'、'.join(OPERATORS)}。")
    if names is not None and not names:
        raise ConfigError(f"一种增强方法也没有选。可以选：{'、'.join(OPERATORS)}。")
    return [name for name in OPERATORS if name in (names or QUALITIES[quality].operators)]


def _apply(record: Record, name: str, where: str, rng: Random, names: list[str]) -> Record:
    before = getattr(record, where)
    after = OPERATORS[name](before, rng)
    if after != before:
        names.append(name)
    return replace(record, **{where: after})


def _with_focus(record: Record, text: str) -> Record:
    return replace(record, input=text) if record.input else replace(record, instruction=text)


def _stored(row: dict, record: Record) -> dict:
    """A row with the record's five fields and its other columns."""
    return asdict(record) | {name: value for name, value in row.items() if name not in asdict(record)}
