"""A real JupyterLab driven by a real Chromium, for tests of what a learner sees.

    @pytest.mark.slow
    def test_it(lab):
        notebook = lab.notebook("from course_utils.widgets import presets_panel\\npresets_panel()")
        notebook.run_all()
        notebook.click("查看等价代码")
        notebook.shot("presets")
        notebook.assert_healthy()

Screenshots go into the folder `$COURSE_SHOTS`, else into pytest's temporary folder.
"""

import contextlib
import json
import os
import re
import secrets
import shutil
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

import nbformat
import pytest

from course_utils.cli import UPLOADS

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
FLAGS = [
    *("--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run"),
    *("--disable-background-networking", "--disable-component-update", "--disable-sync"),
]
PATIENCE = 30  # seconds that a page, a kernel or a panel may take on a slow machine
SETTINGS = {  # a learner's choices in the settings editor: no news, no question whether to have them
    "@jupyterlab/apputils-extension/notification": {"fetchNews": "false", "checkForUpdates": False},
}
PROBLEMS = ("Error displaying widget", "Traceback (most recent call last)")


class Lab:
    """A JupyterLab server with folders of its own; `root` is what its file browser shows."""

    def __init__(self, folder: Path, page):
        self.root, self.workspace, self.page = folder / "root", folder / "workspace", page
        self.root.mkdir(parents=True)
        self._token = secrets.token_hex(16)
        self._log = (folder / "server.log").open("wb")
        for plugin, values in SETTINGS.items():
            path = folder / "settings" / f"{plugin}.jupyterlab-settings"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(json.dumps(values))
        own = {name: str(folder / name.removeprefix("JUPYTER_").removeprefix("JUPYTERLAB_").lower()) for name in (
            "JUPYTER_CONFIG_DIR", "JUPYTER_DATA_DIR", "JUPYTER_RUNTIME_DIR", "JUPYTERLAB_WORKSPACES_DIR", "IPYTHONDIR",
        )}  # fmt: skip
        own |= {"JUPYTERLAB_SETTINGS_DIR": str(folder / "settings"), "COURSE_WORKSPACE": str(self.workspace)}
        options = [f"--ServerApp.root_dir={self.root}", f"--IdentityProvider.token={self._token}", "--port=0"]
        options += ["--no-browser", "--allow-root", "--expose-app-in-browser", "--ServerApp.log_level=WARN", UPLOADS]
        self._process = subprocess.Popen(
            [sys.executable, "-m", "jupyterlab", *options],
            env=os.environ | own, cwd=folder, stdout=self._log, stderr=subprocess.STDOUT,
        )  # fmt: skip
        self.url = self._wait_for_url(Path(own["JUPYTER_RUNTIME_DIR"]))

    def notebook(self, *cells: str, name: str = "test.ipynb") -> "Notebook":
        """Open a notebook of these code cells."""
        content = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(cell) for cell in cells])
        content.metadata.kernelspec = {"name": "python3", "display_name": "Python 3", "language": "python"}
        nbformat.write(content, self.root / name)
        return Notebook(self, name)

    def open(self, path: Path) -> "Notebook":
        """Open a copy of a notebook file."""
        shutil.copy(path, self.root)
        return Notebook(self, path.name)

    def shut_down_kernels(self) -> None:
        for kernel in self._api("kernels"):
            self._api(f"kernels/{kernel['id']}", "DELETE")

    def stop(self) -> None:
        with contextlib.suppress(OSError):
            self.shut_down_kernels()
        self._process.terminate()
        try:
            self._process.wait(20)
        except subprocess.TimeoutExpired:
            self._process.kill()
        self._log.close()

    def address(self, path: str) -> str:
        return f"{self.url}lab/tree/{path}?reset&token={self._token}"

    def _api(self, path: str, method: str = "GET"):
        request = urllib.request.Request(
            f"{self.url}api/{path}", method=method, headers={"Authorization": f"token {self._token}"}
        )
        with urllib.request.urlopen(request, timeout=PATIENCE) as answer:
            return json.loads(answer.read() or "null")

    def _wait_for_url(self, runtime: Path) -> str:
        """The server writes where it listens into its runtime folder, then answers there."""
        deadline = time.monotonic() + PATIENCE
        while time.monotonic() < deadline and self._process.poll() is None:
            with contextlib.suppress(OSError, ValueError, StopIteration):
                self.url = json.loads(next(runtime.glob("jpserver-*.json")).read_text())["url"]
                self._api("status")
                return self.url
            time.sleep(0.2)
        self._process.kill()
        raise RuntimeError("JupyterLab did not start:\n" + Path(self._log.name).read_text(errors="replace"))


