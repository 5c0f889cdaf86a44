"""Estimates, notices, histories and comparisons, on a tiny model."""

import math

import pytest

from course_utils.data.records import Record
from course_utils.errors import ConfigError, CourseError, DataError
from course_utils.inference.classify import classify
from course_utils.models.catalogue import catalogue
from course_utils.models.recommend import TIERS, WANTED, Hardware, needed_mb, recommend
from course_utils.plots import compare_curves
from course_utils.training import estimate as estimating
from course_utils.training import history
from course_utils.training.config import TrainingConfig, build_config
from course_utils.training.diagnose import diagnose
from course_utils.training.run import Run
from course_utils.training.train import resume, train


def silent(*_):
    pass


@pytest.fixture
def config(tiny_base):
    return TrainingConfig(
        base_model=str(tiny_base), precision="fp32", epochs=3, batch_size=8, learning_rate=5e-3, evaluations=3
    )


# --- the classification head ---


@pytest.mark.parametrize("method", ["lora", "full"])
def test_a_classification_head_learns_and_a_reloaded_run_answers_the_same(config, tiny_data, method):
    config = config.model_copy(update={"task": "classification", "method": method, "epochs": 10})
    run = train(config, tiny_data, "head", log=silent)
    assert run.facts["labels"] == ["积极", "消极"]
    model, tokenizer = Run(run.folder).load()
    choices = classify(model, tokenizer, tiny_data["test"], 256)
    assert [choice.label for choice in choices] == [record.output for record in tiny_data["test"]]
    assert all(sum(choice.scores.values()) == pytest.approx(1, abs=1e-4) for choice in choices)
    one_by_one = [classify(model, tokenizer, [record], 256)[0].scores["积极"] for record in tiny_data["test"]]
    assert one_by_one == pytest.approx([choice.scores["积极"] for choice in choices], abs=1e-4)  # padding is not seen
    assert run.metrics[-1].get("eval_accuracy", run.facts["best_eval_accuracy"]) == 1


def test_a_head_needs_labels(config, tiny_data):
    config = config.model_copy(update={"task": "classification"})
    free = {part: [Record("问", f"题{i}", f"答案{i}") for i in range(8)] for part in ("train", "validation")}
    with pytest.raises(DataError, match="不像标签"):
        train(config, free, log=silent)
    strange = tiny_data | {"validation": [Record("判断情感", "书好", "中立")]}
    with pytest.raises(DataError, match=r"第 1 行：标签「中立」不在训练集的标签里：积极、消极"):
        train(config, strange, log=silent)
    with pytest.raises(ConfigError, match="没有准确率"):
        train(config.model_copy(update={"task": "generation", "best_by": "metric"}), free, log=silent)


# --- while it trains ---


def test_samples_and_accuracy_are_taken_at_every_evaluation(config, tiny_data):
    run = train(config, tiny_data, log=silent)
    checks = [line["step"] for line in run.metrics if "eval_loss" in line]
    assert [line["step"] for line in run.metrics if "eval_accuracy" in line] == checks
    assert sorted({line["step"] for line in run.samples}) == [0, *checks]
    assert len({line["input"] for line in run.samples}) == 3
    assert {"step", "input", "output", "answer", "ended"} == run.samples[0].keys()


def test_early_stopping_and_the_best_by_accuracy(config, tiny_data):
    settings = {"epochs": 20, "evaluations": 20, "patience": 2, "best_by": "metric"}
    run = train(config.model_copy(update=settings), tiny_data, log=silent)
    scores = [line["eval_accuracy"] for line in run.metrics if "eval_accuracy" in line]
    assert len(scores) < 20 and scores.index(max(scores)) == len(scores) - 3  # two more that were no better
    assert run.facts["best_eval_accuracy"] == max(scores) and run.finished


