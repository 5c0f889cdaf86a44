"""What a sentence demands: conditions and what follows from them, exceptions, duties, and who answers for something."""

import re
from collections.abc import Iterator

from course_utils.data.wording import PRONOUN, Finding, clauses, has_subject, not_link, noun_before_verb, pieces

INNER = str.maketrans("“”", "‘’")
CONDITION_TAIL = r"(?:的话|的时候|时候|期间|之后|以后|之前|以前|时|后|前)"
PEOPLE = re.compile(
    r"(?:人|方|员|者|户|生|长|师|商|家|工|客|主|民|会|部|局|院|所|公司|单位|机构|部门|组织|机关|学校|医院|银行|企业|政府|法院|物业|队|组|站|馆|您|你)$"
)


def conditions(parts: list[str]) -> list[Finding]:
    """Of a sentence in parts: 逾期的，付违约金；满 45 日的，可以解除 asks 逾期的，怎么处理？满 45 日的呢？"""
    found = [_condition(part) for part in parts]
    if not found or not found[0]:
        return [Finding("条件", f"{c}，{_ask(r)}？", r) for c, r in filter(None, found) if has_subject(c)][:1]
    condition, result = found[0]
    question, answer = f"{condition}，{_ask(result)}？", result
    for pair, part in zip(found[1:], parts[1:], strict=True):
        if not pair:
            break
        question += f"{pair[0]}呢？"
        answer += "；" + part
    return [Finding("条件", question, answer)]


def _condition(text: str) -> tuple[str, str] | None:
    """What must be the case, and what then follows."""
    match = re.match(
        r"(?P<c>(?:如果?(?!下|何)|若(?!干)|假如|倘若|一旦|只要)[^，：]{2,40}?(?:，[^，：]{2,30}?(?:的|时))?)，(?:则|那么|就)?(?P<r>.{2,})$",
        text,
    )
    match = match or re.match(r"(?P<c>[^；：]{3,60}?[^是]的)，(?P<r>.{2,})$", text)
    match = match or re.match(r"(?P<c>[^，；：]{4,40})，(?P<r>(?:应当?|必须|须|不得|禁止|可以|有权)[^，用].+)$", text)
    match = match or re.match(
        rf"(?P<c>[^，；：]{{3,30}}(?<![小安瓦以今最先随事课及临准])(?:{CONDITION_TAIL}))，(?P<r>.{{2,}})$", text
    )
    if not match:
        return None
    condition, result = match["c"], match["r"]
    before, _, last = condition.rpartition("，")
    if before and re.search(r"不得|应当?|可以|必须|须|不能|因为|但", before):
        subject = noun_before_verb(clauses(before)[0])
        if not subject or len(subject) > 10 or has_subject(last) or "但" in condition or "因为" in before:
            return None
        condition = subject + last
    wrong = PRONOUN.match(re.sub("^(?:如果?|若)", "", condition)) or re.search(
        r"^(?:根据|依照|按照|为了?|可以|不能|但)|除.*外$|是[^，]*的$|因为", condition
    )
    wrong = wrong or re.search(r"不得|严禁", condition)
    plain_figure = re.match(r"[^，]{0,12}(?:为|是)[^，]*\d|最多|至少|大?约", result)
    return None if wrong or plain_figure else (not_link(condition), result)


def _ask(result: str) -> str:
    first = clauses(result)[0]
    modal = re.match(
        r"(?P<s>[^，]{0,12}?)(?P<m>不得|不应当?|不能|不可以?|应当|应该|应|必须|须|可以|可(?![能是])|有权)", first
    )
    subject = modal["s"] if modal and (not modal["s"] or PEOPLE.search(modal["s"])) else None
    if subject is not None:
        word = modal["m"]
        if word == "有权":
            return f"{subject}有权做什么"
        if word.startswith("不"):
            return f"{subject}{word}做什么"
        return f"{subject}{'可以' if word == '可' else word}怎么做"
    agent = re.match(
        r"由(?P<a>[^，]{2,12}?)(?P<v>负责|承担|决定|处理|支付|签名|签字|审批|批准|组织|管理|确认|出具|安排|选|陪同)",
        first,
    )
    if agent and len(clauses(result)) == 1:
        return f"由谁{first[agent.start('v') :]}"
    if re.match(r"(?:请|先|要|用|不要|别|再|把|带|立即|直接|联系|改|打)", first):
        return "要怎么做"
    if re.match(r"(?:对[^，]{2,20}，)?(?:处[^理]|罚款|判处|没收|吊销)", result):
        return "怎么处罚"
    if re.search(r"会|就|将|即|自动|立即失效|作废|容易|难以|变", first) or has_subject(first):
        return "会怎么样"
    return "怎么处理"


