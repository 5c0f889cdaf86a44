"""Models behind somebody else's OpenAI-compatible address: 讯飞星辰, 通义, DeepSeek, Ollama, vLLM, or a classmate's
`course serve`. A file each, in the workspace; what is kept is where a key is found, never the key.
"""

import json
import os
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path

from course_utils import llm, paths
from course_utils.data.records import atomic_writer
from course_utils.errors import ConfigError, CourseError

TIMEOUT = 60.0  # seconds without a word from the other side
NAME = re.compile(r"[\w][\w.-]{0,63}")


@dataclass(frozen=True)
class Remote:
    """A model somewhere else.

    base_url: up to and with `/v1`. key_env: the environment variable with the key; empty where none is asked for.
    lora_id: the resource number of a service fine-tuned on 讯飞星辰, sent as a header; empty for all others.
    """

    name: str
    base_url: str
    model: str
    key_env: str = ""
    lora_id: str = ""


def register(name: str, base_url: str, model: str, key_env: str = "", lora_id: str = "") -> Remote:
    """Keep a remote model under `name`, in place of one that had it; see `Remote`. Raises `ConfigError`."""
    if not NAME.fullmatch(name):
        raise ConfigError(
            f"远程模型的名字「{name}」不行。用文字、数字、点、横线和下划线，不超过 64 个字，例如 deepseek。"
        )
    if not re.fullmatch(r"https?://[^\s/@]+(/[^\s]*)?", base_url):
        raise ConfigError("远程模型的地址要以 http:// 或 https:// 开头，例如 https://api.deepseek.com/v1。")
    if not model.strip():
        raise ConfigError("请写上远程模型的 model，例如 deepseek-chat。")
    if key_env and not re.fullmatch(r"[A-Za-z_][A-Za-z0-9_]*", key_env):  # do not repeat it: it may be the key itself
        raise ConfigError("这里要写环境变量的名字，例如 DEEPSEEK_API_KEY，不是密钥本身。请先在环境变量里设好密钥。")
    if lora_id and not re.fullmatch(r"[A-Za-z0-9_-]+", lora_id):
        raise ConfigError("lora_id 是模型服务卡片上的 resourceId，只有字母和数字。不是平台上微调的模型就空着。")
    made = Remote(name, base_url.rstrip("/"), model.strip(), key_env, lora_id)
    with atomic_writer(_home() / f"{name}.json") as file:
        json.dump(asdict(made), file, ensure_ascii=False, indent=1)
    return made


def remotes() -> list[Remote]:
    """All remote models in the order of their names."""
    return [Remote(**json.loads(path.read_text(encoding="utf-8"))) for path in sorted(_home().glob("*.json"))]


def find(name: str) -> Remote:
    """The remote model of this name. Raises `ConfigError`."""
    for found in remotes():
        if found.name == name:
            return found
    raise ConfigError(f"没有登记过叫「{name}」的远程模型。有的是：{'、'.join(r.name for r in remotes()) or '无'}。")


def forget(name: str) -> None:
    """Take a remote model off the list. Raises `ConfigError`."""
    (_home() / f"{find(name).name}.json").unlink()


def of_environment(model: str = "") -> Remote:
    """A model of the endpoint in the environment (see `llm`), by default the one named there. Raises `ConfigError`."""
    if not llm.configured():
        raise ConfigError(f"还没有设好远程模型。请设环境变量 {'、'.join(llm.VARIABLES)}。")
    address, key, default = llm.VARIABLES
    return Remote(model or os.environ[default], os.environ[address], model or os.environ[default], key)


def chat(remote: Remote, messages: Sequence[dict[str, str]], **options) -> Iterator[str]:
    """The answer as it comes. options: OpenAI's, such as max_tokens and temperature. Raises `CourseError`."""
    with explained(remote):
        stream = client(remote).chat.completions.create(
            model=remote.model, messages=list(messages), stream=True, **options
        )
        for chunk in stream:
            if chunk.choices and chunk.choices[0].delta.content:
                yield chunk.choices[0].delta.content


def client(remote: Remote, retries: int = 2):
    """The `openai` client for a remote model. Raises `ConfigError` without its key."""
    import openai

    key = os.environ.get(remote.key_env, "") if remote.key_env else "none"
    if not key:
        raise ConfigError(f"环境变量 {remote.key_env} 里没有密钥。请先设好它，再重新启动 JupyterLab 或终端。")
    headers = {"lora_id": remote.lora_id} if remote.lora_id else None
    return openai.OpenAI(
        base_url=remote.base_url, api_key=key, timeout=TIMEOUT, max_retries=retries, default_headers=headers
    )


@contextmanager
def explained(remote: Remote):
    """Turn the client's errors into Chinese ones that say what to do; what the other side wrote may hold a key."""
    import openai

    try:
        yield
    except openai.OpenAIError as error:
        raise CourseError(_explanation(remote, error)) from None


def _explanation(remote: Remote, error) -> str:
    import openai

    name, place = remote.name, remote.base_url
    if isinstance(error, openai.APITimeoutError):
        return f"远程模型「{name}」{TIMEOUT:.0f} 秒没有回答。请稍后再试。"
    if isinstance(error, openai.APIConnectionError):
        return f"连不上远程模型「{name}」（{place}）。请检查网络和地址。"
    if isinstance(error, openai.AuthenticationError | openai.PermissionDeniedError):
        return f"远程模型「{name}」不认这个密钥。请检查环境变量 {remote.key_env or '（没有登记）'}。"
    if isinstance(error, openai.NotFoundError):
        return f"远程模型「{name}」那里没有「{remote.model}」，或者地址不对（{place}，多半要以 /v1 结尾）。"
    if isinstance(error, openai.RateLimitError):
        return f"远程模型「{name}」说请求太快，或者额度用完了。请稍后再试，或者看看账户。"
    status = getattr(error, "status_code", None)
    return f"远程模型「{name}」没有答成（{f'状态 {status}' if status else type(error).__name__}）。请检查参数。"


def _home() -> Path:
    return paths.workspace() / "remotes"
