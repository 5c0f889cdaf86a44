"""Every problem is found at once, with its row; repairs can be undone; nothing goes silently."""

import copy

import pytest

from course_utils.data.doctor import check, is_label_task
from course_utils.data.lengths import token_lengths
from course_utils.data.mapping import Mapping, suggest
from course_utils.data.records import Record, to_records
from course_utils.data.repair import KINDS, drop_bad, repair, undo
from course_utils.data.symptoms import (
    CONTROL,
    fix_mojibake,
    is_mojibake,
    label_key,
    mask_personal,
    personal_data,
    strip_control,
)
from course_utils.errors import ConfigError, DataError

REVIEWS = Mapping({"prompt": "instruction", "text": "input", "label": "output"})
QA = Mapping({"question": "instruction", "answer": "output"})


def review(text, label="积极"):
    return {"prompt": "判断情感", "text": text, "label": label}


def reviews(n=12):
    return [review(f"第{i}家酒店", ("积极", "消极")[i % 2]) for i in range(n)]


def qa(question, answer):
    return {"question": question, "answer": answer}


def found(rows, mapping=REVIEWS, **options):
    """What `check` found, as (row, field, kind)."""
    return [(p.row, p.field, p.kind) for p in check(rows, mapping, **options).problems]


def test_good_rows_have_no_problems():
    report = check(reviews(), REVIEWS)
    assert report.problems == [] and report.ok and report.summary() == "共 12 行，没有发现问题。"


def test_all_problems_come_at_once_in_the_order_of_the_rows():
    rows = reviews()
    rows[1]["text"], rows[1]["prompt"] = " ", ""
    rows[2]["label"] = None
    rows[3]["text"] = 3
    rows[4] |= {"text": "电话13812345678\u200b"}
    rows[5]["label"] = "消极 "
    rows[6] = dict(rows[0])
    report = check(rows, REVIEWS)
    assert [(p.row, p.kind, p.severity, p.repairable) for p in report.problems] == [
        (2, "缺少内容", "错误", False),
        (3, "缺少内容", "错误", False),
        (4, "类型不对", "错误", True),
        (5, "控制字符", "注意", True),
        (5, "个人信息", "注意", True),
        (6, "首尾空白", "提示", True),
        (7, "重复", "注意", True),
    ]
    assert not report.ok and len(report.errors) == 3 and report.counts["缺少内容"] == 2
    table = report.table()
    assert list(table.columns) == ["行", "字段", "程度", "问题", "怎么改"] and len(table) == 7
    assert table["字段"][0] == "prompt、text" and "第 1 行相同" in table["问题"][6]
    assert "缺少内容 2 处" in report.summary() and "有错误" in report.summary()


def test_a_report_without_errors_means_that_rows_become_records():
    rows = [*reviews(), {"text": None, "label": "积极"}, {"label": "积极"}, review("好", ["积极"]), review("好", "")]
    rows += [review("好") | {"history": "你好"}, review("好") | {"history": [["问", "答"]]}]
    bad = {p.row for p in check(rows, REVIEWS).errors}
    for number, row in enumerate(rows, 1):
        if number in bad:
            with pytest.raises(DataError):
                to_records([row], REVIEWS.columns)
        else:
            to_records([row], REVIEWS.columns)
    assert bad == {13, 14, 15, 16, 17}


def test_missing_columns_and_no_rows_are_said_once():
    assert found([{"text": "好"}] * 20, Mapping({"text": "input"}))[0] == (0, "output", "缺少内容")
    assert sum(row == 0 for row, *_ in found([{"text": "好"}] * 20, Mapping({"text": "input"}))) == 1
    assert (0, "prompt", "缺少内容") in found([{"text": "好", "label": "积极"}])
    assert not check([], REVIEWS).ok
    constants = Mapping({"text": "input"}, {"output": "积极"})
    assert check([{"text": "好"}], constants).ok


def test_all_mistakes_of_a_conversation_are_found():
    turns = [{"from": "gpt", "value": "答"}, {"from": "gpt", "value": "答\x07"}, {"from": "human", "value": ""}]
    rows = [{"conversations": turns, "tools": "[]"}]
    report = check(rows, suggest(rows))
    assert [(p.row, p.field, p.kind) for p in report.problems] == [
        (0, "tools", "工具说明"),
        (1, "第 1 轮", "对话顺序"),
        (1, "第 3 轮", "对话顺序"),
        (1, "第 3 轮", "对话顺序"),
        (1, "第 2 轮", "控制字符"),
    ]
    assert all(p.what and p.fix for p in report.problems)
    fixed = repair(rows, suggest(rows), "控制字符")
    assert fixed.rows[0]["conversations"][1]["value"] == "答" and turns[1]["value"] == "答\x07"
    assert undo(fixed) == rows


