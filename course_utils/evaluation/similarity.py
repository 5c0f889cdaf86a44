"""How like the reference an answer is: BLEU-4, ROUGE-1/2/L, chrF, exact match, edit similarity; all in [0, 1].

Each name says what was counted: 字 is one Chinese character or one Latin word or number, 词 is a word of jieba, 字符 is
a character whatever it is. An answer that is empty scores zero and is counted; it is never left out.
"""

import logging
import os
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache, partial
from pathlib import Path

import numpy as np
import pandas as pd
from rapidfuzz.distance import LCSseq, Levenshtein
from sacrebleu.metrics import BLEU, CHRF
from sacrebleu.tokenizers.tokenizer_zh import TokenizerZh

from course_utils.errors import ConfigError, DataError
from course_utils.evaluation.resample import Paired, bootstrap, paired, percentiles

Tokenize = Callable[[str], list[str]]
Stats = Callable[[list[str], list[str]], np.ndarray]  # answers, references -> counts of each row, (n, k)
# The counts are sacrebleu's, and so is the score of their sums: the same numbers as `corpus_score`.
# smooth_method none: an answer set without one common 4-gram has BLEU-4 of 0, not of what the smoothing invents.
_BLEU = BLEU(tokenize="none", force=True, smooth_method="none")
_ROW_BLEU = BLEU(tokenize="none", force=True, effective_order=True)  # a single short answer has no 4-gram to match
_CHRF = CHRF()


@dataclass(frozen=True)
class Metric:
    """count: answers and references -> counts of each row (n, k). score: sums of counts (k,) -> the score.
    row: the counts of one row -> its own score, where that is not `score`.
    """

    count: Stats
    score: Callable[[np.ndarray], float]
    row: Callable[[np.ndarray], float] | None = None


@dataclass(frozen=True)
class Similarity:
    """What `similarity` returns. table: a row per metric with 指标, 分数, 下限 and 上限 (95 %). rows: a column per metric,
    a row per answer.
    """

    table: pd.DataFrame
    rows: pd.DataFrame
    n: int
    n_empty: int  # answers that were None, missing or blank: they score zero

    def score(self, name: str) -> float:
        return float(self.table.set_index("指标").loc[name, "分数"])


def characters(text: str) -> list[str]:
    """Chinese characters one by one, Latin words and numbers whole: sacrebleu's tokenizer `zh`.

    >>> characters("依据《民法典》第577条")
    ['依', '据', '《', '民', '法', '典', '》', '第', '577', '条']
    """
    return TokenizerZh()(text).split()


def words(text: str) -> list[str]:
    """Words as jieba cuts them, without the blanks between."""
    return [word for word in _jieba().lcut(text) if word.strip()]


def similarity(predictions: Sequence[str | None], references: Sequence[str], seed: int = 42) -> Similarity:
    """Score n answers against n references by every metric of `METRICS`.

    BLEU-4 is that of the whole corpus (Papineni 2002, as sacrebleu computes it), so it is not the mean of its rows;
    a row's own BLEU-4 is smoothed (exp) and of the orders that it has. All other scores are means over the rows.
    The intervals are the bootstrap's over the rows. Raises `DataError`: lengths differ, no rows, an empty reference.
    """
    answers, truth = aligned(predictions, references)
    lines, rows = [], {}
    for name, metric in METRICS.items():
        stats = metric.count(answers, truth)
        low, high = percentiles(bootstrap(stats, metric.score, seed))
        lines.append({"指标": name, "分数": metric.score(stats.sum(0)), "下限": low, "上限": high})
        rows[name] = [(metric.row or metric.score)(row) for row in stats]
    return Similarity(pd.DataFrame(lines), pd.DataFrame(rows), len(answers), answers.count(""))


def compare(a: Similarity, b: Similarity, seed: int = 42) -> dict[str, Paired]:
    """Metric -> model A against model B, by the scores of the rows (for BLEU-4 the smoothed ones)."""
    if a.n != b.n:
        raise DataError(f"两个模型的答案条数不同：{a.n} 和 {b.n}。请用同一份数据比较。")
    return {name: paired(a.rows[name], b.rows[name], seed) for name in a.rows}


def aligned(predictions: Sequence[str | None], references: Sequence[str]) -> tuple[list[str], list[str]]:
    """Stripped answers ("" where there was none) and references, checked row by row. Raises `DataError`."""
    if len(predictions) != len(references):
        raise DataError(f"答案有 {len(predictions)} 条，标准答案有 {len(references)} 条；请让两者一一对应。")
    if not len(references):
        raise DataError("没有可以评分的数据；请检查文件是否为空。")
    answers, truth = [], []
    for number, (answer, reference) in enumerate(zip(predictions, references, strict=True), 1):
        if not isinstance(reference, str) or not reference.strip():
            raise DataError(f"第 {number} 行没有标准答案；请补上，或删去这一行。")
        if not isinstance(answer, str) and not pd.isna(answer):
            raise DataError(f"第 {number} 行的答案是 {type(answer).__name__}，不是文字；请先用 str() 转成文字。")
        answers.append(answer.strip() if isinstance(answer, str) else "")
        truth.append(reference.strip())
    return answers, truth


