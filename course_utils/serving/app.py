"""The API: OpenAI's protocol for services of this course, with its documentation in Chinese at /docs."""

from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Annotated

from fastapi import Depends, FastAPI, Header, Request
from fastapi.concurrency import run_in_threadpool
from fastapi.exceptions import RequestValidationError
from fastapi.middleware.cors import CORSMiddleware
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer
from fastapi_offline import FastAPIOffline
from starlette.exceptions import HTTPException

from course_utils import __version__
from course_utils.errors import CourseError
from course_utils.serving import bodies, keys, services
from course_utils.serving.call import Call, Events
from course_utils.serving.guard import BODY_LIMIT, PATIENCE, Guard, failure
from course_utils.serving.limits import Limits, Refused, answer_tokens, check_prompt
from course_utils.serving.prompts import to_record
from course_utils.serving.store import Key, Version
from course_utils.serving.work import Choosing, Writing

ABOUT = """已发布的微调模型，用 OpenAI 的协议调用。

每个请求都带上密钥：`Authorization: Bearer sk-……`。`model` 写服务的名字，`名字@2` 是第 2 版。
请求头 `lora_id` 也可以写版本号。用 `openai` 客户端时，把 `base_url` 改成这里的地址加 `/v1` 就行。
"""
UNSUPPORTED = ("tools", "functions", "response_format", "logit_bias")
ERRORS = {
    status: {"model": bodies.ErrorBody, "description": text}
    for status, text in {
        400: "请求的内容不行",
        401: "密钥不对、过期或已吊销",
        403: "密钥打不开这个服务",
        404: "没有这个服务或版本",
        408: "请求太久没有发完",
        413: "请求或提示太长",
        422: "参数不对",
        429: "太快、太多或排队已满",
        500: "服务内部出错",
        503: "服务正在停止",
    }.items()
}
REASONS = {
    "missing": "没有给",
    "literal_error": "只能是 {expected}",
    "greater_than": "要大于 {gt}",
    "greater_than_equal": "不能小于 {ge}",
    "less_than_equal": "不能大于 {le}",
    "string_too_long": "不能超过 {max_length} 个字",
    "string_too_short": "不能是空的",
    "too_long": "不能超过 {max_length} 项",
    "too_short": "至少要 {min_length} 项",
}
bearer = HTTPBearer(auto_error=False, description="course key create 打印的密钥，以 sk- 开头")
LoraId = Annotated[
    str | None,
    Header(alias="lora_id", convert_underscores=False, description="版本号；0 或平台上的资源号不起作用"),
]


@dataclass(frozen=True)
class Caller:
    key: Key
    services: list[str]


def caller(credentials: Annotated[HTTPAuthorizationCredentials | None, Depends(bearer)]) -> Caller:
    """Whose request it is. Raises `Refused` (401)."""
    if credentials is None:
        raise Refused(401, "missing_api_key", "请求没有带密钥。请加上请求头 Authorization: Bearer 你的密钥。")
    key = keys.check(credentials.credentials)
    return Caller(key, keys.opened(key))


Who = Annotated[Caller, Depends(caller)]


