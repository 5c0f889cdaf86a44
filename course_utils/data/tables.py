"""Questions about the rows and cells of tables, and about labelled values."""

import re
from collections.abc import Iterator

from course_utils.data.outline import Block, Document, plain
from course_utils.data.wording import MOMENT, ONE

LASTS = r"(?:约|大约|至少|最多|不超过|不少于)?\s*[\d.]+(?:\s*[至到~～—-]\s*[\d.]+)?\s*(?:秒|分钟|个?小时|天|周|个?月|年)(?:左右|以[上内])?"


def rows(document: Document, block: Block) -> Iterator[tuple[str, str, int, int]]:
    """`(question, answer, start, end)` for a row as a whole, where it has several values, and for each cell."""
    cells = [plain(document.text[a:b]) for a, b in block.cells]
    name, values = cells[0], cells[1:]
    if not name:
        return
    titles = block.header[1:] if len(block.header) == len(cells) else ()
    if not titles:
        value = "；".join(v for v in values if v)
        yield f"{name}{label_word(name, value)}？", value, block.start, block.end
        return
    filled = [(t, v) for t, v in zip(titles, values, strict=True) if t and v]
    if len(filled) > 1:
        listed, answer = "、".join(t for t, _ in filled), "；".join(v for _, v in filled)
        question = f"{_cell(block.header[0], name, listed, len(cells))}分别是什么？"
        yield question, answer, block.start, block.end
    for (start, end), title, value in zip(block.cells[1:], titles, values, strict=True):
        if title and value:
            question = _cell(block.header[0], name, title, len(cells)) + label_word(title, value) + "？"
            yield question, value, start, end


def _cell(corner: str, row: str, column: str, width: int) -> str:
    """What a cell holds. Where the first column names properties, the others are the things that have them."""
    if width > 2 and re.fullmatch(r"项目|参数|指标|属性|规格|性能|方面|对比项?|比较项?|", corner):
        return f"{column}的{row}"
    if re.search(r"情形|情况|原因", corner):
        return f"{corner}是“{row}”时，{column}的处理办法"
    if re.search(r"可以|[要能应不会]|怎么|什么|谁", column):
        return f"“{row}”在“{column}”一栏的内容"
    name = f"{corner}“{row}”" if 1 < len(corner) < 5 and corner not in row else f"“{row}”"
    return f"{name}的{column}"


def label_word(label: str, value: str) -> str:
    """The question word that fits a label and its value."""
    if (
        re.search(
            r"(?:[^时]人|者|员|[组校队市县处科部班院局店]长|主持|上级|下级|编辑|主任|经理|方(?:（[^）]*）)?)$", label
        )
        and len(value) < 25
    ):
        return "是谁"
    if re.fullmatch(LASTS, value):
        return "是多久"
    if re.search(r"(?:时间|日期|期限|时段)$", label) or re.fullmatch(
        rf"{MOMENT}(?:（.{{0,4}}）)?[\d:：—至 -]{{0,12}}\S{{0,2}}", value
    ):
        return "是什么时候" if re.search(r"\d", value) else "是怎样的"
    if re.search(r"(?:地点|地址|位置|地方|产地)$", label):
        return "是哪里"
    if re.search(r"备注|说明|处理|含义|编号|内容", label):
        return "是什么"
    if re.match(r"(?:[约每共]\S{0,6} ?)?\d[\d.,]*", value) and re.search(
        r"[价费额量数率]$|价格|金额|尺寸|重量|身高|温度|[高长宽重]$", label
    ):
        return "是多少"
    if re.fullmatch(rf"(?:[约每共至超相]\S{{0,6}}\s*)?{ONE}(?:以[内下上]|左右|包干)?", value):
        return "是多少"
    return "是什么"
