"""The panel of a batch: several models answer the same rows, as a job; its progress, and the answers side by side."""

import re
from collections.abc import Sequence
from pathlib import Path

import ipywidgets as widgets

from course_utils import llm
from course_utils.data import presets, store
from course_utils.data.formats import read_rows
from course_utils.data.records import sources
from course_utils.errors import ConfigError, DataError
from course_utils.evaluation.batch import answers, progress, read_work, submit_batch
from course_utils.evaluation.ledger import read_lines
from course_utils.models import remote
from course_utils.models.catalogue import catalogue
from course_utils.training import jobs
from course_utils.training.history import find_run, runs
from course_utils.training.recipe import parse_recipe
from course_utils.widgets.base import cell, facts, heading, html_table, note
from course_utils.widgets.batch_choice import LABEL, WIDE, batch_choice, renew_choice
from course_utils.widgets.pieces import JobPanel, aligned, path_in_code

PAGE = 10  # rows of answers at once
STEPS = ("1 模型与数据", "2 进度与答案")
AUTO, CHOOSE, FREE = "auto", "choose", "free"
NARROW = {"width": "220px"}


def batch_panel(**values) -> None:
    """Show the panel that lets several models answer the same rows. values: as for `BatchPanel`."""
    BatchPanel(**values).show()


