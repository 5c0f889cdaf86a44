"""The panel that says whether a model is better: scores with intervals, a judge that was calibrated first, the report."""

import base64
import html
import os
from pathlib import Path

import ipywidgets as widgets

from course_utils import llm, paths
from course_utils.data.records import sources
from course_utils.errors import ConfigError, CourseError
from course_utils.evaluation.batch import answers, read_work
from course_utils.evaluation.ledger import read_lines
from course_utils.widgets.base import Panel, facts, heading, in_workspace, note, table
from course_utils.widgets.batch_choice import LABEL, WIDE, batch_choice, renew_choice
from course_utils.widgets.pieces import LongWork, Stopped, aligned, path_in_code

STEPS = ("1 分数", "2 裁判", "3 报告")
OFFLINE, MODEL = "offline", "model"
HUMAN = "人工评分用 rating_panel()。"
WORST = 8  # errors shown


def scores_panel() -> None:
    """Show the panel of scores, judges and the report of a finished batch."""
    ScoresPanel().show()


class ScoresPanel(Panel):
    title = "模型评估"
    purpose = "选一次做完的批量预测，看分数和区间、和第一个模型比的差，让校准过的裁判评判，最后写成一页报告。"

    def __init__(self):
        super().__init__()
        self.batch = batch_choice()
        self.reference = widgets.Dropdown(description="标准答案", style=LABEL, layout=WIDE)
        renew = self.button("刷新", lambda: renew_choice(self.batch))
        self.steps = widgets.Tab(
            [widgets.VBox(page) for page in (self._scores_page(), self._judge_page(), self._report_page())],
            titles=STEPS,
        )
        self.body.children = [aligned(self.batch, renew), self.reference, self.steps]
        self.batch.observe(lambda _: self._fit(), "value")
        for control in (self.reference, self.law, self.judge_kind):
            control.observe(lambda _: self.renew(), "value")
        self._fit()

    # --- the pages ---

    def _scores_page(self) -> list[widgets.Widget]:
        self.law = widgets.Checkbox(description="看回答里引的法条是否存在、现行", indent=False)
        self.work = LongWork(self, "算分", self.score, "正在算分……")
        self.shown = widgets.HTML()
        return [self.law, self.work.begin, self.shown]

    def _judge_page(self) -> list[widgets.Widget]:
        kinds = [("离线裁判（不联网，比文字）", OFFLINE)]
        kinds += [(f"大模型裁判：{os.environ['COURSE_LLM_MODEL']}", MODEL)] if llm.configured() else []
        self.judge_kind = widgets.Dropdown(options=kinds, description="裁判", style=LABEL, layout=WIDE)
        self.cost = self.button("要问多少次", self.estimate)
        self.calibrating = LongWork(self, "1 校准", self.calibrate, "正在用已知好坏的回答考这个裁判……")
        self.judging = LongWork(self, "2 评判", self.judge, "正在评判，每两个回答换着顺序各问一次……")
        advice = "先校准：拿已知哪个更好的回答考它，一致率达不到 75% 就不采用。再评判：它的一致率和它的结论摆在一起看。"
        if not llm.configured():
            advice += f"\n想用大模型当裁判，请先设环境变量 {'、'.join(llm.VARIABLES)}，再重新运行。"
        self.trust, self.verdicts = widgets.HTML(), widgets.HTML()
        row = widgets.HBox([self.cost, self.calibrating.begin, self.judging.begin, self.calibrating.end])
        self.judging.end = self.calibrating.end  # one button stops either
        self.judging.end.on_click(lambda _: self.judging.stop())
        return [widgets.HTML(note(advice)), self.judge_kind, row, self.trust, self.verdicts]

    def _report_page(self) -> list[widgets.Widget]:
        about = "一个 HTML 文件，可以单独发给别人，也可以打印；旁边的 .csv 是分数表。"
        self.out = widgets.Text("report.html", description="报告的文件名", style=LABEL, layout=WIDE)
        self.writing = LongWork(self, "写报告", self.write, "正在算分，写报告……")
        self.link, self.page = widgets.HTML(), widgets.HTML()
        return [widgets.HTML(note(about)), self.out, self.writing.begin, self.link, self.page]

    def _fit(self) -> None:
        """Offer the columns of this batch; what was shown of another one goes."""
        for shown in (self.shown, self.trust, self.verdicts, self.link, self.page):
            shown.value = ""
        if self.batch.value:
            rows, output = read_lines(self.batch.value / "data.jsonl"), sources(read_work(self.batch.value)["mapping"])
            columns = [name for name, value in rows[0].items() if isinstance(value, str)]
            self.reference.options = columns
            if output["output"] in columns:
                self.reference.value = output["output"]
        self.renew()

    @property
    def folder(self) -> Path:
        if self.batch.value is None:
            raise ConfigError("还没有批量预测。请先用 batch_panel() 做一次。")
        return self.batch.value

    # --- scores ---

    def score(self) -> None:
        from course_utils.evaluation.report import conclusion
        from course_utils.evaluation.scoring import score_batch

        self.shown.value = ""
        found = score_batch(self.folder, self.reference.value, log=self._log)
        others = [conclusion(found, name) for name in list(found.rows)[1:]] or ["只有一个模型，没有和别的比较。"]
        said = heading("结论") + "".join(f"<div>{html.escape(line)}</div>" for line in others)
        self.shown.value = said + _scores(found) + (_citations(found) if self.law.value else "") + _missing(found)
        self.say(f"算好了，{len(found.references)} 行。")

    def _log(self, text: str) -> None:
        self.say(text, "busy")
        for work in (self.judging, self.calibrating):
            if work.running:
                work.tick()

    # --- judges ---

    @property
    def judge_now(self):
        """The judge that is chosen."""
        from course_utils.evaluation.judge import ModelJudge
        from course_utils.evaluation.judge_local import text_judge

        return ModelJudge() if self.judge_kind.value == MODEL else text_judge()

    def estimate(self) -> None:
        from course_utils.data.formats import read_rows
        from course_utils.evaluation.judge import estimate
        from course_utils.evaluation.judge_local import CALIBRATION, asked
        from course_utils.evaluation.scoring import asked_of

        judge, known = self.judge_now, read_rows(CALIBRATION)
        cost = estimate(judge, [asked(r) for r in known], *([r[kind] for r in known] for kind in ("good", "bad")))
        first, *others = answers(self.folder).values()
        rows = asked_of(first, [row[self.reference.value] for row in first])
        said = [[row["prediction"] for row in found] for found in (first, *others)]
        each = [estimate(judge, rows, found, said[0]) for found in said[1:]]
        lines = [f"校准：{cost.text()}", *(f"评判第 {n} 个模型：{c.text()}" for n, c in enumerate(each, 2))]
        self.say("\n".join(lines))

    def calibrate(self) -> None:
        from course_utils.evaluation.agreement import calibrate

        judge = self.judge_now
        try:
            found = calibrate(judge, file=_asked_file(judge), progress=self.calibrating.tick)
        except Stopped:
            self.say("已停止。问过的都记着，再点「校准」就接着做。")
            return
        self.trust.value = _trust(found)
        self.say(found.text() + ("" if found.passed else HUMAN), "done" if found.passed else "wrong")

    def judge(self) -> None:
        from course_utils.evaluation.agreement import JudgeRefused
        from course_utils.evaluation.report import judged_facts
        from course_utils.evaluation.scoring import judge_batch

        self.verdicts.value = ""
        try:
            found = judge_batch(self.folder, self.judge_now, self.reference.value, self._log, self.judging.tick)
        except JudgeRefused as error:
            raise CourseError(f"{error}{HUMAN}") from None
        except Stopped:
            self.say("已停止。问过的都记着，再点「评判」就接着做。")
            return
        if not found:
            raise ConfigError("只有一个模型，没有可以比的。请再加一个模型（例如基座）做批量预测。")
        self.trust.value = ""
        self.verdicts.value = "".join(
            _verdict(judged_facts(judged), next(iter(answers(self.folder)))) for judged in found
        )
        self.say("评判好了，写报告时会一起写进去。")

    # --- the report ---

    def write(self) -> None:
        from course_utils.evaluation.report import write_report

        self.link.value = self.page.value = ""
        out = self.folder / Path(self.out.value.strip()).name
        write_report(self.folder, out, self.reference.value, log=self._log)
        content = out.read_text(encoding="utf-8")
        data = base64.b64encode(content.encode()).decode()
        self.link.value = (
            f"<div>报告在 <b>{html.escape(in_workspace(out))}</b>，"
            f'<a download="{html.escape(out.name)}" style="color: #1976d2; text-decoration: underline" href="data:text/html;base64,{data}">下载这份报告</a></div>'
        )
        self.page.value = (
            f'<iframe title="报告" sandbox="" srcdoc="{html.escape(content)}" '
            'style="width: 100%; height: 640px; border: 1px solid #ddd"></iframe>'
        )
        self.say(f"报告已写到 {in_workspace(out)}，分数表在旁边的 {out.with_suffix('.csv').name}。")

    # --- the same in code, and what stays ---

    def code(self) -> str:
        folder = path_in_code(self.batch.value) if self.batch.value else "paths.workspace() / 'batches/评测'"
        model = self.judge_kind.value == MODEL
        module, judge = (
            ("judge import ModelJudge", "ModelJudge()") if model else ("judge_local import text_judge", "text_judge()")
        )
        law = "\nfound.citations" if self.law.value else ""
        return f"""\
from course_utils import paths
from course_utils.evaluation.agreement import calibrate
from course_utils.evaluation.{module}
from course_utils.evaluation.report import write_report
from course_utils.evaluation.scoring import judge_batch, score_batch

folder = {folder}
found = score_batch(folder, {self.reference.value!r})
found.table(), found.against, found.missing{law}
judge = {judge}
print(calibrate(judge).text())
judge_batch(folder, judge, {self.reference.value!r})
write_report(folder, folder / {Path(self.out.value.strip()).name!r}, {self.reference.value!r})"""

    def result(self) -> str:
        name = heading(f"批量预测「{self.batch.value.name}」") if self.batch.value else ""
        return name + self.shown.value + self.trust.value + self.verdicts.value + self.message.value


