"""A real JupyterHub with the configuration of docs/hub, real accounts, and two learners who train through one queue.

Needs Linux, root, jupyterhub and configurable-http-proxy, and a Python that other users may run:
pip install jupyterhub; npm install -g configurable-http-proxy
"""

import importlib.util
import json
import os
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import uuid
from pathlib import Path
from unittest.mock import MagicMock

import pytest
import yaml

from course_utils.models import weights
from course_utils.paths import ROOT

PATIENCE = 300  # seconds that a server or a training may take on a slow machine
PAUSE = 0.2
TRAIN = """
from course_utils.data.records import Record
from course_utils.training import jobs
from course_utils.training.config import TrainingConfig

rows = [Record("判断情感", f"书{'很' * i}{w}", label) for i in range(12) for w, label in (("好", "积极"), ("差", "消极"))]
config = TrainingConfig(max_length=64, epochs=3, batch_size=4)
print(jobs.submit_training(config, {"train": rows, "validation": rows[:4]}, "班级").number)
"""
JOB = """
import json
from course_utils.training import jobs
job = jobs.job(1)
print(json.dumps([job.state, job.place, job.started, job.ended, job.message]))
"""
PUBLISH = """
from course_utils import paths
from course_utils.serving import keys, publish
from course_utils.training.run import Run
publish.publish(Run(paths.runs() / "班级"), "情感", log=lambda line: None)
keys.create_application("助手")
print(paths.workspace(), keys.create_key("助手", ["情感"]))
"""
LOOK = """
from pathlib import Path
from unittest.mock import MagicMock
home = Path({!r})
for path in (home, home / "runs", home / "services.db", home / "jobs.db", home / "notebooks"):
    try:
        list(path.iterdir()) if path.suffix == "" else path.read_bytes()
        print("读到了", path)
    except PermissionError:
        print("读不了", path.name)
"""


def can_run():
    if sys.platform != "linux" or os.geteuid() or not importlib.util.find_spec("jupyterhub"):
        return False
    if not shutil.which("configurable-http-proxy") or not shutil.which("useradd"):
        return False
    become = ["setpriv", "--reuid=65534", "--clear-groups", sys.executable, "-c", "import jupyterhub"]
    anybody = subprocess.run(become, capture_output=True, cwd="/")
    return anybody.returncode == 0


class Learner:
    """Somebody with an account, logged in through the hub's form, and with a server and a kernel there."""

    def __init__(self, hub: str, name: str, password: str):
        import requests
        import websocket

        self.hub, self.name, self.web = hub, name, requests.Session()
        self.web.get(f"{hub}/hub/login")
        form = {"username": name, "password": password, "_xsrf": self.web.cookies.get("_xsrf", path="/hub/")}
        answer = self.web.post(f"{hub}/hub/login", data=form, allow_redirects=False)
        assert answer.status_code == 302, answer.text
        self.web.get(f"{hub}/hub/home")
        xsrf = {"X-XSRFToken": self.web.cookies.get("_xsrf", path="/hub/")}
        self.token = self.web.post(f"{hub}/hub/api/users/{name}/tokens", headers=xsrf, json={}).json()["token"]
        self.header = {"Authorization": f"token {self.token}"}
        requests.post(f"{hub}/hub/api/users/{name}/server", headers=self.header).raise_for_status()
        end = time.monotonic() + PATIENCE
        while (
            not requests.get(f"{hub}/hub/api/users/{name}", headers=self.header)
            .json()["servers"]
            .get("", {})
            .get("ready")
        ):
            assert time.monotonic() < end, f"{name} got no server"
            time.sleep(PAUSE)
        kernel = requests.post(f"{hub}/user/{name}/api/kernels", headers=self.header, json={}).json()["id"]
        address = f"{hub.replace('http', 'ws')}/user/{name}/api/kernels/{kernel}/channels"
        self.socket = websocket.create_connection(
            address, header=[f"Authorization: token {self.token}"], timeout=PATIENCE
        )

    def run(self, code: str) -> str:
        """What a cell with this code prints."""
        number, said = uuid.uuid4().hex, ""
        header = {"msg_id": number, "msg_type": "execute_request", "username": "", "session": number, "version": "5.3"}
        content = {"code": code, "silent": False, "store_history": False, "user_expressions": {}, "allow_stdin": False}
        message = {"header": header, "parent_header": {}, "metadata": {}, "content": content, "channel": "shell"}
        self.socket.send(json.dumps(message))
        while True:
            answer = json.loads(self.socket.recv())
            if answer["parent_header"].get("msg_id") != number:
                continue
            kind, content = answer["header"]["msg_type"], answer["content"]
            assert kind != "error", "\n".join(content["traceback"])
            if kind == "stream" and content["name"] == "stdout":
                said += content["text"]
            if kind == "status" and content["execution_state"] == "idle":
                return said

    def job(self):
        return json.loads(self.run(JOB))


@pytest.fixture
def accounts():
    """Two accounts with homes that everyone may look into, so that nothing but the course keeps a workspace private."""
    group, made = f"course{os.getpid()}", {}
    subprocess.run(["groupadd", group], check=True)
    try:
        for number in (1, 2):
            name, password = f"learner{os.getpid()}x{number}", secrets.token_hex(8)
            subprocess.run(["useradd", "--create-home", "--groups", group, "--shell", "/bin/bash", name], check=True)
            made[name] = password
            subprocess.run(["chpasswd"], input=f"{name}:{password}", text=True, check=True)
            Path(f"/home/{name}").chmod(0o755)
        yield group, made
    finally:
        for name in made:
            subprocess.run(["userdel", "--remove", "--force", name], capture_output=True)
        subprocess.run(["groupdel", group])


