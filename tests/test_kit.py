"""The offline kit: what is in it, what happens when something is missing or broken, and that it needs no network."""

import hashlib
import json
import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest
from packaging.requirements import Requirement

import course
from course_utils import kit, paths, wheels
from course_utils.errors import ConfigError
from course_utils.models import weights

ROOT = Path(__file__).resolve().parent.parent
LOCK = """# exact
torch==2.0
tool==1.1
pywin==3 ; sys_platform == 'win32'
soup==1 ; python_full_version < '3.11.5'
soup==2 ; python_full_version >= '3.11.5'
"""
LINUX, WINDOWS = wheels.Target("linux_x86_64", "3.11"), wheels.Target("win_amd64", "3.12")


def make_wheel(folder, name, version, tags="py3-none-any", requires=()):
    """A wheel with nothing in it but what it asks for."""
    info = f"{name}-{version}.dist-info"
    metadata = f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n"
    metadata += "".join(f"Requires-Dist: {line}\n" for line in requires)
    with zipfile.ZipFile(folder / f"{name}-{version}-{tags}.whl", "w") as file:
        file.writestr(f"{info}/METADATA", metadata)
        file.writestr(f"{info}/WHEEL", f"Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: {tags}\n")
        file.writestr(f"{info}/RECORD", "")


@pytest.fixture
def source(tmp_path, monkeypatch):
    """A course of three files in git and the packages it asks for; pip sees no other."""
    root, packages = tmp_path / "root", tmp_path / "packages"
    (root / "notebooks").mkdir(parents=True)
    packages.mkdir()
    (root / "requirements.lock").write_text(LOCK)
    (root / "course.py").write_text("print('课程')", encoding="utf-8")
    (root / "notebooks" / "第一课.ipynb").write_text("{}")
    for arguments in (["init", "-q"], ["add", "."]):
        subprocess.run(["git", "-C", root, *arguments], check=True)
    author = ["-c", "user.name=t", "-c", "user.email=t@example.org"]
    subprocess.run(["git", "-C", root, *author, "commit", "-qm", "x"], check=True)
    (root / "gold_answers.key").write_text("secret")  # not tracked
    cuda = "cuda-kit[blas]==13 ; platform_system == 'Linux'"
    make_wheel(packages, "torch", "2.0", "cp311-cp311-manylinux_2_28_x86_64", [cuda, "tool", "docs ; extra == 'doc'"])
    make_wheel(packages, "torch", "2.0", "cp312-cp312-win_amd64", [cuda, "tool"])
    make_wheel(packages, "cuda_kit", "13", requires=["blas>=1 ; extra == 'blas'", "fft ; extra == 'fft'"])
    make_wheel(packages, "blas", "1", "py3-none-manylinux2014_x86_64")
    make_wheel(packages, "tool", "1.1")
    make_wheel(packages, "pywin", "3", "cp312-cp312-win_amd64")
    make_wheel(packages, "soup", "1")
    make_wheel(packages, "soup", "2")
    monkeypatch.setattr(paths, "ROOT", root)
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(packages))
    monkeypatch.setenv("PIP_CONFIG_FILE", os.devnull)
    return packages


@pytest.fixture
def calls(monkeypatch):
    """The packages of every call of pip."""
    made, pip = [], wheels._pip

    def counted(*arguments):
        made.append([argument for argument in arguments if "==" in argument])
        return pip(*arguments)

    monkeypatch.setattr(wheels, "_pip", counted)
    return made


def silent(_):
    pass


def names(folder):
    return sorted(path.name for path in folder.iterdir())