def exception(text: str) -> Iterator[Finding]:
    match = re.match(
        r"(?P<r>[^；。]{4,60})，(?:但是?)?(?P<x>[^；。，]{2,60}?(?:的)?(?:除外|不受此限|不在此限|不受[^，]{2,12}限制))$",
        text,
    )
    if match:
        yield Finding("条件", f"“{match['r'].translate(INNER)}”有什么例外？", match["x"])
    elif match := re.match(r"除(?P<x>[^，]{2,40}?)(?:以|之)?外，(?P<r>.{4,})$", text):
        yield Finding("条件", f"除{match['x']}外，{_ask(match['r'])}？", match["r"])


def agent(text: str) -> Iterator[Finding]:
    charge = re.match(r"(?P<a>[^，由]{2,30}?)(?:主要)?负责(?P<o>[^，人]{2,40})$", text)
    if charge and not PRONOUN.match(charge["a"]) and not re.search("[应须可]当?$", charge["a"]):
        yield Finding("责任", f"谁负责{charge['o']}？", charge["a"])
        return
    verbs = "负责|主持|承担|担任|支付|解释|排定|决定|审定|保管|签名|签字|组织|管理|制定|审核|审批|批准|监督|代办|分担|组成|编写|设计|建造"
    for k, clause in enumerate(pieces(text)):
        match = re.match(
            rf"(?!其余|其他|其它)(?P<s>.{{0,20}}?)(?:均|都)?由(?P<a>[^，原]{{2,24}}?)(?P<v>(?:共同)?(?:{verbs}))(?!部门|机关|机构|委员|人|者|局|权|单|费)(?P<o>[^的].*)?$",
            clause,
        )
        if match and not PRONOUN.match(match["s"] or "　") and not re.search(r"\d", match["s"]):
            subject, done = match["s"], match["v"] + (match["o"] or "")
            if (not subject and (k or not match["o"])) or subject.endswith(("交", "自")):
                continue
            if match["v"] == "组成":
                yield Finding("列举", f"{subject}由什么组成？", f"由{match['a']}组成")
            else:
                yield Finding("责任", f"{subject}由谁{done}？", f"由{match['a']}{done}")
            return


def duties(text: str) -> Iterator[Finding]:
    match = re.match(
        r"(?P<s>[^，：的]{0,20}?(?:的[^，：]{1,8})?)(?P<m>不得|禁止|严禁|不准|不允许|不应|不能|不可(?!以?[缺少避])|不要|只能|应当|应该|应|必须|须|可以|可(?![能是])|有权|请(?![假求示教])|别(?!的))(?P<v>.{2,})$",
        text,
    )
    turn = re.match(
        r"(?P<s>[^，是有]{2,20})，(?:但是?|不过)(?P<x>[^，]{3,16}?)(?P<m>必须|须|应当?|要|不得|不能)(?P<v>.{2,})$", text
    )
    if turn and not match and not re.search(r"\d", turn["x"]) and not PRONOUN.match(turn["x"]):
        yield Finding("条件", f"{turn['x']}有什么要求？", text)
        return
    if not match or PRONOUN.match(match["s"]) or re.search(r"[供相适反对感效]$", match["s"]):
        return
    if text.endswith("的") or (re.search("[的时]$", clauses(text)[0]) and len(clauses(text)) > 1):
        return  # the modal stands inside a condition: 不能完成的，……
    subject, modal = match["s"].strip(), match["m"]
    negative = modal in ("不得", "禁止", "严禁", "不准", "不允许", "不应", "不能", "不可", "不要", "别")
    if not subject:
        if modal in ("不得", "禁止", "严禁", "不准", "不允许", "不要", "别", "应当", "应该", "应", "必须", "须"):
            asked = "不要做什么" if modal in ("不要", "别") else "禁止做什么" if negative else "有什么要求"
            yield Finding("条件", asked + "？", text)
    elif re.search("[后前时]$", subject) and not negative:
        yield Finding("条件", f"{subject}{modal}怎么做？", text[match.start("m") :])
    elif re.search(r"连|都$|也$|[后前时]$", subject) or len(subject) > 16:
        return
    elif PEOPLE.search(subject):
        if re.fullmatch(r"[甲乙丙双各]方|任何一方|您|你|我们|用户|客户", subject):
            return
        modal = "可以" if modal == "可" else modal
        word = f"{modal}做什么" if negative or modal in ("有权", "可以", "可") else f"{modal}怎么做"
        yield Finding("责任", f"{subject}{word}？", text[match.start("m") :])
    elif modal in ("可以", "可", "请"):
        return
    else:
        yield Finding("条件", f"对{subject}有什么{'限制' if negative or modal == '只能' else '要求'}？", text)
