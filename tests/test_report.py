"""A batch becomes a report that says which model is better, and does not fall for one that is worse."""

import csv
import json
import re
import sys
from html.parser import HTMLParser

import pytest
from typer.testing import CliRunner

from course_utils import cli_evaluation
from course_utils.data.formats import read_rows
from course_utils.data.records import write_jsonl
from course_utils.errors import CourseError, DataError
from course_utils.evaluation import human
from course_utils.evaluation.agreement import JudgeRefused, calibrate, offline_judge
from course_utils.evaluation.judge_local import CALIBRATION
from course_utils.evaluation.report import conclusion, examples, render, write_report
from course_utils.evaluation.scoring import judge_batch, question_of, score_batch
from course_utils.training.run import fingerprint

ROWS = read_rows(CALIBRATION)[::3]


def batch_of(folder, rows, answers, labels=()):
    """A finished batch whose models gave these answers; an answer is a text, None, or a dict with `prediction`."""
    folder.mkdir(parents=True)
    write_jsonl(rows, folder / "data.jsonl")
    for name, found in answers.items():
        found = [f if isinstance(f, dict) else {"prediction": f} for f in found]
        write_jsonl(({**row, **f} for row, f in zip(rows, found, strict=True)), folder / f"{name}.jsonl")
    work = {
        "models": {n: {"find": n, "kind": "base", "base": n, "file": f"{n}.jsonl"} for n in answers},
        "task": {"labels": list(labels), "max_new_tokens": 64},
        "mapping": {},
        "constants": {},
        "engine": "local",
        "source": "",
        **fingerprint(folder / "data.jsonl"),
    }
    (folder / "batch.json").write_text(json.dumps(work), encoding="utf-8")
    return folder


@pytest.fixture
def free_text(tmp_path):
    rows = [{"instruction": "请回答", "input": row["question"], "output": row["reference"]} for row in ROWS]
    answers = {"差模型": [row["bad"] for row in ROWS], "好模型": [row["good"] for row in ROWS]}
    answers["差模型"][0] = None
    return batch_of(tmp_path / "text", rows, answers)


@pytest.fixture
def labelled(tmp_path):
    rows = [{"input": f"评论{i}", "output": "好" if i % 2 else "差"} for i in range(40)]

    def said(wrong):
        return [
            {"prediction": label, "scores": {label: 0.9, "好差"[label == "好"]: 0.1}}
            for i, row in enumerate(rows)
            for label in ["好差"[row["output"] == "好"] if i in wrong else row["output"]]
        ]

    return batch_of(tmp_path / "labels", rows, {"旧": said(range(20)), "新": said({3})}, ["好", "差"])


def quiet(line):
    pass


def test_text_is_scored_judged_and_compared(free_text):
    found = score_batch(free_text, log=quiet)
    assert found.first == "差模型" and not found.labels and found.empty == {"差模型": 1, "好模型": 0}
    table = found.table()
    assert set(table["模型"]) == {"差模型", "好模型"} and (table["下限"] <= table["分数"]).all()
    line = next(line for line in found.against if line.metric == "ROUGE-L（字）")
    assert line.model == "好模型" and line.wins + line.losses <= len(ROWS)
    marks = {score.model: score.value for score in found.scores if score.metric.startswith("裁判打分")}
    assert 1 <= marks["差模型"] < marks["好模型"] <= 5
    (judged,) = found.judged
    assert judged.agreement.passed and judged.verdicts.win_rate > 0.85
    assert found.won("好模型")[0] == 1  # against an empty answer
    assert found.citations["好模型"].valid == 1
    assert any("大模型裁判" in text for text in found.missing) and any("语义" in text for text in found.missing)


def test_the_worse_model_is_called_worse(tmp_path):
    """The rigged pair: the bad answers as those of the new model."""
    rows = [{"input": row["question"], "output": row["reference"]} for row in ROWS]
    answers = {"旧": [row["good"] for row in ROWS], "新": [row["bad"] for row in ROWS]}
    found = score_batch(batch_of(tmp_path / "rigged", rows, answers), log=quiet)
    assert found.judged[0].verdicts.win_rate < 0.15
    assert found.judged[0].verdicts.interval[1] < 0.5
    lost, won = (len(examples(found, "新", 100)[side]) for side in ("输了", "赢了"))
    assert lost > 5 * won


