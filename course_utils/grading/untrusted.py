"""JSON from a stranger: bounded in depth and length, without NaN, repeated keys, or text that cannot be written again."""

import json
import math
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError

from course_utils.grading.archive import SubmissionError, shown

DEEPEST = 12
LONGEST_TEXT = 100_000  # characters
MOST_LINES = 30_000
Model = TypeVar("Model", bound=BaseModel)


def parse(content: bytes, name: str) -> Any:
    """The JSON of file `name`. Raises `SubmissionError`."""
    try:
        value = json.loads(content.decode("utf-8"), object_pairs_hook=_unique, parse_constant=_not_a_number)
    except UnicodeDecodeError:
        raise SubmissionError(f"{name} 不是 UTF-8 文本。请重新生成这个提交。") from None
    except RecursionError:
        raise SubmissionError(f"{name} 嵌套太深，没有读。") from None
    except ValueError as error:  # also a number of more digits than Python reads
        raise SubmissionError(f"{name} 不是正确的 JSON（{shown(str(error))}）。请重新生成这个提交。") from None
    _check(value, name)
    return value


def parse_lines(content: bytes, name: str) -> list[Any]:
    """The values of a file of JSON lines. Raises `SubmissionError` with the line."""
    lines = content.split(b"\n")
    if len(lines) > MOST_LINES:
        raise SubmissionError(f"{name} 超过 {MOST_LINES} 行，没有读。请减少行数。")
    return [parse(line, f"{name} 第 {number} 行") for number, line in enumerate(lines, 1) if line.strip()]


def build(model: type[Model], value: Any, name: str) -> Model:
    """`model` of a JSON value. Raises `SubmissionError` naming the field."""
    try:
        return model.model_validate(value)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        where = shown(".".join(map(str, first["loc"]))) or "整个文件"
        raise SubmissionError(f"{name} 的「{where}」不对：{shown(told(first))}。请重新生成这个提交。") from None


def build_all(model: type[Model], values: list[Any], name: str) -> list[Model]:
    return [build(model, value, f"{name} 第 {number} 行") for number, value in enumerate(values, 1)]


def told(problem: dict) -> str:
    """What pydantic says of a field, in Chinese where it is one of the usual things."""
    limits = problem.get("ctx", {})
    usual = {
        "missing": "缺少",
        "extra_forbidden": "不该有",
        "string_too_long": f"超过 {limits.get('max_length')} 个字",
        "too_long": f"超过 {limits.get('max_length')} 项",
        "string_pattern_mismatch": "格式不对",
        "literal_error": f"只能是 {limits.get('expected')}",
        "finite_number": "不是有限的数",
    }
    return usual.get(problem["type"]) or problem["msg"].removeprefix("Value error, ")


def _unique(pairs: list[tuple[str, Any]]) -> dict:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("同一个名字出现了两次")
    return found


def _not_a_number(text: str):
    raise ValueError(f"{text} 不是数")


def _check(value: Any, name: str, depth: int = 1) -> None:
    if depth > DEEPEST:
        raise SubmissionError(f"{name} 嵌套超过 {DEEPEST} 层，没有读。")
    if isinstance(value, str):
        if len(value) > LONGEST_TEXT:
            raise SubmissionError(f"{name} 里有一段超过 {LONGEST_TEXT} 个字的文本，没有读。")
        if any("\ud800" <= mark <= "\udfff" for mark in value):
            raise SubmissionError(f"{name} 里有写不成 UTF-8 的字符（半个代理对）。请重新生成这个提交。")
    elif isinstance(value, float) and not math.isfinite(value):
        raise SubmissionError(f"{name} 里有无穷大的数。请重新生成这个提交。")
    elif isinstance(value, dict):
        for key, item in value.items():
            _check(key, name, depth)
            _check(item, name, depth + 1)
    elif isinstance(value, list):
        for item in value:
            _check(item, name, depth + 1)
