"""Where things lie: the learner's work in `workspace/`, what can be made again in the cache."""

import os
from pathlib import Path

import platformdirs

ROOT = Path(__file__).resolve().parent.parent


def workspace() -> Path:
    """The learner's folder: `$COURSE_WORKSPACE`, else `workspace/` beside this package. Created when missing."""
    return _made(Path(os.environ.get("COURSE_WORKSPACE") or ROOT / "workspace"))


def runs() -> Path:
    """The folder with one sub-folder per training run."""
    return _made(workspace() / "runs")


def cache() -> Path:
    """Converted weights and other things that can be made again: `$COURSE_CACHE`, else the user's cache folder."""
    return _made(Path(os.environ.get("COURSE_CACHE") or platformdirs.user_cache_dir("llm-finetuning-course")))


def _made(folder: Path) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    return folder
