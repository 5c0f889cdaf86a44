"""What the engine is given to do, and how it tells what came of it."""

from collections.abc import Callable
from dataclasses import dataclass, field

from course_utils.data.records import Record
from course_utils.inference.choose import Choice
from course_utils.serving.store import Served

STOP, LENGTH, CANCELLED, ERROR = "stop", "length", "cancelled", "error"


@dataclass(eq=False)
class Writing:
    """An answer to write.

    ids: the prompt. temperature 0: the likeliest token each time. top_p: sample from the likeliest tokens that
    together have this probability. stop: the answer ends before any of these. seed: of the sampling.
    streamed: give text as it comes, else only at the end. told: is called on the engine's thread with each stretch of
    text, and with None when the answer is complete; then `text`, `said` (how many tokens) and `outcome` (or `error`) stand.
    """

    served: Served
    ids: list[int]
    max_tokens: int
    temperature: float = 0.0
    top_p: float = 1.0
    stop: tuple[str, ...] = ()
    seed: int | None = None
    streamed: bool = False
    told: Callable[[str | None], None] = lambda text: None
    tokens: list[int] = field(default_factory=list)
    said: int = 0
    text: str = ""
    outcome: str | None = None
    error: Exception | None = None
    cancelled: bool = False  # set by whoever no longer wants the answer; the row ends with the step at hand
    sampler: object = None

    def say(self, text: str, final: bool) -> None:
        """Take all that has been decoded so far; tell what is new of it and will not change any more."""
        text = text.lstrip()
        ends = [place for place in map(text.find, self.stop) if place >= 0]
        if ends:
            text, final, self.outcome = text[: min(ends)], True, STOP
        if final:
            text = text.rstrip()
        elif not self.streamed:
            return
        else:  # half a character, blanks that may turn out to be the last, the beginning of a stop text: not yet
            text = text.rstrip("\ufffd")
            text = text[: len(text) - max((_overlap(text, stop) for stop in self.stop), default=0)].rstrip()
        new, self.text = text[len(self.text) :], max(self.text, text, key=len)
        if new:
            self.told(new)

    def fail(self, error: Exception) -> None:
        self.outcome, self.error = ERROR, error
        self.told(None)


@dataclass(eq=False)
class Choosing:
    """A label to choose. labels: None for those of a classification head. told(None): `choice` or `error` stands."""

    served: Served
    record: Record
    labels: tuple[str, ...] | None
    told: Callable[[None], None] = lambda _: None
    choice: Choice | None = None
    outcome: str | None = None
    error: Exception | None = None
    cancelled: bool = False

    def fail(self, error: Exception) -> None:
        self.outcome, self.error = ERROR, error
        self.told(None)


def _overlap(text: str, stop: str) -> int:
    """How many of the text's last characters may be the beginning of `stop`."""
    return next((n for n in range(min(len(stop) - 1, len(text)), 0, -1) if text.endswith(stop[:n])), 0)
