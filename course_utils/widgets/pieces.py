"""What several panels share: long work with a stop button, a job that is followed, a choice of data, an upload, a marked
difference.
"""

import re
import threading
from collections.abc import Callable
from pathlib import Path

import ipywidgets as widgets

from course_utils import paths
from course_utils.data import presets, store
from course_utils.data.polish import marked
from course_utils.errors import CourseError
from course_utils.training import jobs
from course_utils.widgets.base import Panel

EVERY = 2  # seconds between two looks at a job
GONE = "background: #ffd9d6; color: #222; text-decoration: line-through"
NEW = "background: #c9efd0; color: #222"
FOUND = "background: #fff0a8; color: #222"


class Stopped(CourseError):
    """The learner wants no more of it."""


class LongWork:
    """A button that begins, and one that stops. The work has a thread of its own, so that the kernel hears the second.

    work: sets values only, as a thread has no output. It calls `tick` now and then, which is where it can be stopped.
    """

    def __init__(self, panel: Panel, label: str, work: Callable[[], None], doing: str):
        self.panel, self.work, self.doing = panel, work, doing
        self.begin = widgets.Button(description=label, button_style="primary")
        self.begin.on_click(lambda _: self.start())
        self.end = widgets.Button(description="停止", disabled=True)
        self.end.on_click(lambda _: self.stop())
        self._asked = threading.Event()
        self._thread: threading.Thread | None = None

    @property
    def running(self) -> bool:
        return self.begin.disabled

    def start(self) -> None:
        if self.running:
            return
        self._asked.clear()
        self.begin.disabled, self.end.disabled = True, False
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def stop(self) -> None:
        self._asked.set()
        self.end.disabled = True
        self.panel.say("正在停下，手上的这一步做完就停……", "busy")

    def tick(self, done: int = 0, total: int = 1) -> None:
        """Show how far the work is. Raises `Stopped` when it should end."""
        if self._asked.is_set():
            raise Stopped
        self.panel.advance(done / max(1, total))

    def wait(self) -> None:
        """Until the work is done, for tests."""
        self._thread.join()

    def _run(self) -> None:
        try:
            with self.panel.working(self.doing):
                try:
                    self.work()
                except Stopped:
                    self.panel.say("已停止，没有保存任何东西。")
        finally:
            self.begin.disabled, self.end.disabled = False, True


class JobPanel(Panel):
    """A panel about a job of the queue: it looks again and again, stops the job and goes on with it.

    A subclass gives `job`, which raises `CourseError` when there is none, `look`, which brings the panel up to date, and
    two sentences that say what becomes of the work.
    """

    stopping: str
    going_on: str

    @property
    def job(self) -> jobs.Job:
        raise NotImplementedError

    def look(self) -> None:
        raise NotImplementedError

    def show(self) -> None:
        super().show()
        threading.Thread(target=self._follow, daemon=True).start()

    def _follow(self) -> None:
        """Look now and then. Sets values only: a thread has no output of its own."""
        quiet = threading.Event()
        while not quiet.wait(EVERY):
            if self.view.comm is None:  # the panel was closed
                return
            self.look()

    def stop(self) -> None:
        job = jobs.stop(self.job.number)
        self.say(f"第 {job.number} 号任务{job.state}。" if job.state in jobs.ENDED else self.stopping)

    def resume(self) -> None:
        self.say(f"第 {jobs.resume(self.job.number).number} 号任务重新排队，{self.going_on}")


def data_choice(**options) -> widgets.Dropdown:
    """A dropdown of the learner's data sets and the presets; its value is the name for `versions.open_source`."""
    own = [(f"我的：{name}", name) for name in store.names()]
    given = [(f"预置：{card.title}", name) for name, card in presets.catalogue().items()]
    return widgets.Dropdown(options=own + given, description="数据集", **options)


def aligned(*controls: widgets.Widget) -> widgets.HBox:
    """Side by side, on one middle line."""
    return widgets.HBox(controls, layout=widgets.Layout(align_items="center"))


def keep_upload(file) -> Path:
    """Write one file of a `FileUpload` into the workspace."""
    path = paths.workspace() / "uploads" / Path(file.name).name
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(file.content)
    return path


def path_in_code(path: Path) -> str:
    """How code names a file, wherever the workspace lies."""
    if path.is_relative_to(paths.workspace()):
        return f"paths.workspace() / {path.relative_to(paths.workspace()).as_posix()!r}"
    return repr(str(path))


def painted(difference: str) -> str:
    """<del> and <ins> as <mark>, which is seen even where a notebook's styles are taken out."""
    for tag, style in (("del", GONE), ("ins", NEW)):
        difference = difference.replace(f"<{tag}>", f'<mark style="{style}">').replace(f"</{tag}>", "</mark>")
    return difference


def beside(before: str, after: str) -> tuple[str, str]:
    """Both texts as HTML: in the first what goes is marked, in the second what is new."""
    difference = marked(before, after)
    return (
        painted(re.sub("<ins>.*?</ins>", "", difference, flags=re.DOTALL)),
        painted(re.sub("<del>.*?</del>", "", difference, flags=re.DOTALL)),
    )
