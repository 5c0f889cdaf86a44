"""The exercises of chapter 2, 数据构建. The first paragraph of each docstring is shown to the learner: it is Chinese."""

from collections import Counter
from math import isclose

LABELS = ("积极", "消极")
# What people really write into a label column, and what is to become of it; None: a person has to decide.
WRITTEN = {
    "积极 ": "积极", "消极。": "消极", "正面": "积极", "好评": "积极", "Positive": "积极", "差评": "消极", "negative": "消极",
    "中性": None, "不积极": None, "": None,
}  # fmt: skip
UNSURE = "不积极"  # 消极 is not wrong either
# What a language model might have extracted from 木予家居退换货办法. bad: why the pair must not become training data.
PAIRS = [
    {"question": "在木予家居买的小件，签收后多少天内可以退？", "answer": "自签收次日起 15 天内。", "bad": None},
    {"question": "在木予家居买的大件不想要了，退货运费怎么算？", "answer": "顾客付货价的 6%，最多 300 元。",
     "bad": None},
    {"question": "它要留着吗，缺了扣多少钱？", "answer": "要留着，缺了每套扣 80 元。",
     "bad": "问题单独看，谁也不知道“它”是什么。离开原文还能看懂的问题才能训练。"},
    {"question": "木予家居的镜子收到就是碎的，最晚多久之内要拍照发给客服？", "answer": "签收后 48 小时内。",
     "bad": "原文里玻璃和镜面商品的时限是 24 小时，48 小时说的是别的商品。"},
    {"question": "木予家居的清仓商品有质量问题，可以退款吗？", "answer": "不能退款，但仍可在 7 天内换货。", "bad": None},
    {"question": "木予家居的定制品，付款三小时以后还能退多少钱？", "answer": "退 70%。",
     "bad": "丢了条件：没有下料的才退 70%，已经下料的不退。照着答会答应不该答应的事。"},
    {"question": "退货时用礼品卡付的那一部分，木予家居能退成现金吗？", "answer": "不能，只退回礼品卡。", "bad": None},
    {"question": "木予家居的仓库几点下班？", "answer": "晚上六点。", "bad": "原文没有说仓库几点下班，这是编的。"},
]  # fmt: skip
LEAST, EACH = 12, 4  # rows of a learner's own data set, and of each label


def exercise_02_1(answer) -> str | None:
    """一个字典：每种写法 → clean 给它的标签，“积极”或“消极”；拿不准的是 None。"""
    missing = [text for text in WRITTEN if text not in answer]
    if missing:
        return f"没有「{missing[0]}」这种写法。请不要改 answer 那一行。"
    for text, label in answer.items():
        if label not in (*LABELS, None):
            return f"「{text}」得到的是「{label}」，不是“积极”“消极”或 None。统一以后只应当剩下两种写法。"
    if answer[UNSURE] == "积极":
        return f"「{UNSURE}」里有“积极”两个字，意思却相反。不要用“包含”来判断，要用整个写法去查一张表。"
    for text, right in WRITTEN.items():
        if right is None and text != UNSURE and answer[text] is not None:
            return f"「{text}」不是积极也不是消极，应当返回 None：拿不准的留给人看，不要猜。"
        if right and answer[text] is None:
            return f"「{text}」没有认出来，它是“{right}”。比较之前，先去掉首尾的空白和标点，英文换成小写。"
        if right and answer[text] != right:
            return f"「{text}」应当是“{right}”，而你给的是“{answer[text]}”。看看表里是不是写反了。"
    return None


def exercise_02_2(answer) -> str | None:
    """不该留的问答对的号码，一个列表，例如 [1, 2]。"""
    chosen = {int(number) for number in answer}
    if not chosen <= set(range(1, len(PAIRS) + 1)):
        return f"号码从 1 到 {len(PAIRS)}。"
    for number, pair in enumerate(PAIRS, 1):
        if pair["bad"] is None and number in chosen:
            return f"第 {number} 对可以留：问题单独看得懂，答案在原文里也有依据。再读一遍原文。"
    left = [number for number, pair in enumerate(PAIRS, 1) if pair["bad"] and number not in chosen]
    if left:
        return f"你找的都对，还差 {len(left)} 对。提示：{PAIRS[left[0] - 1]['bad']}"
    return None


def exercise_02_3(answer) -> str | None:
    """一个列表，每项是 [句子甲, 句子乙, likeness 给出的相似度]。"""
    for one, two, value in answer:
        first, second = _pieces(one), _pieces(two)
        both, either = len(first & second), len(first | second)
        where = f"“{one}”和“{two}”："
        if isinstance(value, bool) or not isinstance(value, int | float):
            return f"{where}得到的是 {value!r}，不是数。likeness 有没有返回结果？"
        if isclose(value, both / either, abs_tol=1e-6):
            continue
        if isclose(value, both / min(len(first), len(second)), abs_tol=1e-6):
            return f"{where}分母用了较短的一句。Jaccard 的分母是两句合起来有多少**种**片段，也就是并集。"
        if isclose(value, both / (len(first) + len(second)), abs_tol=1e-6):
            return f"{where}分母把共有的片段数了两次。并集 = 甲的种数 + 乙的种数 − 共有的种数。"
        if isclose(value, _share(set(one), set(two)), abs_tol=1e-6):
            return f"{where}比的是单个的字。请比连着的三个字：“拉链坏了”的片段是“拉链坏”和“链坏了”。"
        return f"{where}你的是 {value:.3f}，应当是 {both / either:.3f}。先各自做成三字片段的集合，再用交集除以并集。"
    return None if len(answer) >= 3 else "请不要改 answer 那一行：每一对句子都要有。"


def exercise_02_4(answer) -> str | None:
    """一个列表，每项是一个字典：{"input": 一句话, "output": 它的标签}。"""
    from course_utils.data.doctor import ERROR, WARNING, check
    from course_utils.data.mapping import Mapping
    from course_utils.data.split import near_duplicates

    if any(not isinstance(row, dict) or row.keys() < {"input", "output"} for row in answer):
        return "每一行都要是 {'input': ..., 'output': ...}。"
    if len(answer) < LEAST:
        return f"现在有 {len(answer)} 行，至少要 {LEAST} 行：少于这个数，切成三份以后测试集里就没有什么了。"
    counts = Counter(str(row["output"]).strip() for row in answer)
    if len(counts) < 2:
        return "只有一种标签，模型只要永远答这一个就全对。至少要两种。"
    few = [label for label, n in counts.items() if n < EACH]
    if few:
        return f"标签「{few[0]}」只有 {counts[few[0]]} 行，每种至少 {EACH} 行。要是它本来就是笔误，请改过来。"
    report = check(answer, Mapping({"input": "input", "output": "output"}), task_labels=list(counts))
    for problem in report.problems:
        if problem.severity in (ERROR, WARNING):
            return f"第 {problem.row} 行「{problem.field}」：{problem.what}。{problem.fix}。"
    for number, row in enumerate(answer, 1):
        if row["output"].strip() in row["input"]:
            return f"第 {number} 行的话里直接写着答案「{row['output']}」。模型抄一遍就行，学不到东西。请换一种说法。"
    same = next((group for group in near_duplicates([row["input"] for row in answer]) if len(group) > 1), None)
    if same:
        first, second = (number + 1 for number in same[:2])
        return f"第 {first} 行和第 {second} 行几乎一样。请把其中一行换成真正不同的情形。"
    return None


def _pieces(text: str) -> set[str]:
    return {text[i : i + 3] for i in range(max(1, len(text) - 2))}


def _share(one: set, two: set) -> float:
    return len(one & two) / len(one | two)