def test_labels_by_hand(labelled):
    found = score_batch(labelled, log=quiet)
    scores = {(score.model, score.metric): score.value for score in found.scores}
    assert scores["旧", "准确率"] == pytest.approx(0.5) and scores["新", "准确率"] == pytest.approx(39 / 40)
    assert scores["旧", "校准误差 ECE（越低越好）"] == pytest.approx(0.4)
    (line,) = found.against
    assert (line.wins, line.losses) == (19, 0) and line.difference == pytest.approx(19 / 40) and line.p_value < 0.001
    assert found.errors["新"]["行"].tolist() == [4]
    assert "新 比 旧 好：准确率差 +47.5%" in conclusion(found, "新")
    assert not found.judged


def test_models_alike_are_not_told_apart(labelled):
    (labelled / "新.jsonl").write_bytes((labelled / "旧.jsonl").read_bytes())
    assert "新 和 旧 分不出高下" in conclusion(score_batch(labelled, log=quiet), "新")


class Page(HTMLParser):
    """Tags that are opened and closed, and what the page asks for from outside."""

    def __init__(self):
        super().__init__()
        self.open, self.outside, self.text = [], [], []

    def handle_starttag(self, tag, attributes):
        if tag not in ("meta", "img", "br"):
            self.open.append(tag)
        self.outside += [
            v for k, v in attributes if k in ("src", "href") and not v.startswith("data:image/png;base64,")
        ]

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.text.append(data)


def read(html):
    page = Page()
    page.feed(html)
    assert page.open == [] and page.outside == []
    return " ".join(" ".join(page.text).split())


def test_the_report_is_one_file_with_everything(free_text, tmp_path):
    out = tmp_path / "report.html"
    questions = [row["question"] for row in ROWS]
    folder = human.make_sheet(
        free_text / "human", questions, [r["good"] for r in ROWS], [r["bad"] for r in ROWS], ("好模型", "差模型")
    )
    for rater in ("张三", "李四"):
        for line in human.sheet(folder, rater)[:10]:
            human.rate(folder, rater, line["id"], "左")
    write_report(free_text, out, log=quiet)
    text = read(out.read_text(encoding="utf-8"))
    sha = json.loads((free_text / "batch.json").read_text(encoding="utf-8"))["sha256"]
    for part in (
        sha, "BLEU-4（字）", "ROUGE-L（词，jieba）", "之前与之后：差模型 → 好模型", "赢了的", "输了的", "不是大模型", "与校准集一致",
        "事实错误", "交换顺序后一致", "人工评分", "kappa", "法条", "没有测的", "怎样重做", "course batch --model", "差模型 1 条",
    ):  # fmt: skip
        assert part in text, part
    assert out.read_text(encoding="utf-8").count("data:image/png;base64,") == 2
    with out.with_suffix(".csv").open(encoding="utf-8-sig", newline="") as file:
        lines = list(csv.DictReader(file))
    assert {line["指标"] for line in lines} >= {"BLEU-4（字）", "chrF（字符）"} and len(lines) == 24


def test_the_report_of_labels(labelled, tmp_path):
    write_report(labelled, tmp_path / "r.html", log=quiet)
    html = (tmp_path / "r.html").read_text(encoding="utf-8")
    text = read(html)
    assert html.count("data:image/png;base64,") == 2 + 2 + 2  # scores, differences; a matrix and a curve per model
    assert "最有把握的错误：新" in text and "McNemar" in text and "裁判" not in text.replace("大模型裁判", "")


def test_what_a_judge_said_of_labels_stands_in_their_report(labelled, tmp_path):
    judge, agreement = offline_judge()
    (judged,) = judge_batch(labelled, judge, log=quiet)
    found = write_report(labelled, tmp_path / "report.html", log=quiet)
    assert [(j.model, j.verdicts) for j in found.judged] == [("新", judged.verdicts)]
    assert agreement.judge in (tmp_path / "report.html").read_text(encoding="utf-8")


