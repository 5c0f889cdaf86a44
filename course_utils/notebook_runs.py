"""Running a notebook of the course from a clean kernel: for the reference runs in `solutions/` and for the timing."""

import json
import os
import re
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from pathlib import Path

import psutil

from course_utils import notebooks, paths
from course_utils.data.records import write_jsonl
from course_utils.errors import CourseError
from course_utils.grading import progress

CLAIMS = notebooks.SOLUTIONS / "claims.jsonl"
LIVE = "application/vnd.jupyter.widget-view+json"
MOST_LINES = 60  # of printed text that one output keeps; of more, the first and the last half
LONGEST_REPR = 4000  # characters of the text that stands for a table or a picture where neither can be shown


@dataclass
class Section:
    """What the cells under a `## ` heading took: seconds; the peak memory of the kernel and its processes in MiB."""

    title: str
    seconds: float = 0.0
    mb: int = 0


@dataclass
class Reference:
    """An executed notebook, what its sections took, and what the exercises' checks said."""

    notebook: object
    sections: list[Section]
    claims: dict[str, progress.Claim]


@contextmanager
def own_workspace(folder: Path | None) -> Iterator[Path]:
    """`folder`, or one that is gone afterwards."""
    if folder:
        yield folder.absolute()
    else:
        with tempfile.TemporaryDirectory(prefix="course-", ignore_cleanup_errors=True) as made:
            yield Path(made)


def execute(notebook, name: str, profile: str, workspace: Path, log: Callable[[str], None] = print) -> Reference:
    """Run a notebook in place, as a learner would in `workspace/notebooks`. log: gets a line per section.

    Raises `CourseError` with notebook, cell and message when a cell fails.
    """
    from nbclient import NotebookClient
    from nbclient.exceptions import CellExecutionError, DeadKernelError

    here, claims = workspace / "notebooks", workspace / progress.NAME
    here.mkdir(parents=True, exist_ok=True)
    earlier = len(progress.attempts(claims))
    options = {"timeout": None, "kernel_name": "python3", "record_timing": False, "store_widget_state": False}
    client = NotebookClient(notebook, resources={"metadata": {"path": str(here)}}, **options)
    sections: list[Section] = []
    left: list[psutil.Process] = []
    try:
        with client.setup_kernel(env=os.environ | {"COURSE_PROFILE": profile, "COURSE_WORKSPACE": str(workspace)}):
            kernel = psutil.Process(client.km.provisioner.pid)
            try:
                for place, (title, cell) in enumerate(notebooks.with_sections(notebook)):
                    if not sections or sections[-1].title != title:
                        sections.append(Section(title))
                        log(f"{name}　{title}")
                    if cell.cell_type == "code":
                        with _measured(kernel, sections[-1]):
                            client.execute_cell(cell, place)
            finally:
                with suppress(psutil.Error):
                    left += kernel.children(recursive=True)
    except (CellExecutionError, DeadKernelError) as error:
        said = f"{error.ename}：{error.evalue}" if isinstance(error, CellExecutionError) else "内核没了，多半是内存不够"
        raise CourseError(f"{name}「{title}」第 {place + 1} 格（{cell.id}）出错。{said}\n\n{cell.source}") from error
    finally:
        _end(left)
    for cell in notebook.cells:
        if cell.cell_type == "code":
            cell.outputs = [_without_places(output, workspace) for output in tidy(cell.outputs)]
    made = {claim.exercise: claim for claim in progress.attempts(claims)[earlier:]}
    return Reference(notebook, [s for s in sections if s.seconds], made)


@contextmanager
def _measured(kernel: psutil.Process, section: Section):
    done, start = threading.Event(), time.perf_counter()

    def watch() -> None:
        while True:
            section.mb = max(section.mb, _resident(kernel) >> 20)
            if done.wait(0.2):
                return

    thread = threading.Thread(target=watch, daemon=True)
    thread.start()
    try:
        yield
    finally:
        section.seconds += time.perf_counter() - start
        done.set()
        thread.join()


def _resident(process: psutil.Process) -> int:
    """Bytes of a process and all under it. A job of the queue is under the kernel that submitted it."""
    total = 0
    with suppress(psutil.Error):
        for found in (process, *process.children(recursive=True)):
            with suppress(psutil.Error):
                total += found.memory_info().rss
    return total


def _end(processes: list[psutil.Process]) -> None:
    """End what a notebook left running: a job outlives its kernel, but not the workspace."""
    for process in processes:
        with suppress(psutil.Error):
            process.terminate()
    psutil.wait_procs(processes, timeout=20)


def tidy(outputs: list) -> list:
    """What is worth keeping of a cell's outputs: no widget, as its state is gone; of a progress bar its last line; of
    much text the first and last lines. Text that came in pieces is joined.
    """
    import nbformat

    kept = []
    for output in outputs:
        if LIVE in output.get("data", {}):
            continue
        if output.output_type == "stream":
            last = next((o for o in kept if o.output_type == "stream" and o.name == output.name), None)
            if last is not None and (kept[-1] is last or output.name == "stderr"):
                last.text += output.text
                continue
        kept.append(nbformat.from_dict(output))
    for output in kept:
        if output.output_type == "stream":
            output.text = _shortened("\n".join(line.rstrip("\r").split("\r")[-1] for line in output.text.split("\n")))
    for data in (output.data for output in kept if len(output.get("data", {})) > 1):
        if len(data.get("text/plain", "")) > LONGEST_REPR:
            data["text/plain"] = data["text/plain"][:LONGEST_REPR] + "……"
    return [output for output in kept if output.output_type != "stream" or output.text.strip()]


def _shortened(text: str) -> str:
    lines = text.split("\n")
    if len(lines) <= MOST_LINES + 1:
        return text
    half = MOST_LINES // 2
    return "\n".join([*lines[:half], f"……（略去 {len(lines) - 2 * half} 行）", *lines[-half:]])


def _without_places(output, workspace: Path):
    """The output without the places of this machine."""
    import nbformat

    text = json.dumps(output, ensure_ascii=False)
    for place, name in (
        (workspace, "workspace"),
        (paths.cache(), "cache"),
        (paths.ROOT, "llm-finetuning-course"),
        (Path.home(), "~"),
    ):
        text = text.replace(json.dumps(str(place), ensure_ascii=False)[1:-1], name)
    return nbformat.from_dict(json.loads(text))


def asked(notebook) -> list[str]:
    """The exercises that a notebook's cells check."""
    code = "\n".join(cell.source for cell in notebook.cells if cell.cell_type == "code")
    return re.findall(r"\bcheck\(\s*[\"']([^\"']+)[\"']", code)


def keep(source: Path, run: Reference) -> None:
    """Write the reference run beside its source, and its claims. Raises `CourseError` when a solution did not pass."""
    wrong = [name for name in asked(run.notebook) if name not in run.claims or not run.claims[name].passed]
    if wrong:
        raise CourseError(f"{source.name} 的参考答案没有通过练习 {'、'.join(wrong)}，没有写出参考运行。")
    notebooks.write(run.notebook, source.with_suffix(".ipynb"))
    others = [claim for claim in progress.attempts(CLAIMS) if not claim.exercise.startswith(f"{source.stem[:2]}-")]
    claims = others + [run.claims[name] for name in asked(run.notebook)]
    write_jsonl(map(asdict, sorted(claims, key=lambda claim: claim.exercise)), CLAIMS)
