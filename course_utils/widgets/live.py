"""A picture that follows sliders and lists."""

import base64
import html
from collections.abc import Callable

import ipywidgets as widgets
from IPython.display import display

from course_utils.errors import CourseError
from course_utils.plots import Picture, png


def live(show: Callable, **controls: widgets.ValueWidget) -> None:
    """Display the controls and, below them, what `show` makes of their values, anew at every change.

    show: takes a value per control, under its name; returns a `Picture` or what a notebook shows as HTML. Bad input
    (`CourseError`) is said in the picture's place.
    Not ipywidgets' `interact`: that draws into an Output widget, whose content a saved notebook keeps without the
    controls, so that the reader finds the picture twice.
    """
    view = widgets.HTML()

    def renew(_=None) -> None:
        try:
            view.value = _html(show(**{name: control.value for name, control in controls.items()}))
        except CourseError as error:
            view.value = f'<p style="color: #c62828">{html.escape(str(error))}</p>'

    for control in controls.values():
        control.observe(renew, "value")
    renew()
    display(widgets.VBox([widgets.HBox(list(controls.values())), view]))


def _html(made) -> str:
    if isinstance(made, Picture):
        return f'<img style="max-width: 100%; width: 720px" src="data:image/png;base64,{base64.b64encode(png(made)).decode()}">'
    return made._repr_html_()