class Notebook:
    """A notebook open in JupyterLab. `page` is Playwright's, for what the helpers below do not do."""

    def __init__(self, lab: Lab, name: str):
        self.lab, self.name, self.page = lab, name, lab.page
        self.page.goto(lab.address(name))
        self._wait_until_ready()

    def _wait_until_ready(self) -> None:
        self.page.wait_for_function("window.jupyterapp?.shell.currentWidget?.sessionContext?.session?.kernel")
        self.page.wait_for_selector(".jp-Notebook .jp-Cell")
        self.wait_until_idle()

    def command(self, name: str) -> None:
        """Execute a command of JupyterLab, as its menu does, and wait for it to end."""
        self.page.evaluate("async name => { await window.jupyterapp.commands.execute(name) }", name)

    def run_all(self) -> None:
        self.command("notebook:run-all-cells")
        self.wait_until_idle()

    def run(self, cell: int) -> None:
        """Run one cell."""
        self.page.evaluate("i => { window.jupyterapp.shell.currentWidget.content.activeCellIndex = i }", cell)
        self.command("notebook:run-cell")
        self.wait_until_idle()

    def wait_until_idle(self) -> None:
        """Until the kernel has nothing to do, its last messages are on the page, and no widget is on its way."""
        self.page.wait_for_function(
            "window.jupyterapp.shell.currentWidget.sessionContext.session.kernel.status === 'idle'"
        )
        self.page.wait_for_timeout(300)
        self._outputs.get_by_text("Loading widget...").first.wait_for(state="hidden")

    def reload(self) -> None:
        """Save and load the page again; the kernel lives on."""
        self.command("docmanager:save")
        self.page.goto(self.lab.address(self.name))
        self._wait_until_ready()

    def reopen(self) -> None:
        """Save, end the kernel and open the notebook again, as on the next day."""
        self.command("docmanager:save")
        self.page.goto("about:blank")
        self.lab.shut_down_kernels()
        self.page.goto(self.lab.address(self.name))
        self._wait_until_ready()

    def restart_kernel(self) -> None:
        self.page.evaluate("window.jupyterapp.shell.currentWidget.sessionContext.session.kernel.restart()")
        self.wait_until_idle()

    # What is on the page. A widget is found by its label, the way a learner finds it.

    @property
    def text(self) -> str:
        """Everything visible in the outputs."""
        return "\n".join(self.page.locator(".jp-OutputArea-output:visible").all_inner_texts())

    def output(self, cell: int):
        return self.page.locator(".jp-Cell").nth(cell).locator(".jp-Cell-outputArea")

    def button(self, label: str):
        """A button, a tab or a fold. By its text, as an icon would be part of its accessible name."""
        clickable = self._outputs.locator("button, [role=tab], .jupyter-widget-Collapse-header")
        return clickable.filter(has_text=re.compile(rf"^\s*{re.escape(label)}\s*$")).locator("visible=true")

    def field(self, label: str):
        return self._outputs.get_by_label(label, exact=True).locator("visible=true")

    def click(self, label: str) -> None:
        """Click a button and wait until its work is done."""
        self.button(label).click()
        self.wait_until_idle()

    def fill(self, label: str, value: str) -> None:
        self.field(label).fill(value)
        self.field(label).press("Tab")
        self.wait_until_idle()

    def choose(self, label: str, option: str) -> None:
        """Choose from a dropdown or a list."""
        self.field(label).select_option(label=option)
        self.wait_until_idle()

    def check(self, label: str, on: bool = True) -> None:
        self.field(label).set_checked(on)
        self.wait_until_idle()

    def upload(self, label: str, path: Path) -> None:
        with self.page.expect_file_chooser() as chooser:
            self._outputs.locator("button", has_text=label).click()
        chooser.value.set_files(path)
        self.page.wait_for_timeout(500)  # the browser reads the file before the kernel hears of it
        self.wait_until_idle()

    def wait_for(self, text: str, seconds: float = PATIENCE) -> None:
        """Until `text` is to be seen in an output."""
        self._outputs.get_by_text(text).locator("visible=true").first.wait_for(timeout=seconds * 1000)

    def shot(self, name: str, whole: bool = True) -> Path:
        """A picture of the outputs (whole) or of the window, as `name`.png."""
        path = self.lab.shots / f"{name}.png"
        outputs = self._outputs.locator("visible=true")
        if whole and outputs.count() == 1:
            outputs.screenshot(path=path)
        else:
            self.page.screenshot(path=path)
        return path

    def assert_healthy(self) -> None:
        """No broken widget, no traceback, no red output."""
        text = self.text
        for problem in PROBLEMS:
            assert problem not in text, text
        red = self._outputs.locator(
            "[data-mime-type='application/vnd.jupyter.stderr'], [data-mime-type='application/vnd.jupyter.error']"
        )
        assert red.count() == 0, red.all_inner_texts()
        assert self.page.locator(".jp-Dialog").count() == 0, self.page.locator(".jp-Dialog").all_inner_texts()

    @property
    def _outputs(self):
        return self.page.locator(".jp-Cell-outputArea")


@pytest.fixture(scope="module")
def _lab(tmp_path_factory):
    """Server and browser of one test module. Not of the session: while Playwright's synchronous API is in use, its
    event loop counts as running, and tests of other modules want one of their own.
    """
    playwright = pytest.importorskip("playwright.sync_api", reason="没有安装 playwright：pip install -e .[dev]")
    if CHROMIUM is None:
        pytest.skip("没有找到 Chromium。Debian：apt-get install chromium fonts-noto-cjk")
    with playwright.sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        page = browser.new_page(viewport={"width": 1280, "height": 1600}, locale="zh-CN")
        page.set_default_timeout(PATIENCE * 1000)
        lab = Lab(tmp_path_factory.mktemp("lab"), page)
        try:
            yield lab
        finally:
            lab.stop()
            browser.close()


@pytest.fixture
def lab(_lab, tmp_path, request):
    """A JupyterLab with nothing in it: no file, no kernel, no work done."""
    _lab.shots = Path(os.environ.get("COURSE_SHOTS") or tmp_path)
    _lab.shots.mkdir(parents=True, exist_ok=True)
    _lab.page.goto("about:blank")
    _lab.shut_down_kernels()
    for folder in (_lab.root, _lab.workspace):
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir()
    yield _lab
    _lab.page.screenshot(path=_lab.shots / f"{request.node.name}-end.png")  # what there was to see when a test failed
