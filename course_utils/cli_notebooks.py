"""The commands of those who write the course: `course notebooks build` and `course notebooks time`."""

from pathlib import Path
from typing import Annotated

import typer

from course_utils.errors import ConfigError

app = typer.Typer(
    help="由 solutions/ 里的源文件生成笔记本、参考运行和用时表。", no_args_is_help=True, rich_markup_mode=None
)
Names = Annotated[list[str] | None, typer.Argument(metavar="名字", help="例如 03_sentiment_model 或 03；不给就是全部")]
Profile = Annotated[str | None, typer.Option(metavar="P", help="规模：ci、classroom 或 gpu")]
Workspace = Annotated[Path | None, typer.Option(metavar="DIR", help="在这个工作区里运行；不给就用临时的，用完删除")]


@app.command()
def build(
    names: Names = None,
    execute: Annotated[bool, typer.Option("--execute", help="也运行一遍，写出 solutions/ 里的参考运行")] = False,
    profile: Profile = None,
    workspace: Workspace = None,
    timed: Annotated[bool, typer.Option("--time", help="同一遍运行也更新用时表")] = False,
) -> None:
    """生成学习者的笔记本；加 --execute，还有带输出的参考运行。"""
    from course_utils import notebooks

    for source in notebooks.sources(names or ()):
        print(notebooks.build(source).name, flush=True)
    if execute:
        _run(names, profile, workspace, keep=True, timed=timed)


@app.command()
def time(names: Names = None, profile: Profile = None, workspace: Workspace = None) -> None:
    """运行每个笔记本，量每一节的时间和内存，更新 docs/timing.md 里这一种规模的一列。"""
    _run(names, profile, workspace, keep=False, timed=True)


def _run(names: list[str] | None, profile: str | None, workspace: Path | None, keep: bool, timed: bool) -> None:
    from course_utils import notebook_runs, notebook_times, notebooks, profiles

    profile = profiles.named(profile) if profile else profiles.profile()
    if timed and workspace and workspace.exists() and any(workspace.iterdir()):
        raise ConfigError(f"量用时要用空的工作区：{workspace} 里有东西，训练过的就不再训练，量出来会太短。")
    for source in notebooks.sources(names or ()):
        with notebook_runs.own_workspace(workspace) as folder:
            run = notebook_runs.execute(notebooks.read(source), source.stem, profile, folder)
        if keep:
            notebook_runs.keep(source, run)
        if timed:
            notebook_times.renew(source.stem, profile, run.sections)
        print(f"{source.stem}：{sum(s.seconds for s in run.sections):.0f} 秒", flush=True)
