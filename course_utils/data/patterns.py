"""What a Chinese sentence states, and the question that asks for it.

A Chinese question keeps the order of its statement, with a question word in the place of what is asked (整机保修 2 年,
整机保修多少年？). So most questions here are the sentence itself with its figures, dates or agents replaced.
"""

import re
from collections.abc import Iterator

from course_utils.data.norms import agent, conditions, duties, exception
from course_utils.data.wording import (
    LINKS,
    MOMENT,
    PRONOUN,
    WH,
    Finding,
    clauses,
    has_subject,
    interrogate,
    not_link,
    noun_before_verb,
    pieces,
    split_outside,
)

LONGEST_SENTENCE = 300  # characters; a longer one is no sentence, and the patterns would take long over it


def findings(text: str) -> Iterator[Finding]:
    """All that one sentence (no final mark) states, in the order of how sure the form is."""
    text = re.sub(r"^(?:可以|不可以|不能|不会|不是|能|会|是的|不|有|没有)，", "", text.strip())
    text = (
        LINKS.sub("", text.strip().rstrip("。；！;，"), count=1)
        if LINKS.match(text.strip())
        else text.strip().rstrip("。；！;，")
    )
    if len(text) > LONGEST_SENTENCE:
        return
    defined = list(_definitions(text))
    parts = [text[a:b].strip() for a, b in split_outside(text, "。；")]
    why = next((finding for part in parts if (finding := _cause(part))), None)
    certain = [*defined, *([why] if why else [])]
    certain += [] if defined else conditions(parts)
    certain += [*exception(text), *agent(text)]
    numbers = [] if defined else list(_numbers(text))
    yield from certain
    yield from numbers
    if not (defined or why):
        demanded = list(duties(text))
        yield from demanded
        if not (certain or demanded):
            yield from _members(text)


def _definitions(text: str) -> Iterator[Finding]:
    text = re.sub(r"^(?:本[^，]{1,6}|本法)?所?称的?|^所谓的?", "", text)
    first = re.match(
        r"[“”]?(?P<x>[^，：“”]{1,14}?)[”]?[，]?(?:一般|仅|只)?(?:是指|指的是|系指|意思是|意味着)(?P<y>.{2,})", text
    )
    if first and not PRONOUN.match(first["x"]):
        yield Finding("定义", f"“{first['x'].strip()}”是指什么？", first["y"])
        return
    quoted = list(
        re.finditer(r"“(?P<x>[^”]{1,12})”(?P<v>则|只|就|仅)*(?P<verb>是|指|表示|以|不含|不包括|包括|也?称)", text)
    )
    for match, after in zip(quoted, [*quoted[1:], None], strict=False):
        if match.start() and text[match.start() - 1] not in "的，、":
            continue
        answer = text[match.end("x") + 1 : after.start() if after else len(text)].strip("，、； ")
        answer = re.sub(r"^(?:则|只|就)*(?:是|指)(?!为)", "", answer) if match["verb"] in "是指" else answer
        if len(answer) > 2:
            yield Finding("定义", f"“{match['x']}”是指什么？", answer)
    if match := re.search(r"“(?P<x>[^”]{1,12})”[^，]{0,2}，即(?P<y>.{4,})$", text):
        yield Finding("定义", f"“{match['x']}”是指什么？", match["y"])
        return
    named = re.match(
        r"(?P<y>.{4,60}?(?:的|者))，?(?:以下)?(?:称为|称作|叫做|叫作|统称为?|简称|为)“?(?P<x>[^，。”的]{2,10})”?(?=，|$)",
        text,
    )
    if named and not quoted and re.search("称|叫", named[0]):
        yield Finding("定义", f"“{named['x']}”是指什么？", named["y"])
    other = re.match(r"(?P<x>[^，：]{2,12}?)(?:指|只?表示)(?P<y>[^导挥定出标示向令数甲引望].{3,})", text)
    if other and not first and not quoted:
        verb = text[other.end("x") : other.start("y")]
        yield Finding("定义", f"{other['x'].strip()}{verb}什么？", other["y"])


def _cause(text: str) -> Finding | None:
    if match := re.match(r"(?P<r>.{3,}?)，(?:这是|主要是|是)?(?:因为|由于|原因是|理由是|原因在于)(?P<c>.{3,})$", text):
        parts = clauses(match["r"])
        if len(parts) > 1 and re.match(r"(?:请?不[要得能可]|禁止|切勿|别|必须|务必)", parts[0]):
            return Finding("原因", f"为什么{not_link(parts[0])}？", text[text.index(parts[0]) + len(parts[0]) + 1 :])
        return Finding("原因", f"{_why(match['r'])}？", f"{match['c']}")
    if match := re.match(r"(?P<r>.{3,}?)是(?:因为|由于)(?P<c>.{3,})$", text):
        return Finding("原因", f"{_why(match['r'])}？", match["c"])
    if match := re.match(r"(?P<r>.{3,}?)(?:，|的)?原因是(?P<c>.{3,})$", text):
        return (
            None
            if re.search("问题|修[复好]|解决", match["r"])
            else Finding("原因", f"{_why(match['r'])}？", match["c"])
        )
    if match := re.match(
        r"(?P<s>[^，因]{0,8}?)(?:因为?|由于)(?P<c>[^，]{3,40}?)，(?:所以|因此|因而|故)?(?P<r>.{2,})$", text
    ):
        if (
            not match["r"].endswith("的")
            and not re.search(r"的$|^工|造成|引起|导致|产生|此", match["c"])
            and not re.search(r"[原起]$", match["s"])
        ):
            return Finding("原因", f"{_why(match['s'] + match['r'])}？", text[match.end("s") : match.end("c")])
        return None
    if match := re.match(
        r"(?P<c>.{4,}?)，(?P<s>[^，]{0,8}?)(?:所以|因此|因而|由此|从此)(?!产生|造成|导致|引起)(?P<r>.{2,})$", text
    ):
        result = match["s"] + match["r"]
        return Finding("原因", f"{'为什么' + result if len(result) <= 25 else _why(result)}？", match["c"])
    if match := re.match(
        r"(?P<r>.{4,}?)，(?P<c>(?:否则|不然|以便|以免|以防|避免|以(?=[^上下后前内外及]{2})).{3,}(?<!论)(?<!为[准限]))$",
        text,
    ):
        return Finding("原因", f"{_why(match['r'])}？", match["c"])
    if match := re.match(r"(?P<r>[^，]{3,}?)，(?P<c>(?:主要|多半|大多|多)是.{3,})$", text):
        return Finding("原因", f"为什么{match['r']}？", match["c"])
    if match := re.match(r"(?P<r>[^，]{2,12}?)(?:，[^，]+)*，因(?P<c>[^，]{3,})而(?P<v>[^，]{2,6})$", text):
        return Finding("原因", f"{match['r']}为什么{match['v']}？", "因" + match["c"] + "而" + match["v"])
    return None


