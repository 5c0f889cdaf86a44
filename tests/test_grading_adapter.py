"""From a training to a zip to a grade, with a tiny base of the catalogue: the adapter itself answers again."""

import json
import shutil
import zipfile

import nbformat
import pytest

from course_utils import paths
from course_utils.errors import ConfigError, DataError
from course_utils.grading import bundle, marking, progress
from course_utils.grading import rerun as again
from course_utils.grading.grade import grade, grade_file
from course_utils.grading.key import make_key, read_key
from course_utils.grading.rerun import Rerun, rerun
from course_utils.grading.submission import LEGAL, PREDICTIONS, WEIGHTS, read_submission
from course_utils.models.catalogue import BaseModelCard, catalogue
from course_utils.models.weights import MANIFEST, sha256
from course_utils.notebooks import WRITE_ANSWER
from course_utils.training.config import TrainingConfig
from course_utils.training.run import Run
from course_utils.training.train import train

CARD = BaseModelCard(
    name="tiny", title="小", tier="轻量", parameters=1, layers=2, hidden=32, intermediate=64, context=512, licence="-",
    licence_url="-", good_for="-", sources=[],
)  # fmt: skip
TOKENS = 6


@pytest.fixture
def tiny_in_catalogue(tiny_base, tmp_path, monkeypatch):
    monkeypatch.setenv("COURSE_CACHE", str(tmp_path / "cache"))
    folder = tmp_path / "cache" / "models" / "tiny"
    shutil.copytree(tiny_base, folder)
    (folder / MANIFEST).write_text(json.dumps({file.name: sha256(file) for file in folder.glob("*.safetensors")}))
    monkeypatch.setitem(catalogue(), "tiny", CARD)


@pytest.fixture
def run(tiny_in_catalogue, tiny_data):
    config = TrainingConfig(base_model="tiny", learning_rate=0.01, epochs=2, lora_rank=4, max_length=480, evaluations=1)
    return train(config, tiny_data, "法律助手", lambda text: None)


@pytest.fixture
def notebook(tmp_path):
    """The learner's notebook of chapter 5, one of two questions answered."""
    cells = [nbformat.v4.new_markdown_cell("# 第 5 章"), nbformat.v4.new_code_cell("1 + 1")]
    for number, text in ((1, "不能上线。"), (2, WRITE_ANSWER)):
        cells.append(nbformat.v4.new_markdown_cell(text, metadata={"tags": [f"answer:05-{number}"]}))
    path = tmp_path / "05_mine.ipynb"
    nbformat.write(nbformat.v4.new_notebook(cells=cells), path)
    return path


@pytest.fixture
def key(tmp_path):
    return read_key(make_key(tmp_path / "key", n=8))


def test_the_preflight_names_everything_and_the_zip_is_what_the_grader_reads(run, notebook, key):
    before = bundle.preflight(notebook, "法律助手")
    assert not before.ok
    assert {(f.severity, f.part) for f in before.findings} >= {
        ("必须改", "给定题目"),
        ("建议改", "问答题"),
        ("建议改", "学生"),
    }
    assert all(f.fix for f in before.findings) and "必须改" in before._repr_html_()
    with pytest.raises(DataError, match='请运行 answer_given\\("法律助手"\\)'):
        bundle.submit(notebook, "法律助手")
    assert not (paths.workspace() / "submissions").exists()

    progress.record("05-2", ["甲", "乙", "丙"], True)
    answers = bundle.answer_given("法律助手", TOKENS, lambda text: None)
    told = []
    assert bundle.answer_given(run, TOKENS, told.append) == answers and "之前答过了" in told[0]
    found = bundle.preflight(notebook, run, student_id=20260101, student_name="张三")
    assert found.ok and "问答题 05-2 没有写" in found.table()["问题"].to_string()
    path = bundle.submit(notebook, run, student_id=20260101, student_name="张三")
    assert path == paths.workspace() / "submissions" / "20260101-张三-05.zip" and not list(
        path.parent.glob("*.partial")
    )

    read = read_submission(path.read_bytes())
    assert zipfile.ZipFile(path).testzip() is None
    assert read.doubts == [] and read.manifest.base_model == "tiny" and read.predictions.answers == answers
    assert read.answers == {"05-1": "不能上线。"} and [claim.exercise for claim in read.claims] == ["05-2"]
    assert str(paths.workspace()) not in path.read_bytes().decode("latin-1")
    result = grade(read, key)
    assert result.measured["exercises"].value == 0 and result.measured["leakage"].value == 1.0
    assert any("重新计算不对" in doubt for doubt in result.doubts)


def test_what_cannot_be_handed_in_is_said_before_anything_is_written(tiny_in_catalogue, tiny_data, notebook):
    def problem(**kwargs) -> str:
        found = bundle.preflight(notebook, **kwargs)
        assert not found.ok
        return "".join(f.what for f in found.findings if f.severity == "必须改")

    assert "没有给训练" in problem()
    assert "没有叫「没有的」的训练" in problem(run="没有的")
    full = TrainingConfig(base_model="tiny", method="full", max_length=64)
    assert "全参微调" in problem(run=Run.create(full, tiny_data, "全参"))
    unfinished = TrainingConfig(base_model="tiny", max_length=64)
    assert "还没有训练完" in problem(run=Run.create(unfinished, tiny_data, "没完"))
    with pytest.raises(ConfigError, match="找不到笔记本"):
        bundle.preflight("77")


