"""What is exported is what was trained, and a wrong merge or a wrong file is caught before it is there."""

import errno
import json
import shutil

import numpy as np
import pytest
import torch
import yaml
from gguf import GGUFReader, GGUFWriter

from course_utils.data.records import Record
from course_utils.errors import ConfigError, CourseError, WeightsError
from course_utils.inference.choose import choose
from course_utils.inference.predict import predict
from course_utils.models import gguf_out
from course_utils.models.convert import convert_gguf
from course_utils.models.load import load
from course_utils.training import export
from course_utils.training.config import TrainingConfig
from course_utils.training.export import export_adapter, export_gguf, export_merged
from course_utils.training.run import Run
from course_utils.training.train import train

LABELS = ["积极", "消极"]


def silent(*_):
    pass


@pytest.fixture
def tune(tiny_base, tiny_data):
    """Trains the tiny model for a second or two; other settings by name."""

    def tune(**settings) -> Run:
        config = TrainingConfig(
            base_model=str(tiny_base), precision="fp32", epochs=4, learning_rate=5e-3, evaluations=1, **settings
        )
        return train(config, tiny_data, "run", log=silent)

    return tune


def scores(model, tokenizer, records):
    return torch.tensor([list(row["scores"].values()) for row in predict(model, tokenizer, records, LABELS)])


def left_in(folder) -> list[str]:
    return sorted(path.name for path in folder.iterdir()) if folder.exists() else []


def test_adapter(tune, tmp_path):
    run = tune()
    out = export_adapter(run, tmp_path / "out" / "adapter")
    assert left_in(out.parent) == ["adapter"]
    name = "adapter_model.safetensors"
    assert (out / name).read_bytes() == (run.weights / name).read_bytes()
    card = (out / "README.md").read_text(encoding="utf-8")
    assert card.startswith((run.weights / "README.md").read_text(encoding="utf-8")) and "\n## 导出\n" in card
    assert f"准确率最高 {run.facts['best_eval_accuracy']:.1%}；这份权重按验证损失选出" in card


def test_an_adapter_asks_for_its_base_by_a_name_that_others_know(tune, tmp_path):
    run = tune()
    settings = run.config.model_dump() | {"base_model": "qwen3-0.6b"}
    (run.folder / "config.yaml").write_text(yaml.safe_dump(settings), encoding="utf-8")
    out = export_adapter(run, tmp_path / "adapter")
    assert json.loads((out / "adapter_config.json").read_text())["base_model_name_or_path"] == "Qwen/Qwen3-0.6B"
    card = (out / "README.md").read_text(encoding="utf-8")
    assert "Apache-2.0" in card and "要和基座 Qwen/Qwen3-0.6B 一起用" in card


@pytest.mark.parametrize("task", ["generation", "classification"])
def test_merged(tune, tiny_base, tiny_data, tmp_path, task):
    run, said = tune(task=task), []
    out = export_merged(run, tmp_path / "merged", said.append)
    assert left_in(tmp_path) == ["merged", "workspace"]
    model, tokenizer = load(str(out), "fp32")
    assert json.loads((out / "config.json").read_text())["dtype"] == "bfloat16"
    ours, theirs = scores(model, tokenizer, tiny_data["test"]), scores(*run.load(), tiny_data["test"])
    assert torch.allclose(ours, theirs, atol=0.05)  # bf16
    if task == "generation":
        assert not torch.allclose(scores(*load(str(tiny_base), "fp32"), tiny_data["test"]), theirs, atol=0.05)
    card = (out / "README.md").read_text(encoding="utf-8")
    assert "library_name: transformers" in card and "peft\n" not in card and "首选相同的有 4 个" in card
    assert run.facts["data"]["train"]["sha256"] in card and "基座许可" in card
    assert any("合并前后" in line for line in said)


def test_a_wrong_merge_is_caught_and_nothing_is_written(tune, tmp_path, monkeypatch):
    from peft.tuners.lora import Linear

    run, delta = tune(), Linear.get_delta_weight
    monkeypatch.setattr(Linear, "get_delta_weight", lambda self, name: delta(self, name) * 0.9)
    for attempt in (export_merged, export_gguf):
        monkeypatch.setattr(export, "_check_gguf", silent)
        with pytest.raises(CourseError, match=r"合并后的模型和合并前不一样.*没有导出"):
            attempt(run, tmp_path / "out", log=silent)
        assert left_in(tmp_path) == ["workspace"]


