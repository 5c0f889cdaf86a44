"""The commands of the offline kit: `course kit build`, `verify`, and what the launcher calls after installing."""

import functools
import subprocess
import sys
from pathlib import Path
from typing import Annotated

import typer

app = typer.Typer(help="离线包：做一个、核对一个，给没有网络的教室用。", no_args_is_help=True, rich_markup_mode=None)
Folder = Annotated[Path, typer.Argument(metavar="DIR", help="离线包的文件夹")]


@app.command()
def build(
    out: Annotated[Path, typer.Option(metavar="DIR", help="离线包放在哪里：一个新文件夹，或者上次没有做完的离线包")],
    platform: Annotated[
        list[str] | None,
        typer.Option(help="学生电脑的系统，可以给几次：win_amd64、macosx_arm64、linux_x86_64、linux_aarch64"),
    ] = None,
    python: Annotated[list[str] | None, typer.Option(help="学生电脑上的 Python，可以给几次：3.11、3.12、3.13")] = None,
    model: Annotated[bool, typer.Option(help="连同转换好的模型（约 0.6 GB），学生第一次启动更快")] = True,
    solutions: Annotated[bool, typer.Option(help="连同参考答案的文件夹 solutions")] = True,
) -> None:
    """做一个离线包；不指明系统和 Python，就为这台电脑做。断了再运行一次，会接着做。"""
    from course_utils import kit, wheels

    here = wheels.this_target()
    targets = [wheels.target(p, v) for p in platform or [here.platform] for v in python or [here.python]]
    manifest = kit.build(out, targets, model, solutions, log=functools.partial(print, flush=True))
    size = sum(file["bytes"] for file in manifest["files"].values()) / 1e9
    print(f"离线包做好了：{out}，{len(manifest['files'])} 个文件，{size:.1f} GB。")
    print(f"核对：course kit verify {out}")


@app.command()
def verify(folder: Folder) -> None:
    """核对离线包的每个文件（SHA-256）。没有安装课程时，运行 python course.py kit verify DIR。"""
    from course_utils import paths

    # The launcher knows how: it must be able to before anything is installed.
    launcher = [sys.executable, paths.ROOT / "course.py", "kit", "verify", folder.resolve()]
    raise typer.Exit(subprocess.run(launcher).returncode)


@app.command(hidden=True)
def unpack(folder: Folder) -> None:
    """把离线包里转换好的模型放到这台电脑的缓存里；安装时由启动器调用。"""
    from course_utils import kit

    kit.unpack(folder)
