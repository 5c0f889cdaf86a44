"""The models of a batch, by name: a run, a base model, or one behind an OpenAI-compatible endpoint; and their answers.

A base is loaded once for all LoRA runs on it: each adapter is merged into its weights, which predicts as fast as the
base alone, and afterwards the weights are put back to the last bit (subtracting the adapter again would round).
"""

import gc
import os
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from course_utils import paths
from course_utils.data.records import Record
from course_utils.errors import ConfigError
from course_utils.training.run import Run

REMOTE = "remote:"
AT_ONCE = 4  # requests to an endpoint at the same time
Progress = Callable[[int], None]
Answer = Callable[[Sequence[Record], Progress], list[dict]]  # -> a `{"prediction": ...}` for each record
Stream = Callable[[Sequence[Record], Progress], Iterator[list[dict]]]  # the same, in pieces as they finish
CHUNK, FREE_CHUNK = (
    64,
    16,
)  # rows of a piece, with labels and without: what a kill costs; those of one length go together
RETRIES = 4  # of a request to an endpoint


@dataclass(frozen=True)
class Source:
    """Where answers come from. name: as the learner wrote it. Exactly one of run, base and remote is set."""

    name: str
    run: Run | None = None
    base: str | None = None
    remote: str | None = None

    @property
    def shared(self) -> tuple | None:
        """Sources of the same key answer on the same loaded base; None: it loads a model of its own."""
        if self.run and self.run.config.method == "lora" and self.run.config.task == "generation":
            return self.run.config.base_model, self.run.config.precision
        return (self.base, "auto") if self.base else None


@dataclass(frozen=True)
class Task:
    """How the rows are to be answered. labels: choose among them; empty: answer freely, at most max_new_tokens."""

    labels: list[str] = field(default_factory=list)
    max_new_tokens: int = 256


def find_source(name: str) -> Source:
    """The model that `name` means: a run of this workspace or its folder, a base model of the catalogue or its folder,
    or `remote:NAME` for model NAME of the endpoint in `$COURSE_LLM_BASE_URL` (`remote:` alone: `$COURSE_LLM_MODEL`).

    A remote model has to be named as one: data must not leave the machine because of a misspelt run.
    Raises `ConfigError`.
    """
    from course_utils.models.catalogue import catalogue

    if name.startswith(REMOTE):
        return Source(name, remote=_remote_name(name.removeprefix(REMOTE)))
    for folder in (paths.runs() / name, Path(name)):
        if (folder / "config.yaml").exists():
            return Source(name, run=Run(folder))
    if name in catalogue() or (Path(name) / "config.json").exists():
        return Source(name, base=str(Path(name).resolve()) if Path(name).exists() else name)
    raise ConfigError(
        f"没有叫「{name}」的模型。可以给：训练的名字或文件夹、基座模型的名字或文件夹，或者 remote:模型名（要先设好 "
        f"COURSE_LLM_BASE_URL 和 COURSE_LLM_API_KEY）。训练有：{_run_names()}。"
    )


def each_model(sources: Sequence[Source], task: Task) -> Iterator[tuple[Source, Answer]]:
    """Each source with what answers by it, usable until the next one comes. A base is loaded once: those that share
    it come after one another, so the order may change.
    """
    from course_utils.models.load import load

    key = pair = None
    for source in sorted(sources, key=lambda source: str(source.shared)):
        if source.remote:
            yield source, _remote_answer(source.remote, task)
            continue
        if source.shared is None or source.shared != key:
            pair = None
            gc.collect()  # before the next model comes: two do not always fit
            pair = source.run.load() if source.shared is None else load(*source.shared)
            key = source.shared
        if source.run and source.shared:
            with merged(pair[0], source.run.weights):
                yield source, _local_answer(*pair, source.run, task)
        else:
            yield source, _local_answer(*pair, source.run, task)


def in_chunks(answer: Answer, size: int, records: Sequence[Record], progress: Progress) -> Iterator[list[dict]]:
    """The answers in pieces of `size` rows, in order."""
    for start in range(0, len(records), size):
        yield answer(records[start : start + size], lambda done, start=start: progress(start + done))


@contextmanager
def merged(model, adapter: Path):
    """The base model with an adapter merged into its weights while the `with` lasts."""
    from peft import PeftModel
    from peft.tuners.tuners_utils import BaseTunerLayer

    if not adapter.exists():
        raise ConfigError(f"{adapter.parent.name} 还没有训练完，没有可用的权重。")
    wrapped = PeftModel.from_pretrained(model, adapter, autocast_adapter_dtype=False).eval()
    touched = [layer.get_base_layer().weight for layer in wrapped.modules() if isinstance(layer, BaseTunerLayer)]
    before = [weight.detach().clone() for weight in touched]
    wrapped.merge_and_unload()
    try:
        yield model
    finally:
        for weight, old in zip(touched, before, strict=True):
            weight.data.copy_(old)


def _local_answer(model, tokenizer, run: Run | None, task: Task) -> Answer:
    from course_utils.inference.choose import choose
    from course_utils.inference.classify import classify, has_classes
    from course_utils.inference.generate import generate

    length = run.config.max_length if run else None

    def answer(records: Sequence[Record], progress: Progress) -> list[dict]:
        if has_classes(model):
            chosen = classify(model, tokenizer, records, length, progress=progress)
        elif task.labels:
            chosen = choose(model, tokenizer, records, task.labels, length, progress=progress)
        else:
            tokens = min(task.max_new_tokens, length // 2) if length else task.max_new_tokens
            texts = generate(model, tokenizer, records, tokens, max_length=length, progress=progress)
            return [{"prediction": text} for text in texts]
        return [{"prediction": choice.label, "scores": choice.scores} for choice in chosen]

    return answer


def _remote_answer(name: str, task: Task) -> Answer:
    """Answers over the network. What the endpoint refuses to answer is None with the reason in `error`; when it cannot
    be reached at all, the batch stops and can go on later.
    """
    import openai

    from course_utils import llm

    client = llm.client().with_options(max_retries=RETRIES)
    hint = (
        [{"role": "system", "content": f"只回答其中一个，不要别的字：{'、'.join(task.labels)}"}] if task.labels else []
    )

    def one(record: Record) -> dict:
        try:
            reply = client.chat.completions.create(
                model=name, messages=hint + record.messages()[:-1], max_tokens=task.max_new_tokens, temperature=0
            )
            return {"prediction": (reply.choices[0].message.content or "").strip()}
        except openai.BadRequestError as error:
            return {"prediction": None, "error": str(error)[:200]}
        except openai.OpenAIError as error:
            raise ConfigError(
                f"远程模型 {name} 没有回应（{type(error).__name__}：{str(error)[:100]}）。已经完成的行都在；"
                "请检查网络、地址和密钥，再运行同一条命令，会接着做。"
            ) from None

    def answer(records: Sequence[Record], progress: Progress) -> list[dict]:
        answers = []
        with ThreadPoolExecutor(AT_ONCE) as pool:
            for done, found in enumerate(pool.map(one, records), 1):
                answers.append(found)
                progress(done)
        return answers

    return answer


def _remote_name(name: str) -> str:
    from course_utils import llm

    name = name or os.environ.get("COURSE_LLM_MODEL", "")
    if not llm.configured() or not name:
        raise ConfigError(
            "还没有设好远程模型。请设环境变量 COURSE_LLM_BASE_URL、COURSE_LLM_API_KEY 和 COURSE_LLM_MODEL。"
        )
    return name


def _run_names() -> str:
    names = [path.parent.name for path in sorted(paths.runs().glob("*/config.yaml"))]
    return "、".join(names[:10]) or "（还没有）"
