"""The choice of a batch of this workspace, which the panels of batch, scores and rating have in common."""

from pathlib import Path

import ipywidgets as widgets

from course_utils import paths

LABEL = {"description_width": "8em"}
WIDE = {"width": "460px"}  # a layout of its own for each control: some are hidden


def batch_choice() -> widgets.Dropdown:
    """A dropdown of the batches of this workspace; its values are their folders."""
    return widgets.Dropdown(options=batches(), description="批量预测", style=LABEL, layout=WIDE)


def batches() -> list[tuple[str, Path]]:
    """Name and folder of every batch of this workspace, the newest first."""
    found = (paths.workspace() / "batches").glob("*/batch.json")
    return [(p.parent.name, p.parent) for p in sorted(found, key=lambda p: p.stat().st_mtime, reverse=True)]


def renew_choice(choice: widgets.Dropdown, wanted: Path | None = None) -> None:
    """Bring the dropdown up to date; what was chosen stays chosen."""
    options, chosen = batches(), wanted or choice.value
    if options != list(choice.options):
        choice.options = options
    folders = [folder for _, folder in options]
    if folders and choice.value != chosen:
        choice.value = chosen if chosen in folders else folders[0]
