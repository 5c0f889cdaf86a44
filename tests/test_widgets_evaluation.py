"""The panels of batch, scores and blind rating, without a browser."""

import pytest
from test_report import ROWS, batch_of

from course_utils import paths
from course_utils.data.records import write_jsonl
from course_utils.data.store import DataSet
from course_utils.evaluation import agreement, human, judge_local
from course_utils.evaluation.batch import answers, read_work, run_batch
from course_utils.training import jobs
from course_utils.widgets.base import Panel, plain
from course_utils.widgets.batching import CHOOSE, FREE, BatchPanel
from course_utils.widgets.presets import PresetsPanel
from course_utils.widgets.rating import RatingPanel
from course_utils.widgets.scores import ScoresPanel

FEW = ROWS[:12]


def message(panel: Panel) -> str:
    return plain(panel.message.value)


def press(panel: Panel, do) -> str:
    """What the panel says when a button does this."""
    with panel.working():
        do()
    return message(panel)


def long(panel: Panel, work) -> str:
    work.start()
    work.wait()
    return message(panel)


@pytest.fixture
def home(own_workspace):
    return own_workspace / "batches"


@pytest.fixture
def free(home):
    rows = [{"instruction": "请回答", "input": row["question"], "output": row["reference"]} for row in FEW]
    said = {"基座": [row["bad"] for row in FEW], "微调": [row["good"] for row in FEW]}
    return batch_of(home / "问答", rows, said)


@pytest.fixture
def labelled(home):
    rows = [{"input": f"评论{i}", "output": "好" if i % 2 else "差"} for i in range(20)]

    def said(wrong):
        other = {"好": "差", "差": "好"}
        labels = [other[row["output"]] if i in wrong else row["output"] for i, row in enumerate(rows)]
        return [{"prediction": label, "scores": {label: 0.9, other[label]: 0.1}} for label in labels]

    return batch_of(home / "情感", rows, {"旧": said(range(10)), "新": said({3})}, ["好", "差"])


@pytest.fixture
def no_process(monkeypatch):
    """Jobs are written down, and nobody does them."""
    monkeypatch.setattr(jobs, "_start", lambda number: jobs._select("WHERE number = ?", number)[0])


# --- batch ---


def test_a_batch_is_submitted_followed_and_read(tiny_base, tmp_path, no_process):
    write_jsonl([{"问": f"书好喜欢{'很' * (i % 3)}", "答": "积极"} for i in range(6)], tmp_path / "题.jsonl")
    panel = BatchPanel()
    assert press(panel, panel.submit) == "还没有选模型。请在列表里选一个或几个。"
    panel.others.value, panel.data.value = str(tiny_base), ("file", "")
    assert press(panel, panel.submit) == "还没有文件。请写出它的路径；文件可以先拖到 JupyterLab 左边的文件栏里。"
    panel.file.value, panel.question.value, panel.answer.value = str(tmp_path / "题.jsonl"), "问", "答"
    panel.way.value = CHOOSE
    assert "还没有写标签" in press(panel, panel.submit)
    panel.labels.value, panel.rows.value, panel.name.value = "积极，消极", 5, "a/b"
    assert "名字" in press(panel, panel.submit)
    panel.name.value = "小试"
    assert press(panel, panel.submit) == "已提交：第 1 号任务「小试」。"
    work = read_work(panel.folder)
    assert work["task"]["labels"] == ["积极", "消极"] and work["rows"] == 5
    assert work["mapping"] == {"问": "input", "答": "output"}
    panel.look()
    assert "0 / 5 行" in panel.state.value and "排队的进程不在了" in panel.state.value and not panel.shown.value
    assert press(panel, panel.resume).startswith("第 1 号任务重新排队")
    run_batch(panel.folder, lambda line: None)
    panel.look()
    assert "5 / 5 行" in panel.state.value
    (said,) = answers(panel.folder).values()
    assert all(row["prediction"] in plain(panel.shown.value) for row in said)
    assert "积极" in panel.result() and "小试" in panel.result()
    jobs._update(1, state=jobs.DONE)
    assert "不用再停" in press(panel, panel.stop)


