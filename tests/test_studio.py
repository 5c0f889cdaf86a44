"""Choosing, setting, submitting and watching in a real JupyterLab, with a tiny model."""

import time

import pytest

from course_utils.training import jobs

pytestmark = pytest.mark.slow

STUDIO = "from course_utils.widgets import studio_panel\nstudio_panel(base_model={base!r}, precision='fp32', rows=200, epochs={epochs}, batch_size=2, name='小试')"
WATCH = "from course_utils.widgets import watch_panel\nwatch_panel()"


@pytest.fixture
def own_queue(tmp_path, monkeypatch, lab):
    monkeypatch.setenv("COURSE_WORKSPACE", str(lab.workspace))
    yield
    for job in jobs.jobs():
        if job.state not in jobs.ENDED:
            jobs.stop(job.number)


def test_the_market(lab):
    notebook = lab.notebook("from course_utils.widgets import market_panel\nmarket_panel()")
    notebook.run_all()
    notebook.choose("难度", "要求高")
    notebook.click("推荐模型")
    notebook.wait_for("这台机器（")
    notebook.shot("market-1")
    notebook.click("查看等价代码")
    notebook.assert_healthy()
    notebook.reopen()
    notebook.wait_for("重新运行这个单元格")
    notebook.shot("market-2-reopened")


def test_submit_watch_stop_resume_and_come_back(lab, tiny_base, own_queue):
    notebook = lab.notebook(STUDIO.format(base=str(tiny_base), epochs=50), WATCH)
    notebook.run(0)
    notebook.wait_for("数据集")
    notebook.click("看看数据")
    notebook.wait_for("训练集 200 行")
    notebook.shot("studio-1-data")
    notebook.click("2 设置")
    notebook.shot("studio-2-settings")
    notebook.fill("学习率", "4")
    notebook.wait_for("「学习率」（learning_rate）是 4")
    notebook.shot("studio-3-wrong")
    notebook.fill("学习率", "0.0005")
    notebook.click("进阶设置")
    notebook.shot("studio-4-advanced")
    notebook.click("3 估算与提交")
    notebook.click("估算")
    notebook.wait_for("预计", 60)
    notebook.shot("studio-5-estimate")
    notebook.click("提交训练")
    notebook.wait_for("已提交：第 1 号任务")
    notebook.click("查看等价代码")
    notebook.shot("studio-6-submitted")
    notebook.run(1)
    notebook.wait_for("运行中", 60)
    notebook.wait_for("同样几条，训练中怎样回答", 60)
    notebook.shot("watch-1-running", whole=False)
    notebook.click("停止")
    notebook.wait_for("已停止", 60)
    notebook.shot("watch-2-stopped", whole=False)
    notebook.click("继续")
    notebook.wait_for("运行中", 60)
    notebook.assert_healthy()
    notebook.restart_kernel()
    notebook.run(1)
    notebook.wait_for("运行中", 60)
    assert jobs.job(1).state == jobs.RUNNING
    notebook.wait_for("剩余", 60)
    notebook.assert_healthy()
    notebook.reopen()
    notebook.wait_for("重新运行这个单元格")
    notebook.shot("watch-3-reopened", whole=False)
    assert jobs.job(1).state == jobs.RUNNING
    jobs.stop(1)


def test_runs_beside_one_another_and_a_comparison(lab, tiny_base, tiny_data, own_queue):
    from course_utils.training.config import TrainingConfig
    from course_utils.training.train import train

    base = {"base_model": str(tiny_base), "precision": "fp32", "epochs": 6, "batch_size": 4, "learning_rate": 5e-3}
    for name, rank in (("秩八", 8), ("秩二", 2)):
        train(TrainingConfig(lora_rank=rank, **base), tiny_data, name, log=lambda text: None)
    notebook = lab.notebook(
        "from course_utils.widgets import history_panel\nhistory_panel()",
        "from course_utils.widgets.history import ComparePanel\npanel = ComparePanel(rows=40)\n"
        f"panel.base = {str(tiny_base)!r}\npanel.show()",
    )
    notebook.run(0)
    notebook.field("选择").select_option(["秩八", "秩二"])
    notebook.wait_until_idle()
    notebook.click("对比")
    notebook.wait_for("对比了 2 次训练")
    notebook.wait_for("LoRA 秩")
    notebook.shot("history-1", whole=False)
    notebook.choose("导出", "LoRA 适配器")
    notebook.click("导出")
    notebook.wait_for("已导出到", 60)
    notebook.choose("导出", "合并后的模型")
    notebook.click("导出")
    notebook.wait_for("已导出到", 60)
    notebook.shot("history-2-exported", whole=False)
    notebook.run(1)
    notebook.fill("种子个数", "2")
    notebook.click("提交对照")
    notebook.wait_for("要训练 4 次")
    end = time.monotonic() + 120
    while jobs.job(1).state not in jobs.ENDED and time.monotonic() < end:
        time.sleep(1)
    assert jobs.job(1).state == jobs.DONE, jobs.job(1)
    notebook.click("看结果")
    notebook.wait_for("标准差")
    notebook.shot("compare-1", whole=False)
    notebook.assert_healthy()
    notebook.reopen()
    notebook.wait_for("标准差")
