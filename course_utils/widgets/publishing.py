"""The panel that publishes: versions of services, applications and their keys, and how a program calls them."""

import html
from datetime import datetime

import ipywidgets as widgets

from course_utils.errors import ConfigError
from course_utils.serving import keys, services
from course_utils.serving.snippets import snippets
from course_utils.widgets.base import Panel, facts, heading, note, table
from course_utils.widgets.pieces import aligned

STEPS = ("1 发布", "2 服务与版本", "3 应用与密钥", "4 调用")
LABEL = {"description_width": "9em"}
WIDE = widgets.Layout(width="420px")
NARROW = widgets.Layout(width="240px")
PORT = 8765  # of `course serve`
ONCE = "密钥只显示这一次。现在就抄到安全的地方（例如程序的环境变量 COURSE_KEY），不要写进笔记本。丢了就吊销，再建一个。"


def publish_panel() -> None:
    """Show the panel."""
    PublishPanel().show()


class PublishPanel(Panel):
    title = "发布服务"
    purpose = "把训练好的模型发布成服务，给调用它的程序建应用和密钥，再把调用的代码拿走。"

    def __init__(self):
        super().__init__()
        pages = [self._publishing(), self._versions(), self._keys(), self._calling()]
        self.steps = widgets.Tab([widgets.VBox(page) for page in pages], titles=STEPS)
        self.body.children = [self.steps]
        self.refresh()
        for control in (self.run, self.name, self.application, self.days, self.rate, self.granted):
            control.observe(lambda _: self.renew(), "value")
        self.service.observe(lambda _: self._offer_versions(), "value")
        for control in (self.asked, self.port, self.question, self.language):
            control.observe(lambda _: self._show_call(), "value")
        self.steps.observe(lambda _: self.renew(), "selected_index")

    # --- the pages ---

    def _publishing(self) -> list[widgets.Widget]:
        self.run = widgets.Dropdown(description="训练", style=LABEL, layout=WIDE)
        self.name = widgets.Combobox(
            description="服务的名字", placeholder="例如 商品分类；已有的名字就是发布下一版", ensure_option=False,
            style=LABEL, layout=WIDE,
        )  # fmt: skip
        self.made = widgets.HTML()
        about = "发布前会抽查训练数据，证明服务收到的请求和训练时编码得完全一样。权重是复制的，以后再训练也不影响它。"
        publish = self.button("发布", self.publish, "正在核对和复制，约十几秒……", "primary")
        renew = self.button("刷新", self.refresh)
        return [widgets.HTML(note(about)), self.run, self.name, widgets.HBox([publish, renew]), self.made]

    def _versions(self) -> list[widgets.Widget]:
        self.listing = widgets.HTML()
        self.service = widgets.Dropdown(description="服务", style=LABEL, layout=WIDE)
        self.version = widgets.Dropdown(description="换成", style=LABEL, layout=WIDE)
        update = self.button("更新服务", self.update, "", "primary")
        back = self.button("退回", self.rollback)
        about = "更新就是换一个版本来回答，退回就是撤销上一次更新。正在运行的服务会自己换过去，不用重启。"
        return [self.listing, widgets.HTML(note(about)), self.service, self.version, widgets.HBox([update, back])]

    def _keys(self) -> list[widgets.Widget]:
        self.new_application = widgets.Text(
            description="新应用", placeholder="调用服务的程序，例如 小程序", style=LABEL, layout=WIDE
        )
        register = self.button("建应用", self.create_application)
        self.application = widgets.Dropdown(description="应用", style=LABEL, layout=WIDE)
        self.granted = widgets.SelectMultiple(description="能打开的服务", rows=3, style=LABEL, layout=WIDE)
        self.days = widgets.BoundedIntText(30, min=0, max=36_500, description="几天后过期", style=LABEL, layout=NARROW)
        self.rate = widgets.BoundedIntText(
            120, min=1, max=10**6, description="每分钟最多几次", style=LABEL, layout=NARROW
        )
        create = self.button("建密钥", self.create_key, "", "primary")
        self.secret = widgets.HTML()
        self.copied = self.button("抄好了，收起", self.hide_key)
        self.key_listing = widgets.HTML()
        self.key = widgets.Dropdown(description="密钥", style=LABEL, layout=WIDE)
        revoke, renew = self.button("吊销", self.revoke), self.button("刷新", self.refresh)
        self.hide_key()
        never = widgets.HTML(note("0 是不过期。按住 Ctrl 可以选几个服务。"))
        return [
            aligned(self.new_application, register), self.application, self.granted,
            aligned(self.days, self.rate, never), create, self.secret, self.copied, self.key_listing,
            aligned(self.key, revoke, renew),
        ]  # fmt: skip

    def _calling(self) -> list[widgets.Widget]:
        self.asked = widgets.Dropdown(description="服务", style=LABEL, layout=WIDE)
        self.port = widgets.BoundedIntText(PORT, min=1, max=65_535, description="端口", style=LABEL, layout=NARROW)
        self.question = widgets.Text("你好", description="问题", style=LABEL, layout=WIDE)
        self.language = widgets.ToggleButtons(options=["curl", "Python", "JavaScript"])
        self.call = widgets.HTML()
        return [self.asked, self.port, self.question, self.language, self.call]

    # --- what the buttons do ---

    def publish(self) -> None:
        from course_utils.serving.publish import publish
        from course_utils.training.history import find_run

        if self.run.value is None:
            raise ConfigError("还没有训练完的模型。请先在「模型精调」面板里训练一个，再点「刷新」。")
        name = self.name.value.strip()
        version = publish(find_run(self.run.value), name, log=lambda text: self.say(text, "busy"))
        current = services.service(name).current
        self.made.value = facts(
            {
                "服务": name,
                "版本": f"第 {version.number} 版（单独调用：{name}@{version.number}）",
                "核对": version.proof,
            }
        )
        self.refresh()
        self.service.value = self.asked.value = name
        waits = "" if current == version.number else f"现在仍由第 {current} 版回答，先试一试，好了再「更新服务」。"
        self.say(f"已发布：服务「{name}」第 {version.number} 版。{waits}")

    def update(self) -> None:
        number = services.update(self._service(), self.version.value)
        self.refresh()
        self.say(f"服务「{self.service.value}」现在由第 {number} 版回答。")

    def rollback(self) -> None:
        number = services.rollback(self._service())
        self.refresh()
        self.say(f"服务「{self.service.value}」退回到第 {number} 版。")

    def create_application(self) -> None:
        made = keys.create_application(self.new_application.value.strip())
        self.new_application.value = ""
        self.refresh()
        self.application.value = made.name
        self.say(f"应用「{made.name}」建好了，可以给它建密钥。")

    def create_key(self) -> None:
        self.hide_key()
        if self.application.value is None:
            raise ConfigError("还没有应用。请先在上面建一个。")
        secret = keys.create_key(
            self.application.value, self.granted.value, self.days.value or None, per_minute=self.rate.value
        )
        code = f'<code style="font-size: 15px; user-select: all; padding: 2px 6px">{secret}</code>'
        self.secret.value = f'<div class="course-message done">{code}<br>{html.escape(ONCE)}</div>'
        self.secret.layout.display = self.copied.layout.display = ""
        self.refresh()
        self.say(f"给应用「{self.application.value}」建好了一个密钥。")

    def hide_key(self) -> None:
        self.secret.value = ""
        self.secret.layout.display = self.copied.layout.display = "none"

    def revoke(self) -> None:
        self.hide_key()
        if self.key.value is None:
            raise ConfigError("没有可以吊销的密钥。")
        number = keys.revoke(str(self.key.value)).id
        self.refresh()
        self.say(f"第 {number} 号密钥吊销了，马上不能再用。")

    def _service(self) -> str:
        if self.service.value is None:
            raise ConfigError("还没有服务。请先在「1 发布」里发布一个。")
        return self.service.value

    # --- what is shown ---

    def refresh(self) -> None:
        """Read again what there is: a terminal or another panel may have changed it."""
        from course_utils.training.history import runs

        published, listed = services.services(), keys.listed()
        names = [found.name for found in published]
        _offer(self.run, [run.folder.name for run in runs() if run.finished])
        self.name.options = names
        _offer(self.service, names)
        _offer(self.asked, names)
        kept = [name for name in self.granted.value if name in names]
        self.granted.options, self.granted.value = names, kept or names[:1]
        _offer(self.application, [found.name for found in keys.applications()])
        usable = [found for found in listed if found.state == "可用"]
        _offer(self.key, [(f"{f.key.id} 号　{f.key.hint}……　{f.application}", f.key.id) for f in usable])
        self.listing.value = table(_version_lines(published)) if published else note("还没有服务。")
        self.key_listing.value = table(_key_lines(listed)) if listed else note("还没有密钥。")
        self._offer_versions()
        self._show_call()

    def _offer_versions(self) -> None:
        found = services.service(self.service.value).versions if self.service.value else []
        self.version.options = [(f"第 {v.number} 版（{v.run}）", v.number) for v in reversed(found)]
        self.version.value = found[-1].number if found else None  # options that change under a value may leave none
        self.renew()

    def _show_call(self) -> None:
        if self.asked.value is None:
            self.call.value = note("还没有服务。请先在「1 发布」里发布一个。")
            return
        port = "" if self.port.value == PORT else f" --port {self.port.value}"
        start = "启动：在终端里运行下面这一行（JupyterLab：文件 → 新建 → 终端），按 Ctrl-C 停止"
        use = "调用：先把密钥放进环境变量 COURSE_KEY"
        docs = f"全部参数在 http://127.0.0.1:{self.port.value}/docs ，启动以后打开。"
        code = snippets(self.asked.value, self._address, self.question.value)[self.language.value]
        listings = [f'<pre class="course-code">{html.escape(text)}</pre>' for text in (f"course serve{port}", code)]
        self.call.value = heading(start) + listings[0] + heading(use) + listings[1] + note(docs)
        self.renew()

    @property
    def _address(self) -> str:
        return f"http://127.0.0.1:{self.port.value}/v1"

    def code(self) -> str:
        """The calls of the page that is open."""
        service = self.service.value or "我的服务"
        if self.steps.selected_index == 0:
            name = self.name.value.strip() or self.run.value or "我的服务"
            return (
                "from course_utils.serving.publish import publish\n"
                "from course_utils.training.history import find_run\n\n"
                f"publish(find_run({self.run.value or '我的训练'!r}), {name!r})"
            )
        if self.steps.selected_index == 1:
            return (
                "from course_utils.serving import services\n\n"
                f"services.update({service!r}, {self.version.value or 1})\n"
                f"# services.rollback({service!r})：退回\n"
                "services.services()"
            )
        if self.steps.selected_index == 2:
            granted, days = list(self.granted.value) or ["我的服务"], self.days.value or None
            application = self.application.value or "小程序"
            return (
                "from course_utils.serving import keys\n\n"
                f"keys.create_application({application!r})  # 已经有了就不用\n"
                "# 密钥只在这里返回一次。不要打印出来：打印的会留在笔记本里\n"
                f"secret = keys.create_key({application!r}, {granted!r}, days={days}, per_minute={self.rate.value})\n"
                f"# keys.revoke({str(self.key.value or 1)!r})：吊销\n"
                "keys.listed()"
            )
        return (
            "from course_utils.serving.snippets import snippets\n\n"
            f"calls = snippets({self.asked.value or '我的服务'!r}, {self._address!r}, {self.question.value!r})\n"
            f"print(calls[{self.language.value!r}])"
        )

    def result(self) -> str:
        """Everything but a key."""
        shown = [heading("服务与版本"), self.listing.value, heading("密钥与用量"), self.key_listing.value]
        return self.made.value + "".join(shown) + self.call.value + self.message.value


