"""Closed answers: which of the given labels the model holds most likely."""

import copy
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from course_utils.data.records import Record
from course_utils.errors import ConfigError
from course_utils.inference.generate import BATCH, PAD_TO, batches_by_length, encode_prompts, left_pad, prompt_budget
from course_utils.models.encode import encode_answer, turn_end

LABEL_ROWS = 64  # (prompt, label) pairs in one forward


@dataclass
class Choice:
    """label: the likeliest. scores: label -> probability among the given labels, summing to 1.
    log_likelihood: label -> natural log of the probability that the model answers exactly this label and ends.
    """

    label: str
    scores: dict[str, float]
    log_likelihood: dict[str, float]


def choose(
    model,
    tokenizer,
    records: Sequence[Record],
    labels: Sequence[str],
    max_length: int | None = None,
    batch_size: int = BATCH,
    progress: Callable[[int], None] = lambda done: None,
) -> list[Choice]:
    """Score every label as an answer to every record.

    A label's likelihood is the product over its tokens *and the terminator*: the probability of this answer and
    nothing more. Without the terminator a label would always beat those that begin with it, and a short label a long
    one; with it the labels are disjoint events and none is favoured for its length. The prompt runs through the model
    once; its keys and values are shared by the labels.
    """
    import torch

    labels = [label.strip() for label in labels]
    if len(labels) < 2 or len(set(labels)) < len(labels) or not all(labels):
        raise ConfigError(f"标签要至少两个，不能重复，也不能为空。现在是：{'、'.join(labels)}。")
    end = turn_end(tokenizer)
    answers = [[*encode_answer(label, tokenizer), end] for label in labels]
    budget = prompt_budget(max_length, max(map(len, answers)))
    prompts = encode_prompts(records, tokenizer, budget)
    shared = _shared_length(prompts, max(map(len, answers)), model.config)
    choices: list[Choice | None] = [None] * len(prompts)
    done = 0
    with torch.inference_mode():
        prefix = _prefill(model, torch.tensor([prompts[0][:shared]])) if shared else None
        for rows in batches_by_length(prompts, batch_size):
            scores = _score(model, prefix, [prompts[i][shared:] for i in rows], answers, pad_id=end)
            for i, likelihood in zip(rows, scores, strict=True):
                choices[i] = _choice(labels, likelihood)
            done += len(rows)
            progress(done)
    return choices


def _choice(labels: list[str], likelihood) -> Choice:
    shares = dict(zip(labels, likelihood.softmax(0).tolist(), strict=True))
    return Choice(max(shares, key=shares.get), shares, dict(zip(labels, likelihood.tolist(), strict=True)))


def _shared_length(prompts: list[list[int]], answer: int, config) -> int:
    """How many tokens all prompts begin with, such as the template and the instruction.

    They run through the model once, and the padding then stands between them and the rest. A sliding window counts
    that padding, so where prompt, padding and the longest answer do not fit into the window, we share nothing and
    stay exact.
    """
    window = getattr(config, "sliding_window", None)
    if not prompts or (window and max(map(len, prompts)) + PAD_TO + answer > window):
        return 0
    first, last = min(prompts), max(prompts)  # what these two share, all between them in order share too
    shared = next((i for i, (a, b) in enumerate(zip(first, last, strict=False)) if a != b), len(first))
    return min(shared, min(map(len, prompts)) - 1)


def _prefill(model, ids):
    """The keys and values of one prefix, (1, length)."""
    from transformers import DynamicCache

    cache = DynamicCache(config=model.config)
    model(input_ids=ids.to(model.device), past_key_values=cache, use_cache=True, logits_to_keep=1)
    return cache


def _score(model, prefix, prompts: list[list[int]], answers: list[list[int]], pad_id: int):
    """Log-likelihood of each answer after prefix and prompt, float32 (prompts, answers)."""
    import torch
    from transformers import DynamicCache

    ids, mask = (t.to(model.device) for t in left_pad(prompts, pad_id))
    cache = copy.deepcopy(prefix) or DynamicCache(config=model.config)
    if prefix:
        cache.batch_repeat_interleave(len(prompts))
        mask = torch.cat([mask.new_ones(len(prompts), prefix.get_seq_length()), mask], dim=1)
    out = model(
        input_ids=ids,
        attention_mask=mask,
        position_ids=_positions(mask)[:, -ids.shape[1] :],
        past_key_values=cache,
        use_cache=True,
        logits_to_keep=1,
    )
    first = out.logits[:, -1].float().log_softmax(-1)  # (prompts, vocabulary)
    scores = first[:, [answer[0] for answer in answers]]
    group = max(1, LABEL_ROWS // len(prompts))
    for start in range(0, len(answers), group):
        chosen = slice(start, start + group)
        scores[:, chosen] += _score_rest(model, copy.deepcopy(cache), mask, answers[chosen], pad_id)
    return scores


def _score_rest(model, cache, mask, answers: list[list[int]], pad_id: int):
    """Log-likelihood of the answers' tokens after the first, float32 (prompts, answers)."""
    import torch
    from torch.nn.functional import cross_entropy

    prompts, width = len(mask), max(map(len, answers)) - 1
    cache.batch_repeat_interleave(len(answers))  # rows: prompt 0 with each answer, prompt 1 with each answer, ...
    fed = torch.full((len(answers), width), pad_id, device=mask.device)
    targets = torch.full_like(fed, -100)
    for i, answer in enumerate(answers):
        fed[i, : len(answer) - 1] = torch.tensor(answer[:-1])
        targets[i, : len(answer) - 1] = torch.tensor(answer[1:])
    fed, targets = fed.repeat(prompts, 1), targets.repeat(prompts, 1)  # (prompts * answers, width)
    seen = mask.repeat_interleave(len(answers), 0)
    whole = torch.cat([seen, torch.ones_like(fed)], dim=1)
    logits = model(
        input_ids=fed,
        attention_mask=whole,
        position_ids=_positions(whole)[:, -width:],
        past_key_values=cache,
        use_cache=True,
        logits_to_keep=targets != -100,
    ).logits
    wanted = targets[targets != -100]
    losses = torch.zeros(targets.shape, device=mask.device)
    losses[targets != -100] = cross_entropy(logits.float().view(len(wanted), -1), wanted, reduction="none")
    return -losses.sum(1).view(prompts, len(answers))


def _positions(mask):
    """Position ids that count the tokens and not the padding before them, (batch, length)."""
    return (mask.cumsum(1) - 1).clamp(min=0)
