"""The panel for talking to a model: a service's version, a run, a base model or a remote one."""

import html
from collections.abc import Sequence

import ipywidgets as widgets

from course_utils.errors import ConfigError
from course_utils.models import remote
from course_utils.serving import talk
from course_utils.widgets.base import Panel, note
from course_utils.widgets.pieces import LongWork, aligned

LABEL = {"description_width": "9em"}
WIDE = widgets.Layout(width="420px")
NARROW = widgets.Layout(width="240px", flex="0 0 auto")
EXPLAINED = {
    "temperature": "0 每次都选最可能的字，同样的问题答得一样；越大越随意，写作可以用 0.7，分类用 0。",
    "max_tokens": "答案最多写这么多 token，一个汉字大约一个；写完会自己停，所以大一些也不会变啰嗦。",
    "system": "告诉模型它是谁、怎么答。空着就用训练时的；训练时没有的，写了多半会答得更差。",
    "history": "把前面的问答也发过去。训练数据里没有多轮对话的模型，去掉它答得更稳。",
}
REMOTE = {  # what `remote.register` is given, in its order: an example, an explanation
    "名字": ("deepseek", ""),
    "地址": ("https://api.deepseek.com/v1", "到 /v1 为止。"),
    "model": ("deepseek-chat", "对方给模型起的名字。"),
    "密钥的环境变量": ("DEEPSEEK_API_KEY", "变量的名字，不是密钥本身；不要密钥就空着。"),
    "lora_id": ("", "讯飞星辰上微调的服务要，是卡片上的 resourceId。"),
}


def chat_panel() -> None:
    """Show the panel."""
    ChatPanel().show()


class Knobs:
    """System prompt and generation parameters, each with a line that explains it. changed: called after a change."""

    def __init__(self, changed):
        self.system = widgets.Textarea(
            description="系统提示", placeholder="空着就用训练时的", rows=2, style=LABEL, layout=WIDE
        )
        self.temperature = widgets.BoundedFloatText(
            0.0, min=0, max=2, step=0.1, description="温度", style=LABEL, layout=NARROW
        )
        self.longest = widgets.BoundedIntText(
            128, min=1, max=4096, step=16, description="最多几个 token", style=LABEL, layout=NARROW
        )
        for control in (self.system, self.temperature, self.longest):
            control.observe(lambda _: changed(), "value")
        lines = [
            explained(self.temperature, EXPLAINED["temperature"]),
            explained(self.longest, EXPLAINED["max_tokens"]),
            explained(self.system, EXPLAINED["system"]),
        ]
        self.lines = widgets.VBox(lines)

    @property
    def options(self) -> dict:
        """The arguments of `talk.speak`."""
        return {"max_tokens": self.longest.value, "temperature": self.temperature.value}

    def messages(self, question: str, history: Sequence[dict] = ()) -> list[dict[str, str]]:
        system = self.system.value.strip()
        first = [{"role": "system", "content": system}] if system else []
        return [*first, *history, {"role": "user", "content": question}]


