"""`check`: a notebook's exercise says at once whether it is right, what is likely wrong, and what to try next."""

import html
import importlib.util
import inspect
import json
import re
from collections.abc import Callable
from typing import Any

from course_utils.errors import ConfigError
from course_utils.grading import progress

NOT_DONE = "还没有做。请在上面的「# 在这里写你的代码」处写你的代码，让这道题的答案不再是 None，再运行这一格。"
OTHER_FORM = "答案的形式和要求的不一样。要求的是："
COLOURS = {"✓": "#2e7d32", "✗": "#c62828", "○": "#8a6d00"}


class Passed(int):
    """A bool that a notebook does not print under the box when `check(...)` is a cell's last line."""

    def _ipython_display_(self) -> None:
        pass


def check(exercise: str, answer: Any) -> bool:
    """Say whether the answer to the exercise, such as "02-1", is right, and record the attempt in the progress file.

    answer: plain data; None, or a list or dict of nothing but None, is not done yet and is not recorded. Never raises
    for an answer. Raises `ConfigError` for an exercise that there is not.
    """
    ask = find(exercise)
    if not_done(answer):
        return _show(exercise, "○", NOT_DONE)
    try:
        answer = plain(answer)
    except (TypeError, ValueError) as error:
        return _show(exercise, "✗", f"{error}\n{OTHER_FORM}{expected_form(ask)}")
    wrong = judge(exercise, answer)
    progress.record(exercise, answer, wrong is None)
    return _show(exercise, "✗", wrong) if wrong else _show(exercise, "✓", "对了。")


def judge(exercise: str, answer: Any) -> str | None:
    """What is wrong with an answer (JSON data), None when it is right. Never raises for an answer, however malformed."""
    ask = find(exercise)
    if not_done(answer):
        return NOT_DONE
    try:
        return ask(answer)
    except (TypeError, ValueError, LookupError, AttributeError, ArithmeticError):
        return OTHER_FORM + expected_form(ask)


def find(exercise: str) -> Callable[[Any], str | None]:
    """The function `exercise_NN_k` of the exercise "NN-k". Raises `ConfigError`."""
    if match := re.fullmatch(r"(\d\d)-(\d+)", exercise):
        chapter, number = match.groups()
        name = f"{__package__}.exercises.ch{chapter}"
        if importlib.util.find_spec(name):
            function = getattr(importlib.import_module(name), f"exercise_{chapter}_{number}", None)
            if function:
                return function
    raise ConfigError(f"没有编号是「{exercise}」的练习。编号是章和序号，例如 02-1。")


def plain(answer: Any) -> Any:
    """The answer as JSON would bring it to a grader: tuples become lists, keys text, arrays and tensors lists.

    Raises `TypeError` or `ValueError` in Chinese for what JSON cannot say.
    """

    def other(value):
        if hasattr(value, "tolist"):  # numpy and torch
            return value.tolist()
        if isinstance(value, set):
            return sorted(value, key=str)
        raise TypeError(
            f"答案里有一个 {type(value).__name__}，这里只收普通的数据：数、文字、真假、列表、字典。请先把它换成这样的。"
        )

    try:
        text = json.dumps(answer, default=other, allow_nan=False)
    except TypeError as error:
        if "keys must be" in str(error):
            raise TypeError("答案的字典里，键只能是文字或数。请换一种键。") from None
        raise
    except ValueError:
        raise ValueError("答案里有一个不是数的数（nan 或 inf），多半是除以了零。请先查它从哪里来。") from None
    return json.loads(text)


def not_done(answer: Any) -> bool:
    """Whether the answer is None, or holds nothing but None."""
    if isinstance(answer, dict):
        answer = list(answer.values())
    if isinstance(answer, list | tuple):
        return bool(answer) and all(map(not_done, answer))
    return answer is None


def expected_form(ask: Callable) -> str:
    """The first paragraph of an exercise function's docstring."""
    return (inspect.getdoc(ask) or "").split("\n\n")[0].replace("\n", " ")


def _show(exercise: str, sign: str, message: str) -> Passed:
    head = f"{sign} 练习 {exercise}"
    box = (
        f'<div style="border-left: 4px solid {COLOURS[sign]}; padding: 6px 12px; margin: 4px 0; line-height: 1.6">'
        f'<b style="color: {COLOURS[sign]}">{head}</b>　<span style="white-space: pre-line">{html.escape(message)}'
        "</span></div>"
    )
    show({"text/html": box, "text/plain": f"{head}　{message}"})
    return Passed(sign == "✓")


def show(bundle: dict[str, str]) -> None:
    """Display a MIME bundle; where there is no IPython, print its plain text."""
    from IPython import get_ipython
    from IPython.display import display

    if get_ipython() is None:
        print(bundle["text/plain"])
    else:
        display(bundle, raw=True)
