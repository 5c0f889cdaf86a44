"""`train(config, data) -> Run`: the whole fine-tune, read from top to bottom."""

import errno
import random
import shutil
from collections.abc import Callable
from contextlib import contextmanager

from course_utils.data.records import Record
from course_utils.errors import ConfigError, CourseError, DataError
from course_utils.measure import PeakMemory
from course_utils.models.encode import Encoded, encode
from course_utils.training.config import TrainingConfig
from course_utils.training.run import Run


def train(
    config: TrainingConfig, data: dict[str, list[Record]], name: str = "run", log: Callable[[str], None] = print
) -> Run:
    """Fine-tune a base model on `data["train"]`, choosing the best checkpoint on `data["validation"]`.

    `data["test"]`, when it is there, is kept beside them and never looked at.
    Leaves a folder `workspace/runs/<name>` (see `Run`). Raises `CourseError` with one clear sentence; before the
    first step for whatever can be known by then.
    """
    for part in ("train", "validation"):
        if not data.get(part):
            raise DataError(f"「{part}」部分没有数据。训练集和验证集都至少要有一行。")
    from course_utils.models.weights import prepare

    prepare(config.base_model, log)  # a model that is not there leaves no run behind
    return _fit(Run.create(config, data, name), log)


def resume(run: Run, log: Callable[[str], None] = print) -> Run:
    """Go on from the newest checkpoint of a run that was stopped or killed; the end is the same as without a stop."""
    if run.finished:
        log(f"{run.folder.name} 已经训练完了，不需要继续。")
        return run
    return _fit(run, log)


def _fit(run: Run, log: Callable[[str], None]) -> Run:
    with PeakMemory() as peak, _clear_errors(run):
        from transformers import set_seed

        from course_utils.models.load import load
        from course_utils.training.report import forget_after

        config = run.config
        model, tokenizer = load(config.base_model, _weights_precision(config), log)
        quicken_attention(model, config)
        train_rows = encode_all(run.records("train"), tokenizer, config, log)
        validation = run.records("validation")
        if len(validation) > config.validation_rows:
            validation = random.Random(config.seed).sample(validation, config.validation_rows)
        validation_rows = encode_all(validation, tokenizer, config, log)
        set_seed(config.seed)  # before the adapters are drawn
        model = prepare_model(model, config)
        trainer = _trainer(model, run, train_rows, validation_rows, log)
        checkpoint = run.checkpoint
        forget_after(run, int(checkpoint.name.split("-")[1]) if checkpoint else -1)
        _rehearse(trainer, validation_rows)
        trainer.train(resume_from_checkpoint=str(checkpoint) if checkpoint else None)
        best = min((line["eval_loss"] for line in run.metrics if "eval_loss" in line), default=None)
        run.note(steps=trainer.state.global_step, best_eval_loss=best, peak_mb=peak.mb)
        _save(trainer, run, tokenizer)
    run.note(finished=True)
    return run


def encode_all(records: list[Record], tokenizer, config: TrainingConfig, log=print) -> list[Encoded]:
    """Encode records, naming the row that cannot be and counting those that had to be cut."""
    rows = []
    for number, record in enumerate(records, 1):
        try:
            rows.append(encode(record, tokenizer, config.max_length, config.learn_history))
        except DataError as error:
            raise DataError(f"第 {number} 行：{error}") from None
    cut = [number for number, row in enumerate(rows, 1) if row.cut_tokens]
    if cut:
        log(
            f"注意：{len(rows)} 行中有 {len(cut)} 行超过最大长度 {config.max_length}，截短了输入（第 "
            f"{'、'.join(map(str, cut[:5]))}{' 等' if len(cut) > 5 else ''} 行）；答案都完整。"
        )
    return rows


def quicken_attention(model, config: TrainingConfig) -> None:
    """On a CPU, plain matrix products for short rows.

    PyTorch's flash kernel works in blocks and takes a tenth of a step at 80 tokens; written out, attention takes half
    of that. It keeps a (length x length) matrix per head, so longer rows stay with the kernel.
    """
    from course_utils.models.load import device

    if device() == "cpu" and config.max_length <= 256:
        model.set_attn_implementation("eager")


def prepare_model(model, config: TrainingConfig):
    """Freeze what is not trained; add the adapters or widen the trained weights to fp32."""
    import torch

    model.config.use_cache = False
    total = model.config.num_hidden_layers
    if config.layers and config.layers > total:
        raise ConfigError(f"「作用层数」是 {config.layers}，而这个模型只有 {total} 层。请调小，或者空着。")
    chosen = range(total - (config.layers or total), total)
    if config.method == "lora":
        return _with_adapters(model, config, list(chosen))
    model.requires_grad_(False)
    for i, layer in enumerate(model.base_model.layers):
        if i in chosen:
            layer.requires_grad_(True)
    model.base_model.norm.requires_grad_(True)
    model.get_input_embeddings().requires_grad_(config.train_embeddings)
    for parameter in model.parameters():
        if parameter.requires_grad:
            parameter.data = parameter.data.to(torch.float32)  # bf16 is too coarse to add small steps to
    return model


