"""Publishing and the API, on a tiny model: what is served is what was trained, and only to those who may."""

import hashlib
import json
import os
import shutil
import socket
import sqlite3
import threading
import time
from contextlib import contextmanager, suppress

import httpx
import openai
import pytest
import torch
import uvicorn
from sqlalchemy import create_engine
from sqlmodel import SQLModel

from course_utils.data.records import Record
from course_utils.errors import ConfigError, CourseError
from course_utils.evaluation.batch import batch_predict
from course_utils.inference.choose import choose
from course_utils.inference.classify import classify
from course_utils.inference.generate import answer
from course_utils.models import remote
from course_utils.models.encode import encode_prompt
from course_utils.serving import keys, services, store, talk, vllm
from course_utils.serving.app import create_app
from course_utils.serving.decode import _sample, round_up
from course_utils.serving.engine import Engine
from course_utils.serving.guard import Protocol
from course_utils.serving.limits import Limits, Refused
from course_utils.serving.prompts import encode_request, to_record
from course_utils.serving.publish import publish
from course_utils.serving.serve import current, is_loopback, serve
from course_utils.serving.snippets import snippets
from course_utils.serving.store import Key, Served
from course_utils.serving.work import Choosing, Writing
from course_utils.training.config import TrainingConfig
from course_utils.training.run import Run
from course_utils.training.train import train

SAYS = {"甲": ("积极", "消极"), "乙": ("消极", "积极"), "丙": ("书店", "手机")}  # of a good and of a bad review
GOOD, BAD = "书好喜欢", "店差讨厌很"


def silent(*_):
    pass


