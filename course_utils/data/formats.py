"""A learner's file becomes rows, and records become a file that a platform takes."""

import csv
import json
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Literal

from course_utils.data.decode import decode, refuse_other_kinds
from course_utils.data.records import Record, atomic_writer, to_sharegpt, write_jsonl
from course_utils.errors import DataError

STEP = 1 << 20  # characters between two calls of `progress`
Progress = Callable[[float], None]


def read_rows(path: str | Path, progress: Progress = lambda share: None) -> list[dict]:
    """The rows of a .jsonl, .json (an array, or an object that holds one), .csv or .tsv file, as they stand there.

    Text in UTF-8 with or without BOM, in UTF-16 with BOM, or in GB18030 (GBK), as spreadsheets save it.
    progress: called with the share that is read, 0 to 1, after each million characters and at the end.
    Raises `DataError` naming the file, the row (1 is the first row of data), the line of the file and the fix.
    """
    path = Path(path)
    try:
        data = path.read_bytes()
    except FileNotFoundError:
        raise DataError(f"找不到文件 {path}。请检查路径。") from None
    except OSError as error:
        raise DataError(f"打不开 {path}（{error.strerror}）。请给一个能读的文件。") from None
    refuse_other_kinds(data, path)
    text = decode(data, path)
    del data  # the text is enough, and a file may be large
    if "\r" in text:
        text = text.replace("\r\n", "\n").replace("\r", "\n")
    if path.suffix.lower() in (".csv", ".tsv"):
        rows = _read_csv(text, path, progress)
    else:
        rows = _read_json(text, path, progress)
    if not rows:
        raise DataError(f"{path.name} 里没有数据。请给一个至少有一行的文件。")
    progress(1.0)
    return rows


def layout(rows: Sequence[dict]) -> Literal["sharegpt", "alpaca", "columns"]:
    """How the rows are laid out: ShareGPT conversations, Alpaca's own fields, or other columns, to be mapped."""
    if any("conversations" in row for row in rows):
        return "sharegpt"
    return "alpaca" if all("instruction" in row and "output" in row for row in rows) else "columns"


def export(
    records: Sequence[Record],
    path: str | Path,
    format: Literal["alpaca", "sharegpt"],
    extras: Sequence[dict] | None = None,
) -> None:
    """Write records for 讯飞星辰MaaS or LLaMA-Factory: a JSON array, or JSON lines when `path` ends in .jsonl.

    extras: for each record the `roles` and `tools` of the ShareGPT row that it came from, see `sharegpt_extras`.
    Alpaca has no place for these. The file appears whole or not at all. Raises `DataError`.
    """
    path, extras = Path(path), extras or [{}] * len(records)
    if path.suffix.lower() not in (".json", ".jsonl"):
        raise DataError(f"不能导出成 {path.name}。请给一个 .json 或 .jsonl 文件名。")
    if len(extras) != len(records):
        raise DataError(f"有 {len(records)} 条数据，extras 却有 {len(extras)} 条。请一一对应。")
    if format == "sharegpt":
        pairs = enumerate(zip(records, extras, strict=True), 1)
        rows = [to_sharegpt(record, **extra, number=number) for number, (record, extra) in pairs]
    elif format == "alpaca":
        special = [i for i, extra in enumerate(extras, 1) if {"tools"} & extra.keys() or _uses_tools(extra)]
        if special:
            raise DataError(f"第 {special[0]} 行用到了工具，Alpaca 格式放不下。请导出成 sharegpt。")
        rows = [asdict(record) for record in records]
    else:
        raise DataError(f"没有叫「{format}」的格式。可以用 alpaca 或 sharegpt。")
    if path.suffix.lower() == ".jsonl":
        return write_jsonl(rows, path)
    with atomic_writer(path) as file:
        file.write("[\n" + ",\n".join(json.dumps(row, ensure_ascii=False) for row in rows) + "\n]\n")


def _uses_tools(extra: dict) -> bool:
    return not set(extra.get("roles", ())) <= {"system", "human", "gpt"}


