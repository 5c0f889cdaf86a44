"""The panel where people compare two models blind: one row at a time, and nobody can see which side is whose."""

from pathlib import Path

import ipywidgets as widgets

from course_utils.data.records import sources
from course_utils.errors import ConfigError
from course_utils.evaluation.batch import answers, read_work
from course_utils.evaluation.human import make_sheet, merge, rate, ratings, sheet, tally
from course_utils.widgets.base import Panel, cell, facts, heading, in_workspace, note, table
from course_utils.widgets.batch_choice import LABEL, WIDE, batch_choice, renew_choice
from course_utils.widgets.pieces import aligned, path_in_code

STEPS = ("1 评分", "2 结果")
KEYS = {"1": "左", "2": "平", "3": "右"}
BACK = "0"


def rating_panel() -> None:
    """Show the panel for blind scoring by people."""
    RatingPanel().show()


class RatingPanel(Panel):
    title = "主观评测"
    purpose = "同一个问题，两个模型的回答并排，不写是谁答的，左右是抽签定的。每评一条就存下来，随时可以停，下次接着评。"

    def __init__(self):
        super().__init__()
        self.lines: list[dict] = []
        self.place = 0
        pages = [self._rating_page(), self._tally_page()]
        self.steps = widgets.Tab([widgets.VBox(page) for page in pages], titles=STEPS)
        self.body.children = [self.steps]
        self.batch.observe(lambda _: self._fit(), "value")
        for control in (self.a, self.b, self.rater):
            control.observe(lambda _: self._close(), "value")
        self._fit()

    # --- the pages ---

    def _rating_page(self) -> list[widgets.Widget]:
        self.batch = batch_choice()
        renew = self.button("刷新", lambda: renew_choice(self.batch))
        self.a = widgets.Dropdown(description="比较", style=LABEL, layout=WIDE)
        self.b = widgets.Dropdown(description="和", style=LABEL, layout=WIDE)
        self.rater = widgets.Text(
            description="评分人", placeholder="名字或代号", style=LABEL, layout=WIDE, continuous_update=False
        )
        start = self.button("开始评分", self.start, "正在准备……", "primary")
        self.done = widgets.FloatProgress(max=1, layout={"width": "100%"})
        self.item = widgets.HTML()
        choices = [
            self.button(label, lambda choice=choice: self.choose(choice))
            for label, choice in (("左边好", "左"), ("一样好", "平"), ("右边好", "右"))
        ]
        back = self.button("上一条", self.back)
        self.keys = widgets.Text(description="用键盘评", placeholder="点这里，然后按 1、2、3", style=LABEL)
        self.keys.layout = {"width": "280px"}
        self.keys.observe(self._pressed, "value")
        self.note = widgets.Text(description="备注", placeholder="可以不写", style=LABEL, layout=WIDE)
        legend = widgets.HTML(note("1 左边好，2 一样好，3 右边好，0 退回上一条。"))
        self.scoring = widgets.VBox(
            [self.done, self.item, widgets.HBox([*choices, back]), aligned(self.keys, legend), self.note]
        )
        return [aligned(self.batch, renew), self.a, self.b, self.rater, start, self.scoring]

    def _tally_page(self) -> list[widgets.Widget]:
        about = "大家都评完再看：看过结果再评，就不算盲评了。评分在 ratings.jsonl 里，别人发来的可以合并进来。"
        count = self.button("看结果", self.count, "", "primary")
        self.other = widgets.Text(
            description="别人的评分", placeholder="ratings.jsonl 的路径", style=LABEL, layout=WIDE
        )
        join = self.button("合并", self.merge)
        self.counted = widgets.HTML()
        return [widgets.HTML(note(about)), aligned(self.other, join), count, self.counted]

    def _fit(self) -> None:
        """Offer the models of this batch: the last one against the first."""
        names = list(read_work(self.batch.value)["models"]) if self.batch.value else []
        for control, value in ((self.a, names[-1:]), (self.b, names[:1])):
            control.options = [(Path(name).name, name) for name in names]
            control.value = value[0] if value else None
        self._close()

    def _close(self) -> None:
        """What is on the table is no longer what was chosen."""
        self.lines, self.counted.value = [], ""
        self._draw()
        self.renew()

    # --- what the buttons do ---

    @property
    def folder(self) -> Path:
        """Where the sheet of this pair lies: in its batch, so that the report finds it."""
        if self.batch.value is None:
            raise ConfigError("还没有批量预测。请先用 batch_panel() 做一次，至少两个模型。")
        if self.a.value == self.b.value or None in (self.a.value, self.b.value):
            raise ConfigError("请选两个不同的模型。")
        files = {name: Path(spec["file"]).stem for name, spec in read_work(self.batch.value)["models"].items()}
        return self.batch.value / f"human-{files[self.a.value]}-{files[self.b.value]}"

    def start(self) -> None:
        """Make the sheet, or open it again, and go to the first row that this rater has not rated."""
        if not self.rater.value.strip():
            raise ConfigError("请先写上评分人的名字（或代号）。")
        self._sheet()
        self.lines = sheet(self.folder, self.rater.value.strip())
        self.clear()
        self._go_on()

    def _sheet(self) -> Path:
        """The folder with the sheet, which is always the same for the same answers."""
        return make_sheet(self.folder, *_pair(self.batch.value, self.a.value, self.b.value))

    def choose(self, choice: str) -> None:
        if self.place >= len(self.lines):
            raise ConfigError("没有要评的。请先点「开始评分」；评完了的，用「上一条」可以改。")
        rate(self.folder, self.rater.value, self.lines[self.place]["id"], choice, self.note.value.strip())
        self.place += 1
        self._draw()
        if self.place >= len(self.lines):
            self._go_on()

    def back(self) -> None:
        self.place = max(0, self.place - 1)
        self._draw()

    def _go_on(self) -> None:
        """To the first row that is not rated yet, or the end."""
        mine = self._mine()
        left = [i for i, line in enumerate(self.lines) if line["id"] not in mine]
        self.place = left[0] if left else len(self.lines)
        self._draw()
        if not left:
            self.say("全部评完了，谢谢。都已经存好；在「2 结果」里看结果。")

    def _pressed(self, change) -> None:
        """One key in the box is one rating."""
        key = change["new"][-1:]
        if not key:
            return
        self.keys.value = ""
        with self.working():
            if key == BACK:
                self.back()
            elif key in KEYS:
                self.choose(KEYS[key])
            else:
                raise ConfigError("只认 1、2、3 和 0 这几个键。")

    def merge(self) -> None:
        if not self.other.value.strip():
            raise ConfigError("请写出别人的 ratings.jsonl 的路径。")
        fresh = merge(self._sheet(), [self.other.value.strip()])
        self.say(f"合并了 {fresh} 条新的评分。")

    def count(self) -> None:
        from course_utils.evaluation.report import people_facts

        found = tally(self._sheet())
        said = people_facts(found)
        people = ratings(self.folder).groupby("rater").size()
        self.counted.value = heading(said["title"]) + facts(
            {
                "结果": said["verdict"],
                "评分人之间的 kappa": said["kappa"],
                "选左边的占": f"{said['left']}（左右是抽签定的，离一半很远就说明没有细看）",
            }
        ) + table([{"评分人": name, "评了几条": n} for name, n in people.items()])  # fmt: skip
        self.say(f"评分在 {in_workspace(self.folder / 'ratings.jsonl')}，写报告时会一起写进去。")

    # --- what there is to see ---

    def _mine(self) -> dict[str, dict]:
        """This rater's ratings by row."""
        lines = ratings(self.folder).to_dict("records")
        return {line["id"]: line for line in lines if line["rater"] == self.rater.value.strip()}

    def _draw(self) -> None:
        """The row at hand."""
        self.scoring.layout.display = "" if self.lines else "none"
        if not self.lines:
            self.item.value = ""
            return
        mine, total = self._mine(), len(self.lines)
        self.done.value = len(mine) / total
        where = f"评了 {len(mine)} 条，共 {total} 条"
        self.note.value = ""
        if self.place >= total:
            self.item.value = note(f"{where}。")
            return
        line = self.lines[self.place]
        before = mine.get(line["id"])
        said = {"左": "左边好", "右": "右边好", "平": "一样好"}.get(before["choice"]) if before else ""
        self.note.value = before["note"] if before else ""
        changed = f"；这一条评过：{said}，再评一次会改掉" if before else ""
        asked = facts({"问题": line["question"], "标准答案": line.get("reference", "")})
        self.item.value = (
            note(f"第 {self.place + 1} 条，{where}{changed}。") + asked
            + '<div style="display: grid; grid-template-columns: 1fr 1fr; gap: 16px; margin: 8px 0">'
            + _card("左", line["left"]) + _card("右", line["right"]) + "</div>"
        )  # fmt: skip

    def code(self) -> str:
        where = path_in_code(self.batch.value) if self.batch.value else "paths.workspace() / 'batches/评测'"
        a, b, rater = self.a.value or "甲", self.b.value or "乙", self.rater.value.strip() or "我"
        reference = sources(read_work(self.batch.value)["mapping"])["output"] if self.batch.value else "output"
        try:
            name = self.folder.name
        except ConfigError:
            name = "human"
        return f"""\
from course_utils import paths
from course_utils.evaluation.batch import answers
from course_utils.evaluation.human import make_sheet, rate, sheet, tally
from course_utils.evaluation.scoring import question_of

batch = {where}
a, b = (answers(batch)[name] for name in ({a!r}, {b!r}))
said = [[row['prediction'] for row in rows] for rows in (a, b)]
questions, references = [question_of(row) for row in a], [row[{reference!r}] for row in a]
names = ({a!r}, {b!r})
folder = make_sheet(batch / {name!r}, questions, *said, names, references)
row = sheet(folder, {rater!r})[0]
rate(folder, {rater!r}, row['id'], '平')  # 左、右、平
tally(folder)"""

    def result(self) -> str:
        return self.counted.value + self.message.value


def _pair(folder: Path, a: str, b: str) -> tuple:
    """What `make_sheet` needs to compare models a and b of a batch."""
    from course_utils.evaluation.scoring import question_of

    found, reference = answers(folder), sources(read_work(folder)["mapping"])["output"]
    rows = found[a]
    if not len(found[a]) == len(found[b]) == read_work(folder)["rows"]:
        raise ConfigError("这次批量预测还没有做完。请先在 batch_panel() 里继续。")
    references = [row[reference] for row in rows] if all(row.get(reference) for row in rows) else None
    said = ([row["prediction"] for row in found[name]] for name in (a, b))
    return [question_of(row) for row in rows], *said, (a, b), references


def _card(side: str, text: str) -> str:
    style = "border: 1px solid var(--jp-border-color2, #ddd); border-radius: 4px; padding: 8px 12px"
    return f'<div style="{style}"><b>{side}边</b><br>{cell(text or "（空）", 4000)}</div>'
