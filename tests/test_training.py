"""A fine-tune does what it says, proved on a tiny random model."""

import json
import signal
import subprocess
import sys

import pytest
import torch
import yaml
from torch.nn.functional import cross_entropy

from course_utils.data.records import Record
from course_utils.errors import ConfigError, CourseError, DataError
from course_utils.inference.choose import choose
from course_utils.models.encode import encode
from course_utils.training.build import prepare_model
from course_utils.training.config import TrainingConfig, build_config
from course_utils.training.dropout import SparseDropout, falls
from course_utils.training.run import Run
from course_utils.training.train import resume, train
from course_utils.training.trainer import Collator, GroupedSampler, head_mask, label_loss, pad_lengths


@pytest.fixture
def config(tiny_base):
    return TrainingConfig(
        base_model=str(tiny_base), precision="fp32", epochs=3, batch_size=8, learning_rate=5e-3, evaluations=3
    )


@pytest.fixture
def batch(tiny, tiny_data):
    rows = [encode(record, tiny[1]) for record in tiny_data["train"][:5]]
    return Collator([len(row.input_ids) for row in rows], pad_id=0)(rows)


def silent(*_):
    pass


def logits(model, batch):
    with torch.no_grad():
        return model.eval()(input_ids=batch["input_ids"], attention_mask=batch["attention_mask"]).logits


def test_fresh_adapters_change_no_logit(tiny, batch, config):
    before = logits(tiny[0], batch)
    after = logits(prepare_model(tiny[0], config), batch)
    assert torch.equal(before, after)


@pytest.mark.parametrize("modules, layers, expected", [("all", None, 28), ("q_v", None, 8), ("mlp", 1, 6)])
def test_only_the_intended_parameters_have_gradients(tiny, batch, config, modules, layers, expected):
    config.lora_modules, config.layers = modules, layers
    model = prepare_model(tiny[0], config)
    label_loss(model, batch).backward()
    moved = [name for name, p in model.named_parameters() if p.grad is not None]
    assert len(moved) == expected
    assert all(".lora_" in name for name in moved)
    if layers == 1:
        assert all(".layers.1." in name for name in moved)
    targets = {name.split(".lora_")[0].rsplit(".", 1)[-1] for name in moved}
    assert targets == set(config.lora_targets)


def test_full_fine_tuning_leaves_the_embedding_alone_unless_asked(tiny, batch, config):
    config.method = "full"
    model = prepare_model(tiny[0], config)
    label_loss(model, batch).backward()
    frozen = {name for name, p in model.named_parameters() if p.grad is None}
    assert frozen == {"model.embed_tokens.weight"}
    config.train_embeddings = True
    assert all(p.requires_grad for p in prepare_model(model, config).parameters())


def test_the_adapter_adds_alpha_over_r_times_b_times_a(tiny, config):
    config.lora_rank, config.lora_alpha = 4, 12
    model = prepare_model(tiny[0], config).eval()
    layer = model.base_model.model.model.layers[0].mlp.up_proj
    a, b = layer.lora_A["default"].weight, layer.lora_B["default"].weight
    torch.nn.init.normal_(b)
    x = torch.randn(3, 32)
    assert torch.allclose(layer(x), layer.base_layer(x) + x @ a.T @ b.T * 12 / 4, atol=1e-5)


def test_loss_at_label_positions_equals_loss_over_all_positions(tiny, batch):
    model = tiny[0].train()
    ours = label_loss(model, batch)
    ours.backward()
    gradients = {name: p.grad.clone() for name, p in model.named_parameters()}
    model.zero_grad()
    every = model(input_ids=batch["input_ids"], attention_mask=batch["attention_mask"]).logits
    theirs = cross_entropy(every[:, :-1].flatten(0, 1), batch["labels"][:, 1:].flatten(), ignore_index=-100)
    theirs.backward()
    assert torch.allclose(ours, theirs, atol=1e-6)
    for name, p in model.named_parameters():
        assert torch.allclose(gradients[name], p.grad, atol=1e-6), name


def test_head_mask_covers_every_label_and_a_round_number(batch):
    keep = head_mask(batch["labels"])
    assert keep.sum() % 16 == 0
    assert keep[:, :-1][batch["labels"][:, 1:] != -100].all()


def test_loss_of_accumulated_batches_is_divided_by_all_their_labels(tiny, batch):
    labels = int((batch["labels"] != -100).sum())
    assert torch.allclose(label_loss(tiny[0], batch, denominator=2 * labels) * 2, label_loss(tiny[0], batch))


def test_padded_lengths_are_few_and_long_enough():
    lengths = [*range(20, 200), 250]
    padded = pad_lengths(lengths)
    assert len(padded) <= 24 and padded[-1] >= 250 and all(length % 4 == 0 for length in padded)


