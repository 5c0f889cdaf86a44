"""course.py: what it installs, when it does not, and what it says when it cannot. No test installs anything."""

import ast
import os
import subprocess
import sys
from pathlib import Path

import pytest

import course

ROOT = Path(__file__).resolve().parent.parent


@pytest.fixture
def launcher(tmp_path, monkeypatch):
    """The launcher in an empty folder. `calls` lists what it did; pip is a Python that prints like pip."""
    (tmp_path / "requirements.lock").write_text("# exact\ntorch==2.13.0\ncolorama==0.4.6 ; sys_platform == 'win32'\n")
    (tmp_path / "pyproject.toml").write_text("[project]\n")
    venv = tmp_path / ".venv"
    names = {"ROOT": tmp_path, "LOCK": tmp_path / "requirements.lock", "VENV": venv, "PYTHON": venv / "python"}
    names |= {"COURSE": venv / "course", "MARKER": venv / "course-ready.txt", "LOG": venv / "install.log"}
    for name, value in names.items():
        monkeypatch.setattr(course, name, value)
    # The real one locks course.py itself, which a learner may be using now.
    (tmp_path / "course.py").write_text("")
    monkeypatch.setattr(course, "__file__", str(tmp_path / "course.py"))

    course.calls = []
    course.pip_says = "print('Collecting torch==2.13.0 (from -r requirements.lock (line 2))')"

    def make_venv():
        course.calls.append("venv")
        venv.mkdir(exist_ok=True)
        for leftover in venv.iterdir():
            leftover.unlink()
        course.PYTHON.touch()
        course.COURSE.touch()

    def pip_command(arguments):
        course.calls.append("pip " + arguments[0])
        return [sys.executable, "-c", course.pip_says]

    def hand_over(arguments):
        course.calls.append(("run", *arguments))
        return 0

    monkeypatch.setattr(course, "make_venv", make_venv)
    monkeypatch.setattr(course, "pip_command", pip_command)
    monkeypatch.setattr(course, "hand_over", hand_over)
    monkeypatch.setattr(course.time, "sleep", lambda seconds, sleep=course.time.sleep: sleep(0.01))
    yield course
    del course.calls, course.pip_says


WHOLE = ["venv", "pip -r", "pip --no-deps", ("run", "check", "-x")]


def test_an_old_python_can_read_it():
    ast.parse((ROOT / "course.py").read_text(encoding="utf-8"), feature_version=(3, 6))


def test_it_needs_nothing_but_the_standard_library():
    tree = ast.parse((ROOT / "course.py").read_text(encoding="utf-8"))
    imported = {name.name for node in ast.walk(tree) if isinstance(node, ast.Import) for name in node.names}
    imported |= {node.module for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)}
    assert {name.split(".")[0] for name in imported} <= sys.stdlib_module_names


@pytest.mark.parametrize("version", [(3, 6, 15), (3, 10, 13)])
def test_an_old_python_is_told_so(version):
    with pytest.raises(SystemExit, match=rf"Python 3.{version[1]} 太旧，本课程需要 3.11 .*python.org"):
        course.check_python(version)


def test_a_new_python_passes():
    course.check_python((3, 11, 0))
    course.check_python((3, 13, 2))


def test_first_call_installs_and_second_only_runs(launcher):
    assert launcher.main(["check", "-x"]) == 0
    assert launcher.calls == WHOLE
    launcher.calls.clear()
    launcher.main(["check", "-x"])
    assert launcher.calls == [("run", "check", "-x")]


@pytest.mark.parametrize("file", ["requirements.lock", "pyproject.toml"])
def test_changed_requirements_are_installed_into_the_same_venv(launcher, file):
    launcher.main(["check"])
    launcher.calls.clear()
    with (launcher.ROOT / file).open("a") as changed:
        changed.write("# new\n")
    launcher.main(["check"])
    assert launcher.calls == ["pip -r", "pip --no-deps", ("run", "check")]


def test_a_moved_folder_gets_a_new_venv(launcher):
    launcher.main(["check"])
    launcher.calls.clear()
    launcher.MARKER.write_text(f"/elsewhere | Python 3.11\n{launcher.contents()}\n")
    launcher.main(["check", "-x"])
    assert launcher.calls == WHOLE


