"""What a key may ask for, and how a refusal reads: an HTTP status, a code for programs, a Chinese sentence for people."""

import time
from collections import defaultdict, deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from course_utils.errors import CourseError
from course_utils.serving.store import Key

MINUTE = 60.0


class Refused(CourseError):
    """A request that is not answered. retry_after: seconds until it is worth another try, where waiting helps."""

    def __init__(self, status: int, code: str, message: str, retry_after: float | None = None):
        super().__init__(message)
        self.status, self.code, self.retry_after = status, code, retry_after


class Limits:
    """Counts what each key is doing. Lives on the server's event loop: one thread, no lock."""

    def __init__(self, clock: Callable[[], float] = time.monotonic):
        self.clock = clock
        self.recent: dict[int, deque[float]] = defaultdict(deque)  # key -> when its last minute's requests came
        self.under_way: dict[int, int] = defaultdict(int)

    @contextmanager
    def request(self, key: Key) -> Iterator[None]:
        """Count a request for as long as it lasts. Raises `Refused` (429) when the key has used up its share."""
        self._count(key)
        if self.under_way[key.id] >= key.at_once:
            raise Refused(
                429,
                "too_many_requests",
                f"这个密钥同时有 {key.at_once} 个请求在进行或排队，已到上限。请等一个答完再发。",
                retry_after=1,
            )
        self.under_way[key.id] += 1
        try:
            yield
        finally:
            self.under_way[key.id] -= 1

    def _count(self, key: Key) -> None:
        recent, now = self.recent[key.id], self.clock()
        while recent and recent[0] <= now - MINUTE:
            recent.popleft()
        if len(recent) >= key.per_minute:
            wait = recent[0] + MINUTE - now
            raise Refused(
                429,
                "rate_limit_exceeded",
                f"请求太快：这个密钥每分钟最多 {key.per_minute} 次。请在 {wait:.0f} 秒后再试，或者放慢发送。",
                retry_after=wait,
            )
        recent.append(now)


def check_prompt(tokens: int, key: Key) -> None:
    """Raises `Refused` (413) when a prompt is longer than the key allows."""
    if tokens > key.prompt_limit:
        raise Refused(
            413,
            "context_length_exceeded",
            f"提示太长：有 {tokens} 个 token，这个密钥最多 {key.prompt_limit} 个。请缩短问题或历史。",
        )


def answer_tokens(asked: int | None, key: Key, room: int) -> int:
    """How many tokens an answer may have. room: what the model can still see after the prompt.

    Raises `Refused` (400) when more are asked for than the key allows or the model can see.
    """
    if asked is not None and asked > key.answer_limit:
        raise Refused(
            400,
            "max_tokens_exceeded",
            f"max_tokens 是 {asked}，这个密钥最多 {key.answer_limit}。请调小 max_tokens。",
        )
    if room < (asked or 1):
        raise Refused(
            400,
            "context_length_exceeded",
            f"提示之后模型只能再看 {max(0, room)} 个 token，放不下答案。请缩短提示，或者调小 max_tokens。",
        )
    return asked or min(key.answer_limit, room)
