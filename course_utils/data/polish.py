"""Tidying one record without changing what it says: punctuation, widths, blanks, wording, and the form of the answer."""

import difflib
import html
import json
import re
from dataclasses import dataclass, replace

from course_utils.data.records import Record

HAN = r"[一-鿿]"
LATIN = r"(?<![0-9A-Za-z])[A-Za-z][0-9A-Za-z+#]+(?![0-9A-Za-z])"  # no single letter, no unit behind a number
# Code, addresses and JSON are exact; nothing in them is a matter of style.
EXACT = re.compile(r"```.*?```|`[^`\n]+`|https?://[^\s一-鿿，。；！？、）》”]+|[\w.+-]+@[\w-]+\.[\w.]+", re.DOTALL)
WIDE = str.maketrans(",?!:;", "，？！：；")
NARROW = str.maketrans({chr(0xFF01 + i): chr(0x21 + i) for i in range(94) if chr(0x21 + i).isalnum()} | {"　": " "})
VERBS = "判断|分析|识别|提取|抽取|找出|总结|概括|归纳|改写|润色|翻译|回答|解释|说明|列出|撰写|生成|写|把|将|根据|为|给"
SPOKEN = (  # an instruction of the learner's own, towards the plain form that most training data have
    (rf"^(?:麻烦你?|帮忙|帮我|你?给我)(?=(?:{VERBS}))", "请"),
    (r"(?<=[断析取结括写色译])一下(?:子)?", ""),
    (r"(?:这个|那个)(?=下面|以下)", ""),
    (rf"^(?={VERBS})", "请"),
    (r"请请+", "请"),
)
SENTENCE = 12  # characters: a shorter answer may be a label or a name, which takes no full stop


@dataclass(frozen=True)
class Polished:
    """record: the tidied one. changes: Chinese, one for each kind of change and field; none: there was nothing to do.
    html: each changed field with <ins> and <del>. text: the same with 【删：…】 and 【增：…】.
    """

    record: Record
    changes: list[str]
    html: str
    text: str


def polish(record: Record) -> Polished:
    """Tidy instruction, input and output of a record; system and history stay as they are.

    The output keeps its words: only signs, blanks and list marks change, and JSON or code not at all.
    """
    steps = {
        "instruction": (("标点", punctuation), ("全角半角", widths), ("空格", blanks), ("指令措辞", wording)),
        "input": (("标点", punctuation), ("全角半角", widths), ("空格", blanks)),
        "output": (("标点", punctuation), ("全角半角", widths), ("空格", blanks), ("答案格式", answer_form)),
    }
    names = {"instruction": "指令", "input": "输入", "output": "答案"}
    changed, changes = record, []
    for where, tidiers in steps.items():
        for kind, tidy in tidiers:
            before = getattr(changed, where)
            after = before if not before or _is_json(before) else _outside_exact(before, tidy)
            if after != before:
                changes.append(f"{names[where]}：{kind}")
                changed = replace(changed, **{where: after})
    pairs = [(names[where], getattr(record, where), getattr(changed, where)) for where in steps]
    different = [(name, before, after) for name, before, after in pairs if before != after]
    return Polished(
        changed,
        changes,
        "".join(f"<p><b>{name}</b> {marked(before, after)}</p>" for name, before, after in different),
        "\n".join(f"{name}：{marked(before, after, as_html=False)}" for name, before, after in different),
    )


def punctuation(text: str) -> str:
    """Full-width signs beside Chinese, each once, and curly quotes around Chinese."""
    text = re.sub(rf"\(([^()]*{HAN}[^()]*)\)", r"（\1）", text)
    text = re.sub(rf'"([^"\n]*{HAN}[^"\n]*)"', r"“\1”", text)
    for place in (rf"(?<={HAN})\s*[,?!:;]+(?!\d)", rf"(?<=[）”》])[,?!:;]+(?={HAN}|$)"):
        text = re.sub(place, lambda match: match[0].strip().translate(WIDE), text)
    text = re.sub(r"\.{3,}|。{2,}|…+", "……", text)
    text = re.sub(rf"(?<={HAN})\.(?=\s|$|{HAN})", "。", text)
    text = re.sub(r"([，、；：])\1+", r"\1", text)
    return re.sub(r"([！？])\1{2,}", r"\1\1", text)  # two shout enough, and the feeling stays


def widths(text: str) -> str:
    """Letters, digits and blanks in their narrow form."""
    return text.translate(NARROW)


def blanks(text: str) -> str:
    """One blank between Chinese and a Latin word, none before a Chinese sign, never two, none at the ends."""
    text = re.sub(rf"(?<={HAN})({LATIN})", r" \1", text)
    text = re.sub(rf"({LATIN})(?={HAN})", r"\1 ", text)
    text = re.sub(r"[ \t]+(?=[，。；：！？、）”》])|(?<=[，。；：！？、（“《])[ \t]+", "", text)
    text = re.sub(r"[ \t]{2,}", " ", text)
    return re.sub(r"[ \t]+$", "", text, flags=re.MULTILINE)


def wording(text: str) -> str:
    """An instruction in its plain form: 请 and the verb, and a full stop."""
    for pattern, new in SPOKEN:
        text = re.sub(pattern, new, text)
    return _with_stop(text)


def answer_form(text: str) -> str:
    """Uniform list marks, no more than one empty line, and a full stop after an answer in sentences."""
    text = re.sub(r"^[ \t]*(\d{1,2})[、)）．.][ \t]*(?!\d)", r"\1. ", text, flags=re.MULTILINE)
    text = re.sub(r"^([ \t]*)[•·●▪*][ \t]*(?!\*)", r"\1- ", text, flags=re.MULTILINE)
    text = re.sub(r"\n{3,}", "\n\n", text).strip()
    return _with_stop(text) if "\n" not in text and re.search("[，。；]", text) else text


def marked(before: str, after: str, as_html: bool = True) -> str:
    """The change from one text to another: <del> and <ins>, escaped, or 【删：…】【增：…】."""
    gone, new = ("<del>{}</del>", "<ins>{}</ins>") if as_html else ("【删：{}】", "【增：{}】")
    safe = (lambda text: html.escape(text).replace("\n", "<br>")) if as_html else str
    parts = []
    for kind, i, j, k, m in difflib.SequenceMatcher(None, before, after, autojunk=False).get_opcodes():
        if kind == "equal":
            parts.append(safe(before[i:j]))
        else:
            parts += [gone.format(safe(before[i:j]))] * (i < j) + [new.format(safe(after[k:m]))] * (k < m)
    return "".join(parts)


def _with_stop(text: str) -> str:
    return text + "。" if len(text) > SENTENCE and re.search(rf"{HAN}$", text) else text


def _outside_exact(text: str, tidy) -> str:
    """Tidy a text whose exact parts are out of sight: a private sign of Unicode stands for each of them meanwhile."""
    kept = EXACT.findall(text)
    signs = iter(range(len(kept)))
    hidden = EXACT.sub(lambda match: chr(0xE000 + next(signs)), text)
    return re.sub("[\ue000-\uf8ff]", lambda match: kept[ord(match[0]) - 0xE000], tidy(hidden))


def _is_json(text: str) -> bool:
    if not text.lstrip().startswith(("{", "[")):
        return False
    try:
        json.loads(text)
    except ValueError:
        return False
    return True
