"""A learner's file becomes rows whole, or a sentence says why not; records become a file that a platform takes."""

import json

import pytest

from course_utils.data.formats import STEP, export, layout, read_rows
from course_utils.data.records import Record, from_sharegpt, sharegpt_extras, sharegpt_mistakes, to_records, to_sharegpt
from course_utils.errors import DataError

ROWS = [{"text": "很好，喜欢", "label": "积极"}, {"text": "第一行\n第二行“引号”", "label": "消极"}]
JSONL = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in ROWS)
CSV = 'text,label\n"很好，喜欢",积极\n"第一行\n第二行“引号”",消极\n'

# --- files that are fine ---


@pytest.mark.parametrize(
    "name, text",
    [
        ("a.jsonl", JSONL),
        ("a.JSONL", JSONL.rstrip("\n")),
        ("blank.jsonl", "\n" + JSONL.replace("\n", "\n \n") + "\n\n"),
        ("a.json", json.dumps(ROWS, indent=1)),
        ("lines_inside.json", JSONL),
        ("array_inside.jsonl", json.dumps(ROWS, ensure_ascii=False)),
        ("object.json", json.dumps({"version": 1, "tags": ["甲"], "data": ROWS, "note": None}, ensure_ascii=False)),
        ("a.csv", CSV),
        ("no_end.csv", CSV.rstrip("\n")),
        ("blank.csv", CSV.replace("积极\n", "积极\n\n") + "\n"),
        ("nameless.csv", CSV.replace("label\n", "label,,\n").replace("极\n", "极,, \n")),
        ("a.tsv", CSV.replace(",", "\t")),
        ("tabs.csv", CSV.replace(",", "\t")),
    ],
)
@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "gb18030", "utf-16"])
@pytest.mark.parametrize("newline", ["\n", "\r\n"], ids=["LF", "CRLF"])
def test_good_files(tmp_path, name, text, encoding, newline):
    path = tmp_path / name
    path.write_bytes(text.replace("\n", newline).encode(encoding))
    assert read_rows(path) == read_rows(str(path)) == ROWS


def test_csv_with_quotes_commas_and_odd_line_separators(tmp_path):
    path = tmp_path / "a.csv"
    text = "a\u2028b\x85c\x0bd\x0ce"  # lines to str.splitlines, but not to a CSV file
    path.write_text(f'text,label\n{text},积极\n"他说""好"", 真的",消极\n,\n', encoding="utf-8")
    assert read_rows(path) == [
        {"text": text, "label": "积极"},
        {"text": '他说"好", 真的', "label": "消极"},
        {"text": "", "label": ""},
    ]


def test_a_spreadsheets_csv(tmp_path):
    """Chinese Windows saves GBK with CRLF, quotes cells with commas, and has characters beyond GB2312."""
    path = tmp_path / "导出.csv"
    rows = [("序号", "评论内容", "标签"), ("1", "朱镕基传，值得读", "积极"), ("2", "說的是“囧”\n字", "消极")]
    cells = [['"' + cell + '"' if set(cell) & set(",，\n") else cell for cell in row] for row in rows]
    path.write_bytes("\r\n".join(",".join(row) for row in cells).encode("gbk"))
    assert read_rows(path) == [dict(zip(rows[0], row, strict=True)) for row in rows[1:]]


def test_traditional_chinese_in_gb18030_is_read(tmp_path):
    path = tmp_path / "a.csv"
    path.write_bytes("text,label\n這個飯店的服務態度還不錯，下次還會來住𠮷,積極\n".encode("gb18030"))
    assert read_rows(path) == [{"text": "這個飯店的服務態度還不錯，下次還會來住𠮷", "label": "積極"}]


@pytest.mark.parametrize("suffix", ["json", "jsonl", "csv"])
def test_progress_is_told_and_long_cells_are_read(tmp_path, suffix):
    rows = [{"text": "长" * 200_000, "n": str(i)} for i in range(20)]
    path = tmp_path / f"a.{suffix}"
    lines = [json.dumps(row, ensure_ascii=False) for row in rows]
    text = {
        "json": "[" + ",\n".join(lines) + "]",
        "jsonl": "\n".join(lines),
        "csv": "text,n\n" + "\n".join(",".join(row.values()) for row in rows),
    }[suffix]
    path.write_text(text, encoding="utf-8")
    shares = []
    assert read_rows(path, shares.append) == rows
    assert len(shares) >= len(text) // STEP and shares == sorted(shares) and shares[-1] == 1 and 0 < shares[0] < 0.5


# --- files that are not ---


