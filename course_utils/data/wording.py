"""The words of a Chinese sentence: its clauses and subject, its figures and times, and the question words for these."""

import re
from typing import NamedTuple

WH = "什么时候|几点|百分之多少|[多几]少?[^，]{0,4}"
HAN = "一二两三四五六七八九十百千万半几"
FIGURE = rf"(?:\d+(?:[.,]\d+)*|[{HAN}]+)"
METRIC = (
    "万元|亿元|元|块钱|工作日|小时|分钟|秒钟|秒|周岁|周年|天|日|年|岁|平方米|立方米|平方公里|厘米|毫米|公里|"
    "千米|米|毫升|升|毫克|千克|公斤|克|吨|斤|毫安时|千瓦时|千瓦|瓦|伏|℃|摄氏度|度|GB|MB|KB|TB|"
    "Mbps|%|％|分|学分|课时|页|字"
)
COUNTED = (
    "个工作日|个上学日|个自然日|个半小时|个小时|个月|个星期|个学期|个百分点|个|星期|学期|周|汤匙|茶匙|名|人|位|次|"
    "件|条|张|只|孔|块|级|层|份|套|遍|轮|盘|册|台|艘|班|种|项|倍|成|折|盒|瓶|袋|支|片|粒|滴|辆|户|门|"
    "处|座|根|颗|场|届|趟|步|道|题|篇|期|晚"
)
# A unit is none where it begins a word: 6 比 4 分担, 三成为 …
WORDS = {
    "分": "担别之类析为享配组开", "天": "然气台生", "日": "常期", "次": "日年序", "人": "员工次", "位": "于置", "成": "为立人功员绩",
    "名": "称单额字", "条": "件款", "张": "贴", "个": "人体", "只": "能要有是需限", "项": "目", "年": "级龄度", "种": "类植", "班": "级长",
    "步": "骤行", "级": "别升", "门": "票口诊", "户": "外口", "道": "路理", "处": "理罚分", "台": "阶", "折": "叠旧", "场": "地所馆", "期": "间限满",
}  # fmt: skip
UNIT = "|".join(
    re.escape(unit) + (f"(?![{WORDS[unit]}])" if unit in WORDS else "")
    for unit in sorted(f"{METRIC}|{COUNTED}".split("|"), key=len, reverse=True)
)
BEFORE = rf"(?<![第\dA-Za-z.\-—_/#{HAN}])(?<!第 )"
ONE = rf"-?{FIGURE}\s*多?\s*(?:{UNIT})"
QUANTITY = re.compile(
    rf"{BEFORE}(?P<m>{FIGURE})\s*(?P<between>{UNIT})(?:以上|不满)\s*{FIGURE}\s*(?:{UNIT})以下"
    rf"|{BEFORE}(?:-?{FIGURE}\s*(?:{UNIT})?\s*(?:至|到|~|～|—|-)\s*|(?:{ONE}\s*(?:、|和|或|或者)\s*)+)?"
    rf"(?P<n>-?{FIGURE})\s*多?\s*(?P<unit>{UNIT})(?!升|级升|号|段|[A-Za-z])"
    rf"|百分之{FIGURE}|万分之{FIGURE}|千分之{FIGURE}|{FIGURE}\s*[×xX]\s*{FIGURE}\s*(?:厘米|毫米|米)"
)
CLOCK = r"(?:[上下]午|晚上?|早上?|中午|凌晨)?\s*(?:\d{1,2}[:：]\d{2}|\d{1,2}\s*点(?:半|\d{1,2}\s*分)?)"
DAY = r"(?:(?:每年|明年|次年|今年|去年|当年)\s*)?(?:\d{4}\s*年\s*)?\d{1,2}\s*月(?:\s*\d{1,2}\s*日|\s*底|\s*[上中下]旬)?|\d{4}\s*年(?!以|内)(?:\s*(?:[春夏秋冬][天季]|年?底|年?初))?|每[月周年季]\s*\d{1,2}\s*[日号]"
MOMENT = rf"(?:(?:{DAY})(?:（[^）]*）)?(?:\s*{CLOCK})?|{CLOCK})"
TIME = re.compile(
    rf"(?<![\d.])(?P<a>{MOMENT})(?:\s*(?P<range>至|到|—|-|~|～|、|和)\s*(?:{MOMENT}|\d{{1,2}}\s*日))*(?P<tail>\s*(?:前|后|之前|以前|之后|以后))?"
)
INDEFINITE = re.compile(
    r"[一两]\s*(?:层|点|些|下|圈|股|个|种|位|名|只|件|条|份|座|张|块|根|台|艘|家|头|场|项|道|级|人|片|盏|处|成|分|期|度|折|门|步|晚)$"
)
MARKS = {"“": "”", "（": "）", "(": ")", "《": "》", "「": "」", "‘": "’"}
LINKS = re.compile(
    r"(?:但是?|不过|然而|而且?|并且?|且|其中|所以|因此|此外|另外|同时|即|也就是|例如|比如|如果是|注意|特别提醒|建议|通常|一般来说)[，：:]?(?=.{4})"
)
PRONOUN = re.compile(
    r"(?:它们?|他们?|她们?|这[个些样种里时一条项]?|那[个些样种里时一条项]?|此[后前时类项种外]|该[^市省县校]|其(?!中|他|它|余)|上述|前述|前款|前项|两者|二者|后者|前者|否则|届时|期间|以上|之后|然后|随后|类似的|同样|除此|本版|有时|从此)"
)


