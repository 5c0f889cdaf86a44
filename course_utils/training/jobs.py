"""Jobs: work in processes of their own, one at a time per device, kept in a small SQLite table in the workspace.

A job outlives the kernel, the browser and the JupyterLab that submitted it. It works in its folder, which says all
that there is to say of it; the table only says which process is at it and how it ended.
"""

import os
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass, fields
from pathlib import Path

import psutil

from course_utils import paths
from course_utils.data.records import Record
from course_utils.errors import ConfigError, CourseError
from course_utils.training import turns
from course_utils.training.config import TrainingConfig
from course_utils.training.run import Run, check_parts

QUEUED, RUNNING, DONE, FAILED, STOPPED = STATES = ("排队中", "运行中", "已完成", "失败", "已停止")
ENDED = (DONE, FAILED, STOPPED)


@dataclass(frozen=True)
class Job:
    """A row of the table. kind: train or batch. ticket: its number in the machine's queue while it waits or runs.
    pid, birth: of its process. created, started, ended: seconds since the epoch.
    """

    number: int
    name: str
    kind: str
    folder: Path
    state: str
    message: str
    created: float
    started: float | None
    ended: float | None
    pid: int | None
    birth: float | None
    ticket: int | None

    @property
    def place(self) -> int | None:
        """How many come before it, of every user of this machine; None when it does not wait."""
        return turns.place(self.ticket) if self.state == QUEUED and self.ticket else None

    @property
    def standing(self) -> str:
        """Its state for a reader, with the jobs that come before it."""
        place = self.place
        return f"{self.state}，前面还有 {place} 个" if place else self.state


def submit_training(config: TrainingConfig, data: dict[str, list[Record]], name: str = "run") -> Job:
    """Put a fine-tune into the queue; its run folder is there at once. Raises `CourseError`."""
    from course_utils.training.estimate import check_fits

    check_parts(data)
    check_fits(config)
    return submit("train", Run.create(config, data, name).folder)


def submit(kind: str, folder: Path) -> Job:
    """Start a process that waits for its turn and then does the work that `folder` describes."""
    with closing(_table()) as table, table:
        row = table.execute(
            "INSERT INTO job (name, kind, folder, state, message, created) VALUES (?, ?, ?, ?, '', ?)",
            (folder.name, kind, str(folder.resolve()), QUEUED, time.time()),
        )
        number = row.lastrowid
    return _start(number)


def jobs() -> list[Job]:
    """All jobs of this workspace, the newest first. One whose process is gone is no longer called running."""
    found = [_reconciled(job) for job in _select("")]
    return sorted(found, key=lambda job: -job.number)


def job(number: int) -> Job:
    """The job of this number. Raises `ConfigError`."""
    found = _select("WHERE number = ?", number)
    if not found:
        raise ConfigError(f"没有第 {number} 号任务。用 course jobs 看看有哪些。")
    return _reconciled(found[0])


def stop(number: int) -> Job:
    """Ask a job to stop: at once when it waits, after the step at hand (which is saved) when it runs."""
    found = job(number)
    if found.state in ENDED:
        raise ConfigError(f"第 {number} 号任务{found.state}，不用再停。")
    (found.folder / "stop").touch()
    if found.state == QUEUED:
        _update(number, state=STOPPED, message="还没有开始就停下了。", ended=time.time())
    return job(number)


def resume(number: int) -> Job:
    """Put a stopped or failed job into the queue again; it goes on from its newest checkpoint."""
    found = job(number)
    if found.state not in (STOPPED, FAILED):
        raise ConfigError(f"第 {number} 号任务{found.state}，不能继续。只有已停止或失败的任务可以继续。")
    _update(number, state=QUEUED, message="", started=None, ended=None, pid=None, birth=None, ticket=None)
    return _start(number)


