"""`quiz`: one question with radio buttons; every option, right or wrong, is answered with a reason."""

import html
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import yaml

from course_utils.errors import ConfigError
from course_utils.grading import progress
from course_utils.grading.checks import show

FOLDER = Path(__file__).with_name("quizzes")
# While the quiz is live, the still text after it has nothing to add; JupyterLab's error text for a widget of yesterday
# goes, whichever it was: what is to be read stands beside it.
STYLE = """<style>
.jp-OutputArea-child:has(.course-quiz) + .jp-OutputArea-child:has(.course-quiz-still) { display: none }
.jp-OutputArea-child > .jupyter-widgets:not(:has(*)) { display: none }
.course-quiz { gap: 4px; margin: 4px 0 10px }
.course-quiz .widget-radio-box { height: auto; max-width: 60em }
.course-quiz .widget-radio-box label { height: auto; line-height: 1.6; white-space: normal; margin-bottom: 2px }
.course-quiz .widget-html-content { line-height: 1.6; font-size: 14px }
</style>"""


@dataclass(frozen=True)
class Option:
    text: str
    right: bool
    reason: str


@dataclass(frozen=True)
class Quiz:
    id: str
    question: str
    options: tuple[Option, ...]

    def still(self) -> dict[str, str]:
        """The question and its options as a MIME bundle, for a notebook that is read without a kernel."""
        markdown = "\n".join([f"**小测验 {self.id}**　{self.question}", "", *(f"- {o.text}" for o in self.options)])
        options = "".join(f"<li>{html.escape(option.text)}</li>" for option in self.options)
        shown = f'<div class="course-quiz-still">{_head(self)}<ul>{options}</ul></div>'
        return {"text/html": STYLE + shown, "text/markdown": markdown, "text/plain": markdown}


@cache
def chapter(number: str) -> dict[str, Quiz]:
    """The quizzes of a chapter, such as "01", by id."""
    file = FOLDER / f"ch{number}.yaml"
    entries = yaml.safe_load(file.read_text(encoding="utf-8")) if file.exists() else []
    return {e["id"]: Quiz(e["id"], e["question"], tuple(Option(**o) for o in e["options"])) for e in entries}


def find(name: str) -> Quiz:
    """The quiz called `name`, such as "01-q1". Raises `ConfigError`."""
    if found := chapter(name.partition("-")[0]).get(name):
        return found
    raise ConfigError(f"没有编号是「{name}」的小测验。编号是章和序号，例如 01-q1。")


def quiz(name: str) -> None:
    """Show a quiz. A click on an option says why it is right or wrong, and is recorded in the progress file."""
    import ipywidgets as widgets
    from IPython.display import display

    asked = find(name)
    choice = widgets.RadioButtons(
        options=[(option.text, option) for option in asked.options], value=None, layout=widgets.Layout(width="auto")
    )
    reason = widgets.HTML()

    def chosen(change) -> None:
        option = change["new"]
        sign, colour = ("✓", "#2e7d32") if option.right else ("✗", "#c62828")
        reason.value = f'<b style="color: {colour}">{sign}</b>　<span>{html.escape(option.reason)}</span>'
        progress.record(asked.id, option.text, option.right)

    choice.observe(chosen, "value")
    view = widgets.VBox([widgets.HTML(STYLE + _head(asked)), choice, reason])
    view.add_class("course-quiz")
    display(view._repr_mimebundle_() | {"text/plain": asked.question}, raw=True)
    show(asked.still())


def _head(asked: Quiz) -> str:
    return f"<b>小测验 {html.escape(asked.id)}</b>　{html.escape(asked.question)}"
