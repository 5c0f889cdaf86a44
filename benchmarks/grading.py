"""How long a class takes to grade: `python benchmarks/grading.py [--students 200] [--workers 2]`, without a rerun.

With `--zip FILE --key FILE`: how far a real submission's answers are reproduced, by its adapter in two precisions, and
by what did not write them.

Makes synthetic submissions of the size of real ones (an adapter of rank 8 on all linear layers of the embedded model in fp32, 450 rows
of data, 20 answers, four free answers), a tenth of them unreadable, in a temporary folder, and grades them from nothing, then again.
"""

import argparse
import platform
import random
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
from rapidfuzz.distance import Levenshtein
from safetensors.numpy import save

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "tests"))
import grading_samples as samples

from course_utils.data import presets
from course_utils.data.records import Record, to_records
from course_utils.grading import rerun
from course_utils.grading import submission as s
from course_utils.grading.given import given_questions, without_given
from course_utils.grading.key import make_key, read_key
from course_utils.grading.marking import mark_class
from course_utils.grading.measure import ROUGE, likeness
from course_utils.grading.pack import as_json
from course_utils.inference.predict import predictions
from course_utils.models.load import load

HIDDEN, MIDDLE, QUERY, KEYS, LAYERS, RANK = 640, 2048, 1024, 256, 18, 8
SHAPES = {
    "self_attn.q_proj": (HIDDEN, QUERY), "self_attn.k_proj": (HIDDEN, KEYS), "self_attn.v_proj": (HIDDEN, KEYS),
    "self_attn.o_proj": (QUERY, HIDDEN), "mlp.gate_proj": (HIDDEN, MIDDLE), "mlp.up_proj": (HIDDEN, MIDDLE),
    "mlp.down_proj": (MIDDLE, HIDDEN),
}  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--students", type=int, default=200)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--zip", type=Path)
    parser.add_argument("--key", type=Path)
    options = parser.parse_args()
    if options.zip:
        return reproduce(options.zip, options.key)
    with tempfile.TemporaryDirectory() as place:
        home = Path(place)
        key = make_key(home / "key")
        roster = make_class(home / "class", options.students)
        size = sum(path.stat().st_size for path in (home / "class").iterdir()) / 1e6
        print(
            f"{options.students} submissions, {size:.0f} MB; {platform.processor() or platform.machine()}, {options.workers} workers"
        )
        for title in ("first", "again"):
            start = time.perf_counter()
            made = mark_class(home / "class", key, home / "out", roster, workers=options.workers)
            seconds = time.perf_counter() - start
            states = {
                status: sum(line.status == status for line in made.lines) for status in ("已评", "无法读取", "未提交")
            }
            print(
                f"{title}: {seconds:.1f} s, {1000 * seconds / options.students:.0f} ms each; {states}; {len(made.pairs)} pairs alike"
            )


def reproduce(path: Path, key_file: Path) -> None:
    """Mean and lowest edit similarity with the answers handed in, over all given questions."""
    key, read = read_key(key_file), s.read_submission(path.read_bytes())
    said = [read.predictions.answers[gold.id] for gold in key.given]
    asked = [Record(key.instruction, gold.question) for gold in key.given]
    base = read.manifest.base_model

    def show(title: str, texts: list[str]) -> None:
        like = [Levenshtein.normalized_similarity(a, b.strip()) for a, b in zip(texts, said, strict=True)]
        scored = likeness({gold.id: text for gold, text in zip(key.given, texts, strict=True)}, key.given)
        print(f"{title}: mean {np.mean(like):.2f}, lowest {min(like):.2f}; {ROUGE} {scored.value:.3f}")

    def answer(model, tokenizer) -> list[str]:
        given = read.predictions
        return [
            row["prediction"]
            for row in predictions(model, tokenizer, asked, None, given.max_length, given.max_new_tokens)
        ]

    with tempfile.TemporaryDirectory() as folder:
        start = time.perf_counter()
        again = rerun.rerun(read, key, Path(folder))
        print(
            f"rerun: {time.perf_counter() - start:.0f} s with the base's loss; {again.loss:.3f} against {again.base_loss:.3f}"
        )
    for dtype in ("bf16", "fp32"):
        show(f"the adapter in {dtype}", answer(*rerun._load(read.adapter, base, print, dtype)))
    show("the base", answer(*load(base)))
    show("its answer to the next question", [*said[1:], said[0]])


def make_class(folder: Path, n: int) -> Path:
    """Write the zips; returns the class list, which has one more student than there are zips."""
    folder.mkdir()
    public = [row for row in presets.rows("legal_qa")]
    rows = [vars(record) for record in to_records(without_given(public))]
    for i in range(n):
        rng = random.Random(i)
        content = samples.good(
            f"2026{i:04}", f"学生{i}", seed=i, answers=answers(rng, public), **parts(i, rng, rows, public)
        )
        if i % 10 == 9:
            content = content[: len(content) // 2]
        (folder / f"2026{i:04}-学生.zip").write_bytes(content)
    roster = folder.parent / "roster.csv"
    roster.write_text("学号,姓名\n" + "".join(f"2026{i:04},学生{i}\n" for i in range(n + 1)), encoding="utf-8")
    return roster


def parts(i: int, rng: random.Random, rows: list[dict], public: list[dict]) -> dict[str, bytes]:
    weights = save(weights_of(i))
    given = {"adapter": samples.digest(weights), "max_new_tokens": 160, "max_length": 512}
    given["answers"] = {question.id: rng.choice(public)["output"] for question in given_questions()}
    chosen = rng.sample(rows, 450)
    return {
        s.WEIGHTS: weights,
        s.SETTINGS: as_json(samples.settings(r=RANK, target_modules=sorted(name.split(".")[1] for name in SHAPES))),
        s.PREDICTIONS: as_json(given),
        s.TRAIN: samples.lines([*chosen[50:], *samples.own_rows(i, 50)]),
        s.VALIDATION: samples.lines(chosen[:50]),
    }


def weights_of(seed: int) -> dict[str, np.ndarray]:
    rng, found = np.random.default_rng(seed), {}
    for layer in range(LAYERS):
        for module, (width, out) in SHAPES.items():
            name = f"base_model.model.model.layers.{layer}.{module}"
            found[f"{name}.lora_A.weight"] = rng.standard_normal((RANK, width), dtype=np.float32)
            found[f"{name}.lora_B.weight"] = rng.standard_normal((out, RANK), dtype=np.float32)
    return found


def answers(rng: random.Random, public: list[dict]) -> dict[str, str]:
    return {f"05-{number}": rng.choice(public)["output"] + rng.choice(public)["input"] for number in range(1, 5)}


if __name__ == "__main__":
    main()
