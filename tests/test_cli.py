"""The commands as a learner types them: what they leave behind, and one line for every mistake."""

import csv
import json
import subprocess
import sys

import pytest
import yaml

from course_utils import cli

LABELS = "积极,消极"


def write_csv(path, rows):
    with path.open("w", encoding="utf-8-sig", newline="") as file:
        writer = csv.DictWriter(file, rows[0])
        writer.writeheader()
        writer.writerows(rows)
    return path


def reviews(n, offset=0):
    return [
        {"编号": i, "text": f"{'书酒店手机'[i % 5]}{word}{'很' * (i % 7)}", "label": label}
        for i in range(offset, offset + n)
        for word, label in (("好喜欢", "积极"), ("差讨厌", "消极"))
    ]


@pytest.fixture
def recipe(tiny_base, tmp_path):
    """A configuration beside its data; the tiny model learns these reviews."""
    write_csv(tmp_path / "评论.csv", reviews(30))
    values = {
        "name": "cli",
        "data": "评论.csv",
        "map": {"text": "input", "label": "output"},
        "constants": {"instruction": "判断情感"},
        "shares": [0.6, 0.2, 0.2],
        "stratify": True,
        "base_model": str(tiny_base),
        "precision": "fp32",
        "epochs": 10,
        "batch_size": 8,
        "learning_rate": 5e-3,
    }

    def write(**changes):
        path = tmp_path / "recipe.yaml"
        kept = {key: value for key, value in (values | changes).items() if value is not None}
        path.write_text(yaml.safe_dump(kept, allow_unicode=True), encoding="utf-8")
        return path

    return write


@pytest.fixture
def course(monkeypatch, capsys):
    """`course(*words)` runs the command in this process and returns `(status, stdout, stderr)`."""

    def run(*words):
        monkeypatch.setattr(sys, "argv", ["course", *map(str, words)])
        with pytest.raises(SystemExit) as ended:
            cli.main()
        out, err = capsys.readouterr()
        return ended.value.code or 0, out, err

    return run


def fails(answer, *parts):
    """One Chinese line on stderr with all `parts`, exit status 1."""
    status, out, err = answer
    assert status == 1, err
    assert len(err.splitlines()) == 1 and "Traceback" not in err, err
    assert all(part in err for part in parts), err
    assert any("一" <= character <= "鿿" for character in err) and not out


def test_train_predict_evaluate(recipe, course, tmp_path, own_workspace):
    status, out, err = course("train", recipe())
    assert status == 0 and f"训练完成：{own_workspace / 'runs' / 'cli'}" in out, err
    run = own_workspace / "runs" / "cli"
    counts = {p: len((run / "data" / f"{p}.jsonl").read_text().splitlines()) for p in ("train", "validation", "test")}
    assert sum(counts.values()) == 60 and counts["train"] in (35, 36, 37)
    assert (run / "adapter" / "adapter_model.safetensors").exists()

    new, answers = write_csv(tmp_path / "new.csv", reviews(6, offset=40)), tmp_path / "out.jsonl"
    predict = ["predict", "--run", run, "--data", new, "--out", answers, "--map", "text=input"]
    for labels in (LABELS, LABELS.replace(",", "，")):
        status, out, err = course(*predict, "--labels", labels)
        assert status == 0 and f"12 条答案已写到 {answers}" in out, err
        rows = [json.loads(line) for line in answers.read_text(encoding="utf-8").splitlines()]
        assert [list(row) for row in rows] == [["编号", "text", "label", "prediction", "scores"]] * 12
        assert all(row["prediction"] == row["label"] for row in rows)

    status, out, err = course("evaluate", answers, "--reference", "label")
    assert status == 0 and "准确率 100.0%" in out and "共 12 条" in out, err
    for row in rows[:6]:
        row["prediction"] = "消极"
    answers.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    assert "准确率 75.0%" in course("evaluate", answers, "--reference", "label")[1]

    # the same again without labels, and by the base model, which has learnt nothing
    assert course(*predict)[0] == 0
    assert [json.loads(line)["prediction"] for line in answers.open(encoding="utf-8")] == [
        row["label"] for row in reviews(6, offset=40)
    ]
    base = yaml.safe_load((run / "config.yaml").read_text(encoding="utf-8"))["base_model"]
    assert course("predict", "--model", base, *predict[3:], "--labels", LABELS)[0] == 0

    status, out, _ = course("train", "--resume", run)
    assert status == 0 and "已经训练完了" in out


def test_the_data_of_a_recipe(recipe):
    """`constants`, one file per part, and the bound on training rows."""
    from course_utils.data.records import Record
    from course_utils.training.recipe import read_recipe

    _, data, name = read_recipe(recipe(rows=7, name="七行", seed=3))
    assert name == "七行" and len(data["train"]) == 7 and len(data["validation"]) == 12
    assert {record.instruction for record in data["train"]} == {"判断情感"}
    files = {"train": "评论.csv", "validation": "评论.csv"}
    config, data, _ = read_recipe(recipe(data=files, shares=None))
    assert {part: len(rows) for part, rows in data.items()} == {"train": 60, "validation": 60}
    assert data["train"][1] == Record("判断情感", "书差讨厌", "消极") and config.epochs == 10


