"""What a new row must pass: unlike its source and yet near it, nobody's double, nothing fixed lost, the label kept."""

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from course_utils.data.augment_ops import FIXED, NAMES, tokens
from course_utils.data.doctor import is_label_task
from course_utils.data.records import Record

NEAR, FAR, DOUBLE = "太像原文或另一条", "离原文太远", "与已有的行重复"
LOST, LABEL = "数字、引号、名称或标签变了", "标签存疑"
FOLDS = 5
MOST = 3000  # rows that a classifier learns from: enough to doubt a label, and quick


@dataclass(frozen=True)
class Quality:
    """nearest, farthest: bounds of the Jaccard similarity with the source. label: how probable the classifier must
    find the row's label, against the label that it finds most probable; 1: they are the same.
    """

    farthest: float
    nearest: float
    label: float
    operators: tuple[str, ...]


QUALITIES = {
    "宽松": Quality(0.35, 0.98, 0.1, ("同义词", "口语书面", "换序", "错别字", "指令改写")),
    "标准": Quality(0.45, 0.95, 0.3, ("同义词", "口语书面", "换序", "错别字", "指令改写")),
    "严格": Quality(0.55, 0.92, 1.0, ("同义词", "口语书面", "指令改写")),
}


class Checks:
    """The checks for new rows of these records.

    only_instruction: the new rows ask otherwise about the same input; then the instructions are compared.
    """

    def __init__(self, records: Sequence[Record], quality: str, only_instruction: bool = False):
        self.records, self.quality, self.only_instruction = records, QUALITIES[quality], only_instruction
        self.taken = Counter(map(self._key, records))
        outputs = [record.output for record in records]
        is_task = is_label_task(outputs) and len(set(outputs)) > 1 and not only_instruction
        self.labels = set(outputs) if is_task else set()
        self.doubt = _LabelDoubt(records) if is_task else None

    def reasons(self, candidates: Sequence[tuple[int, Record, Sequence[Record]]]) -> list[list[str]]:
        """For each `(source number from 0, new record, its accepted siblings)` why it is refused: none when it is not.

        An accepted record is taken note of: the same text does not pass again.
        """
        found = [self._by_text(self.records[i], new, siblings) for i, new, siblings in candidates]
        if self.doubt:
            asked = [n for n, reasons in enumerate(found) if not reasons]
            shares = self.doubt.shares([(candidates[n][0], _text(candidates[n][1])) for n in asked])
            for n, share in zip(asked, shares, strict=True):
                if share < self.quality.label:
                    found[n].append(LABEL)
        for (_, new, _), reasons in zip(candidates, found, strict=True):
            if not reasons and self.taken[self._key(new)]:  # twice in this batch
                reasons.append(DOUBLE)
            if not reasons:
                self.taken[self._key(new)] += 1
        return found

    def likeness(self, a: Record, b: Record) -> float:
        """Jaccard similarity of the pairs of neighbouring characters in what is compared."""
        first, second = (_pairs(r.instruction if self.only_instruction else _text(r)) for r in (a, b))
        return len(first & second) / max(1, len(first | second))

    def _by_text(self, source: Record, new: Record, siblings: Sequence[Record]) -> list[str]:
        reasons = []
        if self.taken[self._key(new)]:
            reasons.append(DOUBLE)
        if self.likeness(source, new) < self.quality.farthest:
            reasons.append(FAR)
        if any(self.likeness(other, new) > self.quality.nearest for other in (source, *siblings)):
            reasons.append(NEAR)
        if self._fixed(source) != self._fixed(new) or new.output != source.output:
            reasons.append(LOST)
        return reasons

    def _fixed(self, record: Record) -> list[Counter]:
        """What must occur as often as before: quotes, numbers, Latin words and laws; labels named in the instruction."""
        named = Counter(label for label in self.labels for _ in range(record.instruction.count(label)))
        return [fixed(record.instruction), fixed(record.input), named]

    def _key(self, record: Record) -> str:
        text = record.prompt if self.only_instruction else _text(record)
        return re.sub(r"[\W_]+", "", text) or text  # punctuation makes no new row


def fixed(text: str) -> Counter:
    """The parts of a text that no operator may change, and how often each occurs."""
    return Counter(match[0] for match in FIXED.finditer(text)) + Counter(
        token.word for token in tokens(text) if token.tag in NAMES
    )


class _LabelDoubt:
    """How probable a classifier finds the label of a new row, when it has learned from the rest and not its source.

    The rest: the rows of the other folds. TF-IDF of 1 and 2 characters and logistic regression, a label against all
    others; it knows words and no irony, so below 严格 it is asked for strong doubt only.
    """

    def __init__(self, records: Sequence[Record]):
        self.records = records
        self.models: dict[int, object] = {}

    def shares(self, asked: Sequence[tuple[int, str]]) -> list[float]:
        """For each `(source, text)` the probability of the source's label over that of the most probable label."""
        shares = [1.0] * len(asked)
        for fold in range(FOLDS):
            inside = [n for n, (i, _) in enumerate(asked) if i % FOLDS == fold]
            model = self._model(fold) if inside else None
            if model is None:
                continue
            probabilities = model.predict_proba([asked[n][1] for n in inside])
            classes = list(model.classes_)
            for n, line in zip(inside, probabilities, strict=True):
                label = self.records[asked[n][0]].output
                if label in classes:  # a label without other rows cannot be doubted
                    shares[n] = float(line[classes.index(label)] / np.max(line))
        return shares

    def _model(self, fold: int):
        if fold not in self.models:
            rest = [record for i, record in enumerate(self.records) if i % FOLDS != fold]
            self.models[fold] = _classifier(rest[:: max(1, -(-len(rest) // MOST))])
        return self.models[fold]


def _classifier(records: Sequence[Record]):
    from sklearn.feature_extraction.text import TfidfVectorizer
    from sklearn.linear_model import LogisticRegression
    from sklearn.multiclass import OneVsRestClassifier
    from sklearn.pipeline import make_pipeline

    labels = [record.output for record in records]
    if len(set(labels)) < 2:
        return None
    min_df = 2 if len(records) >= 100 else 1
    vectorizer = TfidfVectorizer(analyzer="char", ngram_range=(1, 2), sublinear_tf=True, min_df=min_df)
    model = OneVsRestClassifier(
        LogisticRegression(solver="liblinear", random_state=0)
    )  # ten times as fast with 20 labels
    return make_pipeline(vectorizer, model).fit(list(map(_text, records)), labels)


def _text(record: Record) -> str:
    """What the row is about: its input, or the instruction where there is none."""
    return record.input or record.instruction


def _pairs(text: str) -> set[str]:
    return {text[i : i + 2] for i in range(max(1, len(text) - 1))}
