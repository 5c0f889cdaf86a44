"""The fused layers give the numbers of those that they replace."""

import pytest
import torch

from course_utils.models.encode import encode
from course_utils.training.build import prepare_model
from course_utils.training.config import TrainingConfig
from course_utils.training.fused import LoraProduct, RmsNorm, SummedCrossEntropy, fuse
from course_utils.training.trainer import Collator, label_loss


def batch_of(data, tokenizer):
    rows = [encode(record, tokenizer) for record in data["train"][:5]]
    return Collator([len(row.input_ids) for row in rows], pad_id=0)(rows)


def gradients(model, inputs):
    model.zero_grad()
    loss = label_loss(model.train(), inputs)
    loss.backward()
    return loss.detach(), {name: p.grad.clone() for name, p in model.named_parameters() if p.grad is not None}


@pytest.mark.parametrize("settings", [{}, {"layers": 1}, {"lora_modules": "q_v"}, {"method": "full"}])
def test_a_fused_model_has_the_same_loss_and_gradients(tiny, tiny_data, settings):
    model = prepare_model(tiny[0], TrainingConfig(lora_dropout=0, precision="fp32", **settings), fused=False)
    for name, p in model.named_parameters():  # B = 0 would hide half of the formula
        if "lora_B" in name:
            torch.nn.init.normal_(p, std=0.1)
    inputs = batch_of(tiny_data, tiny[1])
    loss, plain = gradients(model, inputs)
    fuse(model)
    again, fused = gradients(model, inputs)
    assert torch.allclose(loss, again, atol=1e-6) and plain.keys() == fused.keys()
    for name, gradient in plain.items():
        assert torch.allclose(gradient, fused[name], atol=1e-5, rtol=1e-4), name
    with torch.no_grad():  # and in use it is the layer that it was
        model.eval()
        assert torch.equal(model(inputs["input_ids"]).logits, model(inputs["input_ids"]).logits)


def test_the_products_gradients_are_those_of_the_formula_with_dropout():
    torch.manual_seed(0)
    x, w = torch.randn(6, 5, dtype=torch.float64, requires_grad=True), torch.randn(4, 5, dtype=torch.float64)
    a, b = (torch.randn(*shape, dtype=torch.float64, requires_grad=True) for shape in ((2, 5), (4, 2)))

    def product(x, a, b):
        torch.manual_seed(1)  # the same positions fall each time
        return LoraProduct.apply(x, w, a, b, 1.5, 0.3)

    torch.manual_seed(1)
    from course_utils.training.dropout import falls

    keep = torch.ones(30, dtype=torch.float64)
    keep[falls(30, 0.3)] = 0
    expected = x @ w.t() + 1.5 * (x * keep.view(6, 5) / 0.7) @ a.t() @ b.t()
    assert 0 < keep.sum() < 30 and torch.allclose(product(x, a, b), expected)
    wanted = torch.autograd.grad(expected.sin().sum(), (x, a, b))
    got = torch.autograd.grad(product(x, a, b).sin().sum(), (x, a, b))
    assert all(torch.allclose(one.to(two), two, atol=1e-6) for one, two in zip(got, wanted, strict=True))


def test_the_norms_gradients_are_those_of_the_formula():
    torch.manual_seed(0)
    x, w = torch.randn(3, 4, 8, requires_grad=True), torch.randn(8, requires_grad=True)
    expected = x * (x.square().mean(-1, keepdim=True) + 1e-6).rsqrt() * w
    got = RmsNorm.apply(x, w, 1e-6)
    assert torch.allclose(got, expected, atol=1e-6)
    for one, two in zip(*(torch.autograd.grad(y.sin().sum(), (x, w)) for y in (got, expected)), strict=True):
        assert torch.allclose(one, two, atol=1e-5)


@pytest.mark.parametrize("task", ["generation", "classification"])
def test_turbo_has_the_loss_curve_of_the_same_layers_without_it(tiny_base, tiny_data, task):
    from course_utils.training.train import train

    settings = {
        "base_model": str(tiny_base), "precision": "fp32", "task": task, "layers": 1, "epochs": 3, "batch_size": 8,
        "learning_rate": 5e-3, "evaluations": 3, "lora_dropout": 0,
    }  # fmt: skip
    plain, turbo = (
        train(TrainingConfig(**settings, turbo=on), tiny_data, f"turbo-{on}", log=lambda text: None)
        for on in (False, True)
    )
    for key in ("loss", "eval_loss", "eval_accuracy"):
        lines = [[line[key] for line in run.metrics if key in line] for run in (plain, turbo)]
        assert lines[0] == pytest.approx(lines[1], rel=1e-3) and lines[0], key
    answers = [[line["answer"] for line in run.samples] for run in (plain, turbo)]
    assert answers[0] == answers[1]  # asked with all layers, in the same process
    first, second = (torch.cat([p.flatten() for p in run.load(merge=False)[0].parameters()]) for run in (plain, turbo))
    assert torch.allclose(first, second, atol=1e-4)


def test_turbo_takes_the_upper_third(tiny, tiny_base):
    from course_utils.training.build import first_layer

    assert first_layer(tiny[0], TrainingConfig(turbo=True)) == 1
    assert first_layer(tiny[0], TrainingConfig(turbo=True, layers=2)) == 0
    assert first_layer(tiny[0], TrainingConfig()) == 0


@pytest.mark.parametrize("vocabulary", [50, 300_000])  # all rows at once, and one at a time
def test_the_loss_and_its_gradient_are_those_of_cross_entropy(vocabulary):
    torch.manual_seed(0)
    logits, targets = torch.randn(5, vocabulary), torch.tensor([3, -100, 49, 0, -100])
    given = logits.clone().requires_grad_(True)
    expected = torch.nn.functional.cross_entropy(given * 2, targets, ignore_index=-100, reduction="sum") / 3
    (wanted,) = torch.autograd.grad(expected, given)
    loss = SummedCrossEntropy.apply(given * 2, targets) / 3
    (got,) = torch.autograd.grad(loss, given)
    assert torch.allclose(loss, expected) and torch.allclose(got, wanted, atol=1e-7)
    assert not got[[1, 4]].any()


def test_the_loss_alone_leaves_the_logits_as_they_were():
    logits = torch.randn(3, 40)
    before = logits.clone()
    SummedCrossEntropy.apply(logits, torch.tensor([1, 2, -100]))
    assert torch.equal(logits, before)
