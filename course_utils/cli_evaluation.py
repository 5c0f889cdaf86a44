"""`course batch`, `course evaluate` and `course report`: are the answers better?"""

from pathlib import Path
from typing import Annotated

import typer

from course_utils.errors import ConfigError

app = typer.Typer(rich_markup_mode=None)

Reference = Annotated[
    str | None, typer.Option(metavar="FIELD", help="标准答案在哪个字段；不给就是作为 output 的那一列")
]
Pairs = Annotated[list[str] | None, typer.Option("--map", metavar="列=字段", help="例如 text=input")]
Constants = Annotated[list[str] | None, typer.Option("--set", metavar="字段=文本", help="每行同样的文本")]


def batch(
    model: Annotated[
        list[str], typer.Option(metavar="NAME", help="训练、基座、登记过的远程模型或 remote:模型名；可以给几个")
    ],
    data: Annotated[Path, typer.Option(metavar="FILE", help="jsonl、json 或 csv，每行一条")],
    out: Annotated[Path, typer.Option(metavar="DIR", help="结果文件夹；中断之后用同一条命令接着做")],
    maps: Pairs = None,
    constants: Constants = None,
    labels: Annotated[str | None, typer.Option(help="用逗号隔开的标签；不给就看数据和训练，空的就是自由回答")] = None,
    max_new_tokens: Annotated[int, typer.Option(help="自由回答最多多少个 token", min=1)] = 256,
    engine: Annotated[str, typer.Option(help="local 或 ray（几台机器）")] = "local",
) -> None:
    """让几个模型回答同一个文件的每一行，每个模型写一个 jsonl；停下或断了可以接着做。"""
    from course_utils.evaluation.batch import prepare_batch, run_batch

    chosen = None if labels is None else [label for label in labels.replace("，", ",").split(",") if label.strip()]
    folder = prepare_batch(
        model, data, out, chosen, _pairs(maps, "--map"), _pairs(constants, "--set"), max_new_tokens, engine
    )
    if run_batch(folder):
        print(f"答案已写到 {folder}。看分数：course report {folder} --out report.html")


def evaluate(
    predictions: Annotated[
        Path, typer.Argument(metavar="FILE.jsonl", help="course predict 或 course batch 写出的文件")
    ],
    reference: Annotated[str, typer.Option(metavar="FIELD", help="标准答案在哪个字段")],
    law: Annotated[bool, typer.Option("--law", help="还检查回答里引的法条是否存在、现行")] = False,
) -> None:
    """把答案和标准答案比较：标签给准确率、F1、混淆矩阵和校准；自由文本给相似度。"""
    from course_utils.data.formats import read_rows
    from course_utils.evaluation.scoring import label_references

    rows = read_rows(predictions)
    labels = label_references(rows, reference)
    _evaluate_labels(predictions, reference, rows) if labels else _evaluate_text(rows, reference)
    if law:
        from course_utils.evaluation.law import check_citations

        found = check_citations([row["prediction"] for row in rows])
        valid = "没有引用" if found.valid is None else f"{found.valid:.1%} 存在并且现行"
        print(f"\n法条：{found.citing:.0%} 的回答引了法条，共 {found.n_citations} 处，{valid}。")
        if not found.invalid.empty:
            print(found.invalid.to_string(index=False))


def _evaluate_labels(path: Path, reference: str, rows: list[dict]) -> None:
    from course_utils.evaluation.classification import score_file, summary
    from course_utils.evaluation.labels import calibration, worst_errors

    result = score_file(path, reference)
    print(summary(result), result.per_class.round(4).to_string(index=False), result.confusion.to_string(), sep="\n\n")
    if all(row["prediction"] in (row.get("scores") or {}) for row in rows):
        references = [row[reference] for row in rows]
        found, errors = calibration(rows, references), worst_errors(rows, references, 5)
        print(f"\n校准误差 ECE {found.ece:.3f}", found.table.round(3).to_string(index=False), sep="\n\n")
        if not errors.empty:
            errors["原文"] = errors["原文"].str.slice(0, 40)
            print("\n最有把握的错误：", errors.round(3).to_string(index=False), sep="\n\n")


def _evaluate_text(rows: list[dict], reference: str) -> None:
    from course_utils.evaluation.similarity import similarity

    result = similarity([row["prediction"] for row in rows], [row[reference] for row in rows])
    print(f"共 {result.n} 条，空回答 {result.n_empty} 条，都算零分。\n")
    print(result.table.round(4).to_string(index=False))


def report(
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="course batch 的结果文件夹")],
    out: Annotated[Path, typer.Option(metavar="FILE.html", help="报告写到哪里；旁边还有同名的 .csv")],
    reference: Reference = None,
) -> None:
    """把一次批量预测写成一页报告：分数和区间、之前与之后、例子、裁判、没有测的、怎样重做。"""
    from course_utils.evaluation.report import conclusion, write_report

    results = write_report(folder, out, reference)
    for name in list(results.rows)[1:]:
        print(conclusion(results, name))
    print(f"报告已写到 {out}，分数在 {out.with_suffix('.csv')}")


app.command()(batch)
app.command()(evaluate)
app.command()(report)


def _pairs(texts: list[str] | None, option: str) -> dict[str, str]:
    pairs = [text.partition("=") for text in texts or []]
    if any(not left or not right for left, _, right in pairs):
        raise ConfigError(f"{option} 要写成 名字=内容，例如 --map text=input。")
    return {left: right for left, _, right in pairs}
