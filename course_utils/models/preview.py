"""What the model sees of a record, and which of it the model is taught to say."""

import html
from dataclasses import dataclass

from course_utils.data.records import Record
from course_utils.models.encode import Encoded, encode

LEARNED = "background: #cfe8cf; color: #1b3a1b; border-radius: 2px; padding: 1px 0"
SEAM = "border-right: 1px solid rgba(128, 128, 128, .45)"


@dataclass
class Preview:
    """In a notebook the learned tokens are green; as text (`print`) they stand in 【】.

    pieces: `(text, learned)`, a piece being one token, or the few that only together are a character.
    """

    encoded: Encoded
    pieces: list[tuple[str, bool]]

    @property
    def summary(self) -> str:
        total, learned, cut = len(self.encoded.input_ids), sum(self.encoded.supervised), self.encoded.cut_tokens
        shortened = f"，另有 {cut} 个放不下，被截掉了" if cut else ""
        return f"共 {total} 个 token，其中 {learned} 个要学{shortened}。"

    def __str__(self) -> str:
        text, before = "", False
        for piece, learned in self.pieces:
            text += "【" * (learned and not before) + "】" * (before and not learned) + piece
            before = learned
        return text + "】" * before

    def _repr_html_(self) -> str:
        spans = "".join(_span(text, learned) for text, learned in self.pieces)
        return f'<div style="white-space: pre-wrap; line-height: 1.9">{spans}</div>'


def preview(record: Record, tokenizer, max_length: int | None = None) -> Preview:
    """The record as `encode` gives it to the model. Raises `DataError` when it does not fit into `max_length`."""
    encoded = encode(record, tokenizer, max_length)
    pieces, waiting = [], []
    for i, (token, learned) in enumerate(zip(encoded.input_ids, encoded.supervised, strict=True)):
        waiting.append(token)
        text = tokenizer.decode(waiting, skip_special_tokens=False, clean_up_tokenization_spaces=False)
        last = i + 1 == len(encoded.input_ids) or encoded.supervised[i + 1] != learned
        if "\ufffd" not in text or last:
            pieces.append((text, learned))
            waiting = []
    return Preview(encoded, pieces)


def _span(text: str, learned: bool) -> str:
    shown = html.escape(text)
    if learned:  # <mark> is seen even where a notebook's styles are taken out
        return f'<mark style="{LEARNED}; {SEAM}">{shown}</mark>'
    return f'<span style="{SEAM}">{shown}</span>'
