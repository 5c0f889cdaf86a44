"""One HTML file that says whether the model is better, and can be sent on its own; and the scores as CSV."""

import base64
import importlib.metadata
import platform
import shlex
from datetime import datetime
from pathlib import Path

import jinja2
import pandas as pd

from course_utils import plots
from course_utils.data.records import atomic_writer
from course_utils.errors import DataError
from course_utils.evaluation import pictures
from course_utils.evaluation.human import Tally
from course_utils.evaluation.judging import Judge
from course_utils.evaluation.labels import text_of
from course_utils.evaluation.scoring import (
    ACCURACY,
    ECE,
    MAIN_TEXT,
    MARKS,
    Against,
    Judged,
    Results,
    Score,
    question_of,
    score_batch,
)
from course_utils.training.run import Run

TEMPLATE = Path(__file__).with_name("report.html.jinja")
LIBRARIES = ("torch", "transformers", "peft", "sacrebleu", "rapidfuzz", "jieba", "scikit-learn", "scipy")
NARROW = 5  # inches: two of these stand side by side
MOST_LABELS = 30  # of a confusion matrix that can still be read
LONG = 240  # characters of an example's text
SETTINGS = {
    "method": "方法", "task": "任务", "learning_rate": "学习率", "epochs": "训练次数", "batch_size": "批大小",
    "max_length": "最大长度", "lora_rank": "LoRA 秩", "lora_alpha": "LoRA 缩放", "precision": "精度", "seed": "种子",
}  # fmt: skip


def write_report(
    folder: str | Path,
    out: str | Path,
    reference: str | None = None,
    judge: Judge | None = None,
    log=print,
) -> Results:
    """Score a batch (see `score_batch`) and write `out` (.html) and beside it the scores (.csv). Raises `DataError`."""
    out = Path(out)
    if out.suffix.lower() not in (".html", ".htm"):
        raise DataError(f"报告不能写到 {out}。请给一个 .html 文件名。")
    results = score_batch(folder, reference, judge, log)
    with atomic_writer(out) as file:
        file.write(render(results))
    with atomic_writer(out.with_suffix(".csv")) as file:
        file.write("\ufeff")  # so that spreadsheets read it as UTF-8
        results.table().to_csv(file, index=False)
    return results


def render(results: Results) -> str:
    """The report as a page of HTML without anything outside of it."""
    environment = jinja2.Environment(
        autoescape=True, trim_blocks=True, lstrip_blocks=True, undefined=jinja2.StrictUndefined
    )
    environment.filters["cell"] = _cell
    page = environment.from_string(TEMPLATE.read_text(encoding="utf-8"))
    others = [name for name in results.rows if name != results.first]
    return page.render(
        r=results,
        now=datetime.now().strftime("%Y-%m-%d %H:%M"),
        conclusions=[conclusion(results, name) for name in others] or [_alone(results)],
        scores=scores_table(results),
        pictures=figures(results),
        against=against_tables(results),
        examples=[(name, examples(results, name)) for name in others],
        settings=_settings(results),
        judged=[judged_facts(judged) for judged in results.judged],
        people=[people_facts(tally) for tally in results.people],
        commands=_commands(results),
        versions={name: importlib.metadata.version(name) for name in LIBRARIES},
        machine=f"{platform.system()} {platform.machine()}，Python {platform.python_version()}",
    )


def conclusion(results: Results, model: str) -> str:
    """One sentence: is this model better than the first one, and how do we know?"""
    metric = ACCURACY if results.labels else MAIN_TEXT
    found = next(line for line in results.against if line.model == model and line.metric == metric)
    low, high = found.interval
    verdict = "好" if low > 0 else "差" if high < 0 else None
    told = f"比 {results.first} {verdict}" if verdict else f"和 {results.first} 分不出高下"
    text = f"{model} {told}：{metric}差 {found.difference:+.1%}（95% 区间 {low:+.1%} 至 {high:+.1%}，{len(results.references)} 行）。"
    for judged in results.judged:
        if judged.model == model:
            low, high = judged.verdicts.interval
            rate = f"胜率 {judged.verdicts.win_rate:.0%}（{low:.0%} 至 {high:.0%}）"
            text += f"{judged.agreement.judge}：{rate}。"
    return text


