"""The structure of a text: titles, paragraphs, list items, steps and table rows, each with its place.

One parser reads Markdown and plain text alike; `readers` turns every other kind of file into Markdown first.
"""

import re
from dataclasses import dataclass, field

RULER = re.compile(r"\s*([-=*_~#—])(?:\s*\1){2,}\s*$")
HASHES = re.compile(r"\s{0,3}(#{1,6})\s*(?=[^\s#])(.+?)[\s#]*$")
BRACKETS = re.compile(r"\s*[【\[［]\s*([^】\]］]{1,15}?)\s*[】\]］]\s*$")
BULLET = re.compile(r"\s*(?:[-*+•●○▪◆■·]|\\[-*+])\s+(?=\S)|\s*[•●○▪◆■]")
NUMBER = re.compile(
    r"\s*(?P<chapter>第[一二三四五六七八九十百千零〇\d]+[编章节条])[\s\u3000：:、]*"
    r"|\s*(?P<han>[一二三四五六七八九十]+)[、．.]\s*"
    r"|\s*(?P<bracket>[（(][一二三四五六七八九十\d]+[）)])[、.]?\s*"
    r"|\s*(?P<dotted>\d+(?:\.\d+)+)(?:[、.．]|\s+)\s*(?=\D)"
    r"|\s*(?P<digit>\d{1,2})(?:[.．](?!\d)|[、)）])\s*"
    r"|\s*(?P<circle>[①-⑳])\s*"
)
ROW = re.compile(r"\s*\|(.*)\|\s*$")
DELIMITER = re.compile(r"\s*\|[\s:|-]*-[\s:|-]*\|\s*$")
SENTENCE_MARK = re.compile(r"[。！？；，,;!?]")
ENDS = tuple("。！？；：!?;:”…）)")


@dataclass(frozen=True)
class Block:
    """A part of the text: `text[start:end]` without its list mark, hashes or number.

    kind: 标题, 段落, 条目 (a bullet, a numbered rule), 步骤 (1. 2. 3.) or 表格行. path: the headings above it, the document's title
    left out. number: what a numbered item or heading bears. cells, header: of a table row, spans and column titles.
    """

    kind: str
    start: int
    end: int
    path: tuple[str, ...] = ()
    number: str = ""
    cells: tuple[tuple[int, int], ...] = ()
    header: tuple[str, ...] = ()


@dataclass(frozen=True)
class Document:
    """What was read. `text` keeps the marks (`#`, `|`) of its Markdown; spans anywhere else count in it, in
    characters. source: the file's name or the address.
    """

    text: str
    source: str = ""
    title: str = ""
    blocks: list[Block] = field(default_factory=list, repr=False)


def parse(text: str, source: str = "", spans: list[tuple[int, int]] | None = None) -> Document:
    """The structure of Markdown or of plain text with numbered and bracketed headings.

    spans: read these parts one by one, each with headings of its own, as a custom separator asks for.
    """
    blocks, title = [], ""
    for start, end in spans or [(0, len(text))]:
        found = _Parser(text, start, end).blocks()
        if not blocks and found and found[0].kind == "标题":
            title = plain(text[found[0].start : found[0].end])
            found = [_without(block, title) for block in found[1:]]
        blocks += found
    return Document(text, source, title, blocks)


def _without(block: Block, title: str) -> Block:
    path = block.path[1:] if block.path[:1] == (title,) else block.path
    return Block(block.kind, block.start, block.end, path, block.number, block.cells, block.header)


def plain(text: str) -> str:
    """The text without inline marks, without breaks between Chinese characters, with single blanks."""
    text = re.sub(r"!?\[([^\[\]\n]{0,300})\]\([^()\n]{0,500}\)", r"\1", text)
    text = re.sub(r"\*\*|__|`|(?<!\w)\*(?=\S)|(?<=\S)\*(?!\w)|^>\s*", "", text, flags=re.MULTILINE)
    text = re.sub(r"\\([*_\-+#.!|>])", r"\1", text)
    text = re.sub(r"(?<=[^\x00-\x7f])\s*\n\s*(?=[^\x00-\x7f])", "", text)
    text = re.sub(r"[\s\u3000]+", " ", text).strip()
    return re.sub(r"(?<=[，。；、！？]) (?=[^\x00-\x7f])", "", text)


def heading_name(text: str) -> str:
    """A heading without its number and inner marks.

    >>> heading_name("一、时间和地点"), heading_name("2.1 水箱"), heading_name("6.3.0 ### 2026-10-28")
    ('时间和地点', '水箱', '6.3.0 2026-10-28')
    """
    name = re.sub(r"\s*#+\s*", " ", plain(text)).strip()
    chapter = r"第[一二三四五六七八九十百\d]+[编章节条][\s　：:、]+|[一二三四五六七八九十]+[、．.]\s*|[（(][一二三四五六七八九十\d]+[）)]\s*"
    return re.sub(
        rf"^(?:{chapter}|\d{{1,2}}(?:\.\d{{1,2}})*[.、)）]?\s+(?=[^\d\W])(?![号月年日天])|\d{{1,2}}[.、]\s*(?=\D))",
        "",
        name,
    )