def _asked_file(judge) -> Path:
    """Where a stopped calibration goes on from."""
    return paths.workspace() / "judges" / f"{judge.key}.jsonl"


def _scores(found) -> str:
    """Scores, differences, pictures and the worst errors as HTML."""
    from course_utils.evaluation import report

    counted = f"{len(found.references)} 行；空回答 " + "，".join(f"{n} {count} 条" for n, count in found.empty.items())
    about = f"{counted}，都算错或零分。括号里是 95% 区间（按行重采样）。"
    if not found.labels:
        about += "\n名字里写明了怎样切分：字（一个汉字或一个英文词、数字），词（jieba 切分），字符。相似度高只说明写得像标准答案。"
    test = "McNemar 精确检验" if found.labels else "Wilcoxon 符号秩检验"
    parts = [heading("分数"), note(about), table(report.scores_table(found))]
    for name, lines in report.against_tables(found):
        title = f"{name} 减去 {found.first}" if name else f"减去 {found.first}"
        parts += [heading(f"同样的行逐行比：{title}"), note(f"p 值：{test}。"), table(lines)]
    figures = "".join(
        f'<figure style="margin: 8px 24px 8px 0; max-width: {720 if width == "wide" else 360}px">'
        f'<figcaption class="course-note">{html.escape(caption)}</figcaption>'
        f'<img src="{uri}" style="width: 100%" alt="{html.escape(caption)}"></figure>'
        for caption, uri, width in report.figures(found)
    )
    parts.append(f'<div style="display: flex; flex-wrap: wrap; align-items: flex-start">{figures}</div>')
    for name, lines in found.errors.items():
        shown = lines.head(WORST).assign(把握=lines["把握"].map("{:.0%}".format))
        parts += [heading(f"{name}：最有把握的错误"), table(shown) if len(shown) else note("没有错误。")]
    return "".join(parts)


