"""Whose turn it is on this machine: numbered tickets for the order, and the system's own locks.

All users of a machine share the folder, so it holds nothing but empty files; what is trained stays in each one's
workspace. A process locks its ticket while it waits and runs. One that dies leaves the ticket, but the system takes
the lock back, and a ticket without lock does not count. Unlike a process number, a lock also shows to another
container, and to a user who may not see the processes of others.
"""

import contextlib
import os
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import psutil

WAIT = 0.5  # seconds between two looks
YOUNG = 2  # seconds in which a ticket may still be without lock: its owner is about to take it


def queue_folder() -> Path:
    """`$COURSE_QUEUE`, else a folder in the system's temporary one that every user may write to."""
    place = os.environ.get("COURSE_QUEUE") or Path(tempfile.gettempdir()) / "llm-course-queue"
    folder = Path(place) / (os.environ.get("CUDA_VISIBLE_DEVICES") or "device").replace(",", "-")
    for wanted in (folder.parent, folder):
        if not wanted.exists():
            _make_shared(wanted)
    return folder


def _make_shared(folder: Path) -> None:
    """Everyone may add to it, only the owner of a file may take that away; so from its first moment, for others wait."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    made = Path(tempfile.mkdtemp(dir=folder.parent))
    made.chmod(0o1777)
    try:
        made.rename(folder)
    except OSError:  # another was first
        made.rmdir()


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
                self._ticket = os.open(self.folder / f"{number:08d}", os.O_CREAT | os.O_EXCL | os.O_RDWR, 0o644)
                while not _locked(self._ticket):  # while another process looks at it
                    time.sleep(0.01)
                return number

    def __enter__(self) -> "Turn":
        while not self.stopped():
            if place(self.ticket) == 0 and self._lock():
                self.mine = True
                break
            time.sleep(WAIT)
        return self

    def __exit__(self, *_) -> None:
        for file in (self._ticket, *([self._running] if self.mine else [])):
            os.close(file)  # and with it the lock
        (self.folder / f"{self.ticket:08d}").unlink(missing_ok=True)

    def _lock(self) -> bool:
        """Tickets give the order; two processes can still never run at once, whatever happens to the files."""
        path = self.folder / "running.lock"
        with contextlib.suppress(FileExistsError):
            os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o644))
        self._running = os.open(path, os.O_RDONLY)  # another user's file: enough for a lock
        if not _locked(self._running):
            os.close(self._running)
            return False
        return True


def place(ticket: int) -> int:
    """How many living tickets come before this one."""
    folder = queue_folder()
    return sum(number < ticket and _lives(folder / f"{number:08d}") for number in _tickets(folder))


def _tickets(folder: Path) -> list[int]:
    return sorted(int(path.name) for path in folder.iterdir() if path.name.isdigit())


def _lives(path: Path) -> bool:
    try:
        file = os.open(path, os.O_RDONLY)
    except FileNotFoundError:
        return False
    try:
        alive = not _locked(file, shared=True) or time.time() - os.fstat(file).st_mtime < YOUNG
    finally:
        os.close(file)
    if not alive:
        with contextlib.suppress(OSError):  # another user's, in a folder where only owners take away
            path.unlink()
    return alive


def _locked(file: int, shared: bool = False) -> bool:
    """Take the system's lock on an open file, until that is closed; False when another holds it.

    shared: beside others that only look, so that two of them do not take each other for the owner.
    """
    try:
        if os.name == "nt":
            import msvcrt

            msvcrt.locking(file, msvcrt.LK_NBLCK, 1)
        else:
            import fcntl

            fcntl.flock(file, (fcntl.LOCK_SH if shared else fcntl.LOCK_EX) | fcntl.LOCK_NB)
    except OSError:
        return False
    return True
