"""How fast the service answers, and whether every answer reaches its asker.

python benchmarks/serving.py RUN [--requests 64]     the embedded model: 16 clients against one-at-a-time generate
python benchmarks/serving.py --crossed [2000]        three services of a tiny model, whose answers tell them apart
"""

import argparse
import asyncio
import os
import random
import statistics
import sys
import tempfile
import threading
import time
from contextlib import contextmanager
from pathlib import Path

from course_utils.data.records import Record
from course_utils.inference.generate import generate
from course_utils.serving import keys
from course_utils.serving.publish import publish
from course_utils.serving.serve import current
from course_utils.training.run import Run

CLIENTS = 16
SAYS = {"a": ("积极", "消极"), "b": ("消极", "积极"), "c": ("书店", "手机")}  # of a good and of a bad review


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("run", type=Path, nargs="?", help="a run's folder")
    parser.add_argument("--requests", type=int, default=64)
    parser.add_argument("--tokens", type=int, default=24, help="of an answer, at most")
    parser.add_argument("--crossed", type=int, nargs="?", const=2000, help="mixed requests over three services")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        run = Run(options.run.resolve()) if options.run else None
        os.environ["COURSE_WORKSPACE"] = folder
        if options.crossed:
            crossed(options.crossed)
        if run:
            throughput(run, options.requests, options.tokens)


def throughput(run: Run, requests: int, tokens: int) -> None:
    """The same rows one at a time by `model.generate`, and by 16 clients over HTTP."""
    records = (run.records("test") * 10)[:requests]
    model, tokenizer = run.load()
    generate(model, tokenizer, records[:2], tokens)  # pages the weights in
    alone = records[: max(8, requests // 4)]
    start = time.perf_counter()
    texts = generate(model, tokenizer, alone, tokens, batch_size=1)
    one = len(alone) / (time.perf_counter() - start)
    del model
    publish(run, "s")
    keys.create_application("benchmark")
    key = keys.create_key("benchmark", ["s"], per_minute=1_000_000)
    with server() as address:
        asyncio.run(clients(address, key, [("s", record.prompt, tokens) for record in records[:CLIENTS]]))
        start = time.perf_counter()
        given, seconds = asyncio.run(clients(address, key, [("s", record.prompt, tokens) for record in records]))
        many = len(records) / (time.perf_counter() - start)
    same = sum(a == b for a, b in zip(texts, given, strict=False))
    print(f"one at a time {one:.2f} requests/s; {CLIENTS} clients {many:.2f} requests/s: {many / one:.1f} times")
    print(f"answers equal to those one at a time: {same} of {len(texts)}; {latency(seconds)}")


def crossed(count: int) -> None:
    """Requests in random order to three services on one base, chat and choose; each answer is known."""
    wanted = tiny_services()
    keys.create_application("benchmark")
    key = keys.create_key("benchmark", list(wanted), per_minute=1_000_000)
    rng = random.Random(0)
    asked = [(rng.choice(list(wanted)), rng.choice(list(wanted["a"])), 8) for _ in range(count)]
    with server() as address:
        start = time.perf_counter()
        given, seconds = asyncio.run(clients(address, key, asked, mixed=True))
        total = time.perf_counter() - start
    wrong = [(a, g) for a, g in zip(asked, given, strict=True) if wanted[a[0]][a[1]] != g]
    logged = len(keys.usages(count + 1))
    print(f"{count} requests over {len(wanted)} services in {total:.1f} s: {len(wrong)} wrong, {logged} in the log")
    print(latency(seconds), *wrong[:3])
    sys.exit(bool(wrong) or logged != count)


async def clients(address: str, key: str, asked: list[tuple[str, str, int]], mixed: bool = False):
    """`(answers, seconds)` of requests `(service, text, max_tokens)`, sent by 16 clients one after another each."""
    import httpx

    answers, seconds = [""] * len(asked), [0.0] * len(asked)
    left = iter(range(len(asked)))

    async def client(http: httpx.AsyncClient) -> None:
        for i in left:
            service, text, tokens = asked[i]
            body = {"model": service, "messages": [{"role": "user", "content": text}]}
            start = time.perf_counter()
            if mixed and i % 3 == 0:
                answers[i] = (await http.post("/v1/choose", json=body)).raise_for_status().json()["label"]
            else:
                body |= {"max_tokens": tokens}
                given = (await http.post("/v1/chat/completions", json=body)).raise_for_status().json()
                answers[i] = given["choices"][0]["message"]["content"]
            seconds[i] = time.perf_counter() - start

    headers = {"Authorization": f"Bearer {key}"}
    async with httpx.AsyncClient(base_url=address, headers=headers, timeout=300) as http:
        await asyncio.gather(*(client(http) for _ in range(CLIENTS)))
    return answers, seconds


def latency(seconds: list[float]) -> str:
    parts = statistics.quantiles(seconds, n=20)
    return f"p50 {parts[9]:.2f} s, p95 {parts[18]:.2f} s"


@contextmanager
def server():
    import socket

    import uvicorn

    from course_utils.serving.app import create_app
    from course_utils.serving.engine import Engine
    from course_utils.serving.guard import Protocol

    engine = Engine(current, log=lambda text: None)
    engine.warm()
    listening = socket.create_server(("127.0.0.1", 0))
    running = uvicorn.Server(uvicorn.Config(create_app(engine), http=Protocol, ws="none", log_level="warning"))
    thread = threading.Thread(target=running.run, kwargs={"sockets": [listening]}, daemon=True)
    thread.start()
    yield f"http://127.0.0.1:{listening.getsockname()[1]}"
    running.should_exit = True
    thread.join()


def tiny_services() -> dict[str, dict[str, str]]:
    """Publish three services on the tests' tiny model; returns service -> text -> what each must answer."""
    sys.path.insert(0, str(Path(__file__).parent.parent / "tests"))
    from conftest import tiny_base as fixture

    from course_utils.training.config import TrainingConfig
    from course_utils.training.train import train

    class Folders:
        def mktemp(self, name: str) -> Path:
            return Path(os.environ["COURSE_WORKSPACE"])

    base = fixture.__wrapped__(Folders())
    things = [f"{'书酒店手机'[i % 5]}{{}}{'很' * (i % 7)}" for i in range(35)]
    wanted = {}
    for name, says in SAYS.items():
        rows = [
            (thing.format(word), label)
            for thing in things
            for word, label in zip(("好喜欢", "差讨厌"), says, strict=True)
        ]
        records = [Record("判断情感", text, label) for text, label in rows]
        config = TrainingConfig(
            base_model=str(base), precision="fp32", epochs=6, batch_size=8, learning_rate=1e-2, evaluations=1
        )
        run = train(config, {"train": records, "validation": records[:8]}, name, log=lambda text: None)
        publish(run, name, lambda text: None)
        model, tokenizer = run.load()
        said = generate(model, tokenizer, records, 8)
        wanted[name] = {text: label for (text, label), answer in zip(rows, said, strict=True) if answer == label}
    shared = set.intersection(*(set(texts) for texts in wanted.values()))  # that all three have learnt
    assert len(shared) > 40, len(shared)
    return {name: {text: texts[text] for text in sorted(shared)} for name, texts in wanted.items()}


if __name__ == "__main__":
    main()