class ChatPanel(Panel):
    title = "在线体验"
    purpose = "和一个模型对话：已发布的服务、训练好还没有发布的、没有训练过的基座，或者登记过的远程模型。不用启动服务。"

    def __init__(self):
        super().__init__()
        self.turns: list[dict[str, str]] = []  # as messages; an answer also says whose it is
        self.speaker = widgets.Dropdown(description="模型", style=LABEL, layout=WIDE)
        renew = self.button("刷新", self.refresh)
        self.knobs = Knobs(self.renew)
        self.remember = widgets.Checkbox(True, description="记住前面的问答", style=LABEL, layout=NARROW)
        self.knobs.lines.children += (explained(self.remember, EXPLAINED["history"]),)
        self.folds = widgets.Accordion(
            [self.knobs.lines, self._remote()], titles=["系统提示和生成参数", "登记远程模型"]
        )
        self.said, self.saying = widgets.HTML(), widgets.HTML()
        self.question = widgets.Textarea(
            description="问题", placeholder="写上要问的，再点「发送」", rows=3, style=LABEL,
            layout=widgets.Layout(width="auto"),
        )  # fmt: skip
        self.work = Answering(self, "发送", self.ask, "正在打开模型……")
        clear = self.button("清空对话", self.forget_turns)
        self.body.children = [
            aligned(self.speaker, renew), self.folds, self.said, self.saying, self.question,
            widgets.HBox([self.work.begin, self.work.end, clear]),
        ]  # fmt: skip
        self.refresh()
        for control in (self.speaker, self.remember, self.question):
            control.observe(lambda _: self.renew(), "value")

    def _remote(self) -> widgets.Widget:
        about = "任何 OpenAI 协议的地址都可以：讯飞星辰、通义、DeepSeek、Ollama、vLLM，或者同学的 course serve。"
        self.remote = {
            label: widgets.Text(description=label, placeholder=example, style=LABEL, layout=WIDE)
            for label, (example, _) in REMOTE.items()
        }
        lines = [explained(control, REMOTE[label][1]) for label, control in self.remote.items()]
        buttons = [self.button("登记", self.register), self.button("移除", self.forget)]
        return widgets.VBox([widgets.HTML(note(about)), *lines, widgets.HBox(buttons)])

    def refresh(self) -> None:
        """Offer what there is now."""
        before, found = self.speaker.value, talk.speakers()
        self.speaker.options = found
        self.speaker.value = before if before in found else found[0]

    def ask(self) -> None:
        """Send the question and show the answer as it comes, in a thread. A question that failed stays to be sent again."""
        question, speaker = self.question.value.strip(), self.speaker.value
        if not question:
            raise ConfigError("还没有写问题。")
        history = [{"role": t["role"], "content": t["content"]} for t in self.turns] if self.remember.value else []
        messages, text = self.knobs.messages(question, history), ""
        try:
            self.saying.value = bubble("你", question) + bubble(speaker, "……")
            pieces = talk.speak(speaker, messages, **self.knobs.options)
            for piece in pieces:
                text += piece
                self.saying.value = bubble("你", question) + bubble(speaker, text)
                self.say("正在回答……", "busy")
                if self.work.asked:
                    pieces.close()  # the model writes no further
                    break
            if text:  # an empty turn would be no history
                asked, answer = ("user", question), ("assistant", text)
                self.turns += [{"role": role, "content": said} for role, said in (asked, answer)]
                self.turns[-1]["speaker"] = speaker
                self.question.value = ""
        finally:
            self.saying.value = ""
            self._draw()
        self.say(
            "停下了，已经写出来的留着。"
            if self.work.asked
            else "答完了。"
            if text
            else "模型什么也没有写，一开始就停了。"
        )

    def forget_turns(self) -> None:
        self.turns = []
        self._draw()

    def register(self) -> None:
        made = remote.register(*(control.value.strip() for control in self.remote.values()))
        self.refresh()
        self.speaker.value = talk.REMOTE + made.name
        self.say(f"登记好了远程模型「{made.name}」，已经在「模型」里选上。问题会发给对方的服务器。")

    def forget(self) -> None:
        name = self.remote["名字"].value.strip()
        remote.forget(name)
        self.refresh()
        self.say(f"远程模型「{name}」移除了。")

    def _draw(self) -> None:
        self.said.value = "".join(bubble(turn.get("speaker", "你"), turn["content"]) for turn in self.turns)

    def code(self) -> str:
        asked = next((t["content"] for t in reversed(self.turns) if t["role"] == "user"), "你好")
        messages = self.knobs.messages(self.question.value.strip() or asked)
        lines = "".join(f"    {message!r},\n" for message in messages)
        options = "".join(f", {name}={value!r}" for name, value in self.knobs.options.items())
        return (
            "from course_utils.serving.talk import speak\n\n"
            f"messages = [\n{lines}]\n"
            f"for piece in speak({self.speaker.value!r}, messages{options}):\n"
            '    print(piece, end="")'
        )

    def result(self) -> str:
        return (self.said.value or note("还没有对话。")) + self.message.value


class Answering(LongWork):
    """Long work that keeps what it has when it is stopped."""

    @property
    def asked(self) -> bool:
        """Whether it should end."""
        return self._asked.is_set()


def explained(control: widgets.Widget, text: str) -> widgets.HBox:
    return aligned(control, widgets.HTML(note(text), layout=widgets.Layout(flex="1")))


def bubble(who: str, text: str) -> str:
    """One turn of a conversation."""
    ground = "" if who == "你" else "background: var(--jp-layout-color2, #f3f3f3); "
    style = f"{ground}padding: 6px 10px; margin: 4px 0; border-radius: 6px; white-space: pre-wrap"
    return f'<div style="{style}"><b>{html.escape(who)}</b><br>{html.escape(text)}</div>'
