"""Where things lie: the learner's work in `workspace/`, what can be made again in the cache."""

import os
from pathlib import Path

import platformdirs

ROOT = Path(__file__).resolve().parent.parent


def workspace() -> Path:
    """The learner's folder: `$COURSE_WORKSPACE`, else `workspace/` beside this package. Created when missing, and then
    for its owner alone: on a computer that a class shares, nobody reads another's data, answers or keys.
    """
    return _made(Path(os.environ.get("COURSE_WORKSPACE") or ROOT / "workspace").expanduser(), 0o700)


def runs() -> Path:
    """The folder with one sub-folder per training run."""
    return _made(workspace() / "runs")


def cache() -> Path:
    """Converted weights: `$COURSE_CACHE`, which a class may share and only its teacher write to, else `own_cache`."""
    return _made(Path(os.environ["COURSE_CACHE"])) if os.environ.get("COURSE_CACHE") else own_cache()


def own_cache() -> Path:
    """The user's cache folder. What Python imports from a cache must come from here: others may not write to it."""
    return _made(Path(platformdirs.user_cache_dir("llm-finetuning-course")))


def _made(folder: Path, mode: int = 0o777) -> Path:
    folder.mkdir(mode, parents=True, exist_ok=True)
    return folder