def test_a_kit_has_what_each_platform_needs_and_only_what_git_tracks(source, tmp_path):
    out = tmp_path / "kit"
    manifest = kit.build(out, [LINUX, WINDOWS], model=False, log=silent)
    assert names(out / "wheels") == [
        "blas-1-py3-none-manylinux2014_x86_64.whl",  # torch for Linux asks for an extra of CUDA's
        "cuda_kit-13-py3-none-any.whl",
        "pywin-3-cp312-cp312-win_amd64.whl",
        "soup-1-py3-none-any.whl",  # nobody knows which 3.11 a learner has
        "soup-2-py3-none-any.whl",
        "tool-1.1-py3-none-any.whl",
        "torch-2.0-cp311-cp311-manylinux_2_28_x86_64.whl",
        "torch-2.0-cp312-cp312-win_amd64.whl",
    ]
    assert names(out) == ["README.md", "course", "manifest.json", "wheels"]
    assert names(out / "course") == ["course.py", "notebooks", "requirements.lock"]
    assert (out / "course" / "notebooks" / "第一课.ipynb").exists()
    assert manifest["platforms"] == ["linux_x86_64", "win_amd64"] and manifest["pythons"] == ["3.11", "3.12"]
    on_disk = {path for path in out.rglob("*") if path.is_file() and path.name != "manifest.json"}
    assert {out / name for name in manifest["files"]} == on_disk
    for name, facts in manifest["files"].items():
        assert hashlib.sha256((out / name).read_bytes()).hexdigest() == facts["sha256"]
    assert course.verified(out) == manifest


def test_missing_packages_are_named_at_once_and_the_next_call_goes_on(source, tmp_path, calls):
    (source / "pywin-3-cp312-cp312-win_amd64.whl").unlink()
    (source / "blas-1-py3-none-manylinux2014_x86_64.whl").rename(
        source.parent / "blas-1-py3-none-manylinux2014_x86_64.whl"
    )
    out = tmp_path / "kit"
    with pytest.raises(ConfigError) as error:
        kit.build(out, [LINUX, WINDOWS], model=False, log=silent)
    assert "linux_x86_64（Python 3.11） 缺 blas>=1；win_amd64（Python 3.12） 缺 pywin==3" in str(error.value)
    with pytest.raises(SystemExit, match="还没有做完"):
        course.verified(out)
    make_wheel(source, "pywin", "3", "cp312-cp312-win_amd64")
    make_wheel(source, "blas", "1", "py3-none-manylinux2014_x86_64")
    before = {path: path.stat().st_ino for path in (out / "wheels").iterdir()}
    calls.clear()
    kit.build(out, [LINUX, WINDOWS], model=False, log=silent)
    assert calls == [[], ["pywin==3"]]  # blas has no exact version
    assert {path: path.stat().st_ino for path in before} == before


def test_a_build_that_was_killed_leaves_nothing_half_and_keeps_the_rest(source, tmp_path, monkeypatch):
    out = tmp_path / "kit"
    keep = wheels._keep

    def killed(folder, target, into):
        shutil.copytree(folder, out / f"{wheels.PARTIAL}left")
        raise KeyboardInterrupt

    monkeypatch.setattr(wheels, "BATCH", 1)
    monkeypatch.setattr(wheels, "_keep", killed)
    with pytest.raises(KeyboardInterrupt):
        kit.build(out, [LINUX], model=False, log=silent)
    assert names(out / "wheels") == []
    monkeypatch.setattr(wheels, "_keep", keep)
    kit.build(out, [LINUX], model=False, log=silent)
    assert names(out) == ["README.md", "course", "manifest.json", "wheels"]
    course.verified(out)


def test_a_renewed_kit_mends_broken_wheels_and_drops_those_of_another_platform(source, tmp_path, calls):
    out = tmp_path / "kit"
    kit.build(out, [LINUX, WINDOWS], model=False, log=silent)
    tool = out / "wheels" / "tool-1.1-py3-none-any.whl"
    content = tool.read_bytes()
    tool.write_bytes(content.replace(b"Name: tool", b"Name: fool"))
    calls.clear()
    said = []
    kit.build(out, [LINUX], model=False, log=said.append)
    assert calls == [["tool==1.1"]] and tool.read_bytes() == content
    assert any(line.startswith("tool-1.1-py3-none-any.whl 已损坏") for line in said)
    assert not list((out / "wheels").glob("*win*"))


def test_a_folder_with_something_else_in_it_is_left_alone(source, tmp_path):
    (tmp_path / "course").mkdir()
    (tmp_path / "course" / "thesis.txt").write_text("mine")
    with pytest.raises(ConfigError, match="已经有别的东西"):
        kit.build(tmp_path, [LINUX], model=False, log=silent)
    assert (tmp_path / "course" / "thesis.txt").exists()