def create_app(engine, keep_text: bool = False, body_limit: int = BODY_LIMIT, patience: float = PATIENCE) -> FastAPI:
    """The application in front of an engine, which it closes when it stops.

    keep_text: also log what was asked and answered. body_limit: bytes. patience: seconds, see `Guard`.
    """

    @asynccontextmanager
    async def lifespan(_):
        yield
        await run_in_threadpool(engine.close)

    app = FastAPIOffline(
        title="大模型精调实战课：模型服务", version=__version__, description=ABOUT, redoc_url=None, lifespan=lifespan
    )
    app.state.engine, app.state.keep_text, app.state.limits = engine, keep_text, Limits()
    # Pages of learners' own programs call from other origins; without a key they get nothing, and cookies we have none.
    app.add_middleware(CORSMiddleware, allow_origins=["*"], allow_methods=["*"], allow_headers=["*"])
    app.add_middleware(Guard, body_limit=body_limit, patience=patience)
    app.get("/healthz", summary="服务活着吗", tags=["状态"], response_description="活着")(healthz)
    app.get("/v1/models", summary="这个密钥能用的服务", tags=["服务"], responses=ERRORS, response_description="服务")(
        models
    )
    app.get("/v1/models/{name}", summary="一个服务", tags=["服务"], responses=ERRORS, response_description="服务")(
        model
    )
    app.post(
        "/v1/chat/completions",
        summary="对话",
        tags=["调用"],
        responses=ERRORS | {200: {"model": bodies.ChatAnswer, "content": {"text/event-stream": {}}}},
        response_model=bodies.ChatAnswer,
        response_description="回答",
    )(chat)
    app.post("/v1/choose", summary="选标签", tags=["调用"], responses=ERRORS, response_description="标签")(choose)
    app.exception_handler(CourseError)(_course_error)
    app.exception_handler(RequestValidationError)(_invalid)
    app.exception_handler(HTTPException)(_http_error)
    app.exception_handler(Exception)(_unexpected)
    return app


def healthz() -> bodies.Health:
    """不用密钥。"""
    return bodies.Health(services=len(services.services()))


def models(who: Who) -> bodies.ModelList:
    """只列出密钥打得开的服务。"""
    return bodies.ModelList(data=[_card(found) for found in services.services() if found.name in who.services])


def model(name: str, who: Who) -> bodies.ModelCard:
    """版本和标签。"""
    found, _ = services.asked_for(name)
    _check_opens(who, found.name)
    return _card(found)


async def chat(body: bodies.ChatBody, request: Request, who: Who, lora_id: LoraId = None):
    """和 OpenAI 的 /v1/chat/completions 一样用。没有写系统提示和指令时，用训练时的。分类头的服务回答标签。"""
    for name in UNSUPPORTED:
        if body.model_extra.get(name):
            raise Refused(400, "unsupported_parameter", f"这里不支持 {name}。请去掉它。")
    name, version = await _opened(who, body.model, lora_id)
    if version.served.head:
        return await _label(body, None, request, who, name, version, body.stream)
    record, ids, room = await _encoded(body, request, who, version)
    limit = answer_tokens(body.max_completion_tokens or body.max_tokens, who.key, room)
    work = Writing(
        version.served, ids, limit, body.temperature or 0.0, body.top_p or 1.0, body.stops, body.seed, body.stream
    )
    call = _call(request, who, name, version, work, record, len(ids))
    return await _answered(call, request, body.stream, bool(body.stream_options and body.stream_options.include_usage))


async def choose(body: bodies.ChooseBody, request: Request, who: Who, lora_id: LoraId = None) -> bodies.ChooseAnswer:
    """每个标签都算出概率，选最大的。比让模型自由写更快也更稳，只用于标签任务。"""
    name, version = await _opened(who, body.model, lora_id)
    return await _label(body, body.labels, request, who, name, version)


async def _label(body, labels, request: Request, who: Caller, name: str, version: Version, stream: bool | None = None):
    """A label as a choice, or as a chat's answer (`stream` not None)."""
    if version.served.head and labels and set(labels) != set(version.labels):
        raise Refused(400, "fixed_labels", f"这个服务的标签是训练时定的：{'、'.join(version.labels)}。请去掉 labels。")
    labels = tuple(labels or version.labels or ())
    if not labels:
        raise Refused(400, "labels_required", "这个服务不是标签任务，没有自己的标签。请用 labels 给出来。")
    record, ids, _ = await _encoded(body, request, who, version)
    work = Choosing(version.served, record, None if version.served.head else labels)
    call = _call(request, who, name, version, work, record, len(ids))
    if stream is not None:
        options = getattr(body, "stream_options", None)
        return await _answered(call, request, stream, bool(options and options.include_usage))
    try:
        await call.begin(request.app.state.engine, request.app.state.limits, request)
    finally:
        await call.end()
    choice = work.choice
    if choice is None:
        raise _gone()
    facts = {"id": f"choice-{call.id}", "created": call.created, "model": call.model, "usage": call.usage}
    return bodies.ChooseAnswer(label=choice.label, scores=choice.scores, **facts)


