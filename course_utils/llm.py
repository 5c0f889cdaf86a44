"""A language model behind an OpenAI-compatible address: extraction, augmentation and the judge all ask it here."""

import os
import random
import time
from functools import cache
from typing import TypeVar

from pydantic import BaseModel, ValidationError

from course_utils.errors import ConfigError, CourseError

VARIABLES = ("COURSE_LLM_BASE_URL", "COURSE_LLM_API_KEY", "COURSE_LLM_MODEL")
TIMEOUT = 60.0  # seconds for one answer
Answer = TypeVar("Answer", bound=BaseModel)


class ModelError(CourseError):
    """The model did not answer, or not in the form that was asked for, after all attempts."""


def configured() -> bool:
    """Whether the three environment variables are set."""
    return all(os.environ.get(name) for name in VARIABLES)


def client():
    """The `openai` client for the address and the key of the environment. Raises `ConfigError`."""
    missing = [name for name in VARIABLES if not os.environ.get(name)]
    if missing:
        raise ConfigError(f"没有设置环境变量 {'、'.join(missing)}。请设置它们，或者用离线的方法。")
    return _client(os.environ[VARIABLES[0]], os.environ[VARIABLES[1]])


@cache
def _client(base_url: str, key: str):
    import openai

    return openai.OpenAI(base_url=base_url, api_key=key, timeout=TIMEOUT, max_retries=0)  # ask_json does the retries


def ask_json(
    messages: list[dict[str, str]],
    schema: type[Answer],
    attempts: int = 4,
    wait: float = 1.0,
    timeout: float = TIMEOUT,
    temperature: float = 0.0,
) -> Answer:
    """Ask for JSON and return it as `schema`; asks anew after a time-out, 429, 5xx or an answer that does not fit.

    wait: seconds before the second attempt, doubled each time, or what the server's Retry-After says (at most 60).
    Raises `ModelError` naming the last reason, `ConfigError` when key, model or address are refused.
    """
    import openai

    model, reason, delay = client(), "", wait
    for attempt in range(attempts):
        if attempt:
            time.sleep(delay * random.uniform(0.8, 1.2))
            delay = wait * 2**attempt
        try:
            completion = model.chat.completions.create(
                model=os.environ[VARIABLES[2]],
                messages=messages,
                temperature=temperature,
                response_format={"type": "json_object"},
                timeout=timeout,
            )
            choice = completion.choices[0]
            if choice.finish_reason == "length":
                reason = "回答太长，没有写完"
                continue
            return schema.model_validate_json(_bare(choice.message.content or ""))
        except ValidationError as error:
            reason = f"回答不合格式（{error.errors()[0]['msg']}）"
        except (openai.AuthenticationError, openai.PermissionDeniedError, openai.NotFoundError) as error:
            raise ConfigError(
                f"模型服务不接受这次请求（{error.status_code}）。请检查 {'、'.join(VARIABLES)}。"
            ) from None
        except openai.APIStatusError as error:
            reason = f"服务回答 {error.status_code}"
            if error.status_code < 500 and error.status_code not in (408, 409, 429):
                break
            delay = max(delay, min(_seconds(error.response.headers.get("retry-after")), 60))
        except openai.APIError as error:  # time-outs and broken connections among them
            reason = type(error).__name__
        except (AttributeError, IndexError, TypeError):
            reason = "回答里没有 choices"
    raise ModelError(f"模型没有给出可用的回答：{reason}。请检查服务，稍后再试。")


def _bare(text: str) -> str:
    """The text without the fence that some models put around JSON."""
    text = text.strip()
    return text.removeprefix("```json").removeprefix("```").removesuffix("```").strip() if text[:3] == "```" else text


def _seconds(header: str | None) -> float:
    try:
        return max(float(header or 0), 0.0)
    except ValueError:
        return 0.0