def test_what_answers_say_is_text_and_no_markup(tmp_path):
    rows = [{"input": f"问{i}<b>", "output": f"标准答案第{i}号，比较长，超过二十个字就不是标签了。"} for i in range(6)]
    evil = "<script>alert(1)</script>\n第二行 & {{ 7 * 7 }}"
    folder = batch_of(tmp_path / "evil", rows, {"<i>甲": [evil] * 6, "乙": [row["output"] for row in rows]})
    html = render(score_batch(folder, log=quiet))
    assert "<script" not in html and "<i>甲" not in html and "{{ 7 * 7 }}" in html
    read(html)


def test_a_single_model_is_not_compared(tmp_path):
    rows = [{"input": f"问{i}", "output": f"这是第{i}个问题的标准答案，它不是一个标签，而是一句话。"} for i in range(5)]
    found = score_batch(batch_of(tmp_path / "one", rows, {"甲": [row["output"] for row in rows]}), log=quiet)
    html = read(render(found))
    assert "只有一个模型" in html and "100.0%" in html


def test_what_cannot_be_reported(free_text, tmp_path):
    with pytest.raises(DataError, match="没有「答案」字段"):
        score_batch(free_text, "答案")
    with pytest.raises(DataError, match=r"\.html"):
        write_report(free_text, tmp_path / "x.doc")
    lines = (free_text / "好模型.jsonl").read_bytes().splitlines(keepends=True)
    (free_text / "好模型.jsonl").write_bytes(b"".join(lines[:5]))
    with pytest.raises(DataError, match=f"好模型 只完成了 5/{len(ROWS)} 行"):
        score_batch(free_text)


class Knows:
    """A judge for the rows here; `fails`: on questions with 哪."""

    free, key, name, what = False, "knows", "远程裁判", "测试用"
    good = frozenset(row["good"] for row in read_rows(CALIBRATION))
    fails = False

    def prefer(self, asked, first, second):
        if self.fails and "哪" in asked.question:
            raise CourseError("超时")
        return "first" if first in self.good else "second"


def test_a_judge_has_to_be_calibrated_and_is_then_kept_for_the_report(free_text):
    with pytest.raises(JudgeRefused, match="还没有校准"):
        judge_batch(free_text, Knows(), log=quiet)
    calibrate(Knows())
    judge = Knows()
    judge.fails = True
    (judged,) = judge_batch(free_text, judge, log=quiet)
    gaps = judged.verdicts.winners.count(None)
    assert gaps and judged.verdicts.win_rate == 1
    (again,) = judge_batch(free_text, Knows(), log=quiet)  # what failed is asked again
    assert again.verdicts.winners.count(None) == 0
    found = score_batch(free_text, log=quiet)
    assert [j.agreement.judge for j in found.judged] == ["离线裁判（文字特征）", "远程裁判"]
    assert not any("大模型裁判" in text for text in found.missing)
    assert "远程裁判" in read(render(found))


def test_a_question_is_what_was_asked():
    assert question_of({"instruction": "判断", "input": "好书", "output": "x"}) == "判断\n好书"
    assert question_of({"编号": 3, "text": "好书", "prediction": "x"}) == "好书"


# --- the commands ---


def run(*arguments):
    return CliRunner().invoke(cli_evaluation.app, [str(argument) for argument in arguments])


def test_course_report(labelled, tmp_path):
    result = run("report", labelled, "--out", tmp_path / "r.html")
    assert result.exit_code == 0, result.output
    assert "新 比 旧 好" in result.output and (tmp_path / "r.csv").exists()


def test_course_evaluate_on_labels(labelled):
    out = run("evaluate", labelled / "旧.jsonl", "--reference", "output").output
    for part in ("准确率 50.0%", "ECE 0.400", "最有把握的错误", "评论0"):
        assert part in out


def test_course_evaluate_on_text(free_text):
    out = run("evaluate", free_text / "好模型.jsonl", "--reference", "output", "--law").output
    for part in (f"共 {len(ROWS)} 条，空回答 0 条", "ROUGE-L（字）", "法条：", "100.0% 存在并且现行"):
        assert part in out
    assert "准确率" not in out


def test_help_waits_for_nothing_heavy():
    heavy = {"torch", "pandas", "sacrebleu", "jinja2", "matplotlib"}
    import subprocess

    code = "import sys, course_utils.cli_evaluation; print([m for m in sys.modules])"
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout
    assert not heavy & set(re.findall(r"'(\w+)'", loaded))
