"""A server for as long as a cell of a notebook needs one: `course serve` in a process of its own, on a free port."""

import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager

from course_utils import paths
from course_utils.errors import CourseError

READY = "地址 "  # the line of `serve` that says where it listens begins so


@contextmanager
def local_server() -> Iterator[str]:
    """Serve all published services while the `with` lasts; gives their address, such as http://127.0.0.1:40123/v1.

    Nobody outside this machine can reach it. It stops as on Ctrl-C: what has begun is answered first.
    Raises `CourseError` with what the server said when it does not start, such as that nothing is published.
    """
    environment = os.environ | {"COURSE_WORKSPACE": str(paths.workspace()), "PYTHONUTF8": "1", "PYTHONUNBUFFERED": "1"}
    server = subprocess.Popen(
        [sys.executable, "-m", "course_utils.cli", "serve", "--port", "0"], env=environment, encoding="utf-8",
        stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
    )  # fmt: skip
    said = []
    try:
        for line in server.stdout:
            if line.startswith(READY):
                break
            said.append(line.strip())
        else:
            raise CourseError(f"服务没有启动：{said[-1] if said else '它什么也没有说'}")
        # read on, or a full pipe would stop it
        threading.Thread(target=server.stdout.read, daemon=True).start()
        yield line.split()[1]
    finally:
        server.terminate()
        server.wait()
