"""A finished run as files for others: the adapter, a whole model for transformers, or one file for llama.cpp.

Each export is a folder that appears whole or not at all, with a model card that says how it was made and checked.
"""

import errno
import json
import re
import shutil
from collections.abc import Callable
from contextlib import contextmanager
from pathlib import Path

from course_utils.data.records import atomic_writer
from course_utils.errors import ConfigError, CourseError
from course_utils.models.catalogue import catalogue
from course_utils.models.weights import sha256
from course_utils.training.merge import Merged, last_logits, merge
from course_utils.training.report import save_model_card
from course_utils.training.run import Run


def export_adapter(run: Run, out: Path) -> Path:
    """Copy a run's adapter, in PEFT's own format, into the new folder `out`; returns it.

    Raises `ConfigError` when the run has none.
    """
    _check_trained(run)
    if run.config.method != "lora":
        raise ConfigError(f"{run.folder.name} 是全参微调，没有适配器。请用 export_merged 导出整个模型。")
    with _new_folder(out) as folder:
        shutil.copytree(run.weights, folder, dirs_exist_ok=True)
        digest = sha256(folder / "adapter_model.safetensors")
        if digest != sha256(run.weights / "adapter_model.safetensors"):
            raise CourseError("适配器复制出来和原来的不同，没有导出。请检查磁盘，再试一次。")
        base = _name_base(run, folder / "adapter_config.json")
        made = f"适配器原样复制，`adapter_model.safetensors` 的 SHA-256 是 `{digest}`；要和基座 {base} 一起用。"
        _write_card(run, folder, "peft", made)
    return out


def export_merged(run: Run, out: Path, log: Callable[[str], None] = print) -> Path:
    """Write a run's whole model (safetensors, bf16) and its tokenizer into the new folder `out`; returns it.

    The adapter is merged in fp32 and the sum rounded once. A full fine-tune is copied as it is. The folder can be the
    base model of another run. Raises `CourseError` when the merged model answers otherwise than the two apart.
    """
    _check_trained(run)
    with _new_folder(out) as folder:
        if run.config.method == "full":
            shutil.copytree(run.weights, folder, dirs_exist_ok=True)
            made = "全参微调的模型原样复制。"
        else:
            made = _save_merged(merge(run, log), folder, log)
        _write_card(run, folder, "transformers", made)
    return out


def _save_merged(merged: Merged, folder: Path, log: Callable[[str], None]) -> str:
    """Save in bf16, open what was saved, and say how far it is from fp32."""
    import torch

    from course_utils.models.load import load

    merged.model.to(torch.bfloat16).save_pretrained(folder)
    merged.tokenizer.save_pretrained(folder)
    saved, _ = load(str(folder), "bf16", log)
    rounded = merged.compare(last_logits(saved, merged.prompts))
    log(f"存成 bf16 之后与 fp32 相比：{rounded}")
    return f"{merged.report}\n\n存成 bf16，再从文件打开、用 bf16 计算，与 fp32 相比：{rounded}。"


def export_gguf(run: Run, out: Path, kind: str = "q8_0", log: Callable[[str], None] = print) -> Path:
    """Write a run's whole model as one GGUF file into the new folder `out`; returns the file.

    kind: "q8_0" (8 bits and a scale per 32 weights), "f16" or "bf16". For Gemma 3 with a language model's head only:
    metadata and vocabulary come from the file of the embedded model. Raises `ConfigError` for another model, and
    `CourseError` when the file, read back, is not the merged model.
    """
    from course_utils.models.gguf_out import load_gguf, original_gguf, write_gguf

    _check_trained(run)
    _check_gguf(run, kind, log)
    with _new_folder(out) as folder:
        merged = merge(run, log)
        file, original = folder / f"{run.folder.name}-{kind}.gguf", original_gguf(folder / "original.gguf")
        log(f"正在写 {file.name} ……")
        write_gguf(merged.model, merged.tokenizer.chat_template, original, file, kind, run.folder.name)
        original.unlink()
        load_gguf(file, merged.model, kind)
        rounded = merged.compare(last_logits(merged.model, merged.prompts))
        made = (
            f"{merged.report}\n\n写成 GGUF（{kind}，归一化层 fp32）；元数据和词表取自随课程安装的 Gemma 3 文件，并加上对话模板。"
            f"检查：读回每个张量，都在 {kind} 的舍入误差之内；用读回的权重计算，与 fp32 相比：{rounded}。"
        )
        _write_card(run, folder, "gguf", made)
        log(f"写成 {kind} 之后与 fp32 相比：{rounded}")
    return out / file.name


