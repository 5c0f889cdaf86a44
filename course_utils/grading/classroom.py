"""A class: a folder of files, each graded by itself in a process that may die, and one line per student at the end.

未提交 (nothing came), 无法读取 (it came and cannot be graded), 有冲突 (two files claim to be one student's) and a graded
zero are different things and stay so. What is done is kept in a state folder: a grading that was killed goes on.
"""

import hashlib
import os
from collections import defaultdict
from collections.abc import Callable
from concurrent.futures import TimeoutError as TimedOut
from dataclasses import dataclass, field
from multiprocessing import get_context
from pathlib import Path
from typing import Literal

from pebble import ProcessExpired, ProcessPool
from pydantic import ValidationError
from tqdm.auto import tqdm

from course_utils.data.records import atomic_writer
from course_utils.grading.archive import LARGEST_FILE, shown
from course_utils.grading.grade import Result, grade_file
from course_utils.grading.key import KeyFile
from course_utils.grading.measure import Measured
from course_utils.grading.roster import Found, Student
from course_utils.grading.rubric import Part, Rubric

TIME_LIMIT = 120  # seconds for one submission
MEMORY_LIMIT = 6 << 30  # bytes of address space of a process, where the system can bound it
Status = Literal["已评", "未提交", "无法读取", "有冲突"]
GRADED, ABSENT, UNREADABLE, CONFLICT = "已评", "未提交", "无法读取", "有冲突"


@dataclass(frozen=True)
class Scored:
    """A part of a student's mark. got: points, None when it was not measured (未评)."""

    part: Part
    got: float | None
    why: str
    details: list[str]


@dataclass
class Line:
    """A student's line. reason: why there is no mark. notes: for the teacher alone. result: when it could be read."""

    student: Student
    status: Status
    file: str = ""
    reason: str = ""
    parts: list[Scored] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    result: Result | None = None

    @property
    def got(self) -> float | None:
        """Points over what was measured; None when nothing was."""
        return round(sum(part.got for part in self.parts if part.got is not None), 2) if self.out_of else None

    @property
    def out_of(self) -> float:
        """The most points over what was measured."""
        return sum(part.part.points for part in self.parts if part.got is not None)

    @property
    def percent(self) -> float | None:
        return None if self.got is None else round(100 * self.got / self.out_of, 1)


def grade_all(
    folder: Path,
    found: list[Found],
    key: KeyFile,
    state: Path,
    workers: int | None = None,
    time_limit: float = TIME_LIMIT,
) -> list[Result]:
    """The result of every file, in their order; those in `state` are taken from there.

    Each file has a process for itself while it is graded, bounded in time and memory; one that hangs or dies leaves
    a result that says so and is tried again next time.
    """
    state.mkdir(parents=True, exist_ok=True)
    places = [_place(state, folder / one.path, key) for one in found]
    results = [_kept(place) for place in places]
    left = [i for i, result in enumerate(results) if result is None]
    workers = min(workers or os.cpu_count() or 1, max(1, len(left)))
    context = get_context("spawn")  # a fresh process has nothing of ours that a submission could reach
    with (
        ProcessPool(workers, initializer=_bound_memory, context=context) as pool,
        tqdm(total=len(left), desc="评分", unit="份", dynamic_ncols=True) as bar,
    ):
        futures = {i: pool.schedule(grade_file, (folder / found[i].path, key), timeout=time_limit) for i in left}
        try:
            for i, future in futures.items():
                results[i], finished = _result(future, time_limit)
                if finished:
                    with atomic_writer(places[i]) as file:
                        file.write(results[i].model_dump_json())
                bar.update()
        except BaseException:
            pool.stop()  # or leaving the block would wait for all that is left
            raise
    return results


def _result(future, time_limit: float) -> tuple[Result, bool]:
    """What came of one file, and whether that would be the same another time."""
    try:
        return future.result(), True
    except TimedOut:
        reason = f"读它用了 {time_limit:g} 秒还没有完，停下了。请看看这份文件。"
    except ProcessExpired:
        reason = "读它的时候进程被系统结束了，多半是内存不够。请看看这份文件。"
    except MemoryError:
        reason = "读它要的内存太多，停下了。请看看这份文件。"
    except Exception as error:  # a mistake of ours must not stop the rest either
        reason = f"评分程序出错了（{type(error).__name__}: {shown(str(error))}）。请把这份文件报告给课程作者。"
    return Result(sha256="", reason=reason), False