def test_a_full_fine_tune_is_copied(tune, tmp_path):
    run = tune(method="full")
    out = export_merged(run, tmp_path / "model", silent)
    name = "model.safetensors"
    assert (out / name).read_bytes() == (run.weights / name).read_bytes()
    assert "原样复制" in (out / "README.md").read_text(encoding="utf-8")
    with pytest.raises(ConfigError, match="全参微调，没有适配器"):
        export_adapter(run, tmp_path / "adapter")


# --- GGUF ---


def write_original(model, tokenizer, path) -> None:
    """A file as the embedded model's, with the model's shapes, the tokenizer's vocabulary and no weights."""
    config = model.config
    writer = GGUFWriter(path, "gemma3")
    writer.add_name("Gemma 3 tiny")
    writer.add_file_type(15)
    writer.add_context_length(config.max_position_embeddings)
    writer.add_embedding_length(config.hidden_size)
    writer.add_block_count(config.num_hidden_layers)
    writer.add_feed_forward_length(config.intermediate_size)
    writer.add_head_count(config.num_attention_heads)
    writer.add_head_count_kv(config.num_key_value_heads)
    writer.add_key_length(config.head_dim)
    writer.add_sliding_window(config.sliding_window)
    writer.add_rope_freq_base(config.rope_parameters["full_attention"]["rope_theta"])
    tokens = tokenizer.convert_ids_to_tokens(range(len(tokenizer)))
    special = set(tokenizer.all_special_tokens) | {"<start_of_turn>", "<end_of_turn>"}
    writer.add_tokenizer_model("llama")
    writer.add_token_list(tokens)
    writer.add_token_scores([-float(i) for i in range(len(tokens))])
    writer.add_token_types([3 if t in special else 6 if t.startswith("<0x") else 1 for t in tokens])
    writer.add_add_space_prefix(False)
    for name, values in gguf_out.gguf_tensors(model).items():
        writer.add_tensor(name, np.zeros_like(values))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


@pytest.fixture
def original(tiny, tmp_path, monkeypatch):
    """A GGUF file of the tiny base, in the place of the embedded model's."""
    path = tmp_path / "original.gguf"
    write_original(*tiny, path)
    monkeypatch.setattr(gguf_out, "original_gguf", lambda out: shutil.copy(path, out))
    return path


@pytest.mark.parametrize("kind, method", [("q8_0", "lora"), ("f16", "full"), ("bf16", "lora")])
def test_gguf(tune, original, tiny_data, tmp_path, kind, method):
    run = tune(method=method)
    file = export_gguf(run, tmp_path / "out", kind, silent)
    assert left_in(tmp_path / "out") == ["README.md", f"run-{kind}.gguf"]
    assert "library_name: gguf" in (tmp_path / "out" / "README.md").read_text(encoding="utf-8")
    reader, before = GGUFReader(file), GGUFReader(original)
    kinds = {t.name: t.tensor_type.name for t in reader.tensors}
    assert kinds["token_embd.weight"] == kind.upper() and kinds["blk.1.attn_q_norm.weight"] == "F32"
    kept = before.fields.keys() - {"general.name", "general.file_type", "GGUF.kv_count"}
    assert [n for n in kept if reader.fields[n].contents() != before.fields[n].contents()] == []
    assert [n for n in kept if reader.fields[n].types != before.fields[n].types] == []
    model, tokenizer = run.load()
    assert reader.fields["tokenizer.chat_template"].contents() == tokenizer.chat_template
    norm = next(t.data for t in reader.tensors if t.name == "output_norm.weight")
    assert np.array_equal(norm, model.model.norm.weight.detach().numpy() + 1)
    # and back again, by the converter that the embedded model goes through
    convert_gguf(file, tmp_path)
    again, theirs = load(str(tmp_path), "fp32")
    prompt = tiny_data["test"][0].prompt
    assert theirs(prompt).input_ids == tokenizer(prompt).input_ids
    assert torch.allclose(
        scores(again, theirs, tiny_data["test"]), scores(model, tokenizer, tiny_data["test"]), atol=0.05
    )


@pytest.mark.parametrize("kind, share", [("q8_0", 0.01), ("f16", 0.002), ("bf16", 0.01)])
def test_a_wrong_tensor_is_caught_and_nothing_is_written(tune, original, tmp_path, monkeypatch, kind, share):
    """One weight of one tensor, off by a hundredth of the largest (f16: a five hundredth)."""
    import gguf.quants

    right = gguf.quants.quantize

    def wrong(values, form):
        if values.shape == (64, 32):  # a feed-forward layer
            values = values.copy()
            values[3, 5] += share * abs(values[3]).max()
        return right(values, form)

    run = tune()
    monkeypatch.setattr(gguf.quants, "quantize", wrong)
    with pytest.raises(CourseError, match=r"对不上（4 个张量，如 blk\.0\.ffn_(gate|up)\.weight）"):
        export_gguf(run, tmp_path / "out", kind, silent)
    assert left_in(tmp_path) == ["original.gguf", "workspace"]


