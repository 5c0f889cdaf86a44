"""Batch, scores, judge, report and blind rating in a real JupyterLab, with a tiny model."""

import json
import re
import shutil
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
from test_report import ROWS, batch_of

from course_utils.data.documents import read_document
from course_utils.evaluation import human
from course_utils.training import jobs
from course_utils.training.config import TrainingConfig
from course_utils.training.train import train

pytestmark = pytest.mark.slow

BATCH = "from course_utils.widgets import batch_panel\nbatch_panel()"
SCORES = "from course_utils.widgets import scores_panel\nscores_panel()"
RATING = "from course_utils.widgets import rating_panel\nrating_panel()"


@pytest.fixture
def here(lab, monkeypatch):
    """This process looks into the workspace of the browser's kernel."""
    monkeypatch.setenv("COURSE_WORKSPACE", str(lab.workspace))
    yield
    for job in jobs.jobs():
        if job.state not in jobs.ENDED:
            jobs.stop(job.number)


@pytest.fixture
def tall(lab):
    """A window in which a long panel is seen whole."""
    size = lab.page.viewport_size
    lab.page.set_viewport_size({"width": 1280, "height": 4200})
    yield
    lab.page.set_viewport_size(size)


@pytest.fixture
def free(lab):
    rows = [{"instruction": "请回答", "input": row["question"], "output": row["reference"]} for row in ROWS]
    said = {"gemma-3-270m": [row["bad"] for row in ROWS], "问答微调": [row["good"] for row in ROWS]}
    said["gemma-3-270m"][0] = None
    said["gemma-3-270m"][1] += "依据《民法典》第一千九百条。"
    return batch_of(lab.workspace / "batches" / "生活问答", rows, said)


@pytest.fixture
def few(lab):
    """Six rows, which two people rate to the end."""
    rows = [{"instruction": "请回答", "input": row["question"], "output": row["reference"]} for row in ROWS[:6]]
    said = {"gemma-3-270m": [row["bad"] for row in ROWS[:6]], "问答微调": [row["good"] for row in ROWS[:6]]}
    return batch_of(lab.workspace / "batches" / "六题", rows, said)


@pytest.fixture
def endpoint():
    """A judge that always prefers what it is shown first."""

    class Answer(BaseHTTPRequestHandler):
        def do_POST(self):
            self.rfile.read(int(self.headers["Content-Length"]))
            said = {"role": "assistant", "content": '{"reason": "第一个好", "better": "一"}'}
            body = {"id": "1", "object": "chat.completion", "created": 0, "model": "偏心", "choices": [
                {"index": 0, "finish_reason": "stop", "message": said}]}  # fmt: skip
            self.send_response(200)
            self.send_header("Content-Type", "application/json")
            self.end_headers()
            self.wfile.write(json.dumps(body).encode())

        def log_message(self, *_):
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Answer)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}/v1"
    server.shutdown()