def work(number: int, do: Callable[[Job], bool]) -> None:
    """What a job's process does: wait for its turn, `do` the work, write down how it ended.

    do: does the job's work and returns whether it was finished (False: stopped on request).
    """
    pid, birth = turns.me()
    turn = turns.Turn(stopped=lambda: job(number).state == STOPPED)
    _update(number, pid=pid, birth=birth, ticket=turn.ticket)
    with turn:
        if not turn.mine:
            return
        _update(number, state=RUNNING, started=time.time())
        try:
            finished = do(job(number))
            _end(number, DONE if finished else STOPPED, "" if finished else "停下了，做完的都在，可以继续。")
        except CourseError as error:
            _end(number, FAILED, str(error))
            raise
        except BaseException as error:
            _end(number, FAILED, f"出现了意料之外的问题（{type(error).__name__}：{error}）。详情在 log.txt 里。")
            raise


def log_file(folder: Path) -> Path:
    """What a job's process printed."""
    return folder / "log.txt"


def _start(number: int) -> Job:
    """Start the process of a job, independent of this one; it counts as started when it has its ticket."""
    found = _select("WHERE number = ?", number)[0]
    (found.folder / "stop").unlink(missing_ok=True)
    free = {"start_new_session": True} if os.name != "nt" else {"creationflags": 0x00000008 | 0x00000200}
    environment = os.environ | {"COURSE_WORKSPACE": str(paths.workspace()), "PYTHONUTF8": "1", "PYTHONUNBUFFERED": "1"}
    with log_file(found.folder).open("ab") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", "course_utils.cli", "job", str(number)],
            stdin=subprocess.DEVNULL, stdout=log, stderr=log, cwd=paths.workspace(), env=environment, **free,
        )  # fmt: skip
    birth = psutil.Process(process.pid).create_time()
    _update(number, pid=process.pid, birth=birth)
    return _select("WHERE number = ?", number)[0]


def _reconciled(found: Job) -> Job:
    """A job that has no process can neither wait nor run."""
    if found.state in ENDED or turns.is_alive(found.pid, found.birth):
        return found
    found = _select("WHERE number = ?", found.number)[0]  # it may have ended between our two looks
    if found.state in ENDED:
        return found
    if psutil.boot_time() > (found.started or found.created):
        reason = "机器重启了，任务断在最近的检查点。可以继续。"
    elif found.state == RUNNING:
        reason = "进程被系统结束了，多半是内存不够。请调小「批大小」或「最大长度」，或者关掉别的程序，再继续。"
    else:
        reason = "排队的进程不在了。可以继续。"
    _end(found.number, FAILED, reason)
    return _select("WHERE number = ?", found.number)[0]


def _end(number: int, state: str, message: str) -> None:
    _update(number, state=state, message=message, ended=time.time(), ticket=None)


def _select(where: str, *values) -> list[Job]:
    names = [field.name for field in fields(Job)]
    with closing(_table()) as table:
        rows = table.execute(f"SELECT {', '.join(names)} FROM job {where} ORDER BY number", values).fetchall()
    return [Job(**dict(zip(names, row, strict=True)) | {"folder": Path(row[3])}) for row in rows]


def _update(number: int, **values) -> None:
    changes = ", ".join(f"{name} = ?" for name in values)
    with closing(_table()) as table, table:
        table.execute(f"UPDATE job SET {changes} WHERE number = ?", (*values.values(), number))


def _table() -> sqlite3.Connection:
    """Opened anew each time: several processes and threads work on it. Waits for another's write for 30 seconds."""
    table = sqlite3.connect(paths.workspace() / "jobs.db", timeout=30)
    table.execute("PRAGMA journal_mode = WAL")
    table.execute(
        "CREATE TABLE IF NOT EXISTS job (number INTEGER PRIMARY KEY AUTOINCREMENT, name TEXT NOT NULL, "
        "kind TEXT NOT NULL, folder TEXT NOT NULL, state TEXT NOT NULL, message TEXT NOT NULL, created REAL NOT NULL, "
        "started REAL, ended REAL, pid INTEGER, birth REAL, ticket INTEGER)"
    )
    return table
