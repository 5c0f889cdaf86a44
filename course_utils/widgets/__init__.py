"""One panel per step; each is a view, and shows the call that does the same."""

from course_utils.widgets.history import compare_panel, history_panel
from course_utils.widgets.importing import import_panel
from course_utils.widgets.market import market_panel
from course_utils.widgets.presets import presets_panel
from course_utils.widgets.studio import studio_panel
from course_utils.widgets.watch import watch_panel

__all__ = [
    "compare_panel",
    "history_panel",
    "import_panel",
    "market_panel",
    "presets_panel",
    "studio_panel",
    "watch_panel",
]