# --- the counts of each metric ---


def _mean(row: Callable[[str, str], float]) -> Metric:
    """A metric that is the mean of its rows: the counts are the row's score and one row."""

    def count(answers: list[str], references: list[str]) -> np.ndarray:
        return np.array([[row(a, r) if a else 0.0, 1] for a, r in zip(answers, references, strict=True)])

    return Metric(count, lambda sums: float(sums[0] / sums[1]))


def _bleu(tokenize: Tokenize) -> Metric:
    def count(answers: list[str], references: list[str]) -> np.ndarray:
        spaced = [[" ".join(tokenize(text)) for text in texts] for texts in (answers, references)]
        return np.array(_BLEU._extract_corpus_statistics(spaced[0], [spaced[1]]))

    def score(sums: np.ndarray, bleu: BLEU = _BLEU) -> float:
        return bleu._compute_score_from_stats(list(sums)).score / 100

    return Metric(count, score, partial(score, bleu=_ROW_BLEU))


def _chrf(answer: str, reference: str) -> float:
    return _CHRF.sentence_score(answer, [reference]).score / 100


def rouge_n(answer: Sequence[str], reference: Sequence[str], n: int) -> float:
    """ROUGE-N (Lin 2004): F1 of the n-grams that answer and reference share, each as often as both have it."""
    a, r = (Counter(zip(*(tokens[i:] for i in range(n)), strict=False)) for tokens in (answer, reference))
    return _f1((a & r).total(), a.total(), r.total())


def rouge_l(answer: Sequence[str], reference: Sequence[str]) -> float:
    """ROUGE-L (Lin 2004): F1 of the longest common subsequence."""
    return _f1(LCSseq.similarity(answer, reference), len(answer), len(reference))


def _f1(shared: int, answer: int, reference: int) -> float:
    return 2 * shared / (answer + reference) if shared else 0.0


def _on(tokenize: Tokenize, score: Callable[..., float], *arguments) -> Metric:
    return _mean(lambda answer, reference: score(tokenize(answer), tokenize(reference), *arguments))


METRICS = {
    "BLEU-4（字）": _bleu(characters),
    "BLEU-4（词，jieba）": _bleu(words),
    "ROUGE-1（字）": _on(characters, rouge_n, 1),
    "ROUGE-2（字）": _on(characters, rouge_n, 2),
    "ROUGE-L（字）": _on(characters, rouge_l),
    "ROUGE-1（词，jieba）": _on(words, rouge_n, 1),
    "ROUGE-2（词，jieba）": _on(words, rouge_n, 2),
    "ROUGE-L（词，jieba）": _on(words, rouge_l),
    "chrF（字符）": _mean(_chrf),
    "完全一致": _mean(lambda answer, reference: float(answer == reference)),
    "编辑相似度（字符）": _mean(Levenshtein.normalized_similarity),
}


@cache
def _jieba():
    import jieba

    jieba.setLogLevel(logging.ERROR)  # it reports the building of its dictionary on stderr
    return jieba


# --- meaning, where a model for it is installed ---


def semantic_model() -> str | None:
    """The folder of an embedding model: `$COURSE_EMBEDDING_MODEL`, or None, and then nothing is scored by meaning.

    A folder in the format of sentence-transformers, which names its pooling; the wrong pooling gives plausible and
    wrong scores, so no other format is taken. Raises `ConfigError`.
    """
    folder = os.environ.get("COURSE_EMBEDDING_MODEL")
    if folder and not (Path(folder) / "modules.json").exists():
        raise ConfigError(
            f"COURSE_EMBEDDING_MODEL 指的 {folder} 不是 sentence-transformers 格式的模型文件夹（里面要有 modules.json）。"
        )
    return folder or None


def semantic(predictions: Sequence[str | None], references: Sequence[str]) -> pd.Series:
    """The cosine of the embeddings of answer and reference, -1 to 1, an empty answer 0. Named after the model.

    A score of likeness in topic and wording: an answer that says the opposite still scores high. Raises `ConfigError`.
    """
    folder = semantic_model()
    if folder is None:
        raise ConfigError("没有语义模型。请把环境变量 COURSE_EMBEDDING_MODEL 设成一个本地向量模型的文件夹。")
    try:
        from sentence_transformers import SentenceTransformer
    except ImportError:
        raise ConfigError("没有安装 sentence-transformers。请运行：pip install sentence-transformers") from None
    answers, truth = aligned(predictions, references)
    model = SentenceTransformer(folder, local_files_only=True)
    a, r = (np.asarray(model.encode(texts, normalize_embeddings=True)) for texts in (answers, truth))
    scores = (a * r).sum(1) * [bool(answer) for answer in answers]
    return pd.Series(scores, name=f"语义相似度（{Path(folder).name}）")
