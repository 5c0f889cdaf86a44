"""Points: which parts a submission is marked by, and how a measured share becomes points."""

from functools import cache
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, Field, ValidationError, model_validator

from course_utils.errors import ConfigError
from course_utils.grading.submission import LEGAL
from course_utils.grading.untrusted import told
from course_utils.training.config import read_yaml

TOTAL = 100
HIGHEST = 4  # of a criterion of a free answer
Name = Literal[
    "data", "leakage", "loss", "citations", "given", "hidden", "safety", "judge", "answers", "exercises"
]  # fmt: skip


class Part(BaseModel, extra="forbid"):
    """One part: `share` of 1 gives `points`."""

    name: Name
    title: str = Field(min_length=1)
    points: float = Field(gt=0)
    zero_at: float
    full_at: float

    def score(self, measured: float) -> float:
        """The points for a measured value, rounded to two places."""
        share = (measured - self.zero_at) / (self.full_at - self.zero_at)
        return round(self.points * min(1.0, max(0.0, share)), 2)

    @model_validator(mode="after")
    def _ordered(self):
        if self.zero_at >= self.full_at:
            raise ValueError(f"「{self.title}」的 zero_at 要小于 full_at")
        return self


class Criterion(BaseModel, extra="forbid"):
    """What a free answer is marked by, from 0 to `HIGHEST`. anchors: mark -> what an answer of this mark is like."""

    name: str = Field(min_length=1)
    anchors: dict[int, str]


class Rubric(BaseModel, extra="forbid"):
    """legal: of notebook 05. plain: of every other. criteria: of the free answers."""

    legal: list[Part]
    plain: list[Part]
    criteria: list[Criterion] = Field(min_length=1)

    def parts(self, notebook: str) -> list[Part]:
        return self.legal if notebook == LEGAL else self.plain

    @model_validator(mode="after")
    def _whole(self):
        for title, parts in (("legal", self.legal), ("plain", self.plain)):
            total, names = sum(part.points for part in parts), [part.name for part in parts]
            if abs(total - TOTAL) > 1e-9:
                raise ValueError(f"{title} 的分数加起来是 {total:g}，应当是 {TOTAL}")
            if len(names) != len(set(names)):
                raise ValueError(f"{title} 里有一项写了两次")
        return self


def read_rubric(path: str | Path) -> Rubric:
    """The rubric in a YAML file. Raises `ConfigError`."""
    try:
        return Rubric.model_validate(read_yaml(path))
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        where = " 的 ".join(str(step + 1 if isinstance(step, int) else step) for step in first["loc"]) or "整个文件"
        raise ConfigError(f"评分标准 {path} 不对（{where}）：{told(first)}。") from None


@cache
def default_rubric() -> Rubric:
    return read_rubric(Path(__file__).with_name("rubric.yaml"))
