"""Every notebook runs from a clean kernel, and keeps the form that a reader counts on."""

from pathlib import Path

import nbformat
import pytest
from nbclient import NotebookClient

NOTEBOOKS = sorted(Path(__file__).parent.parent.glob("notebooks/*.ipynb"))


@pytest.fixture(params=NOTEBOOKS, ids=lambda path: path.stem)
def notebook(request):
    return nbformat.read(request.param, as_version=4)


def test_there_are_notebooks():
    assert NOTEBOOKS


PICTURES = {"03_sentiment_model": 2}  # the loss curve and the confusion matrix


def test_runs_from_a_clean_kernel(notebook, tmp_path, monkeypatch, request):
    monkeypatch.setenv("COURSE_PROFILE", "ci")
    NotebookClient(notebook, timeout=900, kernel_name="python3", resources={"metadata": {"path": tmp_path}}).execute()
    pictures = [
        output for cell in notebook.cells for output in cell.get("outputs", []) if "image/png" in output.get("data", {})
    ]
    assert len(pictures) >= PICTURES.get(request.node.callspec.id, 0)


def test_form(notebook):
    kinds = [cell.cell_type for cell in notebook.cells]
    assert 25 <= len(kinds) <= 45
    assert kinds.count("markdown") >= kinds.count("code")
    assert kinds[0] == kinds[-1] == "markdown"
    lines = sorted(len(cell.source.splitlines()) for cell in notebook.cells if cell.cell_type == "code")
    assert lines[len(lines) // 2] <= 8 and lines[-1] <= 30
    for cell, following in zip(notebook.cells, notebook.cells[1:], strict=False):
        if cell.cell_type == "code":
            assert following.cell_type == "markdown", f"nothing is said after: {cell.source[:60]}"


def test_is_kept_without_outputs(notebook):
    for cell in notebook.cells:
        if cell.cell_type == "code":
            assert not cell.outputs and cell.execution_count is None