def test_another_python_gets_a_new_venv(launcher, monkeypatch):
    launcher.main(["check"])
    launcher.calls.clear()
    monkeypatch.setattr(launcher.sys, "version_info", (3, 99, 0))
    launcher.main(["check", "-x"])
    assert launcher.calls == WHOLE


def test_an_interrupted_installation_is_mended_by_the_next_call(launcher, monkeypatch):
    show = launcher.Progress.show
    monkeypatch.setattr(launcher.Progress, "show", lambda self: (_ for _ in ()).throw(KeyboardInterrupt))
    with pytest.raises(KeyboardInterrupt):
        launcher.main(["check"])
    assert not launcher.ready()
    monkeypatch.setattr(launcher.Progress, "show", show)
    launcher.calls.clear()
    launcher.main(["check", "-x"])
    assert launcher.calls == WHOLE


FAILURES = {
    "network": (
        "WARNING: Retrying (Retry(total=0)) after connection broken\nERROR: No matching distribution found for torch",
        "安装失败：No matching distribution found for torch。连不上软件源",
    ),
    "version": ("ERROR: No matching distribution found for torch==2.13.0", "软件源里没有适合这台电脑的版本"),
    "disk": ("ERROR: Could not install: [Errno 28] No space left on device", "磁盘已满"),
    "other": ("ERROR: first\nERROR: the last one is the reason", "安装失败：the last one is the reason。请直接重试"),
    "silent": ("", "pip 没有说明原因"),
}


@pytest.mark.parametrize("said, expected", FAILURES.values(), ids=FAILURES)
def test_a_failed_installation_is_one_line(launcher, said, expected):
    launcher.pip_says = f"import sys; print({said!r}); sys.exit(1)"
    with pytest.raises(SystemExit) as failure:
        launcher.main(["check"])
    message = str(failure.value.code)
    assert expected in message
    assert "\n" not in message and message.endswith("install.log")
    assert said in launcher.LOG.read_text()
    assert not launcher.ready()


@pytest.mark.parametrize("unwritten", [True, False])
def test_pip_compiles_only_where_python_would_not_keep_what_it_compiles(monkeypatch, unwritten):
    monkeypatch.setattr(sys, "dont_write_bytecode", unwritten)
    assert ("--no-compile" in course.pip_command(["-r", "x"])) != unwritten


def test_a_small_disk_is_told_before_anything_is_made():
    with pytest.raises(SystemExit, match=r"磁盘空间不够.*还剩 1\.2 GB，安装需要约 5 GB"):
        course.check_disk(1_200_000_000)
    course.check_disk(5_000_000_000)


def test_a_python_without_venv_names_the_debian_package(monkeypatch):
    monkeypatch.setattr(course, "check_disk", lambda free: None)
    monkeypatch.setattr(course.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(SystemExit, match=rf"sudo apt install python3\.{sys.version_info[1]}-venv"):
        course.make_venv()


def test_progress_counts_what_pip_says(monkeypatch, capsys):
    progress = course.Progress({"torch", "numpy", "pyzmq"})
    progress.read("Looking in indexes\nCollecting torch==2.13.0 (from -r requirements.lock (line 9))\n  Downl")
    progress.read("oading torch.whl\nProcessing /a-1/b c/numpy-2.4.6-cp311.whl (from -r /x/lock (line 3))\n")
    progress.show()
    assert "下载 2/3 numpy，已用 0:0" in capsys.readouterr().out
    progress.read("Installing collected packages: torch, numpy, pyzmq\n")
    monkeypatch.setattr(course, "installed", lambda: 2)
    progress.finish()
    assert "写入磁盘 2/3" in capsys.readouterr().out


def test_a_second_launch_waits_for_the_first(launcher):
    with launcher.only_one_at_a_time(), open(launcher.__file__, "r+b") as second:
        assert not launcher.locked(second)
    with open(launcher.__file__, "r+b") as second:
        assert launcher.locked(second)


def test_no_arguments_prints_the_commands_and_installs_nothing(launcher, capsys):
    assert launcher.main([]) == 0
    assert launcher.calls == []
    assert "python course.py 命令" in capsys.readouterr().out


def test_a_failure_has_exit_code_1_and_no_traceback():
    code = "import course, sys; course.main = lambda a: course.check_python((3, 8, 0)); course.main([])"
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, env=dict(os.environ, PYTHONUTF8="1")
    )
    assert done.returncode == 1
    assert "Traceback" not in done.stderr.decode() and "Python 3.8 太旧" in done.stderr.decode()
