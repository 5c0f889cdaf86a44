"""`course data ...`: import, check, split and export data sets from a terminal."""

from pathlib import Path
from typing import Annotated, Literal

import typer

from course_utils.errors import ConfigError

app = typer.Typer(help="数据：检查、导入、切分、导出，和预置数据集。", no_args_is_help=True)

File = Annotated[Path, typer.Argument(metavar="FILE", help="jsonl、json、csv 或 tsv")]
Maps = Annotated[list[str] | None, typer.Option("--map", metavar="列=字段", help="例如 text=input；不给就按列名猜")]
Constants = Annotated[
    list[str] | None, typer.Option("--set", metavar="字段=文本", help="每行同样的文本，例如 instruction=判断情感")
]


@app.command()
def check(
    file: File,
    maps: Maps = None,
    constants: Constants = None,
    model: Annotated[str | None, typer.Option(metavar="NAME", help="按这个模型的 token 数检查长度")] = None,
    max_length: Annotated[int, typer.Option(help="最多多少个 token，和 --model 一起用")] = 256,
) -> None:
    """检查一个文件：一次列出所有问题，每个问题有行号、字段和改法；有错误时退出状态是 1。"""
    from course_utils.data import doctor

    rows = _read(file)
    mapping = _mapping(rows, maps, constants)
    tokenizer = None
    if model:
        from course_utils.models.load import load_tokenizer

        tokenizer = load_tokenizer(model)
    report = doctor.check(rows, mapping, tokenizer, max_length)
    _show(report, mapping)
    raise typer.Exit(not report.ok)


@app.command("import")
def import_file(
    file: File,
    name: Annotated[str, typer.Option(metavar="NAME", help="数据集的名字")],
    maps: Maps = None,
    constants: Constants = None,
    repairs: Annotated[list[str] | None, typer.Option("--repair", metavar="问题", help="先修复，例如 重复")] = None,
    drop: Annotated[bool, typer.Option("--drop", help="去掉有错误的行；去掉了哪些会记下来")] = False,
) -> None:
    """把一个文件存成工作区里的数据集；有错误时不保存，列出错误，退出状态是 1。"""
    from course_utils.data import doctor
    from course_utils.data.building import import_rows

    rows = _read(file)
    mapping = _mapping(rows, maps, constants)
    report = doctor.check(rows, mapping)
    if not report.ok and not drop and not repairs:
        _show(report, mapping)
        raise typer.Exit(1)
    dataset = import_rows(rows, mapping, name, file, repairs or (), drop)
    for line in dataset.dropped():
        print(f"去掉了第 {line['source_row']} 行：{'；'.join(line['reasons'])}")
    kept = sum(dataset.lineage["rows"].values())
    print(f"{dataset.name} 第 {dataset.version} 版：读到 {len(rows)} 行，保存 {kept} 行，去掉 {len(rows) - kept} 行。")
    print(dataset.folder)


@app.command()
def split(
    name: Annotated[str, typer.Argument(metavar="NAME")],
    shares: Annotated[str, typer.Option(help="训练、验证、测试的比例")] = "0.7,0.15,0.15",
    seed: Annotated[int, typer.Option(help="随机种子")] = 42,
) -> None:
    """把数据集切成训练、验证、测试三份，存成下一个版本。"""
    from course_utils.data.building import split_dataset
    from course_utils.data.store import DataSet

    try:
        numbers = [float(share) for share in shares.replace("，", ",").split(",")]
    except ValueError:
        raise ConfigError(f"--shares 是 {shares}，要写成三个数，例如 0.7,0.15,0.15。") from None
    dataset, parts = split_dataset(DataSet.open(name), numbers, seed)
    print(parts.report().to_string(index=False))
    print(parts.summary())
    print(f"{dataset.name} 第 {dataset.version} 版：{dataset.folder}")


@app.command()
def presets() -> None:
    """列出预置数据集。"""
    from course_utils.data.presets import catalogue

    for card in catalogue().values():
        print(f"{card.name}　{card.title}　{card.task}　{card.rows} 行\n  {card.purpose}\n  许可：{card.licence}")


@app.command()
def export(
    name: Annotated[str, typer.Argument(metavar="NAME")],
    out: Annotated[Path, typer.Option(metavar="FILE", help=".json 或 .jsonl")],
    format: Annotated[Literal["alpaca", "sharegpt"], typer.Option(help="文件的格式")] = "alpaca",
    part: Annotated[str | None, typer.Option(help="只要 train、validation 或 test；不给就是全部")] = None,
) -> None:
    """把数据集写成可以直接上传到平台的文件。"""
    from course_utils.data import formats
    from course_utils.data.records import to_records
    from course_utils.data.store import DataSet

    parts = DataSet.open(name).rows()
    if part and part not in parts:
        raise ConfigError(f"数据集「{name}」没有「{part}」这一份。有的是：{'、'.join(parts)}。")
    rows = [row for title, lines in parts.items() if part in (None, title) for row in lines]
    extras = [{key: row[key] for key in ("roles", "tools") if row.get(key) is not None} for row in rows]
    formats.export(to_records(rows), out, format, extras)
    print(f"{len(rows)} 行已写到 {out}")


