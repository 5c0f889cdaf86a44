"""Question and answer pairs out of a document, offline: what its structure and the forms of its sentences state.

No model is asked. Headings and the title say what a sentence is about, `patterns.findings` says what it states; a
candidate that cannot stand alone is dropped with its reason.
"""

import re
from bisect import bisect_right
from dataclasses import dataclass, field

from course_utils.data.candidates import ASKS, LONGEST, Candidate, Dropped, candidates
from course_utils.data.documents import chunks
from course_utils.data.outline import Document, parse
from course_utils.data.wording import PRONOUN, has_subject

RULES = re.compile(
    r"(?:规定|法典|办法|制度|细则|条例|法|规程|章程|规则|守则|公约|合同|协议|纪要|通知|须知|公告|规范|准则|标准|政策|说明|条款|方案|意见)(?:（[^）]*）)?$"
)
SUFFIX = re.compile(
    r"[\s·|_-]*(?:的?(?:使用|产品|用户|安装|操作|药品)?(?:说明书?|手册|指南)|(?:会员|用户|顾客)?常见问题(?:解答|与解答|汇总)?|FAQ|问答|更新日志|版本说明|百科|介绍|简介|详情页?|攻略|岗位说明书|怎么\w{1,3}|怎样\w{1,3})(?:（[^）]*）)?$"
)
GENERIC = re.compile(
    r"(?:其他|其它|附则|总则|附注|附录|说明|概述|简介|介绍|备注|注意|提示|几个提醒|正文|前言|一些说明|补充|名词|用语|术语|定义|几个说法|更多|图文详情|基本资料)$"
)


@dataclass(frozen=True)
class Pair:
    """`answer` is found in `text[start:end]` of the document; the question names what it is about.

    kind: 问答, 定义, 原因, 条件, 数字, 时间, 步骤, 列举, 表格, 责任 or 其他. chunk: the number from `chunks`.
    """

    question: str
    answer: str
    kind: str
    source: str
    start: int
    end: int
    chunk: int = 1


@dataclass
class Extraction:
    pairs: list[Pair] = field(default_factory=list)
    dropped: list[Dropped] = field(default_factory=list)


def extract(document: Document, separator: str | None = None) -> Extraction:
    """The pairs of a document in its order, and what was dropped. separator: as for `chunks`; each chunk then stands
    alone, with its own headings. Raises `DataError` for a separator that cannot be used.
    """
    pieces = chunks(document, separator)
    if separator is not None:
        spans = [(chunk.start, chunk.end) for chunk in pieces]
        document = parse(document.text, document.source, spans)
    result, seen, starts = Extraction(), set(), [chunk.start for chunk in pieces]
    for found in candidates(document):
        if isinstance(found, Dropped):
            result.dropped.append(found)
            continue
        question = _named(found, document)
        reason = "没有主语" if question is None else _fault(found, question)
        key = re.sub(r"\W", "", question or found.question)
        if not reason and key in seen:
            reason = "重复"
        if reason:
            result.dropped.append(Dropped(question or found.question, reason, found.start, found.end))
            continue
        seen.add(key)
        number = max(bisect_right(starts, found.start), 1)
        result.pairs.append(Pair(question, found.answer, found.kind, document.source, found.start, found.end, number))
    return result


def _fault(found: Candidate, question: str) -> str:
    if not ASKS.search(question):
        return "不是问题"
    if PRONOUN.match(found.question) or re.search(r"[前上][款项条]|本[款项条]|上述", found.question):
        return "指代不明"
    if len(re.sub(r"\W", "", found.answer)) < 1 or found.answer in ("无", "—", "-", "/", "不限", "无要求"):
        return "答案太短"
    if found.answer.endswith(("：", ":")):
        return "答案不完整"
    if len(found.answer) > LONGEST:
        return "答案太长"
    if len(question) > 120:
        return "问题太长"
    return "答案就在问题里" if re.sub(r"\W", "", found.answer) in re.sub(r"\W", "", found.question) else ""


def _named(found: Candidate, document: Document) -> str | None:
    """The question with the thing that it is about: the title and the heading where it does not name them itself."""
    core = found.question
    title, is_rule = subject_of(document.title)
    name = title
    headings = [h for h in found.path if not GENERIC.match(h) and (_is_version(h) or h == found.path[-1])]
    headings = [re.sub(r"[？?]$", "", h) for h in headings if h not in core and h not in title]
    if not title and not headings:
        return core if has_subject(core) else None
    if title and title in core:
        title = ""
        if not headings:
            return core
    versions = [h for h in headings if _is_version(h)]
    title = " ".join([title, *map(_version, versions)]).strip()
    topic = next((h for h in headings if h not in versions), "")
    if re.search(r"^第.{1,9}条$", topic):
        return f"按照《{name}》{topic}，{core}"
    if is_rule or len(title) > 18 or re.search(r"[，。！？：“]", title):
        opening = "按照" if is_rule else "在"
        part = f"的“{topic}”部分" if topic else ("" if is_rule else "里")
        return f"{opening}《{title}》{part}，{core}" if title else f"关于“{topic}”，{core}"
    if not topic:
        return f"关于{title}，{core}"
    if not title:
        return f"关于{topic}，{core}"
    short = len(topic) <= 8 and not ASKS.search(topic) and not re.search(r"[要了的不：]", topic)
    return f"关于{title}的{topic}，{core}" if short else f"关于{title}的“{topic}”，{core}"


def subject_of(title: str) -> tuple[str, bool]:
    """What a document is about, and whether it is a rule that is cited by its title.

    >>> subject_of("沐岭 CS-18 家用除湿机使用说明书")
    ('沐岭 CS-18 家用除湿机', False)
    """
    title = re.sub(r"（(?:节选|摘录|试行|修订|[^）]{1,3}份|[^）]*版)）$", "", title).strip()
    bare = SUFFIX.sub("", title).strip(" ·|-_")
    if bare != title and len(bare) >= 2 and not bare.endswith(("，", "：")):
        return bare, False
    return title.strip("《》"), bool(RULES.search(title))


def _is_version(heading: str) -> bool:
    return bool(re.match(r"[vV]?\d+\.\d+", heading))


def _version(heading: str) -> str:
    return re.match(r"[vV]?[\d.]+\S*", heading)[0]