def test_what_cannot_be_a_gguf_says_why(tune, original, tiny_base, tmp_path):
    run = tune()
    with pytest.raises(ConfigError, match="没有叫「q4_k」的 GGUF 类型。可以用：f16、bf16、q8_0"):
        export_gguf(run, tmp_path / "out", "q4_k", silent)
    with pytest.raises(ConfigError, match="分类头放不进"):
        export_gguf(tune(task="classification"), tmp_path / "out", log=silent)
    other = tmp_path / "other"
    other.mkdir()
    (other / "config.json").write_text('{"model_type": "qwen3"}')
    settings = run.config.model_dump() | {"base_model": str(other)}
    (run.folder / "config.yaml").write_text(yaml.safe_dump(settings), encoding="utf-8")
    with pytest.raises(ConfigError, match=r"只有 Gemma 3 .*请用 export_merged.*convert_hf_to_gguf"):
        export_gguf(run, tmp_path / "out", log=silent)
    assert not (tmp_path / "out").exists()


def test_a_gemma_of_another_size_is_refused(tune, original, tiny, tmp_path):
    model, tokenizer = tiny
    model.model.layers = model.model.layers[:1]
    model.config.num_hidden_layers = 1
    write_original(model, tokenizer, original)
    with pytest.raises(ConfigError, match="和随课程安装的 Gemma 3 270M 不同"):
        export_gguf(tune(), tmp_path / "out", log=silent)
    assert left_in(tmp_path) == ["original.gguf", "workspace"]


def test_a_damaged_wheel_says_how_to_mend_it(tmp_path, monkeypatch):
    piece = tmp_path / "piece"
    piece.write_bytes(b"GGUF")
    monkeypatch.setattr(gguf_out.weights, "wheel_chunks", lambda source: [piece])
    with pytest.raises(WeightsError, match=r"已损坏.*--force-reinstall .*gguf-part1==1\.0\.0 .*gguf-part4==1\.0\.0$"):
        gguf_out.original_gguf(tmp_path / "model.gguf")


# --- where it goes ---


def test_nothing_is_overwritten(tune, tmp_path):
    run = tune()
    (tmp_path / "out").mkdir()
    for attempt in (export_adapter, export_merged):
        with pytest.raises(ConfigError, match="已经在那里了"):
            attempt(run, tmp_path / "out")
    assert left_in(tmp_path / "out") == []


def test_a_full_disk_leaves_nothing(tune, tmp_path, monkeypatch):
    def full(*_, **__):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(export, "save_model_card", full)
    with pytest.raises(CourseError, match="磁盘满了"):
        export_adapter(tune(), tmp_path / "out")
    assert left_in(tmp_path) == ["workspace"]


def test_a_run_without_weights(tiny_base, tiny_data, tmp_path):
    run = Run.create(TrainingConfig(base_model=str(tiny_base)), tiny_data, "unfinished")
    for attempt in (export_adapter, export_merged, export_gguf):
        with pytest.raises(ConfigError, match=r"还没有训练完.*course train --resume"):
            attempt(run, tmp_path / "out")


@pytest.mark.slow
def test_gguf_of_the_real_model(tmp_path):
    """A short fine-tune of the embedded model: the file has its size, and answers as the run does."""
    rows = [Record("判断情感", f"这{thing}{word}", label)
            for thing in ("本书", "家酒店", "部手机", "杯茶")
            for word, label in (("很好，我很喜欢", "积极"), ("太差了，我很讨厌", "消极"))]  # fmt: skip
    config = TrainingConfig(epochs=4, batch_size=4, evaluations=1)
    run = train(config, {"train": rows, "validation": rows[:4]}, "real", log=silent)
    file = export_gguf(run, tmp_path / "out", log=silent)
    assert 280e6 < file.stat().st_size < 300e6
    folder = tmp_path / "back"
    folder.mkdir()
    convert_gguf(file, folder)
    theirs, ours = (choose(*opened, rows, LABELS) for opened in (load(str(folder)), run.load()))
    base = choose(*load("gemma-3-270m"), rows, LABELS)
    for a, b, c in zip(theirs, ours, base, strict=True):
        assert a.scores == pytest.approx(b.scores, abs=0.05)
        assert abs(a.log_likelihood[a.label] - c.log_likelihood[a.label]) > 1  # the fine-tune is in it
    shutil.rmtree(folder)
    file.unlink()
