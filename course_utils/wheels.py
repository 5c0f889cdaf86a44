"""The packages of requirements.lock as wheels, for computers that are not this one.

pip does the downloading, so the mirror, proxy and certificates set for pip hold here as well. What a marker says of
another computer, though, pip cannot be asked: it answers for its own.
"""

import os
import platform
import shutil
import subprocess
import sys
import sysconfig
import tempfile
import time
import zipfile
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from email.parser import HeaderParser
from functools import cached_property
from pathlib import Path

from packaging import tags
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name, parse_wheel_filename
from packaging.version import Version

from course_utils import paths
from course_utils.errors import ConfigError, CourseError

PYTHONS = ("3.11", "3.12", "3.13")
PARTIAL = "partial-"  # a folder beside the wheels while pip works
BATCH = 8  # packages per call of pip: what a call that is broken off has to do again
# What markers ask, and what wheels call the platform: glibc 2.28 and macOS 14, as the README requires.
SYSTEMS = {
    "linux": {"os_name": "posix", "sys_platform": "linux", "platform_system": "Linux"},
    "win": {"os_name": "nt", "sys_platform": "win32", "platform_system": "Windows"},
    "macosx": {"os_name": "posix", "sys_platform": "darwin", "platform_system": "Darwin"},
}
MACHINES = {"linux_x86_64": "x86_64", "linux_aarch64": "aarch64", "win_amd64": "AMD64", "macosx_arm64": "arm64"}


@dataclass(frozen=True)
class Wheel:
    """A file of the folder `wheels/`. tags: what it runs on."""

    path: Path
    name: str
    version: Version
    tags: frozenset

    @classmethod
    def read(cls, path: Path) -> "Wheel":
        name, version, _, found = parse_wheel_filename(path.name)
        return cls(path, name, version, found)

    def asks(self, target: "Target", extras: Iterable[str]) -> list[Requirement]:
        """What it needs beside itself on a computer of this kind, from its own METADATA."""
        with zipfile.ZipFile(self.path) as file:
            inside = next(name for name in file.namelist() if name.endswith(".dist-info/METADATA"))
            lines = HeaderParser().parsestr(file.read(inside).decode("utf-8")).get_all("Requires-Dist", [])
        return [need for need in map(Requirement, lines) if target.needs(need, extras)]


@dataclass(frozen=True)
class Target:
    """A kind of computer with a Python: what packages must be made for."""

    platform: str
    python: str  # 3.12

    def __str__(self) -> str:
        return f"{self.platform}（Python {self.python}）"

    @cached_property
    def platforms(self) -> list[str]:
        """Its names in the file names of wheels, the most special first."""
        if self.platform == "macosx_arm64":
            return list(tags.mac_platforms((14, 0), "arm64"))
        if not self.platform.startswith("linux"):
            return [self.platform]
        machine = MACHINES[self.platform]
        names = [f"manylinux_2_{glibc}" for glibc in range(28, 4, -1)]
        return [f"{name}_{machine}" for name in (*names, "manylinux2014", "manylinux2010", "manylinux1", "linux")]

    @cached_property
    def tags(self) -> frozenset:
        version = tuple(map(int, self.python.split(".")))
        compatible = tags.compatible_tags(version, f"cp{version[0]}{version[1]}", self.platforms)
        return frozenset([*tags.cpython_tags(version, platforms=self.platforms), *compatible])

    def needs(self, requirement: Requirement, extras: Iterable[str] = ()) -> bool:
        """Whether its marker holds here, for any patch release of this Python and any of the extras."""
        if requirement.marker is None:
            return True
        facts = SYSTEMS[self.platform.partition("_")[0]] | {
            "platform_machine": MACHINES[self.platform],
            "platform_release": "",
            "platform_version": "",
            "python_version": self.python,
            "implementation_name": "cpython",
            "platform_python_implementation": "CPython",
        }
        return any(
            requirement.marker.evaluate(
                facts | {"extra": extra, "python_full_version": full, "implementation_version": full}
            )
            for extra in ["", *extras]
            for full in (f"{self.python}.0", f"{self.python}.99")
        )

    def find(self, requirement: Requirement, wheels: list[Wheel]) -> Wheel | None:
        """The newest wheel that satisfies the requirement and runs here."""
        name = canonicalize_name(requirement.name)
        fitting = [
            wheel for wheel in wheels
            if wheel.name == name and wheel.tags & self.tags
            and requirement.specifier.contains(wheel.version, prereleases=True)
        ]  # fmt: skip
        return max(fitting, key=lambda wheel: wheel.version, default=None)


def this_target() -> Target:
    """The computer and the Python that run this, named as the launcher names them. Raises `ConfigError`."""
    name = sysconfig.get_platform()
    name = f"macosx_{platform.machine()}" if name.startswith("macosx") else name.replace("-", "_")
    return target(name, "{}.{}".format(*sys.version_info[:2]))


def target(system: str, python: str) -> Target:
    """Raises `ConfigError` for a platform or Python that the course does not support."""
    if system not in MACHINES:
        raise ConfigError(f"不支持的平台「{system}」。--platform 可以是：{'、'.join(MACHINES)}。")
    if python not in PYTHONS:
        raise ConfigError(f"不支持的 Python「{python}」。--python 可以是：{'、'.join(PYTHONS)}。")
    return Target(system, python)


