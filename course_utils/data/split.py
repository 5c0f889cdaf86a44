"""Cutting a data set into train, validation and test so that the test stays honest."""

import random
from collections import Counter, defaultdict
from collections.abc import Hashable, Iterable, Sequence

import pandas as pd

from course_utils.data.records import Record
from course_utils.errors import ConfigError, DataError

PARTS = ("train", "validation", "test")
TITLES = {"train": "训练集", "validation": "验证集", "test": "测试集"}


class Split(dict):
    """part ("train", "validation", "test") -> list of records, and what the cutting took care of.

    kept_together: rows that stay in one part with a near-duplicate or a row of their group.
    removed: training rows left out because a validation or test file that was given has nearly the same.
    """

    kept_together: int = 0
    removed: Sequence[Record] = ()

    def report(self) -> pd.DataFrame:
        """A row per part: size, share, and the share of each label when the outputs are labels."""
        total = sum(map(len, self.values()))
        outputs = Counter(record.output for rows in self.values() for record in rows)
        labels = [label for label, _ in outputs.most_common()] if are_labels(outputs) else []
        lines = []
        for part, rows in self.items():
            counts = Counter(record.output for record in rows)
            line = {"部分": TITLES[part], "行数": len(rows), "占比": f"{len(rows) / total:.1%}"}
            lines.append(line | {label: f"{counts[label] / max(1, len(rows)):.1%}" for label in labels})
        return pd.DataFrame(lines)

    def summary(self) -> str:
        """One or two sentences in Chinese: sizes, and the leaks that were prevented."""
        sizes = "，".join(f"{TITLES[part]} {len(rows)} 行" for part, rows in self.items())
        removed = f"，从训练集去掉 {len(self.removed)} 行（与给定的验证或测试数据几乎相同）" if self.removed else ""
        return f"{sizes}。防止泄漏：{self.kept_together} 行与它们的近似重复或同组的行放在了同一份{removed}。"


def split(
    records: Sequence[Record],
    shares: Sequence[float] = (0.70, 0.15, 0.15),
    seed: int = 42,
    stratify: bool | None = None,
    groups: Sequence[Hashable] | None = None,
    given: dict[str, list[Record]] | None = None,
) -> Split:
    """Cut `records` into train, validation and test, shuffled by `seed`.

    stratify: the same balance of `output` in every part; None: when the outputs are labels (see `are_labels`).
    groups: one value per record, or None; rows of equal value, such as a row and its augmentations, stay in one part.
    given: ready parts, such as {"test": [...]}; `records` then fill the others. What they share with the given rows
    is removed from `records`.
    Rows whose inputs are nearly the same (see `near_duplicates`) always stay in one part, so that the test does not
    ask what the training has answered. Raises `ConfigError` and `DataError`.
    """
    given = given or {}
    shares = _shares(shares, given)
    removed = []
    if given:
        records, groups, removed = _without(records, groups, [r for rows in given.values() for r in rows])
    if len(records) < 3:
        raise DataError(f"只有 {len(records)} 行，分不成训练、验证、测试三部分。至少要 3 行。")
    if stratify is None:
        stratify = are_labels(Counter(record.output for record in records))
    together = _joined(near_duplicates([_text(record) for record in records]), groups)
    strata = defaultdict(list)
    for group in together:
        strata[records[group[0]].output if stratify else ""].append(group)
    rng = random.Random(seed)
    parts = Split({part: list(given.get(part, [])) for part in PARTS})
    lacking = dict.fromkeys(shares, 0.0)
    for stratum in strata.values():
        rng.shuffle(stratum)
        for part, group in _deal(stratum, shares, lacking):
            parts[part] += [records[i] for i in group]
    for rows in parts.values():
        rng.shuffle(rows)
    parts.kept_together = sum(len(group) for group in together if len(group) > 1)
    parts.removed = removed
    return parts