def test_sampler_gives_every_row_once_grouped_and_anew_each_epoch():
    lengths = [(i * 37) % 101 for i in range(100)]
    sampler = GroupedSampler(lengths, batch_size=8, seed=1)
    first, again = list(sampler), list(sampler)
    assert sorted(first) == list(range(100)) and first == again
    sampler.set_epoch(1)
    assert list(sampler) != first and sorted(sampler) == list(range(100))
    spans = [max(b) - min(b) for b in ([lengths[i] for i in first[k : k + 8]] for k in range(0, 96, 8))]
    assert max(spans) < 15


def test_sparse_dropout_is_dropout():
    torch.manual_seed(0)
    at = falls(1_000_000, 0.01)
    assert abs(len(at) - 10_000) < 500 and at.unique().numel() == len(at)
    # independent: as many falls follow right after a fall as after anything else
    assert abs(int((at.diff() == 1).sum()) - 100) < 50
    drop, x = SparseDropout(0.1), torch.ones(200, 300, requires_grad=True)
    y = drop(x)
    y.sum().backward()
    assert y.unique().tolist() == pytest.approx([0, 1 / 0.9])
    assert torch.equal(x.grad, y.detach())
    assert drop.eval()(x) is x


@pytest.mark.parametrize("method", ["lora", "full"])
def test_training_learns_and_a_reloaded_run_predicts_the_same(config, tiny_data, method):
    config.method, config.epochs = method, 10
    run = train(config, tiny_data, "learn", log=silent)
    losses = [line["eval_loss"] for line in run.metrics if "eval_loss" in line]
    assert losses[-1] < 0.2
    first, again = (
        choose(*Run(run.folder).load(), tiny_data["test"], ["积极", "消极"], max_length=256) for _ in range(2)
    )
    assert [c.log_likelihood for c in first] == [c.log_likelihood for c in again]
    assert [c.label for c in first] == [r.output for r in tiny_data["test"]]
    files = {path.name for path in run.folder.iterdir()}
    assert {"config.yaml", "run.json", "metrics.jsonl", "curve.png", "data", "checkpoints"} <= files
    card = (run.weights / "README.md").read_text(encoding="utf-8")
    assert run.facts["data"]["train"]["sha256"] in card and f"| learning_rate | {config.learning_rate} |" in card


def test_weights_on_disk_are_those_that_were_trained(config, tiny_data, monkeypatch):
    """What the model says at the end of training, in memory, is what the saved run says."""
    from course_utils.training import train as module

    seen = []
    save = module._save
    monkeypatch.setattr(
        module, "_save", lambda trainer, run, tokenizer: (seen.append(trainer), save(trainer, run, tokenizer))
    )
    run = train(config, tiny_data, "same", log=silent)
    model, tokenizer = run.load(merge=False)
    rows = [encode(record, tokenizer) for record in tiny_data["test"]]
    batch = Collator([len(row.input_ids) for row in rows], 0)(rows)
    assert torch.allclose(logits(seen[0].model, batch), logits(model, batch), atol=1e-5)


def test_merged_and_unmerged_adapters_agree(config, tiny_data):
    """Within 1e-4 of a logit in fp32: the sums are the same, in another order."""
    run = train(config, tiny_data, "merge", log=silent)
    rows = [encode(record, run.load()[1]) for record in tiny_data["test"]]
    batch = Collator([len(row.input_ids) for row in rows], 0)(rows)
    merged, apart = (logits(run.load(merge=merge)[0], batch) for merge in (True, False))
    base = logits(__import__("course_utils.models.load", fromlist=["load"]).load(config.base_model, "fp32")[0], batch)
    assert (merged - apart).abs().max() < 1e-4
    assert (merged - base).abs().max() > 1e-2


def test_metrics_carry_what_a_panel_needs(config, tiny_data):
    run = train(config, tiny_data, "metrics", log=silent)
    steps = [line for line in run.metrics if "loss" in line]
    assert [line["step"] for line in steps] == list(range(1, 13))
    assert all(line["tokens_per_second"] > 0 and line["learning_rate"] >= 0 for line in steps)
    assert steps[-1]["time_left"] == 0 and steps[-1]["seconds"] > steps[0]["seconds"]
    assert sum("eval_loss" in line for line in run.metrics) == 3


KILLED = """
import sys
from course_utils.training import report
from course_utils.training.train import train
from course_utils.training.recipe import read_recipe
log = report.Reporter.on_step_end
def stop_at(self, args, state, control, **kwargs):
    log(self, args, state, control, **kwargs)
    if state.global_step == 6:
        print("at six", flush=True)
        import time; time.sleep(60)
report.Reporter.on_step_end = stop_at
train(*read_recipe(sys.argv[1]))
"""


