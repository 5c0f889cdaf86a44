"""极速模式: only the upper layers learn, so what the lower ones make of each row is computed once, for all epochs.

Exact: without adapters and dropout below, the lower layers give the same states in every epoch.
"""

from collections.abc import Callable, Sequence
from contextlib import contextmanager

import torch

from course_utils.models.encode import Encoded

BATCH = 32


class Lower:
    """The layers of a model below its `first` trained one, which can be left out of a forward pass.

    `with lower.skipped(): model(inputs_embeds=states)` begins at layer `first`; `states` are those of `fill`.
    """

    def __init__(self, body, first: int):
        """body: the stack of layers inside a causal model, such as `Gemma3TextModel`."""
        self.body, self.first, self._on = body, first, False
        for layer in body.layers[:first]:
            layer.forward = self._or_nothing(layer.forward)

    def _or_nothing(self, forward: Callable) -> Callable:
        return lambda states, *args, **kwargs: states if self._on else forward(states, *args, **kwargs)

    @contextmanager
    def skipped(self):
        self._on = True
        try:
            yield
        finally:
            self._on = False

    def fill(self, rows: Sequence[Encoded], pad_id: int, progress: Callable[[int], None] = lambda done: None) -> None:
        """Give each row its `states`: what enters layer `first`, (length, hidden) in the model's own type."""
        caught = []
        hook = self.body.layers[self.first].register_forward_pre_hook(
            lambda layer, args, kwargs: caught.append(args[0] if args else kwargs["hidden_states"]), with_kwargs=True
        )
        layers, self.body.layers = self.body.layers, self.body.layers[: self.first + 1]  # none above is needed
        depth, self.body.config.num_hidden_layers = self.body.config.num_hidden_layers, self.first + 1
        order = sorted(range(len(rows)), key=lambda i: len(rows[i].input_ids))
        try:
            for start in range(0, len(order), BATCH):
                batch = [rows[i] for i in order[start : start + BATCH]]
                width = -(-max(len(row.input_ids) for row in batch) // 16) * 16
                ids = torch.full((len(batch), width), pad_id)
                for line, row in zip(ids, batch, strict=True):
                    line[: len(row.input_ids)] = torch.tensor(row.input_ids)
                mask = torch.arange(width) < torch.tensor([len(row.input_ids) for row in batch]).unsqueeze(1)
                with torch.no_grad():
                    device = self.body.embed_tokens.weight.device
                    self.body(input_ids=ids.to(device), attention_mask=mask.long().to(device), use_cache=False)
                states = caught.pop().cpu()
                for row, state in zip(batch, states, strict=True):
                    row.states = state[: len(row.input_ids)].clone()
                progress(start + len(batch))
        finally:
            hook.remove()
            self.body.layers, self.body.config.num_hidden_layers = layers, depth