@pytest.fixture(scope="module")
def runs(tiny_base, tmp_path_factory):
    """One run per entry of SAYS, one with a classification head, one full fine-tune."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("COURSE_WORKSPACE", str(tmp_path_factory.mktemp("runs")))

        def made(name, says, **settings):
            rows = [
                Record("判断情感", f"{'书酒店手机'[i % 5]}{word}{'很' * (i % 7)}", label)
                for i in range(24)
                for word, label in zip(("好喜欢", "差讨厌"), says, strict=True)
            ]
            config = TrainingConfig(
                base_model=str(tiny_base), precision="fp32", epochs=4, batch_size=8, learning_rate=1e-2,
                evaluations=1, **settings,
            )  # fmt: skip
            return train(config, {"train": rows[:40], "validation": rows[40:]}, name)

        found = {name: made(name, says, lora_rank=4 + 2 * i) for i, (name, says) in enumerate(SAYS.items())}
        found["头"] = made("头", SAYS["甲"], task="classification")
        found["全"] = made("全", SAYS["甲"], method="full")
        return found


@pytest.fixture
def published(runs):
    """The three services, and a key for all of them."""
    for name in SAYS:
        publish(runs[name], name, silent)
    keys.create_application("应用")
    return keys.create_key("应用", list(SAYS), per_minute=100_000)


@contextmanager
def serving(engine=None, patience=2.0, **options):
    """The address of a running server."""
    app = create_app(engine or Engine(current, log=silent), patience=patience, **options)
    listening = socket.create_server(("127.0.0.1", 0))
    config = uvicorn.Config(app, http=Protocol, ws="none", log_level="critical", timeout_graceful_shutdown=20)
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listening]}, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{listening.getsockname()[1]}"
    finally:
        server.should_exit = True
        thread.join(30)
        assert not thread.is_alive()


@contextmanager
def running(*args, **options):
    engine = Engine(*args, log=silent, **options)
    try:
        yield engine
    finally:
        engine.close()


def done(engine, works):
    """Submit all, wait for all, raise what went wrong."""
    events = []
    for work in works:
        event = threading.Event()
        work.told = lambda text, event=event: event.set() if text is None else None
        engine.submit(work)
        events.append(event)
    for event, work in zip(events, works, strict=True):
        assert event.wait(60)
        if work.error:
            raise work.error
    return works


def ask(client, model, text=GOOD, **options):
    return client.chat.completions.create(model=model, messages=[{"role": "user", "content": text}], **options)


def says(name, text):
    return SAYS[name][text == BAD]


# publishing


def test_versions_are_published_updated_rolled_back_and_stay_what_they_are(runs, own_workspace):
    first = publish(runs["甲"], "服务", silent)
    second, third = publish(runs["乙"], "服务", silent), publish(runs["丙"], "服务", silent)
    assert [first.number, second.number, third.number] == [1, 2, 3]
    assert services.service("服务").current == 1  # a new version waits to be made current
    assert services.update("服务") == 3 and services.update("服务", 2) == 2
    assert services.rollback("服务") == 3 and services.rollback("服务") == 1
    with pytest.raises(ConfigError, match="退不回去"):
        services.rollback("服务")
    with pytest.raises(ConfigError, match="已经是第 1 版"):
        services.update("服务", 1)
    with pytest.raises(CourseError, match="没有第 9 版"):
        services.update("服务", 9)
    copy = (first.path / "adapter_model.safetensors").read_bytes()
    assert (
        hashlib.sha256(copy).digest()
        == hashlib.sha256((runs["甲"].weights / "adapter_model.safetensors").read_bytes()).digest()
    )
    assert first.path == own_workspace / "services" / "服务" / "v1"
    card = (third.path / "README.md").read_text(encoding="utf-8")
    assert "服务「服务」第 3 版" in card and third.proof in card and "每个 token 都和训练时的提示相同" in card
    assert "判断情感" in card and "标签：" in card


@pytest.mark.parametrize(
    "model, header, number",
    [("服务", None, 1), ("服务@2", None, 2), ("服务", "2", 2), ("服务", "0", 1), ("服务", "1971234567890", 1),
     ("服务", "abc", 1), ("服务@1", "2", 1)],
)  # fmt: skip
def test_a_request_can_ask_for_a_version(runs, model, header, number):
    for name in ("甲", "乙"):
        publish(runs[name], "服务", silent)
    assert services.asked_for(model, header)[1].number == number


def test_what_cannot_be_proved_or_used_is_not_published(runs, tmp_path):
    import shutil

    copy = tmp_path / "改过"
    shutil.copytree(runs["甲"].folder, copy)
    run = Run(copy)
    run.note(instruction="别的指令")
    with pytest.raises(CourseError, match="第 1 行作为请求发来时，编码和训练时不一样"):
        publish(run, "服务", silent)
    run.note(instruction="判断情感")
    from safetensors.torch import load_file, save_file

    weights = load_file(run.weights / "adapter_model.safetensors")
    name = next(iter(weights))
    weights[name][0, 0] = float("nan")
    save_file(weights, run.weights / "adapter_model.safetensors")
    with pytest.raises(CourseError, match="NaN"):
        publish(run, "服务", silent)
    shutil.rmtree(run.weights)
    with pytest.raises(ConfigError, match="还没有训练完"):
        publish(run, "服务", silent)
    for bad in ("a/b", "a@2", "", "..", "x" * 65):
        with pytest.raises(ConfigError, match="名字"):
            publish(runs["甲"], bad, silent)
    assert not services.services()


def test_messages_become_the_record_that_training_made(tiny):
    trained = Record("判断情感", "书好", system="你是书店", history=[("在吗", "在")])
    ids = encode_prompt(trained, tiny[1])
    history = [{"role": "user", "content": "在吗"}, {"role": "assistant", "content": "在"}]
    for system in ([{"role": "system", "content": "你是书店"}], []):
        for question in ("书好", "判断情感\n书好", " 书好\n"):
            messages = [*system, *history, {"role": "user", "content": question}]
            assert encode_request(to_record(messages, "判断情感", "你是书店"), tiny[1]) == ids
    plain = [{"role": "user", "content": "判断情感的书"}]  # begins like the instruction, but is not it
    assert to_record(plain, "判断情感", "") == Record("判断情感", "判断情感的书")
    assert to_record([{"role": "system", "content": ""}, *plain], "", "你是书店").system == ""
    for wrong in ([], history, [*plain, *plain], [*plain, {"role": "system", "content": "晚了"}]):
        with pytest.raises(Refused, match="顺序"):
            to_record(wrong)


# the file


def test_the_steps_make_the_tables_that_the_classes_describe():
    with store.reading() as session:
        made = {
            table: {row[1]: (row[2], row[3], row[5] > 0) for row in session.connection().exec_driver_sql(f"PRAGMA table_info({table})")}
            for table in SQLModel.metadata.tables
        }  # fmt: skip
    plain = create_engine("sqlite://")
    SQLModel.metadata.create_all(plain)
    with plain.connect() as connection:
        for table, columns in made.items():
            wanted = {
                row[1]: (row[2], row[3], row[5] > 0)
                for row in connection.exec_driver_sql(f"PRAGMA table_info({table})")
            }
            assert {n: (t, p) for n, (t, _, p) in columns.items()} == {n: (t, p) for n, (t, _, p) in wanted.items()}


def test_an_old_file_is_brought_up_to_date_once_and_a_newer_one_is_left_alone(own_workspace):
    keys.create_application("旧的")
    with store.writing() as session:
        store.migrate(session.connection(), (*store.STEPS, "ALTER TABLE application ADD COLUMN colour VARCHAR"))
    with store.writing() as session:
        connection = session.connection()
        assert connection.exec_driver_sql("SELECT name, colour FROM application").all() == [("旧的", None)]
        store.migrate(connection, (*store.STEPS, "ALTER TABLE application ADD COLUMN colour VARCHAR"))
        with pytest.raises(ConfigError, match="更新的课程版本"):
            store.migrate(connection)
    with pytest.raises(Exception, match="nonsense"), store.writing() as session:
        store.migrate(session.connection(), (*store.STEPS, "", "CREATE TABLE half (a); nonsense"))
    tables = sqlite3.connect(own_workspace / "services.db").execute("SELECT name FROM sqlite_master").fetchall()
    assert ("half",) not in tables


# keys


def test_a_key_is_stored_hashed_expires_is_revoked_and_opens_what_it_was_granted(runs, own_workspace, monkeypatch):
    for name in ("甲", "乙"):
        publish(runs[name], name, silent)
    with pytest.raises(ConfigError, match="先建一个"):
        keys.create_key("没有", ["甲"])
    keys.create_application("应用")
    secret, short = keys.create_key("应用", ["甲"]), keys.create_key("应用", ["甲", "乙"], days=1)
    stored = b"".join(path.read_bytes() for path in own_workspace.glob("services.db*"))
    assert secret.encode() not in stored and secret[8:].encode() not in stored
    assert keys.opened(keys.check(secret)) == ["甲"] and keys.opened(keys.check(short)) == ["乙", "甲"]
    for wrong in (secret[:-1] + "-", "", "sk-", "密钥", secret.swapcase()):
        with pytest.raises(Refused, match="密钥不对"):
            keys.check(wrong)
    assert keys.usable_keys() == 2
    monkeypatch.setattr(time, "time", lambda now=time.time: now() + keys.DAY + 1)
    with pytest.raises(Refused, match="过期"):
        keys.check(short)
    assert [found.state for found in keys.listed()] == ["已过期", "可用"]
    keys.revoke(secret)
    with pytest.raises(Refused, match="吊销"):
        keys.check(secret)
    assert keys.usable_keys() == 0
    with pytest.raises(ConfigError, match="没有这个密钥"):
        keys.revoke("77")


@pytest.mark.skipif(os.name == "nt", reason="Windows has no such modes")
def test_the_file_is_its_owners_alone_in_a_workspace_that_is_open_to_all(own_workspace):
    own_workspace.mkdir(mode=0o755)
    keys.create_application("助手")
    modes = {path.name: path.stat().st_mode & 0o777 for path in own_workspace.glob("services.db*")}
    assert set(modes.values()) == {0o600} and "services.db" in modes, modes


def test_checking_a_key_takes_as_long_with_a_right_beginning_as_with_a_wrong_one(published):
    """By construction both miss the same index; measured, so that a change of it is seen. Medians, interleaved."""
    right, wrong = published[:-1] + "-", "sk-" + "x" * (len(published) - 3)
    times = {right: [], wrong: []}
    for _ in range(300):
        for secret in times:
            start = time.perf_counter()
            with pytest.raises(Refused):
                keys.check(secret)
            times[secret].append(time.perf_counter() - start)
    a, b = (sorted(found)[150] for found in times.values())
    assert abs(a - b) < 0.15 * max(a, b)


def test_limits_count_a_minute_and_what_is_under_way():
    now = [0.0]
    limits = Limits(clock=lambda: now[0])
    key = Key(id=1, application_id=1, hint="", lookup="", salt="", digest="", per_minute=3, prompt_limit=1,
              answer_limit=1, at_once=2)  # fmt: skip
    with limits.request(key), limits.request(key), pytest.raises(Refused, match="同时") as refused, limits.request(key):
        pass
    assert refused.value.status == 429
    now[0] = 20
    with pytest.raises(Refused, match="40 秒后"), limits.request(key):
        pass
    now[0] = 61
    with limits.request(key):
        pass


# the engine


def test_mixed_rows_are_answered_as_each_model_answers_alone(runs):
    """All kinds in one queue, prompts of many lengths, beyond the sliding window of 128 too."""
    names = [*SAYS, "全"]
    versions = {name: publish(runs[name], name, silent) for name in names}
    records = [Record("判断情感", "书" * (i * 11 % 140) + word) for i in range(7) for word in (GOOD, BAD)]
    records += [Record("请回答" * i) for i in range(1, 5)]
    works, expected = [], []
    with running(current) as engine:
        for name in names:
            model, tokenizer = runs[name].load(merge=False)
            expected += answer(model, tokenizer, records, 20)
            served = versions[name].served
            works += [Writing(served, encode_request(record, tokenizer), 20) for record in records]
        order = torch.randperm(len(works), generator=torch.Generator().manual_seed(1)).tolist()
        done(engine, [works[i] for i in order])
        assert [(work.text, work.outcome == "stop") for work in works] == expected
        host = engine.hosts[versions["甲"].served.base, "fp32"]
        assert not host.merged and set(host.columns) == {versions[name].path for name in SAYS}  # one base for three


def test_rows_that_join_late_and_never_end_are_answered_as_alone(tiny_base):
    with running() as engine:
        served = Served(str(tiny_base), "fp32")
        tokenizer = engine.readers.tokenizer(served)
        records = [Record("请回答" * (i % 5 + 1) + "书" * (i * 17 % 90)) for i in range(24)]
        works = [
            Writing(served, encode_request(record, tokenizer), 10 + i * 7 % 40) for i, record in enumerate(records)
        ]
        done(engine, works)  # more than fit at once: some join when others leave
        model = engine.hosts[str(tiny_base), "fp32"].model
        for record, work in zip(records, works, strict=True):
            assert [(work.text, work.outcome == "stop")] == answer(model, tokenizer, [record], work.max_tokens)


def test_an_adapter_is_merged_when_it_is_alone_and_beside_the_base_when_it_is_not(runs):
    first = publish(runs["甲"], "甲", silent)
    with running(current) as engine:
        ids = encode_request(Record("判断情感", GOOD), engine.readers.tokenizer(first.served))
        done(engine, [Writing(first.served, ids, 4)])
        host = engine.hosts[first.served.base, "fp32"]
        assert host.merged == first.path and not host.columns
        second = publish(runs["乙"], "甲", silent)
        services.update("甲")
        (work,) = done(engine, [Writing(second.served, ids, 4)])
        assert host.merged == second.path and work.text == "消极"  # the old version is not current, and nobody asks it
        old, new, base = done(
            engine, [Writing(s, ids, 4) for s in (first.served, second.served, Served(first.served.base, "fp32"))]
        )
        assert (old.text, new.text) == ("积极", "消极") and not host.merged
        assert base.text == answer(*_open(first.served.base), [Record("判断情感", GOOD)], 4)[0][0]


def _open(base):
    from course_utils.models.load import load

    return load(base, "fp32")


def test_labels_are_chosen_as_offline_by_every_kind_of_run(runs):
    records = [Record("判断情感", "书" * i + word) for i in range(5) for word in (GOOD, BAD)]
    with running(current) as engine:
        for name in ("甲", "丙", "头", "全"):
            version = publish(runs[name], name, silent)
            model, tokenizer = runs[name].load()
            head = runs[name].config.task == "classification"
            offline = classify(model, tokenizer, records) if head else choose(model, tokenizer, records, version.labels)
            labels = None if head else version.served.labels
            works = done(engine, [Choosing(version.served, record, labels) for record in records])
            for work, choice in zip(works, offline, strict=True):
                assert work.choice.label == choice.label
                assert work.choice.scores == pytest.approx(choice.scores, abs=1e-5)


def test_text_is_told_once_it_is_sure():
    told = []
    work = Writing(None, [], 9, stop=("再见", "。。"), streamed=True, told=told.append)
    for text in (
        " 你",
        " 你好\ufffd",
        " 你好吗 ",
        " 你好吗 再",
        " 你好吗 再来",
        " 你好吗 再来。",
        " 你好吗 再来。再见了",
    ):
        work.say(text, final=False)
    assert told == ["你", "好", "吗", " 再来", "。"] and work.text == "你好吗 再来。" and work.outcome == "stop"
    whole = Writing(None, [], 9, stop=("见",), told=told.append)
    whole.say("再", final=False)
    assert whole.text == ""
    whole.say("再\n见", final=False)
    assert told[-1] == whole.text == "再"


def test_streamed_text_is_the_whole_text(runs):
    served = publish(runs["丙"], "丙", silent).served
    with running() as engine:
        ids = encode_request(Record("谢谢"), engine.readers.tokenizer(served))
        whole = done(engine, [Writing(served, ids, 20, temperature=1.2, seed=i) for i in range(24)])
        whole = [work for work in whole if "\ufffd" not in work.text]  # bytes that are no text: not told twice alike
        assert len({work.text for work in whole}) > 3
        for work in whole:
            pieces, event = [], threading.Event()
            again = Writing(served, ids, 20, temperature=1.2, seed=work.seed, streamed=True)
            again.told = lambda text, pieces=pieces, event=event: event.set() if text is None else pieces.append(text)
            engine.submit(again)
            assert event.wait(30) and "".join(pieces) == again.text == work.text


def test_sampling_keeps_to_the_nucleus_and_to_the_seed():
    logits = torch.tensor([3.0, 2.0, 1.0, -5.0]).repeat(600)
    ids = set(range(0, 2400, 4))
    drawn = {_sample(logits, Writing(None, [], 1, 1.0, top_p=0.5, seed=i)) for i in range(200)}
    assert drawn <= ids and len(drawn) > 50
    assert _sample(logits, Writing(None, [], 1, 1.0, seed=7)) == _sample(logits, Writing(None, [], 1, 1.0, seed=7))
    assert [round_up(n) for n in (1, 2, 3, 4, 5, 6, 7, 9, 12, 13, 17, 33)] == [1, 2, 3, 4, 6, 6, 8, 12, 12, 16, 24, 48]


def test_the_queue_has_an_end_errors_stay_with_their_request_and_cancelled_rows_leave(tiny_base):
    served = Served(str(tiny_base), "fp32")
    with running(rows=2, queue=3) as engine:
        ids = encode_request(Record("请回答"), engine.readers.tokenizer(served))
        with pytest.raises(CourseError):
            done(engine, [Writing(Served(str(tiny_base) + "没有"), ids, 4)])
        long = [Writing(served, ids, 400) for _ in range(2)]
        for work in long:
            engine.submit(work)
        while engine.waiting:
            time.sleep(0.01)
        waiting = [Writing(served, ids, 4) for _ in range(3)]
        for work in waiting:
            engine.submit(work)
        with pytest.raises(Refused, match="排队") as refused:
            engine.submit(Writing(served, ids, 4))
        assert refused.value.status == 429
        for work in long:
            work.cancelled = True
    assert {work.outcome for work in long} <= {"cancelled", "stop"} and all(work.outcome for work in waiting)
    with pytest.raises(Refused, match="停止"):
        engine.submit(Writing(served, ids, 4))


# the API


def test_the_openai_client_works(runs, published):
    publish(runs["乙"], "甲", silent)
    with serving(keep_text=True) as address:
        client = openai.OpenAI(base_url=f"{address}/v1", api_key=published, max_retries=0)
        assert [model.id for model in client.models.list()] == sorted(SAYS)
        assert client.models.retrieve("甲").versions == [1, 2]
        for name in SAYS:
            for text in (GOOD, BAD):
                given = ask(client, name, text)
                assert given.choices[0].message.content == says(name, text) and given.model == f"{name}@1"
                assert given.choices[0].finish_reason == "stop" and given.usage.completion_tokens == 2
        for options in ({"model": "甲@2"}, {"model": "甲", "extra_headers": {"lora_id": "2"}}):
            given = ask(client, **options)
            assert given.choices[0].message.content == "消极" and given.model == "甲@2"
        platform = {"extra_headers": {"lora_id": "1971234567890"}, "extra_body": {"search_disable": True}}
        assert ask(client, "甲", **platform).model == "甲@1"  # as a client written for the platform sends it
        chunks = list(ask(client, "丙", BAD, stream=True, stream_options={"include_usage": True}))
        assert "".join(c.choices[0].delta.content or "" for c in chunks if c.choices) == "手机"
        assert chunks[-1].usage.completion_tokens == 2 and chunks[-2].choices[0].finish_reason == "stop"
        short = ask(client, "丙", BAD, max_tokens=1)
        assert short.choices[0].finish_reason == "length" and short.usage.completion_tokens == 1
        headers = {"Authorization": f"Bearer {published}"}
        body = {"model": "甲", "messages": [{"role": "user", "content": [{"type": "text", "text": GOOD}]}]}
        chosen = httpx.post(f"{address}/v1/choose", json=body, headers=headers).json()
        assert chosen["label"] == "积极" and sum(chosen["scores"].values()) == pytest.approx(1)
        chosen = httpx.post(f"{address}/v1/choose", json=body | {"labels": ["书店", "手机"]}, headers=headers).json()
        assert set(chosen["scores"]) == {"书店", "手机"}
        assert httpx.get(f"{address}/healthz").json() == {"status": "ok", "services": 3}
    rows = keys.usages()
    assert (
        len(rows) == 13 and rows[-1].service == "甲" and rows[-1].answer == "积极" and "书好喜欢" in rows[-1].question
    )
    assert all(row.prompt_tokens > 5 and row.milliseconds >= 0 and row.outcome in ("stop", "length") for row in rows)
    (facts,) = keys.listed()
    assert facts.requests == 13 and facts.tokens == sum(row.prompt_tokens + row.completion_tokens for row in rows)


def test_a_classification_head_answers_both_ways(runs):
    publish(runs["头"], "头", silent)
    keys.create_application("应用")
    with serving() as address:
        client = openai.OpenAI(base_url=f"{address}/v1", api_key=keys.create_key("应用", ["头"]), max_retries=0)
        assert ask(client, "头", BAD).choices[0].message.content == "消极"
        streamed = "".join(c.choices[0].delta.content or "" for c in ask(client, "头", GOOD, stream=True))
        assert streamed == "积极"
        with pytest.raises(openai.BadRequestError, match="训练时定的"):
            client.post(
                "/choose",
                cast_to=object,
                body={"model": "头", "messages": [{"role": "user", "content": "书"}], "labels": ["a", "b"]},
            )
    assert all(row.question is None and row.answer is None for row in keys.usages())  # no text unless asked


def test_refusals_have_their_status_and_a_chinese_message(runs, published):
    keys.create_application("别的")
    other = keys.create_key("别的", ["甲"], prompt_limit=30, answer_limit=8, per_minute=3)
    old = keys.create_key("别的", ["甲"], days=1e-9)
    good = {"model": "甲", "messages": [{"role": "user", "content": GOOD}]}
    cases = [
        (published, good | {"model": "没有"}, 404, "model_not_found"),
        (published, good | {"model": "甲@7"}, 404, "model_not_found"),
        (published, good | {"temperature": 9}, 422, "invalid_parameter"),
        (published, good | {"messages": "你好"}, 422, "invalid_parameter"),
        (published, {"model": "甲"}, 422, "invalid_parameter"),
        (published, good | {"tools": [{}]}, 400, "unsupported_parameter"),
        (published, good | {"max_tokens": 513}, 400, "max_tokens_exceeded"),
        (published, good | {"max_tokens": 500}, 400, "context_length_exceeded"),
        (published, good | {"messages": [{"role": "assistant", "content": "在"}]}, 400, "invalid_messages"),
        (published, good | {"messages": [{"role": "user", "content": "\ue000"}]}, 400, "invalid_messages"),
        (published[:-1] + "-", good, 401, "invalid_api_key"),
        (old, good, 401, "expired_api_key"),
        (None, good, 401, "missing_api_key"),
        (other, good | {"model": "乙"}, 403, "service_not_granted"),
        (other, good | {"messages": [{"role": "user", "content": "书" * 50}]}, 413, "context_length_exceeded"),
        (other, good, 200, None), (other, good, 200, None), (other, good, 200, None),
        (other, good, 429, "rate_limit_exceeded"),
    ]  # fmt: skip
    with serving() as address:
        for secret, body, status, code in cases:
            headers = {"Authorization": f"Bearer {secret}"} if secret else {}
            given = httpx.post(f"{address}/v1/chat/completions", json=body, headers=headers)
            assert given.status_code == status, (body, given.text)
            if code:
                error = given.json()["error"]
                assert error["code"] == code and error["message"].endswith("。") and error["type"]
            if status == 429:
                assert 0 < int(given.headers["Retry-After"]) <= 60
        headers = {"Authorization": f"Bearer {published}", "Content-Type": "application/json"}
        for rubbish in (b"", b"{", b"\xff\xfe", b"[" * 100_000, b"null", b'"x"', b'{"model": "\\ud800"}'):
            given = httpx.post(f"{address}/v1/chat/completions", content=rubbish, headers=headers)
            assert given.status_code in (400, 422) and given.json()["error"]["message"]
        big = httpx.post(f"{address}/v1/chat/completions", content=b"x" * 10_000_000, headers=headers)
        assert big.status_code == 413 and "KB" in big.json()["error"]["message"]

        def dripping():
            for _ in range(40):
                yield b"x" * 100_000

        big = httpx.post(f"{address}/v1/chat/completions", content=dripping(), headers=headers)  # no length given
        assert big.status_code == 413
        assert (
            httpx.get(f"{address}/nowhere").status_code == 404 and httpx.get(f"{address}/v1/choose").status_code == 405
        )
        keys.revoke(published)
        given = httpx.get(f"{address}/v1/models", headers=headers)
        assert given.status_code == 401 and given.json()["error"]["code"] == "revoked_api_key"
    assert len(keys.usages()) == 3  # what was refused used nothing


def test_clients_that_hang_are_let_go_and_others_are_answered(published, monkeypatch):
    from course_utils.serving import guard

    monkeypatch.setattr(guard, "PATIENCE", 0.5)
    with serving(patience=1.0) as address:
        place = ("127.0.0.1", int(address.rpartition(":")[2]))
        silent_one, half_head = socket.create_connection(place), socket.create_connection(place)
        half_head.sendall(b"POST /v1/chat/completions HTTP/1.1\r\nHost: x\r\n")
        half_body = socket.create_connection(place)
        half_body.sendall(b"POST /v1/chat/completions HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\n{")
        client = openai.OpenAI(base_url=f"{address}/v1", api_key=published, max_retries=0)
        assert ask(client, "甲").choices[0].message.content == "积极"
        for hanging in (silent_one, half_head, half_body):
            hanging.settimeout(10)
        assert silent_one.recv(100) == b"" and half_head.recv(100) == b""
        assert half_body.recv(1000).startswith(b"HTTP/1.1 408")


def left_early(address, body, headers) -> bool:
    """Whether the client gave up before the answer was whole; on a fast machine the answer may be there first."""
    try:
        httpx.post(f"{address}/v1/chat/completions", json=body, headers=headers, timeout=0.01)
    except httpx.TimeoutException:
        return True
    return False


def test_a_client_that_leaves_frees_its_place(tiny_base, runs):
    publish(runs["丙"], "丙", silent)
    keys.create_application("应用")
    secret = keys.create_key("应用", ["丙"], at_once=1, answer_limit=400)
    engine = Engine(current, log=silent)
    body = {"model": "丙", "messages": [{"role": "user", "content": "谢"}], "temperature": 2, "max_tokens": 400}
    with serving(engine) as address:
        headers = {"Authorization": f"Bearer {secret}"}
        for stream in (True, False):
            assert any(left_early(address, body | {"stream": stream}, headers) for _ in range(40))
            deadline = time.monotonic() + 20
            while time.monotonic() < deadline:
                given = httpx.post(
                    f"{address}/v1/choose", json={"model": "丙", "messages": body["messages"]}, headers=headers
                )
                if given.status_code == 200:
                    break
                assert given.status_code == 429
                time.sleep(0.05)
            assert given.status_code == 200
        assert not any(flight.rows for flight in engine.flights.values())


def test_the_documentation_is_chinese_and_needs_no_other_address(published):
    with serving() as address:
        page = httpx.get(f"{address}/docs").text
        assert "http://" not in page.replace(address, "") and "https://" not in page
        script = page.split('<script src="')[1].split('"')[0]
        assert len(httpx.get(address + script).content) > 1_000_000
        described = httpx.get(f"{address}/openapi.json").json()
        assert described["info"]["title"].startswith("大模型精调实战课")
        assert all(
            "\u4e00" <= way["summary"][0] <= "\u9fff" for path in described["paths"].values() for way in path.values()
        )


def test_no_request_that_the_description_allows_or_forbids_breaks_it(published):
    """Fuzzed with schemathesis against the API's own OpenAPI description."""
    import schemathesis
    from hypothesis import HealthCheck, Phase, given, settings
    from hypothesis.errors import Unsatisfiable
    from schemathesis.checks import not_a_server_error

    with serving() as address:
        schema = schemathesis.openapi.from_url(f"{address}/openapi.json")
        headers = {"Authorization": f"Bearer {published}"}
        seen = set()

        def fuzz(operation, mode):
            @given(case=operation.as_strategy(generation_mode=mode))
            @settings(max_examples=25, deadline=None, database=None, derandomize=True, phases=[Phase.generate],
                      suppress_health_check=list(HealthCheck))  # fmt: skip
            def send(case):
                if isinstance(case.body, dict) and len(str(case.body)) % 2:  # rarely would it name a service by itself
                    case.body |= {"model": "甲", "max_tokens": 2, "messages": [{"role": "user", "content": "书"}]}
                response = case.call(headers=headers)
                seen.add((operation.path, response.status_code))
                case.validate_response(response, checks=[not_a_server_error])

            with suppress(Unsatisfiable):  # nothing can be wrong with a request that takes nothing
                send()

        for operation in schema.get_all_operations():
            for mode in schemathesis.GenerationMode:
                fuzz(operation.ok(), mode)
        assert {path for path, _ in seen} == set(httpx.get(f"{address}/openapi.json").json()["paths"])
        assert ("/v1/chat/completions", 200) in seen and ("/v1/chat/completions", 422) in seen
        assert all(status < 500 for _, status in seen)