def test_same_question_with_different_answers():
    rows = [*reviews(), review("第0家 酒店"), review(" 第0家  酒店", "消极")]
    assert found(rows) == [(14, "label", "答案不一致")]
    rows = [qa("什么是微调？", "在预训练模型上继续训练。"), qa("什么是微调？", "用自己的数据再教模型一遍。")]
    assert check(rows, QA).problems[0].severity == "提示"


def test_answers_that_repeat_the_question():
    rows = [qa("什么是微调？", "什么是微调？"), qa("什么是大模型的微调？请回答", "什么是大模型的微调？请回答。是……")]
    rows += [qa("啥是微调？", "啥是微调？继续训练。"), qa("复述：好", "好")]
    assert found(rows, QA) == [(1, "answer", "答案重复问题"), (2, "answer", "答案重复问题")]


# --- labels ---


def test_unbalanced_labels_are_told_with_their_ratio():
    rows = [review(f"{i}", "积极" if i % 5 else "消极") for i in range(20)]
    (problem,) = check(rows, REVIEWS).problems
    assert problem.row == 0 and "「积极」有 16 行，「消极」只有 4 行，相差 4.0 倍" in problem.what
    assert found([review(f"{i}", "积极" if i % 3 else "消极") for i in range(20)]) == []


def test_spellings_of_one_label_are_found_and_unified():
    spellings = ["积极", "积极", "积極", "積極", "积 极", "积极。", "积极\u200b"]
    rows = [review(f"甲{i}", label) for i, label in enumerate(spellings)]
    rows += [review(f"乙{i}", label) for i, label in enumerate(["Ａ", "A", "A", "a", " A"])]
    assert [row for row, _, kind in found(rows) if kind == "标签写法"] == [3, 4, 5, 6, 7, 8, 11]
    fixed = repair(rows, REVIEWS, "标签写法")
    assert [row["label"] for row in fixed.rows] == ["积极"] * 7 + ["A"] * 5
    assert fixed.changes[0][:4] == (3, "label", "积極", "积极")
    assert undo(fixed) == rows and rows[2]["label"] == "积極"
    assert label_key("不极") != label_key("积极") and label_key("C++") != label_key("C")


def test_given_labels_decide():
    rows = [review("好", "正面"), review("差", "负面 "), review("坏", "負面"), review("一般", "中性")]
    report = check(rows, REVIEWS, task_labels=["正面", "负面", "混合"])
    assert [(p.row, p.kind) for p in report.problems] == [
        (0, "标签不平衡"), (2, "首尾空白"), (3, "标签写法"), (4, "未知标签")
    ]  # fmt: skip
    assert [p.row for p in report.errors] == [4]
    fixed = repair(rows, REVIEWS, "标签写法", task_labels=["正面", "负面"])
    assert [row["label"] for row in fixed.rows] == ["正面", "负面", "负面", "中性"]


def test_long_answers_are_no_labels():
    answers = [f"第{i}个回答" for i in range(30)]
    assert (
        not is_label_task(answers) and is_label_task(["积极", "消极"] * 5) and not is_label_task(["积极", "消极"] * 4)
    )
    rows = [qa(f"问{i}", answer + " ") for i, answer in enumerate(answers)]
    assert found(rows, QA) == [] and repair(rows, QA, "首尾空白").changes == []


# --- characters ---


@pytest.mark.parametrize(
    "text",
    [
        "这家酒店的服务态度还不错，下次还会来！", "這個飯店的服務態度還不錯", "联通", "涓涓细流，浜口京子，浣熊", "朱镕基、喆、堃",
        "今日は良い天気ですね。カタカナとｶﾀｶﾅ", "👨‍👩‍👧 一家 🏳️‍🌈 👍🏽", "Hello, world! It’s “fine” — really…",
        "déjà vu à « côté » ; élève naïve", "££££ ¡¡¡¡", "ÄÖÜ Übergrößenträger", "Привет мир", "한국어", "价格：￥100～200，½ 杯", "第一行\n\t第二行",
    ],
)  # fmt: skip
def test_ordinary_text_is_left_alone(text):
    assert not is_mojibake(text) and not CONTROL.search(text) and not personal_data(text)
    assert strip_control(text) == mask_personal(text) == text and fix_mojibake(text) is None


