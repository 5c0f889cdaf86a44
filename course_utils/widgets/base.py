"""What every panel is made of: a title, one message, the code that does the same, and a snapshot that stays.

A panel is a view. Its buttons call functions of the package and show what these return; nothing is computed here.
"""

import html
import re
from collections.abc import Callable
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path

import ipywidgets as widgets
import pandas as pd
from IPython.display import display

from course_utils import paths
from course_utils.errors import CourseError

STYLE = f"<style>{Path(__file__).with_name('panel.css').read_text(encoding='utf-8')}</style>"
NOT_LIVE = "这个面板要在 JupyterLab 里运行后才能操作；下面是它上次的结果。"


class Panel:
    """The frame of a panel. A subclass gives `title` and `purpose`, puts widgets into `self.body`, and defines `code`
    and `result`.
    """

    title: str
    purpose: str

    def __init__(self):
        self.body = widgets.VBox()
        self.progress = widgets.FloatProgress(max=1, layout=widgets.Layout(width="100%", display="none"))
        self.message = widgets.HTML()
        self._code = widgets.HTML(layout=widgets.Layout(display="none"))
        self._code_button = widgets.Button(description="查看等价代码", icon="code")
        self._code_button.on_click(self._toggle_code)
        self._snapshot = None
        head = f'{STYLE}<div class="course-title">{self.title}</div>{note(self.purpose)}'
        self.view = widgets.VBox(
            [widgets.HTML(head), self.body, self.progress, self.message, self._code_button, self._code]
        )
        self.view.add_class("course-panel")

    def code(self) -> str:
        """The calls that do what was done here."""
        raise NotImplementedError

    def result(self) -> str:
        """What there is to see now, as HTML that needs no kernel."""
        raise NotImplementedError

    def show(self) -> None:
        """Display the panel, and after it the snapshot, which the panel's style hides for as long as the panel lives."""
        live = dict(self.view._repr_mimebundle_())
        display(live | {"text/plain": NOT_LIVE}, raw=True)
        self._snapshot = display(self._still(), raw=True, display_id=True)

    def say(self, text: str, kind: str = "done") -> None:
        """The panel's one message. kind: "done", "busy" or "wrong"."""
        self.message.value = f'<div class="course-message {kind}" role="status">{html.escape(text)}</div>'

    def button(self, label: str, run: Callable[[], None], doing: str = "", style: str = "") -> widgets.Button:
        """A button that calls `run`; meanwhile it is off, so that an impatient second click does nothing."""
        made = widgets.Button(description=label, button_style=style)

        def clicked(_):
            made.disabled = True
            with self.working(doing):
                run()
            made.disabled = False

        made.on_click(clicked)
        return made

    @contextmanager
    def working(self, doing: str = ""):
        """Say what goes on; show an error as the panel's message; in the end renew code and snapshot."""
        self.say(doing, "busy") if doing else self.clear()
        try:
            yield
        except CourseError as error:
            self.say(str(error), "wrong")
        except Exception as error:
            self.say(f"出现了意料之外的问题（{type(error).__name__}：{error}）。详情在 JupyterLab 的日志里。", "wrong")
            raise  # into JupyterLab's log console
        finally:
            self.progress.layout.display = "none"
            self.renew()

    def clear(self) -> None:
        self.message.value = ""

    def advance(self, share: float) -> None:
        """Show a share of 0 to 1 as a bar, until the button's work is done."""
        self.progress.value, self.progress.layout.display = share, ""

    def renew(self) -> None:
        """Bring the shown code and the snapshot up to date."""
        self._code.value = _listing(self.code())
        if self._snapshot:
            self._snapshot.update(self._still(), raw=True)

    def _toggle_code(self, _) -> None:
        hidden = self._code.layout.display == "none"
        self._code.layout.display = "" if hidden else "none"
        self._code_button.description = "收起代码" if hidden else "查看等价代码"
        self.renew()

    def _still(self) -> dict[str, str]:
        head = f"{self.title}：{datetime.now():%Y-%m-%d %H:%M} 的结果。重新运行这个单元格，就能继续操作。"
        result, code = self.result(), self.code()
        return {
            "text/html": f'{STYLE}<div class="course-snapshot">{note(head)}{result}{_listing(code)}</div>',
            "text/plain": f"{head}\n\n{plain(result)}\n\n{code}",
        }


def table(rows: pd.DataFrame | list[dict], longest: int = 160) -> str:
    """An HTML table; a text is cut after `longest` characters, and its lines stay lines."""
    lines = rows.to_dict("records") if isinstance(rows, pd.DataFrame) else rows
    columns = list(dict.fromkeys(str(name) for line in lines for name in line))
    plain_lines = [{str(name): value for name, value in line.items()} for line in lines]
    return html_table(
        [{html.escape(name): cell(line.get(name, ""), longest) for name in columns} for line in plain_lines]
    )


def cell(value, longest: int = 160) -> str:
    """A text as HTML, cut after `longest` characters; its lines stay lines, blank ones go."""
    text = str(value)
    text = text[:longest] + "……" if len(text) > longest else text
    return re.sub(r"\s*\n\s*", "<br>", html.escape(text))


def html_table(lines: list[dict[str, str]]) -> str:
    """A table whose cells are HTML already."""
    if not lines:
        return ""
    head = "".join(f"<th>{name}</th>" for name in lines[0])
    body = "".join(f"<tr>{''.join(f'<td>{cell}</td>' for cell in line.values())}</tr>" for line in lines)
    table = f'<table class="course-table"><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>'
    return f'<div class="course-scroll">{table}</div>'


def facts(pairs: dict[str, str]) -> str:
    """An HTML table of names and values."""
    lines = "".join(
        f"<tr><th>{html.escape(name)}</th><td>{html.escape(str(value))}</td></tr>" for name, value in pairs.items()
    )
    return f'<table class="course-facts">{lines}</table>'


def heading(text: str) -> str:
    return f'<div class="course-heading">{html.escape(text)}</div>'


def note(text: str) -> str:
    return f'<div class="course-note">{html.escape(text)}</div>'


def in_workspace(path: Path) -> str:
    """A path as the learner finds it in the file browser."""
    return str(Path("workspace") / path.relative_to(paths.workspace()))


def plain(result: str) -> str:
    """The text of HTML made here: a table's row is a line, and <mark> becomes 【】."""
    result = re.sub(r"<style>.*?</style>|\n", "", result, flags=re.DOTALL)
    for tag, sign in (
        ("</t[dh]>", "\t"),
        ("</tr>|</div>", "\n"),
        ("<mark[^>]*>", "【"),
        ("</mark>", "】"),
        ("<[^>]+>", ""),
    ):
        result = re.sub(tag, sign, result)
    return html.unescape(result).strip().replace("】【", "")


def _listing(code: str) -> str:
    return f'<pre class="course-code">{html.escape(code)}</pre>'
