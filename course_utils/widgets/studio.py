"""The panel that fine-tunes: choose the data, set the knobs, see the cost, submit."""

from pathlib import Path
from pprint import pformat

import ipywidgets as widgets
import yaml

from course_utils.data import presets, store
from course_utils.data.formats import read_rows
from course_utils.data.mapping import suggest
from course_utils.data.split import TITLES
from course_utils.errors import ConfigError
from course_utils.training.config import TrainingConfig
from course_utils.training.recipe import parse_recipe
from course_utils.widgets.base import Panel, heading, note, table
from course_utils.widgets.mapping import MappingForm
from course_utils.widgets.settings import SettingsForm

FILE = "file:"  # no data set can have this name
STEPS = ("1 数据", "2 设置", "3 估算与提交")
LABEL = {"description_width": "9em"}


def wide() -> widgets.Layout:
    """A layout of its own for each control: one is hidden without the others."""
    return widgets.Layout(width="420px")


def studio_panel(**values) -> None:
    """Show the panel. values: a recipe to begin with, such as `data="sentiment_predict", rows=400, epochs=1`."""
    StudioPanel(**values).show()


class StudioPanel(Panel):
    title = "模型精调"
    purpose = "选数据，设参数，先估算要多久、要多少内存，再提交。提交以后任务在后台排队训练，关掉网页也不会停。"

    def __init__(self, **values):
        super().__init__()
        self.job = None
        names = [(f"预置：{card.title}", name) for name, card in presets.catalogue().items()]
        names += [(f"我的：{name}", name) for name in store.names()] + [("一个文件（在下面写路径和映射）", FILE)]
        self.data = widgets.Dropdown(options=names, description="数据集", style=LABEL, layout=wide())
        self.split = widgets.Dropdown(
            options=[("随机切分", "random"), ("较难的切分", "harder")], description="切分", style=LABEL, layout=wide()
        )
        self.file = widgets.Text(placeholder="例如 评论.csv", description="文件", style=LABEL, layout=wide())
        read = self.button("读取列名", self.read, "正在读取……")
        self.mapping = MappingForm(self._changed)
        self.file_choice = widgets.VBox([widgets.HBox([self.file, read]), self.mapping.view])
        self.shares = [
            widgets.BoundedIntText(share, min=0, max=100, step=5, description=f"{title} %", style=LABEL)
            for title, share in zip(TITLES.values(), (70, 15, 15), strict=True)
        ]
        for control in self.shares:
            control.layout.width = "220px"
        self.rows = widgets.BoundedIntText(0, min=0, max=10**7, step=100, description="训练最多用几行", style=LABEL)
        self.rows.layout.width = "280px"
        self.seen = widgets.HTML()
        look = self.button("看看数据", self.look, "正在读取和切分……")
        self.settings = SettingsForm(self._changed)
        self.name = widgets.Text("我的训练", description="这次训练的名字", style=LABEL, layout=wide())
        self.recipe_text = widgets.HTML()
        weigh = self.button("估算", self.estimate, "正在试算几步，约半分钟……")
        submit = self.button("提交训练", self.submit, "正在提交……", "primary")
        shares_row = widgets.HBox(self.shares)
        zero = widgets.HTML(note("0 就是全部。先用几百行走通，再用全部。"))
        pages = [
            [self.data, self.file_choice, self.split, shares_row, widgets.HBox([self.rows, zero]), look, self.seen],
            [self.settings.view],
            [self.name, widgets.HBox([weigh, submit]), self.recipe_text],
        ]
        self.steps = widgets.Tab([widgets.VBox(page) for page in pages], titles=STEPS)
        self.body.children = [self.steps]
        self._begin(values)
        for control in (self.data, self.file, self.split, *self.shares, self.rows, self.name):
            control.observe(lambda _: self._changed(), "value")
        self._changed()

    def _begin(self, values: dict) -> None:
        plain = {"data": self.data, "split": self.split, "rows": self.rows, "name": self.name}
        for key in plain.keys() & values.keys():
            plain[key].value = values.pop(key)
        self.settings.show(TrainingConfig(**values))

    @property
    def recipe(self) -> dict:
        """What the controls say, as the keys of a YAML recipe."""
        found = {"name": self.name.value.strip(), "data": self.data.value}
        if self.data.value == FILE:
            mapping = self.mapping.mapping
            found |= {"data": self.file.value.strip(), "map": mapping.columns, "constants": mapping.constants}
        if self.split.value != "random":
            found["split"] = self.split.value
        shares = [control.value / 100 for control in self.shares]
        if shares != [0.7, 0.15, 0.15]:
            found["shares"] = shares
        if self.rows.value:
            found["rows"] = self.rows.value
        return found | self.settings.changes

    def _changed(self) -> None:
        """Show the recipe, or what is wrong with the settings."""
        preset = presets.catalogue().get(self.data.value)
        self.split.layout.display = "" if preset and preset.harder else "none"
        self.file_choice.layout.display = "" if self.data.value == FILE else "none"
        try:
            self.settings.config  # noqa: B018, it raises
            self.recipe  # noqa: B018, likewise
            self.clear()
        except ConfigError as error:
            self.say(str(error), "wrong")
            return
        text = yaml.safe_dump(self.recipe, allow_unicode=True, sort_keys=False)
        self.recipe_text.value = heading("这次训练的配置（可以存成 run.yaml，用 course submit-job 提交）") + (
            f'<pre class="course-code">{text}</pre>'
        )
        self.renew()

    def read(self) -> None:
        """Read the file's columns and guess their mapping."""
        path = Path(self.file.value.strip())
        if not self.file.value.strip():
            raise ConfigError("还没有文件。请写出它的路径，例如 评论.csv。")
        rows = read_rows(path)
        self.mapping.show(suggest(rows), rows)
        self.say(f"{path.name} 有 {len(rows):,} 行；映射已经按列名猜好，请核对。")

    def look(self) -> None:
        """Read and split the data, show sizes and a few rows."""
        _, data, _ = parse_recipe(self.recipe)
        sizes = "，".join(f"{TITLES[part]} {len(rows):,} 行" for part, rows in data.items())
        rows = [{"instruction": r.instruction, "input": r.input, "output": r.output} for r in data["train"][:3]]
        self.seen.value = heading("训练集的前三行") + table(rows)
        self.say(f"{sizes}。")

    def estimate(self) -> None:
        from course_utils.training.estimate import estimate

        config, data, _ = parse_recipe(self.recipe)
        found = estimate(config, data, lambda text: self.say(text, "busy"))
        self.say(found.summary(), "done" if found.fits else "wrong")

    def submit(self) -> None:
        from course_utils.training.jobs import submit_training

        self.job = submit_training(*parse_recipe(self.recipe))
        self.say(f"已提交：第 {self.job.number} 号任务「{self.job.name}」。用 watch_panel() 看它的进度。")

    def code(self) -> str:
        try:
            recipe = pformat(self.recipe, sort_dicts=False, width=88)
        except ConfigError:  # a mapping that is not finished yet
            recipe = "{'data': ……}"
        return (
            "from course_utils.training.estimate import estimate\n"
            "from course_utils.training.jobs import submit_training\n"
            "from course_utils.training.recipe import parse_recipe\n\n"
            f"recipe = {recipe}\n"
            "config, data, name = parse_recipe(recipe)\n"
            "print(estimate(config, data).summary())\n"
            "job = submit_training(config, data, name)"
        )

    def result(self) -> str:
        return self.seen.value + self.recipe_text.value + self.message.value