class _Parser:
    """Reads lines in order; `stack` holds the headings above, each with its style, such as `##` or `han`."""

    def __init__(self, text: str, start: int, end: int):
        self.text, self.lines = text, []
        for match in re.compile(r"[^\n]+").finditer(text, start, end):
            self.lines.append((match.start(), match.end()))
        self.stack: list[tuple[str, str]] = []
        self.found: list[Block] = []
        self.header: tuple[str, ...] = ()
        self.in_code = False

    def blocks(self) -> list[Block]:
        for i, (start, end) in enumerate(self.lines):
            line = self.text[start:end]
            if line.strip().startswith("```"):
                self.in_code = not self.in_code
            elif not (self.in_code or not line.strip() or RULER.match(line)):
                self._line(i, start, line)
        return self.found

    def _line(self, i: int, start: int, line: str) -> None:
        if ROW.match(line):
            self._row(i, start, line)
            return
        self.header = ()
        if match := HASHES.match(line) or BRACKETS.match(line):
            style = match[1] if line.lstrip().startswith("#") else "[]"
            group = 2 if style != "[]" else 1
            self._heading(style, start + match.start(group), start + match.end(group))
            return
        number = NUMBER.match(line)
        mark = number or BULLET.match(line)
        offset = start + (mark.end() if mark else len(line) - len(line.lstrip("> \t\u3000")))
        end = start + len(line.rstrip())
        style = number.lastgroup if number else "short"
        if not (mark and not number) and self._is_heading(i, self.text[offset:end], style):
            self._heading(style, offset, end)
        elif not mark and self._continues(i, start, line):
            last = self.found[-1]
            self.found[-1] = Block(last.kind, last.start, end, last.path, last.number)
        elif offset < end:
            if style == "chapter" and number["chapter"].endswith("条"):  # a law's article: what follows belongs to it
                self._push("条", number["chapter"])
            step = number and (number.lastgroup in ("digit", "circle") or re.search(r"[（(]\d", number[0]))
            kind = "步骤" if step else "条目"
            self._add(kind if mark else "段落", offset, end, number[0].strip() if number else "")

    def _is_heading(self, i: int, rest: str, style: str) -> bool:
        """A short line without a sentence's marks: numbered like a chapter, or alone between blank lines."""
        rest = plain(rest)
        if not rest or SENTENCE_MARK.search(rest.removesuffix("？")) or rest.endswith(("：", ":")):
            return False
        if not self.found and style == "short":
            return len(rest) <= 40
        if len(rest) > 25 or style in ("chapter", "han"):
            return len(rest) <= 25
        if style == "short":
            return self._alone(i) and len(rest) <= 20 and not re.search("[：:）]", rest)
        nested = i + 1 < len(self.lines) and (below := NUMBER.match(self.text[slice(*self.lines[i + 1])]))
        return bool(nested and below.lastgroup != style and style == "bracket")

    def _alone(self, i: int) -> bool:
        start, end = self.lines[i]
        before = self.text[self.lines[i - 1][1] : start] if i else "\n\n"
        after = self.text[end : self.lines[i + 1][0]] if i + 1 < len(self.lines) else ""
        blank_after = after.count("\n") > 1 or (i + 1 < len(self.lines) and not self._text(i + 1))
        return (before.count("\n") > 1 or (i > 0 and not self._text(i - 1))) and blank_after

    def _text(self, i: int) -> str:
        line = self.text[slice(*self.lines[i])].strip()
        return "" if RULER.match(line) else line

    def _continues(self, i: int, start: int, line: str) -> bool:
        """A line that goes on where the one above was only wrapped."""
        if not i or not self.found or self.found[-1].kind in ("标题", "表格行"):
            return False
        above = self.text[slice(*self.lines[i - 1])]
        near = (
            self.found[-1].end >= self.lines[i - 1][1] - 2 and self.text.count("\n", self.lines[i - 1][1], start) == 1
        )
        return near and len(above.strip()) >= 15 and not above.rstrip().endswith(ENDS) and not line.startswith("　　")

    def _heading(self, style: str, start: int, end: int) -> None:
        self._push(style, heading_name(self.text[start:end]))
        name = self.stack.pop()
        self._add("标题", start, end)
        self.stack.append(name)

    def _push(self, style: str, name: str) -> None:
        names = [s for s, _ in self.stack]
        if style.startswith("#"):
            keep = next((k for k, s in enumerate(names) if s.startswith("#") and len(s) >= len(style)), len(names))
        else:
            keep = names.index(style) if style in names else len(names)
        del self.stack[keep:]
        self.stack.append((style, name))

    def _row(self, i: int, start: int, line: str) -> None:
        if DELIMITER.match(line):
            return
        cells, position = [], start + line.index("|") + 1
        for cell in re.split(r"(?<!\\)\|", ROW.match(line)[1]):
            left = position + len(cell) - len(cell.lstrip())
            cells.append((left, left + len(cell.strip())))
            position += len(cell) + 1
        texts = tuple(plain(self.text[a:b]) for a, b in cells)
        filled = [text for text in texts if text]
        after = self.text[slice(*self.lines[i + 1])] if i + 1 < len(self.lines) else ""
        if DELIMITER.match(after):
            self.header = texts if len(filled) > 1 else ()
        elif len(filled) > 1:
            begin, end = cells[0][0], cells[-1][1]
            self._add("表格行", begin, end, cells=tuple(cells), header=self.header)

    def _add(self, kind: str, start: int, end: int, number: str = "", **table) -> None:
        self.found.append(Block(kind, start, end, tuple(text for _, text in self.stack), number, **table))