def test_the_snippets_run_as_they_are(published, monkeypatch, capsys):
    import shutil
    import subprocess

    monkeypatch.setenv("COURSE_KEY", published)
    with serving() as address:
        made = snippets("甲", f"{address}/v1", f"{GOOD}'\"")
        exec(made["Python"])
        assert capsys.readouterr().out == "积极\n"
        if shutil.which("curl"):
            given = subprocess.run(["bash", "-c", made["curl"]], capture_output=True, check=True)
            assert json.loads(given.stdout)["choices"][0]["message"]["content"] == "积极"
        if shutil.which("node"):
            command = ["node", "--input-type=module", "-e", made["JavaScript"]]
            assert subprocess.run(command, capture_output=True, check=True, encoding="utf-8").stdout == "积极\n"


def test_nobody_else_can_reach_a_server_without_keys(runs):
    with pytest.raises(ConfigError, match="还没有发布服务"):
        serve()
    publish(runs["甲"], "甲", silent)
    with pytest.raises(ConfigError, match="还没有可用的密钥"):
        serve("0.0.0.0")
    taken = socket.create_server(("127.0.0.1", 0))
    with pytest.raises(ConfigError, match="--port"):
        serve(port=taken.getsockname()[1])
    with pytest.raises(ConfigError, match="local 或 vllm"):
        serve(port=0, engine="快")
    hosts = {
        "127.0.0.1": True,
        "::1": True,
        "localhost": True,
        "0.0.0.0": False,
        "::": False,
        "10.0.0.1": False,
        "x": False,
    }
    assert {host: is_loopback(host) for host in hosts} == hosts


