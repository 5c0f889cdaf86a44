"""What the writers' guides ask of the rows, as checks that name the rows that break them."""

import json
import re
from collections import Counter
from datetime import date
from pathlib import Path

import jieba.posseg

from course_utils.data import statutes
from course_utils.data.split import near_duplicates

AS_OF = date(2026, 11, 24)  # the laws in force when the law rows were written
LAW_FIELDS = [
    "劳动",
    "婚姻家庭",
    "继承",
    "合同",
    "借贷",
    "房产物业",
    "交通事故",
    "消费维权",
    "公司",
    "侵权",
    "刑事",
    "行政",
    "知识产权",
    "网络",
]
SERVICE_KINDS = [
    "售前咨询",
    "物流",
    "退换货",
    "发票",
    "优惠价格",
    "使用指导",
    "投诉安抚",
    "账号会员",
    "售后维修",
    "不能答应",
]
COPY_KINDS = [
    "朋友圈",
    "种草笔记",
    "商品标题",
    "短信",
    "直播口播",
    "海报标语",
    "短视频脚本",
    "门店活动",
    "公众号开头",
    "节日祝福",
]
SUBJECTS = ["语文", "数学", "英语", "物理", "化学", "生物", "历史", "地理", "道德与法治", "信息技术", "学习方法"]
LEVELS = ["小学", "初中", "高中", "成人"]
ABSOLUTE = re.compile(
    "第一品牌|最好|最低|最高|最佳|最大|最新鲜|最便宜|唯一|顶级|国家级|100%|永久|万能|特效|根治|包过|稳赚"
)
FLAWS = ["事实错误", "法条错误", "回避", "答非所问", "不安全", "截断", "自相矛盾"]
FACTS = ["数字", "条件", "定义", "步骤", "列举", "原因", "表格", "责任", "时间", "其他"]


def read(path):
    return [json.loads(line) for line in Path(path).read_text("utf-8").split("\n") if line]


def check_texts(texts, shortest, longest):
    """Clean, within bounds, and no two nearly the same."""
    dirty = [t for t in texts if t != t.strip() or "\ufffd" in t]
    assert not dirty, dirty[:5]
    outside = [(len(t), t) for t in texts if not shortest <= len(t) <= longest]
    assert not outside, (len(outside), outside[:5])
    alike = [[texts[i] for i in group] for group in near_duplicates(texts) if len(group) > 1]
    assert not alike, alike[:5]


def check_openings(texts, characters, times):
    common = [(start, n) for start, n in Counter(t[:characters] for t in texts).most_common(9) if n > times]
    assert not common, common


def frames(text):
    """The clauses of a text with nouns, names and numbers blanked: what is left when only words were swapped."""
    for sentence in re.split(r"[，。！？!?；;：\n]", text):
        frame = "".join("＿" if w.flag[0] in "nmtfs" or w.flag == "eng" else w.word for w in jieba.posseg.cut(sentence))
        frame = re.sub(r"[＿\s]*＿[＿\s]*", "＿", frame)
        if len(frame.replace("＿", "")) >= 5:
            yield frame


def check_frames(texts, times=6):
    """No sentence frame stands in more than a handful of texts."""
    counts = Counter(frame for text in texts for frame in set(frames(text)))
    assert counts.most_common(1)[0][1] <= times, [(f, n) for f, n in counts.most_common(9) if n > times]


def check_kinds(rows, kinds, at_least, key="kind"):
    counts = Counter(row[key] for row in rows)
    assert set(counts) <= set(kinds), set(counts) - set(kinds)
    few = {kind: counts[kind] for kind in kinds if counts[kind] < at_least}
    assert not few, few


def check_law(rows):
    """One field's consultations or more."""
    wrong = [r for r in rows if {"input", "output", "field", "kind", "basis"} - r.keys()]
    assert not wrong, wrong[:3]
    assert {r["field"] for r in rows} <= set(LAW_FIELDS)
    assert {r["kind"] for r in rows} <= {"解答", "拒绝", "不能确定"}
    check_texts([r["input"] for r in rows], 15, 200)
    check_texts([r["output"] for r in rows], 80, 400)
    lengths = [len(r["input"]) for r in rows]
    assert sum(n <= 50 for n in lengths) >= len(rows) * 0.25, sum(n <= 50 for n in lengths) / len(rows)
    assert sum(n >= 100 for n in lengths) >= len(rows) * 0.15, sum(n >= 100 for n in lengths) / len(rows)
    problems = [problem for row in rows for problem in law_problems(row)]
    assert not problems, (len(problems), problems[:12])
    for field in {r["field"] for r in rows}:
        check_openings([r["output"] for r in rows if r["field"] == field], 6, 3)
        check_openings([r["input"] for r in rows if r["field"] == field], 4, 5)
    check_frames([r["output"] for r in rows], 10)
    check_frames([r["input"] for r in rows])


def law_problems(row):
    """What is wrong with a row's citations: each must exist, be in force for good, and speak of the matter."""
    cited = {law + number for law, number in statutes.citations(row["output"])}
    if cited != set(row["basis"]):
        yield f"basis {sorted(row['basis'])} 与引用 {sorted(cited)} 不一致：{row['input'][:30]}"
    if row["kind"] == "解答" and not cited:
        yield f"解答没有引用：{row['input'][:30]}"
    for law, number in statutes.citations(row["output"]):
        article = statutes.find(law, number, AS_OF)
        if article is None or article != statutes.find(law, number, date(2027, 12, 31)):
            yield f"没有这一条，或不久要变：{law}{number}：{row['input'][:30]}"
            continue
        terms = row["basis"].get(law + number, [])
        if not 1 <= len(terms) <= 3 or min(map(len, terms)) < 2:
            yield f"{law}{number} 要有一到三个关键词（两个字以上）：{terms}"
        for term in terms:
            if term not in article.text:
                yield f"「{term}」不在{law}{number}里：{article.text[:60]}"
            if term not in row["output"]:
                yield f"「{term}」不在回答里：{row['output'][:40]}"