def zipped(run, notebook, **changes) -> bytes:
    """A submission of `run`, some of its files' content changed by functions, its manifest true."""
    from course_utils.grading.pack import make_zip, run_files, sealed

    bundle.answer_given(run, TOKENS, lambda text: None)
    files = run_files(run)
    for name, change in changes.items():
        files[name] = change(files[name])
    return make_zip(sealed(files, LEGAL, "1", "张三", "tiny", "2026"))


def test_the_adapter_answers_again(run, notebook, key, tmp_path):
    read = read_submission(zipped(run, notebook))
    found = rerun(read, key, tmp_path, lambda text: None)
    assert found.failed is None and len(found.hidden) == 8
    assert set(found.again.values()) == {1.0} and len(found.again) == again.CHECKED and not found.doubts()
    measured = found.measured(key, read.predictions.answers)
    assert measured["loss"].value == pytest.approx(1 - found.loss / found.base_loss)
    model, tokenizer = run.load()
    assert found.loss == pytest.approx(again.mean_loss(model, tokenizer, key), rel=1e-4)
    assert 0 <= measured["hidden"].value <= 1
    before = (tmp_path / f"rerun-{read.sha256}.json").stat().st_mtime_ns
    assert rerun(read, key, tmp_path, lambda text: None) == found
    assert (tmp_path / f"rerun-{read.sha256}.json").stat().st_mtime_ns == before


def forged(content: bytes) -> bytes:
    """Better answers than the adapter gives."""
    given = json.loads(content)
    given["answers"] = dict.fromkeys(given["answers"], "依据《民法典》第五百七十七条，应当承担违约责任，先留好证据。")
    return json.dumps(given).encode()


def test_predictions_that_the_adapter_does_not_give_are_flagged(run, notebook, key, tmp_path):
    read = read_submission(zipped(run, notebook, **{PREDICTIONS: forged}))
    (doubt,) = rerun(read, key, tmp_path, lambda text: None).doubts()
    assert "不是这个适配器写得出来的" in doubt


def test_an_adapter_that_the_base_does_not_take_is_a_zero_and_a_missing_base_is_none(
    run, notebook, key, tmp_path, monkeypatch
):
    from safetensors.numpy import load, save

    def widened(content: bytes) -> bytes:  # k and v alike: only the base itself can tell
        tensors = load(content)
        for name, array in tensors.items():
            if ("k_proj" in name or "v_proj" in name) and "lora_B" in name:
                tensors[name] = array.repeat(2, axis=0)
        return save(tensors)

    found = rerun(read_submission(zipped(run, notebook, **{WEIGHTS: widened})), key, tmp_path, lambda text: None)
    assert "装不到基座 tiny 上" in found.failed
    assert {m.value for m in found.measured(key, {}).values()} == {0.0}
    read, told = read_submission(zipped(run, notebook)), []
    monkeypatch.setenv("COURSE_CACHE", str(tmp_path / "empty"))
    assert rerun(read, key, tmp_path / "other", told.append) is None and "没有重算" in told[0]


def test_a_class_with_rerun(run, notebook, tmp_path, monkeypatch):
    def in_this_process(folder, found, key, state, workers):  # others do not know the tiny base
        state.mkdir(parents=True, exist_ok=True)
        return [grade_file(folder / one.path, key) for one in found]

    monkeypatch.setattr(marking, "grade_all", in_this_process)
    key = make_key(tmp_path / "teacher", n=8)
    (tmp_path / "class").mkdir()
    (tmp_path / "class" / "20260101-张三.zip").write_bytes(zipped(run, notebook))
    (tmp_path / "class" / "20260102-李四.zip").write_bytes(zipped(run, notebook, **{PREDICTIONS: forged}))
    made = marking.mark_class(tmp_path / "class", key, tmp_path / "out", with_rerun=True, log=lambda text: None)
    parts = [{scored.part.name: scored for scored in line.parts} for line in made.lines]
    assert all(part["loss"].got is not None and part["hidden"].got is not None for part in parts)
    assert parts[0]["loss"].why == parts[1]["loss"].why and "每个答案 token 的损失" in parts[0]["loss"].why
    assert not any("写得出来" in note for note in made.lines[0].notes)
    assert any("写得出来" in note for note in made.lines[1].notes)
    pages = "".join(path.read_text(encoding="utf-8") for path in (tmp_path / "out").rglob("*.html"))
    assert not any(gold.question[:30] in pages for gold in read_key(key).hidden)
    without = marking.mark_class(tmp_path / "class", key, tmp_path / "out", log=lambda text: None)
    loss = next(scored for scored in without.lines[0].parts if scored.part.name == "loss")
    assert loss.got is None and "--rerun" in loss.why


def test_reproduction_is_told_by_the_mean():
    close = Rerun(base="b", again={"g01": 0.5, "g02": 0.3})
    assert not close.doubts() and Rerun(base="b", again={"g01": 0.4, "g02": 0.2}).doubts()
