"""The panel that asks several models the same question, with or without their names, and keeps the votes."""

from concurrent.futures import ThreadPoolExecutor

import ipywidgets as widgets

from course_utils.errors import ConfigError, CourseError
from course_utils.serving import talk
from course_utils.widgets.base import Panel, heading, note, table
from course_utils.widgets.chatting import LABEL, WIDE, Answering, Knobs, bubble
from course_utils.widgets.pieces import aligned

LETTERS = "甲乙丙"
NOBODY = ("（不用）", "")
SHOWN = 6  # votes


def compare_chat_panel() -> None:
    """Show the panel."""
    CompareChatPanel().show()


class CompareChatPanel(Panel):
    title = "对比体验"
    purpose = "同一个问题问两三个模型，回答并排。盲评时先看不到谁是谁、次序也打乱，投了票再揭晓。票存在工作区里。"

    def __init__(self):
        super().__init__()
        self.order: list[str] = []  # the speakers as they stand side by side
        self.answers: dict[str, str] = {}  # of those who answered
        self.texts: dict[int, str] = {}  # what is to be seen in each column
        self.failed: dict[int, str] = {}
        self.asked_question, self.hidden = "", False
        self.chosen = [widgets.Dropdown(description=f"模型 {i}", style=LABEL, layout=WIDE) for i in (1, 2, 3)]
        renew = self.button("刷新", self.refresh)
        self.blind = widgets.Checkbox(True, description="盲评", style=LABEL, layout=widgets.Layout(width="240px"))
        self.knobs = Knobs(self.renew)
        fold = widgets.Accordion([self.knobs.lines], titles=["系统提示和生成参数"])
        self.question = widgets.Textarea(
            description="问题", placeholder="写上要问的，再点「提问」", rows=3, style=LABEL,
            layout=widgets.Layout(width="auto"),
        )  # fmt: skip
        self.work = Answering(self, "提问", self.ask, "正在打开模型……")
        self.columns = [widgets.HTML(layout=widgets.Layout(flex="1", min_width="0")) for _ in self.chosen]
        self.best = [
            self.button(f"{letter}更好", lambda i=i: self.vote(i), "正在存票……") for i, letter in enumerate(LETTERS)
        ]
        self.none = self.button("分不出", lambda: self.vote(None), "正在存票……")
        self.ballot = widgets.HBox([*self.best, self.none], layout=widgets.Layout(display="none"))
        self.votes = widgets.HTML()
        self.body.children = [
            aligned(self.chosen[0], renew), self.chosen[1], self.chosen[2], self.blind, fold, self.question,
            widgets.HBox([self.work.begin, self.work.end]), widgets.HBox(self.columns), self.ballot, self.votes,
        ]  # fmt: skip
        self.refresh()
        for control in (*self.chosen, self.blind, self.question):
            control.observe(lambda _: self.renew(), "value")

    def refresh(self) -> None:
        """Offer what there is now, first the newest version against the base."""
        found = talk.speakers()
        guesses = [found[0], found[1 % len(found)], ""]
        for control, guess in zip(self.chosen, guesses, strict=True):
            before = control.value
            control.options = [*((name, name) for name in found), *([NOBODY] if guess == "" else [])]
            control.value = before if before in found else guess
        self._list_votes()

    @property
    def speakers(self) -> list[str]:
        """Those chosen. Raises `ConfigError` when one is chosen twice."""
        names = [control.value for control in self.chosen if control.value]
        if len(set(names)) < len(names):
            raise ConfigError("请选不同的模型。只有一个模型时，可以再发布一版，或者和基座比。")
        return names

    def ask(self) -> None:
        """Ask all of them at once, each in a thread; an answer that failed says so in its own column."""
        question, names, self.hidden = self.question.value.strip(), self.speakers, self.blind.value
        if not question:
            raise ConfigError("还没有写问题。")
        self.order, self.answers, self.asked_question = talk.lineup(names, self.hidden), {}, question
        self.texts, self.failed = {}, {}
        self.ballot.layout.display = "none"
        for column in self.columns:
            column.value = ""
        for place in range(len(self.order)):
            self._show(place, "……")
        with ThreadPoolExecutor(len(names)) as pool:
            list(pool.map(self._answer, range(len(names))))
        if self.work.asked or len(self.answers) < 2:
            self._reveal()
            self.say("停下了，没有投票。" if self.work.asked else "答出来的不到两个，不能投票。")
            return
        for place, button in enumerate(self.best):
            there = place < len(self.order) and self.order[place] in self.answers
            button.layout.display = "" if there else "none"
        self.ballot.layout.display = ""
        self.say("都答完了。哪个更好？")

    def _answer(self, place: int) -> None:
        """The answer of one column, as it comes."""
        speaker, text = self.order[place], ""
        try:
            pieces = talk.speak(speaker, self.knobs.messages(self.asked_question), **self.knobs.options)
            for piece in pieces:
                text += piece
                self._show(place, text)
                if self.work.asked:
                    pieces.close()  # the model writes no further
                    return
        except CourseError as error:  # which may name the speaker
            self._show(place, "没有答成。" if self.hidden else str(error))
            self.failed[place] = str(error)
            return
        self.answers[speaker] = text
        self._show(place, text or "（什么也没有写）")

    def vote(self, place: int | None) -> None:
        """Keep the vote, and show who is who."""
        winner = None if place is None else self.order[place]
        answers = {name: self.answers[name] for name in self.order if name in self.answers}
        talk.vote(self.asked_question, answers, winner, self.hidden)
        self._reveal()
        self._list_votes()
        liked = f"{LETTERS[place]}（{winner}）更好" if winner else "分不出"
        self.say(f"票存好了：{liked}。")

    def _reveal(self) -> None:
        """Show who is who, and what went wrong."""
        self.ballot.layout.display, self.hidden = "none", False
        for place in range(len(self.order)):
            self._show(place, self.failed.get(place, self.texts[place]))

    def _show(self, place: int, text: str) -> None:
        self.texts[place] = text
        who = LETTERS[place] if self.hidden else f"{LETTERS[place]}　{self.order[place]}"
        self.columns[place].value = bubble(who, text)

    def _list_votes(self) -> None:
        kept = talk.votes()
        if not kept:
            self.votes.value = note("还没有投过票。")
            return
        lines = [
            {
                "问题": vote.question,
                "比的是": "、".join(vote.models),
                "更好的": "分不出" if vote.winner is None else vote.models[vote.winner],
                "盲评": "是" if vote.blind else "否",
            }
            for vote in kept[:SHOWN]
        ]
        self.votes.value = (
            heading(f"共 {len(kept)} 票") + table(talk.standings()) + heading("最近的票") + table(lines, 40)
        )

    def code(self) -> str:
        names = [control.value for control in self.chosen if control.value]
        options = "".join(f", {name}={value!r}" for name, value in self.knobs.options.items())
        question = self.asked_question or self.question.value.strip() or "你好"
        system = "".join(f"{message!r}, " for message in self.knobs.messages("")[:-1])
        return (
            "from course_utils.serving.talk import speak, standings, vote\n\n"
            f"question = {question!r}\n"
            f"messages = [{system}{{'role': 'user', 'content': question}}]\n"
            f"names = {names!r}\n"
            "answers = {\n"
            f"    name: ''.join(speak(name, messages{options}))\n"
            "    for name in names\n"
            "}\n"
            f"vote(question, answers, winner={names[0]!r})  # None：分不出\n"
            "standings()"
        )

    def result(self) -> str:
        asked = heading(f"问题：{self.asked_question}") if self.order else note("还没有提问。")
        answers = "".join(column.value for column in self.columns)
        return asked + answers + self.votes.value + self.message.value
