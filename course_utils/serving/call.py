"""One request under way: from the engine's thread to the event loop, and into the usage log whatever becomes of it."""

import asyncio
import json
import time
import uuid
from collections.abc import AsyncIterator
from contextlib import ExitStack

from fastapi import Request
from fastapi.concurrency import run_in_threadpool
from fastapi.responses import StreamingResponse

from course_utils.errors import CourseError
from course_utils.serving.guard import error_body
from course_utils.serving.keys import log_usage
from course_utils.serving.limits import Limits, Refused
from course_utils.serving.store import Key, Usage, Version
from course_utils.serving.work import CANCELLED, Choosing, Writing


class Call:
    """A unit of work for the engine on behalf of a key. `end` must be awaited, and may be twice."""

    def __init__(self, key: Key, service: str, version: Version, work: Writing | Choosing, tokens: int):
        self.key, self.service, self.version, self.work, self.prompt_tokens = key, service, version, work, tokens
        self.id, self.created, self.start = uuid.uuid4().hex, int(time.time()), time.perf_counter()
        self.pieces: asyncio.Queue[str | None] = asyncio.Queue()
        self.stack, self.logged = ExitStack(), True  # what was refused is no usage
        self.question: str | None = None  # kept only when the server was asked to
        loop = asyncio.get_running_loop()
        work.told = lambda text: loop.call_soon_threadsafe(self.pieces.put_nowait, text)

    @property
    def model(self) -> str:
        return f"{self.service}@{self.version.number}"

    @property
    def text(self) -> str:
        if isinstance(self.work, Choosing):
            return self.work.choice.label if self.work.choice else ""
        return self.work.text

    @property
    def usage(self) -> dict[str, int]:
        said = self.work.said if isinstance(self.work, Writing) else 0
        return {
            "prompt_tokens": self.prompt_tokens,
            "completion_tokens": said,
            "total_tokens": self.prompt_tokens + said,
        }

    async def begin(self, engine, limits: Limits, request: Request) -> str | None:
        """Queue the work and wait for its first text, None if there is none. Raises `CourseError`."""
        self.stack.enter_context(limits.request(self.key))
        await run_in_threadpool(engine.submit, self.work)
        self.logged = False
        return await self._piece(request)

    async def finish(self, request: Request) -> None:
        """Wait for all of it."""
        while await self._piece(request) is not None:
            pass

    async def end(self) -> None:
        """Give the place free and commit the usage."""
        self.stack.close()
        self.work.cancelled = self.work.cancelled or self.work.outcome is None
        if self.logged:
            return
        self.logged = True
        usage = Usage(
            key_id=self.key.id, service=self.service, version=self.version.number,
            prompt_tokens=self.prompt_tokens, completion_tokens=self.usage["completion_tokens"],
            milliseconds=round((time.perf_counter() - self.start) * 1000), outcome=self.work.outcome or CANCELLED,
            question=self.question, answer=self.text if self.question is not None else None,
        )  # fmt: skip
        await run_in_threadpool(log_usage, usage)

    async def _piece(self, request: Request) -> str | None:
        """The next stretch of text. A client that goes away cancels the work."""
        watch = asyncio.create_task(self._watch(request))
        try:
            piece = await self.pieces.get()
        finally:
            watch.cancel()
        if piece is None and self.work.error:
            raise explained(self.work.error)
        return piece

    async def _watch(self, request: Request) -> None:
        while (await request.receive())["type"] != "http.disconnect":
            pass
        self.work.cancelled = True


class Events(StreamingResponse):
    """A call's text as server-sent events, in OpenAI's chunks."""

    def __init__(self, call: Call, first: str | None, with_usage: bool):
        self.call = call
        super().__init__(self._events(first, with_usage), media_type="text/event-stream")
        self.headers["Cache-Control"] = "no-cache"

    async def __call__(self, scope, receive, send) -> None:
        try:
            await super().__call__(scope, receive, send)
        finally:  # also when the client was gone before the first event
            await self.call.end()

    async def _events(self, piece: str | None, with_usage: bool) -> AsyncIterator[str]:
        call = self.call
        yield self._chunk({"role": "assistant", "content": ""})
        while piece is not None:
            yield self._chunk({"content": piece})
            piece = await call.pieces.get()
        if isinstance(call.work, Choosing):
            yield self._chunk({"content": call.text})
        await call.end()  # the usage is on the disk before the client is told that it has everything
        if call.work.error:
            error = explained(call.work.error)
            yield _event(error_body(str(error), "server_error", getattr(error, "code", "bad_request")))
            return
        yield self._chunk({}, call.work.outcome)
        if with_usage:
            yield _event(self._head() | {"choices": [], "usage": call.usage})
        yield "data: [DONE]\n\n"

    def _chunk(self, delta: dict, finish: str | None = None) -> str:
        return _event(self._head() | {"choices": [{"index": 0, "delta": delta, "finish_reason": finish}]})

    def _head(self) -> dict:
        call = self.call
        facts = {"object": "chat.completion.chunk", "created": call.created, "model": call.model}
        return {"id": f"chatcmpl-{call.id}", **facts}


def explained(error: Exception) -> CourseError:
    """What a caller is told: the course's own errors as they are, of others only that there was one."""
    if isinstance(error, CourseError):
        return error
    return Refused(500, "internal_error", "服务内部出错，这个请求没有答完。请告诉服务的主人看看日志。")


def _event(facts: dict) -> str:
    return f"data: {json.dumps(facts, ensure_ascii=False)}\n\n"
