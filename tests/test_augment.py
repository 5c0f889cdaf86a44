"""Augmentation: the answer and all that is fixed stay, every new row is checked and knows its source, nothing is padded."""

import json
from collections import Counter
from random import Random

import pytest

from course_utils.data import augment_ops as ops
from course_utils.data.augment import MADE, _level, augment, compare_html, variants
from course_utils.data.augment_checks import DOUBLE, FAR, LABEL, LOST, NEAR, QUALITIES, Checks, fixed
from course_utils.data.augment_llm import BY_MODEL, FAILED, Rewrites
from course_utils.data.building import split_dataset
from course_utils.data.polish import polish
from course_utils.data.records import Record, to_records
from course_utils.data.store import DataSet
from course_utils.errors import ConfigError, DataError
from course_utils.llm import ModelError

ASK = "请判断下面这条评论的情感，只回答“积极”或“消极”。"
GOOD = [
    "服务员态度很好，房间也很干净，早餐种类非常丰富，总的来说很满意。",
    "包装很仔细，商家发货很快，孩子非常喜欢，已经推荐给朋友了。",
    "虽然价格比较高，但是质量确实很不错，用起来很方便，值得购买。",
    "酒店位置很好，附近有地铁站，因为是节假日所以有点吵，不过房间很大。",
    "书的内容很实用，看完以后觉得收获很多，如果有续集，我一定会买。",
    "刚刚收到货，外观很漂亮，屏幕很清晰，声音也不错，非常满意。",
]
BAD = [
    "服务员态度很差，房间非常小，而且隔音不好，根本没法休息。",
    "包装破了，客服一直不回复，我觉得非常失望，再也不会买了。",
    "虽然价格便宜，但是质量太差，用了三天就坏了，简直浪费钱。",
    "酒店很旧，卫生间有味道，打电话给前台居然没有人接，非常生气。",
    "内容很空洞，看到一半就不想看了，不知道为什么有很多人推荐。",
    "收到的时候屏幕就有坏点，申请换货还要自己付运费，真的很麻烦。",
]
TAILS = ["", "买了2个。", "“青禾里”那家店。", "已经是第三次了。", "在网上订的。", "给妈妈用的。"]


@pytest.fixture(scope="module")
def reviews():
    pairs = [(text, "积极") for text in GOOD] + [(text, "消极") for text in BAD]
    return [
        {"instruction": ASK, "input": text + tail, "output": label, "kind": "k"}
        for tail in TAILS
        for text, label in pairs
    ]


@pytest.fixture(scope="module")
def augmented(reviews):
    return augment(reviews, multiplier=2, seed=7)


def test_outputs_and_other_columns_are_untouched_and_the_source_is_known(reviews, augmented):
    assert len(augmented.new) > len(reviews) / 2
    for number, row in enumerate(augmented.rows[: len(reviews)], 1):
        assert row["source_row"] == number and row["made_by"] == "import"
        assert row["input"] == reviews[number - 1]["input"]
    for row in augmented.new:
        source = reviews[row["source_row"] - 1]
        assert (row["output"], row["kind"]) == (source["output"], "k")
        assert row["input"] != source["input"]
        assert set(row["made_by"].removeprefix(MADE).split("、")) <= set(ops.OPERATORS)


def test_quotes_numbers_and_labels_are_untouched(reviews, augmented):
    for row in augmented.new:
        source = reviews[row["source_row"] - 1]
        assert fixed(row["input"]) == fixed(source["input"])
        assert "“积极”或“消极”" in row["instruction"]
        for kept in ("“青禾里”", "2"):
            assert row["input"].count(kept) == source["input"].count(kept)


def test_no_two_rows_are_the_same(augmented):
    assert max(Counter(row["input"] for row in augmented.rows).values()) == 1


def test_the_count_adds_up_and_a_shortage_is_told(reviews, augmented):
    assert augmented.wanted == 2 * len(reviews)
    assert len(augmented.new) == augmented.wanted - sum(augmented.short.values())
    made = Counter(row["source_row"] for row in augmented.new)
    assert all(made[number] + missing == 2 for number, missing in augmented.short.items())
    assert f"新增了 {len(augmented.new)} 行" in augmented.summary()
    assert sum(augmented.refused.values()) > 0 and set(augmented.examples) >= {"原文", "新文", "结果"}


def test_no_label_gains_much_more_than_the_other(augmented):
    counts = Counter(row["output"] for row in augmented.new)
    assert abs(counts["积极"] - counts["消极"]) <= 1


def test_the_same_seed_gives_the_same_rows_and_another_gives_others(reviews, augmented):
    assert augment(reviews, multiplier=2, seed=7).rows == augmented.rows
    assert augment(reviews, multiplier=2, seed=8).rows != augmented.rows


