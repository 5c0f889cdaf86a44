"""Dropdowns that say which column is which field; they read and show a `Mapping`."""

from collections.abc import Callable, Sequence

import ipywidgets as widgets

from course_utils.data.mapping import MEANING, Mapping
from course_utils.data.records import FIELDS
from course_utils.errors import ConfigError
from course_utils.widgets.base import note

CONSTANT = ("instruction", "system")  # fields that are often the same in every row
NONE = ("（没有）", "")


class MappingForm:
    """changed: called after the learner changed something."""

    def __init__(self, changed: Callable[[], None]):
        self.names: list[str] = []
        self.conversations = self.showing = False
        self.changed = changed
        self.columns = {
            name: widgets.Dropdown(
                description=f"{MEANING[name]} {name}",
                options=[NONE],
                style={"description_width": "11em"},
                layout=widgets.Layout(width="360px"),
            )
            for name in FIELDS
        }
        self.constants = {
            name: widgets.Text(placeholder=f"或者每行相同的{MEANING[name]}", layout=widgets.Layout(flex="1"))
            for name in CONSTANT
        }
        for control in (*self.columns.values(), *self.constants.values()):
            control.observe(self._changed, "value")
        self.explained = widgets.HTML()
        lines = [widgets.HBox([self.columns[n], *([self.constants[n]] if n in CONSTANT else [])]) for n in FIELDS]
        self.view = widgets.VBox([*lines, self.explained])

    def show(self, mapping: Mapping, rows: Sequence[dict]) -> None:
        """Offer the columns of `rows`, and choose as `mapping` says."""
        self.names = list(dict.fromkeys(column for row in rows for column in row))
        self.conversations = mapping.conversations
        places = {target: column for column, target in mapping.columns.items()}
        self.showing = True
        for name, control in self.columns.items():
            control.options = [NONE, *((column, column) for column in self.names)]
            control.value = places.get(name, "")
            control.disabled = mapping.conversations
        for name, control in self.constants.items():
            control.value = mapping.constants.get(name, "")
            control.disabled = mapping.conversations and name != "system"
        self.showing = False
        self._changed()

    @property
    def mapping(self) -> Mapping:
        """What the controls say. Raises `ConfigError` when a column is chosen twice."""
        constants = {name: control.value.strip() for name, control in self.constants.items() if control.value.strip()}
        if self.conversations:
            return Mapping(constants=constants, conversations=True)
        chosen = {name: control.value for name, control in self.columns.items() if control.value}
        chosen = {name: column for name, column in chosen.items() if name not in constants}
        taken = list(chosen.values())
        twice = next((column for column in taken if taken.count(column) > 1), None)
        if twice:
            raise ConfigError(f"「{twice}」这一列选了两次。一列只能是一个字段，请改掉其中一个。")
        unmapped = tuple(column for column in self.names if column not in taken)
        return Mapping({column: name for name, column in chosen.items()}, constants, unmapped)

    def _changed(self, _=None) -> None:
        if self.showing:  # the controls change one by one
            return
        try:
            self.explained.value = note(self.mapping.explain())
        except ConfigError as error:
            self.explained.value = note(str(error))
        self.changed()
