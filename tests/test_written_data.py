"""What the course's authors wrote keeps to the writers' guides."""

import json
from collections import Counter
from pathlib import Path

import pytest

from course_utils.data.split import near_duplicates

DATASETS = Path(__file__).parent.parent / "datasets"
HARD = {"", "转折", "反话", "有褒有贬", "很短", "方言行话", "表情", "错别字", "对比", "追评", "无情感词"}


def read(folder):
    """file name -> its rows."""
    files = sorted((DATASETS / folder / "written").glob("*.jsonl"))
    return {path.stem: [json.loads(line) for line in path.read_text("utf-8").split("\n") if line] for path in files}


REVIEWS, PRODUCTS = read("sentiment_predict"), read("product_classification")


def check_texts(texts, shortest, longest):
    assert all(text == text.strip() and "\ufffd" not in text for text in texts)
    assert min(map(len, texts)) >= shortest and max(map(len, texts)) <= longest
    alike = [[texts[i] for i in group] for group in near_duplicates(texts) if len(group) > 1]
    assert not alike


def test_reviews_are_many_and_of_many_kinds():
    assert sum(map(len, REVIEWS.values())) >= 1600
    assert len({row["kind"] for rows in REVIEWS.values() for row in rows}) >= 14
    check_texts([row["text"] for rows in REVIEWS.values() for row in rows], 4, 160)


@pytest.mark.parametrize("rows", REVIEWS.values(), ids=REVIEWS)
def test_reviews_of_a_kind(rows):
    assert all(row.keys() == {"text", "label", "kind", "hard"} for row in rows)
    labels = Counter(row["label"] for row in rows)
    assert labels.keys() == {"积极", "消极"} and abs(labels["积极"] - labels["消极"]) <= 4
    assert {row["hard"] for row in rows} <= HARD
    for label in labels:  # neither label is the hard one
        hard = [bool(row["hard"]) for row in rows if row["label"] == label]
        assert sum(hard) / len(hard) >= 1 / 4
    assert max(Counter(row["text"][:4] for row in rows).values()) <= 3
    lengths = [len(row["text"]) for row in rows]
    assert sum(n < 12 for n in lengths) >= len(rows) * 0.09 and sum(n > 80 for n in lengths) >= len(rows) * 0.09


def test_products_are_many_and_no_title_stands_twice():
    assert sum(map(len, PRODUCTS.values())) >= 3000 and len(PRODUCTS) == 16
    titles = [row["title"] for rows in PRODUCTS.values() for row in rows]
    assert len(set(titles)) == len(titles)
    check_texts(titles, 2, 46)


@pytest.mark.parametrize("rows", PRODUCTS.values(), ids=PRODUCTS)
def test_products_of_a_category(rows):
    assert all(row.keys() == {"title", "description", "category", "noun"} for row in rows)
    category = {row["category"] for row in rows}
    assert len(category) == 1
    assert not any(next(iter(category)) in row["title"] for row in rows)
    nouns = Counter(row["noun"] for row in rows)
    assert len(nouns) >= 40 and max(nouns.values()) <= 6
    assert max(Counter(row["title"][:4] for row in rows).values()) <= 3
    described = [row["description"] for row in rows if row["description"]]
    assert len(rows) * 0.3 <= len(described) <= len(rows) * 0.4
    lengths = [len(row["title"]) for row in rows]
    assert sum(n < 8 for n in lengths) >= len(rows) * 0.09 and sum(n > 30 for n in lengths) >= len(rows) * 0.09