@pytest.mark.parametrize("text", ["这个酒店不错，很喜欢。", "你好", "今天 hello 很好！", "“好”……"])
@pytest.mark.parametrize(
    "written, read", [("utf-8", "latin-1"), ("utf-8", "cp1252"), ("utf-8", "gbk"), ("gbk", "latin-1"), ("gbk", "utf-8")]
)
def test_mojibake_is_found_and_mended_or_left(text, written, read):
    garbled = text.encode(written).decode(read, "replace")
    if written == "gbk" and text == "“好”……":
        return  # one character in GB2312's common range is too little to be sure
    assert is_mojibake(garbled)
    fixed = fix_mojibake(garbled)
    assert fixed == text or (fixed is None and ("\ufffd" in garbled or read == "gbk"))
    assert fixed == text or read != "latin-1"


@pytest.mark.parametrize("text", ["锟斤拷锟斤拷", "很好\ufffd", "ï¿½ï¿½", "你好，å¥½的"])
def test_what_is_lost_is_reported_and_not_guessed(text):
    rows = [review(text)]
    (problem,) = check(rows, REVIEWS).problems
    assert problem.kind == "乱码" and not problem.repairable
    assert repair(rows, REVIEWS, "乱码").rows == rows


def test_control_characters_go_and_emoji_stay():
    assert strip_control("\ufeff好\x00看\u200b，👨‍👩‍👧\u200d甲\x0b乙\u202e") == "好看，👨‍👩‍👧甲\n乙"
    garbled = "这".encode().decode("latin-1")  # it has a C1 control inside
    assert CONTROL.search(garbled) and strip_control(garbled) == garbled
    assert found([review(garbled)]) == [(1, "text", "乱码")]


@pytest.mark.parametrize(
    "text, masked",
    [
        ("打13812345678找我", "打【手机号】找我"),
        ("+86 138-1234-5678。", "【手机号】。"),
        ("身份证11010519491231002X", "身份证【身份证号】"),
        ("我的邮箱是zhang.san+a@mail.example.com，谢谢", "我的邮箱是【邮箱】，谢谢"),
        ("身份证110105194912310021", None),  # a wrong check digit
        ("11010519491231002X和110105194912310021", "【身份证号】和110105194912310021"),
        ("订单138123456789012", None),
        ("12812345678", None),
        ("ID a13812345678", None),
        ("@我 a@b", None),
    ],
)
def test_personal_data(text, masked):
    assert mask_personal(text) == (masked or text)
    assert bool(personal_data(text)) == (masked is not None)


# --- lengths ---


def test_rows_that_are_too_long_for_the_model(tiny):
    tokenizer = tiny[1]
    rows = [
        review("好"),
        review("好" * 90),
        review("差", "长" * 40),
        review("好") | {"history": [["好" * 50, "好" * 50]]},
    ]
    report = check(rows, REVIEWS, tokenizer, 80)
    assert [(p.row, p.kind, p.severity) for p in report.problems] == [
        (2, "会被截断", "注意"), (3, "太长", "错误"), (4, "会被截断", "注意")
    ]  # fmt: skip
    assert found(rows, tokenizer=tokenizer) == []


def test_lengths_are_those_of_the_encoding(tiny):
    from course_utils.models.encode import encode

    turns = [("你好", "很好，谢谢")] * 3
    records = [Record("判断", "好\n差", "积极", s, turns[:n]) for n in range(4) for s in ("", "你是谢")]
    for record, (whole, least) in zip(records, token_lengths(records, tiny[1]), strict=True):
        assert whole == len(encode(record, tiny[1]).input_ids)
        assert encode(record, tiny[1], max_length=least).cut_tokens > 0
        with pytest.raises(DataError):
            encode(record, tiny[1], max_length=least - 1)


# --- repairs ---


