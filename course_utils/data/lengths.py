"""How long records are in a model's tokens, for many records at once."""

from collections.abc import Sequence

from course_utils.data.records import Record

BATCH = 1000  # texts that a tokenizer gets at a time


def token_lengths(records: Sequence[Record], tokenizer) -> list[tuple[int, int]]:
    """`(whole, least)` for each record: its tokens in the chat template, and what remains when all is cut that may be
    cut (history and input).

    Estimates: the texts are counted apart and once each, and the template's own tokens once for each number of turns,
    where `encode` counts the conversation as it stands. The two differ by no more than a token or two a turn.
    """
    texts = {
        text
        for r in records
        for text in (r.instruction, r.prompt, r.output, r.system, *(t for h in r.history for t in h))
    }
    texts = list(texts)
    length = {}
    for start in range(0, len(texts), BATCH):
        batch = texts[start : start + BATCH]
        ids = tokenizer(batch, add_special_tokens=False, return_attention_mask=False)["input_ids"]
        length.update(zip(batch, map(len, ids), strict=True))
    template: dict[tuple[int, bool], int] = {}

    def frame(turns: int, system: bool) -> int:
        if (turns, system) not in template:
            template[turns, system] = _frame(turns, system, tokenizer)
        return template[turns, system]

    lengths = []
    for r in records:
        fixed = length[r.system] + length[r.output]
        history = sum(length[text] for pair in r.history for text in pair)
        whole = frame(len(r.history) + 1, bool(r.system)) + fixed + history + length[r.prompt]
        lengths.append((whole, frame(1, bool(r.system)) + fixed + length[r.instruction]))
    return lengths


def _frame(turns: int, system: bool, tokenizer) -> int:
    """The tokens of the template around so many turns, up to the terminator of the last answer."""
    word = "字"
    record = Record(word, "", word, word if system else "", [(word, word)] * (turns - 1))
    text = tokenizer.apply_chat_template(record.messages(), tokenize=False, enable_thinking=False)
    tokens = len(tokenizer.encode(text.rstrip(), add_special_tokens=False))
    return tokens - (2 * turns + system) * len(tokenizer.encode(word, add_special_tokens=False))