def test_the_solutions_can_be_left_out(source, tmp_path):
    (paths.ROOT / "solutions").mkdir()
    (paths.ROOT / "solutions" / "01.py").write_text("answer = 42")
    subprocess.run(["git", "-C", paths.ROOT, "add", "solutions"], check=True)
    kit.build(tmp_path / "kit", [LINUX], model=False, log=silent)
    assert (tmp_path / "kit" / "course" / "solutions" / "01.py").exists()
    manifest = kit.build(tmp_path / "kit", [LINUX], model=False, solutions=False, log=silent)
    assert not (tmp_path / "kit" / "course" / "solutions").exists()
    assert not any("solutions" in name for name in manifest["files"])


def test_a_course_that_is_not_a_git_clone(source, tmp_path):
    shutil.rmtree(paths.ROOT / ".git")
    with pytest.raises(ConfigError, match="不是 git 仓库"):
        kit.build(tmp_path / "kit", [LINUX], model=False, log=silent)


@pytest.mark.parametrize(
    "target, line, needed",
    [
        (WINDOWS, "a ; sys_platform == 'win32'", True),
        (LINUX, "a ; sys_platform == 'win32'", False),
        (wheels.Target("macosx_arm64", "3.13"), "a ; platform_machine == 'arm64' and python_version < '3.14'", True),
        (LINUX, "a ; extra == 'b'", False),
        (LINUX, "a ; implementation_name != 'PyPy'", True),
    ],
)
def test_markers_are_asked_for_the_other_computer(target, line, needed):
    assert target.needs(Requirement(line)) is needed


@pytest.mark.parametrize(
    "target, tag",
    [
        (LINUX, "cp311-cp311-manylinux_2_17_x86_64.manylinux2014_x86_64"),
        (LINUX, "cp39-abi3-manylinux_2_28_x86_64"),
        (WINDOWS, "cp312-none-win_amd64"),
        (wheels.Target("macosx_arm64", "3.13"), "cp313-cp313-macosx_10_13_universal2"),
        (wheels.Target("macosx_arm64", "3.13"), "cp313-cp313-macosx_14_0_arm64"),
    ],
)
def test_wheels_that_run_there(target, tag):
    wheel = wheels.Wheel.read(Path(f"a-1-{tag}.whl"))
    assert target.find(Requirement("A==1"), [wheel]) is wheel


@pytest.mark.parametrize(
    "tag", ["cp311-cp311-manylinux_2_34_x86_64", "cp312-cp312-manylinux_2_17_x86_64", "cp311-cp311-win_amd64"]
)
def test_wheels_that_do_not_run_there(tag):
    assert LINUX.find(Requirement("a==1"), [wheels.Wheel.read(Path(f"a-1-{tag}.whl"))]) is None


def test_unknown_platforms_and_pythons():
    with pytest.raises(ConfigError, match=r"不支持的平台「win32」.*win_amd64"):
        wheels.target("win32", "3.12")
    with pytest.raises(ConfigError, match=r"不支持的 Python「3\.10」"):
        wheels.target("win_amd64", "3.10")
    assert wheels.this_target().platform == course.this_platform()


# --- the launcher -----------------------------------------------------------------------------------------------------


@pytest.fixture
def small_kit(tmp_path, monkeypatch):
    """A kit for this computer, of three files, and a launcher whose lock is the kit's."""
    out = tmp_path / "kit"
    for name in ("course/requirements.lock", "wheels/a-1-py3-none-any.whl", "wheels/b-1-py3-none-any.whl"):
        (out / name).parent.mkdir(parents=True, exist_ok=True)
        (out / name).write_text(name)
    python = "{}.{}".format(*sys.version_info[:2])
    kit._write_manifest(out, {"course": "x", "platforms": [course.this_platform()], "pythons": [python]})
    monkeypatch.setattr(course, "LOCK", out / "course" / "requirements.lock")
    return out


