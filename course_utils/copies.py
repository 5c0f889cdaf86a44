"""The learner's copies of the notebooks: `workspace/notebooks/`, where `course lab` opens them.

Beside them, in `.originals/`, lies what each was copied from, so that an update of the course can tell what the learner
changed. Cells are told apart by their text; outputs are no change, and stay with a cell whose text stays.
"""

import shutil
from datetime import datetime
from difflib import SequenceMatcher
from pathlib import Path

import nbformat

from course_utils import paths
from course_utils.data.records import atomic_writer

COURSE = paths.ROOT / "notebooks"
MARK = "course-update"  # the tag of our new version of a cell that the learner changed as well
LIKE = 0.5  # two texts at least so alike (difflib's ratio) are versions of one cell


def folder() -> Path:
    return paths.workspace() / "notebooks"


def update(merge: bool = False) -> list[str]:
    """Copy new notebooks, renew those the learner has not changed; with `merge`, merge the others. What to tell them.

    Nothing of the learner's is overwritten: a merge keeps every cell of theirs, and first a copy of the file.
    """
    said, waiting = [], []
    for ours in sorted(COURSE.glob("*.ipynb")):
        mine, original = folder() / ours.name, folder() / ".originals" / ours.name
        if not mine.exists():
            _copy(ours, original)
            _copy(ours, mine)
        elif not original.exists():
            said.append(f"{mine.name} 不是课程放进工作区的，没有动它；改个名字，就能得到课程的这一章。")
        elif ours.read_bytes() != original.read_bytes():
            try:
                base, theirs, new = (nbformat.read(path, as_version=4) for path in (original, mine, ours))
            except Exception as error:  # nbformat raises many kinds for a file that is no notebook
                said.append(f"{mine.name} 读不出来（{type(error).__name__}），没有动它；改个名字，就能得到新的一份。")
                continue
            if texts(theirs) not in (texts(base), texts(new)) and not merge:
                waiting.append(mine.stem)
                continue
            if texts(theirs) != texts(new):
                said += _renew(mine, base, theirs, new)
            _copy(ours, original)
    if waiting:
        said.append(
            f"这些笔记本课程有了新版，而你的改过，没有动：{'、'.join(waiting)}。"
            "想把新版合并进来，运行 course lab --merge（先备份，你写的每一格都留着）。"
        )
    return said


def _renew(mine: Path, base, theirs, new) -> list[str]:
    """Write the merged notebook in the place of the learner's; where they had changed it, after a copy of that."""
    changed = texts(theirs) != texts(base)
    if changed:
        backup = folder() / ".backups" / f"{mine.stem}-{datetime.now():%Y%m%d-%H%M%S}.ipynb"
        _copy(mine, backup)
    marked_before = _marked(theirs)
    merged = merge_cells(base, theirs, new)
    with atomic_writer(mine) as file:
        nbformat.write(merged, file)
    if not changed:
        return []
    both = _marked(merged) - marked_before
    marked = f"有 {both} 格两边都改了：你的留着，新版接在它下面，标着“课程的新版”。" if both else "没有冲突。"
    return [f"{mine.name} 合并好了，{marked}合并前的在 {backup.relative_to(folder())}。"]


def _marked(notebook) -> int:
    return sum(MARK in cell.metadata.get("tags", []) for cell in notebook.cells)


def merge_cells(base, theirs, new):
    """`new` with what the learner did to `base`: cells they changed or added are theirs, those they deleted stay away.

    Where both changed a cell, theirs is followed by ours with a mark. All three are notebooks; `new` is used up.
    """
    became = _versions(base.cells, new.cells)
    base_of = {place: base.cells[before] for before, place in became.items()}
    ids = {cell.get("id"): place for place, cell in enumerate(base.cells)}  # a cell's id outlives the learner's changes
    mine_of, own, after = {}, {}, None  # place in `new` -> the learner's cell; -> their further cells after that one
    for cell in theirs.cells:
        before = ids.pop(cell.get("id"), None)
        if before in became:
            after = became[before]
            mine_of[after] = cell
        elif before is None or cell.source != base.cells[before].source:
            own.setdefault(after, []).append(cell)
    taken = {cell.id for cell in new.cells}
    for cell in (cell for cells in own.values() for cell in cells):
        if cell.get("id") in taken:
            cell.id = _new_id()
    cells = own.get(None, [])
    for place, cell in enumerate(new.cells):
        if place not in base_of:
            cells.append(cell)
        elif place in mine_of:
            cells += _one_or_both(base_of[place], mine_of[place], cell)
            cells += own.get(place, [])
    new.cells = cells
    return new


def _one_or_both(base, mine, ours) -> list:
    """What stands in the place of a cell, of which each has a version."""
    if mine.source == ours.source and ours.cell_type == "code":
        ours.outputs, ours.execution_count = mine.outputs, mine.execution_count
    if mine.source in (base.source, ours.source):
        return [ours]
    mine.id, ours.id = ours.id, _new_id()  # the next update finds theirs by the id of the course's
    if ours.source == base.source:
        return [mine]
    head = "# 课程的新版：\n" if ours.cell_type == "code" else "**课程的新版**\n\n"
    ours.source = head + ours.source
    ours.metadata["tags"] = [*ours.metadata.get("tags", []), MARK]
    return [mine, ours]


def _versions(before: list, after: list) -> dict[int, int]:
    """For cells of one build, by place, the place of what became of them in a later one."""
    a, b = ([(cell.cell_type, cell.source) for cell in cells] for cells in (before, after))
    found = {}
    for kind, a1, a2, b1, b2 in SequenceMatcher(None, a, b, autojunk=False).get_opcodes():
        if kind == "equal":
            found |= dict(zip(range(a1, a2), range(b1, b2), strict=True))
        elif kind == "replace":
            for place in range(a1, a2):
                ratio, best = max(((_likeness(a[place], b[other]), -other) for other in range(b1, b2)), default=(0, 0))
                if ratio >= LIKE:
                    found[place], b1 = -best, 1 - best  # the order stays: later cells are found later
    return found


def _likeness(one: tuple[str, str], other: tuple[str, str]) -> float:
    """0 to 1, of two cells' kinds and texts."""
    return SequenceMatcher(None, one[1], other[1], autojunk=False).ratio() if one[0] == other[0] else 0.0


def _new_id() -> str:
    return nbformat.v4.new_markdown_cell().id


def texts(notebook) -> list[tuple[str, str]]:
    """Kind and text of every cell."""
    return [(cell.cell_type, cell.source) for cell in notebook.cells]


def _copy(source: Path, target: Path) -> None:
    """A copy that appears whole or not at all."""
    target.parent.mkdir(parents=True, exist_ok=True)
    partial = target.with_name(f".{target.name}.partial")
    shutil.copyfile(source, partial)
    partial.replace(target)
