"""Two panels on what was trained: runs beside one another and their export, and methods under one protocol."""

import base64

import ipywidgets as widgets

from course_utils import paths
from course_utils.data import presets, store
from course_utils.errors import ConfigError
from course_utils.training.config import TrainingConfig
from course_utils.training.run import Run
from course_utils.widgets.base import Panel, heading, in_workspace, note, table

LABEL = {"description_width": "9em"}


def history_panel() -> None:
    """Show the panel of all runs."""
    HistoryPanel().show()


def compare_panel(**values) -> None:
    """Show the panel that trains LoRA and full fine-tuning under one protocol. values: `data`, `rows`, `epochs`."""
    ComparePanel(**values).show()


class HistoryPanel(Panel):
    title = "训练历史"
    purpose = "所有训练的设置和分数。选两次以上，看它们的曲线和不同的设置；选一次，可以导出。"

    def __init__(self):
        super().__init__()
        self.listing, self.picture, self.differing = widgets.HTML(), widgets.Image(format="png"), widgets.HTML()
        self.picture.layout = widgets.Layout(max_width="720px", width="100%", display="none")
        self.chosen = widgets.SelectMultiple(rows=6, description="选择", layout=widgets.Layout(width="420px"))
        compare = self.button("对比", self.compare, "正在画曲线……", "primary")
        renew = self.button("刷新", self.refresh)
        self.kind = widgets.Dropdown(
            options=[("合并后的模型", "merged"), ("LoRA 适配器", "adapter"), ("GGUF（q8_0）", "q8_0"), ("GGUF（f16）", "f16")],
            description="导出", layout=widgets.Layout(width="280px"),
        )  # fmt: skip
        export = self.button("导出", self.export, "正在导出，合并和核对要一两分钟……")
        self.body.children = [
            self.listing, widgets.HBox([self.chosen, compare, renew]), self.differing, self.picture,
            widgets.HBox([self.kind, export]),
        ]  # fmt: skip
        self.refresh()

    def refresh(self) -> None:
        from course_utils.training.history import runs
        from course_utils.training.history import table as all_runs

        found = runs()
        self.listing.value = table(all_runs(found).fillna("")) if found else note("还没有训练过。")
        self.chosen.options = [run.folder.name for run in found]

    @property
    def runs(self) -> list[Run]:
        if not self.chosen.value:
            raise ConfigError("还没有选。请在列表里选一次或几次训练（按住 Ctrl 可以多选）。")
        return [Run(paths.runs() / name) for name in self.chosen.value]

    def compare(self) -> None:
        from course_utils.plots import compare_curves, png
        from course_utils.training.history import differences

        chosen = self.runs
        self.picture.value = png(compare_curves({run.folder.name: run.metrics for run in chosen}, title="损失对比"))
        self.picture.layout.display = ""
        found = differences(chosen)
        different = table(found.rename_axis("设置").reset_index()) if len(found) else note("设置全都相同。")
        self.differing.value = heading("不同的设置") + different
        self.say(f"对比了 {len(chosen)} 次训练。")

    def export(self) -> None:
        from course_utils.training import export

        run, kind = self.runs[0], self.kind.value
        out = paths.workspace() / "exports" / f"{run.folder.name}-{kind}"
        log = lambda text: self.say(text, "busy")  # noqa: E731
        if kind == "adapter":
            made = export.export_adapter(run, out)
        elif kind == "merged":
            made = export.export_merged(run, out, log)
        else:
            made = export.export_gguf(run, out, kind, log)
        self.say(f"已导出到 {in_workspace(made)}，旁边有模型卡，写明数据、设置、分数和许可。")

    def code(self) -> str:
        names = list(self.chosen.value) or ["我的训练"]
        return (
            "from course_utils import paths\n"
            "from course_utils.plots import compare_curves\n"
            "from course_utils.training.export import export_merged\n"
            "from course_utils.training.history import differences, find_run, table\n\n"
            "table()\n"
            f"chosen = [find_run(name) for name in {names!r}]\n"
            "compare_curves({run.folder.name: run.metrics for run in chosen})\n"
            "differences(chosen)\n"
            f"export_merged(chosen[0], paths.workspace() / 'exports' / '{names[0]}-merged')"
        )

    def result(self) -> str:
        shown = self.picture.layout.display == ""
        picture = base64.b64encode(self.picture.value).decode() if shown else ""
        image = f'<img src="data:image/png;base64,{picture}" style="max-width: 720px; width: 100%">' if shown else ""
        return self.listing.value + self.differing.value + image + self.message.value