def _bound_memory() -> None:
    try:
        import resource
    except ImportError:  # Windows
        return
    if hasattr(resource, "RLIMIT_AS"):
        resource.setrlimit(resource.RLIMIT_AS, (MEMORY_LIMIT, MEMORY_LIMIT))


def _place(state: Path, path: Path, key: KeyFile) -> Path:
    """Where the result of a file is kept: by its content and the key, so a file that changed is graded again."""
    digest = hashlib.sha256(key.model_dump_json().encode())
    if path.is_file() and not path.is_symlink() and path.stat().st_size <= LARGEST_FILE:
        digest.update(path.read_bytes())
    else:
        digest.update(str(path).encode())
    return state / f"{digest.hexdigest()[:32]}.json"


def _kept(place: Path) -> Result | None:
    try:
        return Result.model_validate_json(place.read_text(encoding="utf-8"))
    except (OSError, ValidationError):  # not there, or of another version of the course
        return None


def lines(
    found: list[Found],
    results: list[Result],
    rubric: Rubric,
    roster: list[Student] | None,
    extra: Callable[[Result], dict[str, Measured]] = lambda result: {},
) -> tuple[list[Line], list[tuple[Found, Result]]]:
    """A line per student, by number; and the files of which nobody knows whose they are.

    roster: who should have handed in; without one, who did. extra: what else was measured of a result, such as marks.
    """
    by_student, unknown, notes = defaultdict(list), [], defaultdict(list)
    names = {student.id: student for student in roster or []}
    for one, result in zip(found, results, strict=True):
        student = one.student or _claimed(result, names if roster else None)
        if student is None:
            unknown.append((one, result))
            continue
        if one.student is None:
            notes[student.id].append(f"{one.path}：文件名认不出人，按学生自己写的学号算。")
        by_student[student.id].append((one, result))
        names.setdefault(student.id, student)
    made = [_line(names[i], by_student.get(i, []), rubric, extra) for i in sorted(names)]
    for line in made:
        line.notes += notes[line.student.id]
    return made, unknown


def _claimed(result: Result, names: dict[str, Student] | None) -> Student | None:
    """The student that the zip itself names: the last resort."""
    number = shown(result.student_id.strip())
    if not number:
        return None
    return names.get(number) if names is not None else Student(number, shown(result.student_name))


def _line(student: Student, handed: list[tuple[Found, Result]], rubric: Rubric, extra) -> Line:
    if not handed:
        return Line(student, ABSENT, reason="没有交。")
    readable = [(one, result) for one, result in handed if result.reason is None]
    if not readable:
        reasons = "；".join(f"{shown(Path(one.path).name)}：{result.reason}" for one, result in handed)
        return Line(student, UNREADABLE, "、".join(one.path for one, _ in handed), reasons)
    if len({one.home for one, _ in handed}) > 1 and len({result.sha256 for _, result in readable}) > 1:
        files = "、".join(one.path for one, _ in handed)
        return Line(student, CONFLICT, files, f"有 {len(handed)} 个文件都像是这位学生的：{files}。请留下该评的一个。")
    one, result = max(readable, key=lambda pair: (pair[1].created, pair[0].path))
    line = Line(student, GRADED, one.path, result=result, notes=list(result.doubts))
    if len(handed) > 1:
        line.notes.append(f"交了 {len(handed)} 个文件，评的是最后写出的 {one.path}。")
    if result.student_id and result.student_id.strip() != student.id:
        line.notes.append(f"压缩包里写的学号是「{shown(result.student_id)}」，和文件名的不同。")
    measured = result.measured | extra(result)
    line.parts = [_scored(part, measured.get(part.name)) for part in rubric.parts(result.notebook)]
    return line


def _scored(part: Part, measured: Measured | None) -> Scored:
    if measured is None or measured.value is None:
        return Scored(part, None, measured.why if measured else "没有测。", [])
    return Scored(part, part.score(measured.value), measured.why, measured.details)
