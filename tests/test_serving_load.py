"""The service under load, killed, and stopped, as processes of their own."""

import os
import signal
import subprocess
import sys
import threading
import time
from contextlib import contextmanager, suppress

import httpx
import openai
import pytest

from course_utils import paths
from course_utils.serving import keys, services, talk
from course_utils.serving.publish import publish
from course_utils.training.config import TrainingConfig
from course_utils.training.train import train

pytestmark = pytest.mark.slow
START = "from course_utils.serving.serve import serve; serve(port=0)"


@pytest.fixture
def run(tiny_base, tiny_data):
    config = TrainingConfig(
        base_model=str(tiny_base), precision="fp32", epochs=4, batch_size=8, learning_rate=1e-2, evaluations=1
    )
    return train(config, tiny_data, "情感")


@contextmanager
def process():
    """A server process, and its address once it says that it is ready."""
    environment = os.environ | {"PYTHONUTF8": "1", "PYTHONUNBUFFERED": "1", "OMP_NUM_THREADS": "1"}
    server = subprocess.Popen([sys.executable, "-c", START], stdout=subprocess.PIPE, text=True, env=environment)
    try:
        for line in server.stdout:
            if line.startswith("地址 "):
                break
        yield server, line.split()[1]
    finally:
        server.kill()
        server.wait()


def key_for(name="情感", **limits):
    if not keys.applications():
        keys.create_application("应用")
    return keys.create_key("应用", [name], per_minute=100_000, **limits)


def test_from_a_run_to_a_call_and_a_comparison(run):
    """Publish, make a key, call with the openai client, compare two versions and keep the vote."""
    publish(run, "情感")
    publish(run, "情感")
    assert services.update("情感") == 2
    question = [{"role": "user", "content": "书好喜欢"}]
    with process() as (_, address):
        client = openai.OpenAI(base_url=address, api_key=key_for())
        given = client.chat.completions.create(model="情感", messages=question)
        assert given.choices[0].message.content == "积极" and given.model == "情感@2"
    answers = {
        name: "".join(talk.speak(name, question)) for name in ("情感@1", "情感@2", f"基座:{run.config.base_model}")
    }
    assert answers["情感@1"] == answers["情感@2"] == "积极"
    talk.vote("书好喜欢", answers, "情感@2")
    assert talk.votes()[0].winner == 1


def test_two_thousand_mixed_requests():
    command = [sys.executable, str(paths.ROOT / "benchmarks" / "serving.py"), "--crossed", "2000"]
    answer = subprocess.run(command, capture_output=True, encoding="utf-8", env=os.environ | {"PYTHONUTF8": "1"})
    assert answer.returncode == 0, answer.stdout + answer.stderr[-2000:]
    assert "0 wrong, 2000 in the log" in answer.stdout


def test_kill_9_loses_nothing_that_was_acknowledged(run):
    """Killed under load again and again: every answer that a client has read is in the log, every key still opens."""
    publish(run, "情感")
    answered, secrets = 0, []
    for _ in range(3):
        with process() as (server, address):
            secrets.append(key_for())
            given = []

            def client(address=address, secret=secrets[-1], given=given):
                body = {"model": "情感", "messages": [{"role": "user", "content": "书好喜欢"}]}
                headers = {"Authorization": f"Bearer {secret}"}
                with suppress(httpx.HTTPError):
                    while True:
                        answer = httpx.post(f"{address}/chat/completions", json=body, headers=headers, timeout=60)
                        given.append(answer.text)

            threads = [threading.Thread(target=client) for _ in range(8)]
            for thread in threads:
                thread.start()
            while len(given) < 20 and threads[0].is_alive():
                time.sleep(0.01)
            publish(run, "情感", lambda text: None)  # while it is being asked
            server.send_signal(signal.SIGKILL)
            for thread in threads:
                thread.join(90)
        assert all('"content":"积极"' in text for text in given), [text for text in given if "积极" not in text][:2]
        answered += len(given)
    assert answered <= len(keys.usages(100_000)) <= answered + 3 * 8  # those whose answer was on its way
    assert [version.number for version in services.service("情感").versions] == [1, 2, 3, 4]
    assert all(keys.check(secret) for secret in secrets)


def test_asked_to_stop_it_finishes_what_it_has_begun(run):
    publish(run, "情感")
    secret, begun, finished = key_for(answer_limit=400), [], []
    with process() as (server, address):

        def client(number):
            body = {
                "model": "情感", "messages": [{"role": "user", "content": "谢" * 40}], "temperature": 2, "seed": number,
                "max_tokens": 300, "stream": True,
            }  # fmt: skip
            headers = {"Authorization": f"Bearer {secret}"}
            with (
                suppress(httpx.HTTPError),
                httpx.stream("POST", f"{address}/chat/completions", json=body, headers=headers, timeout=60) as answer,
            ):
                last = ""
                for line in answer.iter_lines():
                    begun.append(number)
                    last = line or last
                finished.append((number, last))

        threads = [threading.Thread(target=client, args=(number,)) for number in range(20)]
        for thread in threads:
            thread.start()
        while len(set(begun)) < 4:
            time.sleep(0.01)
        server.send_signal(signal.SIGTERM)
        for thread in threads:
            thread.join(60)
        server.wait(30)
    assert set(begun) == {number for number, _ in finished} and len(keys.usages()) >= len(finished) >= 4
    assert all(last == "data: [DONE]" for _, last in finished)
    assert {usage.outcome for usage in keys.usages()} <= {"stop", "length"}


def test_a_right_beginning_of_a_key_takes_no_longer_over_http(run):
    publish(run, "情感")
    secret = key_for()
    right, wrong = secret[:-1] + "-", "sk-" + "x" * (len(secret) - 3)
    times = {right: [], wrong: []}
    with process() as (_, address), httpx.Client() as client:
        for _ in range(400):
            for given in times:
                start = time.perf_counter()
                assert client.get(f"{address}/models", headers={"Authorization": f"Bearer {given}"}).status_code == 401
                times[given].append(time.perf_counter() - start)
    a, b = (sorted(found)[200] for found in times.values())
    assert abs(a - b) < 0.1 * max(a, b)
