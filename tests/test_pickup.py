"""What a panel left is taken, what is missing is made, and which of the two is said."""

import pytest

from course_utils import paths, pickup
from course_utils.data.store import DataSet
from course_utils.errors import ConfigError
from course_utils.evaluation.batch import answers, batch_predict
from course_utils.serving.publish import publish
from course_utils.training import jobs
from course_utils.training.config import TrainingConfig
from course_utils.training.train import train


@pytest.fixture
def said():
    return []


@pytest.fixture
def config(tiny_base):
    return TrainingConfig(base_model=str(tiny_base), precision="fp32", batch_size=4, evaluations=1)


@pytest.fixture
def run(config, tiny_data):
    return train(config, tiny_data, "小试", log=lambda text: None)


def test_a_data_set_is_copied_once(said):
    made = pickup.dataset("咨询", "legal_qa", said.append)
    again = pickup.dataset("咨询", "legal_qa", said.append)
    assert made.folder == again.folder and len(made.rows()["all"]) == len(DataSet.open("咨询").rows()["all"]) > 600
    assert "替你做" in said[0] and "第 1 版" in said[1]


def test_the_newest_run_of_the_name_is_taken(run, config, tiny_data, said):
    train(config.model_copy(update={"seed": 7}), tiny_data, "小试-较难", log=lambda text: None)
    newer = train(config.model_copy(update={"seed": 8}), tiny_data, "小试", log=lambda text: None)
    assert newer.folder.name == "小试-2"
    assert pickup.run("小试").folder == pickup.training({"name": "小试"}, said.append).folder == newer.folder
    assert "小试-2" in said[0] and not jobs.jobs()
    with pytest.raises(ConfigError, match="还没有叫「别的」的训练"):
        pickup.run("别的")


def test_a_run_that_did_not_finish_is_refused(run):
    run.note(finished=None)
    facts = run.facts
    facts.pop("finished")
    (run.folder / "run.json").write_text("{}")
    with pytest.raises(ConfigError, match="没有训练完"):
        pickup.run("小试")


def test_a_batch_is_made_once_and_gone_on_with(run, tiny_data, said):
    rows = tiny_data["test"]
    folder = pickup.batch("评估", [run.folder.name], rows, said.append)
    assert folder == paths.workspace() / "batches" / "评估" and "替你做一次" in said[0]
    file = folder / f"{run.folder.name}.jsonl"
    lines = file.read_text(encoding="utf-8").splitlines(keepends=True)
    file.write_text("".join(lines[:3]), encoding="utf-8")  # as after a kill
    assert pickup.batch("评估", log=said.append) == folder
    assert file.read_text(encoding="utf-8").splitlines(keepends=True) == lines
    assert len(answers(folder)[run.folder.name]) == len(rows)


def test_a_batch_of_other_models_is_not_taken(run, config, tiny_data, said):
    other = train(config.model_copy(update={"seed": 9}), tiny_data, "别的", log=lambda text: None)
    first = paths.workspace() / "batches" / "评估"
    batch_predict([other.folder.name], tiny_data["test"], first, log=lambda text: None)
    folder = pickup.batch("评估", [run.folder.name], tiny_data["test"], said.append)
    assert folder.name == "评估-2" and set(answers(folder)) == {run.folder.name}
    with pytest.raises(ConfigError, match="请先运行做它的那一格"):
        pickup.batch("没有做过")


def test_a_run_is_published_once(run, said):
    made = pickup.service("小试", run, said.append)
    again = pickup.service("小试", run, said.append)
    assert (made.number, again.number) == (1, 1) and "替你发布" in said[0] and "第 1 版" in said[-1]
    assert publish(run, "小试", log=lambda text: None).number == 2
    assert pickup.service("小试", run, said.append).number == 2


@pytest.mark.slow
def test_a_training_is_submitted_waited_for_and_its_failure_told(tiny_base, tmp_path, monkeypatch, said):
    monkeypatch.setenv("COURSE_QUEUE", str(tmp_path / "queue"))
    tiny = {"base_model": str(tiny_base), "precision": "fp32", "rows": 32, "evaluations": 1, "validation_rows": 8}
    recipe = tiny | {"name": "后台", "data": "sentiment_predict"}
    submitted = pickup.training(recipe, said.append)
    assert pickup.training(recipe, said.append).folder == submitted.folder  # not twice
    assert pickup.run("后台", said.append).finished and len(jobs.jobs()) == 1
    assert "替你提交" in said[0] and "第 1 号任务" in said[1]
    broken = pickup.training(recipe | {"name": "停下的", "learning_rate": 1e-2, "epochs": 1}, said.append)
    job = next(job for job in jobs.jobs() if job.name == "停下的")
    jobs.stop(job.number)
    with pytest.raises(ConfigError, match="没有训练完"):
        pickup.run("停下的", said.append)
    assert broken.folder.exists()


def test_an_export_and_a_data_set_are_made_once(run, said):
    folder = pickup.export(run, "adapter", said.append)
    made = (folder / "adapter_config.json").stat().st_mtime_ns
    assert pickup.export(run, "adapter", said.append) == folder == paths.workspace() / "exports" / "小试-adapter"
    assert (folder / "adapter_config.json").stat().st_mtime_ns == made and "导出过" in said[-1]
    rows = [{"instruction": "问", "output": "答"}]
    for _ in range(2):
        assert pickup.made("手写", lambda: DataSet.create("手写", {"all": rows}, {}), said.append).version == 1
    assert [row["output"] for row in DataSet.open("手写").all()] == ["答"]
