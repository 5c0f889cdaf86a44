"""Two templates on the same few rows, asked of one model."""

import ipywidgets as widgets

from course_utils.data import prompts
from course_utils.data.prompts import ROWS, Template
from course_utils.data.records import Record, to_records
from course_utils.data.versions import Source
from course_utils.errors import ConfigError
from course_utils.widgets.base import Panel, cell, heading, html_table, note
from course_utils.widgets.pieces import LongWork
from course_utils.widgets.slots import SlotForm

WIDE = widgets.Layout(width="420px")
LABEL = {"description_width": "9em"}
FIELDS = ("instruction", "input", "system")  # of a record: what a slot can take


class Versus:
    """A page of `panel`. data: the choice of a data set, which the panel has on another page too."""

    def __init__(self, panel: Panel, data: widgets.Dropdown):
        self.panel, self.data = panel, data
        self.first: Template | None = None
        self.source: Source | None = None
        self.opened: dict = {}  # the model that was asked last, so that a second comparison begins at once
        self.a, self.b = SlotForm(panel.renew), SlotForm(panel.renew)
        options = [(f"{template.category}：{template.title}", template.id) for template in prompts.templates()]
        self.other = widgets.Dropdown(
            options=options, value=options[1][1], description="模板 B", style=LABEL, layout=WIDE
        )
        self.other.observe(lambda _: (self.show(self.first, self.source), panel.renew()), "value")
        self.model = widgets.Dropdown(options=_models(), description="模型", style=LABEL, layout=WIDE)
        self.rows = widgets.BoundedIntText(ROWS, min=1, max=ROWS, description="行数", style=LABEL)
        self.longest = widgets.BoundedIntText(64, min=1, max=512, step=16, description="最多几个 token", style=LABEL)
        for control in (self.model, self.rows, self.longest):
            control.observe(lambda _: panel.renew(), "value")
        for control in (self.rows, self.longest):
            control.layout.width = "220px"
        self.work = LongWork(panel, "比较", self.compare, "正在打开模型……")
        self.title, self.found = widgets.HTML(), widgets.HTML()
        about = f"同样的几行（最多 {ROWS} 行），两个模板各问一次同一个模型，答案和标注逐字相同才算对。"
        self.view = widgets.VBox(
            [
                widgets.HTML(note(about)), data, self.title, self.a.view, self.other, self.b.view, self.model,
                widgets.HBox([self.rows, self.longest]), widgets.HBox([self.work.begin, self.work.end]), self.found,
            ]
        )  # fmt: skip

    def show(self, template: Template | None, source: Source | None) -> None:
        """Compare this template, on these rows."""
        self.first, self.source, self.found.value = template, source, ""
        if template is None or source is None:
            return
        self.title.value = heading(f"模板 A：{template.title}")
        fields = [{name: row[name] for name in FIELDS} for row in source.rows]
        self.a.show(template, fields)
        self.b.show(prompts.get(self.other.value), fields)

    def compare(self) -> None:
        """Ask the model both ways, in a thread."""
        if self.first is None:
            raise ConfigError("还没有选模板。请换几个字搜索，再从列表里选一个。")
        self.found.value = ""
        ways, mappings = (self.a.template, self.b.template), (self.a.mapping, self.b.mapping)
        records = to_records(self.source.sample(self.rows.value))
        model, tokenizer = self._model()
        asked = 0

        def answer(batch: list[Record]) -> list[str]:
            nonlocal asked
            from course_utils.inference.generate import generate

            before, asked = asked, asked + len(batch)
            self.panel.say(f"正在用模板 {'B' if before else 'A'} 问模型……", "busy")
            return generate(
                model, tokenizer, batch, self.longest.value, batch_size=4,
                progress=lambda done: self.work.tick(before + done, 2 * len(batch)),
            )  # fmt: skip

        found = prompts.compare(*ways, records, answer, *mappings)
        summary = found.attrs["summary"]
        self.found.value = heading("逐行对照") + html_table([_line(row) for row in found.to_dict("records")])
        self.panel.say(summary)

    def _model(self):
        """The chosen model and its tokenizer, opened once."""
        choice = kind, name = self.model.value
        if choice not in self.opened:
            self.opened.clear()  # two at once may be more than fits
            if kind == "run":
                from course_utils.training.history import find_run

                self.opened[choice] = find_run(name).load()
            else:
                from course_utils.models.load import load

                self.opened[choice] = load(name, log=lambda text: self.panel.say(text, "busy"))
        self.work.tick()
        return self.opened[choice]

    def code(self) -> str:
        kind, name = self.model.value
        function, module = ("find_run", "training.history") if kind == "run" else ("load", "models.load")
        opening = f"find_run({name!r}).load()" if kind == "run" else f"load({name!r})"
        return f"""\
from course_utils.data.prompts import compare, get
from course_utils.data.records import to_records
from course_utils.data.versions import open_source
from course_utils.inference.generate import generate
from course_utils.{module} import {function}

records = to_records(open_source({self.data.value!r}).sample({self.rows.value}))
{self.a.code("a")}
{self.b.code("b")}
model, tokenizer = {opening}
answer = lambda batch: generate(model, tokenizer, batch, {self.longest.value})
found = compare(a, b, records, answer, {self.a.chosen_columns!r}, {self.b.chosen_columns!r})
print(found.attrs["summary"])
found"""


def _line(row: dict) -> dict[str, str]:
    """A row of the comparison, under each answer what is to be said of it."""
    line = {"原文": cell(row["原文"], 80), "标注": cell(row["答案"], 60)}
    for name in "AB":
        verdict = "对" if row[f"{name} 答对"] else "错"
        misfit = row[f"{name} 的格式问题"]
        line[f"{name} 的回答"] = cell(row[f"{name} 的回答"], 80) + note(verdict + (f"；{misfit}" if misfit else ""))
    return line


def _models() -> list[tuple[str, tuple[str, str]]]:
    """The base models, and the runs that can write."""
    from course_utils.models.catalogue import catalogue
    from course_utils.training.history import runs

    bases = [(f"基座：{card.title}", ("base", name)) for name, card in catalogue().items()]
    trained = [run.folder.name for run in runs() if run.config.task == "generation" and run.weights.exists()]
    return bases + [(f"训练：{name}", ("run", name)) for name in trained]
