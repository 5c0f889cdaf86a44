"""Dropout for small rates: draws which positions fall, rather than a number for every position."""

import torch
from torch import nn


class SparseDropout(nn.Module):
    """`nn.Dropout(p)` in distribution, at a cost in proportion to p.

    Each element falls with probability p, independently, and the rest are scaled by 1 / (1 - p). The distances between
    falls of such a process are geometric, so we draw these: at p = 0.01 a hundredth of the random numbers, and one
    index per fall is kept for the backward pass where nn.Dropout keeps a mask as large as the input. LoRA has one
    dropout per adapted layer, and with nn.Dropout the random numbers were a fifth of a training step.
    """

    def __init__(self, p: float):
        super().__init__()
        self.p = p

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        if not self.training or self.p == 0:
            return x
        return _ZeroAt.apply(x, falls(x.numel(), self.p, x.device), 1 / (1 - self.p))

    def extra_repr(self) -> str:
        return f"p={self.p}"


def falls(n: int, p: float, device=None) -> torch.Tensor:
    """Which of n independent trials of probability p succeed: ascending indices, int64 (about n * p,)."""
    mean = n * p
    at = torch.empty(0, dtype=torch.int64, device=device)
    last = -1
    while last < n - 1:  # one round nearly always suffices: it draws five standard deviations more than the mean
        gaps = torch.empty(int(mean + 5 * mean**0.5) + 8, device=device, dtype=torch.float64).geometric_(p)
        more = last + gaps.cumsum(0).long()
        at, last = torch.cat([at, more]), int(more[-1])
    return at[at < n]


class _ZeroAt(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x, at, scale):
        ctx.save_for_backward(at)
        ctx.scale = scale
        return (x * scale).view(-1).index_fill_(0, at, 0).view_as(x)

    @staticmethod
    def backward(ctx, grad):
        (at,) = ctx.saved_tensors
        return (grad * ctx.scale).view(-1).index_fill_(0, at, 0).view_as(grad), None, None
