"""The model that is trained: what is frozen, what gets an adapter, and in which precision."""

from contextlib import nullcontext

from course_utils.errors import ConfigError
from course_utils.training.config import TrainingConfig


def open_base(config: TrainingConfig, labels: list[str] | None, log):
    """`(model, tokenizer)` to train, nothing frozen yet. labels: of the classification head, for that task."""
    from course_utils.models.load import device, load, load_classifier

    if config.precision == "fp16" and device() == "cpu":
        raise ConfigError("「数值精度」fp16 只能用在 GPU 上。这台机器请改用 auto、bf16 或 fp32。")
    if config.task == "classification":
        model, tokenizer = load_classifier(config.base_model, labels, config.precision, log)
    else:
        model, tokenizer = load(config.base_model, config.precision, log)
    quicken_attention(model, config)
    return model, tokenizer


def quicken_attention(model, config: TrainingConfig) -> None:
    """On a CPU, plain matrix products for short rows.

    PyTorch's flash kernel works in blocks and takes a tenth of a step at 80 tokens; written out, attention takes half
    of that. It keeps a (length x length) matrix per head, so longer rows stay with the kernel.
    """
    from course_utils.models.load import device

    if device() == "cpu" and config.max_length <= 256:
        model.set_attn_implementation("eager")


def prepare_model(model, config: TrainingConfig, fused: bool = True):
    """Freeze what is not trained; add the adapters or widen the trained weights to fp32. fused: see `fuse`."""
    from course_utils.training.fused import fuse

    model = _trainable(model, config)
    if fused:
        fuse(model)
    return model


def _trainable(model, config: TrainingConfig):
    import torch

    model.config.use_cache = False
    total = model.config.num_hidden_layers
    if config.layers and config.layers > total:
        raise ConfigError(f"「作用层数」是 {config.layers}，而这个模型只有 {total} 层。请调小，或者空着。")
    chosen = range(first_layer(model, config), total)
    if config.method == "lora":
        return _with_adapters(model, config, list(chosen))
    model.requires_grad_(False)
    for i, layer in enumerate(model.base_model.layers):
        if i in chosen:
            layer.requires_grad_(True)
    model.base_model.norm.requires_grad_(True)
    if config.task == "classification":
        model.score.requires_grad_(True)
    model.get_input_embeddings().requires_grad_(config.train_embeddings)
    for parameter in model.parameters():
        if parameter.requires_grad:
            parameter.data = parameter.data.to(torch.float32)  # bf16 is too coarse to add small steps to
    return model


def first_layer(model, config: TrainingConfig) -> int:
    """The number of the lowest layer that is trained; in 极速模式 those of the upper third, unless told otherwise."""
    total = model.config.num_hidden_layers
    return total - (config.layers or (-(-total // 3) if config.turbo else total))


def body(model):
    """The stack of layers inside a causal or classifying model, with adapters or without."""
    return (model.get_base_model() if hasattr(model, "get_base_model") else model).model


def _with_adapters(model, config: TrainingConfig, layers: list[int]):
    import torch
    from peft import LoraConfig, get_peft_model
    from peft.tuners.tuners_utils import BaseTunerLayer

    from course_utils.training.dropout import SparseDropout

    names = {name.rsplit(".", 1)[-1] for name, _ in model.named_modules()}
    missing = [target for target in config.lora_targets if target not in names]
    if missing:
        raise ConfigError(f"模型里没有叫「{missing[0]}」的层，「LoRA 作用模块」请改用 all、attention、mlp 或 q_v。")
    lora = LoraConfig(
        r=config.lora_rank,
        lora_alpha=config.lora_alpha,
        lora_dropout=config.lora_dropout,
        target_modules=config.lora_targets,
        layers_to_transform=layers,
        task_type="SEQ_CLS" if config.task == "classification" else "CAUSAL_LM",
    )
    model = get_peft_model(model, lora)
    # The adapters are fp32 so that small steps add up. Under autocast their products run in bf16; PEFT's own cast
    # would widen every input to fp32 first and run a third slower.
    for module in model.modules():
        if isinstance(module, BaseTunerLayer):
            module.cast_input_dtype_enabled = not autocast(config)
            if 0 < config.lora_dropout <= 0.1:
                module.lora_dropout["default"] = SparseDropout(config.lora_dropout)
    for parameter in model.parameters():  # a classification head is trained whole, beside the adapters
        if parameter.requires_grad:
            parameter.data = parameter.data.to(torch.float32)
    return model


def autocast(config: TrainingConfig) -> str | None:
    """The 16-bit type that products run in: "bf16", "fp16", or None for fp32."""
    import torch

    from course_utils.models.load import torch_dtype

    return {torch.bfloat16: "bf16", torch.float16: "fp16"}.get(torch_dtype(config.precision))


def in_precision(model, config: TrainingConfig):
    """The context of a forward pass: the adapters are fp32 and the base is not, and autocast lets them meet."""
    import torch

    kind = {"bf16": torch.bfloat16, "fp16": torch.float16}.get(autocast(config))
    return torch.autocast(model.device.type, kind) if kind else nullcontext()
