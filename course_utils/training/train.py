"""`train(config, data) -> Run`: the whole fine-tune, read from top to bottom."""

import errno
import os
import random
import shutil
from collections.abc import Callable
from contextlib import contextmanager

from tqdm.auto import tqdm

from course_utils.allocator import kept_heap
from course_utils.data.records import Record
from course_utils.errors import ConfigError, CourseError, DataError
from course_utils.measure import PeakMemory
from course_utils.models.encode import Encoded, encode, encode_labelled
from course_utils.training.build import autocast, body, first_layer, in_precision, open_base, prepare_model
from course_utils.training.config import TrainingConfig
from course_utils.training.exam import Exam, task_labels
from course_utils.training.report import Reporter, forget_after, save_model_card
from course_utils.training.run import Run, check_parts
from course_utils.training.turbo import Lower


def train(
    config: TrainingConfig, data: dict[str, list[Record]], name: str = "run", log: Callable[[str], None] = print
) -> Run:
    """Fine-tune a base model on `data["train"]`, choosing the best checkpoint on `data["validation"]`.

    `data["test"]`, when it is there, is kept beside them and never looked at.
    Leaves a folder `workspace/runs/<name>` (see `Run`). Raises `CourseError` with one clear sentence; before the
    first step for whatever can be known by then.
    """
    check_parts(data)
    from course_utils.models.weights import prepare
    from course_utils.training.estimate import check_fits

    check_fits(config)
    prepare(config.base_model, log)  # a model that is not there leaves no run behind
    return fit(Run.create(config, data, name), log)


def resume(run: Run, log: Callable[[str], None] = print) -> Run:
    """Go on from the newest checkpoint of a run that was stopped or killed; the end is the same as without a stop."""
    if run.finished:
        log(f"{run.folder.name} 已经训练完了，不需要继续。")
        return run
    run.stop_file.unlink(missing_ok=True)
    return fit(run, log)


def fit(run: Run, log: Callable[[str], None] = print) -> Run:
    """Train in a run's folder, from its newest checkpoint when there is one, until the end or until it is stopped."""
    with PeakMemory() as peak, _clear_errors(run):
        trainer, tokenizer = build(run, log)
        checkpoint = run.checkpoint
        forget_after(run, int(checkpoint.name.split("-")[1]) if checkpoint else -1)
        rehearse(trainer)
        if checkpoint is None:
            trainer.exam(trainer.model, 0, score=False)  # what it answers before it has learnt anything
        with kept_heap():
            trainer.train(resume_from_checkpoint=str(checkpoint) if checkpoint else None)
        lines, key = run.metrics, trainer.args.metric_for_best_model
        best = min((line["eval_loss"] for line in lines if "eval_loss" in line), default=None)
        scores = [line["eval_accuracy"] for line in lines if "eval_accuracy" in line]
        if trainer.is_world_process_zero():
            run.note(steps=trainer.state.global_step, best_eval_loss=best, peak_mb=peak.mb, chosen_by=key)
            run.note(**({"best_eval_accuracy": max(scores)} if scores else {}))
            _save(trainer, run, tokenizer)
            if run.stop_file.exists():
                run.note(stopped=trainer.state.global_step)
                log(
                    f"已在第 {trainer.state.global_step} 步停下，权重和检查点都在。继续：course train --resume {run.folder}"
                )
            else:
                run.note(finished=True, stopped=None, seconds=round(lines[-1]["seconds"], 1) if lines else 0)
    return run


def build(run: Run, log: Callable[[str], None] = print):
    """`(trainer, tokenizer)` of a run, ready to train: everything but the training itself."""
    from transformers import set_seed

    config, rows = run.config, run.records("train")
    labels = task_labels(rows)
    if config.task == "classification" and labels is None:
        raise DataError(
            "「任务类型」是文本分类，而训练集的答案不像标签：种类太多，或者太长。请改用文本生成，或检查答案列。"
        )
    if config.best_by == "metric" and labels is None:
        raise ConfigError("「按什么选最好」是任务指标，而这份数据的答案不是标签，没有准确率。请改为 loss。")
    if labels and not run.facts.get("labels"):
        run.note(labels=labels)
    model, tokenizer = open_base(config, labels, log)
    validation = run.records("validation")
    if len(validation) > config.validation_rows:
        validation = random.Random(config.seed).sample(validation, config.validation_rows)
    train_rows = encode_all(rows, tokenizer, config, labels, log)
    validation_rows = encode_all(validation, tokenizer, config, labels, log)
    set_seed(config.seed)  # before the adapters are drawn
    model = prepare_model(model, config)
    lower = _remember_lower(model, config, train_rows + validation_rows, tokenizer, log) if config.turbo else None
    exam = Exam(run, tokenizer, validation, labels)
    return _trainer(model, run, train_rows, validation_rows, exam, lower, tokenizer, log), tokenizer


