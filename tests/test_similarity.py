"""Scores of free text: by hand on small cases, against the libraries, and on pairs that are rigged."""

import math
import random
from datetime import date

import numpy as np
import pytest
from scipy.stats import wilcoxon

from course_utils.data import statutes
from course_utils.errors import ConfigError, DataError
from course_utils.evaluation import metrics, similarity
from course_utils.evaluation.labels import calibration, worst_errors
from course_utils.evaluation.law import article_recall, check_citations, law_scores, open_book
from course_utils.evaluation.resample import mean_interval, paired
from course_utils.evaluation.similarity import characters, compare, rouge_l, rouge_n, words

REFERENCE = "收到货七天内可以退，运费由买家出。"
GOOD = "收货后七天内可以退货，运费由买家承担。"
BAD = "亲，感谢您的咨询，祝您生活愉快！"


def scores(answer, reference):
    return dict(similarity.similarity([answer], [reference]).rows.iloc[0])


def test_tokens_are_what_the_names_say():
    assert characters("依据第577条，GPU v2.0好") == ["依", "据", "第", "577", "条", "，", "GPU", "v2.0", "好"]
    assert words("我们 喜欢学习") == ["我们", "喜欢", "学习"]


def test_scores_by_hand():
    found = scores("我爱你们吗", "我爱你们啊")
    # 1- to 4-grams in common: 4 of 5, 3 of 4, 2 of 3, 1 of 2
    assert found["BLEU-4（字）"] == pytest.approx((4 / 5 * 3 / 4 * 2 / 3 * 1 / 2) ** 0.25)
    assert found["ROUGE-1（字）"] == pytest.approx(4 / 5)
    assert found["ROUGE-2（字）"] == pytest.approx(3 / 4)
    assert found["ROUGE-L（字）"] == pytest.approx(4 / 5)
    assert found["完全一致"] == 0
    assert found["编辑相似度（字符）"] == pytest.approx(1 - 1 / 5)  # one character of five exchanged
    # orders 1 to 4 as above, order 5 none, order 6 does not occur: P = R = F of their mean over five orders
    assert found["chrF（字符）"] == pytest.approx((4 / 5 + 3 / 4 + 2 / 3 + 1 / 2 + 0) / 5)


def test_a_brevity_penalty_by_hand():
    assert scores("我爱你们", "我爱你们啊")["BLEU-4（字）"] == pytest.approx(math.exp(1 - 5 / 4))


def test_rouge_counts_a_repeated_word_once_per_match_and_keeps_order():
    assert rouge_n("好好好好", "好书", 1) == pytest.approx(2 * 1 / (4 + 2))
    assert rouge_l("乙甲", "甲乙") == pytest.approx(2 * 1 / 4)
    assert rouge_n("乙甲", "甲乙", 1) == 1


def test_rouge_is_that_of_its_reference_implementation():
    scorer = pytest.importorskip("rouge_score.rouge_scorer")

    class Split:
        def tokenize(self, text):
            return text.split()

    theirs = scorer.RougeScorer(["rouge1", "rouge2", "rougeL"], tokenizer=Split())
    rng = random.Random(1)
    for _ in range(50):
        a, r = ([rng.choice("甲乙丙丁") for _ in range(rng.randint(1, 12))] for _ in range(2))
        found = theirs.score(" ".join(r), " ".join(a))
        ours = rouge_n(a, r, 1), rouge_n(a, r, 2), rouge_l(a, r)
        assert ours == pytest.approx([found[name].fmeasure for name in ("rouge1", "rouge2", "rougeL")])


def test_bleu_of_a_corpus_is_sacrebleus():
    from sacrebleu.metrics import BLEU

    answers, references = [GOOD, REFERENCE, BAD], [REFERENCE] * 3
    theirs = BLEU(tokenize="zh").corpus_score(answers, [references]).score / 100
    result = similarity.similarity(answers, references)
    assert result.score("BLEU-4（字）") == pytest.approx(theirs)
    assert theirs != pytest.approx(result.rows["BLEU-4（字）"].mean(), abs=0.01)  # it is no mean of rows


def test_identical_is_one_and_empty_is_zero_and_counted():
    same = similarity.similarity([REFERENCE], [REFERENCE])
    assert same.table["分数"].tolist() == pytest.approx([1] * len(same.table))
    result = similarity.similarity([REFERENCE, "", None, float("nan"), " \n"], [REFERENCE] * 5)
    assert (result.n, result.n_empty) == (5, 4)
    assert (result.rows.iloc[1:] == 0).all(axis=None)
    assert result.score("ROUGE-L（字）") == pytest.approx(1 / 5)