def test_every_repair_can_be_undone_and_leaves_its_input_alone():
    rows = reviews()
    rows[0] |= {"text": "好\x07", "history": [["打13812345678", "好\u200b"]], "extra": {"n": 1}}
    rows[1]["text"] = "这家不错".encode().decode("latin-1")
    rows[2]["label"], rows[3]["label"], rows[4]["text"] = "积极 ", "消極", 7
    rows += [dict(rows[5]), dict(rows[5]), review(" 第5家酒店\n", "消极")]
    before = copy.deepcopy(rows)
    for kind in KINDS:
        fixed = repair(rows, REVIEWS, kind)
        assert rows == before and (fixed.changes or fixed.dropped), kind
        assert undo(fixed) == before
        assert [type(row["text"]) for row in undo(fixed)] == [type(row["text"]) for row in before]
        if kind != "重复":
            assert all((p.kind, p.repairable) != (kind, True) for p in check(fixed.rows, REVIEWS).problems), kind
    assert repair(rows, REVIEWS, "个人信息").rows[0]["history"] == [["打【手机号】", "好\u200b"]]
    assert repair(rows, REVIEWS, "乱码").rows[1]["text"] == "这家不错"
    assert repair(rows, REVIEWS, "类型不对").rows[4]["text"] == "7"
    fixed = repair(rows, REVIEWS, "重复")
    assert [drop.row for drop in fixed.dropped] == [13, 14, 15] and len(fixed.rows) == 12
    assert fixed.dropped[2].content == rows[14] and fixed.dropped[0].reasons == ["与第 6 行相同"]


def test_repairs_one_after_the_other_are_undone_backwards():
    rows = [review("好\x07"), review("好"), review("打13812345678")]
    first = repair(rows, REVIEWS, "控制字符")
    second = repair(first.rows, REVIEWS, "重复")
    third = repair(second.rows, REVIEWS, "个人信息")
    assert [row["text"] for row in third.rows] == ["好", "打【手机号】"]
    assert undo(third) == second.rows and undo(second) == first.rows and undo(first) == rows


def test_histories_in_tuples_can_be_mended():
    rows = [{"instruction": "问", "output": "答", "history": [("好\x07", "好")]}]
    fixed = repair(rows, Mapping(), "控制字符")
    assert fixed.rows[0]["history"] == [("好", "好")] and undo(fixed) == rows


def test_only_known_kinds_are_repaired():
    with pytest.raises(ConfigError, match=r"「缺少内容」不能自动修复。能修复的有：控制字符"):
        repair(reviews(), REVIEWS, "缺少内容")


def test_what_is_dropped_is_told():
    rows = reviews()
    rows[1]["label"], rows[3]["text"], rows[3]["label"] = "", 3.5, None
    rows[5]["text"] += "\x07"  # no reason to drop a row
    kept, dropped = drop_bad(rows, check(rows, REVIEWS))
    assert kept == [row for i, row in enumerate(rows) if i not in (1, 3)]
    assert [(d.row, d.content) for d in dropped] == [(2, rows[1]), (4, rows[3])]
    assert dropped[0].reasons == ["label：答案是空的"] and len(dropped[1].reasons) == 2
    assert check(kept, REVIEWS).ok


def test_many_rows_are_looked_at_once(monkeypatch):
    """The work grows with the rows, not with their square: each text is looked at once, all the same or not."""
    from course_utils.data import doctor

    looked = []
    monkeypatch.setattr(doctor, "is_mojibake", lambda text: looked.append(text) or is_mojibake(text))
    rows = [review(f"第{i}家" if i % 2 else "同一家", "积极" if i % 2 else "消极") for i in range(20_000)]
    report = check(rows, REVIEWS)
    assert len(looked) == 60_000 and report.counts == {"重复": 9_999}
    fixed = repair(rows, REVIEWS, "重复")
    assert len(fixed.rows) == 10_001 and undo(fixed) == rows


def test_an_empty_input_is_said_where_most_rows_have_one():
    rows = [{"prompt": "判断", "text": f"第{i}条评论", "label": "好"} for i in range(5)] + [
        {"prompt": "判断", "text": " ", "label": "好"}
    ]
    found = [(p.row, p.field, p.severity) for p in check(rows, suggest(rows)).problems if p.kind == "缺少内容"]
    assert found == [(6, "text", "注意")]
    alone = [{"instruction": f"第{i}个问题", "input": "", "output": "答"} for i in range(5)]
    assert not [p for p in check(alone, suggest(alone)).problems if p.kind == "缺少内容"]
