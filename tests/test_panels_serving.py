"""Publishing, chat and comparison in a real JupyterLab, and a real `course serve` called with the openai client."""

import os
import re
import signal
import socket
import subprocess
import sys
import time

import httpx
import openai
import pytest

from course_utils.serving import keys, services, talk
from course_utils.training.config import TrainingConfig
from course_utils.training.train import train

pytestmark = pytest.mark.slow


@pytest.fixture
def runs(lab, tiny_base, tiny_data, monkeypatch):
    """Two runs in the workspace of the browser's kernel, which this process looks into."""
    monkeypatch.setenv("COURSE_WORKSPACE", str(lab.workspace))
    base = {"base_model": str(tiny_base), "precision": "fp32", "batch_size": 4, "learning_rate": 1e-2}
    for name, seed in (("第一次", 1), ("第二次", 2)):
        train(TrainingConfig(epochs=6, evaluations=1, seed=seed, **base), tiny_data, name, log=lambda text: None)


@pytest.fixture
def server(lab, runs):
    """Starts `course serve`; gives its address."""
    started = []

    def start() -> str:
        with socket.create_server(("127.0.0.1", 0)) as free:
            port = free.getsockname()[1]
        command = [sys.executable, "-c", "from course_utils.cli import main; main()", "serve", "--port", str(port)]
        started.append(subprocess.Popen(command, env=os.environ | {"COURSE_WORKSPACE": str(lab.workspace)}))
        for _ in range(120):
            try:
                httpx.get(f"http://127.0.0.1:{port}/healthz").raise_for_status()
                return f"http://127.0.0.1:{port}/v1"
            except httpx.HTTPError:
                time.sleep(0.5)
        raise AssertionError("course serve did not start")

    yield start
    for process in started:
        process.send_signal(signal.SIGINT)
        process.wait(30)


def show(lab, panel: str, name: str):
    notebook = lab.notebook(f"from course_utils.widgets import {panel}\n{panel}()", name=f"{name}.ipynb")
    notebook.run_all()
    return notebook


def test_publish_key_call_compare(lab, runs, server):
    notebook = show(lab, "publish_panel", "publish")
    notebook.shot("publish-1-open")
    notebook.choose("训练", "第一次")
    notebook.fill("服务的名字", "a/b")
    notebook.click("发布")
    notebook.wait_for("服务的名字「a/b」不行", 60)
    notebook.shot("publish-2-wrong")
    notebook.fill("服务的名字", "情感")
    notebook.click("发布")
    notebook.wait_for("已发布：服务「情感」第 1 版", 60)
    notebook.choose("训练", "第二次")
    notebook.click("发布")
    notebook.wait_for("已发布：服务「情感」第 2 版", 60)
    notebook.click("查看等价代码")
    notebook.shot("publish-3-published")
    notebook.click("收起代码")
    notebook.click("2 服务与版本")
    notebook.click("更新服务")
    notebook.wait_for("现在由第 2 版回答")
    notebook.click("退回")
    notebook.wait_for("退回到第 1 版")
    notebook.click("查看等价代码")
    notebook.shot("publish-4-versions")
    notebook.click("收起代码")
    notebook.click("3 应用与密钥")
    notebook.fill("新应用", "小程序")
    notebook.click("建应用")
    notebook.wait_for("应用「小程序」建好了")
    notebook.click("建密钥")
    notebook.wait_for("密钥只显示这一次")
    secret = re.search(r"sk-[\w-]{30,}", notebook.text).group()
    assert keys.opened(keys.check(secret)) == ["情感"]
    notebook.shot("publish-5-key")
    notebook.command("docmanager:save")
    assert secret not in (lab.root / notebook.name).read_text(encoding="utf-8")
    notebook.click("抄好了，收起")
    assert secret not in notebook.text
    notebook.click("4 调用")
    notebook.fill("问题", "书差讨厌")
    notebook.click("Python")
    notebook.shot("publish-6-call")

    address = server()
    client = openai.OpenAI(base_url=address, api_key=secret, max_retries=0)
    question = [{"role": "user", "content": "书差讨厌"}]
    answer = client.chat.completions.create(model="情感", messages=question)
    assert answer.choices[0].message.content == "消极"
    see_documentation(lab, address)
    notebook.click("3 应用与密钥")
    notebook.button("刷新").last.click()
    notebook.wait_until_idle()
    assert keys.listed()[0].requests == 1
    notebook.shot("publish-7-usage")
    notebook.click("吊销")
    notebook.wait_for("吊销了")
    with pytest.raises(openai.AuthenticationError, match="已经吊销"):
        client.chat.completions.create(model="情感", messages=question)
    notebook.assert_healthy()
    notebook.reopen()
    notebook.wait_for("重新运行这个单元格")
    notebook.shot("publish-8-reopened")
    assert secret not in notebook.text and services.service("情感").current == 1

    notebook = show(lab, "compare_chat_panel", "compare")
    notebook.shot("vote-1-open")
    notebook.choose("模型 1", "情感@1")
    notebook.choose("模型 2", "情感@2")
    notebook.choose("模型 3", "训练:第二次")
    notebook.fill("问题", "书差讨厌")
    notebook.click("提问")
    notebook.wait_for("都答完了", 90)
    notebook.shot("vote-2-blind")
    notebook.click("乙更好")
    notebook.wait_for("票存好了")
    notebook.click("查看等价代码")
    notebook.shot("vote-3-revealed")
    assert talk.votes()[0].blind and talk.votes()[0].answers == ["消极"] * 3
    notebook.assert_healthy()
    notebook.reopen()
    notebook.wait_for("重新运行这个单元格")
    notebook.wait_for("共 1 票")
    notebook.shot("vote-4-reopened")


