"""Three sizes of the same lesson: `ci` proves in a minute that it runs, `classroom` is for two cores, `gpu` for a GPU."""

import os
from typing import TypeVar

from course_utils.errors import ConfigError

PROFILES = ("ci", "classroom", "gpu")
Size = TypeVar("Size")


def profile() -> str:
    """`$COURSE_PROFILE`; unset, gpu where torch finds CUDA, else classroom. Raises `ConfigError`."""
    if chosen := os.environ.get("COURSE_PROFILE"):
        return named(chosen)
    import torch

    return "gpu" if torch.cuda.is_available() else "classroom"


def named(name: str) -> str:
    """`name`, when it is that of a profile. Raises `ConfigError`."""
    if name not in PROFILES:
        raise ConfigError(f"没有叫「{name}」的规模。COURSE_PROFILE 或 --profile 应当是：{'、'.join(PROFILES)}。")
    return name


def by_profile(*, ci: Size, classroom: Size, gpu: Size) -> Size:
    """The value of the profile in use, for sizes: rows, steps, models."""
    return {"ci": ci, "classroom": classroom, "gpu": gpu}[profile()]
