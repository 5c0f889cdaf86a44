"""Repairs that are sure, each of which can be undone; and leaving rows out, but never silently."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from course_utils.data.cells import answer_path, cells, place
from course_utils.data.doctor import ERROR, Report, check, is_label_task, label_spellings
from course_utils.data.mapping import Mapping
from course_utils.data.records import sources
from course_utils.data.symptoms import fix_mojibake, mask_personal, strip_control
from course_utils.errors import ConfigError

MEND: dict[str, Callable[[str], str]] = {  # kinds whose repair looks at one text alone
    "控制字符": strip_control,
    "乱码": lambda text: fix_mojibake(text) or text,
    "个人信息": mask_personal,
}
KINDS = (*MEND, "首尾空白", "标签写法", "类型不对", "重复")


class Change(NamedTuple):
    """row: its number before the repair, 1 is the first. path: where in the row, see `cells`."""

    row: int
    field: str
    before: Any
    after: Any
    path: tuple


class Dropped(NamedTuple):
    """A row that was left out: its number, why, and all that stood in it."""

    row: int
    reasons: list[str]
    content: dict


@dataclass(frozen=True)
class Repaired:
    """rows: new ones; those that did not change are the former objects."""

    rows: list[dict]
    changes: list[Change] = field(default_factory=list)
    dropped: list[Dropped] = field(default_factory=list)


def repair(rows: Sequence[dict], mapping: Mapping, kind: str, task_labels: Sequence[str] | None = None) -> Repaired:
    """Mend one kind of problem that `check` calls repairable; `rows` stay as they are.

    控制字符: taken out. 乱码: decoded again, where that is certain. 个人信息: replaced by what it is, such as 【手机号】.
    首尾空白: of labels, taken off. 标签写法: that of `task_labels`, else the most frequent. 类型不对: whole numbers become
    text. 重复: the first row stays. Raises `ConfigError` for any other kind.
    """
    if kind not in KINDS:
        raise ConfigError(f"「{kind}」不能自动修复。能修复的有：{'、'.join(KINDS)}。")
    source = sources(mapping.columns)
    if kind == "重复":
        return _drop_repeats(rows, mapping, task_labels)
    if kind in MEND:
        changes = [
            (number, path, text, MEND[kind](text))
            for number, row in enumerate(rows, 1)
            for path, text in cells(row, source)
        ]
    elif kind == "类型不对":
        columns = {source[name] for name in ("instruction", "input", "output", "system") if name in source}
        changes = [
            (number, (column,), value, str(value))
            for number, row in enumerate(rows, 1)
            for column, value in row.items()
            if column in columns and type(value) is int
        ]
    else:
        changes = _mend_labels(rows, source, kind, task_labels)
    return _apply(rows, [Change(n, place(path), old, new, path) for n, path, old, new in changes if new != old])


def undo(repaired: Repaired) -> list[dict]:
    """Exactly the rows that `repair` was given."""
    dropped = {drop.row: drop.content for drop in repaired.dropped}
    left = iter(repaired.rows)
    rows = [
        dropped[number] if number in dropped else next(left)
        for number in range(1, len(repaired.rows) + len(dropped) + 1)
    ]
    backwards = [Change(c.row, c.field, c.after, c.before, c.path) for c in reversed(repaired.changes)]
    return _apply(rows, backwards).rows


def drop_bad(rows: Sequence[dict], report: Report) -> tuple[list[dict], list[Dropped]]:
    """`(kept, dropped)`: the rows without 错误 in the report, and the others with their numbers and reasons."""
    reasons: dict[int, list[str]] = {}
    for problem in report.problems:
        if problem.severity == ERROR and problem.row:
            reasons.setdefault(problem.row, []).append(f"{problem.field}：{problem.what}")
    return _drop(rows, reasons)


def _mend_labels(rows: Sequence[dict], source: dict[str, str], kind: str, task_labels) -> list[tuple]:
    found = [(n, answer_path(row, source), dict(cells(row, source))) for n, row in enumerate(rows, 1)]
    found = [(number, path, texts[path]) for number, path, texts in found if path in texts]
    labels = [label for *_, label in found]
    if not task_labels and not is_label_task(labels):
        return []  # long answers: their blanks and spellings are the learner's own
    if kind == "首尾空白":
        return [(number, path, label, label.strip()) for number, path, label in found]
    right = label_spellings(labels, task_labels or ())
    return [(number, path, label, right[label.strip()]) for number, path, label in found if label.strip()]


def _drop_repeats(rows: Sequence[dict], mapping: Mapping, task_labels) -> Repaired:
    report = check(rows, mapping, task_labels=task_labels)
    kept, dropped = _drop(rows, {p.row: [p.what] for p in report.problems if p.kind == "重复"})
    return Repaired(kept, dropped=dropped)


def _drop(rows: Sequence[dict], reasons: dict[int, list[str]]) -> tuple[list[dict], list[Dropped]]:
    kept = [row for number, row in enumerate(rows, 1) if number not in reasons]
    return kept, [Dropped(number, reasons[number], rows[number - 1]) for number in sorted(reasons)]


def _apply(rows: Sequence[dict], changes: Sequence[Change]) -> Repaired:
    rows = list(rows)
    for change in changes:
        rows[change.row - 1] = _with(rows[change.row - 1], change.path, change.after)
    return Repaired(rows, list(changes))


def _with(value, path: tuple, new):
    """A copy of `value` with `new` at the end of `path`; what the path does not touch is shared."""
    if not path:
        return new
    inner = _with(value[path[0]], path[1:], new)
    if isinstance(value, dict):
        return {**value, path[0]: inner}
    return type(value)(inner if i == path[0] else item for i, item in enumerate(value))