@pytest.mark.parametrize("metric", [name for name in similarity.METRICS if name != "完全一致"])
def test_no_metric_prefers_the_worse_answer(metric):
    """The rigged pair: a paraphrase against polite nothing, and the reference against its first half."""
    assert scores(GOOD, REFERENCE)[metric] > scores(BAD, REFERENCE)[metric]
    assert scores(REFERENCE, REFERENCE)[metric] > scores(REFERENCE[:6], REFERENCE)[metric] > 0


def test_intervals_hold_the_score_and_narrow_with_rows():
    answers, references = [GOOD, BAD, REFERENCE] * 4, [REFERENCE] * 12
    few, many = (similarity.similarity(answers * k, references * k).table for k in (1, 5))
    for table in (few, many):
        assert ((table["下限"] <= table["分数"]) & (table["分数"] <= table["上限"])).all()
    assert ((many["上限"] - many["下限"]) < (few["上限"] - few["下限"])).all()


def test_interval_of_a_mean_is_that_of_theory():
    values = np.random.default_rng(3).normal(5, 2, 400)
    low, high = mean_interval(values)
    half = 1.96 * values.std() / 20
    assert (low, high) == pytest.approx((values.mean() - half, values.mean() + half), abs=0.03)


def test_paired_by_hand():
    a, b = [3, 2, 5, 4, 6, 1], [1, 2, 1, 1, 1, 2]  # differences 2, 0, 4, 3, 5, -1
    found = paired(a, b)
    assert (found.difference, found.wins, found.losses) == (pytest.approx(13 / 6), 4, 1)
    assert found.p_value == pytest.approx(wilcoxon(a, b).pvalue)
    assert paired(b, a).difference == -found.difference
    same = paired(a, a)
    assert (same.difference, same.interval, same.p_value) == (0, (0, 0), 1)


def test_a_better_model_is_seen_as_better():
    references = [REFERENCE] * 10
    better, worse = (similarity.similarity([answer] * 10, references) for answer in (GOOD, BAD))
    for name, found in compare(better, worse).items():
        if name != "完全一致":
            assert found.difference > 0 and found.p_value < 0.01 and found.interval[0] > 0


@pytest.mark.parametrize(
    ("answers", "references", "message"),
    [
        (["甲"], ["甲", "乙"], "答案有 1 条，标准答案有 2 条"),
        ([], [], "没有可以评分的数据"),
        (["甲"], [" "], "第 1 行没有标准答案"),
        ([3], ["甲"], "第 1 行的答案是 int"),
    ],
)
def test_errors_say_what_to_mend(answers, references, message):
    with pytest.raises(DataError, match=message):
        similarity.similarity(answers, references)


def test_meaning_is_scored_only_where_a_model_is(monkeypatch, tmp_path):
    monkeypatch.delenv("COURSE_EMBEDDING_MODEL", raising=False)
    assert similarity.semantic_model() is None
    with pytest.raises(ConfigError, match="没有语义模型"):
        similarity.semantic(["甲"], ["乙"])
    monkeypatch.setenv("COURSE_EMBEDDING_MODEL", str(tmp_path))
    with pytest.raises(ConfigError, match=r"modules\.json"):
        similarity.semantic_model()


def test_meaning_is_a_cosine_named_after_its_model(monkeypatch, tmp_path):
    import sys
    import types

    (tmp_path / "modules.json").write_text("[]")
    monkeypatch.setenv("COURSE_EMBEDDING_MODEL", str(tmp_path))
    vectors = {"猫": [1, 0], "狗": [0.6, 0.8], "": [1, 0]}
    fake = types.SimpleNamespace(encode=lambda texts, **_: [vectors[text] for text in texts])
    module = types.SimpleNamespace(SentenceTransformer=lambda folder, **_: fake)
    monkeypatch.setitem(sys.modules, "sentence_transformers", module)
    found = similarity.semantic(["猫", ""], ["狗", "猫"])
    assert found.tolist() == pytest.approx([0.6, 0])
    assert found.name == f"语义相似度（{tmp_path.name}）"


