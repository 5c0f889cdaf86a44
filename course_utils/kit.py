"""The offline kit: a folder from which the course is installed and started on computers without a network.

    README.md       how to use it, in Chinese
    course/         the files of the course, as git tracks them
    wheels/         every package of requirements.lock, for each platform and Python asked for
    models/         the embedded model, converted, so that the first start is quick (optional)
    manifest.json   what it fits, and the SHA-256 of every file

The launcher, course.py, checks the manifest and installs from it, since that happens before anything is installed.
"""

import hashlib
import json
import os
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

from filelock import FileLock

from course_utils import paths
from course_utils.data.records import atomic_writer
from course_utils.errors import ConfigError
from course_utils.models import weights
from course_utils.wheels import Target, collect, drop_broken, tell_missing

EMBEDDED = "gemma-3-270m"
README = """# 大模型精调实战课：离线包

1. 把文件夹 `course` 复制到自己的电脑上（不要在 U 盘或共享盘里直接运行）。
2. 安装 Python {pythons}（64 位）。
3. 在复制好的 `course` 文件夹里打开终端，运行（把 `离线包` 换成这个文件夹的位置）：

```sh
python course.py --from 离线包 check
python course.py lab
```

适用于：{platforms}。安装之前会核对每个文件；只想核对时运行 `python course.py --from 离线包 kit verify`。
随包附带的 Gemma 3 270M 权重受 Gemma 使用条款约束：https://ai.google.dev/gemma/terms
"""


def build(
    out: Path,
    targets: list[Target],
    model: bool = True,
    solutions: bool = True,
    log: Callable[[str], None] = print,
) -> dict:
    """Make, renew or finish the kit in folder `out`; returns its manifest.

    model: with the converted weights. solutions: with the folder `solutions/`. A call that was broken off is gone on with: wheels that are there and whole are
    kept. Raises `ConfigError` when `out` holds something else or packages have no wheel, `CourseError` when pip fails.
    """
    _take(out)
    _copy_course(out / "course", solutions)
    wheels = out / "wheels"
    wheels.mkdir(exist_ok=True)
    drop_broken(wheels, log)
    used, missing = set(), {}
    for target in targets:
        found, missing[target] = collect(target, wheels, log)
        used |= {wheel.path.name for wheel in found}
    if any(missing.values()):
        raise ConfigError(tell_missing(missing))
    for path in wheels.iterdir():  # of an older lock, or of a platform that is no longer asked for
        if path.name not in used:
            path.unlink()
    shutil.rmtree(out / "models", ignore_errors=True)
    if model:
        _copy(weights.prepare(EMBEDDED, log), out / "models" / EMBEDDED)
    platforms = list(dict.fromkeys(target.platform for target in targets))
    pythons = list(dict.fromkeys(target.python for target in targets))
    text = README.format(pythons="、".join(pythons), platforms="、".join(platforms))
    (out / "README.md").write_text(text, encoding="utf-8")
    log("正在计算每个文件的 SHA-256 ……")
    facts = {"course": _git("describe", "--always", "--dirty").strip(), "platforms": platforms, "pythons": pythons}
    return _write_manifest(out, facts)


def unpack(kit: Path, log: Callable[[str], None] = print) -> None:
    """Copy the converted models of a kit into this computer's cache, those apart that are there already."""
    for source in sorted((kit / "models").iterdir()):
        folder = weights.place(source.name)
        folder.parent.mkdir(parents=True, exist_ok=True)
        with FileLock(f"{folder}.lock"):
            if weights.is_ready(folder):
                continue
            partial = folder.with_name(folder.name + ".partial")
            shutil.rmtree(partial, ignore_errors=True)
            _copy(source, partial)
            shutil.rmtree(folder, ignore_errors=True)
            os.replace(partial, folder)
        log(f"模型 {source.name} 已就绪：{folder}")


# --- the course's own files -------------------------------------------------------------------------------------------


def _take(out: Path) -> None:
    """Make `out`, or take one that is a kit; its manifest is empty until the kit is complete."""
    if out.exists() and any(out.iterdir()) and not (out / "manifest.json").exists():
        raise ConfigError(f"文件夹 {out} 里已经有别的东西。请给 --out 一个新的文件夹，或者一个已有的离线包。")
    out.mkdir(parents=True, exist_ok=True)
    with atomic_writer(out / "manifest.json") as file:
        json.dump({"files": {}}, file)


def _copy_course(folder: Path, solutions: bool) -> None:
    """Only what git tracks: neither the teacher's keys nor anybody's work is among it."""
    shutil.rmtree(folder, ignore_errors=True)
    for name in _git("ls-files", "-z").split("\0"):
        if name.startswith("solutions/") and not solutions:
            continue
        if name and (paths.ROOT / name).is_file():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(paths.ROOT / name, folder / name)


def _git(*arguments: str) -> str:
    try:
        done = subprocess.run(["git", "-C", paths.ROOT, *arguments], capture_output=True, check=True)
    except (OSError, subprocess.CalledProcessError) as error:
        raise ConfigError(
            f"{paths.ROOT} 不是 git 仓库，或者没有安装 git，分不清哪些是课程的文件。请用 git clone 得到的课程做离线包。"
        ) from error
    return done.stdout.decode("utf-8")


def _copy(source: Path, folder: Path) -> None:
    """Contents only: a model's file that none but its owner may read would be of no use to a class."""
    folder.mkdir(parents=True)
    for file in source.iterdir():
        shutil.copyfile(file, folder / file.name)


def _write_manifest(out: Path, facts: dict) -> dict:
    files = {}
    for path in sorted(out.rglob("*")):
        if path.is_file() and path != out / "manifest.json":
            with path.open("rb") as file:
                digest = hashlib.file_digest(file, "sha256").hexdigest()
            files[path.relative_to(out).as_posix()] = {"bytes": path.stat().st_size, "sha256": digest}
    manifest = facts | {"files": files}
    with atomic_writer(out / "manifest.json") as file:
        json.dump(manifest, file, ensure_ascii=False, indent=1)
    return manifest
