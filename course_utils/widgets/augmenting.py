"""The panel that makes more rows: a whole data set at once, or one row with each variant looked at."""

import itertools
import os

import ipywidgets as widgets

from course_utils import llm
from course_utils.data.augment import Augmentation, augment
from course_utils.data.augment_checks import QUALITIES
from course_utils.data.augment_ops import OPERATORS
from course_utils.data.versions import Source, open_source, save_augmented
from course_utils.errors import ConfigError
from course_utils.widgets.base import Panel, heading, html_table, in_workspace, note, table
from course_utils.widgets.one_row import OneRow
from course_utils.widgets.pieces import LongWork, aligned, beside, data_choice

STEPS = BATCH, SINGLE = ("批量增强", "单条在线")
WIDE = widgets.Layout(width="420px")
LABEL = {"description_width": "7em"}
DOES = {
    "同义词": "换近义的词",
    "口语书面": "口语和书面语互换",
    "换序": "调换分句",
    "错别字": "写错个别字，只改输入",
    "指令改写": "换一种问法",
}


def augment_panel() -> None:
    """Show the panel that augments data."""
    AugmentPanel().show()


class AugmentPanel(Panel):
    title = "数据增强"
    purpose = "把已有的行换一种说法，得到更多的行；答案不动，每个候选都要过检查。行数少的时候有用，多了可能有害。"

    def __init__(self):
        super().__init__()
        self.source: Source | None = None
        self.done: Augmentation | None = None
        self.how: dict = {}  # with what `done` was made
        self.data = data_choice(style=LABEL, layout=WIDE)
        self.quality = widgets.Dropdown(options=list(QUALITIES), value="标准", description="质量", style=LABEL)
        self.quality.layout.width = "220px"
        self.asked = widgets.HTML(layout=widgets.Layout(flex="1"))
        self.operators = {
            name: widgets.Checkbox(description=name, tooltip=DOES[name], indent=False) for name in OPERATORS
        }
        for box in self.operators.values():
            box.layout.width = "auto"
        does = note("做法：" + "；".join(f"{name}，{what}" for name, what in DOES.items()) + "。")
        self.model = widgets.Checkbox(indent=False, layout=widgets.Layout(width="auto"))
        self.model.description, self.model.disabled = _model_offer()
        self.one = OneRow(self)
        pages = [widgets.VBox(self._batch_page()), self.one.view]
        self.steps = widgets.Tab(pages, titles=STEPS)
        self.body.children = [
            self.data, aligned(self.quality, self.asked),
            widgets.HBox(list(self.operators.values())), widgets.HTML(does), self.model, self.steps,
        ]  # fmt: skip
        self._set_quality()
        self.quality.observe(lambda _: self._set_quality(), "value")
        self.data.observe(lambda _: self._choose(), "value")
        for control in (*self.operators.values(), self.model, self.rows, self.multiplier, self.steps):
            control.observe(lambda _: self.renew(), "selected_index" if control is self.steps else "value")
        self._choose()

    def _batch_page(self) -> list[widgets.Widget]:
        about = "0 就是全部；不然就随机取这么多行。只增强训练集，验证集和测试集不动。"
        self.rows = widgets.BoundedIntText(200, min=0, max=10**6, step=100, description="最多用几行", style=LABEL)
        self.rows.layout.width = "220px"
        self.multiplier = widgets.IntSlider(2, min=1, max=10, description="倍数", style=LABEL, layout=WIDE)
        self.work = LongWork(self, "开始增强", self.augment, "正在增强，先读数据、分词……")
        self.outcome = widgets.HTML()
        self.name = widgets.Text(description="保存为", style=LABEL, layout=WIDE)
        save = self.button("保存为下一版", self.save, "正在保存……")
        return [
            aligned(self.rows, widgets.HTML(note(about))),
            aligned(self.multiplier, widgets.HTML(note("每一行最多新增几行。"))),
            widgets.HBox([self.work.begin, self.work.end]), self.outcome, widgets.HBox([self.name, save]),
        ]  # fmt: skip

    def _set_quality(self) -> None:
        """Say what the quality asks for, and choose its operators."""
        asked = QUALITIES[self.quality.value]
        label = "要认定标签不变" if asked.label == 1 else f"给原标签的概率至少是最高者的 {asked.label:.0%}"
        likeness = f"与原文的相似度 {asked.farthest:.0%}–{asked.nearest:.0%}"
        self.asked.value = note(f"{likeness}；标签任务另有分类器核对，{label}。")
        for name, box in self.operators.items():
            box.value = name in asked.operators

    def _choose(self) -> None:
        """Another data set: what was made of the last one is no longer to be saved."""
        self.source, self.done, self.outcome.value = None, None, ""
        with self.working("正在读取……"):
            source = open_source(self.data.value)
            self.name.value = source.name
            self.one.open(source)
            self.clear()

    @property
    def settings(self) -> dict:
        """What both pages give to the functions."""
        chosen = [name for name, box in self.operators.items() if box.value]
        return {"quality": self.quality.value, "operators": chosen}

    def asks(self, work: LongWork, rows: int) -> dict:
        """The configured model, when it is wanted, to ask about so many rows; before each it can be stopped."""
        asked = itertools.count()

        def ask(messages, schema, **options):
            work.tick(next(asked), rows)
            return llm.ask_json(messages, schema, **options)

        return {"ask": ask} if self.model.value else {}

    def augment(self) -> None:
        """Augment the data set, in a thread."""
        self.done, self.outcome.value = None, ""
        how = {"multiplier": self.multiplier.value, **self.settings}
        source = open_source(self.data.value)
        rows = source.sample(self.rows.value)
        done = augment(rows, **how, **self.asks(self.work, len(rows)), progress=self._advance)
        self.source, self.done, self.how = source, done, how
        refused = [{"拒绝的原因": reason, "候选个数": n} for reason, n in done.refused.items()]
        self.outcome.value = (
            (heading("被拒绝的候选，按原因") + table(refused) if refused else "")
            + heading(f"例子，左右对照（共 {len(done.examples)} 个，采用的在前）")
            + html_table(_examples(done, rows))
        )
        self.say(done.summary())

    def _advance(self, made: int, wanted: int) -> None:
        self.work.tick(made, wanted)
        self.say(f"想要新增 {wanted} 行，已有 {made} 行……", "busy")

    def save(self) -> None:
        if self.done is None:
            raise ConfigError("还没有增强的结果。请先点「开始增强」。")
        made = save_augmented(self.source, self.done, self.name.value.strip(), **self.how)
        rows = sum(made.lineage["rows"].values())
        self.say(
            f"已保存 {rows:,} 行（新增 {made.lineage['new']:,} 行）：数据集「{made.name}」第 {made.version} 版，"
            f"在 {in_workspace(made.folder)}。\n每行记着它来自哪一行；切分时，一行和它的增强总在同一份里。"
        )

    def code(self) -> str:
        if self.steps.selected_index == STEPS.index(SINGLE):
            return self.one.code()
        how = {"multiplier": self.multiplier.value, **self.settings}
        ask = (", ask=ask_json", "from course_utils.llm import ask_json\n") if self.model.value else ("", "")
        return f"""\
from course_utils.data.augment import augment
from course_utils.data.building import split_dataset
from course_utils.data.versions import open_source, save_augmented
{ask[1]}
source = open_source({self.data.value!r})
how = {how!r}
result = augment(source.sample({self.rows.value}), **how{ask[0]})
print(result.summary())
result.examples
dataset = save_augmented(source, result, {self.name.value!r}, **how)
# dataset, parts = split_dataset(dataset)，如果还没有切分"""

    def result(self) -> str:
        return self.outcome.value + self.one.result() + self.message.value


def _model_offer() -> tuple[str, bool]:
    """What the tick for the language model says, and whether it is out of reach."""
    if llm.configured():
        return (
            f"再让大模型写（{os.environ['COURSE_LLM_MODEL']}，数据会发给 {os.environ['COURSE_LLM_BASE_URL']}）",
            False,
        )
    return f"再让大模型写（没有设置 {'、'.join(llm.VARIABLES)}，现在只用离线的做法）", True


def _examples(done: Augmentation, rows: list[dict]) -> list[dict[str, str]]:
    """The accepted first; an instruction that stays the same is not repeated."""
    lines = sorted(done.examples.to_dict("records"), key=lambda line: line["结果"] != "采用")
    shown = []
    for line in lines:
        before, after = line["原文"], line["新文"]
        head = before.split("\n")[0] + "\n"
        if after.startswith(head):
            before, after = before.removeprefix(head), after.removeprefix(head)
        old, new = beside(before, after)
        number = rows[line["行"] - 1]["source_row"]
        shown.append({"行": number, "原文": old, "新文": new, "做法": line["做法"], "结果": line["结果"]})
    return shown
