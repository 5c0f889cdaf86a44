"""`course serve`: the API on a port, until it is asked to stop."""

import ipaddress
import socket
from collections.abc import Callable
from contextlib import suppress

import uvicorn

from course_utils.errors import ConfigError
from course_utils.serving import keys, services
from course_utils.serving.app import create_app
from course_utils.serving.guard import Protocol
from course_utils.serving.store import Served

PORT = 8765
GRACE = 120  # seconds for what has begun, once the server is asked to stop
CONNECTIONS = 512


def serve(
    host: str = "127.0.0.1",
    port: int = PORT,
    engine: str = "local",
    keep_text: bool = False,
    log: Callable[[str], None] = print,
) -> None:
    """Serve all published services until SIGINT or SIGTERM, then finish what has begun.

    engine: "local" runs the models in this process, "vllm" in a vLLM server that this one starts and stops.
    Raises `ConfigError` when nothing is published, when the port is taken, or when others could reach a server that
    nobody has a key for.
    """
    found = services.services()
    if not found:
        raise ConfigError("还没有发布服务。先发布一个：course publish RUN --service 名字")
    if not is_loopback(host) and not keys.usable_keys():
        raise ConfigError(
            f"不能在 {host} 上对外开放：还没有可用的密钥。先建一个：course key create --app 应用 --service {found[0].name}"
        )
    listening = _listen(host, port)
    running = _engine(engine, log)
    try:
        running.warm()
    except BaseException:
        running.close()
        raise
    for service in found:
        log(f"服务「{service.name}」第 {service.current} 版")
    shown = f"[{host}]" if ":" in host else host
    log(f"地址 http://{shown}:{listening.getsockname()[1]}/v1 ，文档 /docs ；按 Ctrl-C 停止。")
    config = uvicorn.Config(
        create_app(running, keep_text), http=Protocol, ws="none", log_level="warning", access_log=False,
        server_header=False, limit_concurrency=CONNECTIONS, timeout_graceful_shutdown=GRACE,
    )  # fmt: skip
    with suppress(KeyboardInterrupt):  # uvicorn has stopped in good order, and then passes it on
        uvicorn.Server(config).run(sockets=[listening])


def current() -> list[Served]:
    """What all services answer with at the moment."""
    return [service.version().served for service in services.services()]


def is_loopback(host: str) -> bool:
    """Whether only this machine can reach an address."""
    try:
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _engine(name: str, log: Callable[[str], None]):
    if name == "local":
        from course_utils.serving.engine import Engine

        return Engine(current, log=log)
    if name == "vllm":
        from course_utils.serving.vllm import VllmEngine

        return VllmEngine(services.services(), log=log)
    raise ConfigError(f"没有叫「{name}」的引擎。只能是 local 或 vllm。")


def _listen(host: str, port: int) -> socket.socket:
    """A listening socket, before anything slow is done: who connects meanwhile is answered once the models are there."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listening = socket.socket(family, socket.SOCK_STREAM)
    listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listening.bind((host, port))
        listening.listen(CONNECTIONS)
    except (OSError, OverflowError) as error:
        listening.close()
        raise ConfigError(
            f"用不了 {host} 的 {port} 端口（{error}）。请用 --port 换一个，例如 --port {PORT + 1}。"
        ) from None
    return listening
