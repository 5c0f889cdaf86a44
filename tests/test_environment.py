"""`course check`: each thing that can be wrong is named, with its repair and the right level."""

import importlib.metadata
import socket
import sys
import time
from types import SimpleNamespace

import psutil
import pytest
import torch
from packaging.requirements import Requirement
from typer.testing import CliRunner

from course_utils import cli, environment
from course_utils.environment import ATTENTION, FAILED, OK, Line
from course_utils.errors import CourseError, WeightsError


@pytest.fixture(autouse=True)
def no_network(monkeypatch):
    """Hubs answer at once that they are not there."""
    monkeypatch.setattr(environment, "_answering", lambda addresses: [])


def one(lines: list[Line]) -> Line:
    (line,) = lines
    return line


def test_this_environment_has_no_failure():
    lines = environment.report()
    assert [str(line) for line in lines if line.level == FAILED] == []
    assert [line.name for line in lines[-2:]] == ["模型", "模型站"]


def test_every_line_that_is_not_ok_has_a_repair():
    assert all(bool(line.repair) == (line.level != OK) for line in environment.report())


def test_a_line_reads_in_columns():
    assert str(Line(OK, "GPU", "没有 GPU，用 CPU")) == "OK    GPU：没有 GPU，用 CPU"
    assert str(Line(FAILED, "磁盘", "满了", "腾出空间")) == "失败  磁盘：满了。修复：腾出空间"


def test_packages_that_agree_are_one_line():
    line = one(environment.packages())
    assert line.level == OK
    assert str(len(environment.locked())) in line.detail


def test_a_package_that_differs_or_is_missing_has_its_pip_command(monkeypatch):
    lock = [Requirement("numpy==0.1"), Requirement("No_Such.Package==1.0"), Requirement("torch==2.13.0")]
    monkeypatch.setattr(environment, "locked", lambda: lock)
    differs, missing = environment.packages()
    assert (differs.level, differs.repair) == (ATTENTION, "pip install numpy==0.1")
    assert importlib.metadata.version("numpy") in differs.detail and "0.1" in differs.detail
    assert (missing.level, missing.repair) == (FAILED, "pip install no-such-package==1.0")


def test_the_lock_is_read_for_this_platform():
    names = {r.name for r in environment.locked()}
    assert ("appnope" in names) == (sys.platform == "darwin")
    assert "torch" in names


def test_an_old_python_fails(monkeypatch):
    monkeypatch.setattr(environment.sys, "version_info", (3, 10, 1))
    assert one(environment.python()).level == FAILED


@pytest.mark.parametrize("gib, level", [(4, ATTENTION), (7.7, OK), (16, OK)])
def test_little_memory_is_pointed_out(monkeypatch, gib, level):
    monkeypatch.setattr(psutil, "virtual_memory", lambda: SimpleNamespace(total=gib * 2**30, available=2**30))
    assert one(environment.memory()).level == level


@pytest.mark.parametrize("gb, level", [(0.5, FAILED), (3, ATTENTION), (50, OK)])
def test_a_full_disk_fails_and_a_small_one_is_pointed_out(monkeypatch, tmp_path, gb, level):
    monkeypatch.setattr(environment.shutil, "disk_usage", lambda folder: SimpleNamespace(free=gb * 1e9))
    line = environment._disk(tmp_path)
    assert line.level == level
    assert str(tmp_path) in line.detail


def test_no_gpu_is_fine_but_one_that_torch_cannot_use_is_not(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: False)
    monkeypatch.setattr(environment.shutil, "which", lambda name: None)
    assert one(environment.gpu()) == Line(OK, "GPU", "没有 GPU，用 CPU")
    monkeypatch.setattr(environment.shutil, "which", lambda name: "/usr/bin/nvidia-smi")
    assert one(environment.gpu()).level == ATTENTION


@pytest.mark.parametrize("names, expected", [({"bf16": True}, "支持（bf16）"), ({"avx2": True}, "不支持")])
def test_bf16_of_arm_and_of_an_old_processor(monkeypatch, names, expected):
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: names)
    assert expected in one(environment.bf16()).detail


def test_widgets_without_their_half_for_the_browser_fail(monkeypatch):
    monkeypatch.setattr("jupyter_core.paths.jupyter_path", lambda *parts: ["/nowhere"])
    assert one(environment.widgets()).level == FAILED


def test_missing_weights_fail_with_their_own_message(monkeypatch):
    def missing(source):
        raise WeightsError("没有安装随课程的模型")

    monkeypatch.setattr("course_utils.models.weights.is_ready", lambda folder: False)
    assert one(environment.weights()).level == OK
    monkeypatch.setattr("course_utils.models.weights.wheel_chunks", missing)
    line = one(environment.weights())
    assert (line.level, line.detail) == (FAILED, "没有安装随课程的模型")


def test_no_hub_is_only_pointed_out(monkeypatch):
    assert one(environment.hubs()).level == ATTENTION
    monkeypatch.setattr(environment, "_answering", lambda addresses: addresses[:1])
    assert one(environment.hubs()).level == OK


def test_a_check_that_breaks_does_not_hide_the_others(monkeypatch):
    def broken():
        raise RuntimeError("no driver")

    monkeypatch.setattr(environment, "gpu", broken)
    lines = environment.report()
    assert [line.detail for line in lines if "no driver" in line.detail and line.level == FAILED]
    assert lines[-1].name == "模型站"


@pytest.mark.parametrize("level, status", [(OK, 0), (ATTENTION, 0), (FAILED, 1)])
def test_exit_status_is_1_only_when_something_failed(monkeypatch, level, status):
    monkeypatch.setattr(environment, "report", lambda: [Line(level, "磁盘", "还剩 1 GB", "腾出空间")])
    result = CliRunner().invoke(cli.app, ["check"])
    assert result.exit_code == status
    assert "磁盘：还剩 1 GB。修复：腾出空间" in result.output


def test_a_course_error_is_one_line_on_stderr(monkeypatch, capsys):
    def fail():
        raise CourseError("第 3 行没有答案。请补上。")

    monkeypatch.setattr(cli, "app", fail)
    with pytest.raises(SystemExit) as stop:
        cli.main()
    assert stop.value.code == 1
    assert capsys.readouterr().err == "第 3 行没有答案。请补上。\n"


def test_options_go_on_to_pytest_and_its_status_comes_back(monkeypatch):
    done = CliRunner().invoke(cli.app, ["test", "--collect-only", "-q", "-k", "no_test_has_this_name"])
    assert done.exit_code == 5  # pytest's status for nothing collected


class TestAnswering:
    """Against sockets of this computer: one that answers, one that refuses, one that stays silent."""

    @pytest.fixture(autouse=True)
    def no_network(self, monkeypatch):
        monkeypatch.setattr(environment, "TIMEOUT", 0.3)
        monkeypatch.setenv("no_proxy", "127.0.0.1")

    def test_the_silent_and_the_absent_do_not_delay_the_one_that_answers(self):
        import http.server
        import threading

        with (
            http.server.HTTPServer(("127.0.0.1", 0), http.server.BaseHTTPRequestHandler) as server,  # answers 501
            socket.create_server(("127.0.0.1", 0)) as silent,
        ):
            threading.Thread(target=server.serve_forever, daemon=True).start()
            answering = f"http://127.0.0.1:{server.server_port}"
            start = time.monotonic()
            reached = environment._answering(
                [f"http://127.0.0.1:{silent.getsockname()[1]}", "http://127.0.0.1:1", answering]
            )
            server.shutdown()
        assert reached == [answering]
        assert time.monotonic() - start < 2