def _offer(choice: widgets.Dropdown, options: list) -> None:
    """New options, with the same one chosen when it is still there, else the first."""
    before, values = choice.value, [o[1] if isinstance(o, tuple) else o for o in options]
    choice.options = options
    choice.value = before if before in values else next(iter(values), None)


def _version_lines(published: list[services.Published]) -> list[dict]:
    return [
        {
            "服务": found.name if version is found.versions[-1] else "",
            "版本": f"第 {version.number} 版" + ("（当前）" if version.number == found.current else ""),
            "训练": version.run,
            "方法": "LoRA" if version.method == "lora" else "全参",
            "标签": "、".join(version.labels or []),
            "发布时间": f"{datetime.fromtimestamp(version.created):%m-%d %H:%M}",
        }
        for found in published
        for version in reversed(found.versions)
    ]


def _key_lines(listed: list[keys.KeyFacts]) -> list[dict]:
    return [
        {
            "号": found.key.id,
            "开头": f"{found.key.hint}……",
            "应用": found.application,
            "能打开的服务": "、".join(found.services),
            "状态": found.state,
            "过期": f"{datetime.fromtimestamp(found.key.expires):%Y-%m-%d}" if found.key.expires else "不过期",
            "次数": found.requests,
            "token": f"{found.tokens:,}",
        }
        for found in listed
    ]