# remote models, and talking to all of them


def test_remote_models_stand_beside_local_ones_and_no_key_is_kept(
    runs, published, own_workspace, tmp_path, monkeypatch
):
    with serving() as address:
        with pytest.raises(ConfigError, match="不是密钥本身") as refused:
            remote.register("同学", f"{address}/v1", "乙", "sk-abc")
        assert "sk-abc" not in str(refused.value)
        with pytest.raises(ConfigError, match="http"):
            remote.register("同学", "127.0.0.1", "乙")
        remote.register("同学", f"{address}/v1", "乙", "CLASSMATE_KEY")
        question = [{"role": "user", "content": BAD}]
        with pytest.raises(ConfigError, match="CLASSMATE_KEY"):
            list(talk.speak("远程:同学", question))
        monkeypatch.setenv("CLASSMATE_KEY", published)
        assert "远程:同学" in talk.speakers() and "甲@1" in talk.speakers()
        assert "".join(talk.speak("远程:同学", question)) == "积极"
        assert "".join(talk.speak("甲@1", question)) == "消极"
        assert talk.ask("甲@1", question[-1]["content"]) == "消极"
        publish(runs["丙"], "乙", silent)
        remote.register("第二版", f"{address}/v1", "乙", "CLASSMATE_KEY", lora_id="2")
        rows = [{"instruction": "判断情感", "input": text} for text in (GOOD, BAD)] * 3
        found = batch_predict(["同学", "第二版", str(runs["甲"].folder)], rows, tmp_path / "out", [], log=silent)
        for name, service in (("同学", "乙"), ("第二版", "丙"), (str(runs["甲"].folder), "甲")):
            assert [row["prediction"] for row in found[name]] == list(SAYS[service]) * 3
        monkeypatch.setenv("CLASSMATE_KEY", "sk-wrong")
        with pytest.raises(CourseError, match="不认这个密钥") as refused:
            batch_predict(["同学"], rows, tmp_path / "again", [], log=silent)
        assert "sk-wrong" not in str(refused.value) and refused.value.__suppress_context__
        stored = b"".join(path.read_bytes() for path in own_workspace.rglob("*") if path.is_file())
        assert published.encode() not in stored
    with pytest.raises(CourseError, match="连不上"):
        list(remote.chat(remote.find("同学"), question))
    remote.forget("同学")
    with pytest.raises(ConfigError, match="没有登记过"):
        remote.find("同学")


