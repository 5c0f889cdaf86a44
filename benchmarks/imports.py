"""Seconds until there is something to see: the imports, and the first drawing of every panel, each in a fresh process.

python benchmarks/imports.py [--times 3]

The median of several processes, in an empty workspace. The first process of all is not counted: it reads the files from
the disk.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile

from course_utils.widgets import PANELS

MEASURED = """
import json, sys, time
start = time.perf_counter()
{first}
middle = time.perf_counter()
import contextlib, io
with contextlib.redirect_stdout(io.StringIO()):
    {then}
print(json.dumps([middle - start, time.perf_counter() - middle]))
"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--times", type=int, default=3, help="processes for each line")
    times = parser.parse_args().times
    seconds("import course_utils.widgets", "pass")
    print("| | import, s | first drawing, s |\n|---|---|---|")
    print(line("`import course_utils.widgets`", times, "import course_utils.widgets", "pass"))
    for name in PANELS:
        print(line(f"`{name}`", times, f"from course_utils.widgets import {name}", f"{name}()"), flush=True)


def line(title: str, times: int, first: str, then: str) -> str:
    """A row of the table."""
    importing, drawing = map(statistics.median, zip(*(seconds(first, then) for _ in range(times)), strict=True))
    return f"| {title} | {importing:.2f} | {drawing:.2f} |" if then != "pass" else f"| {title} | {importing:.2f} | |"


def seconds(first: str, then: str) -> list[float]:
    """How long two lines of code take, one after the other."""
    with tempfile.TemporaryDirectory() as workspace:
        code = [sys.executable, "-c", MEASURED.format(first=first, then=then)]
        done = subprocess.run(code, env=os.environ | {"COURSE_WORKSPACE": workspace}, capture_output=True, text=True)
    if done.returncode:
        sys.exit(done.stderr)
    return json.loads(done.stdout.splitlines()[-1])


if __name__ == "__main__":
    main()
