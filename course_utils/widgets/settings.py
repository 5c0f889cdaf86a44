"""The form of `TrainingConfig`, made from its fields: label, help, range and step are the model's own."""

from collections.abc import Callable
from typing import Literal, get_args, get_origin

import ipywidgets as widgets

from course_utils.models.catalogue import catalogue
from course_utils.training.config import TrainingConfig, build_config
from course_utils.widgets.base import note

GROUPS = ("基础", "进阶")
STYLE = {"description_width": "9em"}


class SettingsForm:
    """changed: called after the learner changed something."""

    def __init__(self, changed: Callable[[], None]):
        self.controls = {name: _control(name, field) for name, field in TrainingConfig.model_fields.items()}
        for control in self.controls.values():
            control.observe(lambda _: changed(), "value")
        pages = [widgets.VBox(self._lines(group)) for group in GROUPS]
        self.view = widgets.Accordion(pages, titles=[f"{group}设置" for group in GROUPS], selected_index=0)

    @property
    def changes(self) -> dict:
        """The settings that are not the defaults, as the controls have them."""
        defaults = TrainingConfig().model_dump()
        values = {name: _value(control) for name, control in self.controls.items()}
        return {name: value for name, value in values.items() if value != defaults[name]}

    @property
    def config(self) -> TrainingConfig:
        """Raises `ConfigError` with every problem."""
        return build_config(self.changes)

    def show(self, config: TrainingConfig) -> None:
        """Set every control."""
        for name, value in config.model_dump().items():
            control = self.controls[name]
            control.value = ("" if value is None else str(value)) if isinstance(control, widgets.Text) else value

    def _lines(self, group: str) -> list[widgets.Widget]:
        fields = TrainingConfig.model_fields
        wide = widgets.Layout(flex="1", margin="0 0 0 12px")
        return [
            widgets.HBox([control, widgets.HTML(note(fields[name].description), layout=wide)])
            for name, control in self.controls.items()
            if fields[name].json_schema_extra["group"] == group
        ]


def _control(name: str, field) -> widgets.Widget:
    extra, common = field.json_schema_extra, {"description": field.title, "style": STYLE}
    common["layout"] = widgets.Layout(width="320px", flex="0 0 auto")
    if name == "base_model":
        return widgets.Combobox(value=field.default, options=list(catalogue()), ensure_option=False, **common)
    literal = next((a for a in (field.annotation, *get_args(field.annotation)) if get_origin(a) is Literal), None)
    if literal:
        options = [(extra["names"].get(value, value), value) for value in get_args(literal)]
        return widgets.Dropdown(options=options, value=field.default, **common)
    if field.annotation is bool:
        return widgets.Checkbox(value=field.default, **common)
    if type(None) in get_args(field.annotation):
        return widgets.Text(value="", placeholder="空着", **common)
    if field.annotation is int:
        return widgets.IntText(value=field.default, step=extra["step"], **common)
    return widgets.FloatText(value=field.default, step=extra["step"], **common)


def _value(control: widgets.Widget):
    """A text field for an optional number: empty is None; what is no number stays text, for the form to complain of."""
    if isinstance(control, widgets.Text) and not isinstance(control, widgets.Combobox):
        text = control.value.strip()
        return None if not text else int(text) if text.isdigit() else text
    return control.value
