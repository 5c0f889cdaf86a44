"""The panels of publishing, chat and comparison, without a browser, on a tiny model."""

import re
import subprocess
import sys

import pytest

from course_utils.data.records import Record
from course_utils.errors import ConfigError, CourseError
from course_utils.models import remote
from course_utils.serving import keys, services, talk
from course_utils.training.config import TrainingConfig
from course_utils.training.train import train
from course_utils.widgets.base import plain
from course_utils.widgets.chatting import ChatPanel
from course_utils.widgets.comparing import CompareChatPanel
from course_utils.widgets.publishing import ONCE, PublishPanel

SECRET = re.compile(r"sk-[\w-]{20,}")


@pytest.fixture
def run(tiny_base, tiny_data):
    base = {"base_model": str(tiny_base), "precision": "fp32", "batch_size": 4, "learning_rate": 1e-2}
    return train(TrainingConfig(epochs=6, evaluations=1, **base), tiny_data, "小试", lambda text: None)


@pytest.fixture
def service(run):
    from course_utils.serving.publish import publish

    publish(run, "情感", lambda text: None)
    return "情感"


@pytest.fixture
def speaking(monkeypatch):
    """Models that answer at once: 甲 with its name, 乙 with the last question, and one that fails."""

    def speak(speaker, messages, max_tokens=256, temperature=0.0):
        if speaker == "坏":
            raise CourseError("坏 没有答成。")
        yield from speaker if speaker == "阿甲" else messages[-1]["content"]

    monkeypatch.setattr(talk, "speakers", lambda: ["阿甲", "阿乙", "坏"])
    monkeypatch.setattr(talk, "speak", speak)


def message(panel) -> str:
    return plain(panel.message.value)


def ask(panel, question: str) -> None:
    panel.question.value = question
    panel.work.start()
    panel.work.wait()


HEAVY = "torch transformers fastapi uvicorn sklearn scipy openai trafilatura datasketch matplotlib"


def test_importing_and_drawing_the_panels_opens_no_heavy_library():
    code = f"""
import sys
from course_utils import widgets
panels = [getattr(widgets, name) for name in widgets.__all__]
first = set("{HEAVY}".split()) & set(sys.modules)
for panel in panels:
    panel()
print(len(panels), first, set("{HEAVY}".split()) & set(sys.modules))
"""
    said = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert said.stdout.splitlines()[-1:] == ["16 set() set()"], said


# publishing


def test_publish_update_and_go_back(run):
    panel = PublishPanel()
    panel.name.value = "情感"
    panel.publish()
    assert message(panel) == "已发布：服务「情感」第 1 版。" and "每个 token 都和训练时的提示相同" in panel.result()
    panel.publish()
    assert "现在仍由第 1 版回答" in message(panel) and panel.version.value == 2
    panel.update()
    assert services.service("情感").current == 2 and "第 2 版（当前）" in panel.result()
    panel.rollback()
    assert message(panel) == "服务「情感」退回到第 1 版。" and "第 1 版（当前）" in panel.result()
    panel.steps.selected_index = 0
    exec(panel.code(), {})
    panel.steps.selected_index = 1
    exec(panel.code(), {})
    assert services.service("情感").current == 2 and len(services.service("情感").versions) == 3


def test_a_key_is_shown_once_and_stays_out_of_the_result(service):
    panel = PublishPanel()
    with pytest.raises(ConfigError, match="还没有应用"):
        panel.create_key()
    panel.new_application.value = "小程序"
    panel.create_application()
    panel.days.value = 7
    panel.create_key()
    (secret,) = SECRET.findall(panel.secret.value)
    assert ONCE in panel.secret.value and keys.opened(keys.check(secret)) == [service]
    assert panel.copied.layout.display == ""
    still = panel._still()
    for text in (*still.values(), panel.code(), panel.message.value, panel.key_listing.value):
        assert secret not in text and not SECRET.search(text)
    assert f"{secret[:8]}……" in still["text/html"]
    panel.hide_key()
    assert panel.secret.value == "" and panel.copied.layout.display == "none"
    panel.create_key()
    panel.key.value = 2
    panel.revoke()  # also hides the key
    assert panel.secret.value == "" and message(panel) == "第 2 号密钥吊销了，马上不能再用。"
    assert [found.state for found in keys.listed()] == ["已吊销", "可用"]
    panel.steps.selected_index = 2
    assert "keys.create_key('小程序', ['情感'], days=7" in panel.code()


def test_the_call_to_take_away(service):
    panel = PublishPanel()
    panel.port.value, panel.language.value, panel.question.value = 8800, "Python", "书好"
    assert "course serve --port 8800" in panel.call.value and "127.0.0.1:8800/v1" in panel.call.value
    panel.steps.selected_index = 3
    exec(panel.code(), {})
    panel.language.value = "JavaScript"
    assert "await fetch" in panel.result()


def test_publishing_with_nothing_there():
    panel = PublishPanel()
    for action, wrong in (
        (panel.publish, "还没有训练完的模型"), (panel.update, "还没有服务"), (panel.rollback, "还没有服务"),
        (panel.revoke, "没有可以吊销的密钥"),
    ):  # fmt: skip
        with pytest.raises(ConfigError, match=wrong):
            action()
    assert "还没有服务" in panel.result()
    for page in range(4):
        panel.steps.selected_index = page
        compile(panel.code(), "code", "exec")


# chat