# --- text to rows ---


def _lines(text: str, progress: Progress) -> Iterator[str]:
    """The lines of a file: only at a newline, where str.splitlines would cut at U+2028 too."""
    start = 0
    while start < len(text):
        end = text.find("\n", start) + 1 or len(text)
        yield text[start:end]
        if start // STEP != end // STEP:
            progress(end / len(text))
        start = end


def _read_csv(text: str, path: Path, progress: Progress) -> list[dict]:
    first = text.partition("\n")[0]
    tabs = path.suffix.lower() == ".tsv" or ("\t" in first and "," not in first)
    csv.field_size_limit(2**31 - 1)  # bytes of one cell; the default of 128 KiB is less than a long document
    reader = csv.reader(_lines(text, progress), delimiter="\t" if tabs else ",", strict=True)
    rows, line = [], 1

    def place() -> str:
        return f"{path.name} 第 {len(rows) + 1} 行（文件第 {line} 行起）" if line > 1 else f"{path.name} 的表头"

    try:
        header = [name.strip() for name in next(reader, [])]
        twins = [name for name in header if name and header.count(name) > 1]
        if twins:
            raise DataError(f"{path.name} 的表头里「{twins[0]}」出现了两次。请改成不同的列名。")
        line = reader.line_num + 1
        for cells in reader:
            if cells:
                rows.append(_csv_row(cells, header, place))
            line = reader.line_num + 1
    except csv.Error:
        raise DataError(f"{place()}读不下去：双引号不配对。文本里的双引号要写成两个，整格再用双引号括起来。") from None
    return rows


def _csv_row(cells: list[str], header: list[str], place: Callable[[], str]) -> dict:
    if len(cells) != len(header):
        raise DataError(
            f"{place()}的列数与表头不同：有 {len(cells)} 格，表头有 {len(header)} 列。"
            "含逗号或换行的文本请用英文双引号括起来。"
        )
    # Spreadsheets leave columns without a name at the right; these may go only while they are empty.
    if any(cell.strip() and not name for name, cell in zip(header, cells, strict=True)):
        raise DataError(f"{place()}有一格在没有列名的列里。请给这一列起名，或者清空它。")
    return {name: cell for name, cell in zip(header, cells, strict=True) if name}


def _one_of_each(pairs: list[tuple[str, object]]) -> dict:
    fields = dict(pairs)
    if len(fields) != len(pairs):  # json would keep the last and lose the others
        names = [name for name, _ in pairs]
        raise DataError(f"字段「{next(n for n in names if names.count(n) > 1)}」出现了两次。请只留一个")
    return fields


DECODER = json.JSONDecoder(object_pairs_hook=_one_of_each)
BLANK = re.compile(r"[ \t\n\r]*")


def _blank(text: str, at: int) -> int:
    return BLANK.match(text, at).end()


def _read_json(text: str, path: Path, progress: Progress) -> list[dict]:
    """One value after another, so that progress can be told and the rows before a mistake can be counted.

    What stands in the file decides, not its name alone: an array, an object with one array, or an object per line.
    """
    arrays: dict[str, list] = {"": []}
    start = _blank(text, 0)
    try:
        if text.startswith("[", start):
            end = _blank(text, _array(text, start, arrays[""], progress))
            if end < len(text):
                raise json.JSONDecodeError("Extra data", text, end)
        elif (
            path.suffix.lower() == ".jsonl"
            or not text.startswith("{", start)
            or not _is_one_object(text, start, arrays, progress)
        ):
            arrays = {"": []}
            _json_lines(text, arrays[""], progress)
    except (ValueError, RecursionError, DataError) as error:
        whole = sum(map(len, arrays.values()))
        raise DataError(f"{path.name} {_json_mistake(text, whole, error)}") from None
    tables = [name for name, rows in arrays.items() if any(isinstance(row, dict) for row in rows)]
    if len(tables) > 1 or (len(arrays) > 1 and not tables) or "conversations" in tables:
        raise DataError(
            f"{path.name} 的最外层应该是一个数组：[{{...}}, {{...}}]，或者一个只含有一个这种数组的对象。请改成这样。"
        )
    rows = arrays[tables[0] if tables else ""]
    # JSON can say \ud83d, the first half of an emoji, which no file can hold
    halves = re.search(r"\\u[dD][89a-fA-F]", text) is not None
    for number, row in enumerate(rows, 1):
        if not isinstance(row, dict):
            raise DataError(f'{path.name} 第 {number} 行不是一个带字段的对象。请改成像 {{"input": "……"}} 这样。')
        if halves and re.search("[\ud800-\udfff]", json.dumps(row, ensure_ascii=False)):
            raise DataError(f"{path.name} 第 {number} 行有残缺的字符（例如半个表情符号）。请删掉它。")
    return rows


