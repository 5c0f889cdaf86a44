"""What a learner made in a panel, for the cell below it: taken when it is there, else made here. Either way it is said.

A notebook with panels then also runs from top to bottom without a hand on the mouse. A name also means its numbered
followers: a second training called 商品分类 has the folder 商品分类-2, and the newest is taken.
"""

import re
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from course_utils import paths
from course_utils.errors import ConfigError

Log = Callable[[str], None]
EVERY = 1  # seconds between two looks at a job
SHARES = (0.25, 0.5, 0.75)  # of a training, at which a line is said


def dataset(name: str, preset: str, log: Log = print):
    """The learner's `DataSet` called `name`, else a copy of `preset` under this name."""
    from course_utils.data import presets, store

    lineage = {"tool": "preset", "source": preset}
    return made(name, lambda: store.DataSet.create(name, {store.ALL: presets.rows(preset)}, lineage), log)


def made(name: str, make: Callable, log: Log = print):
    """The learner's `DataSet` called `name`, else what `make` saves under this name."""
    from course_utils.data import store

    if name not in store.names():
        log(f"工作区里还没有「{name}」，这一格替你做了一份。")
        make()
        return store.DataSet.open(name)
    found = store.DataSet.open(name)
    log(f"用的是工作区里的数据集「{name}」第 {found.version} 版。")
    return found


def training(recipe: dict, log: Log = print):
    """The newest `Run` with the name in `recipe`, in whatever state; else the recipe is submitted, as the studio does."""
    from course_utils.training.jobs import submit_training
    from course_utils.training.recipe import parse_recipe

    if found := _runs(recipe["name"]):
        job = _job(found[0].folder)
        log(f"用的是「{found[0].folder.name}」" + (f"（第 {job.number} 号任务，{job.state}）。" if job else "。"))
        return found[0]
    job = submit_training(*parse_recipe(recipe))
    log(f"还没有叫「{recipe['name']}」的训练，这一格替你提交了（第 {job.number} 号任务）。")
    return _runs(recipe["name"])[0]


def run(name: str, log: Log = print):
    """The newest finished `Run` called `name`; waits while its job is under way. Raises `ConfigError`."""
    if not (found := _runs(name)):
        raise ConfigError(f"还没有叫「{name}」的训练。请先在「模型精调」面板里提交，再运行这一格。")
    _wait(found[0].folder, log)
    if not found[0].finished:
        raise ConfigError(f"「{found[0].folder.name}」没有训练完。请在「任务与训练过程」面板里选中它，点「继续」。")
    return found[0]


def batch(name: str, models: Sequence[str] = (), rows: Sequence = (), log: Log = print, **options) -> Path:
    """The folder of the newest batch called `name` with these models, waited for or gone on with; else made here.

    options: as for `batch_predict`. Raises `ConfigError` when there is none, and no rows to make it of.
    """
    from course_utils.evaluation.batch import batch_predict, prepare_batch, read_work, run_batch
    from course_utils.training.run import new_folder

    home = paths.workspace() / "batches"
    files = sorted(home.glob("*/batch.json"), key=lambda file: file.stat().st_mtime, reverse=True)
    for folder in (file.parent for file in files):
        if _called(folder, name) and set(models) <= read_work(folder)["models"].keys():
            log(f"用的是批量推理「{folder.name}」。")
            _wait(folder, log)
            run_batch(folder, log)  # what is answered already is not asked again
            return folder
    if not rows:
        raise ConfigError(f"还没有叫「{name}」的批量推理。请先运行做它的那一格。")
    log(f"还没有叫「{name}」的批量推理，这一格替你做一次。")
    folder = prepare_batch(models, rows, new_folder(home, name), **options)
    batch_predict(models, rows, folder, log=log, **options)
    return folder


def service(name: str, run, log: Log = print):
    """The `Version` of service `name` that was published from `run`, else published now."""
    from course_utils.serving.publish import publish
    from course_utils.serving.services import services

    versions = [version for found in services() if found.name == name for version in found.versions]
    for version in reversed(versions):
        if version.run == run.folder.name:
            log(f"用的是服务「{name}」第 {version.number} 版。")
            return version
    log(f"服务「{name}」里还没有这次训练，这一格替你发布。")
    return publish(run, name, log)


def export(run, way: str, log: Log = print) -> Path:
    """The folder `exports/NAME-WAY` of the workspace, made when it is not there. way: adapter, merged or gguf."""
    from course_utils.training import export as exports

    out = paths.workspace() / "exports" / f"{run.folder.name}-{way}"
    if out.exists():
        log(f"用的是导出过的 {out.name}。")
    else:
        make = {"adapter": exports.export_adapter, "merged": exports.export_merged, "gguf": exports.export_gguf}[way]
        make(run, out) if way == "adapter" else make(run, out, log=log)
    return out


def _runs(name: str) -> list:
    from course_utils.training.history import runs

    return [found for found in runs() if _called(found.folder, name)]


def _called(folder: Path, name: str) -> bool:
    return bool(re.fullmatch(rf"{re.escape(name)}(-\d+)?", folder.name))


def _job(folder: Path):
    from course_utils.training import jobs

    return next((job for job in jobs.jobs() if job.folder == folder.resolve()), None)


def _wait(folder: Path, log: Log) -> None:
    """Until the job that works in `folder`, if there is one, has ended. Raises `ConfigError` when it failed."""
    from course_utils.training import jobs

    job, shares, place = _job(folder), list(SHARES), None
    while job and job.state not in jobs.ENDED:
        if job.place and job.place != place:
            log(f"第 {job.number} 号任务在排队，前面还有 {job.place} 个……")
        done, line = _progress(folder)
        if shares and done >= shares[0]:
            shares = [share for share in shares if share > done]
            log(line)
        place = job.place
        time.sleep(EVERY)
        job = jobs.job(job.number)
    if job and job.state == jobs.FAILED:
        raise ConfigError(f"第 {job.number} 号任务「{job.name}」失败了：{job.message}")


def _progress(folder: Path) -> tuple[float, str]:
    """The share of a training that is done, and a line about it; a batch says its own."""
    from course_utils.training.run import Run

    if not (folder / "config.yaml").exists():
        return 0.0, ""
    steps = [line for line in Run(folder).metrics if "loss" in line]
    total = Run(folder).facts.get("total_steps")
    if not steps or not total:
        return 0.0, ""
    last = steps[-1]
    left = f"，剩余约 {last['time_left'] / 60:.1f} 分钟" if last.get("time_left") else ""
    return last["step"] / total, f"第 {last['step']}/{total} 步，损失 {last['loss']:.3f}{left}"
