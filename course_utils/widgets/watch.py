"""The live panel of a training: it reads the run folder and nothing else, so what dies takes nothing with it."""

import base64
import html

import ipywidgets as widgets

from course_utils.errors import ConfigError
from course_utils.training import jobs
from course_utils.training.run import Run
from course_utils.widgets.base import facts, heading, table
from course_utils.widgets.pieces import JobPanel

TROUBLES = "docs/training_troubles.md"


def watch_panel(number: int | None = None) -> None:
    """Show the panel of job `number`, the newest by default."""
    WatchPanel(number).show()


class WatchPanel(JobPanel):
    title = "任务与训练过程"
    purpose = "排队、运行、停止、继续。曲线和样例每两秒更新；关掉网页或重启内核，任务照样进行，再打开就能接着看。"
    stopping = "会在这一步之后停下，先存好检查点。"
    going_on = "会从最近的检查点继续。"

    def __init__(self, number: int | None = None):
        super().__init__()
        self.state, self.drawn = "", None
        self.listing = widgets.HTML()
        self.chosen = widgets.Dropdown(description="任务", layout=widgets.Layout(width="340px"))
        stop = self.button("停止", self.stop)
        resume = self.button("继续", self.resume)
        self.bar = widgets.FloatProgress(max=1, layout=widgets.Layout(width="100%", display="none"))
        self.facts, self.notices, self.samples = widgets.HTML(), widgets.HTML(), widgets.HTML()
        self.curve = widgets.Image(format="png", layout=widgets.Layout(max_width="720px", width="100%", display="none"))
        self.body.children = [
            self.listing, widgets.HBox([self.chosen, stop, resume]), self.bar, self.facts, self.notices, self.curve,
            self.samples,
        ]  # fmt: skip
        self._list(number)
        self.chosen.observe(lambda _: self.look(), "value")
        self.look()

    def _list(self, number: int | None = None) -> None:
        found = jobs.jobs()
        lines = [
            {
                "号": j.number,
                "名字": j.name,
                "状态": j.state,
                "前面还有": "" if j.place is None else j.place,
                "说明": j.message,
            }
            for j in found[:12]
        ]
        self.listing.value = table(lines) if lines else ""
        options = [(f"{job.number}　{job.name}", job.number) for job in found]
        if options != list(self.chosen.options):
            wanted, numbers = number or self.chosen.value, [value for _, value in options]
            self.chosen.options = options
            self.chosen.value = wanted if wanted in numbers else numbers[0]

    @property
    def job(self) -> jobs.Job:
        if self.chosen.value is None:
            raise ConfigError("还没有任务。请先在「模型精调」面板里提交一个。")
        return jobs.job(self.chosen.value)

    def look(self) -> None:
        """Bring the panel up to date, when something has changed."""
        if self.chosen.value is None:
            self._list()
            if self.chosen.value is None:
                return
        job = self.job
        run = Run(job.folder) if (job.folder / "config.yaml").exists() else None
        metrics, samples = (run.metrics, run.samples) if run else ([], [])
        state = (job.number, job.state, job.place, len(metrics), len(samples))
        if state == self.drawn:
            return
        self.drawn = state
        self._list()
        self.facts.value = facts(_facts(job, run, metrics))
        total = run.facts.get("total_steps") if run else None
        self.bar.layout.display = "" if total and metrics and job.state == jobs.RUNNING else "none"
        self.bar.value = metrics[-1]["step"] / total if total and metrics else 0
        self._show_run(run, metrics, samples)
        self.renew()

    def _show_run(self, run: Run | None, metrics: list[dict], samples: list[dict]) -> None:
        if not metrics:
            self.curve.layout.display, self.notices.value, self.samples.value = "none", "", ""
            return
        from course_utils.plots import loss_curve, png
        from course_utils.training.diagnose import diagnose

        self.curve.value = png(loss_curve(metrics, title=f"{run.folder.name} 的损失"))
        self.curve.layout.display = ""
        self.notices.value = "".join(
            f'<div class="course-message wrong">{html.escape(f"{n.kind}：{n.what}（详见 {TROUBLES} 的「{n.kind}」）")}</div>'
            for n in diagnose(metrics, samples)
        )
        self.samples.value = heading("同样几条，训练中怎样回答") + table(_samples(samples)) if samples else ""

    def code(self) -> str:
        number = self.chosen.value or 1
        return (
            "from course_utils.training import jobs\n"
            "from course_utils.training.run import Run\n\n"
            f"job = jobs.job({number})\n"
            "run = Run(job.folder)\n"
            "print(job.state, job.message, run.metrics[-1:], run.samples[-3:])\n"
            f"# jobs.stop({number})；jobs.resume({number})"
        )

    def result(self) -> str:
        picture = base64.b64encode(self.curve.value).decode() if self.curve.layout.display == "" else ""
        image = f'<img src="data:image/png;base64,{picture}" style="max-width: 720px; width: 100%">' if picture else ""
        return self.listing.value + self.facts.value + self.notices.value + image + self.samples.value


def _facts(job: jobs.Job, run: Run | None, metrics: list[dict]) -> dict[str, str]:
    steps = [line for line in metrics if "loss" in line]
    found = {"状态": job.standing}
    if job.message:
        found["说明"] = job.message
    if not steps:
        return found
    last, total = steps[-1], run.facts.get("total_steps")
    found["进度"] = f"第 {last['step']} 步，共 {total} 步" if total else f"第 {last['step']} 步"
    found["损失"] = f"{last['loss']:.4f}"
    checks = [line for line in metrics if "eval_loss" in line]
    if checks:
        best = min(checks, key=lambda line: line["eval_loss"])
        found["验证损失"] = f"{checks[-1]['eval_loss']:.4f}（最低 {best['eval_loss']:.4f}，第 {best['step']} 步）"
        if "eval_accuracy" in checks[-1]:
            found["验证准确率"] = f"{checks[-1]['eval_accuracy']:.1%}"
    found["学习率"] = f"{last.get('learning_rate', 0):.2e}"
    found["速度"] = f"{last.get('tokens_per_second', 0):.0f} token/秒"
    found["已用"] = f"{metrics[-1]['seconds'] / 60:.1f} 分钟"
    if job.state == jobs.RUNNING:
        found["剩余"] = f"约 {last['time_left'] / 60:.1f} 分钟"
    return found


def _samples(samples: list[dict]) -> list[dict]:
    """A row per sample, a column per evaluation: the first, and the last three."""
    steps = sorted({line["step"] for line in samples})
    steps = steps if len(steps) <= 4 else [steps[0], *steps[-3:]]
    rows = {}
    for line in samples:
        row = rows.setdefault(line["input"], {"问题": line["input"], "标注": line["output"]})
        if line["step"] in steps:
            row[f"第 {line['step']} 步"] = line["answer"] + ("" if line["ended"] else " ……（没有停）")
    return list(rows.values())