def _array(text: str, at: int, rows: list, progress: Progress) -> int:
    """Append the values of the array that opens at `at` to `rows`; returns where it has ended."""
    at = _blank(text, at + 1)
    while not text.startswith("]", at):
        row, end = DECODER.raw_decode(text, at)
        rows.append(row)
        if at // STEP != end // STEP:
            progress(end / len(text))
        at = _next(text, end, "]")
    return at + 1


def _is_one_object(text: str, at: int, arrays: dict[str, list], progress: Progress) -> bool:
    """Read the object that opens at `at`, its arrays into `arrays`; False when more follows: it is but a first line."""
    at = _blank(text, at + 1)
    while not text.startswith("}", at):
        name, at = DECODER.raw_decode(text, at)
        at = _blank(text, at)
        if not text.startswith(":", at):
            raise json.JSONDecodeError("Expecting ':' delimiter", text, at)
        at = _blank(text, at + 1)
        if text.startswith("[", at):
            at = _array(text, at, arrays.setdefault(name, []), progress)
        else:
            arrays.setdefault(name, [])
            at = DECODER.raw_decode(text, at)[1]
        at = _next(text, at, "}")
    return _blank(text, at + 1) == len(text)


def _next(text: str, at: int, close: str) -> int:
    """After one value: where the next begins, or where `close` stands."""
    at = _blank(text, at)
    if text.startswith(",", at):
        at = _blank(text, at + 1)
        if not text.startswith(close, at):
            return at
        raise json.JSONDecodeError("Illegal trailing comma", text, at - 1)
    if text.startswith(close, at):
        return at
    raise json.JSONDecodeError("Expecting ',' delimiter", text, at)


def _json_lines(text: str, rows: list, progress: Progress) -> None:
    start = 0
    for line in _lines(text, progress):
        if line.strip():
            try:
                rows.append(DECODER.decode(line.rstrip()))
            except json.JSONDecodeError as error:
                raise json.JSONDecodeError(error.msg, text, start + error.pos) from None
        start += len(line)


def _json_mistake(text: str, whole: int, error: Exception) -> str:
    row = f"第 {whole + 1} 行"
    if isinstance(error, DataError):
        return f"{row}的{error}"
    if isinstance(error, RecursionError):
        return f"{row}嵌套得太深。请把它改成平的字段。"
    if not isinstance(error, json.JSONDecodeError):
        return f"{row}有一个长得读不了的数字。请改成文本。"
    place = f"{row}（文件第 {error.lineno} 行第 {error.colno} 个字符处）"
    rest = text[error.pos :].strip()
    # what a cut leaves at the very end: nothing, part of a string, of a word such as null, or of an escape
    if re.fullmatch(r"|[-\w.]{1,9}|\\.{0,5}|\ufffd", rest) or (error.msg.startswith("Unterm") and "\n" not in rest):
        return f"在{place}断了，文件不完整。它前面有 {whole} 行完整的数据。请重新导出或下载整个文件。"
    return (
        f"{place}不是完整的 JSON，它前面有 {whole} 行完整的数据。请修改这一处，常见的原因是多了或少了逗号、引号、括号。"
    )