def test_batch(lab, here, tiny_base, tiny_data):
    shutil.copytree(tiny_base, lab.root / "tiny")
    config = {"base_model": str(tiny_base), "precision": "fp32", "batch_size": 4, "learning_rate": 5e-3}
    data = tiny_data | {"test": tiny_data["test"] * 40}
    train(TrainingConfig(epochs=6, **config), data, "情感-好好学", log=lambda text: None)
    train(TrainingConfig(epochs=1, **config), data, "情感-学一遍", log=lambda text: None)
    notebook = lab.notebook(BATCH)
    notebook.run_all()
    notebook.click("提交")
    notebook.wait_for("还没有选模型")
    notebook.shot("batch-1-open")
    notebook.field("模型").select_option(["训练：情感-好好学", "训练：情感-学一遍"])
    notebook.fill("其他模型", "tiny，没有这个")
    notebook.click("提交")
    notebook.wait_for("没有叫「没有这个」的模型")
    notebook.shot("batch-2-wrong")
    notebook.fill("其他模型", "tiny")
    notebook.choose("数据", "预置：评论情感的测试集")
    notebook.choose("切分", "较难的切分")
    notebook.choose("怎样回答", "从标签里选一个")
    notebook.click("查看等价代码")
    notebook.wait_for("'split': 'harder'")
    notebook.shot("batch-3-preset")
    notebook.click("收起代码")
    notebook.choose("数据", "一个文件")
    notebook.choose("怎样回答", "自由回答")
    notebook.shot("batch-4-file")
    notebook.choose("数据", "训练「情感-好好学」留下的测试集")
    notebook.choose("怎样回答", "自动：看训练和数据是不是标签")
    notebook.fill("名字", "情感评测")
    notebook.click("提交")
    notebook.wait_for("已提交：第 1 号任务")
    notebook.wait_for("运行中", 60)
    notebook.shot("batch-5-submitted")
    notebook.wait_for("已完成", 120)
    notebook.wait_for("320 / 320 行", 60)
    notebook.shot("batch-6-done")
    notebook.check("只看各模型回答不同的行")
    notebook.click("查看等价代码")
    notebook.shot("batch-7-differing")
    notebook.click("停止")
    notebook.wait_for("不用再停")
    notebook.assert_healthy()
    notebook.reopen()
    notebook.wait_for("重新运行这个单元格")
    notebook.wait_for("答案并排")
    notebook.shot("batch-8-reopened")


def test_a_batch_stops_and_goes_on(lab, here, tiny_base, tiny_data):
    shutil.copytree(tiny_base, lab.root / "tiny")
    config = TrainingConfig(base_model=str(tiny_base), precision="fp32", batch_size=4, epochs=1)
    train(config, tiny_data | {"test": tiny_data["test"] * 100}, "情感", log=lambda text: None)
    notebook = lab.notebook(BATCH)
    notebook.run_all()
    notebook.fill("其他模型", "tiny")
    notebook.choose("怎样回答", "自由回答")
    notebook.click("提交")
    notebook.wait_for("运行中", 60)
    notebook.wait_for("分钟", 60)
    notebook.shot("batch-stop-1-running")
    notebook.click("停止")
    notebook.wait_for("已停止", 60)
    notebook.shot("batch-stop-2-stopped")
    notebook.restart_kernel()
    notebook.run_all()
    notebook.click("2 进度与答案")
    notebook.click("继续")
    notebook.wait_for("运行中", 60)
    assert jobs.job(1).state == jobs.RUNNING
    notebook.assert_healthy()


def test_scores_judge_and_report(lab, here, tall, free):
    notebook = lab.notebook(SCORES)
    notebook.run_all()
    notebook.shot("scores-1-open")
    notebook.check("看回答里引的法条是否存在、现行")
    notebook.click("算分")
    notebook.wait_for("没有测的", 60)
    notebook.wait_for("第一千九百条")  # which there is not
    notebook.shot("scores-2-text")
    notebook.click("2 裁判")
    notebook.click("要问多少次")
    notebook.wait_for("不花钱")
    notebook.click("1 校准")
    notebook.wait_for("可以用", 60)
    notebook.shot("scores-3-calibrated")
    notebook.click("2 评判")
    notebook.wait_for("评判好了", 60)
    notebook.shot("scores-4-judged")
    notebook.click("3 报告")
    notebook.click("写报告")
    notebook.wait_for("下载这份报告", 60)
    notebook.page.wait_for_timeout(1000)
    notebook.shot("scores-5-report")
    with notebook.page.expect_download() as download:
        notebook.page.get_by_text("下载这份报告").locator("visible=true").click()
    assert download.value.path().read_text(encoding="utf-8") == (free / "report.html").read_text(encoding="utf-8")
    print_report(lab, free / "report.html")
    notebook.assert_healthy()
    notebook.reopen()
    notebook.wait_for("重新运行这个单元格")
    notebook.wait_for("没有测的")
    notebook.shot("scores-6-reopened")


