"""HTML and Word files become Markdown, in which headings, lists and tables keep their meaning."""

import io
import re
import zipfile
from collections.abc import Iterator
from pathlib import Path

from course_utils.data.decode import decode
from course_utils.errors import DataError

OUTSIDE = ("script", "style", "noscript", "aside", "footer", "nav", "button", "form", "select")
HEADINGS = ("h1", "h2", "h3", "h4", "h5", "h6")
INLINE = ("a", "b", "strong", "em", "i", "span", "u", "small", "sub", "sup", "code", "br", "font", "mark", "label", "q")
UNPACKED = 100 << 20  # bytes that a .docx may have once unpacked: a small file can hold a very large one


def from_html(data: bytes, path: Path) -> str:
    """The main text of a page, by trafilatura (navigation, comments, scripts and footers left out)."""
    import trafilatura
    from lxml import etree

    text = data if re.search(rb"<meta[^>]+charset", data[:2048], re.IGNORECASE) else decode(data, path)
    tree = trafilatura.load_html(text)
    if tree is None:
        raise DataError(f"{path.name} 不是网页。请给一个 HTML 文件。")
    etree.strip_elements(tree, etree.Comment, *OUTSIDE, with_tail=False)
    for pairs in list(tree.iter("dl")):  # trafilatura would part a name from what it means
        _definitions(pairs)
    whole = "\n\n".join(_walk(tree))
    found = trafilatura.extract(
        tree, output_format="markdown", include_tables=True, include_comments=False, favor_recall=True
    )  # fmt: skip
    found = found or ""
    lost = any(mark in whole and mark not in found for mark in ("\n|", "# "))
    if lost or len(found) < 0.4 * len(whole):
        found = whole  # a short page, or one in an odd shape, of which it gives only the bare lines
    head = re.search("^# .+$", found, re.MULTILINE)
    if head:  # what stands above the title is a notice or a crumb of navigation
        return found[head.start() :]
    name = next(iter(tree.xpath("//h1")), None)
    name = name if name is not None else tree.find(".//title")
    title = re.split(r" *[_|｜] *| - |-(?=[^-]{2,8}$)", _line(name))[0] if name is not None else ""
    return f"# {title}\n\n{found}" if title else found


def _walk(element) -> Iterator[str]:
    """Every block of a page as Markdown, in order; lines that are only links are left out."""
    inline: list[str] = [element.text or ""]
    for child in element:
        if not isinstance(child.tag, str) or child.tag in ("head", "title"):
            continue
        if child.tag in INLINE:
            inline.append(_line(child))
        else:
            yield from _flush(inline)
            if child.tag in HEADINGS:
                yield f"{'#' * int(child.tag[1])} {_line(child)}"
            elif child.tag == "table" and not child.xpath(".//table|.//h1|.//h2|.//p[2]"):
                rows = [[_line(cell) for cell in row.xpath("./td|./th")] for row in child.iter("tr")]
                yield "\n".join(table([row for row in rows if len(row) > 1]))
            elif child.tag == "li":
                mark = "1." if element.tag == "ol" else "-"
                yield f"{mark} {_line(child)}"
            else:
                yield from _walk(child)
        inline.append(child.tail or "")
    yield from _flush(inline)


def _flush(inline: list[str]) -> Iterator[str]:
    text = " ".join("".join(inline).split())
    inline.clear()
    if text:
        yield text


def _line(element) -> str:
    """The text of an element on one line; none where all of it is one link."""
    text = " ".join("".join(element.itertext()).split())
    linked = "".join("".join(link.itertext()) for link in element.iter("a"))
    return "" if linked and len(linked) > 0.8 * len(text) else text