def test_the_code_of_the_batch_panel_does_the_same(tiny_base, no_process):
    rows = [{"instruction": "判断", "input": f"书{i}", "output": "好"} for i in range(4)]
    DataSet.create("我的", {"train": rows, "test": rows[:3]}, {})
    panel = BatchPanel()
    panel.others.value, panel.data.value = str(tiny_base), ("data", "我的")
    panel.way.value, panel.tokens.value, panel.rows.value = FREE, 32, 2
    press(panel, panel.submit)
    exec(panel.code(), {})
    one, two = (read_work(paths.workspace() / "batches" / name) for name in ("评测", "评测-2"))
    one.pop("created"), two.pop("created")
    assert one == two and one["rows"] == 2 and one["task"] == {"labels": [], "max_new_tokens": 32}


def test_answers_side_by_side(labelled):
    panel = BatchPanel()
    assert panel.page.max == 2 and "共 20 行" in panel.shown.value
    panel.page.value = 2
    assert "评论19" in panel.shown.value and "评论3" not in plain(panel.shown.value)
    panel.page.value, panel.differing.value = 1, True
    assert "共 9 行" in panel.shown.value
    assert "不是队列里的任务" in press(panel, panel.stop)


def test_nothing_there():
    for panel, do in ((BatchPanel(), "stop"), (RatingPanel(), "count")):
        assert "还没有批量预测" in press(panel, getattr(panel, do))
    panel = ScoresPanel()
    assert "还没有批量预测" in long(panel, panel.work)


# --- scores ---


def test_scores_of_labels(labelled):
    panel = ScoresPanel()
    assert long(panel, panel.work) == "算好了，20 行。"
    shown = plain(panel.shown.value)
    for text in (
        "新 比 旧 好：准确率差 +45.0%",
        "0.950",
        "0.500",
        "校准误差",
        "McNemar",
        "最有把握的错误",
        "没有人工评分",
    ):
        assert text in shown, text
    assert panel.shown.value.count("<img") == 6  # scores, difference, and for each model confusion and calibration


def test_scores_of_free_text_with_law(free):
    panel = ScoresPanel()
    panel.law.value = True
    long(panel, panel.work)
    shown = plain(panel.shown.value)
    for text in ("ROUGE-L（字）", "BLEU-4（词，jieba）", "jieba", "裁判打分", "Wilcoxon", "法条", "没有测的"):
        assert text in shown, text
    exec(panel.code(), {})


def test_a_judge_is_calibrated_then_heard(free):
    panel = ScoresPanel()
    assert "还没有校准" in long(panel, panel.judging) and "rating_panel()" in message(panel)
    assert press(panel, panel.estimate).count("不花钱") == 2
    assert "可以用" in long(panel, panel.calibrating)
    assert "按毛病看一致率" in panel.trust.value
    assert "评判好了" in long(panel, panel.judging)
    shown = plain(panel.verdicts.value)
    for text in ("微调 对 基座", "胜率", "换顺序后一致", "可不可信", "一致率"):
        assert text in shown, text


def test_a_judge_that_fails_is_refused_with_the_reason(free, monkeypatch):
    class Rigged(judge_local.TextJudge):
        name, key = "反着判的裁判", "rigged"

        def prefer(self, asked, first, second):
            return {"first": "second", "second": "first"}.get(super().prefer(asked, first, second), "tie")

    real = judge_local.text_judge()
    monkeypatch.setattr(judge_local, "text_judge", lambda: Rigged(real.weights, real.centre, real.trained_on))
    panel = ScoresPanel()
    said = long(panel, panel.calibrating)
    assert "不采用" in said and "rating_panel()" in said and "wrong" in panel.message.value
    assert "不采用" in long(panel, panel.judging) and not panel.verdicts.value
    assert agreement.known_agreement(panel.judge_now).agreement < 0.25


