"""Whose turn it is on this machine: numbered tickets for the order, the system's own lock for the one that runs.

All users of a machine share the folder, so it holds nothing but process numbers; what is trained stays in each one's
workspace. A process that dies leaves its ticket, which counts no more, and its lock, which the system takes back.
"""

import contextlib
import getpass
import json
import os
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import psutil

WAIT = 0.5  # seconds between two looks
YOUNG = 5  # seconds in which a ticket may still be empty: its owner is writing it


def queue_folder() -> Path:
    """`$COURSE_QUEUE`, else a folder in the system's temporary one that every user may write to."""
    place = os.environ.get("COURSE_QUEUE") or Path(tempfile.gettempdir()) / "llm-course-queue"
    folder = Path(place) / (os.environ.get("CUDA_VISIBLE_DEVICES") or "device").replace(",", "-")
    for made in (folder.parent, folder):
        made.mkdir(parents=True, exist_ok=True)
        with contextlib.suppress(OSError):  # it belongs to the user who was first
            made.chmod(0o1777)  # everyone may add, only the owner may take away
    return folder


def is_alive(pid: int | None, birth: float | None) -> bool:
    """Whether the very process lives that had this number; numbers are given anew, births are not."""
    try:
        process = psutil.Process(pid)
        return abs(process.create_time() - birth) < 2 and process.status() != psutil.STATUS_ZOMBIE
    except psutil.AccessDenied:
        return True
    except (psutil.Error, ValueError, TypeError):
        return False


def me() -> tuple[int, float]:
    """This process's number and birth."""
    return os.getpid(), psutil.Process().create_time()


class Turn:
    """`with Turn(stopped) as turn:` waits for its turn and holds it; `turn.mine` is False when `stopped()` came first.

    ticket: its number; those with smaller ones come first.
    """

    def __init__(self, stopped: Callable[[], bool] = lambda: False):
        self.folder, self.stopped, self.mine = queue_folder(), stopped, False
        self.ticket = self._take()

    def _take(self) -> int:
        while True:  # another may take the same number first
            number = max(_tickets(self.folder), default=0) + 1
            with contextlib.suppress(FileExistsError):
                file = os.open(self.folder / f"{number:08d}", os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o644)
                pid, birth = me()
                with os.fdopen(file, "w") as ticket:
                    json.dump({"pid": pid, "birth": birth, "user": getpass.getuser()}, ticket)
                return number

    def __enter__(self) -> "Turn":
        while not self.stopped():
            if place(self.ticket) == 0 and self._lock():
                self.mine = True
                break
            time.sleep(WAIT)
        return self

    def __exit__(self, *_) -> None:
        (self.folder / f"{self.ticket:08d}").unlink(missing_ok=True)
        if self.mine:
            os.close(self._file)  # and with it the lock

    def _lock(self) -> bool:
        """Tickets give the order; two processes can still never run at once, whatever happens to the files."""
        path = self.folder / "running.lock"
        with contextlib.suppress(FileExistsError):
            os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o644))
        self._file = os.open(path, os.O_RDONLY)  # another user's file: enough for a lock
        try:
            if os.name == "nt":
                import msvcrt

                msvcrt.locking(self._file, msvcrt.LK_NBLCK, 1)
            else:
                import fcntl

                fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return True
        except OSError:
            os.close(self._file)
            return False


def place(ticket: int) -> int:
    """How many living tickets come before this one."""
    folder = queue_folder()
    return sum(number < ticket and _lives(folder / f"{number:08d}") for number in _tickets(folder))


def _tickets(folder: Path) -> list[int]:
    return sorted(int(path.name) for path in folder.iterdir() if path.name.isdigit())


def _lives(path: Path) -> bool:
    try:
        owner = json.loads(path.read_text())
    except FileNotFoundError:
        return False
    except ValueError:
        return time.time() - path.stat().st_mtime < YOUNG
    alive = is_alive(owner["pid"], owner["birth"])
    if not alive:
        with contextlib.suppress(OSError):  # another user's, in a folder where only owners take away
            path.unlink()
    return alive
