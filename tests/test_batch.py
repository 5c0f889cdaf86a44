"""Several models over the same rows: what is written, what survives a kill, and that a base is loaded once."""

import json
import os
import subprocess
import sys

import pytest
import yaml

from course_utils.data.records import Record, write_jsonl
from course_utils.errors import ConfigError, CourseError, DataError
from course_utils.evaluation import batch, ledger, models
from course_utils.evaluation.answering import before_after, predict_file
from course_utils.models import remote
from course_utils.training.config import TrainingConfig
from course_utils.training.run import Run
from course_utils.training.train import train

ROWS = [
    {"编号": i, "text": f"{'书酒店手机'[i % 5]}{'好喜欢' if i % 2 else '差讨厌'}{'很' * (i % 7)}"} for i in range(150)
]
OPTIONS = {"mapping": {"text": "input"}, "log": lambda line: None}
CONFIG = {"precision": "fp32", "epochs": 4, "batch_size": 8, "learning_rate": 5e-3, "evaluations": 1}


@pytest.fixture(scope="module")
def trained(tiny_base, tmp_path_factory):
    """Two LoRA runs and a classifier on the same base, in a workspace that all tests here share."""
    home = tmp_path_factory.mktemp("runs")
    before = os.environ.get("COURSE_WORKSPACE")
    os.environ["COURSE_WORKSPACE"] = str(home)
    rows = [Record("判断情感", f"{row['text']}", "积极" if row["编号"] % 2 else "消极") for row in ROWS[:40]]
    data = {"train": rows, "validation": rows[:8]}
    config = TrainingConfig(base_model=str(tiny_base), **CONFIG)
    found = {
        "one": train(config, data, "one", log=lambda line: None),
        "two": train(config.model_copy(update={"seed": 7, "lora_rank": 4}), data, "two", log=lambda line: None),
        "head": train(config.model_copy(update={"task": "classification"}), data, "head", log=lambda line: None),
    }
    if before is None:
        del os.environ["COURSE_WORKSPACE"]
    else:
        os.environ["COURSE_WORKSPACE"] = before
    return {name: str(run.folder) for name, run in found.items()}


def plain(name, rows=ROWS):
    """What this run answers when it is loaded by itself."""
    from course_utils.data.records import to_records
    from course_utils.inference.predict import predict

    run = Run(name)
    records = to_records(rows, {"text": "input"}, {"instruction": "判断情感"}, answers=False)
    return predict(*run.load(), records, ["消极", "积极"], run.config.max_length)


def test_the_same_questions_before_and_after(trained):
    from course_utils.inference.generate import generate
    from course_utils.models.load import load

    run = Run(trained["one"])
    records = [Record("判断情感", "书好喜欢很"), Record("店差讨厌")]
    table = before_after(run, records, 4)
    assert table["问题"].tolist() == ["书好喜欢很", "店差讨厌"]
    assert table["微调前"].tolist() == generate(*load(run.config.base_model), records, 4)
    assert table["微调后"].tolist() == generate(*run.load(), records, 4)


def test_each_model_writes_its_rows_and_a_base_is_loaded_once(trained, tiny_base, tmp_path, monkeypatch):
    import course_utils.models.load as load

    opened, real = [], load.load
    monkeypatch.setattr(load, "load", lambda name, *rest: (opened.append(name), real(name, *rest))[1])
    names = [trained["one"], trained["head"], trained["two"]]
    found = batch.batch_predict(names, ROWS, tmp_path / "out", **OPTIONS)
    assert opened == [str(tiny_base)]  # for both LoRA runs; the classifier is another model
    monkeypatch.undo()
    for name in names:
        assert [{k: row[k] for k in ROWS[0]} for row in found[name]] == ROWS
        alone = plain(name)
        assert [row["prediction"] for row in found[name]] == [row["prediction"] for row in alone]
        for row, other in zip(found[name], alone, strict=True):
            assert row["scores"] == pytest.approx(other["scores"], abs=1e-5)
    table = batch.progress(tmp_path / "out")
    assert batch.progress_line(tmp_path / "out") == "全部完成"
    assert table["已完成"].tolist() == [150] * 3 and table["剩余秒数"].tolist() == [0] * 3
    files = {path.name for path in (tmp_path / "out").iterdir()}
    assert files == {"batch.json", "data.jsonl", "progress.json", "one.jsonl", "two.jsonl", "head.jsonl"}


def test_the_base_is_left_as_it_was(trained, tiny):
    model, _ = tiny
    before = {name: weight.clone() for name, weight in model.state_dict().items()}
    with models.merged(model, Run(trained["one"]).weights):
        changed = [n for n, w in model.state_dict().items() if not w.equal(before[n])]
    assert changed
    after = model.state_dict()
    assert after.keys() == before.keys()
    assert all(weight.equal(before[name]) for name, weight in after.items())