def test_split_keeps_a_row_and_its_copies_together(augmented):
    dataset = DataSet.create("d", {"all": augmented.rows}, {"tool": "augment"})
    _, parts = split_dataset(dataset)
    assert all(parts.values())
    stored = DataSet.open("d").rows()
    place = {}
    for part, rows in stored.items():
        for row in rows:
            assert place.setdefault(row["source_row"], part) == part


def test_augmented_rows_are_not_augmented_again(augmented):
    again = augment(augmented.rows, multiplier=1, seed=1)
    before = Counter(row["input"] for row in augmented.new)
    assert again.wanted == len(augmented.rows) - len(augmented.new)
    assert Counter(row["input"] for row in again.new) >= before


def test_without_history_or_input_records_pass_too():
    records = [Record("虽然合同没有到期，但是公司突然通知我离开，请问我应该怎么办？", output="可以要求赔偿。")]
    found = augment(records, multiplier=3)
    assert found.new and all(row["output"] == "可以要求赔偿。" and row["input"] == "" for row in found.new)


def test_nothing_to_change_is_counted_and_explained():
    found = augment([Record("判断情感", "嗯", "积极"), Record("判断情感", "OK", "消极")], multiplier=3)
    assert found.new == [] and found.short == {1: 3, 2: 3}
    assert found.refused == {"没有可改的地方": 2}
    assert "共差 6 行" in found.summary() and "大模型" in found.summary()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"multiplier": 0}, "增强倍数是 0，要在 1 到 10 之间"),
        ({"multiplier": 11}, "增强倍数是 11"),
        ({"quality": "最好"}, "没有叫「最好」的质量。可以选：宽松、标准、严格"),
        ({"operators": ["翻译"]}, "没有叫「翻译」的增强方法。可以选：同义词"),
        ({"operators": []}, "一种增强方法也没有选"),
    ],
)
def test_wrong_settings_are_named(arguments, message):
    with pytest.raises(ConfigError, match=message):
        augment([Record("问", "文", "答")], **arguments)


def test_no_rows():
    with pytest.raises(DataError, match="一行数据也没有"):
        augment([])


# The checks, one by one.


def test_too_near_too_far_double_and_lost():
    source = Record("判断", "房间很大，早餐不错，一共花了300元，下次还来住这里", "积极")
    other = Record("判断", "完全是另一句话", "消极")
    checks = Checks([source, other], "标准")

    def reasons(text, output="积极"):
        return checks.reasons([(0, Record("判断", text, output), [])])[0]

    assert reasons("房间很大，早餐不错，一共花了300元，下次还来住这里吧") == [NEAR]
    assert FAR in reasons("毫不相干的一段文字300")
    assert reasons("完全是另一句话！") == [DOUBLE, FAR, LOST]
    assert reasons("房间挺大的，早餐挺好，一共花了200元，下次还来住这里") == [LOST]
    assert reasons("房间挺大的，早餐挺好，一共花了300元，下次还来住这里", "消极") == [LOST]
    assert reasons("房间挺大的，早餐挺好，一共花了300元，下次还来住这里") == []
    assert reasons("房间挺大的，早餐挺好，一共花了300元，下次还来住这里") == [DOUBLE]


def test_a_new_row_must_differ_from_its_siblings_too():
    source = Record("判断", "房间很大，早餐不错，下次还来住这里，推荐给大家", "积极")
    sibling = Record("判断", "房间挺大的，早餐挺好，下次还来住这里，推荐给大家", "积极")
    almost = Record("判断", "房间挺大的，早餐挺好，下次还来住这里，推荐给大家吧", "积极")
    assert Checks([source], "标准").reasons([(0, almost, [sibling])]) == [[NEAR]]
    assert Checks([source], "标准").reasons([(0, almost, [])]) == [[]]


def test_a_label_that_the_rest_contradicts_is_refused(reviews):
    mistaken = Record(ASK, BAD[0].replace("非常小", "特别小"), "积极")  # its own row taught the classifier nothing
    records = [mistaken, *to_records(reviews)]
    new = Record(ASK, "服务员态度很差，房间特别小，而且隔音也不好，实在没法休息。", "积极")
    right = Record(ASK, records[1].input.replace("很好", "挺好的").replace("非常丰富", "十分丰富"), "积极")
    assert Checks(records, "严格").reasons([(0, new, []), (1, right, [])]) == [[LABEL], []]


def test_the_classifier_never_learned_from_the_source_itself(reviews):
    records = to_records(reviews)
    records[0] = Record(ASK, "独一份", "稀有")
    doubt = Checks(records, "标准").doubt
    assert "稀有" not in doubt._model(0).classes_ and "稀有" in doubt._model(1).classes_
    assert doubt.shares([(0, "独一份")]) == [1.0]  # nothing to doubt it with


