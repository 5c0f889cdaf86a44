"""A LoRA layer, an RMS norm and the loss as one autograd function each: the same numbers from fewer small operations.

On two cores at some 640 tokens a step, PyTorch's eager operations around the matrix products (scalings, copies,
dropout, casts, each with its own backward) took longer than the products themselves. Written out by hand, a LoRA layer
is four products forward and five backward, and nothing of the size of its input is copied.
"""

from types import MethodType

import torch
from torch.nn.functional import linear

from course_utils.models.encode import IGNORED
from course_utils.training.dropout import falls


def fuse(model) -> None:
    """Replace the training forward of every LoRA layer and RMS norm in `model`; prediction stays as it is."""
    from peft.tuners.lora import Linear

    for module in model.modules():
        if isinstance(module, Linear):
            module.forward = MethodType(_lora_forward, module)
        elif type(module).__name__.endswith("RMSNorm") and hasattr(module, "weight"):
            module.forward = MethodType(_norm_forward, module)


def _lora_forward(self, x, *args, **kwargs):
    if not (self.training and torch.is_grad_enabled()) or self.merged or self.active_adapters != ["default"]:
        return type(self).forward(self, x, *args, **kwargs)
    dropout = self.lora_dropout["default"]
    base, a, b = self.get_base_layer(), self.lora_A["default"].weight, self.lora_B["default"].weight
    y = LoraProduct.apply(
        x.to(base.weight.dtype), base.weight, a, b, self.scaling["default"], getattr(dropout, "p", 0.0)
    )
    return y if base.bias is None else y + base.bias


def _norm_forward(self, x):
    if not (self.training and torch.is_grad_enabled()):
        return type(self).forward(self, x)
    gemma = type(self).__name__.startswith("Gemma")  # stores w where others store 1 + w
    eps = getattr(self, "eps", None) or self.variance_epsilon
    return RmsNorm.apply(x, self.weight.float() + 1 if gemma else self.weight.float(), eps)


class LoraProduct(torch.autograd.Function):
    """y = x W^T + scale * drop(x) A^T B^T for a frozen W.

    x: (..., in). weight: (out, in). a: (rank, in), b: (out, rank), fp32; their products run in the type of W.
    p: the share of the adapter's inputs that falls (see `SparseDropout`); its factor 1 / (1 - p) goes into A.
    """

    @staticmethod
    def forward(ctx, x, weight, a, b, scale, p):
        rows = x.reshape(-1, x.shape[-1])  # (tokens, in)
        a16, b16 = (a / (1 - p)).to(weight.dtype), (b * scale).to(weight.dtype)
        y, at = linear(rows, weight), falls(rows.numel(), p, rows.device) if p else None
        if p:
            rows = rows.clone()
            rows.view(-1).index_fill_(0, at, 0)
        inner = linear(rows, a16)  # (tokens, rank)
        y.addmm_(inner, b16.t())
        ctx.save_for_backward(rows, weight, a16, b16, inner, at)
        ctx.scale, ctx.p, ctx.shape = scale, p, x.shape
        return y.view(*x.shape[:-1], -1)

    @staticmethod
    def backward(ctx, grad):
        rows, weight, a16, b16, inner, at = ctx.saved_tensors
        grad = grad.reshape(-1, grad.shape[-1])
        grad_inner = grad @ b16  # (tokens, rank)
        grad_b = (inner.t() @ grad).t().float() * ctx.scale
        grad_a = (grad_inner.t() @ rows).float() / (1 - ctx.p)
        if not ctx.needs_input_grad[0]:
            return None, None, grad_a, grad_b, None, None
        grad_x = grad @ weight
        if ctx.p:
            through = grad_inner @ a16
            through.view(-1).index_fill_(0, at, 0)
            grad_x += through
        else:
            grad_x.addmm_(grad_inner, a16)
        return grad_x.view(ctx.shape), None, grad_a, grad_b, None, None


class RmsNorm(torch.autograd.Function):
    """y = x / rms(x) * weight over the last dimension, computed in fp32 and returned in the type of x.

    Source: Zhang and Sennrich 2019, https://arxiv.org/abs/1910.07467.
    """

    @staticmethod
    def forward(ctx, x, weight, eps):
        wide = x.float()
        length = torch.linalg.vector_norm(wide, dim=-1, keepdim=True)
        inverse = (length.square() / x.shape[-1] + eps).rsqrt()  # (..., 1)
        ctx.save_for_backward(x, weight, inverse)
        return (wide * inverse).mul_(weight).to(x.dtype)

    @staticmethod
    def backward(ctx, grad):
        x, weight, inverse = ctx.saved_tensors
        unit, grad_unit = x * inverse, grad * weight  # fp32
        grad_weight = (grad * unit).flatten(0, -2).sum(0) if ctx.needs_input_grad[1] else None
        inward = torch.linalg.vecdot(grad_unit, unit).unsqueeze(-1) / x.shape[-1]
        grad_x = torch.addcmul(grad_unit, unit, inward, value=-1).mul_(inverse).to(x.dtype)
        return grad_x, grad_weight, None


class SummedCrossEntropy(torch.autograd.Function):
    """Cross entropy in fp32, summed over the rows whose target is not -100. Ends with the gradient in the logits' place.

    logits: (n, vocabulary), of nobody else's use. targets: int64 (n,).
    `torch.nn.functional.cross_entropy` makes four tensors of that size in fp32, 33 MB each for 32 positions of Gemma's
    vocabulary; a few rows at a time stay in the processor's cache.
    """

    @staticmethod
    def forward(ctx, logits, targets):
        some = max(1, (1 << (19 if logits.device.type == "cpu" else 26)) // logits.shape[1])  # rows at a time
        total = torch.zeros((), device=logits.device)
        for part, target in zip(logits.split(some), targets.unsqueeze(1).split(some), strict=True):
            rows, taught, answer = part.float(), target != IGNORED, target.clamp(min=0)
            log_sum = rows.logsumexp(1, keepdim=True)
            total += ((log_sum - rows.gather(1, answer)) * taught).sum()
            if ctx.needs_input_grad[0]:  # softmax - one hot
                gradient = (rows - log_sum).exp_().scatter_add_(1, answer, -torch.ones_like(log_sum))
                part.copy_(gradient.mul_(taught))
        ctx.save_for_backward(logits)
        return total

    @staticmethod
    def backward(ctx, grad):
        return ctx.saved_tensors[0] * grad, None