def _with_adapters(model, config: TrainingConfig, layers: list[int]):
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
        task_type="CAUSAL_LM",
    )
    model = get_peft_model(model, lora)
    # The adapters are fp32 so that small steps add up. Under autocast their products run in bf16; PEFT's own cast
    # would widen every input to fp32 first and run a third slower.
    for module in model.modules():
        if isinstance(module, BaseTunerLayer):
            module.cast_input_dtype_enabled = not _autocast(config)
            if 0 < config.lora_dropout <= 0.1:
                module.lora_dropout["default"] = SparseDropout(config.lora_dropout)
    return model


def _weights_precision(config: TrainingConfig) -> str:
    from course_utils.models.load import device

    if config.precision == "fp16" and device() == "cpu":
        raise ConfigError("「数值精度」fp16 只能用在 GPU 上。这台机器请改用 auto、bf16 或 fp32。")
    return config.precision


def _autocast(config: TrainingConfig) -> str | None:
    """The 16-bit type that products run in: "bf16", "fp16", or None for fp32."""
    import torch

    from course_utils.models.load import torch_dtype

    return {torch.bfloat16: "bf16", torch.float16: "fp16"}.get(torch_dtype(config.precision))


def _trainer(model, run: Run, train_rows: list[Encoded], validation_rows: list[Encoded], log):
    from transformers import PrinterCallback, ProgressCallback, TrainingArguments

    from course_utils.models.load import device
    from course_utils.training.report import Reporter
    from course_utils.training.trainer import Collator, LabelTrainer

    config = run.config
    steps = max(1, round(config.epochs * -(-len(train_rows) // config.batch_size)))
    every = -(-steps // config.evaluations)  # rounded up; the Trainer evaluates and saves after the last step anyway
    arguments = TrainingArguments(
        output_dir=str(run.folder / "checkpoints"),
        max_steps=steps,
        per_device_train_batch_size=config.batch_size,
        per_device_eval_batch_size=config.batch_size,
        learning_rate=config.learning_rate,
        lr_scheduler_type="cosine",
        warmup_steps=round(config.warmup * steps),
        weight_decay=0.0,
        bf16=_autocast(config) == "bf16",
        fp16=_autocast(config) == "fp16",
        use_cpu=device() == "cpu",
        seed=config.seed,
        logging_steps=1,
        eval_strategy="steps",
        eval_steps=every,
        save_strategy="steps",
        save_steps=every,
        save_total_limit=2,
        load_best_model_at_end=True,
        metric_for_best_model="eval_loss",
        include_num_input_tokens_seen="non_padding",
        remove_unused_columns=False,
        dataloader_pin_memory=False,
        report_to="none",
    )
    lengths = [len(row.input_ids) for row in train_rows + validation_rows]
    trainer = LabelTrainer(
        model=model,
        args=arguments,
        train_dataset=train_rows,
        eval_dataset=validation_rows,
        data_collator=Collator(lengths, pad_id=0),
        callbacks=[Reporter(run, log)],
    )
    trainer.remove_callback(PrinterCallback)
    trainer.remove_callback(ProgressCallback)
    return trainer


def _rehearse(trainer, validation_rows: list[Encoded]) -> None:
    """Two batches of the longest rows, before the first step: what will fail fails now, not in an hour."""
    longest = sorted(validation_rows, key=lambda row: len(row.input_ids))[-2 * trainer.args.eval_batch_size :]
    loader = trainer.get_eval_dataloader(longest)
    loss = trainer.evaluation_loop(loader, "rehearsal", prediction_loss_only=True).metrics["eval_loss"]
    if loss != loss:
        raise ConfigError("训练前试算的损失不是数（NaN）。请把「数值精度」改为 fp32 再试。")


def _save(trainer, run: Run, tokenizer) -> None:
    """The best weights with their model card, whole or not at all."""
    from course_utils.training.report import save_model_card

    partial = run.folder / "weights.partial"
    shutil.rmtree(partial, ignore_errors=True)
    if run.config.method == "lora":
        trainer.model.save_pretrained(partial, save_embedding_layers=False)
    else:
        import torch

        trainer.model.to(torch.bfloat16 if _autocast(run.config) else torch.float32).save_pretrained(partial)
        tokenizer.save_pretrained(partial)
    save_model_card(run, partial)
    shutil.rmtree(run.weights, ignore_errors=True)  # of a run that was killed right here
    partial.rename(run.weights)


@contextmanager
def _clear_errors(run: Run):
    """Turn what the learner can mend into one sentence."""
    try:
        yield
    except CourseError:
        raise
    except KeyboardInterrupt:
        print(f"\n训练停下了，已存的检查点还在。要继续：course train --resume {run.folder}")
        raise
    except Exception as error:  # safetensors has an error of its own for a full disk
        if getattr(error, "errno", None) == errno.ENOSPC or "No space left" in str(error):
            raise CourseError("磁盘满了，训练停下了；已存的检查点还在。请清理磁盘，再继续这次训练。") from error
        if "out of memory" in str(error).lower() or "can't allocate memory" in str(error).lower():
            raise CourseError("内存不够。请调小「批大小」或「最大长度」，再继续这次训练。") from error
        raise