def test_levelling_takes_from_the_label_and_the_source_that_have_most():
    made = {0: ["x", "y", "z"], 1: ["x"], 2: [], 3: ["x"]}
    assert _level(made, ["甲", "甲", "乙", "乙"]) == 3
    assert [len(rows) for rows in made.values()] == [1, 0, 0, 1]


def test_qualities_are_ordered():
    loose, middle, strict = (QUALITIES[name] for name in ("宽松", "标准", "严格"))
    assert loose.farthest < middle.farthest < strict.farthest and loose.nearest > middle.nearest > strict.nearest
    assert loose.label < middle.label < strict.label and "错别字" not in strict.operators


# The operators.


def many(operator, text, n=40):
    return {operator(text, Random(seed)) for seed in range(n)}


def test_there_are_enough_synonyms_and_each_word_is_there_once_for_a_kind():
    groups = [line.split("|") for line in ops._words()["synonyms"]]
    assert len(groups) >= 400
    assert all(len(part[1].replace(">", " ").split()) >= 2 for part in groups)
    guards = [guard.split()[0] for parts in groups for guard in parts[2:]]
    assert set(guards) <= {"not_before", "not_after"}


def test_synonyms_need_the_right_kind_of_word_and_place():
    assert many(ops.synonyms, "我觉得非常方便") > {"我觉得十分方便"}
    assert many(ops.synonyms, "虽然很贵，但是很好") > {"虽说很贵，不过很好"}
    for untouched in ("“非常”这个词", "《如果》很好", "住在安阳宾馆", "他打满十分", "依据劳动合同法赔"):
        assert many(ops.synonyms, untouched) == {untouched}


def test_a_synonym_may_not_melt_into_its_neighbours():
    assert not ops._stays_a_word("他发", "现在", "很忙") and ops._stays_a_word("他", "现在", "很忙")
    assert not ops._natural("吃", "非常", "饭")


def test_praise_and_blame_never_change_sides():
    praise, blame = (
        {"不错", "挺好", "满意", "喜欢", "喜爱", "漂亮", "好看"},
        {"差劲", "糟糕", "讨厌", "厌恶", "反感", "肮脏"},
    )
    for word, found in ops._synonyms().items():
        targets = {synonym.word for synonym in found}
        assert not (word in praise and targets & blame) and not (word in blame and targets & praise)
        assert not any("不" + word == target or word == "不" + target for target in targets)


def test_style_goes_both_ways_and_leaves_quotes():
    assert "房间挺大的，没热水" in many(ops.style, "房间很大，没有热水")
    assert "房间很大，不知道怎么办" in many(ops.style, "房间挺大的，不知道怎么办") | many(
        ops.style, "房间很大，不知道咋办"
    )
    assert many(ops.style, "他说“房间很大”") == {"他说“房间很大”"}


def test_reorder_moves_only_what_has_no_order():
    assert many(ops.reorder, "折叠伞 防晒 三折 黑胶") > {"折叠伞 三折 防晒 黑胶", "折叠伞 黑胶 防晒 三折"}
    assert many(ops.reorder, "做工精细，面料舒服，屏幕清晰。") > {"面料舒服，做工精细，屏幕清晰。"}
    for kept in ("先打开盖子，再放水", "他来了 我走了", "因为下雨，所以没去", "收到了 可是坏了", "标签甲 乙"):
        assert many(ops.reorder, kept) == {kept}


def test_typos_make_one_slip_outside_numbers_and_quotes():
    found = many(ops.typos, "已经收到了，“已经”") - {"已经收到了，“已经”"}
    assert found and all(text.endswith("“已经”") and len(text) == 10 for text in found)


def test_typos_only_in_inputs():
    found = augment([Record("现在已经收到了应该怎么办", output="好")], 10, operators=["错别字"])
    assert found.new == []


def test_paraphrase_keeps_labels_and_form():
    found = many(ops.paraphrase, ASK, 100)
    assert len(found) >= 15
    assert all("“积极”或“消极”" in text and "情感" in text and text.endswith("。") for text in found)
    assert many(ops.paraphrase, "今天天气很好") == {"今天天气很好"}
    quoted = "请把“请判断下面的情感”改写成英文"
    assert all("“请判断下面的情感”" in text for text in many(ops.paraphrase, quoted))


def test_every_kind_of_instruction_has_a_paraphrase():
    asked = {
        "抽取": "请从下面的通知中提取时间和地点，以JSON格式输出，没有提到的填“无”。",
        "摘要": "请用一句话概括下面的新闻，不超过30字。",
        "改写": "请把下面的句子改写成书面语。",
        "问答": "请根据材料回答问题。",
        "写作": "请为这款水杯写一条广告语。",
    }
    for kind, text in asked.items():
        found = many(ops.paraphrase, text) - {text}
        assert len(found) >= 3, kind
        assert all(fixed(new) == fixed(text) for new in found), (kind, found)


