"""The queue: one job at a time per device, whatever dies; proved with real processes on a tiny model."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time

import psutil
import pytest

from course_utils.errors import ConfigError, DataError
from course_utils.training import jobs, turns
from course_utils.training.config import TrainingConfig
from course_utils.training.run import Run

PATIENCE = 60
CAN_UNSHARE = shutil.which("unshare") and not subprocess.run(["unshare", "-p", "-f", "true"]).returncode


@pytest.fixture(autouse=True)
def own_queue(tmp_path, monkeypatch):
    monkeypatch.setenv("COURSE_QUEUE", str(tmp_path / "queue"))
    yield
    for job in jobs.jobs():
        if job.state not in jobs.ENDED and job.pid:
            psutil.Process(job.pid).kill()


@pytest.fixture
def config(tiny_base):
    return TrainingConfig(base_model=str(tiny_base), precision="fp32", epochs=50, batch_size=1, evaluations=10)


def wait(number, *states, also=lambda job: True):
    end = time.monotonic() + PATIENCE
    while time.monotonic() < end:
        job = jobs.job(number)
        if job.state in states and also(job):
            return job
        time.sleep(0.1)
    raise AssertionError((jobs.job(number), jobs.log_file(jobs.job(number).folder).read_text()[-2000:]))


def trained(job, steps=3):
    return len(Run(job.folder).metrics) >= steps


def test_a_job_runs_another_waits_a_stop_keeps_a_checkpoint_and_it_goes_on(config, tiny_data):
    first = jobs.submit_training(config, tiny_data, "第一个")
    wait(first.number, jobs.RUNNING, also=trained)
    second = jobs.submit_training(config.model_copy(update={"epochs": 1}), tiny_data, "第二个")
    waiting = wait(second.number, jobs.QUEUED, also=lambda job: job.place == 1)
    assert waiting.started is None and [job.number for job in jobs.jobs()] == [second.number, first.number]
    jobs.stop(first.number)
    stopped = wait(first.number, jobs.STOPPED)
    run = Run(stopped.folder)
    assert run.checkpoint and not run.finished and run.load()  # usable as it is
    done = wait(second.number, jobs.DONE)
    assert done.started >= stopped.ended - 1 and Run(done.folder).finished
    steps = run.metrics[-1]["step"]
    jobs.resume(first.number)
    wait(first.number, jobs.RUNNING, also=lambda job: Run(job.folder).metrics[-1]["step"] > steps)
    jobs.stop(first.number)
    wait(first.number, jobs.STOPPED)


def test_a_killed_job_is_not_called_running_for_ever(config, tiny_data):
    job = jobs.submit_training(config, tiny_data)
    job = wait(job.number, jobs.RUNNING, also=trained)
    next_one = jobs.submit_training(config.model_copy(update={"epochs": 1}), tiny_data)
    psutil.Process(job.pid).kill()
    assert "内存不够" in wait(job.number, jobs.FAILED).message
    wait(next_one.number, jobs.DONE)


def test_it_outlives_the_process_that_submitted_it(config, tiny_data):
    """The submitter and its whole group are killed, harder than when a terminal or JupyterLab is closed."""
    run = Run.create(config, tiny_data, "活着")
    code = f"from course_utils.training import jobs; print(jobs.submit('train', __import__('pathlib').Path({str(run.folder)!r})).number, flush=True); import time; time.sleep(99)"
    parent = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True, start_new_session=True)
    number = int(parent.stdout.readline())
    wait(number, jobs.RUNNING, also=trained)
    os.killpg(parent.pid, signal.SIGKILL)
    parent.wait()
    seen = Run(run.folder).metrics[-1]["step"]
    wait(number, jobs.RUNNING, also=lambda job: Run(job.folder).metrics[-1]["step"] > seen + 2)
    jobs.stop(number)
    wait(number, jobs.STOPPED)


def test_what_is_wrong_ends_in_the_jobs_message(config, tiny_data):
    bad = jobs.submit_training(config.model_copy(update={"lora_modules": ["没有的层"]}), tiny_data)
    assert "模型里没有叫「没有的层」的层" in wait(bad.number, jobs.FAILED).message
    assert "Traceback" not in wait(bad.number, jobs.FAILED).message
    with pytest.raises(DataError, match="train"):
        jobs.submit_training(config, {"train": [], "validation": []})
    with pytest.raises(ConfigError, match="没有第 99 号任务"):
        jobs.stop(99)
    with pytest.raises(ConfigError, match="不用再停"):
        jobs.stop(bad.number)


def test_a_waiting_job_is_stopped_at_once(config, tiny_data):
    with turns.Turn() as mine:
        assert mine.mine
        job = jobs.submit_training(config, tiny_data)
        wait(job.number, jobs.QUEUED, also=lambda job: job.place == 1)
        assert jobs.stop(job.number).state == jobs.STOPPED
        pid = jobs.job(job.number).pid
        end = time.monotonic() + PATIENCE
        while turns.is_alive(pid, jobs.job(job.number).birth) and time.monotonic() < end:
            time.sleep(0.1)
        assert not turns.is_alive(pid, jobs.job(job.number).birth)


def test_only_one_of_many_has_its_turn(tmp_path):
    """Eight processes, each writing when it holds the turn: no two at once, and in the order of their tickets."""
    log = tmp_path / "log"
    code = (
        "import sys, time; from course_utils.training.turns import Turn\n"
        f"with Turn() as turn, open({str(log)!r}, 'a') as log:\n"
        "    print('in', turn.ticket, file=log, flush=True); time.sleep(0.05); print('out', turn.ticket, file=log)"
    )
    processes = [subprocess.Popen([sys.executable, "-c", code]) for _ in range(8)]
    assert [process.wait() for process in processes] == [0] * 8
    lines = [line.split() for line in log.read_text().splitlines()]
    assert len(lines) == 16
    assert all(a == ["in", b[1]] and b[0] == "out" for a, b in zip(lines[::2], lines[1::2], strict=True))
    assert not list(turns.queue_folder().glob("0*"))


def test_tickets_of_the_dead_do_not_count():
    take_and_die = "import os; from course_utils.training.turns import Turn; Turn(); os._exit(0)"
    for _ in range(2):
        subprocess.run([sys.executable, "-c", take_and_die], check=True)
    folder = turns.queue_folder()
    assert [path.name for path in sorted(folder.glob("0*"))] == ["00000001", "00000002"]
    with turns.Turn() as turn:
        assert turn.mine and turn.ticket == 3
    assert [path.name for path in folder.glob("0*")] == []


@pytest.mark.skipif(not CAN_UNSHARE, reason="needs the right to make a namespace of processes")
def test_containers_that_do_not_see_each_others_processes_share_one_queue(tmp_path):
    """Each is number 1 or so in its own namespace; a waiting ticket still counts, and only one has its turn."""
    log = tmp_path / "log"
    code = (
        "import time; from course_utils.training.turns import Turn\n"
        f"with Turn() as turn, open({str(log)!r}, 'a') as log:\n"
        "    print('in', turn.ticket, file=log, flush=True); time.sleep(2.2); print('out', turn.ticket, file=log)"
    )
    contained = ["unshare", "--pid", "--fork", "--mount-proc", sys.executable, "-c", code]
    processes = [subprocess.Popen(contained) for _ in range(3)]
    assert [process.wait() for process in processes] == [0] * 3
    lines = log.read_text().splitlines()
    assert lines == ["in 1", "out 1", "in 2", "out 2", "in 3", "out 3"]


def test_the_command_line(config, tiny_data, tmp_path):
    def course(*words):
        done = subprocess.run(
            [sys.executable, "-m", "course_utils.cli", *map(str, words)], capture_output=True, text=True, timeout=120
        )
        return done.returncode, done.stdout, done.stderr

    (tmp_path / "评论.csv").write_text(
        "text,label\n" + "\n".join(f"书{'很' * i}好,积极\n酒店{'很' * i}差,消极" for i in range(12))
    )
    recipe = tmp_path / "run.yaml"
    recipe.write_text(
        f"name: 命令行\ndata: 评论.csv\nmap: {{text: input, label: output}}\nbase_model: {config.base_model}\n"
    )
    code, out, err = course("submit-job", recipe)
    assert code == 0 and out.strip().isdigit(), err
    number = out.strip()
    assert course("jobs", "follow", number)[0] == 0
    listed = json.loads(course("jobs", "--json")[1])
    assert [(row["number"], row["state"]) for row in listed] == [(int(number), "已完成")]
    assert "已完成" in course("jobs")[1]
    code, out, err = course("jobs", "stop", number)
    assert code == 1 and "不用再停" in err and "Traceback" not in err


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() != 0, reason="needs the right to become another user")
def test_two_users_share_one_queue(tmp_path, monkeypatch):
    """Each leaves files that the other can read and not take away; still only one has its turn."""
    shared, log = tmp_path / "shared", tmp_path / "log"
    for folder in (tmp_path, *list(tmp_path.parents)[:3]):
        folder.chmod(0o755)
    shared.mkdir()
    shared.chmod(0o1777)
    log.touch()
    log.chmod(0o666)
    monkeypatch.setenv("COURSE_QUEUE", str(shared))

    def take_turn(user: int) -> int:
        """Fork, become `user`, wait for a turn; returns the child's number. No exec: another may not run our Python."""
        if child := os.fork():
            return child
        status = 1
        try:
            os.setgroups([])
            os.setgid(user)
            os.setuid(user)
            with turns.Turn(), log.open("a") as file:
                print("in", user, file=file, flush=True)
                time.sleep(0.1)
                print("out", user, file=file, flush=True)
            status = 0
        finally:
            os._exit(status)

    children = [take_turn(user) for user in (0, 65534) * 3]
    assert [os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) for child in children] == [0] * 6
    lines = [line.split() for line in log.read_text().splitlines()]
    assert sorted(user for _, user in lines[::2]) == ["0"] * 3 + ["65534"] * 3
    assert all(a == ["in", b[1]] and b[0] == "out" for a, b in zip(lines[::2], lines[1::2], strict=True))