@pytest.fixture
def hub(accounts):
    """The address of the hub, set up as docs/instructor.md says."""
    folder = Path(tempfile.mkdtemp(prefix="course-hub-"))
    folder.chmod(0o755)
    shared = folder / "shared"
    (shared / "queue").mkdir(parents=True)
    (shared / "queue").chmod(0o1777)
    model = weights.prepare("gemma-3-270m")
    (shared / "cache" / "models" / model.name).mkdir(parents=True)
    for file in model.iterdir():
        shutil.copyfile(file, shared / "cache" / "models" / model.name / file.name)
    command = folder / "course"
    command.write_text(f'#!/bin/sh\nexec {sys.executable} -m course_utils.cli "$@"\n')
    command.chmod(0o755)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        address = f"http://127.0.0.1:{free.getsockname()[1]}"
    names = {
        "COURSE_HOME": str(ROOT),
        "COURSE_SHARED": str(shared),
        "COURSE_COMMAND": str(command),
        "COURSE_HUB": address,
    }
    environment = {name: value for name, value in os.environ.items() if not name.startswith("COURSE_")} | names
    environment["COURSE_GROUP"] = accounts[0]
    with (folder / "hub.log").open("wb") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", "jupyterhub", "-f", ROOT / "docs" / "hub" / "jupyterhub_config.py"],
            cwd=folder, env=environment, stdout=log, stderr=log,
        )  # fmt: skip
    try:
        yield address
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(60)
        print((folder / "hub.log").read_text(errors="replace")[-6000:])
        shutil.rmtree(folder)


def test_what_docs_hub_sets_is_what_the_course_reads(monkeypatch):
    """A variable or option that is written wrong would do nothing, and say nothing."""
    monkeypatch.delenv("COURSE_COMMAND", raising=False)
    settings = MagicMock()
    source = (ROOT / "docs" / "hub" / "jupyterhub_config.py").read_text(encoding="utf-8")
    exec(compile(source, "jupyterhub_config.py", "exec"), {"get_config": lambda: settings})
    values = yaml.safe_load((ROOT / "docs" / "hub" / "values.yaml").read_text(encoding="utf-8"))["singleuser"]
    read = {"COURSE_WORKSPACE", "COURSE_CACHE", "COURSE_QUEUE", "COURSE_PROFILE"}
    code = "".join(path.read_text(encoding="utf-8") for path in (ROOT / "course_utils").rglob("*.py"))
    assert all(f'environ.get("{name}")' in code or f'environ["{name}"]' in code for name in read)
    assert set(settings.Spawner.environment) == read
    assert set(values["extraEnv"]) == read - {"COURSE_CACHE"}  # that is in the image
    assert values["cmd"] == [Path(settings.Spawner.cmd[0]).name, *settings.Spawner.cmd[1:]] == ["course", "lab"]
    assert (
        values["memory"]["limit"] == settings.Spawner.mem_limit and values["cpu"]["limit"] == settings.Spawner.cpu_limit
    )
    assert values["storage"]["extraVolumeMounts"][0]["mountPath"] == values["extraEnv"]["COURSE_QUEUE"]


@pytest.mark.slow
@pytest.mark.skipif(not can_run(), reason="needs Linux, root, jupyterhub, its proxy, and a Python for everybody")
def test_two_learners_share_the_queue_and_the_model_and_nothing_else(hub, accounts):
    import requests

    end = time.monotonic() + PATIENCE
    while True:
        try:
            requests.get(f"{hub}/hub/health", timeout=5).raise_for_status()
            break
        except requests.RequestException:
            assert time.monotonic() < end
            time.sleep(PAUSE)
    first, second = (Learner(hub, name, password) for name, password in accounts[1].items())

    assert [learner.run(TRAIN).strip() for learner in (first, second)] == ["1", "1"]
    seen = set()
    found = [first.job(), second.job()]
    while not all(ended for _, _, _, ended, _ in found):
        seen |= {(state, place) for state, place, *_ in found}
        time.sleep(PAUSE)
        found = [first.job(), second.job()]
    assert [state for state, *_ in found] == ["已完成", "已完成"], found
    assert ("排队中", 1) in seen, seen  # one saw the other before it
    (_, _, start, end, _), (_, _, other_start, other_end, _) = found
    assert end <= other_start or other_end <= start, found

    place, key = first.run(PUBLISH).split()
    assert key.startswith("sk-") and place == f"/home/{first.name}/course-workspace"
    assert "读到了" not in (said := second.run(LOOK.format(place))) and said.count("读不了") == 5, said
    other = f"{hub}/user/{first.name}/api/contents"
    assert requests.get(other, headers=first.header).status_code == 200
    assert requests.get(other, headers=second.header).status_code in (403, 404)
    assert "notebooks" in {entry["name"] for entry in requests.get(other, headers=first.header).json()["content"]}
    assert "jupyter-config-data" in requests.get(f"{hub}/user/{first.name}/lab", headers=first.header).text
    wrong = requests.get(f"{hub}/user/{first.name}/lab", allow_redirects=False)
    assert wrong.status_code == 302 and "/hub/" in wrong.headers["Location"]  # to the form
