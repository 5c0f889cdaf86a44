"""Candidates for question and answer pairs: what headings, FAQ, labels, lists, tables and sentences of a document state.

A candidate's question may still lack the name of what it is about; `extract` adds it and judges the whole.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass, replace

from course_utils.data.outline import Block, Document, heading_name, plain
from course_utils.data.patterns import findings
from course_utils.data.tables import label_word, rows
from course_utils.data.wording import PRONOUN, WH, Finding, split_outside

LONGEST = 120  # characters of an answer
ASKS = re.compile(r"怎么|什么|谁|吗$|哪|为何|多少|几[个点天次]|如何|多久|怎样|能不能|可不可以|是否|[？?]$")
STATES = re.compile(
    r"(?:哪儿|哪里|什么|谁|怎么|哪个)[^，]{0,3}[都也](?!可以吗|行吗|能吗)[^吗？?]*$"
)  # 走到哪儿都有: no question
ASKED_HEADING = re.compile(r"怎么|什么|谁|吗[？?]?$|哪|为何|多少|如何|多久|怎样|[？?]$")
PROCEDURE = re.compile(r"步骤|做法|流程|方法|怎么|如何|怎样|用法|操作|程序|安装|更换|改接|清洗|升级|制作")
LISTED = re.compile(
    r"(?:条件|要求|事项|职责|禁忌|情形|范围|权利|义务|纪律|优惠|材料|服务|商品|物品|对象|人员|内容|功能|特点|问题|配件|清单|措施|原则|好处|用途)$"
)
BOILERPLATE = re.compile(
    r"感谢|敬请谅解|欢迎[关给来您]|仅供参考|解释权|未尽事宜|祝(?:您|你|大家)|大家好|特此|友情提示|^相关词条|^目录|猜你喜欢|大家还看|^\W*(?:广告|推广|赞助)|责任编辑|"
    r"^作者[：:]|更新于|阅读 ?\d|点赞|收藏 ?\d|版权|转载|请仔细阅读|通读本|妥善保存|以实物为准|共同遵守|如有(?:疑问|问题)|热线|敬请|制定本|^（[^）]*）$|^\d{4} ?年 ?\d+ ?月 ?\d+ ?日$|^(?:各位|尊敬|亲爱)"
)
LISTING = r"下列|(?:(?<=[，有按的])|^)以下"
TERMS = r"说法|名词|定义|术语|用语|概念"
TODO = r"待办|分工|任务|职责分配|下一步"
QUESTION = re.compile(r"\s*(?:问|Q|提问|问题)\s*\d*\s*[：:.、]\s*(?P<q>.+)", re.DOTALL)
ANSWER = re.compile(r"\s*(?:答|A|回答|答案)\s*\d*\s*[：:.、]\s*(?P<a>.+)", re.DOTALL)
LABEL = re.compile(
    r"(?P<label>[^，。；：:？！、|\d]{1,14}|[^，。；：:？！、|]{1,14}(?=：))[：:]\s*(?P<value>.+)$", re.DOTALL
)
ELLIPTIC = re.compile(
    r"(?:不[足满]|超过|[一二三四五六七八九十]+个?[月年日]以|再次|第[二三四]次|其他|其余|其它|但|而且|并|且|也|则|逾期|情节|造成|构成|已|未|能|又|还|就|解锁|缺了|没|颜色|另|大件|小件|同时|改后|以内|以外|按了|用过|此外|反之|倒|现在|在此|从|否则|先|再|最|预计|合计)"
)
_HOUR = re.compile(r"[上中下]午|早上|晚上|傍晚|第.天|周.|星期.")


@dataclass(frozen=True)
class Dropped:
    """A candidate that is no pair: its question or sentence, and why."""

    text: str
    reason: str
    start: int
    end: int


@dataclass(frozen=True)
class Candidate:
    kind: str
    question: str
    answer: str
    start: int
    end: int
    path: tuple[str, ...] = ()


def candidates(document: Document) -> Iterator[Candidate | Dropped]:
    blocks, i = document.blocks, 0
    texts = [plain(document.text[block.start : block.end]) for block in blocks]
    while i < len(blocks):
        block, text = blocks[i], texts[i]
        if block.kind == "标题":
            yield from _section(blocks, texts, i)
        elif block.kind == "表格行":
            yield from (Candidate("表格", *found, block.path) for found in rows(document, block))
        elif match := QUESTION.match(text):
            i = yield from _faq(document, blocks, texts, i, match)
            continue
        elif re.search(r"评论|评价|留言|相关(?:阅读|推荐)|热门|推荐阅读", " ".join(block.path)):
            yield Dropped(text, "不是正文", block.start, block.end)
        elif BOILERPLATE.search(text) and len(text) < 80:
            yield Dropped(text, "套话", block.start, block.end)
        elif text.endswith(("：", ":")) and i + 1 < len(blocks) and blocks[i + 1].kind in ("条目", "步骤"):
            i = yield from _lead(document, blocks, texts, i)
            continue
        else:
            yield from _block(document, block, text)
        i += 1


def _section(blocks: list[Block], texts: list[str], i: int) -> Iterator[Candidate]:
    """A heading that asks is answered by its section; a procedure by its steps."""
    heading, path = texts[i], blocks[i].path
    inside = []
    for k in range(i + 1, len(blocks)):
        block, text = blocks[k], texts[k]
        if block.kind in ("标题", "表格行") or len(block.path) != len(path) + 1:
            break
        inside.append((block, text))
    if not inside:
        return
    start, end = inside[0][0].start, inside[-1][0].end
    whole = "".join(text if text[-1:] in "。；！？，：" else text + "；" for _, text in inside).rstrip("；")
    steps = [pair for pair in inside if pair[0].kind == "步骤"]
    name = heading_name(heading)
    if ASKED_HEADING.search(name) and not STATES.search(name) and len(whole) <= LONGEST and not QUESTION.match(whole):
        yield Candidate(
            "步骤" if steps and PROCEDURE.search(name) else "其他", name.rstrip("？?") + "？", whole, start, end, path
        )
    items = len(inside) > 1 and all(block.kind in ("条目", "步骤") for block, _ in inside)
    if (
        LISTED.search(name)
        and not re.search("[与和及]", name)
        and (items or (whole.count("、") > 1 and len(inside) == 1))
        and len(whole) <= LONGEST
    ):
        yield Candidate("列举", f"{name}有哪些？", whole.rstrip("。；"), start, end, path)
    if len(steps) > 1 and PROCEDURE.search(name) and not re.search("什么时候|谁", name):
        if len(whole) <= LONGEST and not ASKED_HEADING.search(name):
            yield Candidate("步骤", f"{name}分哪几步？", whole, start, end, path)
        for n, (block, text) in enumerate(steps, 1):
            place = f"“{name}”" if ASKED_HEADING.search(name) else name
            yield Candidate("步骤", f"{place}的第 {n} 步是什么？", text.rstrip("。；"), block.start, block.end, path)


def _faq(document: Document, blocks: list[Block], texts: list[str], i: int, match: re.Match):
    """A question and the paragraphs up to the next question or heading; returns where to go on."""
    question, last = match["q"], i + 1
    if (inner := re.search(r"\s*答\s*[：:]\s*", question)) is not None:  # both on one line
        question, answer = question[: inner.start()], question[inner.end() :]
        start = blocks[i].start
    else:
        answer, start = "", blocks[last].start if last < len(blocks) else blocks[i].start
        while last < len(blocks) and blocks[last].kind in ("段落", "条目", "步骤"):
            found = ANSWER.match(texts[last])
            if QUESTION.match(texts[last]) or (answer and not found and blocks[last].kind == "段落"):
                break
            answer += (found["a"] if found else texts[last]) if not answer else "；" + texts[last]
            last += 1
    end = blocks[last - 1].end
    is_question = ASKS.search(question.strip()) and not STATES.search(question)
    question = question.strip().rstrip("？?。") + "？"
    if not answer:
        yield Dropped(question, "没有答案", blocks[i].start, blocks[i].end)
        return last
    if not is_question:
        yield Dropped(question, "不是问题", blocks[i].start, blocks[i].end)
        return last
    if len(answer) <= LONGEST:
        yield Candidate("问答", question, answer.rstrip("；"), start, end)
    block = Block("段落", start, end, (question.rstrip("？"),))
    yield from _block(document, block, answer, question)
    return last


def _lead(document: Document, blocks: list[Block], texts: list[str], i: int):
    """A sentence that ends in a colon, with the items below it as its answer; returns where to go on."""
    lead, style, last = texts[i].rstrip("：:"), None, i + 1
    while last < len(blocks) and blocks[last].kind in ("条目", "步骤"):
        shape = (blocks[last].kind, re.sub(r"[\d一二三四五六七八九十①-⑳]+", "0", blocks[last].number))
        if (style or shape) != shape or (
            blocks[i].number and shape[1] == re.sub(r"[\d一二三四五六七八九十]+", "0", blocks[i].number)
        ):
            break
        style, last = shape, last + 1
    items = [text.rstrip("。；") for text in texts[i + 1 : last]]
    if items:
        sentences = [lead[a:b] for a, b in split_outside(lead, "。；")]
        head = sentences[-1]
        answer = "；".join(items)
        if re.search(LISTING, head):
            question = re.sub(rf"有?(?:{LISTING})(\w{{2,4}})之一的?，?", r"有哪些\1时，", head)
            question = re.sub(LISTING, "哪些", question)
        elif head.endswith("的"):
            question = f"{head}，怎么处理"
        else:
            question = f"{re.sub('(?:如下|包括|有)$', '', head)}包括哪些内容"
        yield Candidate("列举", question + "？", answer, blocks[i].start, blocks[last - 1].end, blocks[i].path)
    for k in range(i, last):
        text = texts[k] if k > i else "。".join([lead[a:b] for a, b in split_outside(lead, "。；")][:-1])
        if text:
            yield from _block(document, blocks[k], text)
    return max(last, i + 1)


def _block(document: Document, block: Block, text: str, asked: str = "") -> Iterator[Candidate | Dropped]:
    """The sentences of a paragraph or an item, each with what it states."""
    labels = re.split(r" (?=[^ ：:，。]{1,8}[：:])", text) if len(text) < 80 else []
    if len(labels) > 1 and all(LABEL.match(part) for part in labels):  # several on one line
        for part in labels:
            start, end = _locate(document, block, part)
            yield from _block(document, replace(block, start=start, end=end), part)
        return
    label = LABEL.match(text)
    if (
        label
        and not asked
        and not re.search(r"[下列以如]{2}|[“”]|[说了]$|认为$|报告$|规定$|议定$|^[^的]{1,3}了", label["label"])
    ):
        name = label["label"].strip()
        if not _HOUR.fullmatch(name):
            yield from _labelled(block, name, label["value"].strip().rstrip("。；"))
            if re.search(f"{TODO}|{TERMS}", block.path[-1] if block.path else ""):
                return
            block = replace(block, path=(*block.path, name))
        text = label["value"]
    else:
        label = None
    for sentence in _sentences(text):
        if BOILERPLATE.search(sentence) and len(sentence) < 50:
            yield Dropped(sentence, "套话", block.start, block.end)
            continue
        start, end = _locate(document, block, sentence)
        found = list(findings(sentence))
        if not found and not label and not asked:
            yield Dropped(sentence, "没有可问的信息", start, end)
        for finding in found:
            if asked and len(finding.question) <= 10:
                continue
            if label and re.fullmatch(WH, finding.question.split("，")[0].rstrip("？")):
                finding = finding._replace(question=label["label"] + finding.question)
            yield _candidate(finding, start, end, block)


def _candidate(finding: Finding, start: int, end: int, block: Block) -> Candidate:
    answer = finding.answer.strip("，。； ")
    return Candidate(finding.kind, finding.question, answer, start, end, block.path)


def _labelled(block: Block, label: str, value: str) -> Iterator[Candidate]:
    heading = block.path[-1] if block.path else ""
    if len(value) > 100 or re.match(r"各位|尊敬|亲爱", label):
        return
    if re.search(TERMS, heading):
        question, kind = f"“{label}”是指什么？", "定义"
    elif re.search(TODO, heading):
        question, kind = f"{label}要做什么？", "责任"
    else:
        word = label_word(label, value)
        long = word == "是什么" and (len(value) > 15 or "，" in value)
        question, kind = f"{label}{'有什么说明' if long else word}？", "其他"
    yield Candidate(kind, question, value, block.start, block.end, block.path)


def _sentences(text: str) -> list[str]:
    """Sentences that can stand alone: one that leans on the sentence before is kept together with it."""
    units: list[str] = []
    for a, b in split_outside(text, "。！？!?"):
        sentence = text[a:b].strip()
        listing = re.search(r"(?:下列|以下|如下)[^：]*：", sentence)
        parts = [sentence] if listing else [sentence[c:d].strip() for c, d in split_outside(sentence, "；;")]
        for k, part in enumerate(parts):
            leaning = (
                ELLIPTIC.match(part)
                if k
                else PRONOUN.match(part)
                or re.match(r"其中|原因是|否则|情节|构成犯罪|造成[^，]{0,12}的，|协商不成|逾期", part)
            )
            mark = "；" if k else "。"
            if units and leaning and len(units[-1]) + len(part) < LONGEST - 10:
                units[-1] += mark + part
            else:
                units.append(part)
    return units


def _locate(document: Document, block: Block, sentence: str) -> tuple[int, int]:
    """The span of a sentence in the text, where marks and breaks may stand between its characters."""
    if len(sentence) > 1000:  # such a pattern would be slow
        return block.start, block.end
    letters = [re.escape(c) for c in sentence if not c.isspace()]
    pattern = re.compile(r"[\s*_`\\]*".join(letters))
    match = pattern.search(document.text, block.start, block.end)
    return (match.start(), match.end()) if match else (block.start, block.end)
