"""What stands before the application: bodies that are too long, clients that hang or do not read."""

import asyncio
import math

from fastapi.responses import JSONResponse
from uvicorn.protocols.http.h11_impl import H11Protocol

from course_utils.serving.limits import Refused

BODY_LIMIT = 1_000_000  # bytes
DISCARDED = 64_000_000  # bytes of a body too long that are read and dropped, so that its sender reads the refusal
PATIENCE = 20.0  # seconds for a request's head, for its body, and for a client to take what is sent
KINDS = {401: "authentication_error", 403: "permission_error", 404: "not_found_error", 429: "rate_limit_error"}


def failure(refused: Refused) -> JSONResponse:
    """An error as OpenAI's API writes it."""
    kind = KINDS.get(refused.status, "server_error" if refused.status >= 500 else "invalid_request_error")
    headers = {}
    if refused.retry_after is not None:
        headers["Retry-After"] = str(math.ceil(refused.retry_after))
    if refused.status == 401:
        headers["WWW-Authenticate"] = "Bearer"
    return JSONResponse(error_body(str(refused), kind, refused.code), refused.status, headers)


def error_body(message: str, kind: str, code: str) -> dict:
    return {"error": {"message": message, "type": kind, "param": None, "code": code}}


class Guard:
    """ASGI middleware: reads a request's body within limits of size and time before the application sees it."""

    def __init__(self, app, body_limit: int = BODY_LIMIT, patience: float = PATIENCE):
        self.app, self.body_limit, self.patience = app, body_limit, patience

    async def __call__(self, scope, receive, send):
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return

        async def send_patiently(message):
            async with asyncio.timeout(self.patience):
                await send(message)

        try:
            async with asyncio.timeout(self.patience):
                body = await self._read(receive)
        except TimeoutError:
            slow = Refused(408, "timeout", f"请求在 {self.patience:.0f} 秒里没有发完。请检查网络，重新发送。")
            await self._turn_away(slow, scope, receive, send_patiently)
        except Refused as refused:
            await self._turn_away(refused, scope, receive, send_patiently)
        else:
            if body is not None:
                await self.app(scope, _replay(body, receive), send_patiently)

    async def _read(self, receive) -> bytes | None:
        """The body; None when the client went away."""
        body, size = bytearray(), 0
        while True:
            message = await receive()
            if message["type"] == "http.disconnect":
                return None
            size += len(message.get("body", b""))
            if size <= self.body_limit:
                body += message.get("body", b"")
            more = message.get("more_body", False)
            if size > self.body_limit and (not more or size > DISCARDED):
                limit = self.body_limit // 1000
                raise Refused(413, "request_too_large", f"请求太大：正文最多 {limit} KB。请缩短问题或历史。")
            if not more:
                return bytes(body)

    async def _turn_away(self, refused: Refused, scope, receive, send) -> None:
        response = failure(refused)
        response.headers["Connection"] = "close"
        await response(scope, receive, send)


def _replay(body: bytes, receive):
    """A `receive` that gives the body once, and then what the client does."""
    messages = [{"type": "http.request", "body": body, "more_body": False}]

    async def replay():
        return messages.pop() if messages else await receive()

    return replay


class Protocol(H11Protocol):
    """Uvicorn's HTTP protocol, which by itself would wait for ever for the rest of a request's head."""

    looked = False

    def connection_made(self, transport) -> None:
        super().connection_made(transport)
        self._look(None)

    def _look(self, seen) -> None:
        """Close the connection when no request has begun since the last look and none is being answered."""
        if self.transport.is_closing():
            return
        answering = self.cycle is not None and not self.cycle.response_complete
        if self.looked and not answering and self.cycle is seen:
            self.transport.close()
            return
        self.looked = True
        self.loop.call_later(PATIENCE, self._look, self.cycle)
