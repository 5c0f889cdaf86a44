"""One panel per step; each is a view, and shows the call that does the same."""

from course_utils.widgets.importing import import_panel
from course_utils.widgets.presets import presets_panel

__all__ = ["import_panel", "presets_panel"]
