"""A run's whole model in fp32, its adapter merged into the base, and the proof that it still answers the same."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from course_utils.errors import CourseError
from course_utils.training.run import Run

CHECKED = 4  # validation prompts that the models are compared on
TOLERANCE = 1e-3  # of a logit in fp32, between a base beside its adapter and the two merged; 3e-5 is usual


@dataclass
class Merged:
    """A run's whole model in fp32, and what its copies are compared with.

    prompts: token ids of a few validation rows. logits: fp32 (prompts, vocabulary or labels). report: for the card.
    """

    model: Any
    tokenizer: Any
    prompts: list[list[int]]
    logits: Any
    report: str = "全参微调的模型以 fp32 打开。"

    def compare(self, logits) -> str:
        """How far other logits of the prompts are from these, in words."""
        same = int((logits.argmax(1) == self.logits.argmax(1)).sum())
        far = float((logits - self.logits).abs().max())
        return f"{len(logits)} 个验证提示的 logits 最大相差 {far:.2g}，首选相同的有 {same} 个"


def merge(run: Run, log: Callable[[str], None] = print) -> Merged:
    """A run's model in fp32 with its adapter merged in, checked against the two apart. Raises `CourseError`."""
    from course_utils.models.encode import encode_prompt

    model, tokenizer = _open_fp32(run, log)
    rows = run.records("validation")[:CHECKED]
    prompts = [encode_prompt(record, tokenizer, run.config.max_length) for record in rows]
    apart = last_logits(model, prompts)
    if run.config.method == "full":
        return Merged(model, tokenizer, prompts, apart)
    log("正在把适配器并入基座 ……")
    model = model.merge_and_unload()
    logits = last_logits(model, prompts)
    far = float((logits - apart).abs().max())
    if not far <= TOLERANCE:  # also when it is NaN
        raise CourseError(
            f"合并后的模型和合并前不一样：logits 最大相差 {far:.2g}，容许 {TOLERANCE}，没有导出。"
            "请检查 adapter/ 里的文件是否完整，或者用 export_adapter 导出适配器。"
        )
    log(f"合并前后 logits 最大相差 {far:.2g}（容许 {TOLERANCE}）")
    checked = f"检查：{len(prompts)} 个验证提示在合并前后，最后位置的 logits 最大相差 {far:.2g}（容许 {TOLERANCE}）。"
    return Merged(model, tokenizer, prompts, logits, f"适配器在 fp32 里并入基座。{checked}")


def last_logits(model, prompts: Sequence[Sequence[int]]):
    """The logits after each prompt's last token, fp32 (prompts, vocabulary); of a classification head, one per label."""
    import torch

    from course_utils.inference.classify import has_classes

    last = {} if has_classes(model) else {"logits_to_keep": 1}
    with torch.inference_mode():  # one by one: padding would be one more thing that differs
        rows = [
            model(input_ids=torch.tensor([ids]).to(model.device), use_cache=False, **last).logits for ids in prompts
        ]
    return torch.stack([row.flatten().float().cpu() for row in rows])


def _open_fp32(run: Run, log: Callable[[str], None]):
    """`(model, tokenizer)` as `Run.load(merge=False)` opens them, in fp32 whatever the run was trained in."""
    from peft import PeftModel

    from course_utils.models.load import load, load_classifier

    config = run.config
    if config.method == "full":
        return load(str(run.weights), "fp32", log)
    if config.task == "classification":
        model, tokenizer = load_classifier(config.base_model, run.facts["labels"], "fp32", log)
    else:
        model, tokenizer = load(config.base_model, "fp32", log)
    return PeftModel.from_pretrained(model, run.weights).eval(), tokenizer
