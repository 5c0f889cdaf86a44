"""The embedded model itself: it opens, it is the model in the wheel, and the whole demo runs.

The first test that needs it converts it into the learner's cache, half a minute, once.
"""

import csv
import json
import math
import os
import shutil
import subprocess
import sys
import time

import pytest
import torch

from course_utils.data import presets
from course_utils.data.records import Record
from course_utils.inference.choose import choose
from course_utils.inference.generate import generate
from course_utils.models import weights
from course_utils.models.catalogue import card
from course_utils.models.encode import encode, turn_end
from course_utils.models.load import load

EMBEDDED = "gemma-3-270m"


@pytest.fixture(scope="module")
def gemma():
    return load(EMBEDDED)


def test_it_opens_again_without_another_conversion(gemma):
    said = []
    folder = weights.prepare(EMBEDDED, said.append)
    before = (folder / "model.safetensors").stat().st_mtime_ns
    model, _ = load(EMBEDDED, log=said.append)
    assert not said and before == (folder / "model.safetensors").stat().st_mtime_ns
    assert sum(parameter.numel() for parameter in model.parameters()) == card(EMBEDDED).parameters
    assert all(torch.equal(a, b) for a, b in zip(model.parameters(), gemma[0].parameters(), strict=True))


def test_tokens(gemma):
    _, tokenizer = gemma
    # the ids that Google prints for Gemma 3's turns, https://ai.google.dev/gemma/docs
    assert tokenizer.convert_tokens_to_ids(["<pad>", "<eos>", "<bos>", "<start_of_turn>", "<end_of_turn>"]) == [
        0, 1, 2, 105, 106,
    ]  # fmt: skip
    assert turn_end(tokenizer) == 106
    encoded = encode(Record("判断情感", "这本书很好看"), tokenizer)
    assert encoded.input_ids[:4] == [2, 105, 2364, 107]  # <bos><start_of_turn>user\n
    assert encoded.input_ids[-5:] == [107, 105, 4368, 107, 106]  # \n<start_of_turn>model\n and an empty answer
    for text in ("这本书很好看，我很喜欢！", "Hello  world\n\n  猫🐱\t<b>", "　全角　"):
        ids = tokenizer(text).input_ids
        assert ids[0] == 2 and tokenizer.decode(ids[1:]) == text
        assert 3 not in ids  # <unk>
    assert len(tokenizer.encode("这本书很好看", add_special_tokens=False)) <= 4  # words, not characters


def test_it_speaks(gemma):
    model, tokenizer = gemma
    question = Record("The capital of France is")
    (answer,) = generate(model, tokenizer, [question], max_new_tokens=8)
    assert answer and "<" not in answer
    (choice,) = choose(model, tokenizer, [Record("请用一个词回答：法国的首都是哪里？")], ["巴黎", "香蕉皮"])
    assert choice.label == "巴黎"


@pytest.mark.slow
def test_converted_is_what_transformers_reads_from_the_same_file(tmp_path):
    """Two ways from the GGUF file to logits and tokens. Ours rounds the dequantised weights to bf16: hence the KL."""
    from transformers import AutoModelForCausalLM, AutoTokenizer

    with (tmp_path / "m.gguf").open("wb") as whole:
        for chunk in weights.wheel_chunks(card(EMBEDDED).sources[0]):
            whole.write(chunk.read_bytes())
    theirs = AutoTokenizer.from_pretrained(tmp_path, gguf_file="m.gguf")
    ours = AutoTokenizer.from_pretrained(weights.prepare(EMBEDDED))
    lines = [record.input for record in presets.load("sentiment_predict")][::20][:500]
    assert len(lines) == 500
    assert [ours(line).input_ids for line in lines] == [theirs(line).input_ids for line in lines]

    texts = [
        "这本书很好看，我一口气读完了。",
        "The hotel was clean, but 服务态度很差。",
        "1 + 1 = 2\ndef f(x):\n    return x",
    ]
    rows = [ours(text, return_tensors="pt").input_ids for text in texts]
    reference = AutoModelForCausalLM.from_pretrained(tmp_path, gguf_file="m.gguf", dtype=torch.float32).eval()
    with torch.no_grad():
        expected = [reference(ids).logits[0].float().log_softmax(-1) for ids in rows]
    del reference
    model = load(EMBEDDED, "fp32")[0].cpu()
    for ids, wanted in zip(rows, expected, strict=True):
        with torch.no_grad():
            got = model(ids).logits[0].log_softmax(-1)
        divergence = (wanted.exp() * (wanted - got)).sum(-1).mean()
        assert divergence < 0.01
        assert (got.argmax(-1) == wanted.argmax(-1)).float().mean() > 0.9


