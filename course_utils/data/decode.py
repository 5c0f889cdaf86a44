"""The bytes of a learner's file become text, or a sentence that says what the file really is."""

import codecs
from pathlib import Path

from course_utils.errors import DataError

SUFFIXES = (".jsonl", ".json", ".csv", ".tsv")
MAGIC = {  # how other kinds of file begin
    b"PK\x03\x04": "Excel 工作簿（.xlsx）或压缩包",
    b"\xd0\xcf\x11\xe0": "旧版 Excel 或 Word 文件（.xls、.doc）",
    b"%PDF": "PDF 文件",
    b"\x89PNG": "PNG 图片",
    b"\xff\xd8\xff": "JPEG 图片",
    b"\x1f\x8b": "gzip 压缩包",
    b"Rar!": "RAR 压缩包",
    b"7z\xbc\xaf": "7z 压缩包",
    b"PAR1": "Parquet 文件",
}


def refuse_other_kinds(data: bytes, path: Path) -> None:
    for magic, kind in MAGIC.items():
        if data.startswith(magic):
            disguise = "，只是改了后缀" if path.suffix.lower() in SUFFIXES else ""
            raise DataError(
                f"{path.name} 其实是{kind}{disguise}。"
                "表格请在表格软件里“另存为” CSV UTF-8；压缩包请先解压；其他文件请先把文字提取成 .jsonl 或 .csv。"
            )
    if path.suffix.lower() not in SUFFIXES:
        raise DataError(f"不认识 {path.name} 的格式。请给 {'、'.join(SUFFIXES)} 文件。")


def decode(data: bytes, path: Path) -> str:
    """Strict UTF-8, then strict GB18030. Bytes that are nearly UTF-8 are damaged UTF-8, not GB18030: read as such
    they would give Chinese characters without a meaning.
    """
    if data.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        text = data.decode("utf-16", "replace")
    else:
        try:
            text = data.decode("utf-8-sig")
        except UnicodeDecodeError as error:
            text = _decode_not_utf8(data, error, path)
    if "\0" in text:
        line = text.count("\n", 0, text.index("\0")) + 1
        raise DataError(
            f"{path.name} 第 {line} 行里有 NUL 字符：它不是文本文件，或者是没有 BOM 的 UTF-16。请另存为 UTF-8。"
        )
    return text


def _decode_not_utf8(data: bytes, error: UnicodeDecodeError, path: Path) -> str:
    lenient = data.decode("utf-8-sig", "replace")
    sound = len(lenient) - len(lenient.encode("ascii", "ignore")) - lenient.count("\ufffd")
    cut = error.reason == "unexpected end of data"  # all is UTF-8 but for the last bytes
    line = data.count(b"\n", 0, error.start) + 1
    if cut and path.suffix.lower() in (".json", ".jsonl"):
        return lenient  # the reader of JSON says how many rows are whole
    if cut or sound > lenient.count("\ufffd"):
        raise DataError(f"{path.name} 第 {line} 行有损坏的字符（不是完整的 UTF-8）。请重新导出，或者修好这一行。")
    try:
        return _plausible(data.decode("gb18030"), path)
    except UnicodeDecodeError as wrong:
        line = data.count(b"\n", 0, wrong.start) + 1
        raise DataError(f"{path.name} 第 {line} 行既不是 UTF-8 也不是 GB18030 编码。请另存为 UTF-8。") from None


def _plausible(text: str, path: Path) -> str:
    """`text`, unless it looks like Big5, Shift-JIS or Latin-1 read as GB18030: many of its characters are then neither
    in GB2312, which holds nearly all of simplified Chinese, nor among the common ones of Big5.
    """
    sample = [c for c in text[:100_000] if not c.isascii()]
    known = sum(bool(c.encode("gb2312", "ignore")) or b"\xa1" <= c.encode("big5", "ignore") < b"\xc7" for c in sample)
    if known < 0.55 * len(sample):
        raise DataError(f"{path.name} 不是 UTF-8 或 GB18030 编码（可能是 Big5 等）。请另存为 UTF-8。")
    return text
