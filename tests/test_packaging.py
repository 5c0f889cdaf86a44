"""The files that say what is installed and which commands exist agree with each other and with what is installed."""

import importlib.metadata
import os
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
import typer.main
import yaml
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet
from packaging.utils import canonicalize_name

from course_utils.cli import app

ROOT = Path(__file__).resolve().parent.parent
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
LOCK = [Requirement(line) for line in (ROOT / "requirements.lock").read_text().splitlines() if line[0] != "#"]
HERE = {canonicalize_name(r.name): r.specifier for r in LOCK if r.marker is None or r.marker.evaluate()}
LEFT_OUT = re.compile(r"cuda-|nvidia-|triton$")  # they follow from the build of torch
READMES = ("README.md", "README.zh-CN.md")
COMMANDS = set(typer.main.get_command(app).commands)


def exact(name: str) -> str:
    (specifier,) = HERE[canonicalize_name(name)]
    assert specifier.operator == "=="
    return specifier.version


@pytest.mark.parametrize("line", PROJECT["dependencies"] + PROJECT["optional-dependencies"]["dev"])
def test_a_direct_dependency_is_locked_in_a_version_it_allows(line):
    wanted = Requirement(line)
    assert wanted.specifier.contains(exact(wanted.name))


def test_torch_is_exact():
    assert "torch==2.13.0" in PROJECT["dependencies"]
    assert exact("torch") == "2.13.0"


def test_the_lock_is_ascii_and_names_no_place():
    text = (ROOT / "requirements.lock").read_bytes().decode("ascii")
    assert not re.search(r"://|^-|@|\+", "\n".join(line for line in text.splitlines() if line[0] != "#"), re.MULTILINE)
    assert not [r.name for r in LOCK if LEFT_OUT.match(r.name)]


def test_a_package_is_locked_once_for_every_python():
    for minor in (11, 12, 13):
        python = {"python_version": f"3.{minor}", "python_full_version": f"3.{minor}.7"}
        names = [r.name for r in LOCK if r.marker is None or r.marker.evaluate(python)]
        assert len(names) == len(set(names))


@pytest.mark.parametrize("name", sorted(HERE))
def test_what_a_locked_package_requires_is_locked(name):
    """The lock is closed: pip, reading it, has nothing left to choose."""
    for wanted in map(Requirement, importlib.metadata.requires(name) or []):
        if LEFT_OUT.match(wanted.name) or (wanted.marker and not wanted.marker.evaluate({"extra": ""})):
            continue
        assert wanted.specifier.contains(exact(wanted.name), prereleases=True), f"{name} requires {wanted}"


def test_conda_installs_the_same():
    environment = yaml.safe_load((ROOT / "environment.yml").read_text(encoding="utf-8"))
    assert environment["name"] == PROJECT["name"]
    *conda, pip = environment["dependencies"]
    assert pip == {"pip": ["-r requirements.lock", "-e ."]}
    python = SpecifierSet(next(Requirement(line).specifier.__str__() for line in conda if line.startswith("python")))
    allowed = SpecifierSet(PROJECT["requires-python"])
    versions = [f"3.{minor}.0" for minor in range(6, 20)]
    assert [v for v in versions if v in python] == ["3.11.0", "3.12.0", "3.13.0"]
    assert next(v for v in versions if v in allowed) == "3.11.0"


def test_the_console_command_exists():
    assert PROJECT["scripts"] == {"course": "course_utils.cli:main"}
    done = _python("-m", "course_utils.cli", "--help")
    assert done.returncode == 0
    assert all(name in done.stdout for name in ("check", "lab", "test"))


def test_help_does_not_import_torch():
    code = "import sys, course_utils.cli; print({'torch', 'pandas', 'transformers', 'datasets'} & set(sys.modules))"
    assert _python("-c", code).stdout.strip() == "set()"


def test_our_data_folder_does_not_hide_hugging_face_datasets():
    assert not (ROOT / "datasets" / "__init__.py").exists()
    done = _python("-c", "import sys; assert sys.path[0] == ''; import datasets; print(datasets.load_dataset.__name__)")
    assert done.stdout.strip() == "load_dataset", done.stderr


def test_ruff_passes():
    done = _python("-m", "ruff", "check", "--no-cache", ".")
    assert done.returncode == 0, done.stdout


def test_the_readmes_carry_the_same_commands():
    english, chinese = map(shell_lines, READMES)
    assert english == chinese
    assert len(english) > 8


def test_the_commands_of_the_readmes_exist():
    named = {
        re.match(r"(?:python course\.py|course)(?: --from \w+)? ([\w-]+)", line) for line in shell_lines("README.md")
    } - {None}
    assert {match[1] for match in named} <= COMMANDS


def test_the_launcher_lists_the_commands_that_exist():
    import course

    assert set(re.findall(r"^  ([a-z]+) ", course.__doc__, re.MULTILINE)) <= COMMANDS


def test_continuous_integration_runs_the_test_command_of_the_readme():
    command = "python course.py test"
    assert command in shell_lines("README.md")
    assert command in (ROOT / ".ci" / "run").read_text(encoding="utf-8").splitlines()
    assert os.name == "nt" or os.access(ROOT / ".ci" / "run", os.X_OK)


def shell_lines(readme: str) -> list[str]:
    """The commands in the fenced shell blocks, without comments."""
    blocks = re.findall(r"^```sh\n(.*?)^```", (ROOT / readme).read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL)
    lines = [line.split("  #")[0].split(" # ")[0].rstrip() for line in "".join(blocks).splitlines()]
    return [line for line in lines if line]


def _python(*arguments: str) -> subprocess.CompletedProcess:
    environment = dict(os.environ, PYTHONUTF8="1")
    environment.pop("PYTHONSAFEPATH", None)
    return subprocess.run(
        [sys.executable, *arguments], cwd=ROOT, env=environment, capture_output=True, text=True, encoding="utf-8"
    )
