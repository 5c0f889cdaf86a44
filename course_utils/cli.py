"""The command `course`: the steps of the course for a terminal.

What a command needs is imported inside it: `course --help` must not wait for torch.
"""

import os
import subprocess
import sys
from pathlib import Path
from typing import Annotated

import typer

from course_utils import (
    cli_data,
    cli_evaluation,
    cli_grading,
    cli_jobs,
    cli_kit,
    cli_notebooks,
    cli_progress,
    cli_serving,
    paths,
)
from course_utils.errors import ConfigError, CourseError

app = typer.Typer(
    help="大模型精调实战课：在终端里完成课程的每一步。",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
)

app.add_typer(cli_data.app, name="data")
app.add_typer(cli_jobs.app, name="jobs")
app.add_typer(cli_notebooks.app, name="notebooks")
app.add_typer(cli_kit.app, name="kit")
app.add_typer(cli_grading.app, name="grade")
app.add_typer(cli_serving.service, name="service")
app.add_typer(cli_serving.app, name="app")
app.add_typer(cli_serving.key, name="key")
app.command()(cli_grading.submit)
app.command()(cli_jobs.submit_job)
app.command()(cli_serving.publish)
app.command()(cli_serving.serve)
app.command()(cli_evaluation.batch)
app.command()(cli_evaluation.evaluate)
app.command()(cli_evaluation.report)
app.command()(cli_progress.progress)
app.command(hidden=True)(cli_jobs.job)

# Everything after the command's name goes on as it is, options included.
PASS_ON = {"ignore_unknown_options": True}
# The server drops larger messages without a word, and an upload in a panel is one message.
UPLOADS = "--ServerApp.tornado_settings={'websocket_max_message_size': 209715200}"
# Authors write with jupytext; what it adds to JupyterLab's launcher and menus would only distract a learner.
JUPYTER = Path(__file__).with_name("jupyter")
Rest = Annotated[list[str] | None, typer.Argument(metavar="选项", show_default=False)]


@app.command()
def check() -> None:
    """检查这台电脑的环境：每行一项，有问题的给出修复办法。"""
    from course_utils import environment

    lines = environment.report()
    print(*lines, sep="\n", flush=True)
    raise typer.Exit(any(line.level == environment.FAILED for line in lines))


@app.command(context_settings=PASS_ON)
def lab(
    options: Rest = None,
    merge: Annotated[bool, typer.Option("--merge", help="把课程的新版合并进你改过的笔记本")] = False,
) -> None:
    """在工作区里打开 JupyterLab；别的选项原样传给它，例如 --no-browser。"""
    from course_utils import copies

    for line in copies.update(merge):
        print(line, flush=True)
    places = [f"--ServerApp.root_dir={paths.workspace()}", f"--ServerApp.preferred_dir={copies.folder()}"]
    with_ours = os.pathsep.join(filter(None, (str(JUPYTER), os.environ.get("JUPYTER_CONFIG_PATH"))))
    if "JUPYTERHUB_API_TOKEN" in os.environ:  # a JupyterHub started us, and will want to stop the very server
        os.chdir(copies.folder())
        command = [sys.executable, "-m", "jupyterhub.singleuser", UPLOADS, *places, *(options or [])]
        os.execve(command[0], command, os.environ | {"JUPYTER_CONFIG_PATH": with_ours})
    raise typer.Exit(
        _run("jupyterlab", [UPLOADS, *places, *(options or [])], copies.folder(), {"JUPYTER_CONFIG_PATH": with_ours})
    )


@app.command(context_settings=PASS_ON)
def test(options: Rest = None) -> None:
    """运行测试；后面的选项原样传给 pytest，例如 -m slow。"""
    raise typer.Exit(_run("pytest", options, paths.ROOT))


@app.command()
def demo(quick: Annotated[bool, typer.Option("--quick", help="短的版本：数据少，只为看看流程")] = False) -> None:
    """用真实评论微调一个模型，再和别的办法比一比。"""
    from course_utils.demo import demo

    demo(quick)


@app.command()
def train(
    config: Annotated[Path | None, typer.Argument(metavar="CONFIG.yaml", help="数据和设置")] = None,
    resume: Annotated[Path | None, typer.Option(metavar="DIR", help="继续一次没有训练完的训练")] = None,
) -> None:
    """按一个 YAML 文件微调模型，或者用 --resume 继续。"""
    from course_utils.training.recipe import read_recipe
    from course_utils.training.run import Run
    from course_utils.training.train import resume as go_on
    from course_utils.training.train import train

    if (config is None) == (resume is None):
        raise ConfigError("请给一个配置文件，或者用 --resume 给一个训练文件夹，二者选一。")
    run = go_on(Run(resume)) if resume else train(*read_recipe(config))
    print(f"训练完成：{run.folder}")


@app.command()
def predict(
    data: Annotated[Path, typer.Option(metavar="FILE", help="jsonl、json 或 csv，每行一条")],
    out: Annotated[Path, typer.Option(metavar="FILE.jsonl", help="写到哪里")],
    run: Annotated[Path | None, typer.Option(metavar="DIR", help="训练文件夹")] = None,
    model: Annotated[str | None, typer.Option(metavar="NAME", help="基座模型，或者登记过的远程模型")] = None,
    mapping: Annotated[list[str] | None, typer.Option("--map", metavar="列=字段", help="例如 text=input")] = None,
    labels: Annotated[str | None, typer.Option(help="用逗号隔开；给了就从中选，例如 积极,消极")] = None,
    instruction: Annotated[str | None, typer.Option(help="每行同样的指令；不给就用训练时的指令")] = None,
) -> None:
    """用训练好的、基座或远程模型给一个文件的每一行写出答案。"""
    from course_utils.evaluation.answering import predict_file

    if (run is None) == (model is None):
        raise ConfigError("请用 --run 给一个训练文件夹，或者用 --model 给一个基座模型，二者选一。")
    pairs = [pair.partition("=") for pair in mapping or []]
    if any(not column or not target for column, _, target in pairs):
        raise ConfigError("--map 要写成 列=字段，例如 --map text=input。")
    chosen = labels.replace("，", ",").split(",") if labels else None
    rows = predict_file(data, out, run or model, {column: target for column, _, target in pairs}, chosen, instruction)
    print(f"{rows} 条答案已写到 {out}")


def _run(module: str, options: list[str] | None, folder: Path, environment: dict[str, str] | None = None) -> int:
    """Run a module of this Python in `folder` and return its exit status. Ctrl-C is for the module to answer."""
    command = [sys.executable, "-m", module, *(options or [])]
    process = subprocess.Popen(command, cwd=folder, env=os.environ | (environment or {}))
    while True:
        try:
            return process.wait()
        except KeyboardInterrupt:
            continue


def main() -> None:
    """The entry point: what the learner can mend is one line on stderr and exit status 1, never a traceback."""
    for stream in (sys.stdout, sys.stderr):
        stream.reconfigure(errors="replace")  # a console that lacks a character shows ? in its place
    try:
        app()
    except CourseError as error:
        print(error, file=sys.stderr, flush=True)
        sys.exit(1)
    except OSError as error:
        if error.filename is None:
            raise
        print(
            f"读写不了 {error.filename}（{error.strerror}）。请检查路径、权限和磁盘空间。", file=sys.stderr, flush=True
        )
        sys.exit(1)


if __name__ == "__main__":
    main()
