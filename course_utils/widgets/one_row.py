"""One row at a time: take it from the data or write it, look at each variant, keep what is good."""

from dataclasses import asdict

import ipywidgets as widgets

from course_utils.data.augment import Variant, variants
from course_utils.data.polish import Polished, marked, polish
from course_utils.data.records import Record, to_records
from course_utils.data.versions import Source, save_accepted
from course_utils.widgets.base import Panel, heading, in_workspace, note
from course_utils.widgets.pieces import LongWork, aligned, painted

LABEL = {"description_width": "7em"}
FIELDS = {"instruction": "指令", "input": "输入", "output": "答案"}
TAKE, REFUSE = "接受", "拒绝"


class OneRow:
    """A page of `panel`, which knows the data set and the settings."""

    def __init__(self, panel: Panel):
        self.panel, self.source, self.row = panel, None, {}
        self.variants: list[Variant] = []
        self.polished: Polished | None = None
        self.last = ""  # how the last ones were saved, in code
        self.made_from: dict = {}  # the row that variants and polish were made from
        self.seed = 0
        self.number = widgets.BoundedIntText(1, min=1, max=1, description="第几行", style=LABEL)
        self.number.layout.width = "200px"
        take = panel.button("取这一行", self.take)
        about = note("取一行，或者自己写一行。")
        self.texts = {
            name: widgets.Textarea(description=title, rows=2, style=LABEL, layout=widgets.Layout(width="90%"))
            for name, title in FIELDS.items()
        }
        self.count = widgets.IntSlider(4, min=1, max=8, description="几种说法", style=LABEL)
        self.work = LongWork(panel, "增强", self.augment, "正在写几种说法，并检查……")
        tidy = panel.button("优化", self.polish)
        legend = note("增强：换几种说法。优化：标点、空格、指令的措辞和答案的格式，意思不动。")
        self.shown = widgets.VBox()
        self.name = widgets.Text(description="保存为", style=LABEL, layout=widgets.Layout(width="420px"))
        save = panel.button("保存接受的", self.save, "正在保存……")
        self.view = widgets.VBox(
            [
                aligned(self.number, take, widgets.HTML(about)), *self.texts.values(),
                aligned(self.count, self.work.begin, self.work.end, tidy), widgets.HTML(legend), self.shown,
                widgets.HBox([self.name, save]),
            ]
        )  # fmt: skip

    def open(self, source: Source) -> None:
        """Offer the rows of a data set."""
        self.source, self.number.max, self.number.value = source, len(source.rows), 1
        self.name.value = source.name
        self._show_row(source.rows[0])

    def take(self) -> None:
        self._show_row(self.source.rows[self.number.value - 1])

    def _show_row(self, row: dict) -> None:
        self.row = row
        for name, text in self.texts.items():
            text.value = row[name]
        self._show([], None)

    @property
    def written(self) -> dict:
        """The row as it stands in the fields. Raises `DataError` when something is missing."""
        row = self.row | {name: text.value for name, text in self.texts.items()}
        if row != self.row:  # no longer that of the data set
            row = asdict(Record("")) | {name: row[name] for name in FIELDS}
        to_records([row])
        return row

    def augment(self) -> None:
        """Show other ways to say it, in a thread."""
        row = self.written
        [record] = to_records([row])
        among = [r for r in to_records(self.source.rows) if r != record] if row == self.row else []
        self.seed += 1
        made = variants(
            record,
            self.count.value,
            seed=self.seed,
            among=among,
            **self.panel.settings,
            **self.panel.asks(self.work, 1),
        )
        self.work.tick(1)
        self.made_from = row
        self._show(made, None)
        good = sum(variant.accepted for variant in made)
        text = f"写了 {len(made)} 种说法，{good} 种通过检查。请逐条看，再决定接受还是拒绝。"
        if not made:
            text = "这一行没有可改的地方。请换一行，或者多选几种做法，或者接入大模型。"
        self.panel.say(text, "done" if made else "wrong")

    def polish(self) -> None:
        row = self.written
        [record] = to_records([row])
        found = polish(record)
        if not found.changes:
            self.panel.say("已经很整齐，没有要改的地方。")
            return
        self.made_from = row
        self._show([], found)
        self.panel.say(f"改了：{'；'.join(found.changes)}。")

    def _show(self, made: list[Variant], polished: Polished | None) -> None:
        """A line for each proposal, with the choice that the checks suggest."""
        shown = [_card(self.made_from, variant) for variant in made]
        shown += [f"<b>优化后</b>{painted(polished.html)}"] if polished else []
        wanted = [variant.accepted for variant in made] + [True] * bool(polished)
        choices = [_choice(good) for good in wanted]
        for choice in choices:
            choice.observe(lambda _: self.panel.renew(), "value")
        cards = [widgets.HTML(card, layout=widgets.Layout(flex="1")) for card in shown]
        self.variants, self.polished, self.choices, self.cards = made, polished, choices, cards
        self.shown.children = [widgets.HBox(line) for line in zip(choices, cards, strict=True)]

    @property
    def accepted(self) -> tuple[list[Variant], Polished | None]:
        taken = [choice.value == TAKE for choice in self.choices]
        good = [variant for variant, take in zip(self.variants, taken, strict=False) if take]
        return good, self.polished if self.polished and taken[-1] else None

    def save(self) -> None:
        good, polished = self.accepted
        made = save_accepted(self.name.value.strip(), self.made_from, good, polished)
        what = f"新增 {len(good)} 种说法" if good else "用的是优化后的这一行"
        rows = sum(made.lineage["rows"].values())
        self.last = self._saving()
        self._show([], None)  # a second click must not save them twice
        self.panel.say(
            f"已保存，{what}：数据集「{made.name}」第 {made.version} 版，共 {rows:,} 行，在 {in_workspace(made.folder)}。"
        )

    def _saving(self) -> str:
        good, polished = self.accepted
        if polished:
            return f"save_accepted({self.name.value!r}, row, polished=polish(record))"
        taken = [i for i, variant in enumerate(self.variants) if variant in good]
        which = f"[found[i] for i in {taken}]" if taken else "[variant for variant in found if variant.accepted]"
        return f"save_accepted({self.name.value!r}, row, {which})"

    def code(self) -> str:
        panel, seed = self.panel, max(1, self.seed)
        own = {name: text.value for name, text in self.texts.items()}
        if all(self.row.get(name) == value for name, value in own.items()):
            row = f"source.rows[{self.number.value - 1}]"
            among = "[r for r in to_records(source.rows) if r != record]"
        else:
            row, among = f"{own!r}", "[]"
        ask = (", ask=ask_json", "from course_utils.llm import ask_json\n") if panel.model.value else ("", "")
        settings = "".join(f", {name}={value!r}" for name, value in panel.settings.items())
        return f"""\
from course_utils.data.augment import variants
from course_utils.data.polish import polish
from course_utils.data.records import to_records
from course_utils.data.versions import open_source, save_accepted
{ask[1]}
source = open_source({panel.data.value!r})
row = {row}
[record] = to_records([row])
among = {among}
found = variants(record, {self.count.value}, seed={seed}, among=among{settings}{ask[0]})
print(polish(record).text)
{self.last if self.last and not self.choices else self._saving()}"""

    def result(self) -> str:
        lines = [
            f"<div>{choice.value}：{card.value}</div>" for choice, card in zip(self.choices, self.cards, strict=True)
        ]
        return (heading("单条在线") + "".join(lines)) if lines else ""


def _choice(good: bool) -> widgets.ToggleButtons:
    made = widgets.ToggleButtons(options=[TAKE, REFUSE], value=TAKE if good else REFUSE, style={"button_width": "56px"})
    made.layout = widgets.Layout(width="132px", flex="0 0 auto")
    return made


def _card(row: dict, variant: Variant) -> str:
    """What differs, with the operators, the likeness and the verdict of the checks."""
    [before] = to_records([row])
    verdict = "通过检查" if variant.accepted else f"没有通过：{'、'.join(variant.reasons)}"
    about = note(f"{'、'.join(variant.operators)}；与原文相似 {variant.likeness:.0%}；{verdict}")
    old, new = before.prompt, variant.record.prompt
    if before.input and before.instruction == variant.record.instruction:  # the same instruction is not repeated
        old, new = before.input, variant.record.input
    return f"<div>{painted(marked(old, new))}</div>{about}"