def test_runs_answer_without_being_published_and_as_they_write(runs, own_workspace):
    for name in ("甲", "头", "全"):
        shutil.copytree(runs[name].folder, own_workspace / "runs" / name)
        assert f"训练:{name}" in talk.speakers()
        for text, label in zip((GOOD, BAD), SAYS["甲"], strict=True):
            pieces = list(talk.speak(f"训练:{name}", text if name == "甲" else [{"role": "user", "content": text}]))
            assert "".join(pieces) == label and len(pieces) == (1 if name == "头" else 2)


def test_a_vote_is_kept():
    talk.vote("哪个好？", {"甲@1": "积极", "乙@1": "消极"}, "乙@1", blind=True)
    talk.vote("哪个好？", {"甲@1": "积极", "乙@1": "积极"}, None)
    tie, first = talk.votes()
    assert (
        tie.winner is None
        and first.models[first.winner] == "乙@1"
        and first.blind
        and first.answers == ["积极", "消极"]
    )
    with pytest.raises(ConfigError, match="没有回答"):
        talk.vote("哪个好？", {"甲@1": "积极"}, "丙@1")
    talk.vote("哪个好？", {"丙@1": "书店", "乙@1": "消极"}, "丙@1")
    assert talk.standings() == [
        {"模型": "乙@1", "比过": 3, "更好": 1},
        {"模型": "甲@1", "比过": 2, "更好": 0},
        {"模型": "丙@1", "比过": 1, "更好": 1},
    ]


