"""A LoRA adapter from a stranger: its safetensors file read by the header, its settings kept to the few that matter.

Neither torch nor PEFT looks at it here. Format: https://huggingface.co/docs/safetensors (8 bytes of length, JSON, data).
"""

import hashlib
import math
import re
import struct
from dataclasses import dataclass
from typing import Literal

import numpy as np
from pydantic import BaseModel, ConfigDict, Field

from course_utils.grading.archive import AGAIN, SubmissionError, shown
from course_utils.grading.untrusted import build, parse
from course_utils.models.catalogue import BaseModelCard, catalogue
from course_utils.training.config import MODULES

LONGEST_HEADER = 1 << 20  # bytes
SIZES = {"F32": 4, "F16": 2, "BF16": 2}
TENSOR = re.compile(
    r"base_model\.model\.model\.layers\.(0|[1-9]\d{0,2})\.(self_attn|mlp)\.([a-z]+_proj)\.lora_([AB])\.weight"
)
WITHIN = {name: "self_attn" for name in MODULES["attention"]} | {name: "mlp" for name in MODULES["mlp"]}
SKETCH = 20_000  # weights by which two adapters are compared


class AdapterConfig(BaseModel):
    """The settings that a LoRA adapter of the course has. Any other, such as one that names code, is refused."""

    model_config = ConfigDict(extra="forbid", strict=True, allow_inf_nan=False)

    peft_type: Literal["LORA"] = "LORA"
    task_type: Literal["CAUSAL_LM"] = "CAUSAL_LM"
    base_model_name_or_path: str = Field(max_length=80)
    r: int = Field(ge=1, le=256)
    lora_alpha: float = Field(gt=0, le=1024)
    lora_dropout: float = Field(ge=0, lt=1)
    target_modules: list[Literal[tuple(MODULES["all"])]] = Field(min_length=1, max_length=len(MODULES["all"]))
    layers_to_transform: list[int] | None = Field(None, max_length=200)
    bias: Literal["none"] = "none"
    inference_mode: bool = True