def print_report(lab, report) -> None:
    """As a learner prints it into a PDF."""
    page = lab.page.context.browser.new_page(locale="zh-CN")
    page.goto(report.as_uri())
    page.screenshot(path=lab.shots / "report.png", full_page=True)
    page.pdf(path=lab.shots / "report.pdf", format="A4")
    page.close()
    printed = read_document(lab.shots / "report.pdf").text.replace("\n", "")
    assert "问答微调" in printed and "没有测的" in printed and "怎样重做" in printed


def test_scores_of_labels(lab, here, tall):
    rows = [{"input": f"第 {i} 条评论，说得很清楚", "output": "好中差"[i % 3]} for i in range(60)]

    def said(wrong):
        labels = ["差" if i in wrong else row["output"] for i, row in enumerate(rows)]
        return [{"prediction": x, "scores": {"好": 0.1, "中": 0.1, "差": 0.1} | {x: 0.5 + i % 5 / 10}}
                for i, x in enumerate(labels)]  # fmt: skip

    batch_of(
        lab.workspace / "batches" / "情感", rows, {"gemma-3-270m": said(range(40)), "微调": said({3, 7})}, "好中差"
    )
    notebook = lab.notebook(SCORES)
    notebook.run_all()
    notebook.click("算分")
    notebook.wait_for("没有测的", 60)
    notebook.shot("scores-labels")
    notebook.assert_healthy()


def test_a_judge_that_fails(lab, here, free, endpoint):
    values = {"COURSE_LLM_BASE_URL": endpoint, "COURSE_LLM_API_KEY": "k", "COURSE_LLM_MODEL": "偏心"}
    notebook = lab.notebook(f"import os\nos.environ.update({values!r})\n" + SCORES)
    notebook.run_all()
    notebook.click("2 裁判")
    notebook.choose("裁判", "大模型裁判：偏心")
    notebook.click("要问多少次")
    notebook.wait_for("千输入 token")
    notebook.shot("judge-1-cost")
    notebook.click("2 评判")
    notebook.wait_for("还没有校准")
    notebook.click("1 校准")
    notebook.wait_for("低于 75%", 120)
    notebook.shot("judge-2-refused")
    notebook.assert_healthy()


def test_rating(lab, here, few):
    notebook = lab.notebook(RATING)
    notebook.run_all()
    notebook.click("开始评分")
    notebook.wait_for("请先写上评分人")
    notebook.shot("rating-1-open")
    notebook.fill("评分人", "小王")
    notebook.click("开始评分")
    notebook.wait_for("第 1 条")
    notebook.shot("rating-2-first")
    notebook.click("左边好")
    notebook.wait_for("第 2 条")
    for n, key in enumerate("3213", 3):
        notebook.field("用键盘评").press(key)
        notebook.wait_for(f"第 {n} 条")
    notebook.fill("备注", "两个都答偏了")
    notebook.click("一样好")
    notebook.click("上一条")
    notebook.wait_for("这一条评过：一样好")
    notebook.shot("rating-3-back")
    assert len(human.ratings(next(few.glob("human*")))) == 6
    notebook.fill("评分人", "小李")
    notebook.click("开始评分")
    notebook.wait_for("第 1 条")
    for n, key in enumerate("13312", 2):
        notebook.field("用键盘评").press(key)
        notebook.wait_for(f"第 {n} 条")
    notebook.field("用键盘评").press("1")
    notebook.wait_for("全部评完了")
    notebook.click("2 结果")
    notebook.click("看结果")
    notebook.wait_for("kappa")
    assert re.search(r"kappa\s+-?[01]\.\d\d", notebook.text), notebook.text
    notebook.click("查看等价代码")
    notebook.shot("rating-4-tally")
    notebook.assert_healthy()
    notebook.reopen()
    notebook.wait_for("kappa")
    notebook.shot("rating-5-reopened")
