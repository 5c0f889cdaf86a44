"""Models behind somebody else's OpenAI-compatible address: 讯飞星辰, 通义, DeepSeek, Ollama, vLLM, or a classmate's
`course serve`. What is kept is where a key is found, never the key.
"""

import os
import re
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor

import openai
from sqlmodel import select

from course_utils.data.records import Record
from course_utils.errors import ConfigError, CourseError
from course_utils.serving.services import check_name
from course_utils.serving.store import Remote, reading, writing

TIMEOUT = 60.0  # seconds without a word from the other side
AT_ONCE = 4  # requests of a batch


def register(name: str, base_url: str, model: str, key_env: str = "") -> Remote:
    """Keep a remote model under `name`, in place of one that had it.

    base_url: up to and with `/v1`. key_env: the environment variable with the key; empty where none is asked for.
    Raises `ConfigError`.
    """
    check_name(name, "远程模型")
    if not re.fullmatch(r"https?://[^\s/@]+(/[^\s]*)?", base_url):
        raise ConfigError("远程模型的地址要以 http:// 或 https:// 开头，例如 https://api.deepseek.com/v1。")
    if not model.strip():
        raise ConfigError("请写上远程模型的 model，例如 deepseek-chat。")
    if key_env and not re.fullmatch(r"[A-Za-z_][A-Za-z0-9_]*", key_env):  # do not repeat it: it may be the key itself
        raise ConfigError("这里要写环境变量的名字，例如 DEEPSEEK_API_KEY，不是密钥本身。请先在环境变量里设好密钥。")
    remote = Remote(name=name, base_url=base_url.rstrip("/"), model=model.strip(), key_env=key_env)
    with writing() as session:
        session.merge(remote)
    return remote


def remotes() -> list[Remote]:
    """All remote models in the order of their names."""
    with reading() as session:
        return list(session.exec(select(Remote).order_by(Remote.name)).all())


def find(name: str) -> Remote:
    """The remote model of this name. Raises `ConfigError`."""
    with reading() as session:
        found = session.get(Remote, name)
    if found is None:
        raise ConfigError(f"没有登记过叫「{name}」的远程模型。有的是：{'、'.join(r.name for r in remotes()) or '无'}。")
    return found


def forget(name: str) -> None:
    """Take a remote model off the list. Raises `ConfigError`."""
    with writing() as session:
        session.delete(find(name))


def chat(remote: Remote, messages: Sequence[dict[str, str]], **options) -> Iterator[str]:
    """The answer as it comes. options: OpenAI's, such as max_tokens and temperature. Raises `CourseError`."""
    with _explained(remote):
        stream = _client(remote).chat.completions.create(
            model=remote.model, messages=list(messages), stream=True, **options
        )
        for chunk in stream:
            if chunk.choices and chunk.choices[0].delta.content:
                yield chunk.choices[0].delta.content


def predict(
    remote: Remote,
    records: Sequence[Record],
    max_new_tokens: int = 64,
    temperature: float = 0.0,
    progress: Callable[[int], None] = lambda done: None,
) -> list[dict]:
    """`{"prediction": ...}` for each record, as the local `predict` gives it. Raises `CourseError` at the first failure."""

    def ask(record: Record) -> str:
        with _explained(remote):
            answer = client.chat.completions.create(
                model=remote.model, messages=record.messages()[:-1], max_tokens=max_new_tokens, temperature=temperature
            )
        return (answer.choices[0].message.content or "").strip()

    client, answers = _client(remote), []
    with ThreadPoolExecutor(AT_ONCE) as pool:
        try:
            for answer in pool.map(ask, records):
                answers.append({"prediction": answer})
                progress(len(answers))
        except CourseError:
            pool.shutdown(cancel_futures=True)
            raise
    return answers


def _client(remote: Remote) -> openai.OpenAI:
    key = os.environ.get(remote.key_env, "") if remote.key_env else "none"
    if not key:
        raise ConfigError(f"环境变量 {remote.key_env} 里没有密钥。请先设好它，再重新启动 JupyterLab 或终端。")
    return openai.OpenAI(base_url=remote.base_url, api_key=key, timeout=TIMEOUT)


class _explained:
    """Turns the client's errors into Chinese ones that say what to do; what the other side wrote may hold a key."""

    def __init__(self, remote: Remote):
        self.remote = remote

    def __enter__(self) -> None:
        pass

    def __exit__(self, kind, error, trace) -> None:
        if not isinstance(error, openai.OpenAIError):
            return
        name, place = self.remote.name, self.remote.base_url
        if isinstance(error, openai.APITimeoutError):
            text = f"远程模型「{name}」{TIMEOUT:.0f} 秒没有回答。请稍后再试。"
        elif isinstance(error, openai.APIConnectionError):
            text = f"连不上远程模型「{name}」（{place}）。请检查网络和地址。"
        elif isinstance(error, openai.AuthenticationError | openai.PermissionDeniedError):
            text = f"远程模型「{name}」不认这个密钥。请检查环境变量 {self.remote.key_env or '（没有登记）'}。"
        elif isinstance(error, openai.NotFoundError):
            text = f"远程模型「{name}」那里没有「{self.remote.model}」，或者地址不对（{place}，多半要以 /v1 结尾）。"
        elif isinstance(error, openai.RateLimitError):
            text = f"远程模型「{name}」说请求太快，或者额度用完了。请稍后再试，或者看看账户。"
        else:
            status = getattr(error, "status_code", None)
            text = f"远程模型「{name}」没有答成（{f'状态 {status}' if status else type(error).__name__}）。请检查参数。"
        raise CourseError(text) from None