class ComparePanel(Panel):
    title = "LoRA 与全参微调的对照"
    purpose = "同样的数据、步数和评估，每种方法用几个随机种子各训练一次，看差别是不是大过种子带来的波动。"

    def __init__(self, data: str = "sentiment_predict", rows: int = 300, epochs: float = 1.0):
        super().__init__()
        names = [(f"预置：{card.title}", name) for name, card in presets.catalogue().items() if card.labels]
        names += [(f"我的：{name}", name) for name in store.names()]
        wide = widgets.Layout(width="420px")
        self.data = widgets.Dropdown(options=names, value=data, description="数据集", style=LABEL, layout=wide)
        self.rows = widgets.BoundedIntText(rows, min=16, max=10**6, step=100, description="训练行数", style=LABEL)
        self.epochs = widgets.BoundedFloatText(epochs, min=0.5, max=50, step=0.5, description="训练次数", style=LABEL)
        self.seeds = widgets.BoundedIntText(3, min=1, max=10, description="种子个数", style=LABEL)
        self.rates = {
            "lora": widgets.FloatText(4e-4, description="LoRA 学习率", style=LABEL),
            "full": widgets.FloatText(3e-5, description="全参学习率", style=LABEL),
        }
        for control in (self.rows, self.epochs, self.seeds, *self.rates.values()):
            control.layout.width = "260px"
        begin = self.button("提交对照", self.submit, "正在提交……", "primary")
        look = self.button("看结果", self.look)
        self.table = widgets.HTML()
        self.body.children = [
            self.data, widgets.HBox([self.rows, self.epochs, self.seeds]), widgets.HBox(list(self.rates.values())),
            widgets.HBox([begin, look]), self.table,
        ]  # fmt: skip
        self.base: str | None = None
        for control in (self.data, self.rows, self.epochs, self.seeds, *self.rates.values()):
            control.observe(lambda _: self.renew(), "value")
        self.renew()

    @property
    def methods(self) -> dict[str, TrainingConfig]:
        from course_utils.training.config import build_config

        shared = {"epochs": self.epochs.value} | ({"base_model": self.base} if self.base else {})
        titles = {"lora": "LoRA", "full": "全参"}
        return {
            titles[method]: build_config(shared | {"method": method, "learning_rate": control.value})
            for method, control in self.rates.items()
        }

    def submit(self) -> None:
        from course_utils.training.history import submit_comparison
        from course_utils.training.recipe import parse_recipe

        _, data, _ = parse_recipe({"data": self.data.value, "rows": self.rows.value})
        job = submit_comparison(self.methods, data, tuple(range(1, self.seeds.value + 1)), f"对照-{self.data.value}")
        runs = len(self.rates) * self.seeds.value
        self.say(f"已提交：第 {job.number} 号任务，要训练 {runs} 次。用「看结果」看已经完成的。")

    def look(self) -> None:
        import pandas as pd

        found = sorted((paths.workspace() / "comparisons").glob("*/table.csv"), key=lambda p: p.stat().st_mtime)
        if not found:
            raise ConfigError("还没有完成的对照。一种方法的几个种子都训练完，这里就会有一行。")
        self.table.value = heading(found[-1].parent.name) + table(pd.read_csv(found[-1]).fillna(""))

    def code(self) -> str:
        return (
            "from course_utils.training.config import TrainingConfig\n"
            "from course_utils.training.history import submit_comparison\n"
            "from course_utils.training.recipe import parse_recipe\n\n"
            f"_, data, _ = parse_recipe({{'data': {self.data.value!r}, 'rows': {self.rows.value}}})\n"
            "methods = {\n"
            f"    'LoRA': TrainingConfig(epochs={self.epochs.value}, learning_rate={self.rates['lora'].value}),\n"
            f"    '全参': TrainingConfig(method='full', epochs={self.epochs.value}, "
            f"learning_rate={self.rates['full'].value}),\n"
            "}\n"
            f"submit_comparison(methods, data, seeds={tuple(range(1, self.seeds.value + 1))})"
        )

    def result(self) -> str:
        return self.table.value + self.message.value
