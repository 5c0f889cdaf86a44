"""Where a learner stands: what the progress file and the workspace say of exercises, quizzes, runs, data and services."""

import json
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any, Protocol

from course_utils import paths
from course_utils.data import store
from course_utils.errors import CourseError
from course_utils.grading import quiz
from course_utils.grading.measure import exercises_of, judged

PASSED, WRONG, NOT_YET = "通过", "还不对", "没做"
PARTS = {"train": "训练集", "validation": "验证集", "test": "测试集", store.ALL: "还没有切分，共"}
RUN = ("名字", "时间", "模型", "方法", "训练行数", "步数", "分钟", "验证损失", "验证准确率", "状态")


class Claim(Protocol):
    """An attempt as it was recorded here (`progress.Claim`) or handed in (`submission.ClaimLine`)."""

    exercise: str
    answer: Any
    time: str


@dataclass(frozen=True)
class Step:
    """An exercise or a quiz. why: what is wrong with the last answer, where there is one that is not right."""

    name: str
    state: str = NOT_YET
    attempts: int = 0
    why: str = ""


@dataclass(frozen=True)
class Chapter:
    """A notebook: its number, such as "02", its heading, and what there is to do in it."""

    number: str
    title: str
    exercises: list[Step]
    quizzes: list[Step]

    @property
    def passed(self) -> int:
        return sum(step.state == PASSED for step in self.exercises)

    @property
    def answered(self) -> int:
        """Quizzes of which the right option was found."""
        return sum(step.state == PASSED for step in self.quizzes)

    @property
    def finished(self) -> bool:
        return self.passed == len(self.exercises) and self.answered == len(self.quizzes)


@dataclass(frozen=True)
class Standing:
    """chapters: of the whole course. runs, datasets, services: a row of texts for each that the workspace holds."""

    chapters: list[Chapter]
    last: str = ""
    runs: list[dict] = field(default_factory=list)
    datasets: list[dict] = field(default_factory=list)
    services: list[dict] = field(default_factory=list)

    def totals(self) -> dict[str, tuple[int, int]]:
        """`(done, of how many)` exercises and quizzes."""
        steps = [(c.passed, len(c.exercises), c.answered, len(c.quizzes)) for c in self.chapters]
        done, exercises, answered, quizzes = map(sum, zip(*steps, strict=True)) if steps else (0, 0, 0, 0)
        return {"练习": (done, exercises), "小测验": (answered, quizzes)}

    def next_step(self) -> str:
        """The first thing that is still to do, as advice."""
        for chapter in self.chapters:
            for kind, steps in (("练习", chapter.exercises), ("小测验", chapter.quizzes)):
                for step in steps:
                    if step.state != PASSED:
                        return f"下一步：{kind} {step.name}（{chapter.title}）。"
        return "全部的练习和小测验都做完了。" if self.chapters else ""


def chapters(claims: Iterable[Claim]) -> list[Chapter]:
    """The chapters of the course with what the claims show, every answer judged anew; a claim of its own counts nothing."""
    by_name = {}
    for claim in claims:
        by_name.setdefault(claim.exercise, []).append(claim)
    return [
        Chapter(
            number,
            title,
            [_step(name, by_name.get(name, []), judged) for name in exercises_of(number)],
            [_step(name, by_name.get(name, []), _quiz_wrong) for name in quiz.chapter(number)],
        )
        for number, title in headings().items()
    ]


def headings() -> dict[str, str]:
    """number -> heading of every notebook of the course, read from its first cell."""
    found = {}
    for path in sorted((paths.ROOT / "notebooks").glob("[0-9][0-9]_*.ipynb")):
        cells = json.loads(path.read_text(encoding="utf-8"))["cells"]
        lines = "".join(cells[0]["source"]).splitlines() if cells else []
        title = next((line.removeprefix("# ") for line in lines if line.startswith("# ")), path.stem)
        found[path.name[:2]] = title
    return found


def own() -> Standing:
    """Of this workspace."""
    from course_utils.grading import progress

    claims = progress.attempts()
    last = claims[-1].time[:16].replace("T", " ") if claims else ""
    return Standing(chapters(claims), last, _runs(), _datasets(), _services())


def _step(name: str, claims: list[Claim], wrong) -> Step:
    """Passed once is passed; what is wrong is said of the last attempt."""
    if not claims:
        return Step(name)
    whys = [wrong(claim) for claim in claims]
    return Step(name, PASSED if None in whys else WRONG, len(claims), "" if None in whys else whys[-1])


def _quiz_wrong(claim: Claim) -> str | None:
    options = {option.text: option for option in quiz.find(claim.exercise).options}
    chosen = options.get(claim.answer) if isinstance(claim.answer, str) else None
    if chosen is None:
        return "选的那一项题目里没有，题目可能改过了。"
    return None if chosen.right else chosen.reason


def _runs() -> list[dict]:
    from course_utils.training import history

    rows = []
    for run in history.runs():
        try:
            rows += history.table([run]).to_dict("records")
        except (CourseError, OSError, ValueError, KeyError) as error:  # one that was damaged by hand hides no other
            rows.append({"名字": run.folder.name, "状态": f"读不出来（{type(error).__name__}）"})
    return [{name: _text(row.get(name)) for name in RUN} for row in rows]


def _datasets() -> list[dict]:
    rows = []
    for name in store.names():
        try:
            newest = store.DataSet.open(name)
            counts = newest.lineage["rows"]
            parts = "，".join(f"{PARTS.get(part, part)} {n} 行" for part, n in counts.items())
            rows.append({"名字": name, "版本": f"第 {newest.version} 版", "行数": parts})
        except (CourseError, OSError, ValueError, KeyError) as error:
            rows.append({"名字": name, "版本": "", "行数": f"读不出来（{type(error).__name__}）"})
    return rows


def _services() -> list[dict]:
    if not (paths.workspace() / "services.db").exists():
        return []
    from course_utils.serving.services import services

    return [{"名字": s.name, "当前": f"第 {s.current} 版", "版本": f"{len(s.versions)} 个"} for s in services()]


def _text(value) -> str:
    return "" if value is None or value != value else f"{value:g}" if isinstance(value, float) else str(value)