def test_kill_nine_then_resume_ends_like_an_uninterrupted_run(config, tiny_data, tmp_path, own_workspace):
    whole = train(config, tiny_data, "whole", log=silent)
    recipe = {"name": "killed", "data": {p: str(whole.folder / "data" / f"{p}.jsonl") for p in tiny_data}}
    (tmp_path / "recipe.yaml").write_text(yaml.safe_dump(recipe | config.model_dump()), encoding="utf-8")
    process = subprocess.Popen([sys.executable, "-c", KILLED, tmp_path / "recipe.yaml"], stdout=subprocess.PIPE)
    for line in process.stdout:
        if b"at six" in line:
            break
    process.send_signal(signal.SIGKILL)
    process.wait()
    run = Run(own_workspace / "runs" / "killed")
    assert not run.finished and run.checkpoint.name == "checkpoint-4"
    assert run.metrics[-1]["step"] == 5
    resume(run, log=silent)

    def losses(run):
        return {
            (line["step"], name): line[name] for line in run.metrics for name in ("loss", "eval_loss") if name in line
        }

    assert run.finished and losses(run) == pytest.approx(losses(whole), abs=1e-6)
    mine, theirs = (Run(r.folder).load()[0].state_dict() for r in (run, whole))
    assert all(torch.allclose(mine[name], theirs[name], atol=1e-6) for name in theirs)


def test_resume_of_a_finished_run_does_nothing(config, tiny_data):
    run = train(config, tiny_data, "done", log=silent)
    before = run.metrics
    said = []
    assert resume(run, log=said.append).metrics == before
    assert "已经训练完" in said[0]


def test_two_batches_are_validated_before_the_first_step(config, tiny_data, monkeypatch):
    from course_utils.training.trainer import LabelTrainer

    widths = []

    def broken(self, model, inputs, *args, **kwargs):
        widths.append((model.training, len(inputs["input_ids"])))
        raise RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory")

    monkeypatch.setattr(LabelTrainer, "compute_loss", broken)
    with pytest.raises(CourseError, match=r"内存不够.*批大小"):
        train(config, tiny_data, "rehearsal", log=silent)
    assert widths == [(False, 8)]  # it failed in validation, before any step


# --- bad input: one clear sentence each ---


@pytest.mark.parametrize(
    "data, message",
    [
        ({"train": [], "validation": [Record("问", "", "答")]}, "「train」部分没有数据"),
        ({"train": [Record("问", "", "答")]}, "「validation」部分没有数据"),
        ({"train": [Record("问", "", "答"), Record("问", "", "长" * 90)], "validation": [Record("问", "", "答")]},
         "第 2 行：.*放不进最大长度"),
    ],
)  # fmt: skip
def test_bad_data(config, data, message):
    config.max_length = 60
    with pytest.raises(DataError, match=message):
        train(config, data, "bad", log=silent)


@pytest.mark.parametrize(
    "values, message",
    [
        ({"learning_rate": 2}, "「学习率」（learning_rate）是 2，不能大于 0.01"),
        ({"lora_rank": 0}, "「LoRA 秩」.*不能小于 1"),
        ({"method": "qlora"}, "「微调方法」.*只能是 'lora' or 'full'"),
        ({"epoch": 2}, "没有叫「epoch」的设置.*epochs"),
        ({"train_embeddings": True}, "只能和全参微调一起用"),
        ({"epochs": "三"}, "「训练次数」（epochs）是 '三'，类型不对"),
    ],
)
def test_bad_settings(values, message):
    with pytest.raises(ConfigError, match=message):
        build_config(values)


def test_every_setting_has_what_its_form_needs():
    for name, field in TrainingConfig.model_fields.items():
        assert field.title and field.description and field.json_schema_extra["group"] in ("基础", "进阶"), name


def test_more_layers_than_there_are(tiny, config):
    config.layers = 3
    with pytest.raises(ConfigError, match="只有 2 层"):
        prepare_model(tiny[0], config)


def test_unknown_module(tiny, config):
    config.lora_modules = ["c_attn"]
    with pytest.raises(ConfigError, match="没有叫「c_attn」的层"):
        prepare_model(tiny[0], config)


def test_full_disk_keeps_what_was_saved(config, tiny_data, monkeypatch, own_workspace):
    import errno

    from course_utils.training import train as module

    def full(*_):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(module, "_save", full)
    with pytest.raises(CourseError, match=r"磁盘满了.*检查点还在"):
        train(config, tiny_data, "full", log=silent)
    monkeypatch.undo()
    monkeypatch.setenv("COURSE_WORKSPACE", str(own_workspace))
    run = Run(own_workspace / "runs" / "full")
    assert run.checkpoint and not run.finished
    assert resume(run, log=silent).finished


def test_a_cut_line_of_metrics_is_left_out(config, tiny_data):
    run = train(config, tiny_data, "cut", log=silent)
    path = run.folder / "metrics.jsonl"
    lines = path.read_text().splitlines()
    path.write_text("\n".join(lines) + '\n{"step": 99, "lo')
    assert run.metrics == [json.loads(line) for line in lines]


def test_time_left_is_a_clock():
    from course_utils.training.report import clock

    assert clock(61.7) == "1:01"