def test_who_stands_where_is_drawn_by_lot_when_nobody_is_to_know():
    names = ["甲", "乙", "丙"]
    assert {tuple(talk.lineup(names, blind=False)) for _ in range(20)} == {("甲", "乙", "丙")}
    assert len({tuple(talk.lineup(names, blind=True)) for _ in range(200)}) == 6 and names == ["甲", "乙", "丙"]


# vLLM


def test_the_command_for_vllm(runs, tiny_base):
    for name in ("甲", "乙"):
        publish(runs[name], name, silent)
    publish(runs["丙"], "甲", silent)
    (backend,) = vllm.backends(services.services())
    text = " ".join(backend.command)
    assert text.startswith(
        f"vllm serve {tiny_base} --host 127.0.0.1 --port 8801 --served-model-name base --dtype float32"
    )
    assert "--generation-config vllm --enable-lora --max-loras 3 --max-cpu-loras 3 --max-lora-rank 8" in text
    modules = dict(pair.split("=", 1) for pair in backend.command[backend.command.index("--lora-modules") + 1 :])
    versions = {v.id: v for s in services.services() for v in s.versions}
    assert modules == {f"v{number}": str(version.path) for number, version in versions.items()}
    with pytest.raises(ConfigError, match="没有装 vLLM"):
        vllm.VllmEngine(services.services(), silent)
    publish(runs["全"], "全", silent)
    alone = next(b for b in vllm.backends(services.services()) if "--enable-lora" not in b.command)
    assert alone.command[2] == str(services.service("全").version().path) and alone.url.endswith(":8802")
    publish(runs["头"], "头", silent)
    with pytest.raises(ConfigError, match="分类头"):
        vllm.backends(services.services())