def _name_base(run: Run, adapter_config: Path) -> str:
    """Have an adapter ask for its base by the name that others know it by, not by a folder of this machine."""
    base = catalogue().get(run.config.base_model)
    if base is None:
        return run.config.base_model
    name = next((source.id for source in base.sources if source.kind == "hub"), base.name)
    settings = json.loads(adapter_config.read_text(encoding="utf-8")) | {"base_model_name_or_path": name}
    adapter_config.write_text(json.dumps(settings, ensure_ascii=False, indent=2), encoding="utf-8")
    return name


def _check_trained(run: Run) -> None:
    if not run.weights.exists():
        raise ConfigError(
            f"{run.folder.name} 还没有训练完，没有可以导出的权重。可以先继续：course train --resume {run.folder}"
        )


def _check_gguf(run: Run, kind: str, log: Callable[[str], None]) -> None:
    """Raise `ConfigError` for what can be known before anything is loaded."""
    from transformers import AutoConfig

    from course_utils.models.gguf_out import ROUNDING
    from course_utils.models.weights import prepare

    if kind not in ROUNDING:
        raise ConfigError(f"没有叫「{kind}」的 GGUF 类型。可以用：{'、'.join(ROUNDING)}。")
    if run.config.task == "classification":
        raise ConfigError("分类头放不进 Gemma 3 的 GGUF 文件，llama.cpp 只会接着写字。请用 export_merged 导出。")
    base = run.config.base_model
    if AutoConfig.from_pretrained(prepare(base, log)).model_type != "gemma3_text":
        raise ConfigError(
            f"只有 Gemma 3 的微调能导出 GGUF（元数据和词表取自随课程安装的 Gemma 3 文件），而这次的基座是 {base}。"
            "请用 export_merged 导出，再用 llama.cpp 的 convert_hf_to_gguf.py 转换。"
        )


def _write_card(run: Run, folder: Path, library: str, made: str) -> None:
    """The run's model card with its scores, the library that opens this export, and how it was made."""
    save_model_card(run, folder)
    card, facts = folder / "README.md", run.facts
    text = card.read_text(encoding="utf-8")
    text = re.sub(r"^library_name: .*$", f"library_name: {library}", text, count=1, flags=re.M)
    if "best_eval_accuracy" in facts:
        chosen = "验证准确率" if facts.get("chosen_by") == "eval_accuracy" else "验证损失"  # may be another checkpoint
        made = f"训练中验证集准确率最高 {facts['best_eval_accuracy']:.1%}；这份权重按{chosen}选出。\n\n{made}"
    with atomic_writer(card) as file:
        file.write(f"{text}\n## 导出\n{made}\n")


@contextmanager
def _new_folder(out: Path):
    """A temporary folder that becomes `out` when nothing went wrong, and vanishes otherwise."""
    if out.exists():
        raise ConfigError(f"{out} 已经在那里了，导出不会盖掉它。请换一个名字，或者先删掉它。")
    partial = out.with_name(out.name + ".partial")
    shutil.rmtree(partial, ignore_errors=True)  # of a killed call
    partial.mkdir(parents=True)
    try:
        yield partial
        partial.rename(out)
    except Exception as error:
        if getattr(error, "errno", None) == errno.ENOSPC or "No space left" in str(error):  # safetensors has its own
            raise CourseError(f"磁盘满了，没有导出到 {out}。请清理磁盘，或者换一个位置，再试一次。") from error
        raise
    finally:
        shutil.rmtree(partial, ignore_errors=True)
