"""Checks, quizzes and the progress file: what a learner sees of them, and what stays on disk."""

import json

import numpy as np
import pytest

from course_utils import profiles
from course_utils.errors import ConfigError
from course_utils.grading import checks, exercises, progress, quiz


@pytest.fixture(autouse=True)
def exercise(monkeypatch):
    """An exercise 99-1 that wants {"a": 1.5}."""
    import sys
    import types

    def exercise_99_1(answer):
        """{"a": 数}，数在 0 到 9 之间。

        For developers.
        """
        return None if answer["a"] == 1.5 else f"a 不是 {answer['a']}，再想一想 <b>。"

    module = types.ModuleType(f"{exercises.__name__}.ch99")
    module.exercise_99_1 = exercise_99_1
    module.__spec__ = types.SimpleNamespace()
    monkeypatch.setitem(sys.modules, module.__name__, module)
    monkeypatch.setenv("COURSE_PROFILE", "ci")


def said(capsys):
    return capsys.readouterr().out


def test_right_wrong_and_not_done(capsys):
    assert checks.check("99-1", {"a": 1.5}) and "✓ 练习 99-1" in said(capsys)
    assert not checks.check("99-1", {"a": 2}) and "✗ 练习 99-1　a 不是 2" in said(capsys)
    for nothing in (None, {"a": None}, [None, {"b": None}]):
        assert not checks.check("99-1", nothing)
        assert "还没有做" in (out := said(capsys)) and "在这里写你的代码" in out
    assert [(c.answer, c.passed) for c in progress.attempts()] == [({"a": 1.5}, True), ({"a": 2}, False)]


def test_another_form_is_explained_and_does_not_raise(capsys):
    for answer in (3, "x", [1], {}, {"b": 1}, True):
        assert not checks.check("99-1", answer)
        assert '要求的是：{"a": 数}，数在 0 到 9 之间。' in (out := said(capsys)) and "developers" not in out


def test_what_json_cannot_say_is_explained_and_not_recorded(capsys):
    assert not checks.check("99-1", {"a": object()}) and "object" in said(capsys)
    assert not checks.check("99-1", {"a": float("nan")}) and "nan" in said(capsys)
    assert not checks.check("99-1", {("a", "b"): 1}) and "键只能是文字或数" in said(capsys)
    assert progress.attempts() == []


def test_an_exercise_gets_what_a_grader_would_get():
    assert checks.check("99-1", {"a": np.float64(1.5)})
    assert checks.plain({1: (np.int64(2), {"b"}), "c": np.ones(2)}) == {"1": [2, ["b"]], "c": [1.0, 1.0]}


def test_an_unknown_exercise_or_quiz_is_the_authors_mistake():
    for name in ("98-1", "99-2", "x"):
        with pytest.raises(ConfigError, match="没有编号"):
            checks.check(name, 1)
    with pytest.raises(ConfigError, match="没有编号"):
        quiz.quiz("98-q1")


def test_a_box_shows_the_message_as_text_and_prints_no_bool():
    from IPython.core.interactiveshell import InteractiveShell
    from IPython.utils.capture import capture_output

    InteractiveShell.instance()
    try:
        with capture_output() as seen:
            passed = checks.check("99-1", {"a": 2})
            passed._ipython_display_()
        (output,) = seen.outputs
        assert "再想一想 &lt;b&gt;。" in output.data["text/html"] and "再想一想 <b>。" in output.data["text/plain"]
        assert passed == False and isinstance(passed, int)  # noqa: E712
    finally:
        InteractiveShell.clear_instance()


def test_a_broken_last_line_costs_only_itself():
    progress.record("99-1", {"a": 2}, False)
    with progress.file().open("ab") as file:
        file.write(b'{"exercise": "99-1", "answ')
    assert [c.answer for c in progress.attempts()] == [{"a": 2}]
    progress.record("99-1", {"a": 1.5}, True)
    progress.record("99-2", "对", True)
    assert [c.answer for c in progress.attempts()] == [{"a": 2}, {"a": 1.5}, "对"]
    assert progress.latest()["99-1"].passed and progress.latest()["99-1"].profile == "ci"
    lines = progress.file().read_text(encoding="utf-8").splitlines()
    assert len(lines) == 4 and json.loads(lines[-1])["answer"] == "对"


def test_no_progress_is_none():
    assert progress.attempts() == [] and progress.latest() == {}


@pytest.fixture
def own_quiz(monkeypatch, tmp_path):
    monkeypatch.setattr(quiz, "FOLDER", tmp_path)
    quiz.chapter.cache_clear()
    text = "- id: 97-q1\n  question: 一加一？\n  options:\n"
    text += "".join(f"    - {{text: {t}, right: {r}, reason: {w}}}\n" for t, r, w in (
        ("二", "true", "数一数手指。"), ("三", "false", "多数了一个 <x>。"),
    ))  # fmt: skip
    (tmp_path / "ch97.yaml").write_text(text, encoding="utf-8")
    yield
    quiz.chapter.cache_clear()


def test_a_quiz_answers_every_option_and_leaves_its_text(own_quiz, monkeypatch):
    import ipywidgets

    made = []
    box = ipywidgets.VBox
    monkeypatch.setattr(ipywidgets, "VBox", lambda children: made.append(children) or box(children))
    shown = []
    monkeypatch.setattr(quiz, "show", shown.append)
    quiz.quiz("97-q1")
    (_, choice, reason), *_ = made
    assert "**小测验 97-q1**　一加一？" in shown[0]["text/markdown"] and "- 二" in shown[0]["text/markdown"]
    assert "一加一？" in shown[0]["text/html"] and "<li>二</li>" in shown[0]["text/html"]
    choice.value = choice._options_full[1][1]
    assert "✗" in reason.value and "多数了一个 &lt;x&gt;。" in reason.value
    choice.value = choice._options_full[0][1]
    assert "✓" in reason.value and "数一数手指。" in reason.value
    assert [(c.exercise, c.answer, c.passed) for c in progress.attempts()] == [
        ("97-q1", "三", False),
        ("97-q1", "二", True),
    ]


def test_profiles(monkeypatch):
    assert profiles.by_profile(ci=1, classroom=2, gpu=3) == 1
    monkeypatch.setenv("COURSE_PROFILE", "classroom")
    assert profiles.by_profile(ci=1, classroom=2, gpu=3) == 2
    monkeypatch.setenv("COURSE_PROFILE", "huge")
    with pytest.raises(ConfigError, match="huge"):
        profiles.profile()