def test_our_keys_stand_before_vllm(published, monkeypatch):
    """A stand-in that answers vLLM's /v1/completions by our own engine: ids in, text and prompt_logprobs out."""
    from fastapi import FastAPI, Request
    from fastapi.responses import StreamingResponse

    stand_in, asked = FastAPI(), []
    tokenizer = engine = None

    @stand_in.get("/health")
    def health():
        return {}

    @stand_in.post("/v1/completions")
    def completions(request: Request, body: dict):
        asked.append(body | {"auth": request.headers["authorization"]})
        if not body.get("stream"):
            choices = [
                {"index": i, "prompt_logprobs": [None] + [{str(t): {"logprob": -1.0 - (i == 0)}} for t in ids[1:]]}
                for i, ids in enumerate(body["prompt"])
            ]
            return {"choices": choices}
        served = next(s for b in engine.backends for s, name in b.names.items() if name == body["model"])
        (work,) = done(local, [Writing(served, body["prompt"], body["max_tokens"])])

        def events():
            for character in work.text:
                yield f"data: {json.dumps({'choices': [{'text': character, 'finish_reason': None}]})}\n\n"
            yield f"data: {json.dumps({'choices': [{'text': '', 'finish_reason': 'stop'}]})}\n\n"
            yield f"data: {json.dumps({'choices': [], 'usage': {'completion_tokens': work.said}})}\n\ndata: [DONE]\n\n"

        return StreamingResponse(events())

    listening = socket.create_server(("127.0.0.1", 0))
    server = uvicorn.Server(uvicorn.Config(stand_in, log_level="critical"))
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listening]}, daemon=True)
    thread.start()
    monkeypatch.setattr(vllm, "FIRST_PORT", listening.getsockname()[1])
    with running(current) as local:
        engine = vllm.VllmEngine(services.services(), silent, start=False)
        engine.warm()
        with serving(engine) as address:
            client = openai.OpenAI(base_url=f"{address}/v1", api_key=published, max_retries=0)
            for name in SAYS:
                given = ask(client, name, BAD)
                assert given.choices[0].message.content == says(name, BAD) and given.usage.completion_tokens == 2
            streamed = ask(client, "丙", GOOD, stream=True, stop=["店"])
            assert "".join(c.choices[0].delta.content or "" for c in streamed) == "书"
            tokenizer = engine.readers.tokenizer(services.service("甲").version().served)
            assert asked[0]["prompt"] == encode_prompt(Record("判断情感", BAD), tokenizer)
            assert asked[0]["auth"] == f"Bearer {engine.key}" and set(asked[0]["stop_token_ids"]) == {1, 6}
            body = {"model": "甲", "messages": [{"role": "user", "content": GOOD}]}
            chosen = client.post("/choose", cast_to=object, body=body)
            assert chosen["label"] == services.service("甲").version().labels[1]
            server.should_exit = True
            thread.join()
            with pytest.raises(openai.InternalServerError, match="vLLM 没有回答"):
                ask(client, "甲")


