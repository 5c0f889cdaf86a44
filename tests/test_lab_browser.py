"""Seen in a real JupyterLab: where `course lab` opens, and a quiz and a check as a learner meets them."""

import json
import os
import re
import subprocess
import sys
import time
import urllib.request

import pytest
from browser import PATIENCE

from course_utils import paths

pytestmark = pytest.mark.slow

CELL = """from course_utils.grading.checks import check
from course_utils.grading.quiz import quiz

quiz("04-q1")
quiz("04-q2")
check("04-1", None)
check("04-1", {"随机": 2, "较难": 0.5})"""


def test_a_quiz_explains_and_leaves_its_text(lab):
    notebook = lab.notebook(CELL)
    notebook.run_all()
    notebook.assert_healthy()
    shown = notebook.text
    assert shown.count("小测验 04-q1") == 1, "the still text hides while the quiz is live"
    assert "○ 练习 04-1　还没有做" in shown and "✗ 练习 04-1" in shown and "False" not in shown
    options = notebook.page.locator(".course-quiz").first.locator(".widget-radio-box label")
    options.nth(1).click()
    notebook.wait_until_idle()
    notebook.wait_for("✗")
    options.nth(0).click()
    notebook.wait_until_idle()
    notebook.shot("quiz-live")
    claims = [json.loads(line) for line in (lab.workspace / "progress.jsonl").read_text().splitlines()]
    assert [c["exercise"] for c in claims] == ["04-1", "04-q1", "04-q1"]
    notebook.reopen()
    notebook.shot("quiz-reopened")
    shown = notebook.text
    assert "小测验 04-q1" in shown and "分类头" in shown and "Error displaying widget" not in shown


@pytest.fixture
def server(tmp_path):
    """`course lab` with a learner's settings; yields its address and log."""
    own = {name: str(tmp_path / name) for name in ("JUPYTER_CONFIG_DIR", "JUPYTER_DATA_DIR", "JUPYTER_RUNTIME_DIR")}
    own |= {"COURSE_WORKSPACE": str(tmp_path / "workspace"), "PYTHONUTF8": "1"}
    own |= {"JUPYTERLAB_SETTINGS_DIR": str(tmp_path / "s"), "JUPYTERLAB_WORKSPACES_DIR": str(tmp_path / "w")}
    options = ["--no-browser", "--allow-root", "--port=0", "--IdentityProvider.token=t", "--expose-app-in-browser"]
    with (tmp_path / "log").open("wb") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", "course_utils.cli", "lab", *options],
            env=os.environ | own, stdout=log, stderr=log, start_new_session=True,
        )  # fmt: skip
    try:
        deadline = time.monotonic() + PATIENCE
        while not (found := re.search(r"http://\S+?:\d+/", (tmp_path / "log").read_text(errors="replace"))):
            assert time.monotonic() < deadline and process.poll() is None, (tmp_path / "log").read_text()
            time.sleep(0.2)
        yield found[0]
    finally:
        os.killpg(process.pid, 15)
        process.wait(20)


def test_course_lab_opens_the_copies_without_distractions(server, _lab):
    page = _lab.page
    page.goto(f"{server}lab?token=t")
    page.wait_for_selector(".jp-Launcher")
    page.wait_for_selector(".jp-DirListing-item[title*='.ipynb']")
    page.wait_for_timeout(1000)
    page.screenshot(path=str(shots(_lab) / "course-lab.png"))
    names = page.locator(".jp-DirListing-itemText").all_inner_texts()
    assert sorted(names) == sorted(path.name for path in (paths.ROOT / "notebooks").glob("*.ipynb"))
    said = page.locator("body").inner_text()
    assert "Jupytext" not in said and "news" not in said
    with urllib.request.urlopen(f"{server}api/contents/?token=t") as answer:
        assert "notebooks" in [entry["name"] for entry in json.load(answer)["content"]], "the workspace is at hand"


def shots(lab):
    from pathlib import Path

    folder = Path(os.environ.get("COURSE_SHOTS") or lab.workspace)
    folder.mkdir(parents=True, exist_ok=True)
    return folder
