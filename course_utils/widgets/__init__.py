"""One panel per step; each is a view, and shows the call that does the same.

A panel's module is imported when the panel is first asked for: a notebook that shows one does not wait for all.
"""

from importlib import import_module

PANELS = {
    "augment_panel": "augmenting",
    "batch_panel": "batching",
    "chat_panel": "chatting",
    "compare_chat_panel": "comparing",
    "compare_panel": "history",
    "extract_panel": "extracting",
    "history_panel": "history",
    "import_panel": "importing",
    "market_panel": "market",
    "presets_panel": "presets",
    "prompts_panel": "prompting",
    "publish_panel": "publishing",
    "rating_panel": "rating",
    "scores_panel": "scores",
    "studio_panel": "studio",
    "watch_panel": "watch",
}
__all__ = list(PANELS)


def __getattr__(name: str):
    if name not in PANELS:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{PANELS[name]}"), name)


def __dir__() -> list[str]:
    return sorted([*globals(), *PANELS])