def test_only_the_instruction_is_rewritten_when_that_is_asked_for(reviews):
    found = augment(reviews[:12], 2, operators=["指令改写"])
    assert len(found.new) == 24
    assert all(
        row["input"] == reviews[row["source_row"] - 1]["input"] and row["instruction"] != ASK for row in found.new
    )


# One item.


def test_variants_show_accepted_and_refused_side_by_side(reviews):
    found = variants(Record(ASK, reviews[0]["input"], "积极"), n=6, quality="严格")
    assert 2 <= len(found) <= 6 and len({variant.record.prompt for variant in found}) == len(found)
    assert any(variant.accepted for variant in found)
    assert all(variant.accepted == (not variant.reasons) and 0 < variant.likeness <= 1 for variant in found)
    table = compare_html(Record(ASK, reviews[0]["input"], "积极"), found)
    assert table.count("<tr>") == len(found) + 1 and "<ins>" in table and "<del>" in table


def test_variants_notice_a_double_among_the_rest():
    source = Record("判断", "房间很大，早餐不错", "积极")
    [first] = variants(source, 1, operators=["口语书面"], quality="宽松")
    [again] = variants(source, 1, operators=["口语书面"], quality="宽松", among=[first.record])
    assert first.accepted and again.reasons == [DOUBLE]


def test_polish_tidies_and_shows_the_difference():
    record = Record('帮我判断一下下面的情感,只回答"积极"或"消极"', "用了５天,很好用!!!!", "积极")
    done = polish(record)
    assert done.record == Record("请判断下面的情感，只回答“积极”或“消极”", "用了5天，很好用！！", "积极")
    assert done.changes == ["指令：标点", "指令：指令措辞", "输入：标点", "输入：全角半角"]
    assert "<del>５</del><ins>5</ins>" in done.html and "【删：５】【增：5】" in done.text
    assert polish(done.record).changes == []


def test_polish_escapes_and_leaves_code_addresses_json_and_numbers():
    assert "&lt;b&gt;" in polish(Record("说说<b>吧,好吗", output="行")).html
    for text in ('{"a": "甲,乙"}', "`甲,乙`", "见 https://a.cn/x,y?z=1", "3,000 元", "12:30", "积极", "A*B"):
        assert polish(Record("请说明。", text, text)).changes == []


def test_polish_sets_latin_words_apart_and_is_done_after_once(reviews):
    record = Record("请说明。", "用iPhone15拍的,奶瓶160ml和S码(透气),就更好...", "装XP很慢")
    done = polish(record)
    assert done.record.input == "用 iPhone15 拍的，奶瓶160ml和S码（透气），就更好……"
    assert done.record.output == "装 XP 很慢"
    assert polish(done.record).changes == []
    for row in to_records(reviews):
        assert polish(polish(row).record).changes == []


def test_polish_evens_out_the_form_of_an_answer():
    done = polish(Record("请说明。", output="1、打开盖子\n2)放水\n\n\n\n• 完成"))
    assert done.record.output == "1. 打开盖子\n2. 放水\n\n- 完成"


# With a language model.


def fake(texts):
    def ask(messages, schema):
        assert json.loads(messages[1]["content"])["文本"] and schema is Rewrites
        return Rewrites(rewrites=texts)

    return ask


def test_a_model_writes_first_and_is_checked_like_the_rest():
    source = Record("判断", "房间很大，早餐不错，一共花了300元", "积极")
    texts = [
        "房间挺宽敞，早餐不错，一共花了300元",
        "房间挺宽敞，早餐不错，一共花了500元",
        "房间很大，早餐不错，一共花了300元",
    ]
    found = augment([source], 1, ask=fake(texts))
    assert [row["input"] for row in found.new] == [texts[0]] and found.new[0]["made_by"] == MADE + BY_MODEL
    assert found.refused == {LOST: 1}


def test_a_model_that_fails_is_counted_and_the_operators_go_on(reviews):
    def ask(messages, schema):
        raise ModelError("没有回答")

    found = augment(reviews[:12], 1, ask=ask)
    assert found.refused[FAILED] == 12 and found.new
    assert not any(BY_MODEL in row["made_by"] for row in found.new)


def test_a_refused_key_stops_everything(reviews):
    def ask(messages, schema):
        raise ConfigError("模型服务不接受这次请求")

    with pytest.raises(ConfigError, match="不接受"):
        augment(reviews, 1, ask=ask)
