"""From a GGUF file of Gemma 3 to a folder that `from_pretrained` opens.

transformers can read the file itself (`from_pretrained(gguf_file=...)`), but it takes most of a minute and since 5.23
keeps the weights packed, which cannot be trained. We read the tensors with the `gguf` package, once.
"""

from pathlib import Path

GEMMA_TEMPLATE = Path(__file__).with_name("gemma.jinja")

# GGUF tensor name -> name in `Gemma3ForCausalLM`; {i} is the layer.
TENSOR_NAMES = {
    "token_embd.weight": "model.embed_tokens.weight",
    "output_norm.weight": "model.norm.weight",
    "blk.{i}.attn_q.weight": "model.layers.{i}.self_attn.q_proj.weight",
    "blk.{i}.attn_k.weight": "model.layers.{i}.self_attn.k_proj.weight",
    "blk.{i}.attn_v.weight": "model.layers.{i}.self_attn.v_proj.weight",
    "blk.{i}.attn_output.weight": "model.layers.{i}.self_attn.o_proj.weight",
    "blk.{i}.attn_q_norm.weight": "model.layers.{i}.self_attn.q_norm.weight",
    "blk.{i}.attn_k_norm.weight": "model.layers.{i}.self_attn.k_norm.weight",
    "blk.{i}.attn_norm.weight": "model.layers.{i}.input_layernorm.weight",
    "blk.{i}.post_attention_norm.weight": "model.layers.{i}.post_attention_layernorm.weight",
    "blk.{i}.ffn_norm.weight": "model.layers.{i}.pre_feedforward_layernorm.weight",
    "blk.{i}.post_ffw_norm.weight": "model.layers.{i}.post_feedforward_layernorm.weight",
    "blk.{i}.ffn_gate.weight": "model.layers.{i}.mlp.gate_proj.weight",
    "blk.{i}.ffn_up.weight": "model.layers.{i}.mlp.up_proj.weight",
    "blk.{i}.ffn_down.weight": "model.layers.{i}.mlp.down_proj.weight",
}

# Kinds of token in a GGUF vocabulary (llama.cpp, `enum llama_token_type`).
CONTROL, USER_DEFINED = 3, 4


def convert_gguf(gguf_path: Path, out: Path) -> None:
    """Write config, weights (safetensors, bf16) and tokenizer of the Gemma 3 model in `gguf_path` into folder `out`.

    Raises KeyError when the file holds a tensor that Gemma 3 does not have: better no model than half of one.
    """
    from gguf import GGUFReader

    reader = GGUFReader(gguf_path)
    _write_config(reader, out)
    _write_weights(reader, out)
    _write_tokenizer(reader, out)


def _write_config(reader, out: Path) -> None:
    from transformers import GenerationConfig

    config = model_config(reader)
    config.save_pretrained(out)
    # <end_of_turn> (106) ends an answer in Gemma's chat format, <eos> (1) ends a document.
    ends = [config.eos_token_id, token_list(reader).index("<end_of_turn>")]
    generation = GenerationConfig(bos_token_id=config.bos_token_id, pad_token_id=config.pad_token_id, eos_token_id=ends)
    generation.save_pretrained(out)


def model_config(reader):
    """The `Gemma3TextConfig` that the metadata of an open `GGUFReader` describes."""
    from transformers import Gemma3TextConfig

    def field(name):
        return reader.fields[f"gemma3.{name}"].contents()

    return Gemma3TextConfig(
        vocab_size=len(reader.fields["tokenizer.ggml.tokens"].data),
        hidden_size=field("embedding_length"),
        num_hidden_layers=field("block_count"),
        intermediate_size=field("feed_forward_length"),
        num_attention_heads=field("attention.head_count"),
        num_key_value_heads=field("attention.head_count_kv"),
        head_dim=field("attention.key_length"),
        query_pre_attn_scalar=field("attention.key_length"),
        max_position_embeddings=field("context_length"),
        rms_norm_eps=1e-6,
        sliding_window=field("attention.sliding_window"),
        rope_parameters={
            "full_attention": {"rope_type": "default", "rope_theta": field("rope.freq_base")},
            "sliding_attention": {"rope_type": "default", "rope_theta": 10_000.0},  # not in GGUF; fixed in Gemma 3
        },
        tie_word_embeddings=True,
        dtype="bfloat16",
        architectures=["Gemma3ForCausalLM"],
    )


