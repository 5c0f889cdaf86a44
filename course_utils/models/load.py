"""Opening a base model, ready for training and for generation."""

import json
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path

from course_utils.models import weights


def load(name: str, dtype: str = "auto", log: Callable[[str], None] = print):
    """`(model, tokenizer)` of base model `name`, on the GPU when there is one.

    `dtype`: "auto" (bf16 where the processor multiplies it fast, else fp32), "bf16", "fp16" or "fp32".
    The files are verified by SHA-256 each time. Raises `WeightsError`.
    """
    from transformers import AutoModelForCausalLM

    folder = _ready(name, log)
    if is_classifier(folder):
        return _open_classifier(folder, torch_dtype(dtype)).eval(), load_tokenizer(name, log)
    model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch_dtype(dtype), local_files_only=True)
    keep_head_input_contiguous(model)
    return model.to(device()).eval(), load_tokenizer(name, log)


def load_classifier(name: str, labels: Sequence[str], dtype: str = "auto", log: Callable[[str], None] = print):
    """`(model, tokenizer)` of base model `name` with a classification head of one row per label.

    A row of the head begins as the mean of the label's token embeddings: with tied embeddings that is what the
    language model itself would score the label's words with, so the head starts from what the model knows of the
    words and not from noise. Raises `WeightsError`.
    """
    import torch

    folder, tokenizer = _ready(name, log), load_tokenizer(name, log)
    names = dict(enumerate(labels))
    model = _open_classifier(
        folder, torch_dtype(dtype), num_labels=len(labels), id2label=names, label2id={n: i for i, n in names.items()}
    )
    model.config.pad_token_id = tokenizer.pad_token_id  # the head reads at the last token that is not this
    embeddings = model.get_input_embeddings().weight
    with torch.no_grad():
        for row, label in zip(model.score.weight, labels, strict=True):
            tokens = tokenizer.encode(label, add_special_tokens=False)
            row.copy_(embeddings[tokens].float().mean(0))
    return model.eval(), tokenizer


def is_classifier(folder: Path) -> bool:
    """Whether a model folder holds a classification head instead of a language model's."""
    kinds = json.loads((folder / "config.json").read_text(encoding="utf-8")).get("architectures") or []
    return any(kind.endswith("ForSequenceClassification") for kind in kinds)


def _open_classifier(folder: Path, dtype, **labels):
    from transformers import AutoModelForSequenceClassification

    model = AutoModelForSequenceClassification.from_pretrained(folder, dtype=dtype, local_files_only=True, **labels)
    return model.to(device())


def _ready(name: str, log: Callable[[str], None]) -> Path:
    """The verified folder of a model, with transformers told to be quiet."""
    from transformers.utils import logging

    logging.disable_progress_bar()  # of a load that takes two seconds
    logging.set_verbosity_error()  # what a learner should know, we say ourselves
    # accelerate asks for an attribute that transformers has renamed; nothing that a learner could mend
    warnings.filterwarnings("ignore", message=".*is_gradient_checkpointing", category=FutureWarning)
    folder = weights.prepare(name, log)
    weights.verify(folder)
    return folder


def load_tokenizer(name: str, log: Callable[[str], None] = print):
    """The tokenizer of base model `name` alone. Raises `WeightsError`."""
    from transformers import AutoTokenizer

    return AutoTokenizer.from_pretrained(weights.prepare(name, log), local_files_only=True)


def device() -> str:
    """The device that models run on here: "cuda", "mps" or "cpu"."""
    import torch

    if torch.cuda.is_available():
        return "cuda"
    return "mps" if torch.backends.mps.is_available() else "cpu"


def torch_dtype(precision: str):
    """The torch dtype of a precision setting; "auto" asks the hardware."""
    import torch

    named = {"bf16": torch.bfloat16, "fp16": torch.float16, "fp32": torch.float32}
    return named[precision] if precision in named else (torch.bfloat16 if fast_bf16() else torch.float32)


def fast_bf16() -> bool:
    """Whether the device multiplies bf16 matrices in hardware; elsewhere bf16 is emulated and slower than fp32."""
    import torch

    where = device()
    if where == "cuda":
        return torch.cuda.is_bf16_supported(including_emulation=False)
    return where == "mps" or bool(bf16_units())


def bf16_units() -> list[str]:
    """The processor's instruction sets that multiply bf16, under torch's names; x86 and ARM have different ones."""
    import torch

    capabilities = torch.cpu.get_capabilities()
    return [name for name in ("avx512_bf16", "amx_bf16", "bf16", "sve_bf16") if capabilities.get(name)]


def keep_head_input_contiguous(model) -> None:
    """Give the output head a contiguous input, whatever slice of the hidden states it is asked for.

    With `logits_to_keep=1`, as in every call of `generate`, the head gets a strided slice (batch, 1, hidden). Once
    its weight needs no gradient, PyTorch does not fold that product and copies the 262k-row weight once per row of
    the batch: 20 s and 6.5 GB for 16 prompts instead of 0.3 s.
    """
    model.get_output_embeddings().register_forward_pre_hook(lambda head, args: (args[0].contiguous(), *args[1:]))
