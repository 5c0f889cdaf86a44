"""The command `course progress`: a learner's own page, or the roll-up of a class."""

from pathlib import Path
from typing import Annotated

import typer


def progress(
    group: Annotated[
        Path | None, typer.Option("--class", metavar="FOLDER", help="老师用：放着学生提交（zip）的文件夹")
    ] = None,
    roster: Annotated[
        Path | None, typer.Option(metavar="FILE.csv", help="老师用：名单，有「学号」「姓名」两列；没交的也列出来")
    ] = None,
    out: Annotated[Path | None, typer.Option(metavar="FILE.html", help="写到哪里；不给就写在工作区")] = None,
) -> None:
    """看进度：练习、小测验、训练、数据集和服务，写成一页；加 --class 是全班的。"""
    from course_utils import paths
    from course_utils.grading import progress_page, standing
    from course_utils.grading import roster as class_list

    if group is None:
        mine = standing.own()
        for chapter in mine.chapters:
            done = (
                f"练习 {chapter.passed} / {len(chapter.exercises)}，小测验 {chapter.answered} / {len(chapter.quizzes)}"
            )
            print(f"{chapter.title}　{done}")
        print(
            f"训练 {len(mine.runs)} 次，数据集 {len(mine.datasets)} 个，服务 {len(mine.services)} 个。{mine.next_step()}"
        )
        print(f"写成一页：{progress_page.write_page(mine, out)}")
        return
    students = progress_page.read_class(group, class_list.read_roster(roster) if roster else None)
    page = progress_page.write_class(students, out or paths.workspace() / "class.html")
    states = [student.state for student in students]
    print(
        f"{progress_page.HANDED_IN} {states.count(progress_page.HANDED_IN)} 人，"
        f"{progress_page.UNREADABLE} {states.count(progress_page.UNREADABLE)} 份，"
        f"{progress_page.MISSING} {states.count(progress_page.MISSING)} 人。"
    )
    print(f"写成一页：{page}；表格：{page.with_suffix('.csv')}")