def _citations(found) -> str:
    if not found.citations:
        return heading("法条") + note("回答和标准答案里都没有引用法条。")
    parts = [heading("法条")]
    for name, cited in found.citations.items():
        valid = "没有引用" if cited.valid is None else f"{cited.valid:.1%} 存在并且现行"
        parts.append(note(f"{name}：{cited.citing:.0%} 的回答引了法条，共 {cited.n_citations} 处，{valid}。"))
        parts.append(table(cited.invalid) if len(cited.invalid) else "")
    return "".join(parts)


def _missing(found) -> str:
    return heading("没有测的") + note("\n".join(f"· {text}" for text in found.missing))


def _trust(agreement) -> str:
    lines = agreement.table()
    lines["一致率"] = [f"{r.一致率:.0%}（{r.下限:.0%} 至 {r.上限:.0%}）" if r.共 else "—" for r in lines.itertuples()]
    shown = lines[["毛病", "一致", "共", "一致率"]]
    return heading("按毛病看一致率") + note(agreement.what) + table(shown)


def _verdict(judged: dict, first: str) -> str:
    """What a judge said of a model, and beside it how far it can be trusted."""
    said = facts(
        {
            "结论": judged["verdict"],
            "没有判出来": f"{judged['failed']} 行（缺着，不算零分）",
            "换顺序后一致": f"{judged['swaps']}（不一致的算平局）",
            "较长的回答赢": judged["length"],
        }
    )
    trust = note(judged["trust"]) + table(judged["calibration"])
    return (
        heading(f"{judged['judge']}：{judged['model']} 对 {first}") + note(judged["what"])
        + '<div style="display: grid; grid-template-columns: 1fr 1fr; gap: 28px">'
        f"<div>{heading('怎么判')}{said}</div><div>{heading('可不可信')}{trust}</div></div>"
    )  # fmt: skip
