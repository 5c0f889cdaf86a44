"""Predictions of a loaded model for records."""

from collections.abc import Callable, Sequence
from contextlib import contextmanager

from tqdm.auto import tqdm

from course_utils.data.records import Record
from course_utils.inference.choose import choose
from course_utils.inference.classify import classify, has_classes
from course_utils.inference.generate import generate


def predict(model, tokenizer, records: Sequence[Record], *arguments, title: str = "预测", **options) -> list[dict]:
    """`predictions`, whose arguments it takes, with a progress bar."""
    with bar(len(records), title) as progress:
        return predictions(model, tokenizer, records, *arguments, progress=progress, **options)


def predictions(
    model,
    tokenizer,
    records: Sequence[Record],
    labels: Sequence[str] | None = None,
    max_length: int | None = None,
    max_new_tokens: int = 64,
    progress: Callable[[int], None] = lambda done: None,
) -> list[dict]:
    """`{"prediction": ...}` for each record, with `scores` (label -> probability) when `labels` are given.

    With labels the likeliest is chosen, see `choose`; a model with a classification head takes its own, see
    `classify`; without, the answer is generated freely, see `generate`, with at least half of `max_length` left to
    the prompt.
    """
    if has_classes(model):
        chosen = classify(model, tokenizer, records, max_length, progress=progress)
    elif labels:
        chosen = choose(model, tokenizer, records, labels, max_length, progress=progress)
    else:
        longest = min(max_new_tokens, max_length // 2) if max_length else max_new_tokens
        texts = generate(model, tokenizer, records, longest, max_length=max_length, progress=progress)
        return [{"prediction": text} for text in texts]
    return [{"prediction": choice.label, "scores": choice.scores} for choice in chosen]


@contextmanager
def bar(total: int, title: str = "预测"):
    """A progress bar; gives the function that is told how many rows are done."""
    with tqdm(total=total, desc=title, unit="条", dynamic_ncols=True, delay=0.5) as shown:
        yield lambda done: shown.update(done - shown.n)
