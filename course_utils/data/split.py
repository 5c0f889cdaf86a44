"""Cutting a data set into train, validation and test so that the test stays honest."""

import random
from collections import defaultdict
from collections.abc import Sequence

from datasketch import MinHash, MinHashLSH

from course_utils.data.records import Record
from course_utils.errors import ConfigError, DataError

PARTS = ("train", "validation", "test")


def split(
    records: Sequence[Record],
    shares: tuple[float, float, float] = (0.70, 0.15, 0.15),
    seed: int = 42,
    stratify: bool = True,
) -> dict[str, list[Record]]:
    """`{"train": ..., "validation": ..., "test": ...}`, shuffled by `seed`.

    stratify: the same balance of `output` in every part. Rows whose inputs are nearly the same (see
    `near_duplicates`) stay in one part, so that the test does not ask what the training has answered.
    """
    if any(share < 0 for share in shares) or abs(sum(shares) - 1) > 1e-6:
        raise ConfigError(f"三部分的比例是 {shares}，要都不小于 0，而且加起来等于 1。")
    if len(records) < 3:
        raise DataError(f"只有 {len(records)} 行，分不成训练、验证、测试三部分。至少要 3 行。")
    groups = near_duplicates([record.input or record.instruction for record in records])
    strata = defaultdict(list)
    for group in groups:
        strata[records[group[0]].output if stratify else ""].append(group)
    rng = random.Random(seed)
    parts: dict[str, list[Record]] = {part: [] for part in PARTS}
    for stratum in strata.values():
        rng.shuffle(stratum)
        for part, group in _deal(stratum, shares):
            parts[part] += [records[i] for i in group]
    for rows in parts.values():
        rng.shuffle(rows)
    return parts


def _deal(groups: list[list[int]], shares: Sequence[float]):
    """Give each group to the part that lacks most of its share; the largest groups first, where there is most room."""
    total = sum(map(len, groups))
    lacking = {part: share * total for part, share in zip(PARTS, shares, strict=True)}
    for group in sorted(groups, key=len, reverse=True):
        part = max(lacking, key=lacking.__getitem__)
        lacking[part] -= len(group)
        yield part, group


def near_duplicates(texts: Sequence[str], threshold: float = 0.7) -> list[list[int]]:
    """Group the indices of texts that are nearly the same; every index stands in exactly one group.

    Two texts are near when their sets of three-character pieces have a Jaccard similarity of about `threshold` or
    more, found by MinHash with locality-sensitive hashing (datasketch), and near texts of near texts belong together.
    """
    hashes = list(MinHash.generator([_shingles(text) for text in texts], num_perm=64, seed=1))
    index = MinHashLSH(threshold=threshold, num_perm=64)
    parent = list(range(len(texts)))

    def root(i: int) -> int:
        while parent[i] != i:
            parent[i] = parent[parent[i]]
            i = parent[i]
        return i

    for i, signature in enumerate(hashes):
        for j in index.query(signature):
            parent[root(i)] = root(j)
        index.insert(i, signature)
    groups = defaultdict(list)
    for i in range(len(texts)):
        groups[root(i)].append(i)
    return list(groups.values())


def _shingles(text: str) -> set[bytes]:
    return {text[i : i + 3].encode() for i in range(max(1, len(text) - 2))}