def _why(statement: str) -> str:
    """为什么 before the last clause of the statement, which carries what is explained."""
    parts = clauses(not_link(statement))
    last = not_link(parts[-1])
    subject = noun_before_verb(parts[0]) if len(parts) > 1 and not has_subject(last) else ""
    if not subject or subject in last or len(subject) > 8 or re.search(r"\d", subject):
        subject = ""
    if not subject and re.match(r"[每\d]", last) and len(statement) <= 40:
        last = statement  # a time alone does not say what it is about
    return f"为什么{subject}{last}"


def _numbers(text: str) -> Iterator[Finding]:
    first, _, rest = text.partition("。")
    text = text if rest.startswith("其中") else first
    if len(text) > 120 or re.search(r"(?:下列|以下|如下)[^：]*：", text):
        return
    asked, answer, kinds = [], text, set()
    wanted = 0
    for clause in re.split("[，；。]", text) if text.count("“") != text.count("”") else pieces(text):
        if re.match(r"(?:因为|由于|否则|以便|以免|理由是|原因是)", clause):
            break
        question, words = interrogate(clause)
        if wanted and wanted + len(words) > 3:
            answer = text if len(text) <= 80 else text[: text.index(clause)].rstrip("，；。 ")
            break
        wanted += len(words)
        kinds |= words
        asked.append((question, bool(words)))
    while asked and not asked[-1][1] and not (len(asked) > 1 and asked[-2][1] and _is_open(asked[-2][0], asked[-1][0])):
        asked.pop()
    if (
        not asked
        or re.search(r"[的起]$", asked[-1][0])
        or (re.search(r"的[^\W\d]{1,2}$", asked[0][0]) and len(asked) == 1)
    ):
        return
    if not wanted or len(re.sub(f"{WH}|\\W", "", asked[0][0])) < 2:
        return
    question = "，".join(not_link(question) for question, _ in asked)
    question = re.sub(f"((?:{WH}))：[^？]*$", r"\1", question)
    yield Finding("时间" if kinds <= {"什么时候", "几点"} else "数字", question + "？", answer)


def _is_open(clause: str, after: str) -> bool:
    """Whether a clause still needs the next one: 满多少日的, 会后几日内无人更改."""
    if re.search(r"[的后前起者内外]$|(?<![小安瓦])时$|后[多几]\S{0,5}$|的[^\W\d]{1,3}$", clause):
        return not re.search(r"是[^，]*的$", clause)
    return bool(
        re.search(r"满|不足|超过|没|未|无", clause) and re.match(r".{0,4}(?:即|就|则|会|作废|视为|取消)", after)
    )


def _members(text: str) -> Iterator[Finding]:
    if match := re.match(
        r"(?P<s>[^，]{2,20}?)[，]?(?:主要|一般)?(?P<v>包括|分为|包含|分别是|分别为|含有)[：:]?(?P<y>.{3,})$", text
    ):
        if not (PRONOUN.match(match["s"]) or re.search("[不再]$", match["s"])):
            yield Finding(
                "列举",
                f"{match['s']}{match['v'] if match['v'] != '含有' else '含有'}{'哪几种' if match['v'] == '分为' else '哪些'}？",
                match["y"],
            )
    elif match := re.match(r"(?P<s>[^，：]{2,20})[：:](?P<y>.{3,})$", text):
        if re.match(r"(?:下列|以下)", match["s"]):
            yield Finding("列举", f"{re.sub('^(?:下列|以下)', '哪些', match['s'])}？", match["y"])
    elif match := re.match(
        r"(?P<s>[^，是为由]{2,14}?)(?P<v>的是|是|为)(?P<y>(?!否|不是|由于|因|了|什么|可以).{2,})$", text
    ):
        if (
            not PRONOUN.match(match["s"])
            and not re.search(r"[不都也就还仍只更才便成作改行以认较最尤甚]$", match["s"])
            and has_subject(text)
            and not re.match(rf"{MOMENT}|\d|[认本]|[^，]*[的时]，", match["y"])
        ):
            yield Finding("定义", f"{match['s']}{match['v'] if match['v'] != '为' else '是'}什么？", match["y"])
    elif match := re.match(r"(?P<s>[^，]{2,16})位于(?P<y>[^，]{2,})", text):
        yield Finding("其他", f"{match['s']}位于哪里？", match["y"])