def _definitions(pairs) -> None:
    from lxml import etree

    items, name = [], ""
    for child in pairs.iter("dt", "dd"):
        text = " ".join("".join(child.itertext()).split())
        if child.tag == "dt":
            name = text
        else:
            item = etree.Element("li")
            item.text = f"{name.rstrip('：:')}：{text}" if name else text
            items.append(item)
    tail = pairs.tail
    pairs.clear()
    pairs.tag, pairs.tail = "ul", tail
    pairs.extend(items)


def from_docx(data: bytes, name: str) -> str:
    """Paragraphs and tables in their order; headings by style, lists by their numbering."""
    import docx
    from docx.table import Table

    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            if sum(part.file_size for part in archive.infolist()) > UNPACKED:
                raise DataError(f"{name} 解压以后超过 {UNPACKED >> 20} MB。请去掉图片，或者拆成几个文件。")
        document = docx.Document(io.BytesIO(data))
    except DataError:
        raise
    except Exception as error:  # python-docx lets errors of zipfile, lxml and its own through
        raise DataError(
            f"{name} 打不开（{type(error).__name__}）：文件损坏，或者加了密。请在 Word 里另存一份。"
        ) from None
    lines, counts = [], {}
    for part in document.iter_inner_content():
        if isinstance(part, Table):
            lines += ["", *table([[cell.text for cell in _distinct(row.cells)] for row in part.rows]), ""]
        elif part.text.strip():
            lines.append(_paragraph(part, counts))
    text = "\n\n".join(line for line in lines if line) if not counts else "\n".join(lines)
    return re.sub(r"(?<=\|)\n\n(?=\|)", "\n", text)


def _paragraph(part, counts: dict) -> str:
    style, text = part.style.name or "", " ".join(part.text.split())
    if style == "Title" or style == "标题":
        return f"# {text}"
    if match := re.match(r"(?:Heading|标题) (\d)", style):
        return f"{'#' * min(int(match[1]), 6)} {text}"
    bold = len(text) <= 25 and part.runs and all(run.bold for run in part.runs if run.text.strip())
    if bold and not re.search(r"[。；，：]", text):
        return f"#### {text}"
    numbering = part._p.pPr.numPr if part._p.pPr is not None else None
    if style.startswith("List Number") or (numbering is not None and _is_ordered(part, numbering)):
        key = numbering.numId.val if numbering is not None and numbering.numId is not None else style
        counts[key] = counts.get(key, 0) + 1
        return f"{counts[key]}. {text}"
    if style.startswith("List") or numbering is not None:
        return f"- {text}"
    counts.pop(style, None)
    return text


def _is_ordered(part, numbering) -> bool:
    from docx.oxml.ns import qn

    try:
        root = part.part.numbering_part.element
        number = next(n for n in root.findall(qn("w:num")) if n.get(qn("w:numId")) == str(numbering.numId.val))
        abstract = number.find(qn("w:abstractNumId")).get(qn("w:val"))
        kind = next(a for a in root.findall(qn("w:abstractNum")) if a.get(qn("w:abstractNumId")) == abstract)
        return kind.find(f".//{qn('w:numFmt')}").get(qn("w:val")) != "bullet"
    except (StopIteration, AttributeError, KeyError, NotImplementedError):
        return False


def _distinct(cells) -> list:
    """The cells of a row; a merged cell, which python-docx gives once for every column, only once."""
    return [cell for i, cell in enumerate(cells) if not i or cell._tc is not cells[i - 1]._tc]


def table(rows: list[list[str]]) -> list[str]:
    lines = ["| " + " | ".join(" ".join(cell.replace("|", "\\|").split()) for cell in row) + " |" for row in rows]
    return [*lines[:1], "| --- |", *lines[1:]] if len(rows) > 1 and _has_header(rows) else lines


def _has_header(rows: list[list[str]]) -> bool:
    """Three columns have titles; two may be names and values from the first row on, as the long or numeric value tells."""
    first, second = rows[0], rows[1]
    if len(first) > 2:
        return True
    return not any(re.search(r"[\d、，；]", cell) or len(cell) > 8 for cell in first) and len(first) == len(second)