def test_a_stop_is_obeyed_and_nothing_is_done_twice(trained, tmp_path):
    out = tmp_path / "out"
    folder = batch.prepare_batch([trained["one"]], ROWS, out, mapping={"text": "input"})
    (folder / "stop").touch()
    assert batch.run_batch(folder, lambda line: None) is False
    assert ledger.read_lines(folder / "one.jsonl") == []
    (folder / "stop").unlink()
    assert batch.run_batch(folder, lambda line: None) is True
    whole = ledger.read_lines(folder / "one.jsonl")
    # a kill in the middle of the 71st line
    lines = (folder / "one.jsonl").read_bytes().splitlines(keepends=True)
    (folder / "one.jsonl").write_bytes(b"".join(lines[:70]) + lines[70][:25])
    inode = (folder / "one.jsonl").stat().st_ino
    assert len(ledger.read_lines(folder / "one.jsonl")) == 70
    (folder / "progress.json").unlink()
    assert batch.progress_line(folder).endswith("one：70/150 行")
    assert batch.run_batch(folder, lambda line: None) is True
    again = ledger.read_lines(folder / "one.jsonl")
    assert (folder / "one.jsonl").stat().st_ino == inode  # appended to, not written anew
    assert [row["编号"] for row in again] == list(range(150))
    assert [row["prediction"] for row in again] == [row["prediction"] for row in whole]


KILLED = """
import os, sys
from course_utils.evaluation import batch
real = batch.append
def append(path, rows):
    real(path, rows)
    with open(path, "a") as file:
        file.write('{"编号": 64, "te')
    os._exit(9)
batch.append = append
batch.run_batch(sys.argv[1], print)
"""


def test_a_killed_process_is_gone_on_with(trained, tmp_path):
    folder = batch.prepare_batch([trained["one"]], ROWS, tmp_path / "out", mapping={"text": "input"})
    assert subprocess.run([sys.executable, "-c", KILLED, str(folder)]).returncode == 9
    assert len(ledger.read_lines(folder / "one.jsonl")) == models.CHUNK
    batch.run_batch(folder, lambda line: None)
    rows = ledger.read_lines(folder / "one.jsonl")
    assert [row["编号"] for row in rows] == list(range(150))
    assert [row["prediction"] for row in rows] == [row["prediction"] for row in plain(trained["one"])]


def test_answers_that_are_no_labels_are_generated(tiny_base, tmp_path):
    rows = [{"instruction": "请回答", "input": text} for text in ("你好", "他好吗")]
    found = batch.batch_predict([str(tiny_base)], rows, tmp_path, max_new_tokens=4, log=lambda line: None)
    (answers,) = found.values()
    assert all(isinstance(row["prediction"], str) and "scores" not in row for row in answers)


def test_labels_come_from_the_run_the_rows_or_the_caller(trained, tiny_base):
    run, base = models.find_source(trained["one"]), models.find_source(str(tiny_base))
    labelled = [{"instruction": "判断", "output": label} for label in ("好", "坏") * 10]
    assert batch._labels(None, [base, run], labelled) == ["消极", "积极"]
    assert batch._labels(None, [base], labelled) == ["坏", "好"]
    assert batch._labels(None, [base], [{"output": f"答案{i}"} for i in range(20)]) == []
    assert batch._labels(["甲 ", "乙"], [run], labelled) == ["甲", "乙"]
    assert batch._labels([], [run], labelled) == []


@pytest.fixture
def endpoint(monkeypatch):
    """A fake OpenAI client; `replies`: prompt -> text, or an exception."""
    from types import SimpleNamespace

    replies, asked = {}, []

    def create(model, messages, **options):
        asked.append((model, messages, options))
        reply = replies.get(messages[-1]["content"], "好的")
        if isinstance(reply, Exception):
            raise reply
        return SimpleNamespace(choices=[SimpleNamespace(message=SimpleNamespace(content=f" {reply} "))])

    client = SimpleNamespace(chat=SimpleNamespace(completions=SimpleNamespace(create=create)))
    monkeypatch.setattr(remote, "client", lambda *_: client)
    for name, value in {"BASE_URL": "http://x/v1", "API_KEY": "sk", "MODEL": "big"}.items():
        monkeypatch.setenv(f"COURSE_LLM_{name}", value)
    return replies, asked


def test_a_remote_model_answers_in_order_and_a_refusal_is_marked(endpoint, tmp_path):
    import httpx
    import openai

    replies, asked = endpoint
    response = httpx.Response(400, request=httpx.Request("POST", "http://x"))
    replies |= {"问\n一": "答一", "问\n三": openai.BadRequestError("filtered", response=response, body=None)}
    rows = [{"instruction": "问", "input": text} for text in "一二三"]
    found = batch.batch_predict(["remote:big"], rows, tmp_path, log=lambda line: None)["remote:big"]
    assert [row["prediction"] for row in found] == ["答一", "好的", None]
    assert "filtered" in found[2]["error"]
    assert {model for model, _, _ in asked} == {"big"} and asked[0][1] == [{"role": "user", "content": "问\n一"}]
    assert models.find_source("remote:").remote.model == "big"


