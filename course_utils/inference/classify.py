"""Labels by a model with a classification head."""

from collections.abc import Callable, Sequence

from course_utils.data.records import Record
from course_utils.inference.choose import Choice
from course_utils.inference.generate import batches_by_length, encode_prompts, left_pad

BATCH = 32


def classify(
    model,
    tokenizer,
    records: Sequence[Record],
    max_length: int | None = None,
    batch_size: int = BATCH,
    progress: Callable[[int], None] = lambda done: None,
) -> list[Choice]:
    """The head's label for each record, in the order of `records`; `Choice.scores` are its softmax."""
    import torch

    labels = [model.config.id2label[i] for i in range(model.config.num_labels)]
    prompts = encode_prompts(records, tokenizer, max_length)
    choices: list[Choice | None] = [None] * len(prompts)
    done = 0
    for rows in batches_by_length(prompts, batch_size):
        ids, mask = left_pad([prompts[i] for i in rows], pad_id=tokenizer.pad_token_id)
        with torch.inference_mode():
            logits = model(input_ids=ids.to(model.device), attention_mask=mask.to(model.device), use_cache=False).logits
        for i, scores in zip(rows, logits.float().log_softmax(-1), strict=True):
            likelihood = dict(zip(labels, scores.tolist(), strict=True))
            shares = dict(zip(labels, scores.exp().tolist(), strict=True))
            choices[i] = Choice(max(shares, key=shares.get), shares, likelihood)
        done += len(rows)
        progress(done)
    return choices


def has_classes(model) -> bool:
    """Whether a model answers with a classification head."""
    return hasattr(model, "score")
