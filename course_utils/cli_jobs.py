"""The commands of the queue: `course submit-job`, `course jobs`, and what a job's process runs."""

import json
import time
from dataclasses import asdict
from datetime import datetime
from pathlib import Path
from typing import Annotated

import typer

app = typer.Typer(help="看任务、跟着看进度、停止、继续。", rich_markup_mode=None)
Number = Annotated[int, typer.Argument(metavar="N", help="任务的号码")]


@app.callback(invoke_without_command=True)
def jobs(context: typer.Context, as_json: Annotated[bool, typer.Option("--json", help="输出 JSON")] = False) -> None:
    """列出这个工作区的任务。"""
    from course_utils.training import jobs

    if context.invoked_subcommand:
        return
    found = jobs.jobs()
    if as_json:
        rows = [asdict(job) | {"folder": str(job.folder), "place": job.place} for job in found]
        print(json.dumps(rows, ensure_ascii=False, indent=1))
    elif not found:
        print("还没有任务。提交一个：course submit-job CONFIG.yaml")
    for job in () if as_json else found:
        print(f"{job.number:>4}  {job.standing}  {job.name}  {datetime.fromtimestamp(job.created):%m-%d %H:%M}")
        if job.message:
            print(f"      {job.message}")


@app.command()
def follow(number: Number) -> None:
    """跟着看一个任务，直到它结束；按 Ctrl-C 只是不再看，任务继续。"""
    from course_utils.training import jobs

    last = ""
    while True:
        job = jobs.job(number)
        line = job.standing + (f"，{progress(job.folder)}" if job.state == jobs.RUNNING else "")
        if line != last:
            print(line, flush=True)
            last = line
        if job.state in jobs.ENDED:
            print(job.message or f"结果在 {job.folder}")
            raise typer.Exit(job.state == jobs.FAILED)
        time.sleep(1)


@app.command()
def stop(number: Number) -> None:
    """停止一个任务；已经训练的部分会存成检查点。"""
    from course_utils.training import jobs

    job = jobs.stop(number)
    print(f"第 {number} 号任务{job.state}。" if job.state in jobs.ENDED else f"第 {number} 号任务会在这一步之后停下。")


@app.command()
def resume(number: Number) -> None:
    """让停止或失败的任务从最近的检查点继续，重新排队。"""
    from course_utils.training import jobs

    print(f"第 {jobs.resume(number).number} 号任务重新排队。")


def submit_job(config: Annotated[Path, typer.Argument(metavar="CONFIG.yaml", help="数据和设置")]) -> None:
    """把一次训练放进队列，在后台进行；只打印任务的号码。"""
    from course_utils.training.jobs import submit_training
    from course_utils.training.recipe import read_recipe

    print(submit_training(*read_recipe(config)).number)


def job(number: int) -> None:
    """What a job's own process runs."""
    from course_utils.training import jobs

    jobs.work(number, _do)


def progress(folder: Path) -> str:
    """How far a training run has come."""
    from course_utils.training.run import Run

    if (folder / "batch.json").exists():
        from course_utils.evaluation.batch import progress_line

        return progress_line(folder)
    if not (folder / "config.yaml").exists():
        return "正在进行"
    run = Run(folder)
    steps = [line for line in run.metrics if "loss" in line]
    if not steps:
        return "正在准备"
    line, total = steps[-1], run.facts.get("total_steps", "?")
    left = f"，剩余约 {line['time_left'] / 60:.1f} 分钟" if line.get("time_left") else ""
    return f"第 {line['step']}/{total} 步，损失 {line['loss']:.3f}{left}"


def _do(job) -> bool:
    if job.kind == "batch":
        from course_utils.evaluation.batch import run_batch

        return run_batch(job.folder)
    if job.kind == "compare":
        from course_utils.training.history import run_comparison

        return run_comparison(job.folder)
    from course_utils.training.run import Run
    from course_utils.training.train import fit

    return fit(Run(job.folder)).finished