@dataclass(frozen=True)
class Adapter:
    """config: as checked. content: the safetensors file. tensors: name -> float32 array."""

    config: AdapterConfig
    content: bytes
    tensors: dict[str, np.ndarray]

    @property
    def sha256(self) -> str:
        return hashlib.sha256(self.content).hexdigest()

    def sketch(self) -> np.ndarray:
        """Evenly taken weights of the B matrices, which begin at zero: what training made of them. Float32, of length 1."""
        flat = np.concatenate([self.tensors[name].ravel() for name in sorted(self.tensors) if ".lora_B." in name])
        taken = flat[:: max(1, len(flat) // SKETCH)][:SKETCH]
        return taken / max(float(np.linalg.norm(taken)), 1e-12)


def read_adapter(settings: bytes, content: bytes, base: str) -> Adapter:
    """The adapter of base model `base`, a name of the catalogue. Raises `SubmissionError`."""
    config = build(AdapterConfig, parse(settings, "adapter_config.json"), "adapter_config.json")
    if base not in catalogue():
        raise SubmissionError(
            f"基座「{shown(base)}」不在课程的目录里。请用目录里的基座训练：{'、'.join(catalogue())}。"
        )
    if config.base_model_name_or_path != base:
        other = shown(config.base_model_name_or_path)
        raise SubmissionError(f"适配器是给基座「{other}」的，而清单写的是「{base}」。请交同一次训练的文件。")
    tensors = read_safetensors(content)
    _check_shapes(tensors, config, catalogue()[base])
    return Adapter(config, content, tensors)


def read_safetensors(content: bytes) -> dict[str, np.ndarray]:
    """name -> float32 array of every tensor, all finite. Raises `SubmissionError`."""
    name = "adapter_model.safetensors"
    if content[:2] == b"PK" or content[:2] == b"\x80\x02":
        raise SubmissionError(f"{name} 其实是 pickle 或 zip，可能带着程序，没有打开。适配器只收 safetensors。")
    length = struct.unpack("<Q", content[:8])[0] if len(content) >= 8 else 0
    if not 2 <= length <= min(LONGEST_HEADER, len(content) - 8):
        raise SubmissionError(f"{name} 的文件头不对，不是 safetensors，或者没有存完。请重新生成这个提交。")
    header = parse(content[8 : 8 + length], f"{name} 的文件头")
    if not isinstance(header, dict):
        raise SubmissionError(f"{name} 的文件头不对。请重新生成这个提交。")
    data = memoryview(content)[8 + length :]
    entries = sorted(((key, _entry(key, value)) for key, value in header.items() if key != "__metadata__"), key=_start)
    tensors, expected = {}, 0
    for key, (kind, shape, start, end) in entries:
        if start != expected or end - start != math.prod(shape) * SIZES[kind] or end > len(data):
            raise SubmissionError(f"{name} 的「{shown(key)}」的位置和形状对不上：重叠、有空隙或超出文件。{AGAIN}")
        tensors[key] = _array(data[start:end], kind, shape)
        if not np.isfinite(tensors[key]).all():
            raise SubmissionError(f"{name} 的「{shown(key)}」里有 NaN 或无穷大。训练已经发散，请调小学习率重新训练。")
        expected = end
    if expected != len(data) or not tensors:
        raise SubmissionError(f"{name} 里没有张量，或者后面多了别的字节。{AGAIN}")
    return tensors


def _start(item: tuple) -> tuple[int, int]:
    return item[1][2], item[1][3]


def _entry(key: str, value) -> tuple[str, list[int], int, int]:
    """`(dtype, shape, start, end)` of one tensor in the header."""
    match value:
        case {"dtype": str(kind), "shape": list(shape), "data_offsets": [int(start), int(end)]} if len(value) == 3:
            if kind not in SIZES:
                raise SubmissionError(f"张量「{shown(key)}」的类型是 {shown(kind)}，只收 {'、'.join(SIZES)}。")
            if len(shape) == 2 and all(type(n) is int and 0 < n < 1 << 24 for n in shape) and 0 <= start <= end:
                return kind, shape, start, end
    raise SubmissionError(f"张量「{shown(key)}」的说明不对：要有 dtype、两维的 shape 和 data_offsets。{AGAIN}")


def _array(data: memoryview, kind: str, shape: list[int]) -> np.ndarray:
    if kind == "BF16":
        array = (np.frombuffer(data, "<u2").astype(np.uint32) << 16).view(np.float32)
    else:
        array = np.frombuffer(data, "<f4" if kind == "F32" else "<f2").astype(np.float32, copy=False)
    return array.reshape(shape)


def _check_shapes(tensors: dict[str, np.ndarray], config: AdapterConfig, base: BaseModelCard) -> None:
    """Every pair (r, in) and (out, r) must fit the layers of `base`, as far as its card says how wide they are."""
    widths = {"gate_proj": (base.hidden, base.intermediate), "up_proj": (base.hidden, base.intermediate)}
    widths |= {"down_proj": (base.intermediate, base.hidden), "o_proj": (None, base.hidden)}
    heads = {}  # module -> the width of its heads, which the card does not tell: the same in all layers
    for name, array in tensors.items():
        match = TENSOR.fullmatch(name)
        if not match or WITHIN.get(match[3]) != match[2] or match[3] not in config.target_modules:
            raise SubmissionError(f"适配器里有不该有的张量「{shown(name)}」。{AGAIN}")
        layer, module, side = int(match[1]), match[3], match[4]
        if layer >= base.layers:
            raise SubmissionError(f"适配器有第 {layer} 层，而 {base.name} 只有 {base.layers} 层：它是给别的基座的。")
        rank, width = array.shape if side == "A" else array.shape[::-1]
        expected = widths.get(module, (base.hidden, None))["AB".index(side)]
        expected = expected or heads.setdefault((module, side), width)
        if rank != config.r or width != expected:
            raise SubmissionError(
                f"张量「{shown(name)}」的形状是 {array.shape}，和秩 {config.r}、基座 {base.name} 对不上："
                "它是给别的基座或别的设置的。请交同一次训练的文件。"
            )
        if name.replace(f".lora_{side}.", f".lora_{'BA'['AB'.index(side)]}.") not in tensors:
            raise SubmissionError(f"张量「{shown(name)}」缺了另一半（lora_A 和 lora_B 要成对）。{AGAIN}")