def test_a_stop_file_stops_after_the_step_and_leaves_usable_weights(config, tiny_data, monkeypatch):
    config = config.model_copy(update={"epochs": 10, "evaluations": 5})

    def stop_at(run, step):
        from course_utils.training.report import Reporter

        original = Reporter.on_step_end

        def on_step_end(self, args, state, control, **kwargs):
            if state.global_step == step:
                self.run.stop_file.touch()
            return original(self, args, state, control, **kwargs)

        monkeypatch.setattr(Reporter, "on_step_end", on_step_end)

    stop_at(None, 13)
    run = train(config, tiny_data, log=silent)
    assert run.facts["stopped"] == 13 and not run.finished and run.checkpoint.name == "checkpoint-13"
    assert run.load()
    monkeypatch.undo()
    monkeypatch.setenv("COURSE_WORKSPACE", str(run.folder.parent.parent))
    whole = resume(run, log=silent)
    assert whole.finished and whole.facts["steps"] == 40 and not whole.facts["stopped"]
    assert [line["step"] for line in whole.metrics if "loss" in line] == list(range(1, 41))


# --- notices ---


def lines(losses, validation=()):
    found = [{"step": i, "loss": loss} for i, loss in enumerate(losses, 1)]
    return found + [{"step": len(losses), "eval_loss": loss} for loss in validation]


@pytest.mark.parametrize(
    "losses, validation, samples, kinds",
    [
        ([3 * 0.95**i for i in range(60)], [2, 1, 0.5], [], []),
        ([2.0] * 40, [], [], ["损失不下降"]),
        ([2.0] * 20, [], [], []),  # too early to say
        ([1.0] * 30 + [4.0] * 10, [], [], ["损失发散"]),
        ([1.0, math.nan], [], [], ["损失发散"]),
        ([3 * 0.9**i for i in range(60)], [0.5, 0.4, 0.6, 0.8], [], ["过拟合"]),
        ([3 * 0.9**i for i in range(60)], [0.5, 0.4, 0.41, 0.39], [], []),
        ([1.0, 0.5], [], [{"step": 9, "output": "积极", "ended": False}] * 3, ["不会停"]),
        ([1.0, 0.5], [], [{"step": 9, "output": "积极", "ended": True}] * 3, []),
        ([1.0, 0.5], [], [{"step": 0, "output": "积极", "ended": False}] * 3, []),  # it has learnt nothing yet
        ([1.0, 0.5], [], [{"step": 9, "output": "很长的答案" * 9, "ended": False}] * 3, []),
    ],
)
def test_notices(losses, validation, samples, kinds):
    assert [notice.kind for notice in diagnose(lines(losses, validation), samples)] == kinds


def test_every_notice_has_its_section_in_the_troubles_page():
    from course_utils.paths import ROOT

    page = (ROOT / "docs" / "training_troubles.md").read_text(encoding="utf-8")
    source = (ROOT / "course_utils" / "training" / "diagnose.py").read_text(encoding="utf-8")
    for kind in ("损失发散", "损失不下降", "过拟合", "不会停"):
        assert f"## {kind}\n" in page and f'"{kind}"' in source


# --- estimates ---


def test_an_estimate_measures_real_steps(config, tiny_data):
    found = estimating.estimate(config.model_copy(update={"epochs": 50}), tiny_data, log=silent)
    assert found.steps == 200 and 0 < found.minutes < 5 and 100 < found.memory_mb < 5000 and found.fits
    assert "放得下" in found.summary()


def test_what_cannot_fit_is_refused_with_the_knob(monkeypatch, tiny_data):
    monkeypatch.setattr(estimating, "memory_mb", lambda: 4000)
    with pytest.raises(ConfigError, match="「基座模型」"):
        estimating.check_fits(TrainingConfig(base_model="qwen3-4b"))
    monkeypatch.setattr(estimating, "memory_mb", lambda: 12000)
    with pytest.raises(ConfigError, match="请把「微调方法」改为 lora"):
        estimating.check_fits(TrainingConfig(base_model="qwen3-1.7b", method="full"))
    estimating.check_fits(TrainingConfig(base_model="qwen3-1.7b"))
    with pytest.raises(CourseError, match="「基座模型」"):
        train(TrainingConfig(base_model="qwen3-4b", precision="fp32"), tiny_data, log=silent)


