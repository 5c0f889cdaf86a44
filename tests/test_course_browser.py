"""Notebooks of the course run from top to bottom in a real JupyterLab, as a learner does who clicks 运行所有单元格.

At the size of `$COURSE_PROFILE`, ci when it is not set. With `$COURSE_SHOTS` set, the output of every cell is
photographed, as it is after the run and as it is on the next day.
"""

import os
import re

import nbformat
import pytest

from course_utils import notebooks
from course_utils.training import jobs

pytestmark = pytest.mark.slow

PATIENCE = 1800  # seconds of a cell: a training waits for other work on this machine
NAMES = sorted(source.stem for source in notebooks.SOLUTIONS.glob("*.py"))


@pytest.fixture(autouse=True, scope="module")
def small():
    """Set before the server starts: its kernels inherit it."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("COURSE_PROFILE", os.environ.get("COURSE_PROFILE") or "ci")
        yield


@pytest.fixture
def patient(small, lab, monkeypatch):
    """The laboratory, with time for a training; what a notebook left in the queue is stopped at the end."""
    monkeypatch.setenv("COURSE_WORKSPACE", str(lab.workspace))
    lab.page.set_default_timeout(PATIENCE * 1000)
    yield lab
    lab.page.set_default_timeout(30_000)
    for job in jobs.jobs():
        if job.state not in jobs.ENDED:
            jobs.stop(job.number)


def photograph(notebook, name: str) -> None:
    """The output of every code cell, if pictures are wanted."""
    if not os.environ.get("COURSE_SHOTS"):
        return
    cells = notebook.page.locator(".jp-Cell")
    for number, cell in enumerate(nbformat.read(notebook.lab.root / notebook.name, as_version=4).cells):
        if cell.cell_type == "code" and cell.outputs:
            notebook.page.evaluate(
                "i => window.jupyterapp.shell.currentWidget.content.scrollToItem(i, 'start')", number
            )
            notebook.page.wait_for_timeout(500)
            shown = cells.nth(number).locator(".jp-Cell-outputArea")
            if shown.is_visible():
                shown.screenshot(path=notebook.lab.shots / f"{name}-{number:02}.png")


@pytest.mark.parametrize("name", NAMES)
def test_it_runs_from_top_to_bottom(patient, name):
    solved, path = notebooks.read(notebooks.SOLUTIONS / f"{name}.py"), patient.root.parent / f"{name}.ipynb"
    notebooks.write(solved, path)
    notebook = patient.open(path)
    notebook.run_all()
    notebook.command("docmanager:save")
    photograph(notebook, name)
    ran = nbformat.read(patient.root / path.name, as_version=4)
    code = [cell for cell in ran.cells if cell.cell_type == "code"]
    assert all(cell.execution_count for cell in code), "the run stopped"
    outputs = [output for cell in code for output in cell.outputs]
    assert [output.evalue for output in outputs if output.output_type == "error"] == []
    assert "Error displaying widget" not in notebook.text
    checked = re.findall(r"([✓✗○]) 练习 (\d\d-\d)", "\n".join(o.get("data", {}).get("text/plain", "") for o in outputs))
    assert checked and {sign for sign, _ in checked} == {"✓"}, checked
    notebook.reopen()
    photograph(notebook, f"{name}-reopened")
    assert "Error displaying widget" not in notebook.text