@pytest.mark.slow
def test_the_whole_demo(own_workspace):
    """`course demo --quick` in a fresh workspace leaves everything that the README promises."""
    command = [sys.executable, "-m", "course_utils.cli", "demo", "--quick"]
    answer = subprocess.run(command, capture_output=True, encoding="utf-8", env={**os.environ, "PYTHONUTF8": "1"})
    assert answer.returncode == 0, answer.stderr
    run = own_workspace / "runs" / "demo-quick"
    assert str(run) in answer.stdout
    with (run / "table.csv").open(encoding="utf-8", newline="") as file:
        table = list(csv.DictReader(file))
    assert list(table[0]) == ["model", "accuracy", "macro_f1", "ci_low", "ci_high", "seconds", "peak_mb"]
    assert [row["model"] for row in table] == ["majority", "tfidf", "base", "tuned"]
    for row in table:
        low, accuracy, high = (float(row[name]) for name in ("ci_low", "accuracy", "ci_high"))
        assert 0 <= low <= accuracy <= high <= 1 and 0 <= float(row["macro_f1"]) <= 1 and float(row["seconds"]) >= 0
    rows = [json.loads(line) for line in (run / "predictions.jsonl").read_text(encoding="utf-8").splitlines()]
    assert len(rows) == 120
    for name in ("majority", "tfidf", "base", "tuned"):
        share = sum(row[name] == row["output"] for row in rows) / len(rows)
        assert share == pytest.approx(float(next(r for r in table if r["model"] == name)["accuracy"]), abs=1e-4)
    assert all(
        row["prediction"] == row["tuned"] and math.isclose(sum(row["scores"].values()), 1, abs_tol=1e-5) for row in rows
    )
    image = (run / "curve.png").read_bytes()
    assert image.startswith(b"\x89PNG\r\n\x1a\n") and image.endswith(b"IEND\xaeB`\x82") and len(image) > 5_000
    assert (run / "adapter" / "adapter_model.safetensors").stat().st_size > 1_000_000
    assert json.loads((run / "adapter" / "adapter_config.json").read_text())["peft_type"] == "LORA"
    assert "gemma-3-270m" in (run / "adapter" / "README.md").read_text(encoding="utf-8")
    losses = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    losses = [line["loss"] for line in losses if "loss" in line]
    assert sum(losses[-3:]) / 3 < losses[0] / 2
    shutil.rmtree(run / "checkpoints")  # 100 MB that pytest would keep


@pytest.mark.slow
@pytest.mark.parametrize("settings", [{}, {"method": "full", "learning_rate": 3e-5}], ids=["lora", "full"])
def test_an_estimate_is_within_30_percent_of_what_happens(settings):
    """Memory and minutes, before anything starts, of a short training that is then run in a process of its own."""
    from course_utils.training import jobs
    from course_utils.training.config import TrainingConfig
    from course_utils.training.estimate import estimate

    data = presets.parts("product_classification")
    data["train"] = data["train"][:480]
    config = TrainingConfig(**settings, evaluations=2, validation_rows=80)
    expected = estimate(config, dict(data))
    job = jobs.submit_training(config, dict(data), "估算")
    while (job := jobs.job(job.number)).state not in jobs.ENDED:
        time.sleep(1)
    from course_utils.training.run import Run

    facts = Run(job.folder).facts
    minutes = (job.ended - job.started) / 60
    print(expected, minutes, facts["peak_mb"])
    assert job.state == jobs.DONE
    assert 0.7 < expected.minutes / minutes < 1.3, (expected.minutes, minutes)
    assert 0.7 < expected.memory_mb / facts["peak_mb"] < 1.3, (expected.memory_mb, facts["peak_mb"])