def test_the_commands(runs, capsys):
    import typer
    from typer.testing import CliRunner

    from course_utils import cli_serving

    app = typer.Typer()
    app.command()(cli_serving.publish)
    app.command()(cli_serving.serve)
    app.add_typer(cli_serving.service, name="service")
    app.add_typer(cli_serving.app, name="app")
    app.add_typer(cli_serving.key, name="key")

    def course(*words):
        result = CliRunner().invoke(app, words, catch_exceptions=False)
        assert result.exit_code == 0, result.output
        return result.output

    assert "第 1 版" in course("publish", str(runs["甲"].folder), "--service", "情感")
    assert "course service update 情感" in course("publish", str(runs["乙"].folder), "--service", "情感")
    assert "第 2 版" in course("service", "update", "情感") and "* 第 2 版" in course("service")
    assert "第 1 版" in course("service", "rollback", "情感")
    course("app", "create", "小程序")
    assert course("app", "list") == "小程序\n"
    secret = course("key", "create", "--app", "小程序", "--service", "情感", "--days", "30")
    assert secret.startswith("sk-") and secret.count("\n") == 1
    assert keys.check(secret.strip()).expires and "小程序 → 情感" in course("key", "list")
    course("key", "revoke", "1")
    assert "已吊销" in course("key", "list")
