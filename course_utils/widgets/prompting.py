"""The panel of the prompt library: look up, fill in, put before the rows of a data set, compare two with a model."""

import html

import ipywidgets as widgets

from course_utils.data import prompts
from course_utils.data.prompts import SLOT, Template
from course_utils.data.versions import Source, open_source, save_prompted
from course_utils.errors import ConfigError
from course_utils.widgets.base import Panel, cell, facts, heading, html_table, in_workspace, note
from course_utils.widgets.pieces import FOUND, data_choice
from course_utils.widgets.slots import SlotForm
from course_utils.widgets.versus import Versus

STEPS = ("填空", "用到数据集", "比较两个模板")
PLACES = {"指令 instruction": "instruction", "系统提示 system": "system"}
EVERY = "全部"
WIDE = widgets.Layout(width="420px")
LABEL = {"description_width": "7em"}


def prompts_panel() -> None:
    """Show the panel of the prompt library."""
    PromptsPanel().show()


class PromptsPanel(Panel):
    title = "提示词库"
    purpose = "查找写好的提示词模板，填上空位来用；也可以套在一个数据集上，或者用模型比较两个模板。"

    def __init__(self):
        super().__init__()
        self.source: Source | None = None
        self.search = widgets.Text(description="搜索", placeholder="例如 合同 风险", style=LABEL)
        kinds = [EVERY, *prompts.categories()]
        self.category = widgets.Dropdown(options=kinds, description="类别", layout=widgets.Layout(width="220px"))
        self.list = widgets.Select(
            rows=14, description="模板", layout=widgets.Layout(width="330px", height="290px", flex="0 0 auto")
        )
        self.card = widgets.HTML(layout=widgets.Layout(flex="1", min_width="280px", margin="0 0 0 16px"))
        self.data = data_choice(style=LABEL, layout=WIDE)
        self.applied = SlotForm(self.renew)
        self.versus = Versus(self, self.data)
        pages = [widgets.VBox(self._fill_page()), widgets.VBox(self._apply_page()), self.versus.view]
        self.steps = widgets.Tab(pages, titles=STEPS)
        self.body.children = [widgets.HBox([self.search, self.category]), widgets.HBox([self.list, self.card]),
                              self.steps]  # fmt: skip
        self.find()
        for control in (self.search, self.category):
            control.observe(lambda _: self.find(), "value")
        self.list.observe(lambda _: self.choose(), "value")
        self.data.observe(lambda _: self.open(), "value")
        self.steps.observe(lambda _: self._enter(), "selected_index")
        self.renew()

    # --- the pages ---

    def _fill_page(self) -> list[widgets.Widget]:
        self.texts: dict[str, widgets.Textarea] = {}
        self.fields, self.filled = widgets.VBox(), widgets.HTML()
        fill = self.button("填好", self.fill, style="primary")
        example = self.button("填入例子", self.use_example)
        return [self.fields, widgets.HBox([fill, example]), self.filled]

    def _apply_page(self) -> list[widgets.Widget]:
        about = "放进指令：模型每次都看到它，空位里用掉的输入不再重复。放进系统提示：原来的指令不动。"
        self.into = widgets.Dropdown(options=PLACES, description="放进", style=LABEL, layout=WIDE)
        look = self.button("看前三行", self.look)
        self.seen = widgets.HTML()
        self.name = widgets.Text(description="保存为", style=LABEL, layout=WIDE)
        save = self.button("保存为下一版", self.save, "正在保存……", "primary")
        return [self.data, self.into, widgets.HTML(note(about)), self.applied.view, look, self.seen,
                widgets.HBox([self.name, save])]  # fmt: skip

    # --- choosing ---

    @property
    def template(self) -> Template:
        if self.list.value is None:
            raise ConfigError("还没有选模板。请换几个字搜索，再从列表里选一个。")
        return prompts.get(self.list.value)

    def find(self) -> None:
        """List the templates that fit, and keep the chosen one where it is among them."""
        category = None if self.category.value == EVERY else self.category.value
        found = prompts.templates(category, self.search.value)
        before = self.list.value
        self.list.options = [(f"{t.category}：{t.title}", t.id) for t in found]
        if before in [t.id for t in found]:
            self.list.value = before
        elif found:
            self.list.value = found[0].id
        self.choose()
        self.say(
            f"有 {len(found)} 个模板。" if found else "没有这样的模板。请少写几个字，或者换一个类别。",
            "done" if found else "wrong",
        )

    def choose(self) -> None:
        """Show the chosen template, and its slots on every page."""
        self.filled.value = ""
        if self.list.value is None:
            self.card.value, self.fields.children, self.texts = "", (), {}
            self._slots()
            return
        template = self.template
        self.card.value = _card(template)
        self.texts = {
            slot: widgets.Textarea(description=slot, placeholder=template.example[slot], rows=2, style=LABEL)
            for slot in template.slots
        }
        for text in self.texts.values():
            text.layout.width = "90%"
            text.observe(lambda _: self.renew(), "value")
        self.fields.children = list(self.texts.values())
        self._slots()
        self.clear()

    def open(self) -> None:
        """Open the chosen data set."""
        with self.working("正在读取……"):
            self.source = open_source(self.data.value)
            self.name.value = self.source.name
            self._slots()
            self.clear()

    def _enter(self) -> None:
        """The data set is opened when it is first needed."""
        if self.steps.selected_index and self.source is None:
            self.open()
        self.renew()

    def _slots(self) -> None:
        template = prompts.get(self.list.value) if self.list.value else None
        self.seen.value = ""
        self.versus.show(template, self.source)
        if template and self.source:
            self.applied.show(template, self.source.parts[self.source.part])
        self.renew()

    def _ready(self) -> SlotForm:
        """Raises `ConfigError` when there is no template or no data to apply it to."""
        if self.list.value is None or self.source is None:
            raise ConfigError("请先在上面的列表里选一个模板，再选一个数据集。")
        return self.applied

    # --- what the buttons do ---

    @property
    def values(self) -> dict[str, str]:
        return {slot: text.value for slot, text in self.texts.items() if text.value.strip()}

    def fill(self) -> None:
        filled = self.template.fill(**self.values)
        self.filled.value = (
            heading("填好的提示词")
            + f'<pre class="course-code" style="white-space: pre-wrap">{html.escape(filled)}</pre>'
        )
        self.say(f"填好了，共 {len(filled)} 个字符。")

    def use_example(self) -> None:
        for slot, text in self.texts.items():
            text.value = self.template.example[slot]
        self.fill()

    def look(self) -> None:
        """The first rows as they would be saved."""
        form, source = self._ready(), self.source
        rows = prompts.apply(form.template, source.parts[source.part][:3], form.mapping, self.into.value)
        names = [name for name in ("system", "instruction", "input", "output") if any(row.get(name) for row in rows)]
        lines = [{name: cell(row.get(name) or "", 300) for name in names} for row in rows]
        self.seen.value = heading("前三行会是这样") + html_table(lines)
        self.say("这只是预览，还没有保存。")

    def save(self) -> None:
        form = self._ready()
        made = save_prompted(self.source, form.template, form.mapping, self.into.value, self.name.value.strip())
        rows = sum(made.lineage["rows"].values())
        self.say(f"已保存 {rows:,} 行：数据集「{made.name}」第 {made.version} 版，在 {in_workspace(made.folder)}。")

    # --- the same in code, and what stays ---

    def code(self) -> str:
        if self.list.value is None:
            return "from course_utils.data.prompts import categories, templates\n\ncategories()\ntemplates()"
        step = self.steps.selected_index
        if step == 0 or self.source is None:
            category = None if self.category.value == EVERY else self.category.value
            values = self.values or self.template.example
            return (
                "from course_utils.data.prompts import get, templates\n\n"
                f"templates({category!r}, {self.search.value!r})\n"
                f"template = get({self.list.value!r})\n"
                f"print(template.fill(**{values!r}))"
            )
        opened = f"source = open_source({self.data.value!r})"
        if step == 1:
            mapping = self.applied.chosen_columns
            return (
                "from course_utils.data.prompts import apply, get\n"
                "from course_utils.data.versions import open_source, save_prompted\n\n"
                f"{self.applied.code('template')}\n{opened}\n"
                f"apply(template, source.rows[:3], {mapping!r}, {self.into.value!r})\n"
                f"save_prompted(source, template, {mapping!r}, {self.into.value!r}, {self.name.value!r})"
            )
        return self.versus.code()

    def result(self) -> str:
        return self.card.value + self.filled.value + self.seen.value + self.versus.found.value + self.message.value


def _card(template: Template) -> str:
    """The template with its slots marked, and its example."""
    marks = f'<mark style="{FOUND}">'
    shown = SLOT.sub(lambda match: f"{marks}{match[0]}</mark>", html.escape(template.instruction)).replace("\n", "<br>")
    given = "；".join(f"{slot}：{value}" for slot, value in template.example.items())
    about = {
        "名字": template.id,
        "答案的格式": _form(template),
        "提示": template.tips,
        "例子": given,
        "例子的答案": template.output,
    }
    return f"<div><b>{template.title}</b></div><div>{shown}</div>" + facts(about)


def _form(template: Template) -> str:
    form, parts = template.form, []
    if form.labels:
        parts.append(f"这些之一：{'、'.join(form.labels)}")
    if form.json_keys:
        parts.append(f"JSON，键是 {'、'.join(form.json_keys)}")
    if form.lines:
        parts.append(f"{form.lines} 行")
    if form.most:
        parts.append(f"最多 {form.most} 个字符")
    return "；".join(parts) or "不限"
