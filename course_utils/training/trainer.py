"""A thin `transformers.Trainer`: the loss at label positions only, few padded lengths, batches grouped by length."""

from collections.abc import Iterator, Sequence
from contextlib import nullcontext

import torch
from torch.nn.functional import cross_entropy
from transformers import Trainer

from course_utils.models.encode import IGNORED, Encoded
from course_utils.training.fused import SummedCrossEntropy

SHAPES = 24  # padded lengths per data set at most: each new (batch, length) costs the compile of its kernels
HEAD_ROWS = 16  # the head sees a multiple of this many positions, for the same reason


def pad_lengths(lengths: Sequence[int], shapes: int = SHAPES) -> list[int]:
    """At most `shapes` lengths to pad to, ascending: quantiles of `lengths`, rounded up to a multiple of 4.

    >>> pad_lengths([10, 20, 30, 40], shapes=2)
    [20, 40]
    """
    ordered = sorted(lengths)
    cuts = [ordered[-(-len(ordered) * i // shapes) - 1] for i in range(1, shapes + 1)]
    return sorted({-(-cut // 4) * 4 for cut in cuts})


class Collator:
    """Pads a list of `Encoded` to one of a few lengths.

    Returns input_ids, attention_mask, labels: int64 (batch, length), labels -100 where nothing is taught; and
    logits_to_keep: bool (batch, length), the positions whose logits the loss needs, those *before* each label.
    Its number of True is rounded up to a multiple of `HEAD_ROWS` with positions whose target is -100.
    Rows with a label (for a classification head) are padded on the left and give labels of int64 (batch,) and no
    logits_to_keep. Rows with states (see `turbo`) give them as well, (batch, length, hidden), 0 where padded.

    One example of two prompt ids and two answer ids, padded to 6 (rounding aside):
        input_ids      [[5, 6, 7, 8, 0, 0]]
        labels         [[-100, -100, 7, 8, -100, -100]]
        logits_to_keep [[F, T, T, F, F, F]]
    """

    def __init__(self, lengths: Sequence[int], pad_id: int):
        self.lengths = pad_lengths(lengths)
        self.pad_id = pad_id

    def width(self, length: int) -> int:
        """The length that a row of `length` tokens is padded to."""
        return next((padded for padded in self.lengths if padded >= length), length)

    def __call__(self, batch: list[Encoded]) -> dict[str, torch.Tensor]:
        width = self.width(max(len(row.input_ids) for row in batch))
        ids = torch.full((len(batch), width), self.pad_id)
        attention = torch.zeros_like(ids)
        labels = torch.full_like(ids, IGNORED)

        def place(row: Encoded) -> slice:  # a classification head reads at the last column
            length = len(row.input_ids)
            return slice(0, length) if row.label is None else slice(width - length, width)

        for i, row in enumerate(batch):
            ids[i, place(row)] = torch.tensor(row.input_ids)
            attention[i, place(row)] = 1
            labels[i, place(row)] = torch.tensor(row.labels)
        made = {"input_ids": ids, "attention_mask": attention}
        if batch[0].states is not None:
            made["states"] = torch.zeros(*ids.shape, batch[0].states.shape[-1], dtype=batch[0].states.dtype)
            for states, row in zip(made["states"], batch, strict=True):
                states[place(row)] = row.states
        if batch[0].label is not None:
            return made | {"labels": torch.tensor([row.label for row in batch])}
        return made | {"labels": labels, "logits_to_keep": head_mask(labels)}


def head_mask(labels: torch.Tensor) -> torch.Tensor:
    """The positions at which the head must run, bool (batch, length): each stands before a label."""
    keep = torch.zeros_like(labels, dtype=torch.bool)
    keep[:, :-1] = labels[:, 1:] != IGNORED
    spare = (~keep).flatten().nonzero().flatten()[: -int(keep.sum()) % HEAD_ROWS]
    keep.view(-1)[spare] = True
    return keep


def label_loss(model, inputs: dict[str, torch.Tensor], denominator=None) -> torch.Tensor:
    """Mean cross entropy over the supervised tokens; equal to that over all positions with labels of -100.

    With Gemma's vocabulary of 262k words the logits of a whole batch are most of a step's time and memory, and
    nearly all of them would be thrown away. `denominator`: what to divide the sum by, when it is not the number of
    this batch's labels (gradient accumulation).
    """
    keep = inputs["logits_to_keep"]
    targets = inputs["labels"].roll(-1, dims=1)[keep]  # (n,); spare positions hold -100, the last column is never kept
    logits = model(**seen(inputs), logits_to_keep=keep, use_cache=False).logits  # (n, vocabulary)
    total = SummedCrossEntropy.apply(logits.view(len(targets), -1), targets)
    return total / (denominator if denominator is not None else (targets != IGNORED).sum().clamp(min=1))


def seen(inputs: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """What the model reads of a batch: the states of its lower layers when these are known, else the tokens."""
    begin = {"inputs_embeds": inputs["states"]} if "states" in inputs else {"input_ids": inputs["input_ids"]}
    return begin | {"attention_mask": inputs["attention_mask"]}


def class_loss(model, inputs: dict[str, torch.Tensor], denominator=None) -> torch.Tensor:
    """Mean cross entropy of a classification head over the rows."""
    logits = model(**seen(inputs), use_cache=False).logits  # (batch, labels)
    total = cross_entropy(logits.float(), inputs["labels"], reduction="sum")
    return total / (denominator if denominator is not None else len(logits))


class GroupedSampler(torch.utils.data.Sampler):
    """Indices in an order whose every `batch_size` are of about one length; batches and their rows are shuffled.

    The order depends on seed and epoch alone, so that a resumed run sees what the first would have seen.
    """

    def __init__(self, lengths: Sequence[int], batch_size: int, seed: int):
        self.lengths, self.batch_size, self.seed, self.epoch = lengths, batch_size, seed, 0

    def set_epoch(self, epoch: int) -> None:
        self.epoch = epoch

    def __len__(self) -> int:
        return len(self.lengths)

    def __iter__(self) -> Iterator[int]:
        generator = torch.Generator().manual_seed(self.seed * 1009 + self.epoch)
        shuffled = torch.randperm(len(self.lengths), generator=generator).tolist()
        rows = sorted(shuffled, key=lambda i: self.lengths[i])
        whole = len(rows) // self.batch_size
        for batch in torch.randperm(whole, generator=generator).tolist():
            yield from rows[batch * self.batch_size : (batch + 1) * self.batch_size]
        yield from rows[whole * self.batch_size :]  # the longest few, in a smaller batch, come last


class LabelTrainer(Trainer):
    """Trains on lists of `Encoded`. Everything else (resume, checkpoints, schedules, devices) is the Trainer's."""

    loss_is_scaled_for_ga = True

    def __init__(self, *args, exam=None, lower=None, **kwargs):
        """exam: `(model, step) -> metrics`, asked at every evaluation, see `course_utils.training.exam`.
        lower: the layers that rows with states have behind them, see `course_utils.training.turbo`.
        """
        super().__init__(*args, **kwargs)
        self.exam, self.lower = exam, lower

    def evaluation_loop(self, dataloader, description, *args, **kwargs):
        output = super().evaluation_loop(dataloader, description, *args, **kwargs)
        if self.exam and description == "Evaluation":
            output.metrics.update(self.exam(self.model, self.state.global_step))
        return output

    def compute_loss(self, model, inputs, return_outputs=False, num_items_in_batch=None):
        loss_of = label_loss if "logits_to_keep" in inputs else class_loss
        with self.lower.skipped() if "states" in inputs else nullcontext():
            loss = loss_of(model, inputs, num_items_in_batch)
        if num_items_in_batch is not None and self.args.average_tokens_across_devices:
            loss = loss * self.accelerator.num_processes
        return (loss, {}) if return_outputs else loss

    def _get_train_sampler(self, train_dataset=None):
        lengths = [len(row.input_ids) for row in train_dataset or self.train_dataset]
        return GroupedSampler(lengths, self.args.train_batch_size * self.args.world_size, self.args.seed)

    def _get_eval_sampler(self, eval_dataset):
        return sorted(range(len(eval_dataset)), key=lambda i: len(eval_dataset[i].input_ids))
