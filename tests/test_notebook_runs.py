"""The machinery behind the notebooks: what is cut out, what an executed run keeps, and the table of times."""

import json
import subprocess
import sys

import nbformat
import pytest

from course_utils import cli, notebook_runs, notebook_times, notebooks
from course_utils.errors import ConfigError, CourseError
from course_utils.grading import progress
from course_utils.notebook_runs import Section

SOURCE = """# %% [markdown]
# # 第 9 章　试
#
# 说一说。
#
# ## 1　甲

# %%
from course_utils.profiles import by_profile

answer = None
if by_profile(ci=True, classroom=False, gpu=False):
    ### BEGIN SOLUTION
    answer = 7
    ### END SOLUTION
print(answer)

# %% [markdown] tags=["answer:09-1"]
# 因为是七。

# %% [markdown]
# ## 2　乙

# %%
import os

print(os.getcwd())
for step in range(9):
    print(f"\\r{step} / 9", end="")
"""


@pytest.fixture
def source(tmp_path, monkeypatch):
    """A source of its own in folders of its own."""
    monkeypatch.setattr(notebooks, "SOLUTIONS", tmp_path / "solutions")
    monkeypatch.setattr(notebooks, "NOTEBOOKS", tmp_path / "notebooks")
    monkeypatch.setattr(notebook_runs, "CLAIMS", tmp_path / "solutions" / "claims.jsonl")
    monkeypatch.setattr(notebook_times, "TABLE", tmp_path / "docs" / "timing.md")
    notebooks.SOLUTIONS.mkdir()
    path = notebooks.SOLUTIONS / "09_test.py"
    path.write_text(SOURCE, encoding="utf-8")
    return path


def test_the_learner_gets_places_to_write_and_no_solution(source):
    built = nbformat.read(notebooks.build(source), as_version=4)
    assert built.cells[1].source.splitlines()[-2:] == ["    ...  # 在这里写你的代码", "print(answer)"]
    assert built.cells[2].source == "（在这里写你的回答）" and built.cells[2].metadata.tags == ["answer:09-1"]
    assert [cell.id for cell in built.cells] == ["s1-00", "s1-01", "answer-09-1", "s2-00", "s2-01"]
    compile(built.cells[1].source, "cell", "exec")


def test_building_twice_gives_the_same_bytes(source):
    first = notebooks.build(source).read_bytes()
    source.write_text(SOURCE.replace("# # 第", "#\n# # 第"), encoding="utf-8")
    assert notebooks.build(source).read_bytes() != first
    source.write_text(SOURCE, encoding="utf-8")
    assert notebooks.build(source).read_bytes() == first


@pytest.mark.parametrize("old", ["    ### BEGIN SOLUTION\n", "    ### END SOLUTION\n"])
@pytest.mark.parametrize("new", ["", "  ### BEGIN SOLUTION\n"])
def test_markers_that_do_not_match_are_named(source, old, new):
    source.write_text(SOURCE.replace(old, new), encoding="utf-8")
    with pytest.raises(ConfigError, match=r"09_test\.py.*成对"):
        notebooks.read(source)


def test_an_unknown_name_is_told_the_known_ones(source):
    assert notebooks.sources(["09"]) == notebooks.sources(["09_test"]) == notebooks.sources() == [source]
    with pytest.raises(ConfigError, match="09_test"):
        notebooks.sources(["08"])


@pytest.fixture
def run(source, tmp_path):
    return notebook_runs.execute(notebooks.read(source), "09_test", "ci", tmp_path / "own", lambda _: None)


def test_a_run_is_in_the_profile_and_workspace_asked_for_and_is_tidied(run, source, tmp_path):
    texts = ["".join(output.text for output in cell.get("outputs", [])) for cell in run.notebook.cells]
    assert texts == ["", "7\n", "", "", "workspace/notebooks\n8 / 9"]
    assert [section.title for section in run.sections] == ["1　甲", "2　乙"]
    assert all(section.seconds > 0 and section.mb > 20 for section in run.sections)


def test_a_cell_that_fails_is_named_with_its_message(source, tmp_path):
    source.write_text(SOURCE.replace("print(answer)", "raise ValueError('第 3 行不行')"), encoding="utf-8")
    with pytest.raises(
        CourseError, match=r"(?s)09_test「1　甲」第 2 格（s1-01）出错。ValueError：第 3 行不行.*answer = 7"
    ):
        notebook_runs.execute(notebooks.read(source), "09_test", "ci", tmp_path, lambda _: None)


def test_what_a_failed_notebook_started_ends_with_it(source, tmp_path):
    import psutil

    start = "import subprocess, sys\nwaits = subprocess.Popen([sys.executable, '-c', 'input()'], stdin=subprocess.PIPE"
    source.write_text(
        SOURCE.replace("print(answer)", f"{start}, start_new_session=True)\nraise ValueError(waits.pid)"),
        encoding="utf-8",
    )
    with pytest.raises(CourseError) as raised:
        notebook_runs.execute(notebooks.read(source), "09_test", "ci", tmp_path, lambda _: None)
    pid = int(str(raised.value).split("ValueError：")[1].split()[0])
    assert not psutil.pid_exists(pid)