def see_documentation(lab, address: str) -> None:
    """The API's page, in a tab of its own, without any other address."""
    root, asked = address.removesuffix("/v1"), []
    page = lab.page.context.browser.new_page(locale="zh-CN")
    page.on("request", lambda request: asked.append(request.url))
    page.goto(f"{root}/docs")
    page.get_by_text("已发布的微调模型，用 OpenAI 的协议调用").wait_for()
    page.get_by_text("选标签").first.click()
    page.get_by_text("每个标签都算出概率").wait_for()
    page.screenshot(path=lab.shots / "publish-9-docs.png", full_page=True)
    assert len(asked) > 2 and all(url.startswith((root, "data:", "blob:")) for url in asked), asked
    page.close()


def test_chat(lab, runs, tiny_base):
    notebook = show(lab, "chat_panel", "chat")
    notebook.shot("chat-1-open")
    notebook.click("发送")
    notebook.wait_for("还没有写问题")
    notebook.click("系统提示和生成参数")
    notebook.shot("chat-2-parameters")
    notebook.fill("最多几个 token", "400")
    notebook.check("记住前面的问答", False)
    notebook.click("登记远程模型")
    notebook.shot("chat-3-remote")
    notebook.fill("名字", "同学")
    notebook.fill("地址", "http://127.0.0.1:9/v1")
    notebook.fill("model", "情感")
    notebook.click("登记")
    notebook.wait_for("登记好了远程模型「同学」")
    notebook.fill("问题", "书差讨厌")
    notebook.click("发送")
    notebook.wait_for("连不上远程模型「同学」", 60)
    notebook.shot("chat-4-unreachable")
    notebook.click("登记远程模型")
    notebook.choose("模型", "训练:第一次")
    notebook.click("发送")
    notebook.wait_for("答完了", 90)
    notebook.choose("模型", "训练:第二次")
    notebook.fill("问题", "书好喜欢")
    notebook.click("发送")
    notebook.wait_for("积极", 90)
    notebook.click("查看等价代码")
    notebook.shot("chat-5-answers")
    notebook.assert_healthy()
    notebook.reopen()
    notebook.wait_for("重新运行这个单元格")
    notebook.wait_for("积极")
    notebook.shot("chat-6-reopened")


def test_an_answer_is_seen_as_it_is_written_and_can_be_stopped(lab):
    """By the embedded model, which writes slowly enough to be watched."""
    notebook = show(lab, "chat_panel", "stream")
    notebook.fill("问题", "请从一数到一百，一行一个数。")
    notebook.click("发送")
    notebook.wait_for("正在回答", 120)
    lengths = set()
    for _ in range(400):
        lengths.add(len(notebook.text))
        if len(lengths) == 6:
            notebook.shot("chat-7-streaming")
            notebook.click("停止")
            break
        notebook.page.wait_for_timeout(50)
    assert len(lengths) == 6, notebook.text
    notebook.wait_for("停下了，已经写出来的留着", 60)
    notebook.shot("chat-8-stopped")
    notebook.assert_healthy()