def _remember_lower(model, config: TrainingConfig, rows: list[Encoded], tokenizer, log) -> Lower | None:
    """Compute what the layers below the trained ones make of every row, once."""
    first = first_layer(model, config)
    if first == 0:
        return None
    lower = Lower(body(model), first)
    size = sum(len(row.input_ids) for row in rows) * model.config.hidden_size * 2 >> 20
    log(f"极速模式：下面 {first} 层只算一次，结果占约 {size} MB 内存。")
    with tqdm(total=len(rows), desc="下层", unit="条", dynamic_ncols=True) as bar, in_precision(model, config):
        lower.fill(rows, tokenizer.pad_token_id or 0, lambda done: bar.update(done - bar.n))
    return lower


def encode_all(
    records: list[Record], tokenizer, config: TrainingConfig, labels: list[str] | None = None, log=print
) -> list[Encoded]:
    """Encode records, naming the row that cannot be and counting those that had to be cut."""
    rows = []
    for number, record in enumerate(records, 1):
        try:
            if config.task == "classification":
                rows.append(encode_labelled(record, tokenizer, labels, config.max_length))
            else:
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


def _trainer(
    model, run: Run, train_rows: list[Encoded], validation_rows: list[Encoded], exam: Exam, lower, tokenizer, log
):
    from transformers import EarlyStoppingCallback, PrinterCallback, ProgressCallback, TrainingArguments

    from course_utils.models.load import device
    from course_utils.training.trainer import Collator, LabelTrainer

    config, processes = run.config, int(os.environ.get("WORLD_SIZE", 1))
    if config.batch_size % processes:
        raise ConfigError(
            f"「批大小」是 {config.batch_size}，不能平分给 {processes} 个进程。请改成 {processes} 的倍数。"
        )
    steps = max(1, round(config.epochs * -(-len(train_rows) // config.batch_size)))
    every = -(-steps // config.evaluations)  # rounded up; the Trainer evaluates and saves after the last step anyway
    arguments = TrainingArguments(
        output_dir=str(run.folder / "checkpoints"),
        max_steps=steps,
        per_device_train_batch_size=config.batch_size // processes,
        per_device_eval_batch_size=config.batch_size,
        learning_rate=config.learning_rate,
        lr_scheduler_type="cosine",
        warmup_steps=round(config.warmup * steps),
        weight_decay=0.0,
        bf16=autocast(config) == "bf16",
        fp16=autocast(config) == "fp16",
        use_cpu=device() == "cpu",
        seed=config.seed,
        logging_steps=1,
        eval_strategy="steps",
        eval_steps=every,
        save_strategy="steps",
        save_steps=every,
        save_total_limit=2,
        load_best_model_at_end=True,
        metric_for_best_model="eval_loss" if config.best_by == "loss" else "eval_accuracy",
        greater_is_better=config.best_by == "metric",
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
        data_collator=Collator(lengths, pad_id=tokenizer.pad_token_id or 0),
        callbacks=[Reporter(run, log), *([EarlyStoppingCallback(config.patience)] if config.patience else [])],
        exam=exam,
        lower=lower,
    )
    trainer.remove_callback(PrinterCallback)
    trainer.remove_callback(ProgressCallback)
    return trainer


def rehearse(trainer) -> None:
    """Two batches of the longest rows, before the first step: what will fail fails now, not in an hour."""
    longest = sorted(trainer.eval_dataset, key=lambda row: len(row.input_ids))[-2 * trainer.args.eval_batch_size :]
    loader = trainer.get_eval_dataloader(longest)
    loss = trainer.evaluation_loop(loader, "rehearsal", prediction_loss_only=True).metrics["eval_loss"]
    if loss != loss:
        raise ConfigError("训练前试算的损失不是数（NaN）。请把「数值精度」改为 fp32 再试。")


def _save(trainer, run: Run, tokenizer) -> None:
    """The best weights with their model card, whole or not at all."""
    partial = run.folder / "weights.partial"
    shutil.rmtree(partial, ignore_errors=True)
    if run.config.method == "lora":
        trainer.model.save_pretrained(partial, save_embedding_layers=False)
    else:
        import torch

        trainer.model.to(torch.bfloat16 if autocast(run.config) else torch.float32).save_pretrained(partial)
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