@pytest.mark.parametrize(
    "name, content, message",
    [
        ("a.jsonl", "", r"a\.jsonl 里没有数据"),
        ("a.jsonl", "\n \n", r"a\.jsonl 里没有数据"),
        ("a.json", "", r"a\.json 里没有数据"),
        ("a.json", "\ufeff", r"a\.json 里没有数据"),
        ("a.json", "[]", r"a\.json 里没有数据"),
        ("a.csv", "", r"a\.csv 里没有数据"),
        ("a.csv", "text,label\n", r"a\.csv 里没有数据"),
        ("a.jsonl", '{"a": "b"}\n\n{"a": "好', "第 2 行（文件第 3 行第 7 个字符处）断了.*前面有 1 行完整"),
        ("a.jsonl", '{"a": "b"}\n{"a": "好}\n{"a": "b"}', "第 2 行（文件第 2 行第 7 个字符处）不是完整的 JSON"),
        ("a.jsonl", '{"a": "b"}\n{"a": 1\n{"a": "b"}', "第 2 行（文件第 2 行第 8 个字符处）不是完整的 JSON"),
        ("a.json", '[{"a": "b"},\n{"a": ', "第 2 行（文件第 2 行第 7 个字符处）断了.*前面有 1 行完整"),
        ("a.json", '[{"a": "b"},\n{"a" "b"}, {"a": "b"}]', "第 2 行（文件第 2 行第 6 个字符处）不是完整的 JSON"),
        ("a.json", '[{"a": "b"},]', "第 2 行（文件第 1 行第 12 个字符处）不是完整的 JSON.*多了或少了逗号"),
        ("a.json", '[{"a": "b"}] [', "不是完整的 JSON"),
        ("a.json", '{"a": "b"}', "最外层应该是一个数组"),
        ("a.json", '{"conversations": [{"from": "human"}]}', "最外层应该是一个数组"),
        ("a.json", '{"train": [{"a": 1}], "test": [{"a": 1}]}', "最外层应该是一个数组"),
        ("a.json", "null", "第 1 行不是一个带字段的对象"),
        ("a.json", '[{"a": "b"}, "好"]', "第 2 行不是一个带字段的对象"),
        ("a.jsonl", '{"a": "b"}\n["a"]', "第 2 行不是一个带字段的对象"),
        ("a.jsonl", '{"a": "b"}\n{"a": "好\\ud83d"}', "第 2 行有残缺的字符"),
        ("a.json", '[{"a": 1}, {"b": 1, "b": 2}]', "第 2 行的字段「b」出现了两次"),
        ("a.json", '[{"a": 1}, ' + "[" * 200_000, "第 2 行嵌套得太深"),
        ("a.json", '[{"a": ' + "1" * 5000 + "}]", "第 1 行有一个长得读不了的数字"),
        (
            "a.csv",
            "text,label\n好,积极\n好，不,好,消极\n",
            "第 2 行（文件第 3 行起）的列数与表头不同：有 3 格.*英文双引号",
        ),
        ("a.csv", "text,label\n好\n", "第 1 行（文件第 2 行起）的列数与表头不同"),
        ("a.csv", 'text,label\n"好\n好",积极\n"差,消极\n差,消极\n', "第 2 行（文件第 4 行起）读不下去：双引号不配对"),
        ("a.csv", 'text,label\n"他"说,积极\n', "第 1 行（文件第 2 行起）读不下去：双引号不配对"),
        ("a.csv", '"text,label\n好,积极\n', "的表头读不下去：双引号不配对"),
        ("a.csv", "text,text\n好,坏\n", "表头里「text」出现了两次"),
        ("a.csv", "text,label,\n好,积极,其实一般\n", "第 1 行（文件第 2 行起）有一格在没有列名的列里"),
        ("a.csv", "text,label\n好\0,积极\n", "第 2 行里有 NUL 字符"),
        ("a.txt", "好", r"不认识 a\.txt 的格式。请给 \.jsonl、\.json、\.csv、\.tsv 文件"),
        ("a", "好", "不认识 a 的格式"),
    ],
)
def test_bad_files(tmp_path, name, content, message):
    (tmp_path / name).write_text(content, encoding="utf-8")
    with pytest.raises(DataError, match=message) as caught:
        read_rows(tmp_path / name)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "whole", ['[{"甲": "一\\u4e8c\\n", "n": -1.5e3}, {"乙": null}]', '{"k": true, "d": [{"甲": [1]}]}']
)
def test_json_cut_anywhere_is_said_to_be_cut(tmp_path, whole):
    path, data = tmp_path / "a.json", whole.encode()
    for end in range(1, len(data)):
        path.write_bytes(data[:end])
        with pytest.raises(DataError, match="断了，文件不完整") as caught:
            read_rows(path)
        rows = data[:end].count(b"}")
        assert f"前面有 {rows} 行完整的数据" in str(caught.value), data[:end]