class Finding(NamedTuple):
    """kind as in the guide of `datasets/qa_extraction`; `question` may still need the name of the thing it is about."""

    kind: str
    question: str
    answer: str


def split_outside(text: str, marks: str) -> list[tuple[int, int]]:
    """Spans between `marks` that stand outside quotes and brackets, without the marks."""
    spans, start, closing = [], 0, []
    for i, character in enumerate(text):
        if closing and character == closing[-1]:
            closing.pop()
        elif character in MARKS:
            closing.append(MARKS[character])
        elif character in marks and not closing:
            spans.append((start, i))
            start = i + 1
    if closing:  # an unclosed quote must not swallow the rest
        return [(m.start(), m.end()) for m in re.finditer(f"[^{re.escape(marks)}]+", text)]
    return [(a, b) for a, b in [*spans, (start, len(text))] if text[a:b].strip()]


def clauses(text: str) -> list[str]:
    return [text[a:b].strip() for a, b in split_outside(text, "，,")]


def pieces(text: str) -> list[str]:
    return [text[a:b].strip() for a, b in split_outside(text, "，,；。")]


def interrogate(clause: str) -> tuple[str, set[str]]:
    """The clause with a question word for each figure and time, and which words these were.

    >>> interrogate("整机保修 2 年")
    ('整机保修多少年', {'多少年'})
    """
    found = [(m, "time") for m in TIME.finditer(clause)]
    taken = [(m.start(), m.end()) for m, _ in found]
    for match in QUANTITY.finditer(clause):
        if not any(a < match.end() and match.start() < b for a, b in taken):
            found.append((match, "quantity"))
    found = [(m, k) for m, k in sorted(found, key=lambda pair: pair[0].start()) if _asked(clause, m, k)]
    if len(found) > 1 and found[0][1] == "quantity":
        between = clause[found[0][0].end() : found[1][0].start()]
        if found[0][0].start() == 0 or re.fullmatch(r"\s*(?:是|为|等于|=|合)\s*", between):
            found = found[1:]  # 1 汤匙是 15 毫升: the first figure names the thing
    elif re.match(r"\s*(?:是|等于)", clause[found[0][0].end() :] if found else "") and found[0][1] == "quantity":
        found = []
    out, position, words = "", 0, set()
    for match, kind in found:
        word = _time_word(match) if kind == "time" else _quantity_word(match)
        words.add(re.sub("[前后]$", "", word))
        out += clause[position : match.start()].rstrip() + word
        position = match.end()
    rest = clause[position:]
    return re.sub(r"(?<=[多少什么几候点]) (?=[^\x00-\x7f])", "", out + rest.lstrip() if out else rest), words


def _asked(clause: str, match: re.Match, kind: str) -> bool:
    before, after = clause[: match.start()], clause[match.end() :]
    if before.count("“") > before.count("”") or before.count("《") > before.count("》"):
        return False
    if before.count("（") > before.count("）") and len(clause) > match.end() - match.start() + 8:
        return False
    if re.search(r"[这那]\s*$", before) or (
        re.search("按照|根据|依照", before) and re.match(r"\s*[^，]{0,6}的.", after)
    ):
        return False
    if re.match(r"\s*的(?!$)", after) and (kind == "time" or not before.strip()):
        return False
    if kind == "time":
        return True
    text = match[0].strip()
    if re.search(r"第\s*\d+\s*[至到~—-]\s*$", before):
        return False
    if INDEFINITE.match(text) or (
        re.match(r"[一两几半]", text) and re.search(r"(?:[头每这那同另某统唯单任]|(?<!提)前)\s*$", before)
    ):
        return False
    if re.match(r"一[^、]*$", text) and (re.match(r"\s*的", after) or match["unit"] in ("日", "次")):
        return text == "一次" and bool(re.search(r"[只能可限每各](?:\S{0,4})$", before))
    return not re.fullmatch(r"[万千百十半几]\S{1,2}", text) and not re.match(r"[号楼路]|以?来", after)


def _time_word(match: re.Match) -> str:
    tail = (match["tail"] or "").strip()
    clock_only = not re.search("[年月日号]", match["a"])
    return ("几点" if clock_only else "什么时候") + tail


def _quantity_word(match: re.Match) -> str:
    text, unit = match[0], match["unit"] or match["between"]
    if unit in ("%", "％") or text.startswith("百分之"):
        return "百分之多少"
    if text[:2] in ("万分", "千分"):
        return text[:3] + "几"
    if unit is None:
        return "多大"
    figure = re.sub(r"\D", "", match["n"] or match["m"])
    word = "多少" if re.fullmatch(METRIC, unit) or (figure and int(figure) > 10) else "几"
    return f"{word} {unit}" if unit.isascii() else word + unit


def has_subject(clause: str) -> bool:
    return bool(noun_before_verb(clause))


def noun_before_verb(clause: str) -> str:
    """The noun phrase that the clause begins with, as jieba tags it; empty when a verb or an adverb comes first."""
    import jieba.posseg

    jieba.setLogLevel("ERROR")
    phrase, noun = "", False
    for word, tag in jieba.posseg.cut(clause):
        if tag[0] in "nsjt" or tag in ("vn", "an", "eng", "l", "i", "f"):
            noun = True
        elif not (tag[0] in "maqbx" or word in "的和与及、·“”" or tag in ("uj", "r", "k")):
            break
        phrase += word
    return phrase.strip() if noun else ""


def not_link(text: str) -> str:
    return LINKS.sub("", text, count=1) if LINKS.match(text) else text