async def _answered(call: Call, request: Request, stream: bool, with_usage: bool):
    state, streaming = request.app.state, False
    try:
        piece = await call.begin(state.engine, state.limits, request)
        if stream:
            streaming = True
            return Events(call, piece, with_usage)
        if piece is not None:
            await call.finish(request)
    finally:
        if not streaming:
            await call.end()
    if call.work.outcome is None:
        raise _gone()
    choice = bodies.ChatChoice(message=bodies.ChatMessage(content=call.text), finish_reason=call.work.outcome)
    facts = {"id": f"chatcmpl-{call.id}", "created": call.created, "model": call.model, "usage": call.usage}
    return bodies.ChatAnswer(choices=[choice], **facts)


async def _opened(who: Caller, model: str, lora_id: str | None) -> tuple[str, Version]:
    """The service's name and the version asked for, when the key opens it. Raises `Refused` (404, 403)."""
    found, version = await run_in_threadpool(services.asked_for, model, lora_id)
    _check_opens(who, found.name)
    return found.name, version


def _check_opens(who: Caller, name: str) -> None:
    if name not in who.services:
        raise Refused(403, "service_not_granted", f"这个密钥打不开服务「{name}」。请用给这个服务建的密钥。")


async def _encoded(body, request: Request, who: Caller, version: Version):
    """`(record, ids, room)` of a request's prompt, see `Readers`. Raises `Refused`."""
    record = to_record([message.plain() for message in body.messages], version.instruction, version.system)
    ids, room = await run_in_threadpool(request.app.state.engine.readers.read, record, version.served)
    check_prompt(len(ids), who.key)
    return record, ids, room


def _call(request: Request, who: Caller, name: str, version: Version, work, record, tokens: int) -> Call:
    call = Call(who.key, name, version, work, tokens)
    call.question = record.prompt if request.app.state.keep_text else None
    return call


def _gone() -> Refused:
    return Refused(499, "client_closed_request", "客户端断开了，没有答完。")


def _card(found: services.Published) -> bodies.ModelCard:
    current = found.version()
    return bodies.ModelCard(
        id=found.name, created=int(current.created), current=found.current, labels=current.labels,
        versions=[version.number for version in found.versions],
    )  # fmt: skip


async def _course_error(_, error: CourseError):
    return failure(error if isinstance(error, Refused) else Refused(400, "bad_request", str(error)))


async def _invalid(_, error: RequestValidationError):
    problem = error.errors()[0]
    if problem["type"] == "json_invalid":
        return failure(Refused(400, "invalid_json", "请求的正文不是正确的 JSON。请检查引号、逗号和编码。"))
    place = ".".join(str(part) for part in problem["loc"][1:]) or "正文"
    reason = REASONS.get(problem["type"], "类型不对").format(**problem.get("ctx", {}))
    return failure(Refused(422, "invalid_parameter", f"参数「{place[:64]}」{reason}。请对照 /docs 改正。"))


async def _http_error(_, error: HTTPException):
    text = {404: "没有这个地址。请看 /docs。", 405: "这个地址不能这样请求（GET 还是 POST 不对）。请看 /docs。"}
    return failure(Refused(error.status_code, "http_error", text.get(error.status_code, "请求不行。请看 /docs。")))


async def _unexpected(_, error: Exception):
    return failure(Refused(500, "internal_error", "服务内部出错，这个请求没有答完。请告诉服务的主人看看日志。"))
