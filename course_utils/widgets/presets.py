"""The panel of the preset data sets: choose one, read its card, look at rows, copy it into the workspace."""

import ipywidgets as widgets

from course_utils.data import presets
from course_utils.data.store import ALL, DataSet
from course_utils.widgets.base import Panel, facts, heading, in_workspace, table


def presets_panel(name: str | None = None) -> None:
    """Show the panel of the preset data sets, preset `name` first."""
    PresetsPanel(name).show()


class PresetsPanel(Panel):
    title = "预置数据集"
    purpose = "课程自带的数据，只读。先看说明和样例，再复制一份到自己的工作区。"

    def __init__(self, name: str | None = None):
        super().__init__()
        cards = presets.catalogue()
        options = [(f"{card.title}　{card.rows:,} 行", name) for name, card in cards.items()]
        self.chosen = widgets.Select(
            options=options, value=name or options[0][1], rows=max(4, min(12, len(options))), description="数据集"
        )
        self.chosen.layout.width = "300px"
        self.card = widgets.HTML(layout=widgets.Layout(flex="1", min_width="280px", margin="0 0 0 16px"))
        self.samples = widgets.HTML()
        self.name = widgets.Text(description="保存为", layout=widgets.Layout(width="300px"))
        copy = self.button("复制到工作区", self.copy, "正在复制……", "primary")
        self.body.children = [
            widgets.HBox([self.chosen, self.card]),
            self.samples,
            widgets.HBox([self.name, copy]),
        ]
        self.chosen.observe(lambda _: self.choose(), "value")
        self.choose()

    def choose(self) -> None:
        """Show the card and some rows of the chosen data set."""
        card = presets.catalogue()[self.chosen.value]
        self.name.value = card.title
        with self.working():
            self.card.value = facts(_card(card))
            self.samples.value = heading("样例") + table(presets.samples(card.name))

    def copy(self) -> None:
        name = self.chosen.value
        made = DataSet.create(self.name.value.strip(), {ALL: presets.rows(name)}, {"tool": "preset", "source": name})
        rows = sum(made.lineage["rows"].values())
        self.say(f"已复制 {rows:,} 行到 {in_workspace(made.folder)}（数据集「{made.name}」第 {made.version} 版）。")

    def code(self) -> str:
        return (
            "from course_utils.data import presets\n"
            "from course_utils.data.store import DataSet\n\n"
            f"presets.samples({self.chosen.value!r})\n"
            f"rows = presets.rows({self.chosen.value!r})\n"
            f"DataSet.create({self.name.value!r}, {{{ALL!r}: rows}}, "
            f"lineage={{'tool': 'preset', 'source': {self.chosen.value!r}}})"
        )

    def result(self) -> str:
        return self.card.value + self.samples.value + self.message.value


def measured(card: presets.Card) -> str:
    """Each method's accuracy on each split, in a sentence; from `benchmarks/teaching.py`."""
    lines = {}
    for line in card.measured:
        lines.setdefault(line["split"], []).append(f"{line['method']} {line['accuracy']:.1%}")
    return "；".join(f"{split}：{'，'.join(methods)}" for split, methods in lines.items())


def _card(card: presets.Card) -> dict[str, str]:
    return {
        "名字": card.name,
        "用途": card.purpose,
        "任务": f"{card.task}（{card.industry}）",
        "行数": f"{card.rows:,}",
        "字段": "；".join(f"{name}：{meaning}" for name, meaning in card.fields.items()),
        **({"标签": "、".join(card.labels)} if card.labels else {}),
        **({"较难的切分": card.harder.what} if card.harder else {}),
        **({"实测": measured(card)} if card.measured else {}),
        **({"错在哪里": card.worst_errors} if card.worst_errors else {}),
        "来历": card.how_written,
        "局限": card.limits,
        "许可": card.licence,
    }