def are_labels(outputs: Counter) -> bool:
    """Whether the outputs are labels of a classification task: few, short, and each used many times over."""
    rows = outputs.total()
    return 2 <= len(outputs) <= max(2, min(100, rows // 5)) and max(map(len, outputs)) <= 20


def _text(record: Record) -> str:
    return record.input or record.instruction


def _shares(shares: Sequence[float], given: dict) -> dict[str, float]:
    if len(shares) != 3 or any(share < 0 for share in shares) or abs(sum(shares) - 1) > 1e-6:
        raise ConfigError(f"三部分的比例是 {tuple(shares)}，要有三个，都不小于 0，而且加起来等于 1。")
    wanted = {part: share for part, share in zip(PARTS, shares, strict=True) if part not in given}
    if not wanted or not sum(wanted.values()):
        raise ConfigError("要切分的部分比例都是 0，数据没有地方放。请至少给一部分留出比例。")
    return {part: share / sum(wanted.values()) for part, share in wanted.items()}


def _deal(groups: list[list[int]], shares: dict[str, float], lacking: dict[str, float]):
    """Give each group to the part that lacks most of its share; the largest groups first, where there is most room.

    `lacking` goes on from label to label: of many small labels, each rounded by itself, the training part would get
    nearly all.
    """
    total = sum(map(len, groups))
    for part, share in shares.items():
        lacking[part] += share * total
    for group in sorted(groups, key=len, reverse=True):
        part = max(lacking, key=lacking.__getitem__)
        lacking[part] -= len(group)
        yield part, group


def _without(records, groups, given: list[Record]):
    """Records that are not nearly the same as a given one, their groups, and those that were left out."""
    texts = [_text(record) for record in records] + [_text(record) for record in given]
    leaking = set()
    for group in near_duplicates(texts):
        if group[-1] >= len(records):  # a given row is among them: indices ascend
            leaking.update(group)
    kept = [i for i in range(len(records)) if i not in leaking]
    removed = [records[i] for i in range(len(records)) if i in leaking]
    return [records[i] for i in kept], groups and [groups[i] for i in kept], removed


def near_duplicates(texts: Sequence[str], threshold: float = 0.7) -> list[list[int]]:
    """Group the indices of texts that are nearly the same; every index stands in exactly one group, ascending.

    Two texts are near when their sets of three-character pieces have a Jaccard similarity of `threshold` or more, and
    near texts of near texts belong together. Candidates come from MinHash with locality-sensitive hashing
    (datasketch) and are then compared. With 16 bands of 4 rows a pair of similarity s is a candidate with probability
    1 - (1 - s^4)^16: 0.99 at 0.7, all but certain above.
    """
    from datasketch import MinHash, MinHashLSH

    index = MinHashLSH(num_perm=64, params=(16, 4))
    union = _Union(len(texts))
    for i, signature in enumerate(MinHash.generator(map(_shingles, texts), num_perm=64, seed=1)):
        for j in index.query(signature):
            # compared anew rather than kept: the pieces of 200,000 texts take gigabytes
            if union.root(i) != union.root(j) and _jaccard(_shingles(texts[i]), _shingles(texts[j])) >= threshold:
                union.join(i, j)
        index.insert(i, signature, check_duplication=False)
    return union.groups()


def _jaccard(a: set, b: set) -> float:
    both = len(a & b)
    return both / (len(a) + len(b) - both)


def _shingles(text: str) -> set[bytes]:
    return {text[i : i + 3].encode() for i in range(max(1, len(text) - 2))}


def _joined(groups: Iterable[list[int]], values: Sequence[Hashable] | None) -> list[list[int]]:
    """The groups, merged where rows carry the same value."""
    groups = list(groups)
    if values is None:
        return groups
    union = _Union(len(values))
    first = {}
    for group in groups:
        for i in group:
            union.join(group[0], i)
            if values[i] is not None:
                union.join(first.setdefault(values[i], i), i)
    return union.groups()


class _Union:
    """Disjoint sets of 0..n-1 (union-find with path halving)."""

    def __init__(self, n: int):
        self.parent = list(range(n))

    def root(self, i: int) -> int:
        while self.parent[i] != i:
            self.parent[i] = self.parent[self.parent[i]]
            i = self.parent[i]
        return i

    def join(self, i: int, j: int) -> None:
        self.parent[self.root(i)] = self.root(j)

    def groups(self) -> list[list[int]]:
        found = defaultdict(list)
        for i in range(len(self.parent)):
            found[self.root(i)].append(i)
        return list(found.values())