@pytest.mark.parametrize(
    "changes, parts",
    [
        ({"data": None}, ["没有说用什么数据", "data: sentiment_predict"]),
        ({"data": "没有.csv"}, ["没有.csv", "sentiment_predict", "找不到这个文件"]),
        ({"data": {"train": "评论.csv"}}, ["要有 train 和 validation"]),
        ({"data": {"train": "评论.csv", "validation": "无.csv"}}, ["找不到文件", "无.csv"]),
        ({"data": 3}, ["data", "是 3"]),
        ({"epoch": 3}, ["没有叫「epoch」的设置", "epochs", "constants"]),
        ({"learning_rate": 1}, ["「学习率」（learning_rate）是 1，不能大于 0.01"]),
        ({"shares": [0.5, 0.2, 0.2]}, ["加起来等于 1"]),
        ({"shares": [0.5, 0.5]}, ["「shares」"]),
        ({"map": {"text": "输入"}}, ["没有叫「输入」的字段"]),
        ({"map": {"text": "input"}}, ["第 1 行缺少答案"]),
        ({"name": "a/b"}, ["name", "a/b"]),
        ({"base_model": "gpt-9"}, ["没有叫「gpt-9」的基座模型", "gemma-3-270m"]),
        ({"rows": 0}, ["rows", "不能小于 1"]),
    ],
)
def test_mistakes_in_a_configuration(recipe, course, changes, parts):
    fails(course("train", recipe(**changes)), *parts)


@pytest.mark.parametrize(
    "content, parts",
    [
        ("data: a\n  b: [1", ["不是正确的 YAML", "第 2 行附近"]),
        ("data: a\n1: 2", ["没有叫「1」的设置"]),
        ("- data", ["名字: 值"]),
        ("", ["名字: 值"]),
    ],
)
def test_mistakes_in_the_yaml(course, tmp_path, content, parts):
    (tmp_path / "bad.yaml").write_text(content, encoding="utf-8")
    fails(course("train", tmp_path / "bad.yaml"), *parts)


def test_mistakes_in_the_words_of_a_command(course, tmp_path, tiny_base):
    data = write_csv(tmp_path / "data.csv", reviews(2))
    out = tmp_path / "out.jsonl"
    predict = ["predict", "--data", data, "--out", out]
    fails(course("train"), "二者选一", "--resume")
    fails(course("train", data, "--resume", tmp_path), "二者选一")
    fails(course("train", tmp_path / "无.yaml"), "找不到配置文件", "无.yaml")
    fails(course("train", "--resume", tmp_path), f"{tmp_path} 不是一次训练的文件夹", "workspace/runs/")
    fails(course("train", "--resume", tmp_path / "无"), "不是一次训练的文件夹")
    fails(course(*predict), "二者选一")
    fails(course(*predict, "--run", tmp_path, "--model", tiny_base), "二者选一", "--run", "--model")
    fails(course(*predict, "--run", tmp_path), "不是一次训练的文件夹")
    fails(course(*predict, "--model", "gpt-9", "--map", "text=input"), "没有叫「gpt-9」的模型")
    for pair in ("text", "text=", "=input", "text:input"):
        fails(course(*predict, "--model", tiny_base, "--map", pair), "列=字段", "--map text=input")
    fails(course(*predict, "--model", tiny_base, "--map", "评论=input"), "data.csv", "「评论」", "label、text、编号")
    fails(course(*predict, "--model", tiny_base, "--map", "text=inputs"), "没有叫「inputs」的字段")
    fails(course(*predict, "--model", tiny_base), "第 1 行没有问题", "编号、text、label")
    fails(course("predict", "--data", tmp_path / "无.csv", *predict[3:], "--model", tiny_base), "找不到文件")
    fails(course("predict", "--data", data, "--out", data / "out.jsonl", "--model", tiny_base), f"读写不了 {data}")
    fails(course("train", tmp_path), f"读写不了 {tmp_path}")
    assert not out.exists()

    answers = tmp_path / "answers.jsonl"
    answers.write_text('{"text": "好", "prediction": "积极"}\n', encoding="utf-8")
    fails(course("evaluate", answers, "--reference", "label"), "第 1 行没有「label」字段", "text、prediction")
    fails(course("evaluate", data, "--reference", "label"), "没有「prediction」字段")
    fails(course("evaluate", tmp_path / "无.jsonl", "--reference", "label"), "找不到文件")


def test_labels_that_are_no_choice(course, tmp_path, tiny_base):
    data = write_csv(tmp_path / "data.csv", reviews(1))
    command = ["predict", "--data", data, "--out", tmp_path / "o.jsonl", "--model", tiny_base, "--map", "text=input"]
    for labels in ("积极", "积极,积极", "积极,,消极"):
        fails(course(*command, "--labels", labels), "标签要至少两个")
    assert not (tmp_path / "o.jsonl").exists()


def test_the_program_itself(tmp_path):
    """The whole program in a process of its own, with a console that has no Chinese."""
    answer = subprocess.run(
        [sys.executable, "-m", "course_utils.cli", "train", "--resume", tmp_path],
        capture_output=True,
        env={**__import__("os").environ, "PYTHONIOENCODING": "ascii"},
    )
    assert answer.returncode == 1 and not answer.stdout
    assert len(answer.stderr.splitlines()) == 1 and b"config.yaml" in answer.stderr


def test_help_waits_for_nothing_heavy():
    heavy = ("torch", "transformers", "pandas", "numpy", "sklearn", "datasets", "matplotlib", "peft")
    code = f"import sys, course_utils.cli; print([name for name in {heavy} if name in sys.modules])"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout == "[]\n"


def test_help_lists_the_commands(course):
    status, out, _ = course("--help")
    assert status == 0
    assert all(f"\n  {name} " in out for name in ("check", "lab", "test", "demo", "train", "predict", "evaluate"))