@pytest.mark.parametrize(
    "name, data, message",
    [
        ("a.csv", b"PK\x03\x04\x14\x00\x06\x00", "a.csv 其实是Excel 工作簿.*只是改了后缀.*另存为.*CSV UTF-8"),
        ("a.xlsx", b"PK\x03\x04\x14\x00\x06\x00", "a.xlsx 其实是Excel 工作簿（.xlsx）或压缩包。"),
        ("a.csv", b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1", "旧版 Excel"),
        ("a.json", b"\x89PNG\r\n\x1a\n", "其实是PNG 图片"),
        ("a.jsonl", b"%PDF-1.7", "其实是PDF 文件"),
        ("a.csv", "text,label\n".encode("utf-16-le"), "NUL 字符.*没有 BOM 的 UTF-16"),
        ("a.csv", "text,label\n很好很喜欢,积极\n很差很讨厌,消".encode()[:-1], "第 3 行有损坏的字符"),
        ("a.csv", "text,label\n很好".encode() + b"\xff" + "很喜欢,积极\n".encode(), "第 2 行有损坏的字符"),
        ("a.csv", "text,label\n這個飯店的服務態度還不錯，下次還會來住,積極\n".encode("big5"), "可能是 Big5"),
        ("a.csv", "text,label\nとても良いホテルでした。また来ます,良い\n".encode("shift-jis"), "请另存为 UTF-8"),
        ("a.csv", b"text,label\n\xff\xff,a\n", "第 2 行既不是 UTF-8 也不是 GB18030"),
    ],
)
def test_other_kinds_and_encodings(tmp_path, name, data, message):
    (tmp_path / name).write_bytes(data)
    with pytest.raises(DataError, match=message):
        read_rows(tmp_path / name)


def test_missing_file_and_folder(tmp_path):
    with pytest.raises(DataError, match=r"找不到文件 .*a\.csv"):
        read_rows(tmp_path / "a.csv")
    with pytest.raises(DataError, match="打不开"):
        read_rows(tmp_path)


# --- ShareGPT and Alpaca ---

TOOLS = {  # in the manner of LLaMA-Factory's glaive_toolcall example
    "conversations": [
        {"from": "human", "value": "北京今天多少度？"},
        {"from": "function_call", "value": '{"name": "weather", "arguments": {"city": "北京"}}'},
        {"from": "observation", "value": '{"degrees": 21}'},
        {"from": "gpt", "value": "北京今天 21 度。"},
    ],
    "system": "你会查天气。",
    "tools": '[{"name": "weather"}]',
}


def talk(*roles, value="话"):
    return {"conversations": [{"from": role, "value": value} for role in roles]}


def test_layout():
    assert layout([TOOLS]) == "sharegpt"
    assert layout([{"instruction": "问", "output": "答"}]) == "alpaca"
    assert layout([{"text": "好", "label": "积极"}]) == layout([{"instruction": "问"}]) == "columns"


def test_a_conversation_with_tools_becomes_a_record_and_again_itself(tmp_path):
    (record,) = to_records([TOOLS])
    assert [m["content"] for m in record.messages()] == [TOOLS["system"], *(t["value"] for t in TOOLS["conversations"])]
    assert record.history == [("北京今天多少度？", TOOLS["conversations"][1]["value"])]
    extras = sharegpt_extras(TOOLS)
    assert to_sharegpt(record, **extras) == TOOLS
    export([record], tmp_path / "a.json", "sharegpt", [extras])
    assert read_rows(tmp_path / "a.json") == [TOOLS]
    with pytest.raises(DataError, match="第 1 行用到了工具，Alpaca 格式放不下"):
        export([record], tmp_path / "b.json", "alpaca", [extras])


def test_a_system_turn_comes_back_where_it_was():
    row = talk("system", "human", "gpt")
    record = from_sharegpt(row)
    assert record.system == "话" and len(record.messages()) == 3
    assert to_sharegpt(record, **sharegpt_extras(row)) == row
    assert to_records([row], answers=False)[0].output == ""


@pytest.mark.parametrize(
    "row, message",
    [
        ({"conversations": []}, "第 3 行没有对话"),
        ({"conversations": "你好"}, "第 3 行没有对话"),
        (talk("human", "human", "gpt", "gpt"), "第 3 行第 2 轮的角色是「human」，顺序不对：这里该是答"),
        (talk("gpt", "human"), "第 3 行第 1 轮的角色是「gpt」，顺序不对：这里该是问"),
        (talk("human", "observation"), "第 3 行第 2 轮的角色是「observation」"),
        (talk("user", "assistant"), "第 3 行第 1 轮的角色「user」不认识。只能是 human"),
        (talk("human", "gpt", value=" "), "第 3 行第 1 轮是空的"),
        (talk("human", "gpt", "human"), "第 3 行第 3 轮是最后一轮，却不是模型的回答"),
        ({"conversations": [{"role": "user", "content": "好"}]}, "第 3 行第 1 轮不是 {.from"),
        ({"conversations": ["你好", "好"]}, "第 3 行第 1 轮不是 {.from"),
        (talk("system"), "第 3 行没有对话：只有 system"),
        (talk("system", "human", "gpt") | {"system": "你"}, "第 3 行第 1 轮的角色是「system」.*请只留一处"),
        (talk("human", "gpt") | {"system": 3}, "第 3 行的「system」不是文本"),
        ({"conversations": [{"from": ["human"], "value": "好"}, {"value": "好"}]}, "第 3 行第 1 轮的角色"),
    ],
)
def test_bad_conversations(row, message):
    with pytest.raises(DataError, match=message):
        from_sharegpt(row, 3)
    with pytest.raises(DataError, match=message):
        to_records([talk("human", "gpt")] * 2 + [row])


def test_all_mistakes_of_a_conversation_are_found():
    places = [where for where, _ in sharegpt_mistakes(talk("gpt", "human", "bot", value=""))]
    assert places == ["第 1 轮"] * 2 + ["第 2 轮"] * 2 + ["第 3 轮"] * 3


RECORDS = [
    Record("判断情感", "好", "积极"),
    Record("", "只有输入", "答"),
    Record("问", "", "答“引号”\n第二行", "你是助手", [("你好", "你好呀"), ("再问", "再答")]),
]


@pytest.mark.parametrize("suffix", ["json", "jsonl"])
def test_what_the_model_sees_survives_every_format(tmp_path, suffix):
    export(RECORDS, tmp_path / f"a.{suffix}", "alpaca")
    records = to_records(read_rows(tmp_path / f"a.{suffix}"))
    assert records == RECORDS
    export(records, tmp_path / f"s.{suffix}", "sharegpt")
    again = to_records(read_rows(tmp_path / f"s.{suffix}"))
    assert [r.messages() for r in again] == [r.messages() for r in RECORDS]


def test_exported_files_are_what_the_platform_describes(tmp_path):
    export(RECORDS, tmp_path / "a.json", "alpaca")
    rows = json.loads((tmp_path / "a.json").read_text(encoding="utf-8"))
    assert isinstance(rows, list) and list(rows[2]) == ["instruction", "input", "output", "system", "history"]
    assert rows[2]["history"] == [["你好", "你好呀"], ["再问", "再答"]]
    export(RECORDS, tmp_path / "s.json", "sharegpt")
    rows = json.loads((tmp_path / "s.json").read_text(encoding="utf-8"))
    assert rows[0] == {"conversations": [{"from": "human", "value": "判断情感\n好"}, {"from": "gpt", "value": "积极"}]}
    assert rows[2]["system"] == "你是助手" and len(rows[2]["conversations"]) == 6


def test_a_history_may_be_empty_text_or_json_in_a_cell():
    rows = [{"instruction": "问", "output": "答", "history": h} for h in ("", " ", '[["你", "好"]]')]
    assert [r.history for r in to_records(rows)] == [[], [], [("你", "好")]]
    with pytest.raises(DataError, match="第 1 行的「history」格式不对"):
        to_records([{"instruction": "问", "output": "答", "history": "你好"}])


@pytest.mark.parametrize(
    "arguments, message",
    [
        ((RECORDS, "a.csv", "alpaca"), "请给一个 .json 或 .jsonl 文件名"),
        ((RECORDS, "a.json", "excel"), "没有叫「excel」的格式"),
        ((RECORDS, "a.json", "sharegpt", [{}]), "有 3 条数据，extras 却有 1 条"),
        ((RECORDS[:1], "a.json", "sharegpt", [{"roles": ["human"]}]), "第 1 行有 2 轮对话，roles 却有 1 个"),
        (([RECORDS[0], Record("问")], "a.json", "sharegpt"), "第 2 行第 2 轮是空的"),
    ],
)
def test_what_cannot_be_exported_leaves_the_old_file(tmp_path, arguments, message):
    records, name, *rest = arguments
    (tmp_path / name).write_text("旧的")
    with pytest.raises(DataError, match=message):
        export(records, tmp_path / name, *rest)
    assert [path.read_text() for path in tmp_path.iterdir()] == ["旧的"]
