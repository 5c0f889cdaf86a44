"""`course submit` for learners, `course grade` for teachers."""

from pathlib import Path
from typing import Annotated

import typer
from typer.core import TyperGroup

from course_utils.errors import DataError


class FolderFirst(TyperGroup):
    """`course grade FOLDER ...` beside `course grade init ...`: what is no command's name is a folder to grade."""

    def parse_args(self, ctx, args: list[str]) -> list[str]:
        if args and args[0] not in self.commands and args[0] not in ctx.help_option_names:
            args = ["folder", *args]
        return super().parse_args(ctx, args)


app = typer.Typer(
    cls=FolderFirst,
    help="批改全班：course grade FOLDER --key KEYFILE --out DIR。先用 course grade init 做钥匙。",
    no_args_is_help=True,
    rich_markup_mode=None,
)

Folder = Annotated[Path, typer.Argument(metavar="FOLDER", help="平台下载的作业，解开之后的文件夹")]
Key = Annotated[Path, typer.Option(metavar="FILE", help="course grade init 做的钥匙文件")]
Out = Annotated[
    Path | None,
    typer.Option(metavar="DIR", help="结果写到哪里，不给就是工作区的 grading；每次用同一个，做过的不会再做"),
]
Roster = Annotated[
    Path | None, typer.Option(metavar="FILE.csv", help="名单，有「学号」和「姓名」两列；有它才知道谁没有交")
]
RubricFile = Annotated[Path | None, typer.Option("--rubric", metavar="FILE.yaml", help="自己的评分标准")]
UseJudge = Annotated[bool, typer.Option("--judge", help="用环境变量里配好、校准过的裁判模型")]


def submit(
    notebook: Annotated[str, typer.Argument(metavar="NN", help="章号，例如 05，或者 .ipynb 文件")],
    student_id: Annotated[str, typer.Option(help="学号")] = "",
    student_name: Annotated[str, typer.Option(help="姓名")] = "",
    run: Annotated[str | None, typer.Option(metavar="NAME", help="要交的训练；第 5 章必须有")] = None,
    data: Annotated[str | None, typer.Option(metavar="NAME", help="工作区里的数据集；有训练时不用给")] = None,
    out: Annotated[Path | None, typer.Option(metavar="FILE.zip", help="写到哪里")] = None,
    check: Annotated[bool, typer.Option("--check", help="只预检，不写文件")] = False,
) -> None:
    """打包要交的作业：先用评分程序自己的代码预检，没有问题才写一个 zip。"""
    from course_utils.grading import bundle

    if run and not check:
        bundle.answer_given(run)
    found = bundle.preflight(notebook, run, data, student_id, student_name)
    for line in found.findings:
        print(f"{line.severity}　{line.part}：{line.what}。{line.fix}。")
    print(found.summary())
    if check:
        raise typer.Exit(not found.ok)
    if not found.ok:
        raise DataError("没有写文件。")
    print(f"要交的文件：{bundle.write(found, out)}")


@app.command("folder", hidden=True)
def folder(
    folder: Folder,
    key: Key,
    out: Out = None,
    roster: Roster = None,
    rubric: RubricFile = None,
    rerun: Annotated[bool, typer.Option("--rerun", help="用每个适配器重新回答；CPU 上每份一分钟上下")] = False,
    judge: UseJudge = False,
    nbgrader: Annotated[
        Path | None, typer.Option(metavar="gradebook.db", help="还写进 nbgrader 的成绩数据库，没有就新建")
    ] = None,
) -> None:
    """批改一个文件夹里全班的作业。"""
    from course_utils.grading.marking import mark_class

    made = mark_class(folder, key, out, roster, rubric, rerun, _judge() if judge else None)
    graded = sum(line.status == "已评" for line in made.lines)
    print(f"已评 {graded} 人，没有成绩的 {len(made.lines) - graded} 人，认不出是谁的文件 {len(made.unknown)} 个。")
    for line in made.lines:
        if line.status not in ("已评", "未提交"):
            print(f"{line.status}　{line.student.id} {line.student.name}：{line.reason}")
    if made.pairs:
        print(f"有 {len(made.pairs)} 对提交几乎相同，见小结。")
    if nbgrader:
        _export(made, nbgrader)
    print(f"成绩 {made.out / 'gradebook.csv'}，小结 {made.out / 'summary.html'}，反馈 {made.out / 'feedback'}")


@app.command()
def init(
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="放钥匙的文件夹，要在课程仓库之外")],
    rows: Annotated[
        Path | None, typer.Option(metavar="FILE", help="老师自己的题：每行有 input、output，可以有 kind")
    ] = None,
    questions: Annotated[int, typer.Option(help="没有自己的题时，从现行法律里生成几道")] = 24,
) -> None:
    """做一把评分的钥匙：隐藏题目、标准答案和秘密。学生拿不到，仓库里也没有。"""
    from course_utils.grading.key import make_key, read_key

    path = make_key(folder, rows, questions)
    print(f"钥匙写到 {path}，只有你能读。隐藏题目 {len(read_key(path).hidden)} 道。请备份它，不要给学生。")


@app.command()
def sheets(
    folder: Folder, key: Key, out: Out = None, roster: Roster = None, rubric: RubricFile = None,
    judge: UseJudge = False,
) -> None:  # fmt: skip
    """导出问答题的匿名评分表：HTML 用来读，CSV 用来填。"""
    from course_utils.grading.marking import export_sheets

    for path in export_sheets(folder, key, out, roster, rubric, _judge() if judge else None):
        print(f"读 {path.with_suffix('.html')}，填 {path}")


@app.command("import")
def import_(
    folder: Folder,
    key: Key,
    out: Out = None,
    roster: Roster = None,
    rubric: RubricFile = None,
    files: Annotated[
        list[Path] | None, typer.Option("--file", metavar="FILE.csv", help="填好的评分表；不给就是全部")
    ] = None,
) -> None:
    """导入填好的评分表，再运行一次 course grade FOLDER 就算进总分。"""
    from course_utils.grading.marking import import_sheets

    print(f"现在有 {import_sheets(folder, key, out, files or [], roster, rubric)} 份回答有分数。")


def _export(made, database: Path) -> None:
    from course_utils.grading.nbgrader_export import export_scores

    written, left_out = export_scores(made.lines, database)
    print(f"写进 {database} 的有 {written} 人。")
    for line, why in left_out:
        print(f"没有写　{line.student.id} {line.student.name}：{why}")


def _judge():
    """The configured judge, when it has been calibrated for marks. Raises `CourseError`."""
    from course_utils.errors import ConfigError
    from course_utils.evaluation.agreement import admit
    from course_utils.evaluation.judge import ModelJudge
    from course_utils.llm import configured

    if not configured():
        raise ConfigError(
            "没有设裁判模型。请先设好环境变量 COURSE_LLM_BASE_URL、COURSE_LLM_API_KEY 和 COURSE_LLM_MODEL。"
        )
    judge = ModelJudge()
    admit(judge, how="marks")
    return judge
