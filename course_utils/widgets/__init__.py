"""One panel per step; each is a view, and shows the call that does the same."""

from course_utils.widgets.augmenting import augment_panel
from course_utils.widgets.batching import batch_panel
from course_utils.widgets.chatting import chat_panel
from course_utils.widgets.comparing import compare_chat_panel
from course_utils.widgets.extracting import extract_panel
from course_utils.widgets.history import compare_panel, history_panel
from course_utils.widgets.importing import import_panel
from course_utils.widgets.market import market_panel
from course_utils.widgets.presets import presets_panel
from course_utils.widgets.prompting import prompts_panel
from course_utils.widgets.publishing import publish_panel
from course_utils.widgets.rating import rating_panel
from course_utils.widgets.scores import scores_panel
from course_utils.widgets.studio import studio_panel
from course_utils.widgets.watch import watch_panel

__all__ = [
    "augment_panel",
    "batch_panel",
    "chat_panel",
    "compare_chat_panel",
    "compare_panel",
    "extract_panel",
    "history_panel",
    "import_panel",
    "market_panel",
    "presets_panel",
    "prompts_panel",
    "publish_panel",
    "rating_panel",
    "scores_panel",
    "studio_panel",
    "watch_panel",
]
