"""Writing answers for many rows at once: a row joins when it comes and leaves when it is done, between two steps.

`model.generate` answers a batch together: who comes a moment later waits for the longest answer in it. Here a step is
one token for every row under way. Prompts are padded on the left, so all rows end in one column; the columns are
dropped again when no row needs them.
"""

import torch
from torch.nn.functional import pad
from transformers import DynamicCache

from course_utils.inference.generate import PAD_TO, left_pad
from course_utils.models.encode import turn_end
from course_utils.serving.adapters import Host
from course_utils.serving.work import CANCELLED, LENGTH, STOP, Writing

NUCLEUS = 1024  # tokens to look for the nucleus in, before all of the vocabulary is sorted


class Flight:
    """The rows that are being answered on one host."""

    def __init__(self, host: Host):
        self.host, self.rows = host, []
        self.end = turn_end(host.tokenizer)
        self.ends = {self.end, host.tokenizer.eos_token_id}  # of an answer, and of a document

    @torch.inference_mode()
    def join(self, works: list[Writing]) -> None:
        """Run new prompts through the model, say their first tokens, and let them fly on with the others."""
        prompts = [work.ids for work in works]
        prompts += prompts[:1] * (round_up(len(prompts)) - len(prompts))  # few batch sizes, few kernels to compile
        ids, mask = left_pad(prompts, self.end)
        spare = max(PAD_TO, round_up(ids.shape[1])) - ids.shape[1]
        ids, mask = pad(ids, (spare, 0), value=self.end).to(self._device), pad(mask, (spare, 0)).to(self._device)
        cache = DynamicCache()  # keeps all of a sliding window's past: rows of other lengths will stand beside it
        adapters = [work.served.adapter for work in works]
        out = self.host.forward(
            adapters + adapters[:1] * (len(prompts) - len(works)),
            input_ids=ids,
            attention_mask=mask,
            position_ids=(mask.cumsum(1) - 1).clamp(min=0),
            past_key_values=cache,
            use_cache=True,
            logits_to_keep=1,
        )
        count = len(works)
        cache.batch_select_indices(torch.arange(count, device=self._device))
        if self.rows:
            _left_join(self.cache, cache)
            width = max(self.mask.shape[1], mask.shape[1])
            self.mask = torch.cat([pad(m, (width - m.shape[1], 0)) for m in (self.mask, mask[:count])])
            self.last = torch.cat([self.last, self.last.new_zeros(count)])
        else:
            self.cache, self.mask = cache, mask[:count]
            self.last = torch.zeros(count, dtype=torch.long, device=self._device)
        self.rows += works
        self._say(out.logits[:count, -1], len(self.rows) - count)

    @torch.inference_mode()
    def step(self) -> None:
        """One more token for every row."""
        self.mask = pad(self.mask, (0, 1), value=1)
        out = self.host.forward(
            [work.served.adapter for work in self.rows],
            input_ids=self.last[:, None],
            attention_mask=self.mask,
            position_ids=self.mask.sum(1, keepdim=True) - 1,
            past_key_values=self.cache,
            use_cache=True,
            logits_to_keep=1,
        )
        self._say(out.logits[:, -1], 0)

    def fail(self, error: Exception) -> None:
        """Give all rows up."""
        rows, self.rows = self.rows, []
        for work in rows:
            work.fail(error)

    def _say(self, logits: torch.Tensor, first: int) -> None:
        """Choose the next token of the rows from `first` on; what is done leaves. logits: (rows, vocabulary)."""
        likeliest = logits.argmax(-1).tolist()
        for i, work in enumerate(self.rows[first:]):
            token = _sample(logits[i].float(), work) if work.temperature else likeliest[i]
            self.last[first + i] = token
            self._take(work, token)
        done = [work for work in self.rows if work.outcome]
        if done:
            self._keep([i for i, work in enumerate(self.rows) if not work.outcome])
        for work in done:
            work.told(None)

    def _take(self, work: Writing, token: int) -> None:
        if work.cancelled:
            work.outcome = CANCELLED
        elif token in self.ends:
            work.outcome = STOP
        else:
            work.tokens.append(token)
            work.said += 1
            if work.said >= work.max_tokens:
                work.outcome = LENGTH
        if work.outcome or work.streamed or work.stop:
            work.say(self.host.tokenizer.decode(work.tokens, skip_special_tokens=True), final=bool(work.outcome))

    def _keep(self, rows: list[int]) -> None:
        self.rows = [self.rows[i] for i in rows]
        if not rows:
            self.cache = self.mask = self.last = None
            return
        chosen = torch.tensor(rows, device=self._device)
        self.mask, self.last = self.mask[chosen], self.last[chosen]
        self.cache.batch_select_indices(chosen)
        empty = self.mask.shape[1] - int(self.mask.sum(1).max())
        if empty >= PAD_TO:
            self.mask = self.mask[:, empty:]
            for layer in self.cache.layers:
                layer.keys, layer.values = layer.keys[:, :, empty:], layer.values[:, :, empty:]

    @property
    def _device(self):
        return self.host.model.device


def round_up(number: int) -> int:
    """The next of 1, 2, 3, 4, 6, 8, 12, 16, 24, 32, ...: few values, and never more than half too many."""
    power = 1 << (number - 1).bit_length()
    return power * 3 // 4 if power >= 4 and number <= power * 3 // 4 else power


def _left_join(cache: DynamicCache, other: DynamicCache) -> None:
    """Append the rows of `other`; the shorter one gets columns on the left, which the mask hides."""
    for layer, new in zip(cache.layers, other.layers, strict=True):
        width = max(layer.keys.shape[2], new.keys.shape[2])
        for name in ("keys", "values"):
            parts = [getattr(layer, name), getattr(new, name)]  # (rows, heads, columns, width of a head)
            setattr(layer, name, torch.cat([pad(part, (0, 0, width - part.shape[2], 0)) for part in parts]))


def _sample(logits: torch.Tensor, work: Writing) -> int:
    """A token drawn by temperature and top_p. logits: float32 (vocabulary,)."""
    if work.sampler is None:
        work.sampler = torch.Generator(logits.device)
        work.sampler.manual_seed(work.seed) if work.seed is not None else work.sampler.seed()
    shares = (logits / work.temperature).softmax(0)
    if work.top_p >= 1:
        return int(torch.multinomial(shares, 1, generator=work.sampler))
    top, tokens = shares.topk(min(NUCLEUS, len(shares)))
    if float(top.sum()) < work.top_p:
        top, tokens = shares.sort(descending=True)
    top = top[top.cumsum(0) - top < work.top_p]  # up to and with the one that reaches top_p
    return int(tokens[torch.multinomial(top, 1, generator=work.sampler)])
