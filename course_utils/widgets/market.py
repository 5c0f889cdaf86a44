"""The panel of the base models: what there is, what this machine can train, and fetching the weights."""

from typing import get_args

import ipywidgets as widgets

from course_utils.models.catalogue import catalogue
from course_utils.widgets.base import Panel, facts, heading, table


def market_panel() -> None:
    """Show the panel of the base models."""
    MarketPanel().show()


class MarketPanel(Panel):
    title = "模型集市"
    purpose = "按任务挑一个基座模型：先看档位和这台机器能不能训练，再把权重准备好。"

    def __init__(self):
        super().__init__()
        from course_utils.models.recommend import WANTED, Difficulty

        self.task = widgets.Dropdown(options=list(WANTED), value="情感分析", description="任务")
        self.difficulty = widgets.Dropdown(options=get_args(Difficulty), value="一般", description="难度")
        advise = self.button("推荐模型", self.advise, "正在看这台机器……", "primary")
        self.models = widgets.HTML()
        titles = [(card.title, name) for name, card in catalogue().items()]
        self.chosen = widgets.Dropdown(options=titles, description="模型", layout=widgets.Layout(width="340px"))
        self.chosen.observe(lambda _: self.choose(), "value")
        fetch = self.button("准备权重", self.fetch, "正在准备，要下载的模型可能要几分钟……")
        self.card = widgets.HTML()
        self.body.children = [
            widgets.HBox([self.task, self.difficulty, advise]),
            self.models,
            widgets.HBox([self.chosen, fetch]),
            self.card,
        ]
        self.choose()

    def advise(self) -> None:
        from course_utils.models.recommend import recommend

        found = recommend(self.task.value, self.difficulty.value)
        self.models.value = heading("全部模型") + table(found.table)
        self.chosen.value = found.model.name
        self.say(f"推荐 {found.model.title}：{found.reason}")

    def choose(self) -> None:
        """Show the card of the chosen model."""
        card = catalogue()[self.chosen.value]
        places = "，".join(dict.fromkeys(f"{source.kind}（{source.id}）" for source in card.sources))
        self.card.value = facts(
            {
                "名字": card.name,
                "档位": card.tier,
                "参数": f"{card.parameters:,}",
                "擅长": card.good_for,
                "上下文": f"{card.context:,} 个 token",
                "权重来自": places,
                "许可": f"{card.licence}（{card.licence_url}）",
            }
        )
        self.renew()

    def fetch(self) -> None:
        from course_utils.models.weights import prepare

        prepare(self.chosen.value, lambda text: self.say(text, "busy"))
        self.say(f"{catalogue()[self.chosen.value].title} 已就绪。")

    def code(self) -> str:
        return (
            "from course_utils.models.recommend import recommend\n"
            "from course_utils.models.weights import prepare\n\n"
            f"found = recommend({self.task.value!r}, {self.difficulty.value!r})\n"
            "print(found.reason)\n"
            "found.table\n"
            f"prepare({self.chosen.value!r})"
        )

    def result(self) -> str:
        return self.models.value + heading("选中的模型") + self.card.value + self.message.value
