"""A tiny random Gemma 3 with a tokenizer of its own, made once per session: a whole fine-tune in seconds."""

import os

import pytest
from browser import _lab, lab  # noqa: F401, the fixtures

os.environ.setdefault("MPLBACKEND", "agg")

CHARACTERS = "你我他的是不好差很快慢喜欢讨厌书酒店手机积极消极判断情感评论请回答。，！？问答在吗谢"


@pytest.fixture(scope="session")
def tiny_base(tmp_path_factory):
    """The folder of the tiny model: 2 layers of width 32, byte fallback for what is not in its vocabulary."""
    import torch
    from transformers import AddedToken, Gemma3ForCausalLM, Gemma3TextConfig, GemmaTokenizer

    from course_utils.models.convert import GEMMA_TEMPLATE

    special = ["<pad>", "<eos>", "<bos>", "<unk>", "<mask>", "<start_of_turn>", "<end_of_turn>"]
    pieces = [*special, *(f"<0x{byte:02X}>" for byte in range(256)), "▁", "\n", *dict.fromkeys(CHARACTERS)]
    tokenizer = GemmaTokenizer(vocab={piece: i for i, piece in enumerate(pieces)}, merges=[], add_bos_token=True)
    tokenizer.add_tokens([AddedToken(token, normalized=False, special=True) for token in special])
    tokenizer.chat_template = GEMMA_TEMPLATE.read_text(encoding="utf-8")
    torch.set_num_threads(1)  # a tiny model gains nothing from a second one, and loses much to it on a busy machine
    torch.manual_seed(0)
    config = Gemma3TextConfig(
        vocab_size=len(pieces), hidden_size=32, intermediate_size=64, num_hidden_layers=2, num_attention_heads=2,
        num_key_value_heads=1, head_dim=16, query_pre_attn_scalar=16, max_position_embeddings=512, sliding_window=128,
        bos_token_id=2, eos_token_id=1, pad_token_id=0,
    )  # fmt: skip
    folder = tmp_path_factory.mktemp("tiny") / "base"
    model = Gemma3ForCausalLM(config)
    model.model.embed_tokens.weight.data.mul_(20)  # the head is the frozen embedding: give it something to say
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


@pytest.fixture
def tiny(tiny_base):
    """A fresh `(model, tokenizer)` of the tiny model in fp32."""
    from course_utils.models.load import load

    return load(str(tiny_base), "fp32")


@pytest.fixture(autouse=True)
def own_workspace(tmp_path, monkeypatch):
    """No test writes into the learner's folder."""
    monkeypatch.setenv("COURSE_WORKSPACE", str(tmp_path / "workspace"))
    return tmp_path / "workspace"


@pytest.fixture
def tiny_data():
    """Reviews that a tiny model can learn: 好 and 喜欢 are 积极, 差 and 讨厌 are 消极."""
    from course_utils.data.records import Record

    def rows(n, offset):
        return [
            Record("判断情感", f"{'书酒店手机'[i % 5]}{word}{'很' * (i % 7)}", label)
            for i in range(offset, offset + n)
            for word, label in (("好喜欢", "积极"), ("差讨厌", "消极"))
        ]

    return {"train": rows(16, 0), "validation": rows(4, 16), "test": rows(4, 20)}
