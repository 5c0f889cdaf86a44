"""The doctor's report as a table, with one button per repair; each repair can be taken back."""

from collections import Counter
from collections.abc import Callable

import ipywidgets as widgets

from course_utils.data.doctor import Report, check
from course_utils.data.mapping import Mapping
from course_utils.data.repair import Repaired, repair, undo
from course_utils.widgets.base import Panel, heading, note, table

SHOWN = 200  # lines of a table: the browser has to lay them out


class CheckForm:
    """Works on `rows` for `panel`, where its messages appear. repairs: what was done, `(kind, Repaired)`, in order.
    changed: called when the rows are others than before, or others are to be saved.
    """

    def __init__(self, panel: Panel, changed: Callable[[], None]):
        self.panel, self.changed = panel, changed
        self.rows: list[dict] = []
        self.mapping = Mapping()
        self.report: Report | None = None
        self.repairs: list[tuple[str, Repaired]] = []
        self.buttons = widgets.HBox(layout=widgets.Layout(flex_flow="row wrap"))
        self.take_back = panel.button("撤销上一次修复", self.undo)
        self.problems, self.changes = widgets.HTML(), widgets.HTML()
        self.drop = widgets.Checkbox(description="", indent=False, layout=widgets.Layout(width="auto"))
        self.drop.observe(lambda _: self.changed(), "value")
        self.view = widgets.VBox([self.problems, self.buttons, self.changes, self.take_back, self.drop])

    def open(self, rows: list[dict]) -> None:
        """Begin anew with these rows."""
        self.rows, self.repairs, self.report, self.drop.value = rows, [], None, False
        self.problems.value = self.changes.value = ""
        self.buttons.children = ()

    def look(self, mapping: Mapping) -> None:
        """Check every row, unless nothing has changed since the last time."""
        if self.report is None or mapping != self.mapping:
            self.panel.say(f"正在检查 {len(self.rows):,} 行……", "busy")
            self.report, self.mapping = check(self.rows, mapping), mapping
        self._show(self.report)
        self.panel.say(self.report.summary(), "done" if self.report.ok else "wrong")

    def repair(self, kind: str) -> None:
        repaired = repair(self.rows, self.mapping, kind)
        self.repairs.append((kind, repaired))
        self._renew(repaired.rows)

    def undo(self) -> None:
        _, repaired = self.repairs.pop()
        self._renew(undo(repaired))

    @property
    def kinds(self) -> list[str]:
        """The repairs in their order."""
        return [kind for kind, _ in self.repairs]

    def _renew(self, rows: list[dict]) -> None:
        self.rows, self.report = rows, None
        self.changed()
        self.look(self.mapping)

    def _show(self, report: Report) -> None:
        found = report.table()
        more = note(f"共 {len(found):,} 个问题，表里是前 {SHOWN} 个。") if len(found) > SHOWN else ""
        self.problems.value = table(found[:SHOWN]) + more if len(found) else ""
        kinds = Counter(problem.kind for problem in report.problems if problem.repairable)
        self.buttons.children = [
            self.panel.button(f"修复：{kind} {n} 处", lambda kind=kind: self.repair(kind), "正在修复……")
            for kind, n in kinds.items()
        ]
        bad = len({problem.row for problem in report.errors if problem.row})
        self.drop.description = f"保存时去掉有错误的 {bad} 行（去掉了哪些会记下来）"
        self.drop.layout.display = "" if bad else "none"
        self.take_back.layout.display = "" if self.repairs else "none"
        self.changes.value = changes_table(*self.repairs[-1]) if self.repairs else ""


def changes_table(kind: str, repaired: Repaired) -> str:
    """What a repair did."""
    if repaired.dropped:
        head = f"去掉了 {len(repaired.dropped):,} 行"
        lines = [{"行": d.row, "原因": "；".join(d.reasons), "内容": d.content} for d in repaired.dropped[:20]]
    else:
        head = f"改了 {len(repaired.changes):,} 处"
        lines = [{"行": c.row, "字段": c.field, "原来": c.before, "改成": c.after} for c in repaired.changes[:20]]
    return heading(f"刚才的修复（{kind}）：{head}") + (table(lines, 80) if lines else "")