def collect(target: Target, wheels: Path, log: Callable[[str], None]) -> tuple[list[Wheel], list[str]]:
    """Get into the folder what this target needs; returns the wheels it uses, and what has none.

    The lock says nearly all. CUDA's libraries are left out there, as only torch's own build names them exactly.
    """
    lines = (paths.ROOT / "requirements.lock").read_text(encoding="utf-8").splitlines()
    lock = [Requirement(line) for line in lines if line and not line.startswith("#")]
    locked = {canonicalize_name(need.name) for need in lock}
    wanted = [need for need in lock if target.needs(need)]
    found, missing, looked = {}, [], set()
    while wanted:
        missing += _get(wanted, target, wheels, log)
        here = _list(wheels)
        chosen = [(need, target.find(need, here)) for need in wanted]
        found |= {wheel.path.name: wheel for _, wheel in chosen if wheel}
        wanted = []
        for need, wheel in chosen:
            if wheel and (wheel.path.name, *sorted(need.extras)) not in looked:
                looked.add((wheel.path.name, *sorted(need.extras)))
                wanted += [n for n in wheel.asks(target, need.extras) if canonicalize_name(n.name) not in locked]
    return list(found.values()), missing


def drop_broken(wheels: Path, log: Callable[[str], None]) -> None:
    """Of an earlier call, keep the wheels in which every file has its checksum, and no more."""
    for folder in wheels.parent.glob(f"{PARTIAL}*"):
        shutil.rmtree(folder)
    for path in wheels.glob("*.whl"):
        try:
            with zipfile.ZipFile(path) as file:
                whole = file.testzip() is None
        except (zipfile.BadZipFile, OSError, EOFError):
            whole = False
        if not whole:
            log(f"{path.name} 已损坏，重新下载。")
            path.unlink()


def tell_missing(missing: dict[Target, list[str]]) -> str:
    places = "；".join(f"{target} 缺 {'、'.join(names)}" for target, names in missing.items() if names)
    return (
        f"软件源里没有合适的包：{places}。请换一个 Python 版本（--python），或者去掉这个平台（--platform），再运行一次；"
        "已经下载的都在。"
    )


def _get(wanted: list[Requirement], target: Target, wheels: Path, log: Callable[[str], None]) -> list[str]:
    """Download those that are not there yet, a few at a time; returns what has no wheel."""
    here = _list(wheels)
    needs = list(dict.fromkeys(_plain(need) for need in wanted if not target.find(need, here)))
    missing, begun = [], time.monotonic()
    for done in range(0, len(needs), BATCH):
        batch = needs[done : done + BATCH]
        left = (time.monotonic() - begun) / done * (len(needs) - done) if done else 0
        about = f"，剩余约 {left / 60:.1f} 分钟" if done else ""
        log(f"{target}：下载 {done}/{len(needs)} {batch[0]} ……{about}")
        if _pip_download(batch, target, wheels):
            continue
        for need in batch:  # one of them has no wheel, or they do not go together
            if not _pip_download([need], target, wheels) and not _pip_wheel(need, target, wheels):
                missing.append(need)
    return missing


def _plain(need: Requirement) -> str:
    """Without marker, which pip would hold against this computer, and without extras, which we follow ourselves."""
    return f"{need.name}{need.specifier}"


def _pip_download(needs: Iterable[str], target: Target, wheels: Path) -> bool:
    """Wheels for the target, all or none. False when one of them does not exist."""
    options = ["--no-deps", "--only-binary=:all:", "--implementation", "cp", "--python-version", target.python]
    for name in target.platforms:
        options += ["--platform", name]
    with tempfile.TemporaryDirectory(dir=wheels.parent, prefix=PARTIAL) as folder:
        return _pip("download", "--dest", folder, *options, *needs) and _keep(Path(folder), target, wheels)


def _pip_wheel(need: str, target: Target, wheels: Path) -> bool:
    """A wheel made here of a source distribution; pure Python fits everywhere, anything else only where it was made."""
    with tempfile.TemporaryDirectory(dir=wheels.parent, prefix=PARTIAL) as folder:
        return _pip("wheel", "--no-deps", "--wheel-dir", folder, need) and _keep(Path(folder), target, wheels)


def _keep(folder: Path, target: Target, wheels: Path) -> bool:
    """Take over whole files only, so that one that is there is one that came to its end."""
    made = _list(folder)
    if not all(wheel.tags & target.tags for wheel in made):
        return False
    for wheel in made:
        wheel.path.chmod(0o644)
        os.replace(wheel.path, wheels / wheel.path.name)
    return bool(made)


def _pip(*arguments: str) -> bool:
    """Run pip. False when packages have nothing that fits. Raises `CourseError` when it fails in another way."""
    command = [sys.executable, "-m", "pip", *arguments, "--disable-pip-version-check"]
    done = subprocess.run(command, capture_output=True, text=True, encoding="utf-8", errors="replace")
    said = done.stdout + done.stderr
    if not done.returncode:
        return True
    network = any(sign in said for sign in ("Retrying (Retry", "Connection", "timed out", "Temporary failure"))
    # Two versions of one package, for different patch releases of Python, are asked for at once and cannot be.
    hopeless = "No matching distribution" in said or "ResolutionImpossible" in said
    if not network and (arguments[0] == "wheel" or hopeless):
        return False
    errors = [line.removeprefix("ERROR: ") for line in said.splitlines() if line.startswith("ERROR: ")]
    raise CourseError(
        f"pip 没有下载成功（{errors[-1] if errors else '没有说明原因'}）。请检查网络、镜像源和磁盘空间，然后再运行同一条"
        "命令：已经下载的都在，会接着做。"
    )


def _list(folder: Path) -> list[Wheel]:
    return [Wheel.read(path) for path in sorted(folder.glob("*.whl"))]
