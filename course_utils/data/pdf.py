"""PDF files become Markdown: a larger type size makes a heading, pieces of text that line up make a table."""

import io
import re
import statistics
import unicodedata

from course_utils.data.readers import table
from course_utils.errors import DataError

# PDF fonts often map Chinese characters to radicals that only look like them; NFKC knows the first of these two blocks.
KANGXI = re.compile(r"[\u2f00-\u2fdf]|[ﬀ-ﬆ]")
RADICALS = str.maketrans(
    "㬵⺟⺠⻁⻄⻅⻆⻉⻋⻓⻔⻘⻙⻚⻛⻜⻝⻢⻣⻤⻥⻦⻨⻩⻬⻮⻰", "胶母民虎西见角贝车长门青韦页风飞食马骨鬼鱼鸟麦黄齐齿龙"
)


def from_pdf(data: bytes, name: str) -> str:
    """The text in reading order. A larger type size makes a heading, columns that line up make a table."""
    import pypdf

    try:
        reader = pypdf.PdfReader(io.BytesIO(data))
        if reader.is_encrypted and not reader.decrypt(""):
            raise DataError(f"{name} 加了密码。请先去掉密码再导入。")
        pages = [_lines(page) for page in reader.pages]
    except DataError:
        raise
    except Exception as error:  # a damaged file fails anywhere inside pypdf
        raise DataError(f"{name} 读不了（{type(error).__name__}）：文件可能损坏。请重新导出。") from None
    if sum(len(line.text) for page in pages for line in page) < 10:
        raise DataError(f"{name} 里没有文字，多半是扫描件。请先用文字识别（OCR）转成文本。")
    lines = [line for page in _without_margins(pages) for line in page]
    body = statistics.mode(round(line.em, 1) for line in lines for _ in line.text)
    width = max(line.right for line in lines)
    return "\n".join(_assemble(lines, body, width))


class _Line:
    """A line of a page: pieces of text with their left and right ends, a new one wherever there is a gap."""

    def __init__(self, groups: list[tuple[float, float, str]], em: float):
        self.em, self.pieces = em, []
        for left, right, text in sorted(groups, key=lambda group: group[0]):
            if self.pieces and left - self.pieces[-1][1] < 0.2 * em:
                start, end, before = self.pieces[-1]
                self.pieces[-1] = (start, max(end, right), before + text)
            else:
                self.pieces.append((left, right, text))

    @property
    def text(self) -> str:
        return _clean(" ".join(text for *_, text in self.pieces))

    @property
    def right(self) -> float:
        return self.pieces[-1][1]


def _clean(text: str) -> str:
    text = KANGXI.sub(lambda match: unicodedata.normalize("NFKC", match[0]), text).translate(RADICALS)
    text = re.sub(r"(?<=[“‘（《])\s+|\s+(?=[”’）》，。；：、])|(?<=[”’）》，。；：、])\s+", "", text)
    return " ".join(re.sub(r"(?<=[^\x00-\x7f])\s+(?=[^\x00-\x7f])", "", text).split())


def _lines(page) -> list[_Line]:
    """By pypdf's layout mode, whose groups carry their exact widths; it has no public call that returns them."""
    from pypdf._text_extraction import _layout_mode
    from pypdf.generic import ContentStream

    content = page.get("/Contents")
    if content is None:
        return []
    operations = iter(ContentStream(content.get_object(), page.pdf, "bytes").operations)
    groups = _layout_mode.text_show_operations(operations, page._layout_mode_fonts(), True)
    lines, y, em = [], None, 1.0
    for group in sorted(groups, key=lambda g: -g["ty"] * g["flip_sort"]):
        if group["text"].strip():
            height = group["font_height"] or 1.0
            if y is None or abs(y - group["ty"]) > 0.4 * max(em, height):
                lines.append([])
                y, em = group["ty"], height
            em = max(em, height)
            lines[-1].append((group["tx"], group["displaced_tx"], group["text"], height))
    if not lines:  # text inside forms, which the layout mode leaves out
        return [_Line([(0, len(text), text)], 1.0) for text in page.extract_text().splitlines() if text.strip()]
    return [_Line([group[:3] for group in line], max(group[3] for group in line)) for line in lines]


def _without_margins(pages: list[list[_Line]]) -> list[list[_Line]]:
    """Without page numbers, and without the first and last lines that all pages share but for their digits."""

    def key(line):
        return re.sub(r"\d+", "0", line.text)

    common = set.intersection(*({key(line) for line in page} for page in pages if page)) if len(pages) > 1 else set()
    number = re.compile(
        r"[-—第\s]*\d+\s*(?:[/／]\s*\d+)?[-—页\s]*|\d+/\d+/\d+, \d+:\d+ [AP]M.*|(?:file|https?)://\S+.*\d+/\d+"
    )
    return [[line for line in page if key(line) not in common and not number.fullmatch(line.text)] for page in pages]


def _assemble(lines: list[_Line], body: float, width: float) -> list[str]:
    out, i = [], 0
    while i < len(lines):
        if rows := _rows(lines, i, body):
            out += ["", *table(rows[0]), ""]
            i += rows[1]
            continue
        line, text = lines[i], lines[i].text
        while _is_body(line, body) and i + 1 < len(lines) and _wraps(lines[i], lines[i + 1], width):
            i += 1
            text = _clean(f"{text} {lines[i].text}")
        level = 0 if _is_body(line, body) or len(text) > 40 else 1 if line.em >= 1.7 * body else 2
        out += ["", f"{'#' * level} {text}".strip()]
        i += 1
    return out


def _is_body(line: _Line, body: float) -> bool:
    return line.em < 1.1 * body


def _wraps(line: _Line, below: _Line, width: float) -> bool:
    """The line reaches the right margin and the next one begins no item."""
    from course_utils.data.outline import BULLET, NUMBER

    full = line.right > width - 3.5 * line.em
    return (
        full and abs(line.em - below.em) < 0.1 * line.em and not (NUMBER.match(below.text) or BULLET.match(below.text))
    )


def _rows(lines: list[_Line], i: int, body: float) -> tuple[list[list[str]], int] | None:
    """The table that begins at the i-th line and how many lines it takes; None when there is none.

    Rows are lines of which two or more pieces begin at the same places; the first may have centred titles instead.
    A line that has only pieces below a later column goes on with the cells of the row above.
    """
    if len(lines[i].pieces) < 2 or i + 1 >= len(lines) or not _is_body(lines[i], body):
        return None
    starts = [left for left, *_ in lines[i + 1].pieces]
    if len(starts) != len(lines[i].pieces):
        return None
    rows, count = [[_clean(text) for *_, text in lines[i].pieces]], 1
    for line in lines[i + 1 :]:
        columns = [min(range(len(starts)), key=lambda k: abs(starts[k] - left)) for left, *_ in line.pieces]
        aligned = all(abs(starts[k] - left) < 0.3 * line.em for k, (left, *_) in zip(columns, line.pieces, strict=True))
        if not aligned or not _is_body(line, body) or (columns == [0] and len(starts) > 1):
            break
        if columns[0] == 0:
            rows.append([""] * len(starts))
        for k, (*_, text) in zip(columns, line.pieces, strict=True):
            rows[-1][k] = _clean(f"{rows[-1][k]} {text}")
        count += 1
    return (rows, count) if count > 1 else None
