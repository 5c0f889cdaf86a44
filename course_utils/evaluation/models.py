"""The models of a batch, by name: a run, a base model, or one behind an OpenAI-compatible endpoint; and their answers.

A base is loaded once for all LoRA runs on it: each adapter is merged into its weights, which predicts as fast as the
base alone, and afterwards the weights are put back to the last bit (subtracting the adapter again would round).
"""

import gc
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from course_utils import paths
from course_utils.data.records import Record
from course_utils.errors import ConfigError, CourseError
from course_utils.models import remote
from course_utils.models.remote import Remote
from course_utils.training.run import Run

REMOTE = ("远程:", "remote:")
AT_ONCE = 4  # requests to an endpoint at the same time
Progress = Callable[[int], None]
Answer = Callable[[Sequence[Record], Progress], list[dict]]  # -> a `{"prediction": ...}` for each record
Stream = Callable[[Sequence[Record], Progress], Iterator[list[dict]]]  # the same, in pieces as they finish
CHUNK, FREE_CHUNK = 64, 16  # rows of a piece, with labels and without: what a kill costs
RETRIES = 4  # of a request to an endpoint


@dataclass(frozen=True)
class Source:
    """Where answers come from. name: as the learner wrote it. Exactly one of run, base and remote is set."""

    name: str
    run: Run | None = None
    base: str | None = None
    remote: Remote | None = None

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
    or a registered remote model (`deepseek` or `远程:deepseek`, see `models.remote`).

    `remote:NAME` also means model NAME of the endpoint in `$COURSE_LLM_BASE_URL` (`remote:` alone: `$COURSE_LLM_MODEL`).
    A model of which nobody has said that it is remote has to be named as one: data must not leave the machine because
    of a misspelt run. Raises `ConfigError`.
    """
    from course_utils.models.catalogue import catalogue

    for prefix in REMOTE:
        if name.startswith(prefix):
            return Source(name, remote=_remote(name.removeprefix(prefix)))
    for folder in (paths.runs() / name, Path(name)):
        if (folder / "config.yaml").exists():
            return Source(name, run=Run(folder))
    if name in catalogue() or (Path(name) / "config.json").exists():
        return Source(name, base=str(Path(name).resolve()) if Path(name).exists() else name)
    registered = [found.name for found in remote.remotes()]
    if name in registered:
        return Source(name, remote=remote.find(name))
    raise ConfigError(
        f"没有叫「{name}」的模型。可以给：训练的名字或文件夹、基座模型的名字或文件夹、登记过的远程模型，或者 "
        f"remote:模型名（要先设好 COURSE_LLM_BASE_URL 和 COURSE_LLM_API_KEY）。训练有：{_run_names()}；"
        f"远程模型有：{'、'.join(registered) or '（还没有）'}。"
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
        raise ConfigError(
            f"{adapter.parent.name} 还没有训练完，没有可用的权重。可以先继续：course train --resume {adapter.parent}"
        )
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
    from course_utils.inference.predict import predictions

    length = run.config.max_length if run else None
    return lambda records, progress: predictions(
        model, tokenizer, records, task.labels, length, task.max_new_tokens, progress
    )


def _remote_answer(found: Remote, task: Task) -> Answer:
    """Answers over the network. What the endpoint refuses to answer is None with the reason in `error`; when it cannot
    be reached at all, the batch stops and can go on later.
    """
    import openai

    client = remote.client(found, RETRIES)

    def one(record: Record) -> dict:
        try:
            with remote.explained(found):
                messages = _asked_remotely(record, task.labels)
                try:
                    reply = client.chat.completions.create(
                        model=found.model, messages=messages, max_tokens=task.max_new_tokens, temperature=0
                    )
                except openai.BadRequestError as error:
                    return {"prediction": None, "error": str(error)[:200]}
            return {"prediction": (reply.choices[0].message.content or "").strip()}
        except CourseError as error:
            raise CourseError(f"{error}批量预测里已经完成的行都在；再运行同一条命令，会接着做。") from None

    def answer(records: Sequence[Record], progress: Progress) -> list[dict]:
        answers = []
        with ThreadPoolExecutor(AT_ONCE) as pool:
            try:
                for done, found in enumerate(pool.map(one, records), 1):
                    answers.append(found)
                    progress(done)
            except BaseException:  # a stop too: what has not been asked is not asked any more
                pool.shutdown(cancel_futures=True)
                raise
        return answers

    return answer


def _asked_remotely(record: Record, labels: Sequence[str]) -> list[dict[str, str]]:
    """The conversation up to the question. A remote model gives no likelihoods: it is told the labels instead."""
    messages = record.messages()[:-1]
    if not labels:
        return messages
    hint = f"只回答其中一个，不要别的字：{'、'.join(labels)}"
    if record.system:
        return [{"role": "system", "content": f"{record.system}\n{hint}"}, *messages[1:]]
    return [{"role": "system", "content": hint}, *messages]


def _remote(name: str) -> Remote:
    """A registered model, or a model of the endpoint in the environment. Raises `ConfigError`."""
    return next((found for found in remote.remotes() if found.name == name), None) or remote.of_environment(name)


def _run_names() -> str:
    names = [path.parent.name for path in sorted(paths.runs().glob("*/config.yaml"))]
    return "、".join(names[:10]) or "（还没有）"