def test_the_report_is_written_and_linked(labelled):
    panel = ScoresPanel()
    panel.out.value = "report"
    assert "请给一个 .html 文件名" in long(panel, panel.writing) and not panel.link.value
    panel.out.value = "比较.html"
    assert long(panel, panel.writing).startswith("报告已写到 workspace/batches/情感/比较.html")
    assert (labelled / "比较.html").exists() and (labelled / "比较.csv").exists()
    assert 'download="比较.html"' in panel.link.value and "<iframe" in panel.page.value


# --- people ---


def test_blind_rating_by_two(free):
    panel = RatingPanel()
    assert press(panel, panel.start) == "请先写上评分人的名字（或代号）。"
    panel.rater.value = "甲"
    press(panel, panel.start)
    assert "第 1 条，评了 0 条，共 12 条" in panel.item.value
    assert "基座" not in panel.item.value and "微调" not in panel.item.value
    first = panel.lines[0]["id"]
    panel.note.value = "都不错"
    panel.keys.value = "1"
    assert panel.keys.value == "" and panel.note.value == ""
    panel.keys.value = "0"
    assert "这一条评过：左边好" in panel.item.value and panel.note.value == "都不错"
    panel.keys.value = "x"
    assert "只认" in message(panel)
    panel.keys.value = "2"
    saved = human.ratings(panel.folder)
    assert saved[["id", "choice", "rater"]].values.tolist() == [[first, "平", "甲"]]
    again = RatingPanel()  # on another day
    again.rater.value = "甲"
    press(again, again.start)
    assert again.place == 1
    good = {row["good"].strip() for row in FEW}
    for rater in ("甲", "乙"):
        again.rater.value = rater
        press(again, again.start)
        while again.place < len(again.lines):
            press(again, lambda: again.choose("左" if again.lines[again.place]["left"] in good else "右"))
    assert "全部评完了" in message(again)
    press(again, again.count)
    shown = plain(again.counted.value)
    assert "微调 对 基座" in shown and "2 人评了 12 行" in shown and "kappa" in shown
    assert "微调 对 基座" in again.result()


def test_rating_what_cannot_be(free):
    panel = RatingPanel()
    panel.rater.value, panel.b.value = "甲", "微调"
    assert press(panel, panel.start) == "请选两个不同的模型。"
    panel.b.value = "基座"
    assert "先点「开始评分」" in press(panel, lambda: panel.choose("左"))
    assert "还没有人评分" in press(panel, panel.count)
    assert "路径" in press(panel, panel.merge)
    exec(panel.code(), {})
    assert len(human.ratings(panel.folder)) == 1
    other = free.parent / "别人.jsonl"
    write_jsonl([human.ratings(panel.folder).iloc[0].to_dict() | {"rater": "乙"}], other)
    panel.other.value = str(other)
    assert press(panel, panel.merge) == "合并了 1 条新的评分。"


def test_the_batch_panel_begins_with_what_it_is_given(own_workspace):
    run = own_workspace / "runs" / "商品分类"
    (run / "data").mkdir(parents=True)
    (run / "config.yaml").write_text("base_model: gemma-3-270m\n", encoding="utf-8")
    (run / "run.json").write_text('{"finished": true}', encoding="utf-8")
    write_jsonl(
        [{"instruction": "分类", "input": f"商品{i}", "output": "类"} for i in range(5)], run / "data" / "test.jsonl"
    )
    panel = BatchPanel(models=["gemma-3-270m", "商品分类"], run="商品分类", rows=3, name="评估")
    assert panel.names == ["gemma-3-270m", "商品分类"] and panel.name.value == "评估"
    assert [record.input for record in panel.questions()] == ["商品0", "商品1", "商品2"]
    assert "find_run('商品分类')" in panel.code() and "[:3]" in panel.code()


def test_the_presets_panel_begins_with_the_one_asked_for():
    assert PresetsPanel("legal_qa").chosen.value == "legal_qa"
