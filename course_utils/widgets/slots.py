"""Where the slots of a template get their text from: a column of the data, or one text for every row."""

from collections.abc import Callable, Sequence

import ipywidgets as widgets

from course_utils.data.prompts import SLOT, Template
from course_utils.errors import ConfigError

NOT_ASKED = ("output", "history", "source_row", "made_by")  # the answer, and what is no text
NONE = ("（没有选）", "")


class SlotForm:
    """changed: called after the learner changed something."""

    def __init__(self, changed: Callable[[], None]):
        self.changed = changed
        self.chosen: Template | None = None
        self.columns: dict[str, widgets.Dropdown] = {}
        self.constants: dict[str, widgets.Text] = {}
        self.view = widgets.VBox()

    def show(self, template: Template, rows: Sequence[dict]) -> None:
        """A line for each slot; the column of its name is chosen, and for a single slot what the row asks."""
        self.chosen = template
        names = [name for name in dict.fromkeys(name for row in rows for name in row) if name not in NOT_ASKED]
        asked = "input" if any(row.get("input") for row in rows) else "instruction"
        self.columns, self.constants, lines = {}, {}, []
        for slot in template.slots:
            guess = slot if slot in names else asked if len(template.slots) == 1 else ""
            self.columns[slot] = widgets.Dropdown(
                options=[NONE, *((name, name) for name in names)], value=guess, description=f"空位「{slot}」",
                style={"description_width": "9em"}, layout=widgets.Layout(width="340px"),
            )  # fmt: skip
            self.constants[slot] = widgets.Text(placeholder="或者每行相同的文字", layout=widgets.Layout(flex="1"))
            lines.append(widgets.HBox([self.columns[slot], self.constants[slot]]))
        for control in (*self.columns.values(), *self.constants.values()):
            control.observe(lambda _: self.changed(), "value")
        self.view.children = lines

    @property
    def fixed(self) -> dict[str, str]:
        """Slot -> the text of every row."""
        return {slot: control.value for slot, control in self.constants.items() if control.value.strip()}

    @property
    def template(self) -> Template:
        """The template with these texts in it. Raises `ConfigError` when one looks like a slot itself."""
        text = self.chosen.instruction
        for slot, value in self.fixed.items():
            if SLOT.search(value):
                raise ConfigError(f"「{slot}」的文字里有花括号，会被当成空位：{value}。请去掉花括号。")
            text = text.replace(f"{{{slot}}}", value)
        return self.chosen.model_copy(update={"instruction": text})

    @property
    def mapping(self) -> dict[str, str]:
        """Slot -> column. Raises `ConfigError` when a slot has neither column nor text."""
        chosen = self.chosen_columns
        empty = [slot for slot, column in chosen.items() if not column]
        if empty:
            raise ConfigError(
                f"模板「{self.chosen.title}」的空位「{empty[0]}」还没有内容。请给它选一列，或者写一段每行相同的文字。"
            )
        return chosen

    @property
    def chosen_columns(self) -> dict[str, str]:
        """Slot -> column as the controls say, empty where nothing was chosen."""
        return {slot: control.value for slot, control in self.columns.items() if slot not in self.fixed}

    def code(self, name: str) -> str:
        """The lines that make the template `name`."""
        lines = f"{name} = get({self.chosen.id!r})"
        if self.fixed:
            changed = f"{name}.instruction"
            changed += "".join(f".replace({f'{{{slot}}}'!r}, {text!r})" for slot, text in self.fixed.items())
            lines += f"\n{name} = {name}.model_copy(update={{'instruction': {changed}}})"
        return lines