def stream(text, name="stdout"):
    return nbformat.v4.new_output("stream", text=text, name=name)


def test_tidy_outputs():
    widget = nbformat.v4.new_output("display_data", {notebook_runs.LIVE: {"model_id": "x"}, "text/plain": "a panel"})
    table = nbformat.v4.new_output("display_data", {"text/html": "<table>"})
    kept = notebook_runs.tidy(
        [
            stream("a\r"),
            stream("b\n"),
            widget,
            stream("0%\r", "stderr"),
            table,
            stream("9%\r\n", "stderr"),
            stream("\n"),
        ]
    )
    assert [output.get("text", output.get("data")) for output in kept] == ["b\n", "9%\n", {"text/html": "<table>"}]
    (huge,) = notebook_runs.tidy(
        [nbformat.v4.new_output("display_data", {"text/html": "<p>", "text/plain": "x" * 9999})]
    )
    assert len(huge.data["text/plain"]) < 4010 and huge.data["text/html"] == "<p>"
    (long,) = notebook_runs.tidy([stream("\n".join(map(str, range(500))))])
    assert long.text.startswith("0\n1\n") and long.text.endswith("499") and "略去 440 行" in long.text


def claim(exercise, passed=True):
    return progress.Claim(exercise, 1, passed, "2026-01-01T00:00:00+00:00", "ci")


def test_a_reference_run_is_kept_with_its_claims_and_only_if_they_passed(source, run):
    run.notebook.cells[1].source += '\ncheck("09-1", answer)'
    before = [claim("08-1"), claim("09-9")]
    notebook_runs.write_jsonl(map(vars, before), notebook_runs.CLAIMS)
    for claims in ({}, {"09-1": claim("09-1", passed=False)}):
        run.claims = claims
        with pytest.raises(CourseError, match="09-1"):
            notebook_runs.keep(source, run)
        assert not source.with_suffix(".ipynb").exists()
    run.claims = {"09-1": claim("09-1")}
    notebook_runs.keep(source, run)
    assert sorted(progress.latest(notebook_runs.CLAIMS)) == ["08-1", "09-1"]
    kept = nbformat.read(source.with_suffix(".ipynb"), as_version=4)
    assert kept.cells[1].outputs[0].text == "7\n"


def test_renewing_one_profile_keeps_the_others(source):
    notebook_times.renew("09_test", "ci", [Section("1　甲", 3.04, 512), Section("3　旧", 1.0, 10)])
    notebook_times.renew("09_test", "classroom", [Section("1　甲", 130.0, 2048), Section("2　乙", 5.0, 1024)])
    notebook_times.renew("08_other", "ci", [Section("1　甲", 1.0, 100)])
    table = notebook_times.TABLE.read_text(encoding="utf-8")
    assert "| 1　甲 | 3 秒，0.5 GB | 2.2 分钟，2.0 GB | 未测 |" in table
    assert "| 2　乙 | 未测 | 5 秒，1.0 GB | 未测 |" in table and "3　旧" not in table
    assert "| **合计** | 未测 | 2.2 分钟，2.0 GB | 未测 |" in table
    assert table.index("## 08_other") < table.index("## 09_test")
    assert set(json.loads(notebook_times.TABLE.with_suffix(".json").read_text())["machines"]) == {"ci", "classroom"}


def test_the_command_builds_runs_and_times(source, monkeypatch, capsys):
    monkeypatch.setattr("sys.argv", ["course", "notebooks", "build", "09", "--execute", "--time", "--profile", "ci"])
    with pytest.raises(SystemExit) as ended:
        cli.main()
    assert ended.value.code == 0
    assert (notebooks.NOTEBOOKS / "09_test.ipynb").exists() and source.with_suffix(".ipynb").exists()
    assert "| 2　乙 | " in notebook_times.TABLE.read_text(encoding="utf-8")
    assert "09_test" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("options", "said"), [(("--profile=big",), "big"), (("--profile=ci", "--workspace=."), "空的工作区")]
)
def test_a_profile_that_there_is_not_or_a_used_workspace_is_one_line(options, said, tmp_path):
    (tmp_path / "runs").mkdir()
    command = [sys.executable, "-m", "course_utils.cli", "notebooks", "time", *options]
    done = subprocess.run(command, capture_output=True, text=True, encoding="utf-8", cwd=tmp_path)
    assert done.returncode == 1 and said in done.stderr and "Traceback" not in done.stderr


def test_an_earlier_attempt_in_the_workspace_does_not_count(source, tmp_path):
    notebook_runs.write_jsonl([vars(claim("09-1"))], tmp_path / progress.NAME)
    assert notebook_runs.execute(notebooks.read(source), "09_test", "ci", tmp_path, lambda _: None).claims == {}