def test_an_endpoint_that_is_gone_stops_the_batch_and_keeps_the_rows(endpoint, tmp_path):
    import httpx
    import openai

    replies, _ = endpoint
    rows = [{"instruction": f"问{i}"} for i in range(70)]
    replies["问69"] = openai.APIConnectionError(request=httpx.Request("POST", "http://x"))
    with pytest.raises(CourseError, match=r"连不上远程模型「big」.*接着做"):
        batch.batch_predict(["remote:big"], rows, tmp_path, log=lambda line: None)
    assert batch.progress(tmp_path)["已完成"].tolist() == [models.CHUNK]
    replies.clear()
    assert len(batch.batch_predict(["remote:big"], rows, tmp_path, log=lambda line: None)["remote:big"]) == 70


def test_a_registered_model_is_asked_by_its_name_and_told_the_labels(endpoint, tmp_path):
    _, asked = endpoint
    remote.register("同学", "http://y/v1", "大的")
    for name in ("同学", "远程:同学", "remote:同学"):
        assert models.find_source(name).remote == remote.find("同学")
    rows = [{"instruction": "判断", "input": "书", "system": "你是书店"}]
    found = batch.batch_predict(["同学"], rows, tmp_path / "out", ["好的", "坏的"], log=lambda line: None)
    assert found["同学"] == [rows[0] | {"prediction": "好的"}]
    system = {"role": "system", "content": "你是书店\n只回答其中一个，不要别的字：好的、坏的"}
    assert asked == [("大的", [system, {"role": "user", "content": "判断\n书"}], {"max_tokens": 256, "temperature": 0})]
    work = batch.read_work(tmp_path / "out")["models"]["同学"]
    assert work["kind"] == "remote" and models.find_source(work["find"]).remote.base_url == "http://y/v1"
    write_jsonl(rows, tmp_path / "in.jsonl")
    assert predict_file(tmp_path / "in.jsonl", tmp_path / "file.jsonl", "同学", {}) == 1
    assert ledger.read_lines(tmp_path / "file.jsonl") == [rows[0] | {"prediction": "好的"}]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"models": ["没有这个"]}, "没有叫「没有这个」的模型"),
        ({"models": []}, "至少一个模型"),
        ({"mapping": {"标题": "input"}}, "没有「标题」这一列"),
        ({"engine": "spark"}, "没有叫「spark」的引擎"),
        ({"rows": []}, "没有要预测的数据"),
    ],
)
def test_what_cannot_be_done_fails_at_once(tiny_base, tmp_path, change, message):
    given = {"models": [str(tiny_base)], "rows": ROWS, "out": tmp_path, "mapping": {"text": "input"}} | change
    with pytest.raises((ConfigError, DataError), match=message):
        batch.prepare_batch(**given)
    assert not (tmp_path / "batch.json").exists()


def test_a_folder_with_other_work_is_refused(tiny_base, tmp_path):
    given = {"models": [str(tiny_base)], "out": tmp_path, "mapping": {"text": "input"}}
    batch.prepare_batch(rows=ROWS, **given)
    batch.prepare_batch(rows=ROWS, **given)
    with pytest.raises(ConfigError, match="另一次批量预测：数据不同"):
        batch.prepare_batch(rows=ROWS[:9], **given)
    with pytest.raises(ConfigError, match="标签或长度不同"):
        batch.prepare_batch(rows=ROWS, labels=["好", "坏"], **given)
    assert len(ledger.read_lines(tmp_path / "data.jsonl")) == 150
    with pytest.raises(ConfigError, match=r"没有 batch\.json"):
        batch.progress(tmp_path / "..")


def test_models_of_one_name_have_files_of_their_own():
    files = batch._file_names(["a/run", "b/run", "data", "remote:x/y"])
    assert len(set(files.values())) == 4
    assert files["data"] != "data.jsonl"


@pytest.mark.slow
def test_ray_gives_the_same(trained, tmp_path):
    pytest.importorskip("ray")
    local = batch.batch_predict([trained["one"]], ROWS, tmp_path / "local", **OPTIONS)
    ray = batch.batch_predict([trained["one"]], ROWS, tmp_path / "ray", engine="ray", **OPTIONS)
    (a,), (b,) = local.values(), ray.values()
    assert [(row["编号"], row["prediction"]) for row in a] == [(row["编号"], row["prediction"]) for row in b]


def test_command_line(trained, tmp_path, monkeypatch, capsys):
    from typer.testing import CliRunner

    from course_utils import cli_evaluation

    data = tmp_path / "data.jsonl"
    write_jsonl(ROWS[:20], data)
    command = ["batch", "--model", trained["one"], "--model", trained["two"], "--data", str(data)]
    command += ["--map", "text=input", "--out", str(tmp_path / "out")]
    result = CliRunner().invoke(cli_evaluation.app, command)
    assert result.exit_code == 0, result.output
    assert {"one.jsonl", "two.jsonl"} <= {path.name for path in (tmp_path / "out").iterdir()}
    assert "one" in result.output


def test_settings_name_the_work(tiny_base, tmp_path):
    batch.prepare_batch([str(tiny_base)], ROWS, tmp_path, mapping={"text": "input"})
    work = json.loads((tmp_path / "batch.json").read_text(encoding="utf-8"))
    assert work["rows"] == 150 and len(work["sha256"]) == 64 and yaml.safe_dump(work)
