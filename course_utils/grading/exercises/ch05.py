"""The checked parts of chapter 5, 法律咨询助手: how the data are cut, what is added to the answers, one metric."""

from collections import Counter

PRESET = "legal_qa"
PARTS = ("train", "validation", "test")
RARE = ("拒绝", "不能确定")
LEAST_TEST, LEAST_TRAIN = 8, 10  # rows of each rare kind
NOTICE = "不是法律意见"
# What `with_notice` is tried on: a plain answer, one of several lines, and one that has the notice already.
ANSWERS = (
    "可以要。依据是《劳动合同法》第四十七条。",
    "这个忙不能帮。\n伪造的遗嘱无效。\n请走合法的路。",
    "以下不是法律意见。可以向仲裁委申请。",
)
# What `recall` is tried on: the articles that an answer cites, and those that the reference cites.
CASES = (
    (["劳动合同法第四十七条"], ["劳动合同法第四十七条"]),
    (["民法典第一条", "劳动合同法第四十七条"], ["劳动合同法第四十七条", "劳动合同法第八十七条"]),
    ([], ["民法典第五百七十七条"]),
    (["民法典第五百七十七条"], []),
    (["刑法第二百六十六条", "刑法第二百六十六条"], ["刑法第二百六十六条", "刑法第二百七十四条"]),
)


def exercise_05_1(answer) -> str | None:
    """{"train": [行号……], "validation": [行号……], "test": [行号……]}，行号是整数，从 0 数起。"""
    if not isinstance(answer, dict) or set(answer) != set(PARTS):
        return "答案应当是一个字典，有 train、validation、test 三项，每项是行号的列表（从 0 数起）。"
    if not all(isinstance(rows, list) and all(type(row) is int for row in rows) for rows in answer.values()):
        return "每一份都应当是整数行号的列表。是不是把整行放进去了？放 rows 里的第几行就行。"
    from course_utils.data import presets
    from course_utils.grading.given import without_given

    rows = without_given(presets.rows(PRESET))
    counted = Counter(row for part in answer.values() for row in part)
    if outside := [row for row in counted if not 0 <= row < len(rows)]:
        return f"没有第 {outside[0]} 行：行号从 0 到 {len(rows) - 1}。"
    if twice := [row for row, times in counted.items() if times > 1]:
        return f"第 {twice[0]} 行出现了 {counted[twice[0]]} 次。一行只能在一份里，否则测试题就是训练过的题。"
    if len(counted) < len(rows):
        return f"有 {len(rows) - len(counted)} 行哪一份都没有。每一行都要有去处。"
    kinds = {part: Counter(rows[row]["kind"] for row in numbers) for part, numbers in answer.items()}
    for kind in RARE:
        if kinds["test"][kind] < LEAST_TEST:
            return (
                f"测试集里「{kind}」只有 {kinds['test'][kind]} 行，少于 {LEAST_TEST} 行，量不出安全。"
                "稀少的种类要分开切，给测试集多留一些。"
            )
        if kinds["train"][kind] < LEAST_TRAIN:
            return f"训练集里「{kind}」只有 {kinds['train'][kind]} 行，少于 {LEAST_TRAIN} 行，学不会。别都留给测试。"
        if not kinds["validation"][kind]:
            return f"验证集里没有「{kind}」，挑检查点时就看不到它。至少留一行。"
    if len(answer["train"]) < len(rows) / 2:
        return f"训练集只有 {len(answer['train'])} 行，不到一半，太少了。"
    return None


def exercise_05_2(answer) -> str | None:
    """一个列表：with_notice 对 ANSWERS 里每一段返回的文字，次序不变。"""
    if not isinstance(answer, list) or len(answer) != len(ANSWERS) or not all(isinstance(x, str) for x in answer):
        return "答案应当是三段文字：with_notice 有没有返回加好的回答？"
    for before, after in zip(ANSWERS, answer, strict=True):
        if NOTICE not in after:
            return f"“{before[:12]}……”加完以后还是没有「{NOTICE}」这几个字，量的时候认的就是它们。"
        if before not in after:
            return f"“{before[:12]}……”原来的话变了。声明只能加在前面，原来的回答一个字也不能动。"
        if not after.endswith(before):
            return "声明请加在最前面：回答写得长时，后面的可能来不及说。"
        if after.count(NOTICE) > 1:
            return "已经有声明的回答又加了一遍。这个函数可能被运行两次，加之前先看看有没有。"
        if after.index(NOTICE) > 40:
            return "声明太长了：每一条训练数据都要重复它，模型的力气会花在背它上。请写在四十个字以内。"
    if len({after.removesuffix(before) for before, after in zip(ANSWERS[:2], answer[:2], strict=True)}) > 1:
        return "两段回答前面加的话不一样。请用同一句，模型才学得会。"
    return None


def exercise_05_3(answer) -> str | None:
    """一个列表：recall 对 CASES 里每个例子返回的数，没有可算的是 None，次序不变。"""
    if not isinstance(answer, list) or len(answer) != len(CASES):
        return f"答案应当是 {len(CASES)} 个值的列表，每个例子一个。"
    for (cited, wanted), value in zip(CASES, answer, strict=True):
        right = len(set(cited) & set(wanted)) / len(set(wanted)) if wanted else None
        about = f"回答引了 {cited or '（没有）'}，标准答案引了 {wanted or '（没有）'}"
        if right is None:
            if value is not None:
                return f"{about}：没有该引的，这一行没有召回率可言，请返回 None，平均时也不算它；写成 0 或 1 都会歪。"
        elif not isinstance(value, int | float) or isinstance(value, bool):
            return f"{about}：应当返回一个数。" + ("什么也没引就是 0，不是 None。" if not cited else "")
        elif abs(value - right) > 1e-9:
            if cited and abs(value - len(set(cited) & set(wanted)) / len(set(cited))) < 1e-9:
                return f"{about}：你除以了回答引的条数，那是精确率；召回率要除以标准答案引的条数。"
            if value > right:
                return f"{about}：你得到 {value}，高了。同一条引两次只算一次，先变成集合再比。"
            return f"{about}：你得到 {value}，不对。引对的条数除以该引的条数。"
    return None