def test_an_estimate_that_is_killed_names_the_knob(config, tiny_data, monkeypatch):
    class Killed:
        returncode = -9

    monkeypatch.setattr(estimating.subprocess, "run", lambda *_, **__: Killed())
    with pytest.raises(ConfigError, match="「批大小」从 8 改为 4"):
        estimating.estimate(config, tiny_data, log=silent)


@pytest.mark.parametrize(
    "values, message",
    [
        ({"patience": 4}, "永远不会提前停"),
        ({"batch_size": 1024, "max_length": 32768}, "批大小调到 32 以下"),
        ({"task": "翻译"}, "任务类型"),
    ],
)
def test_settings_that_contradict_each_other(values, message):
    with pytest.raises(ConfigError, match=message):
        build_config(values)


# --- which model ---


def test_recommendations_follow_the_handbook_and_the_machine():
    big, small = Hardware(200_000, 64, "GPU"), Hardware(8_000, 2)
    for task, tier in WANTED.items():
        assert recommend(task, "一般", big).model.tier == TIERS[tier]
    assert recommend("情感分析", "要求高", big).model.tier == "大型"
    found = recommend("情感分析", "一般", small)
    assert needed_mb(found.model) < 8_000 and "训练不了中等的" in found.reason
    assert set(found.table["这台机器"]) == {"能训练", "内存不够"} and len(found.table) == len(catalogue())
    with pytest.raises(ConfigError, match="内存连最小的"):
        recommend("对话", "一般", Hardware(1_000, 2))
    with pytest.raises(ConfigError, match="任务：简单生成"):
        recommend("翻译")


# --- runs beside one another ---


def test_only_the_settings_that_differ(config, tiny_data):
    first = train(config, tiny_data, "甲", log=silent)
    second = train(config.model_copy(update={"lora_rank": 2}), tiny_data, "乙", log=silent)
    found = history.differences([first, second])
    assert list(found.index) == ["LoRA 秩"] and found.loc["LoRA 秩"].tolist() == ["8", "2"]
    assert history.differences([first, first]).empty
    assert [run.folder.name for run in history.runs()] == ["乙", "甲"]
    assert history.table()["名字"].tolist() == ["乙", "甲"]
    picture = compare_curves({run.folder.name: run.metrics for run in (first, second)})
    assert len(picture.axes[0].lines) == 4
    with pytest.raises(ConfigError, match="没有叫「丙」的训练。有的是：乙、甲"):
        history.find_run("丙")


def test_methods_are_compared_under_one_protocol(config, tiny_data):
    scored = []

    def score(run, test):
        scored.append(run.folder.name)
        return len(scored) / 10

    methods = {"LoRA": config, "全参": config.model_copy(update={"method": "full", "learning_rate": 1e-3})}
    found = history.compare_methods(methods, tiny_data, score, (1, 2), log=silent)
    assert found["方法"].tolist() == ["LoRA", "全参"]
    assert found["平均"].tolist() == pytest.approx([0.15, 0.35])
    assert found["标准差"].tolist() == pytest.approx([0.0707, 0.0707], abs=1e-3)
    again = history.compare_methods(methods, tiny_data, score, (1, 2), log=silent)
    assert len(history.runs()) == 4 and len(scored) == 4 and again.equals(found)  # nothing was done twice
    with pytest.raises(ConfigError, match="要相同"):
        history.compare_methods({"甲": config, "乙": config.model_copy(update={"epochs": 1})}, tiny_data, score)


def test_a_comparison_as_the_job_runs_it(config, tiny_data, tmp_path, monkeypatch):
    from course_utils.training import jobs

    monkeypatch.setattr(jobs, "submit", lambda kind, folder: folder)
    folder = history.submit_comparison({"LoRA": config}, tiny_data, (1,), "试")
    assert history.run_comparison(folder)
    assert (folder / "table.csv").read_text(encoding="utf-8").splitlines()[1].startswith("LoRA,")
    (folder / "stop").touch()
    assert not history.run_comparison(folder)