def test_a_service_a_run_and_the_base_answer(service, run, tiny_base):
    panel = ChatPanel()
    panel.knobs.longest.value, panel.remember.value = 6, False
    assert {"情感@1", f"基座:{tiny_base}", "训练:小试"} <= set(panel.speaker.options)
    said = {}
    for speaker in ("情感@1", "训练:小试", f"基座:{tiny_base}"):
        panel.speaker.value = speaker
        ask(panel, "书差讨厌")
        assert message(panel) in ("答完了。", "模型什么也没有写，一开始就停了。"), message(panel)
        said[speaker] = panel.turns[-1]["content"] if panel.question.value == "" else ""
    assert said["情感@1"] == said["训练:小试"] == "消极" != said[f"基座:{tiny_base}"]
    panel.speaker.value = "训练:小试"
    exec(panel.code(), {})
    panel.forget_turns()
    assert "还没有对话" in panel.result()


def test_history_system_and_parameters_are_sent(speaking, monkeypatch):
    sent = []

    def speak(speaker, messages, **options):
        sent.append((messages, options))
        yield "好"

    monkeypatch.setattr(talk, "speak", speak)
    panel = ChatPanel()
    panel.knobs.system.value, panel.knobs.temperature.value = "你是书店", 0.7
    ask(panel, "在吗")
    ask(panel, "书好吗")
    assert [m["content"] for m in sent[1][0]] == ["你是书店", "在吗", "好", "书好吗"]
    assert all(set(m) == {"role", "content"} for m in sent[1][0])
    assert sent[1][1] == {"max_tokens": 128, "temperature": 0.7}
    panel.remember.value = False
    ask(panel, "再见")
    assert [m["content"] for m in sent[2][0]] == ["你是书店", "再见"]


def test_a_question_that_failed_stays_and_a_stopped_answer_is_kept(speaking, monkeypatch):
    panel = ChatPanel()
    ask(panel, " ")
    assert message(panel) == "还没有写问题。"
    panel.speaker.value = "坏"
    ask(panel, "在吗")
    assert message(panel) == "坏 没有答成。" and panel.question.value == "在吗" and not panel.turns

    def speak(*_, **__):
        yield "说了"
        panel.work.stop()
        yield "一半"
        raise AssertionError("went on")

    monkeypatch.setattr(talk, "speak", speak)
    panel.speaker.value = "阿甲"
    ask(panel, "在吗")
    assert panel.turns[-1]["content"] == "说了一半" and message(panel).startswith("停下了")


def test_remote_models_are_registered_by_the_name_of_their_variable():
    panel = ChatPanel()
    for key, value in {
        "名字": "同学",
        "地址": "http://127.0.0.1:9/v1",
        "model": "情感",
        "密钥的环境变量": "sk-abc",
    }.items():
        panel.remote[key].value = value
    with pytest.raises(ConfigError, match="不是密钥本身"):
        panel.register()
    panel.remote["密钥的环境变量"].value = ""
    panel.register()
    assert panel.speaker.value == "远程:同学" and remote.find("同学").model == "情感"
    ask(panel, "在吗")
    assert "连不上远程模型「同学」" in message(panel)
    panel.forget()
    assert "远程:同学" not in panel.speaker.options


# comparison


def test_a_blind_comparison_hides_the_names_until_the_vote(speaking):
    panel = CompareChatPanel()
    ask(panel, "书好吗")
    shown = panel.result()
    assert "阿甲" not in panel.columns[0].value.replace("<br>阿甲", "") and set(panel.order) == {"阿甲", "阿乙"}
    assert panel.ballot.layout.display == "" and panel.best[2].layout.display == "none"
    assert "阿乙" not in shown
    place = panel.order.index("阿乙")
    panel.vote(place)
    (vote,) = talk.votes()
    assert vote.models[vote.winner] == "阿乙" and vote.blind and vote.question == "书好吗"
    assert dict(zip(vote.models, vote.answers, strict=True)) == {"阿甲": "阿甲", "阿乙": "书好吗"}
    assert "阿乙" in panel.columns[place].value and panel.ballot.layout.display == "none"
    assert "共 1 票" in panel.result()
    assert "共 1 票" in CompareChatPanel().result()


def test_an_open_comparison_one_that_fails_and_no_winner(speaking):
    panel = CompareChatPanel()
    panel.blind.value, panel.chosen[2].value = False, "坏"
    ask(panel, "书好吗")
    assert "坏 没有答成。" in panel.columns[2].value and panel.best[2].layout.display == "none"
    panel.vote(None)
    assert talk.votes()[0].winner is None and talk.votes()[0].models == ["阿甲", "阿乙"]
    panel.chosen[1].value, panel.chosen[2].value = "坏", ""
    ask(panel, "书好吗")
    assert panel.ballot.layout.display == "none" and message(panel) == "答出来的不到两个，不能投票。"
    panel.chosen[1].value = "阿甲"
    ask(panel, "书好吗")
    assert message(panel).startswith("请选不同的模型")


def test_a_service_beside_the_base(service, tiny_base):
    panel = CompareChatPanel()
    panel.knobs.longest.value, panel.blind.value = 6, False
    panel.chosen[0].value, panel.chosen[1].value = "情感@1", f"基座:{tiny_base}"
    ask(panel, Record("判断情感", "书差讨厌").messages()[0]["content"])
    assert panel.answers["情感@1"] == "消极" and len(panel.answers) == 2
    exec(panel.code(), {})
    assert talk.votes()[0].models == ["情感@1", f"基座:{tiny_base}"]