class BatchPanel(JobPanel):
    title = "批量推理"
    purpose = "让几个模型回答同样的题目。提交以后在后台排队，关掉网页也不会停；停了可以接着做，答过的不用重答。"
    stopping = "手上的几行答完就停。"
    going_on = "从没有答的行接着做。"

    def __init__(self, models: Sequence[str] = (), run: str | None = None, rows: int = 0, name: str = "评测"):
        """To begin with: models that are chosen, the run whose test part is asked, at most how many rows, a name."""
        super().__init__()
        self.drawn = None
        pages = [self._choice_page(), self._answers_page()]
        self.steps = widgets.Tab([widgets.VBox(page) for page in pages], titles=STEPS)
        self.body.children = [self.steps]
        self.models.value, self.rows.value, self.name.value = tuple(models), rows, name
        if run:
            self.data.value = ("run", run)
        for control in (self.data, self.way):
            control.observe(lambda _: self._fit(), "value")
        for control in (self.models, self.others, self.data, self.split, self.file, self.question, self.answer,
                        self.way, self.labels, self.tokens, self.rows, self.name):  # fmt: skip
            control.observe(lambda _: self.renew(), "value")
        self._fit()
        self.look()
        self.renew()

    # --- the pages ---

    def _choice_page(self) -> list[widgets.Widget]:
        bases = [(f"基座：{card.title}", name) for name, card in catalogue().items()]
        trained = [(f"训练：{run.folder.name}", run.folder.name) for run in runs() if run.finished]
        registered = [(f"远程：{found.name}", f"远程:{found.name}") for found in remote.remotes()]
        models = bases + trained + registered
        self.models = _control(widgets.SelectMultiple, "模型", options=models, rows=min(10, len(models)))
        self.others = _control(widgets.Text, "其他模型", placeholder="文件夹，或 remote:模型名；几个用逗号隔开")
        advice = "按住 Ctrl 可以多选。排在最前的是比较的基准，通常是基座。"
        if not registered:
            advice += "远程模型先在 chat_panel() 里登记，这里就有；也可以设环境变量 " + "、".join(llm.VARIABLES) + "。"
        tested = [run.folder.name for run in runs() if (run.folder / "data" / "test.jsonl").exists()]
        held = [(f"训练「{name}」留下的测试集", ("run", name)) for name in tested]
        own = [(f"我的：{name}的测试集", ("data", name)) for name in store.names()]
        given = [(f"预置：{card.title}的测试集", ("data", name)) for name, card in presets.catalogue().items()]
        self.data = _control(widgets.Dropdown, "数据", options=[*held, *own, *given, ("一个文件", ("file", ""))])
        splits = [("随机切分", "random"), ("较难的切分", "harder")]
        self.split = _control(widgets.Dropdown, "切分", options=splits)
        caution = "请选和训练时一样的切分，否则测试里会有训练过的题。最稳妥的是选「训练……留下的测试集」。"
        self.caution = widgets.HTML(note(caution))
        self.file = _control(widgets.Text, "文件", placeholder="jsonl、json 或 csv")
        self.question = _control(widgets.Text, "问题在哪一列", NARROW, placeholder="input")
        self.answer = _control(widgets.Text, "标准答案在哪一列", NARROW, placeholder="output")
        self.file_box = widgets.VBox([self.file, widgets.HBox([self.question, self.answer])])
        self.rows = _control(widgets.BoundedIntText, "最多几行", NARROW, value=0, min=0, max=10**6)
        ways = [("自动：看训练和数据是不是标签", AUTO), ("从标签里选一个", CHOOSE), ("自由回答", FREE)]
        self.way = _control(widgets.Dropdown, "怎样回答", options=ways)
        self.labels = _control(widgets.Text, "标签", placeholder="用逗号隔开")
        self.tokens = _control(widgets.BoundedIntText, "最多几个 token", NARROW, value=256, min=1, max=4096)
        self.name = _control(widgets.Text, "名字")
        submit = self.button("提交", self.submit, "正在检查数据，提交……", "primary")
        return [
            self.models, self.others, widgets.HTML(note(advice)), self.data, self.split, self.caution, self.file_box,
            aligned(self.rows, widgets.HTML(note("0 就是全部。"))), self.way, self.labels, self.tokens, self.name,
            submit,
        ]  # fmt: skip

    def _answers_page(self) -> list[widgets.Widget]:
        self.chosen = batch_choice()
        self.chosen.observe(lambda _: self.look(), "value")
        stop, resume = self.button("停止", self.stop), self.button("继续", self.resume)
        self.state = widgets.HTML()
        self.differing = widgets.Checkbox(description="只看各模型回答不同的行", indent=False)
        self.page = _control(widgets.BoundedIntText, "第几页", NARROW, value=1, min=1, max=1)
        for control in (self.differing, self.page):
            control.observe(lambda _: self._draw_answers(), "value")
        self.turning = aligned(self.page, self.differing)
        self.turning.layout.display = "none"
        self.shown = widgets.HTML()
        return [widgets.HBox([self.chosen, stop, resume]), self.state, self.turning, self.shown]

    def _fit(self) -> None:
        """Show the controls that have something to say."""
        kind, name = self.data.value
        preset = presets.catalogue().get(name) if kind == "data" else None
        for control, needed in (
            (self.split, preset and preset.harder),
            (self.caution, kind == "data"),
            (self.file_box, kind == "file"),
            (self.labels, self.way.value == CHOOSE),
            (self.tokens, self.way.value != CHOOSE),
        ):
            control.layout.display = "" if needed else "none"

    # --- what the buttons do ---

    @property
    def names(self) -> list[str]:
        """The models chosen, in the order of the list."""
        return [*self.models.value, *_parts(self.others.value)]

    @property
    def options(self) -> dict:
        """What `submit_batch` is to do otherwise than by default."""
        given = {CHOOSE: _parts(self.labels.value), FREE: []}
        columns = {self.question.value.strip(): "input", self.answer.value.strip(): "output"}
        mapping = {column: field for column, field in columns.items() if column and self.data.value[0] == "file"}
        found = {"labels": given[self.way.value]} if self.way.value in given else {}
        found |= {"mapping": mapping} if mapping else {}
        return found | ({"max_new_tokens": self.tokens.value} if self.tokens.value != 256 else {})

    @property
    def recipe(self) -> dict:
        harder = self.split.layout.display == "" and self.split.value == "harder"
        return {"data": self.data.value[1]} | ({"split": "harder"} if harder else {})

    def questions(self):
        """The rows to answer. Raises `CourseError`."""
        kind, name = self.data.value
        if kind == "file":
            if not self.file.value.strip():
                raise DataError("还没有文件。请写出它的路径；文件可以先拖到 JupyterLab 左边的文件栏里。")
            rows = read_rows(self.file.value.strip())
        else:
            rows = find_run(name).records("test") if kind == "run" else parse_recipe(self.recipe)[1].get("test")
        if not rows:
            raise DataError("这份数据没有测试集。请换一份，或者选「一个文件」。")
        return rows[: self.rows.value or None]

    def submit(self) -> None:
        if not self.names:
            raise ConfigError("还没有选模型。请在列表里选一个或几个。")
        if self.way.value == CHOOSE and not _parts(self.labels.value):
            raise ConfigError("还没有写标签。请写出来，用逗号隔开，例如：积极,消极。")
        name = self.name.value.strip()
        if not name or re.search(r'[/\\:*?"<>|]', name) or name.startswith("."):
            raise ConfigError("请给这次批量预测起个名字，里面不要有 / \\ : * ? 和引号。")
        job = submit_batch(self.names, self.questions(), name, **self.options)
        renew_choice(self.chosen, job.folder)
        self.steps.selected_index = 1
        self.say(f"已提交：第 {job.number} 号任务「{job.name}」。")

    @property
    def folder(self) -> Path:
        if self.chosen.value is None:
            raise ConfigError("还没有批量预测。请先在「1 模型与数据」里提交一个。")
        return self.chosen.value

    @property
    def job(self) -> jobs.Job:
        """The job of the chosen batch."""
        job = self._found()
        if job is None:
            raise ConfigError("这次批量预测不是队列里的任务。请用当初的 course batch 命令接着做。")
        return job

    def _found(self) -> jobs.Job | None:
        """The same; None when the batch was made without the queue."""
        folder = self.folder.resolve()
        return next((job for job in jobs.jobs() if job.folder == folder), None)

    # --- what there is to see ---

    def look(self) -> None:
        """Bring progress and answers up to date, when something has changed."""
        renew_choice(self.chosen)
        if self.chosen.value is None:
            self.state.value = note("还没有批量预测。")
            return
        job, lines = self._found(), progress(self.folder).to_dict("records")
        drawn = (self.folder, job and (job.state, job.place), [line["已完成"] for line in lines])
        if drawn == self.drawn:
            return
        self.drawn = drawn
        about = {"任务": f"第 {job.number} 号，{job.standing}"} if job else {}
        about |= {"说明": job.message} if job and job.message else {}
        running = job is not None and job.state == jobs.RUNNING
        self.state.value = facts(about) + html_table([_progress(line, running) for line in lines])
        self._draw_answers()

    def _draw_answers(self) -> None:
        """A page of rows: what was asked, the reference, and what each model says."""
        from course_utils.evaluation.labels import text_of

        work, found = read_work(self.folder), answers(self.folder)
        reference = sources(work["mapping"])["output"]
        lines = []
        for i, row in enumerate(read_lines(self.folder / "data.jsonl")):
            said = {name: rows[i]["prediction"] or "（空）" if i < len(rows) else "" for name, rows in found.items()}
            if any(said.values()) and (not self.differing.value or len(set(said.values())) > 1):
                asked = {"行": i + 1, "问题": text_of(row), "标准答案": row.get(reference) or ""}
                lines.append(asked | {Path(name).name: text for name, text in said.items()})
        self.page.max = max(1, -(-len(lines) // PAGE))
        first = (self.page.value - 1) * PAGE
        part = [{name: cell(text) for name, text in line.items()} for line in lines[first : first + PAGE]]
        self.turning.layout.display = "" if lines or self.differing.value else "none"
        where = f"第 {first + 1} 至 {first + len(part)} 行，共 {len(lines)} 行，{self.page.max} 页。" if lines else ""
        self.shown.value = heading("答案并排") + html_table(part) + note(where) if lines else ""
        self.renew()

    def code(self) -> str:
        kind, name = self.data.value
        file = path_in_code(Path(self.file.value.strip() or "题目.jsonl"))
        module, rows = {
            "run": ("training.history import find_run", f"find_run({name!r}).records('test')"),
            "data": ("training.recipe import parse_recipe", f"parse_recipe({self.recipe!r})[1]['test']"),
            "file": ("data.formats import read_rows", f"read_rows({file})"),
        }[kind]
        kept = f"[:{self.rows.value}]" if self.rows.value else ""
        options = "".join(f", {key}={value!r}" for key, value in self.options.items())
        return f"""\
from course_utils import paths
from course_utils.{module}
from course_utils.evaluation.batch import answers, progress, submit_batch

rows = {rows}{kept}
job = submit_batch({self.names or ["模型"]!r}, rows, {self.name.value.strip()!r}{options})
print(progress(job.folder))
answers(job.folder)
# from course_utils.training import jobs；jobs.stop(job.number)；jobs.resume(job.number)"""

    def result(self) -> str:
        name = heading(f"批量预测「{self.chosen.value.name}」") if self.chosen.value else ""
        return name + self.state.value + self.shown.value + self.message.value


def _progress(line: dict, running: bool) -> dict[str, str]:
    """A model's line as HTML: a bar, the rows, the speed, and the time left while it runs."""
    share = line["已完成"] / max(1, line["共"])
    bar = (
        '<div style="width: 160px; height: 8px; margin-top: 7px; border-radius: 4px; background: #e3e6ea">'
        f'<div style="width: {share:.0%}; height: 8px; border-radius: 4px; background: #1976d2"></div></div>'
    )
    speed, left = line["每秒行数"], line["剩余秒数"]
    remaining = f"约 {left / 60:.1f} 分钟" if running and left and share < 1 else ""
    return {
        "模型": cell(Path(line["模型"]).name), "进度": bar, "已答": f"{line['已完成']} / {line['共']} 行",
        "速度": f"{speed:.1f} 行/秒" if speed == speed and speed else "", "剩余": remaining,
    }  # fmt: skip


def _control(kind: type, label: str, layout: dict = WIDE, **options):
    return kind(description=label, style=LABEL, layout=layout, **options)


def _parts(text: str) -> list[str]:
    return [part.strip() for part in re.split("[,，、]", text) if part.strip()]