def test_it_is_verified_before_anything_is_installed(small_kit, monkeypatch, capsys):
    monkeypatch.setattr(course, "set_up", lambda *_: pytest.fail("installed"))
    for arguments in (["--from", str(small_kit), "kit", "verify"], ["kit", "verify", str(small_kit)]):
        assert course.main(arguments) == 0
        assert "离线包完好：3 个文件与清单一致" in capsys.readouterr().out
    with pytest.raises(SystemExit, match="写出离线包的文件夹"):
        course.main(["kit", "verify"])
    with pytest.raises(SystemExit, match="--from 后面要写"):
        course.main(["--from", str(small_kit)])


def test_the_installed_command_says_the_same(small_kit):
    done = subprocess.run(
        [sys.executable, "-m", "course_utils.cli", "kit", "verify", small_kit], capture_output=True, text=True
    )
    assert done.returncode == 0 and "离线包完好：3 个文件" in done.stdout
    (small_kit / "wheels" / "a-1-py3-none-any.whl").unlink()
    done = subprocess.run(
        [sys.executable, "-m", "course_utils.cli", "kit", "verify", small_kit], capture_output=True, text=True
    )
    assert done.returncode == 1 and "1 个文件缺失、损坏或不在清单上：wheels/a-1-py3-none-any.whl" in done.stderr


def test_damage_is_named(small_kit):
    (small_kit / "wheels" / "a-1-py3-none-any.whl").write_text("wheels/a-1-py3-none-any.whk")
    (small_kit / "wheels" / "b-1-py3-none-any.whl").unlink()
    (small_kit / "wheels" / "evil-1-py3-none-any.whl").write_text("x")
    with pytest.raises(SystemExit) as error:
        course.verified(small_kit)
    said = str(error.value)
    assert said.startswith("离线包有 3 个文件缺失、损坏或不在清单上：wheels/a-1")
    assert "b-1" in said and "evil-1" in said and "重新复制" in said


@pytest.mark.parametrize("content, message", [("{", "已损坏"), ('{"files": {}}', "还没有做完"), (None, "不是离线包")])
def test_a_manifest_that_is_none(small_kit, content, message):
    path = small_kit / "manifest.json"
    path.unlink()
    if content:
        path.write_text(content)
    with pytest.raises(SystemExit, match=message):
        course.verified(small_kit)


def test_a_kit_for_other_computers_or_another_course(small_kit, monkeypatch):
    manifest = course.verified(small_kit)
    course.check_fits(manifest)
    with pytest.raises(SystemExit, match=r"离线包适用于 win_amd64 上的 Python 3\.13.*--platform"):
        course.check_fits(manifest | {"platforms": ["win_amd64"], "pythons": ["3.13"]})
    monkeypatch.setattr(course, "LOCK", small_kit / "README")
    with pytest.raises(SystemExit, match="版本不同"):
        course.check_fits(manifest)


def test_pip_gets_nothing_but_the_kit(small_kit, tmp_path, monkeypatch):
    """Neither an index nor the computer's own settings for pip."""
    monkeypatch.setenv("PIP_INDEX_URL", "https://example.org")
    monkeypatch.setattr(course, "LOG", tmp_path / "log")
    monkeypatch.setattr(course, "ROOT", tmp_path)
    monkeypatch.setattr(course.time, "sleep", lambda _: None)
    (tmp_path / "log").write_bytes(b"")
    show = "import os, sys; print(sys.argv[1:], {n: v for n, v in os.environ.items() if n.startswith('PIP_')})"
    monkeypatch.setattr(course, "pip_command", lambda arguments: [sys.executable, "-c", show, *arguments])
    with (tmp_path / "lock").open("w") as lock:
        course.install(["-r", "x"], course.Progress(set()), lock, small_kit)
    said = (tmp_path / "log").read_text()
    assert f"['-r', 'x', '--no-index', '--find-links', '{small_kit / 'wheels'}']" in said
    assert f"{{'PIP_CONFIG_FILE': '{os.devnull}'}}" in said