def test_metrics_by_name_for_evaluate():
    found = metrics.load("similarity").compute(predictions=[REFERENCE, ""], references=[REFERENCE] * 2)
    assert found["ROUGE-L（字）"] == pytest.approx(1 / 2)
    assert found["n_empty"] == 1
    law = metrics.load("citations").compute(predictions=["依据《民法典》第577条。", "不知道。"])
    assert (law["valid"], law["citing"], law["citations"], law["invalid"]) == (1, 0.5, 1, [])


# --- labels ---


def rows(*pairs):
    return [
        {"input": f"评论{i}", "prediction": label, "scores": {label: p, "另": 1 - p}}
        for i, (label, p) in enumerate(pairs)
    ]


def test_calibration_by_hand():
    found = calibration(rows(("好", 0.95), ("好", 0.95), ("差", 0.65), ("差", 1.0)), ["好", "差", "差", "差"])
    # last bin: three answers, mean confidence 2.9 / 3, accuracy 2 / 3; another with 0.65 and right
    assert found.ece == pytest.approx(3 / 4 * (2.9 - 2) / 3 + 1 / 4 * 0.35)
    assert found.table["条数"].tolist() == [1, 3]
    assert found.table["把握"].tolist() == ["60% 至 70%", "90% 至 100%"]


def test_a_model_that_boasts_is_calibrated_worse():
    truth = ["好", "差"] * 10
    honest, boasting = (calibration(rows(*[("好", p)] * 20), truth) for p in (0.5, 0.99))
    assert honest.ece == pytest.approx(0) and boasting.ece == pytest.approx(0.49)


def test_the_surest_errors_come_first():
    found = worst_errors(rows(("好", 0.6), ("好", 0.99), ("差", 0.9)), ["差", "差", "差"])
    assert found["行"].tolist() == [2, 1]
    assert found.iloc[0].to_dict() == {"行": 2, "原文": "评论1", "标准答案": "差", "预测": "好", "把握": 0.99}
    with pytest.raises(DataError, match="没有概率"):
        calibration([{"prediction": "好"}], ["好"])


# --- law ---

DAY = date(2026, 6, 1)


def test_citations_are_looked_up_one_by_one():
    answers = [
        "依据《民法典》第五百七十七条和第九千九百九十九条，要赔。",
        "《合同法》第一百零七条。",  # repealed in 2021
        "请您咨询律师。",
        None,
    ]
    found = check_citations(answers, DAY)
    assert (found.n, found.n_citations, found.citing) == (4, 3, 0.5)
    assert found.valid == pytest.approx(1 / 3)
    assert found.rows.tolist()[:2] == [0.5, 0] and found.rows.isna().tolist() == [False, False, True, True]
    assert found.invalid["行"].tolist() == [1, 2]
    assert "没有这一条" in found.invalid["原因"][0] and "废止" in found.invalid["原因"][1]


def test_without_citations_there_is_no_share():
    found = check_citations(["不知道"], DAY)
    assert found.valid is None and found.citing == 0


def test_an_invented_article_is_worse_than_a_real_one():
    real, invented = (check_citations([f"《劳动法》第{n}条"], DAY).valid for n in ("四十四", "四百四十四"))
    assert real > invented


def test_an_existing_article_is_not_yet_the_right_one():
    reference = "按《劳动合同法》第四十七条和第八十七条，可以要。"
    right, half, wrong = (
        "《劳动合同法》第四十七条、第八十七条",
        "《劳动合同法》第47条",
        "《民法典》第一条、《劳动合同法》第九百条",
    )
    assert [article_recall(text, reference) for text in (right, half, wrong, None)] == [1.0, 0.5, 0.0, 0.0]
    assert article_recall(right, "没有可引的条文。") is None
    found = law_scores([right, wrong, "不知道"], [reference, reference, "没有可引的条文。"])
    assert found == {"引了条文的回答": 2 / 3, "引用（处）": 4, "存在并现行": 0.75, "引到该引的": 0.5}
    assert law_scores(["不知道"], ["没有"])["引到该引的"] is None


def test_a_question_with_the_book_open():
    article = statutes.find("劳动合同法", "第四十七条")
    text = open_book("能要多少？", [article], longest=20)
    assert text == f"参考条文：\n《劳动合同法》第四十七条：{article.text[:20]}\n提问：能要多少？"


def test_a_law_is_a_document_with_a_heading_per_article():
    law = statutes.document("中华人民共和国劳动合同法")
    assert law.text.startswith("# 劳动合同法") and law.text.count("\n## 第") == len(statutes.articles("劳动合同法"))
    with pytest.raises(DataError, match="没有现行的《没有这部法》"):
        statutes.document("没有这部法")