def _write_weights(reader, out: Path) -> None:
    import torch
    from gguf.quants import dequantize
    from safetensors.torch import save_file

    state = {}
    for tensor in reader.tensors:
        values = torch.tensor(dequantize(tensor.data, tensor.tensor_type))  # fp32
        if tensor.name.endswith("norm.weight"):
            values = values - 1  # GGUF stores 1 + w, transformers stores w and adds the 1 itself
        state[_torch_name(tensor.name)] = values.to(torch.bfloat16).contiguous()
    save_file(state, out / "model.safetensors", metadata={"format": "pt"})


def _torch_name(gguf_name: str) -> str:
    parts = gguf_name.split(".")
    layer = parts[1] if parts[0] == "blk" else ""
    pattern = ".".join(["blk", "{i}", *parts[2:]]) if layer else gguf_name
    return TENSOR_NAMES[pattern].format(i=layer)


def token_list(reader) -> list[str]:
    """The vocabulary in the order of its ids."""
    field = reader.fields["tokenizer.ggml.tokens"]
    return [bytes(field.parts[at]).decode("utf-8") for at in field.data]


def _write_tokenizer(reader, out: Path) -> None:
    from transformers import AddedToken, GemmaTokenizer, PreTrainedTokenizerFast

    tokens = [_sentencepiece_spaces(token) for token in token_list(reader)]
    kinds = dict(zip(tokens, reader.fields["tokenizer.ggml.token_type"].contents(), strict=True))
    # Matched before any merge, whole and never split; runs of spaces are left to the merges, as in Gemma's own file.
    added = [t for t, kind in kinds.items() if kind in (CONTROL, USER_DEFINED) and not t.startswith("▁")]
    vocab = {token: i for i, token in enumerate(tokens)}
    gemma = GemmaTokenizer(vocab=vocab, merges=merges(vocab, skip=set(added)), add_bos_token=True)
    gemma.add_tokens([AddedToken(t, normalized=False, special=kinds[t] == CONTROL) for t in added])
    # The plain class opens the same file in a third of the time: GemmaTokenizer builds its tables twice.
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=gemma.backend_tokenizer,
        **{name: str(token) for name, token in gemma.special_tokens_map.items()},
        padding_side="left",
        chat_template=GEMMA_TEMPLATE.read_text(encoding="utf-8"),
        model_max_length=model_config(reader).max_position_embeddings,
        model_input_names=["input_ids", "attention_mask"],
    )
    tokenizer.save_pretrained(out)


def _sentencepiece_spaces(token: str) -> str:
    """GGUF writes Gemma's runs of spaces as spaces; every other token has `▁` for a space."""
    return token.replace(" ", "▁") if set(token) == {" "} else token


def merges(vocab: dict[str, int], skip: set[str]) -> list[tuple[str, str]]:
    """The merge rules of a SentencePiece BPE vocabulary, in the order in which they apply.

    SentencePiece joins the pair whose result has the best score, and a vocabulary's scores fall with its ids; so
    every way of cutting a token into two tokens is a rule, ranked by the id of the whole.
    """
    rules = []
    for token in vocab:
        if token in skip:
            continue
        cuts = [(token[:at], token[at:]) for at in range(1, len(token))]
        rules += sorted(
            (cut for cut in cuts if cut[0] in vocab and cut[1] in vocab and not skip.intersection(cut)),
            key=lambda cut: (vocab[cut[0]], vocab[cut[1]]),
        )
    return rules