@app.command()
def extract(
    source: Annotated[str, typer.Argument(metavar="FILE_OR_URL", help="txt、md、html、docx、pdf，或者 http(s) 网址")],
    out: Annotated[Path | None, typer.Option(metavar="FILE", help="问答对写到这个 .jsonl")] = None,
    separator: Annotated[str | None, typer.Option(help="分段的记号：###、---、空行，或者 re:正则；不给就自动")] = None,
    preview: Annotated[bool, typer.Option("--preview", help="只看怎么分段，不抽取")] = False,
    use_llm: Annotated[bool, typer.Option("--llm", help="让 COURSE_LLM_* 指的模型来写；默认离线抽取")] = False,
    partial: Annotated[bool, typer.Option("--allow-partial", help="和 --llm 一起用：有失败的段也保存成功的")] = False,
    gold: Annotated[Path | None, typer.Option(metavar="FILE", help="标准事实，用来打分")] = None,
) -> None:
    """从文档或网页里抽取问答对；每一对都带着它在原文里的位置。"""
    from dataclasses import asdict

    from course_utils.data import extract_score
    from course_utils.data.documents import chunks, read_document
    from course_utils.data.extract import extract as offline
    from course_utils.data.extract_llm import extract_llm
    from course_utils.data.records import write_jsonl

    document = read_document(source)
    if preview:
        for chunk in chunks(document, separator):
            print(f"第 {chunk.number} 段（{chunk.start}–{chunk.end}）：{chunk.text[:60]!r}")
        return
    if out is None:
        raise ConfigError("没有说写到哪里。请加上 --out 问答对.jsonl，或者用 --preview 只看分段。")
    if use_llm:
        result = extract_llm(document, separator, out.with_suffix(".progress.json"))
        result.save(out, partial)  # refuses while chunks have failed
    else:
        result = offline(document, separator)
        write_jsonl((asdict(pair) for pair in result.pairs), out)
    for line in result.dropped:
        print(f"没有用（{line.reason}）：{line.text}")
    print(f"{len(result.pairs)} 个问答对已写到 {out}，{len(result.dropped)} 处没有用。")
    if gold:
        facts = extract_score.read_gold(gold).get(Path(source).name, [])
        score = extract_score.score(result.pairs, facts, document)
        print(score.summary())
        for fact in score.missed:
            print(f"没有覆盖：{fact.question}　{fact.evidence}")


@app.command()
def augment(
    name: Annotated[str, typer.Argument(metavar="NAME", help="工作区里的数据集，或者预置数据集")],
    multiplier: Annotated[int, typer.Option(help="每一行最多新增几行，1 到 10")] = 1,
    quality: Annotated[str, typer.Option(help="宽松、标准或严格")] = "标准",
    rows: Annotated[int, typer.Option(metavar="N", help="随机取这么多行；0 就是全部")] = 0,
    save_as: Annotated[str | None, typer.Option("--name", metavar="NAME", help="保存为；不给就是原来的名字")] = None,
    use_llm: Annotated[bool, typer.Option("--llm", help="再让 COURSE_LLM_* 指的模型来写；默认离线")] = False,
) -> None:
    """把数据集的每一行换几种说法，存成下一个版本；只增强训练集。"""
    from tqdm import tqdm

    from course_utils import llm
    from course_utils.data import augment as augmenting
    from course_utils.data.versions import open_source, save_augmented

    if use_llm:
        llm.client()  # what is not configured is said before the work
    source, how = open_source(name), {"multiplier": multiplier, "quality": quality}
    with tqdm(desc="增强", unit="行", leave=False, delay=0.5) as bar:

        def progress(made: int, wanted: int) -> None:
            bar.total = wanted
            bar.update(made - bar.n)

        ask = llm.ask_json if use_llm else None
        result = augmenting.augment(source.sample(rows), **how, ask=ask, progress=progress)
    dataset = save_augmented(source, result, save_as or source.name, **how)
    print(result.summary())
    print(f"{dataset.name} 第 {dataset.version} 版：{dataset.folder}")


@app.command()
def prompts(
    category: Annotated[str | None, typer.Option(help="只要这一类，例如 分类")] = None,
    search: Annotated[str, typer.Option(metavar="WORD", help="只要有这些字的；用空格隔开几个词")] = "",
) -> None:
    """列出提示词模板；花括号里是要填的空位。"""
    from course_utils.data.prompts import templates

    found = templates(category, search)
    for template in found:
        print(f"{template.id}　{template.title}（{template.category}）\n{template.instruction}\n")
    print(f"共 {len(found)} 个模板。")


def _read(file: Path) -> list[dict]:
    from tqdm import tqdm

    from course_utils.data.formats import read_rows

    with tqdm(total=100, desc="读取", unit="%", leave=False) as bar:
        return read_rows(file, lambda share: bar.update(round(share * 100) - bar.n))


def _mapping(rows: list[dict], maps: list[str] | None, constants: list[str] | None):
    """What was said on the command line, and for the rest what the names of the columns suggest."""
    from dataclasses import replace

    from course_utils.data.mapping import suggest

    chosen, fixed = _pairs(maps, "--map"), _pairs(constants, "--set")
    mapping = suggest(rows)
    taken = {*chosen.values(), *fixed}
    guessed = {c: t for c, t in mapping.columns.items() if c not in chosen and t not in taken}
    columns = guessed | chosen
    left = tuple(column for column in (*mapping.columns, *mapping.unmapped) if column not in columns)
    return replace(mapping, columns=columns, constants=fixed, unmapped=left)


def _pairs(options: list[str] | None, flag: str) -> dict[str, str]:
    from course_utils.data.records import FIELDS

    pairs = [option.partition("=") for option in options or []]
    if any(not left or not right for left, _, right in pairs):
        raise ConfigError(f"{flag} 要写成 左=右，例如 --map text=input、--set instruction=判断情感。")
    found = {left: right for left, _, right in pairs}
    for target in found.values() if flag == "--map" else found:
        if target not in FIELDS:
            raise ConfigError(f"{flag} 里没有叫「{target}」的字段。字段只能是：{'、'.join(FIELDS)}。")
    return found


def _show(report, mapping) -> None:
    print(mapping.explain())
    if len(report.problems):
        print(report.table().to_string(index=False))
    print(report.summary())