def examples(results: Results, model: str, n: int = 4) -> dict[str, pd.DataFrame]:
    """赢了, 输了: up to n rows each, spread over the data: 行, 问题, 标准答案, the first model's answer, this one's."""
    won = results.won(model)
    same = len({row.get("instruction") for row in results.rows[model]}) == 1  # then it need not be read each time
    found = {}
    for title, value in (("赢了", 1), ("输了", -1)):
        which = [i for i, w in enumerate(won) if w == value]
        which = which[:: max(1, len(which) // n)][:n]
        lines = [
            (
                i + 1,
                text_of(results.rows[model][i]) if same else question_of(results.rows[model][i]),
                results.references[i],
                results.rows[results.first][i]["prediction"] or "（空）",
                results.rows[model][i]["prediction"] or "（空）",
            )
            for i in which
        ]
        found[title] = pd.DataFrame(lines, columns=["行", "问题", "标准答案", results.first, model])
    return found


def clip(text: str) -> str:
    """A text of an example, not too long to be compared at a glance."""
    return text if len(text) <= LONG else text[:LONG] + f"……（共 {len(text)} 字）"


def _alone(results: Results) -> str:
    metric = ACCURACY if results.labels else MAIN_TEXT
    score = next(score for score in results.scores if score.metric == metric)
    return f"{results.first} 的{metric}是 {score.value:.1%}（{len(results.references)} 行）。只有一个模型，没有和别的比较。"


def _number(score: Score) -> str:
    if score.interval is None:
        return f"{score.value:.3f}"
    low, high = score.interval
    return f"{score.value:.3f}（{low:.3f} 至 {high:.3f}）"


def scores_table(results: Results) -> pd.DataFrame:
    """A row per metric, a column per model."""
    metrics = list(dict.fromkeys(score.metric for score in results.scores))
    cells = {(score.model, score.metric): _number(score) for score in results.scores}
    table = {"指标": metrics} | {name: [cells.get((name, m), "—") for m in metrics] for name in results.rows}
    return pd.DataFrame(table)


def against_tables(results: Results) -> list[tuple[str, pd.DataFrame]]:
    """`(title, table)`: a row per model for labels, where accuracy is all that is compared; else a table per model."""
    columns = ["模型", "指标", "差", "95% 区间", "更好的行", "更差的行", "p 值"]
    lines = [
        (
            x.model,
            x.metric,
            f"{x.difference:+.3f}",
            f"{x.interval[0]:+.3f} 至 {x.interval[1]:+.3f}",
            x.wins,
            x.losses,
            _p(x),
        )
        for x in results.against
    ]
    table = pd.DataFrame(lines, columns=columns)
    if results.labels:
        return [("", table)] if lines else []
    return [(name, table[table["模型"] == name].drop(columns="模型")) for name in table["模型"].unique()]


def _p(line: Against) -> str:
    return "<0.001" if line.p_value < 0.001 else f"{line.p_value:.3f}"


def _settings(results: Results) -> pd.DataFrame:
    """A row per model: what it is and how it was trained."""
    lines = []
    for name, spec in results.work["models"].items():
        line = {
            "模型": name,
            "种类": {"run": "微调", "base": "基座", "remote": "远程"}[spec["kind"]],
            "基座": spec["base"] or "—",
        }
        if spec["kind"] == "run" and (Path(spec["find"]) / "config.yaml").exists():
            run = Run(spec["find"])
            config = run.config.model_dump()
            line |= {
                title: f"{config[key]:g}" if isinstance(config[key], float) else config[key]
                for key, title in SETTINGS.items()
            }
            line["训练行数"] = run.facts.get("data", {}).get("train", {}).get("rows", "—")
            line["训练数据指纹"] = run.facts.get("data", {}).get("train", {}).get("sha256", "—")[:12]
        lines.append(line)
    table = pd.DataFrame(lines, dtype=object).set_index("模型").T.fillna("—")
    return table.rename_axis("设置").rename_axis(None, axis=1).reset_index()


def judged_facts(judged: Judged) -> dict:
    """What the page shows of a judge: its trustworthiness before its verdict."""
    said, agreement = judged.verdicts, judged.agreement
    share, p_value = said.longer_won
    low, high = said.interval
    calibration = agreement.table()
    calibration["一致率"] = [
        f"{line.一致率:.0%}（{line.下限:.0%} 至 {line.上限:.0%}）" if line.共 else "—"
        for line in calibration.itertuples()
    ]
    return {
        "model": judged.model,
        "judge": agreement.judge,
        "what": agreement.what,
        "trust": agreement.text(),
        "calibration": calibration[["毛病", "一致", "共", "一致率"]],
        "verdict": f"胜 {said.winners.count('A')}，平 {said.winners.count('平')}，负 {said.winners.count('B')}；"
        f"胜率 {said.win_rate:.1%}（95% 区间 {low:.1%} 至 {high:.1%}，平局算一半）",
        "failed": said.winners.count(None),
        "swaps": f"{said.swap_consistency:.0%}" if said.swaps else "—",
        "length": f"{share:.0%}（和一半相比 p = {p_value:.3f}）" if said.longer + said.shorter else "—",
    }


def people_facts(tally: Tally) -> dict:
    """What the page shows of what people said."""
    low, high = tally.interval
    return {
        "title": f"{tally.a} 对 {tally.b}",
        "verdict": f"{len(tally.raters)} 人评了 {tally.rows} 行：{tally.a} 胜 {tally.wins_a} 次，平 {tally.ties} 次，负 {tally.wins_b} 次；"
        f"胜率 {tally.win_rate:.1%}（95% 区间 {low:.1%} 至 {high:.1%}，按行平均）",
        "kappa": "—（要两个人评同样的行）" if tally.kappa is None else f"{tally.kappa:.2f}",
        "left": f"{tally.left_share:.0%}",
    }


def figures(results: Results) -> list[tuple[str, str, str]]:
    """`(caption, data URI, class)` for each picture."""
    names = dict.fromkeys(score.metric for score in results.scores)
    metrics = [name for name in names if name != ECE and not name.startswith(MARKS)]  # what lies between 0 and 1
    bars = {
        name: [(s.metric, s.value, s.interval) for s in results.scores if s.model == name and s.metric in metrics]
        for name in results.rows
    }
    found = [("各模型的分数和 95% 区间", pictures.scores_picture(bars))]
    what = f"减去 {results.first}：绿色是更好，橙色是更差，灰色分不出"
    if results.labels and results.against:
        lines = [(line.model, line.difference, line.interval) for line in results.against]
        found.append((f"准确率{what}", pictures.differences_picture(lines)))
    for name in list(results.rows)[1:] if not results.labels else ():
        lines = [(line.metric, line.difference, line.interval) for line in results.against if line.model == name]
        found.append((f"{name} {what}", pictures.differences_picture(lines)))
    if len(results.labels) <= MOST_LABELS:
        found += [(f"{name}：混淆矩阵", plots.confusion_picture(c.confusion)) for name, c in results.classified.items()]
    for name, calibrated in results.calibrated.items():
        caption = f"{name}：把握和准确率（点越大，答案越多；落在虚线上最好）"
        found.append((caption, pictures.reliability_picture(calibrated)))
    return [(text, _uri(figure), "wide" if figure.get_figwidth() > NARROW else "narrow") for text, figure in found]


def _uri(figure: plots.Picture) -> str:
    return "data:image/png;base64," + base64.b64encode(plots.png(figure)).decode()


def _commands(results: Results) -> list[str]:
    work, models = results.work, results.work["models"]
    data = work["source"] or str(results.folder / "data.jsonl")
    batch = ["course", "batch", *(part for name in models for part in ("--model", name)), "--data", data]
    batch += [part for pair in work["mapping"].items() for part in ("--map", "=".join(pair))]
    batch += [part for pair in work["constants"].items() for part in ("--set", "=".join(pair))]
    if work["task"]["labels"]:
        batch += ["--labels", ",".join(work["task"]["labels"])]
    else:
        batch += ["--max-new-tokens", str(work["task"]["max_new_tokens"])]
    report = ["course", "report", str(results.folder), "--reference", results.reference, "--out", "report.html"]
    return [shlex.join([*batch, "--out", str(results.folder)]), shlex.join(report)]


def _cell(value) -> str:
    return f"{value:.3f}" if isinstance(value, float) else clip(str(value))