def test_what_the_kit_lacks_is_not_called_a_network_problem():
    said = "ERROR: No matching distribution found for torch==2.13.0"
    assert "重做离线包" in course.explain(said, Path("kit"))[1]
    assert "软件源" in course.explain(said)[1]


# --- the model --------------------------------------------------------------------------------------------------------


def test_the_model_goes_into_the_cache_once(tmp_path, monkeypatch):
    monkeypatch.setenv("COURSE_CACHE", str(tmp_path / "cache"))
    model = tmp_path / "kit" / "models" / kit.EMBEDDED
    model.mkdir(parents=True)
    (model / "model.safetensors").write_bytes(b"weights")
    (model / weights.MANIFEST).write_text(json.dumps({"model.safetensors": hashlib.sha256(b"weights").hexdigest()}))
    said = []
    kit.unpack(tmp_path / "kit", said.append)
    kit.unpack(tmp_path / "kit", said.append)
    folder = weights.prepare(kit.EMBEDDED, said.append)
    weights.verify(folder)
    assert folder == tmp_path / "cache" / "models" / kit.EMBEDDED and len(said) == 1


def test_a_shared_cache_that_lacks_a_model_is_left_for_ones_own(tmp_path, monkeypatch):
    monkeypatch.setenv("COURSE_CACHE", str(tmp_path / "shared"))
    monkeypatch.setattr(paths.platformdirs, "user_cache_dir", lambda _: str(tmp_path / "own"))
    assert weights.place("a") == tmp_path / "shared" / "models" / "a"
    monkeypatch.setattr(os, "access", lambda folder, mode: Path(folder) != tmp_path / "shared")
    assert weights.place("a") == tmp_path / "own" / "models" / "a"
    (tmp_path / "shared" / "models" / "a").mkdir(parents=True)
    (tmp_path / "shared" / "models" / "a" / weights.MANIFEST).touch()
    assert weights.place("a") == tmp_path / "shared" / "models" / "a"


def test_a_new_workspace_is_its_owners_alone(own_workspace):
    assert paths.workspace() == own_workspace
    assert os.name == "nt" or own_workspace.stat().st_mode & 0o777 == 0o700


# --- the whole way ----------------------------------------------------------------------------------------------------


def can_unshare():
    return shutil.which("unshare") and not subprocess.run(["unshare", "-n", "true"], capture_output=True).returncode


@pytest.mark.slow
@pytest.mark.skipif(not can_unshare(), reason="这里不能建立没有网络的命名空间（unshare -n）")
def test_a_computer_without_network_installs_checks_and_trains(tmp_path):
    """In a network namespace that has no route, with an empty home: from the kit to a finished training."""
    made = tmp_path / "kit"
    kit.build(made, [wheels.this_target()])
    shutil.copytree(made / "course", tmp_path / "learner")
    rows = [
        f'{{"input": "{i} 号{word}", "output": "{label}"}}\n'
        for i in range(20)
        for word, label in (("好", "积极"), ("差", "消极"))
    ]
    (tmp_path / "rows.jsonl").write_text("".join(rows), encoding="utf-8")
    (tmp_path / "c.yaml").write_text(
        "name: t\ndata: rows.jsonl\nconstants: {instruction: 判断}\nmax_length: 64\n", encoding="utf-8"
    )
    (tmp_path / "home").mkdir()
    clean = {"PATH": os.environ["PATH"], "HOME": str(tmp_path / "home"), "PYTHONUTF8": "1"}
    system = getattr(sys, "_base_executable", sys.executable)

    def offline(*arguments):
        launcher = [system, "course.py", "--from", made, *arguments]
        done = subprocess.run(
            ["unshare", "-n", *launcher], cwd=tmp_path / "learner", env=clean, capture_output=True, text=True
        )
        print(done.stdout, done.stderr)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    said = offline("check")
    assert "不用联网" in said and "gemma-3-270m 已就绪" in said and "都连不上" in said
    assert "与 requirements.lock 一致" in said
    offline("train", tmp_path / "c.yaml")
    run = tmp_path / "learner" / "workspace" / "runs" / "t"
    assert (run / "adapter" / "adapter_model.safetensors").exists()