def check_service(rows):
    check_kinds(rows, SERVICE_KINDS, 24)
    assert len(rows) >= 250
    check_texts([r["input"] for r in rows], 3, 120)
    check_texts([r["output"] for r in rows], 30, 200)
    instructions = Counter(r["instruction"] for r in rows)
    assert len(instructions) >= 120 and max(instructions.values()) <= 4, (
        len(instructions),
        instructions.most_common(2),
    )
    assert sum(bool(r["history"]) for r in rows) >= 70
    bad = [r["history"] for r in rows if not all(len(t) == 2 and all(x.strip() for x in t) for t in r["history"])]
    assert not bad, bad[:2]
    check_openings([r["output"] for r in rows], 4, 5)
    check_frames([r["output"] for r in rows])


def check_copy(rows):
    check_kinds(rows, COPY_KINDS, 25)
    assert len(rows) >= 250
    check_texts([r["input"] for r in rows], 20, 200)
    check_texts([r["output"] for r in rows], 8, 300)
    assert len({r["instruction"] for r in rows}) >= 150
    check_openings([r["output"] for r in rows], 4, 3)
    forbidden = [(m[0], r["output"]) for r in rows if (m := ABSOLUTE.search(r["output"]))]
    assert not forbidden, forbidden[:5]
    limits = [(r, re.search(r"(?:不超过|以内|最多)?(\d+)(?:个)?字(?:以内|之内|内)", r["instruction"])) for r in rows]
    over = [(m[0], len(r["output"]), r["output"]) for r, m in limits if m and len(r["output"]) > int(m[1])]
    limits = [(r, re.search(r"(?:不超过|最多|别超过|控制在)(\d+)个?字", r["instruction"])) for r in rows]
    over += [(m[0], len(r["output"]), r["output"]) for r, m in limits if m and len(r["output"]) > int(m[1])]
    assert not over, over[:5]
    check_frames([r["output"] for r in rows])


def check_lessons(rows):
    check_kinds(rows, SUBJECTS, 22)
    check_kinds(rows, LEVELS, 15, key="level")
    assert len(rows) >= 250
    check_texts([r["input"] for r in rows], 8, 150)
    check_texts([r["output"] for r in rows], 60, 350)
    assert len({r["instruction"] for r in rows}) >= 80
    check_openings([r["output"] for r in rows], 4, 3)
    check_frames([r["output"] for r in rows])


def check_judge(rows):
    """Fair to both lengths, every flaw in every area."""
    for key in ("area", "question", "reference", "good", "bad", "flaw", "note"):
        assert all(r[key].strip() for r in rows), key
    check_kinds(rows, FLAWS, 1, key="flaw")
    check_openings([r["question"] for r in rows], 4, 3)
    check_texts([r["question"] for r in rows], 10, 120)
    for key in ("reference", "good", "bad"):
        outside = [(len(r[key]), r[key]) for r in rows if not 20 <= len(r[key]) <= 240]
        assert not outside, (key, outside[:3])
    longer = {flaw: [len(r["bad"]) > len(r["good"]) for r in rows if r["flaw"] == flaw] for flaw in FLAWS}
    shares = {flaw: sum(b) / len(b) for flaw, b in longer.items() if b}
    assert all(0.35 <= share <= 0.65 for share in shares.values()), shares
    copied = [r["good"] for r in rows if len(near_duplicates([r["good"], r["reference"]])) == 1]
    assert not copied, copied[:3]
    for row in rows:
        if row["area"] == "法律":
            for law, number in statutes.citations(row["reference"] + row["good"]):
                article = statutes.find(law, number, AS_OF)
                assert article and article == statutes.find(law, number, date(2027, 12, 31)), (law, number)


def check_gold(facts, texts):
    """texts: document -> its text as the reader gives it."""
    squeeze = lambda text: re.sub(r"[\s*`|\\#-]+", "", text)  # noqa: E731, the marks of Markdown are no text
    plain = {name: squeeze(text) for name, text in texts.items()}
    per_document = Counter(f["document"] for f in facts)
    assert set(per_document) == set(texts), set(per_document) ^ set(texts)
    assert all(12 <= n <= 20 for n in per_document.values()), per_document
    assert {f["kind"] for f in facts} <= set(FACTS), {f["kind"] for f in facts} - set(FACTS)
    for f in facts:
        assert f["part"] in ("dev", "test") and 1 <= len(f["keys"]) <= 3, f
        assert squeeze(f["evidence"]) in plain[f["document"]], ("原文里没有", f["document"], f["evidence"])
        assert all(squeeze(key) in squeeze(f["evidence"]) for key in f["keys"]), ("关键词不在原文里", f)
        assert all(squeeze(key) in squeeze(f["answer"]) for key in f["keys"]), ("关键词不在答案里", f)
        assert 2 <= len(f["answer"]) <= 80 and 5 <= len(f["question"]) <= 60, f
    questions = Counter((f["document"], f["question"]) for f in facts)
    assert max(questions.values()) == 1, questions.most_common(3)
