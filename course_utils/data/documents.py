"""A file or a web page becomes a document, and a document becomes chunks."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from course_utils.data.decode import decode
from course_utils.data.outline import Document, parse
from course_utils.errors import DataError

LIMIT = 10 << 20  # bytes of a file or a page
CHUNK = 1000  # characters that an automatic chunk may have, a single longer block aside


@dataclass(frozen=True)
class Chunk:
    """`text` is the document's text from `start` to `end`; `number` counts from 1."""

    number: int
    start: int
    end: int
    text: str


def read_document(source: str | Path, allow_private: bool = False) -> Document:
    """Read a .txt, .md, .html, .docx or .pdf file, or the page at an http or https address.

    allow_private: also read addresses of the local network, see `fetch.fetch`.
    Raises `DataError` when the file is missing, empty, larger than 10 MB, damaged, encrypted, or holds no text.
    """
    address = str(source)
    if re.match(r"[a-zA-Z][\w+.-]+://", address):
        from course_utils.data.fetch import fetch

        data, suffix = fetch(address, allow_private)
        name, path = address, Path("网页" + suffix)
    else:
        path = Path(source)
        data, suffix, name = _load(path), path.suffix.lower(), path.name
    if not data.strip():
        raise DataError(f"{name} 是空的。请给一个有文字的文件。")
    document = parse(_markdown(data, suffix, path), name)
    if not any(character.isalnum() for character in document.text):
        raise DataError(f"{name} 里没有文字。请换一个文件；网页要是靠脚本显示的，请在浏览器里另存为再试。")
    return document


def _load(path: Path) -> bytes:
    try:
        if path.is_file() and path.stat().st_size > LIMIT:
            size = path.stat().st_size / (1 << 20)
            raise DataError(f"{path.name} 有 {size:.0f} MB，最多 {LIMIT >> 20} MB。请拆成几个小文件。")
        return path.read_bytes()
    except FileNotFoundError:
        raise DataError(f"找不到文件 {path}。请检查路径。") from None
    except OSError as error:
        raise DataError(f"打不开 {path}（{error.strerror}）。请给一个能读的文件。") from None


def _markdown(data: bytes, suffix: str, path: Path) -> str:
    if suffix == ".docx" and data.startswith(b"PK"):
        from course_utils.data.readers import from_docx

        return from_docx(data, path.name)
    if suffix == ".pdf" and b"%PDF" in data[:1024]:
        from course_utils.data.pdf import from_pdf

        return from_pdf(data, path.name)
    if suffix in (".html", ".htm"):
        from course_utils.data.readers import from_html

        return from_html(data, path)
    if suffix not in (".txt", ".md", ".markdown"):
        fix = "它的内容不是这种格式，请重新导出" if suffix in (".docx", ".pdf") else "请给 txt、md、html、docx 或 pdf"
        raise DataError(f"读不了 {path.name}：{fix}。旧版 Word（.doc）请另存为 .docx。")
    return decode(data, path).replace("\r\n", "\n").replace("\r", "\n")


def chunks(document: Document, separator: str | None = None) -> list[Chunk]:
    """The document in pieces: the preview of what `extract` and an LLM see.

    separator: text that begins a line, such as `###` or `---`; `空行` for blank lines; a regular expression after
    `re:`. None: sections are gathered until a chunk has about 1,000 characters. Raises `DataError`.
    """
    text = document.text
    spans = _automatic(document) if separator is None else _split(text, _separator(separator))
    trimmed = []
    for start, end in spans:
        piece = text[start:end]
        if piece.strip():
            start += len(piece) - len(piece.lstrip())
            trimmed.append((start, start + len(piece.strip())))
    return [Chunk(number, start, end, text[start:end]) for number, (start, end) in enumerate(trimmed, 1)]


def _separator(separator: str) -> re.Pattern:
    if separator == "空行":
        return re.compile(r"\n[ \t\u3000]*\n\s*")
    if not separator.strip() or separator == "re:":
        raise DataError("分隔符是空的。请给一段文字（例如 ###），或者“空行”，或者以 re: 开头的正则表达式。")
    if not separator.startswith("re:"):
        return re.compile(rf"^[ \t]*{re.escape(separator)}", re.MULTILINE)
    try:
        pattern = re.compile(separator.removeprefix("re:"), re.MULTILINE)
    except re.error as error:
        raise DataError(f"分隔符「{separator}」不是正确的正则表达式（{error}）。请修改。") from None
    if pattern.match(""):
        raise DataError(f"分隔符「{separator}」连空文本也能匹配。请写得更具体。")
    return pattern


def _split(text: str, pattern: re.Pattern) -> Iterator[tuple[int, int]]:
    start = 0
    for match in pattern.finditer(text):
        yield start, match.start()
        start = match.end()
    yield start, len(text)


def _automatic(document: Document) -> Iterator[tuple[int, int]]:
    """A new chunk begins at a block that would make the last one too long, at its heading if there is one."""
    starts, section = [0], 0
    for block in document.blocks:
        line = document.text.rfind("\n", 0, block.start) + 1
        if block.kind == "标题":
            section = line
        if block.end - starts[-1] > CHUNK and line > starts[-1]:
            starts.append(section if section > starts[-1] else line)
    yield from zip(starts, [*starts[1:], len(document.text)], strict=True)
