"""Free answers: greedy or sampled generation for many records at once."""

from collections.abc import Callable, Iterator, Sequence
from itertools import takewhile

from course_utils.data.records import Record
from course_utils.errors import ConfigError, DataError
from course_utils.models.encode import encode_prompt, turn_end

BATCH = 16
PAD_TO = 16  # prompts are padded to a multiple of this, so that few shapes occur


def generate(model, tokenizer, records: Sequence[Record], *arguments, **options) -> list[str]:
    """The model's answer to each record, without the terminator; the arguments are those of `answer`."""
    return [text for text, _ in answer(model, tokenizer, records, *arguments, **options)]


def answer(
    model,
    tokenizer,
    records: Sequence[Record],
    max_new_tokens: int = 64,
    temperature: float = 0.0,
    max_length: int | None = None,
    batch_size: int = BATCH,
    progress: Callable[[int], None] = lambda done: None,
) -> list[tuple[str, bool]]:
    """The model's answer to each record, in the order of `records`, and whether it ended by itself.

    temperature 0: the most probable token each time; above: sampling. `max_length` bounds prompt and answer together;
    a longer prompt is shortened as in training. `progress` is called with the number of rows done.
    """
    import torch

    end = turn_end(tokenizer)
    ends = {end, tokenizer.eos_token_id}  # of an answer, and of a document: a base model may say the latter
    budget = prompt_budget(max_length, max_new_tokens)
    prompts = encode_prompts(records, tokenizer, budget)
    sampling = {"do_sample": True, "temperature": temperature} if temperature else {"do_sample": False}
    answers, done = [("", True)] * len(prompts), 0
    for rows in batches_by_length(prompts, batch_size):
        ids, mask = left_pad([prompts[i] for i in rows], pad_id=end)
        with torch.inference_mode():
            out = model.generate(
                input_ids=ids.to(model.device),
                attention_mask=mask.to(model.device),
                max_new_tokens=max_new_tokens,
                eos_token_id=list(ends),
                pad_token_id=end,
                use_cache=True,
                top_k=None,  # these three: a model may bring its own, and training knows nothing of them
                top_p=None,
                repetition_penalty=1.0,
                **sampling,
            )
        for i, tokens in zip(rows, out[:, ids.shape[1] :].tolist(), strict=True):
            said = list(takewhile(lambda token: token not in ends, tokens))
            answers[i] = tokenizer.decode(said, skip_special_tokens=True).strip(), len(said) < max_new_tokens
        done += len(rows)
        progress(done)
    return answers


def encode_prompts(records: Sequence[Record], tokenizer, budget: int | None) -> list[list[int]]:
    """Token ids of each record's prompt, of at most `budget` tokens. Raises `DataError` naming the row."""
    prompts = []
    for number, record in enumerate(records, 1):
        try:
            prompts.append(encode_prompt(record, tokenizer, budget))
        except DataError as error:
            raise DataError(f"第 {number} 行：{error}") from None
    return prompts


def prompt_budget(max_length: int | None, answer_tokens: int) -> int | None:
    """How many tokens a prompt may have when prompt and answer share `max_length`. Raises `ConfigError`."""
    if max_length is None:
        return None
    if answer_tokens >= max_length:
        raise ConfigError(
            f"答案最多 {answer_tokens} 个 token，而最大长度只有 {max_length}，放不下问题。请调大最大长度。"
        )
    return max_length - answer_tokens


def batches_by_length(prompts: Sequence[Sequence[int]], batch_size: int) -> Iterator[list[int]]:
    """Indices of `prompts` in batches of about one length, the longest first: memory runs out at once or never."""
    order = sorted(range(len(prompts)), key=lambda i: len(prompts[i]), reverse=True)
    for start in range(0, len(order), batch_size):
        yield order[start : start + batch_size]


def left_pad(prompts: Sequence[Sequence[int]], pad_id: int):
    """`(ids, mask)`, int64 (batch, length): prompts end in the same column, where generation goes on."""
    import torch

    width = -(-max(map(len, prompts)) // PAD_TO) * PAD_TO
    ids = torch.full((len(prompts), width), pad_id)
    mask = torch.zeros_like(ids)
    for i, prompt in enumerate(prompts):
        ids[i, width - len(prompt) :] = torch.tensor(prompt)
        mask[i, width - len(prompt) :] = 1
    return ids, mask
