"""Talking to whatever there is: services and their versions, runs, base models as they are, remote models; and votes.

The same question can go to several of them. Local ones answer in this process; no server needs to run.
"""

import queue
import random
from collections import Counter
from collections.abc import Iterator, Sequence
from functools import cache
from threading import Lock

from sqlmodel import col, select

from course_utils.errors import ConfigError, CourseError
from course_utils.models import remote
from course_utils.models.catalogue import catalogue
from course_utils.serving import services
from course_utils.serving.prompts import to_record
from course_utils.serving.store import Served, Vote, reading, writing
from course_utils.serving.work import Choosing, Writing
from course_utils.training.history import find_run, runs

BASE, RUN, REMOTE = "基座:", "训练:", "远程:"
_FIRST = Lock()


def speakers() -> list[str]:
    """Names for `speak`: 商品分类@1 for every version of a service, 基座:gemma-3-270m, 远程:deepseek, 训练:名字 for every
    run that has weights.
    """
    versions = [f"{found.name}@{version.number}" for found in services.services() for version in found.versions]
    known = dict.fromkeys(version.base_model for found in services.services() for version in found.versions)
    bases = dict.fromkeys([*known, next(iter(catalogue()))])
    others = [BASE + name for name in bases] + [REMOTE + found.name for found in remote.remotes()]
    return versions + others + [RUN + run.folder.name for run in runs() if run.weights.exists()]


def speak(
    speaker: str,
    messages: str | Sequence[dict[str, str]],
    max_tokens: int = 256,
    temperature: float = 0.0,
    top_p: float = 1.0,
    seed: int | None = None,
) -> Iterator[str]:
    """The answer of one of `speakers` (or a service's name, for its current version) as it comes.

    messages: as in OpenAI's protocol; or the one question that is asked.
    Leaving the iterator early stops the model. Raises `CourseError`.
    """
    if isinstance(messages, str):
        messages = [{"role": "user", "content": messages}]
    if speaker.startswith(REMOTE):
        options = {"max_tokens": max_tokens, "temperature": temperature, "top_p": top_p}
        yield from remote.chat(remote.find(speaker.removeprefix(REMOTE)), messages, **options)
        return
    served, instruction, system = _asked_for(speaker)
    record, engine = to_record(messages, instruction, system), _engine()
    if served.head:
        work = Choosing(served, record, None)
    else:
        ids, room = engine.readers.read(record, served)
        if room < 1:
            raise ConfigError(f"对话太长：有 {len(ids)} 个 token，模型看不完。请清空历史，或者缩短问题。")
        work = Writing(served, ids, min(max_tokens, room), temperature, top_p, seed=seed, streamed=True)
    pieces: queue.Queue[str | None] = queue.Queue()
    work.told = pieces.put
    engine.submit(work)
    try:
        while (piece := pieces.get()) is not None:
            yield piece
    finally:
        work.cancelled = True
    if work.error:
        raise work.error if isinstance(work.error, CourseError) else CourseError(f"没有答成：{work.error}")
    if isinstance(work, Choosing):
        yield work.choice.label


def ask(speaker: str, question: str, **options) -> str:
    """The whole answer of one of `speakers` to one question; options: as for `speak`. Raises `CourseError`."""
    return "".join(speak(speaker, [{"role": "user", "content": question}], **options))


def lineup(speakers: Sequence[str], blind: bool) -> list[str]:
    """The order in which answers stand side by side: drawn by lot when nobody is to know whose they are."""
    return random.sample(list(speakers), len(speakers)) if blind else list(speakers)


def vote(question: str, answers: dict[str, str], winner: str | None, blind: bool = False) -> None:
    """Keep which answer was liked best. answers: speaker -> text. winner: a speaker; None: none is better."""
    if winner is not None and winner not in answers:
        raise ConfigError(f"「{winner}」没有回答这个问题。请从这几个里选：{'、'.join(answers)}。")
    models = list(answers)
    number = models.index(winner) if winner is not None else None
    with writing() as session:
        session.add(Vote(question=question, models=models, answers=list(answers.values()), winner=number, blind=blind))


def votes() -> list[Vote]:
    """All votes, the newest first."""
    with reading() as session:
        return list(session.exec(select(Vote).order_by(col(Vote.id).desc())).all())


def standings() -> list[dict]:
    """A line per model that was voted on, the most compared first: 模型, 比过 (votes), 更好 (votes that it won)."""
    kept = votes()
    asked = Counter(name for vote in kept for name in vote.models)
    won = Counter(vote.models[vote.winner] for vote in kept if vote.winner is not None)
    return [{"模型": name, "比过": count, "更好": won[name]} for name, count in asked.most_common()]


def _asked_for(speaker: str) -> tuple[Served, str, str]:
    """What answers, and the instruction and the system prompt that all its training rows shared."""
    if speaker.startswith(BASE):
        return Served(speaker.removeprefix(BASE)), "", ""
    if speaker.startswith(RUN):
        run = find_run(speaker.removeprefix(RUN))
        facts = run.facts
        return Served.of(run.weights, run.config, facts.get("labels")), facts["instruction"], facts["system"]
    _, version = services.asked_for(speaker)
    return version.served, version.instruction, version.system


def _engine():
    """The one engine of this process. Several threads may ask at once, and the first imports torch for all of them."""
    with _FIRST:
        return _only_engine()


@cache
def _only_engine():
    from course_utils.serving.engine import Engine

    return Engine()
