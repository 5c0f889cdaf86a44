"""The same services on a GPU machine: a vLLM server per base model, and our keys, limits and log in front.

vLLM is given token ids, not messages, so that here too what is served is what was trained. It cannot run on the
course's own machines; its command and the requests to it are tested against a stand-in. See docs/scale.md.
"""

import json
import math
import os
import secrets
import shlex
import shutil
import subprocess
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import httpx

from course_utils.errors import ConfigError, CourseError
from course_utils.inference.choose import Choice
from course_utils.models.encode import encode_answer, turn_end
from course_utils.models.weights import prepare
from course_utils.serving.limits import Refused
from course_utils.serving.prompts import Readers, encode_request
from course_utils.serving.services import Published
from course_utils.serving.store import Served
from course_utils.serving.work import CANCELLED, LENGTH, STOP, Choosing, Writing

RANKS = (1, 8, 16, 32, 64, 128, 256, 320, 512)  # what --max-lora-rank takes, vllm/config/lora.py
TYPES = {"auto": "auto", "bf16": "bfloat16", "fp16": "float16", "fp32": "float32"}
FIRST_PORT = 8801  # of the vLLM servers, on the loopback interface
STARTING = 900  # seconds until vLLM has to be ready
AT_ONCE = 256
BASE = "base"


@dataclass(frozen=True)
class Backend:
    """One vLLM server. names: what vLLM calls each thing served; adapters by number, the base `BASE`."""

    command: list[str]
    url: str
    names: dict[Served, str]


def backends(published: Sequence[Published]) -> list[Backend]:
    """The servers for all versions of all services, one per base model. Raises `ConfigError` for what vLLM cannot do."""
    bases: dict[tuple[str, str], dict[Served, int]] = {}
    for service in published:
        for version in service.versions:
            served = version.served
            if served.head:
                raise ConfigError(
                    f"服务「{service.name}」第 {version.number} 版是分类头，vLLM 不能和文本生成一起服务。"
                    "请用 --engine local，或者改用文本生成任务训练。"
                )
            bases.setdefault((served.base, served.precision), {})[served] = version.id
    return [
        _backend(base, precision, serveds, FIRST_PORT + i)
        for i, ((base, precision), serveds) in enumerate(bases.items())
    ]


def _backend(base: str, precision: str, serveds: dict[Served, int], port: int) -> Backend:
    names = {served: f"v{number}" if served.adapter else BASE for served, number in serveds.items()}
    command = [
        "vllm", "serve", str(prepare(base)), "--host", "127.0.0.1", "--port", str(port),
        "--served-model-name", BASE, "--dtype", TYPES[precision], "--generation-config", "vllm",
    ]  # fmt: skip
    adapters = {name: served.adapter for served, name in names.items() if served.adapter}
    if adapters:
        rank = max(_rank(adapter) for adapter in adapters.values())
        if rank > RANKS[-1]:
            raise ConfigError(f"LoRA 秩 {rank} 太大，vLLM 最大 {RANKS[-1]}。请用小一些的秩重新训练。")
        command += ["--enable-lora", "--max-loras", str(min(len(adapters), 8)), "--max-cpu-loras", str(len(adapters))]
        command += ["--max-lora-rank", str(next(r for r in RANKS if r >= rank))]
        command += ["--lora-modules", *(f"{name}={path}" for name, path in adapters.items())]
    return Backend(command, f"http://127.0.0.1:{port}", names)


def _rank(adapter: Path) -> int:
    return json.loads((adapter / "adapter_config.json").read_text(encoding="utf-8"))["r"]


class VllmEngine:
    """What `Engine` is to the application, with the models in vLLM servers. start: whether to start these."""

    def __init__(self, published: Sequence[Published], log: Callable[[str], None] = print, start: bool = True):
        self.backends, self.log = backends(published), log
        self.key = secrets.token_urlsafe(32)  # so that nobody on this machine goes round our keys
        for backend in self.backends:
            log(shlex.join(backend.command))
        self.processes = [self._start(backend) for backend in self.backends] if start else []
        self.http = httpx.Client(headers={"Authorization": f"Bearer {self.key}"}, timeout=httpx.Timeout(600, connect=5))
        self.pool, self.readers, self.closing = ThreadPoolExecutor(AT_ONCE), Readers(log), False

    def submit(self, work: Writing | Choosing) -> None:
        """Hand work to vLLM, which has its own queue. Raises `Refused`."""
        if self.closing:
            raise Refused(503, "shutting_down", "服务正在停止。请稍后再试。", retry_after=10)
        backend = next((b for b in self.backends if work.served in b.names), None)
        if backend is None:
            raise Refused(503, "not_loaded", "这一版是在 vLLM 启动之后发布的。请让服务的主人重新启动 course serve。")
        self.pool.submit(self._safely, self._write if isinstance(work, Writing) else self._choose, work, backend)

    def warm(self) -> None:
        """Wait until every vLLM server is ready. Raises `CourseError` when one is not."""
        deadline = time.monotonic() + STARTING
        for i, backend in enumerate(self.backends):
            while not self._ready(backend):
                ended = self.processes and self.processes[i].poll() is not None
                if ended or time.monotonic() > deadline:
                    raise CourseError("vLLM 没有启动成功。请看上面它自己的输出；常见的原因是显存不够或版本太旧。")
                time.sleep(1)

    def close(self) -> None:
        self.closing = True
        self.pool.shutdown()
        for process in self.processes:
            process.terminate()
        for process in self.processes:
            process.wait()
        self.http.close()

    def _start(self, backend: Backend) -> subprocess.Popen:
        if shutil.which("vllm") is None:
            raise ConfigError(
                "这台机器没有装 vLLM。请在有 NVIDIA GPU 的 Linux 机器上 pip install vllm，或者用 --engine local。"
                f"要运行的命令是：{shlex.join(backend.command)}"
            )
        free = {"start_new_session": True}  # a Ctrl-C is for us: vLLM has still to answer what has begun
        return subprocess.Popen(backend.command, env=os.environ | {"VLLM_API_KEY": self.key}, **free)

    def _ready(self, backend: Backend) -> bool:
        try:
            return self.http.get(f"{backend.url}/health").status_code == 200
        except httpx.HTTPError:
            return False

    def _write(self, work: Writing, backend: Backend) -> None:
        tokenizer = self.readers.tokenizer(work.served)
        body = {
            "model": backend.names[work.served], "prompt": work.ids, "max_tokens": work.max_tokens,
            "temperature": work.temperature, "top_p": work.top_p, "seed": work.seed, "stream": True,
            "stream_options": {"include_usage": True},
            "stop_token_ids": [turn_end(tokenizer), tokenizer.eos_token_id],
        }  # fmt: skip
        text, reason = "", None
        with self.http.stream("POST", f"{backend.url}/v1/completions", json=body) as response:
            if response.status_code != 200:
                raise _refusal(response.status_code, response.read())
            for line in response.iter_lines():
                data = line.removeprefix("data: ").strip()
                if not data or data == "[DONE]":
                    continue
                chunk = json.loads(data)
                for choice in chunk["choices"]:
                    text, reason = text + choice["text"], choice["finish_reason"] or reason
                    work.say(text, final=False)
                work.said = (chunk.get("usage") or {}).get("completion_tokens", work.said)
                if work.cancelled or work.outcome:
                    break
        work.outcome = work.outcome or (CANCELLED if work.cancelled else LENGTH if reason == "length" else STOP)
        work.say(text, final=True)
        work.told(None)

    def _choose(self, work: Choosing, backend: Backend) -> None:
        """The likelihood of every label and its terminator, as `choose` takes it, from vLLM's prompt_logprobs."""
        tokenizer = self.readers.tokenizer(work.served)
        prompt, end = encode_request(work.record, tokenizer), turn_end(tokenizer)
        body = {
            "model": backend.names[work.served], "max_tokens": 1, "temperature": 0, "prompt_logprobs": 0,
            "prompt": [[*prompt, *encode_answer(label, tokenizer), end] for label in work.labels],
        }  # fmt: skip
        response = self.http.post(f"{backend.url}/v1/completions", json=body)
        if response.status_code != 200:
            raise _refusal(response.status_code, response.content)
        likelihood = {}
        for choice in response.json()["choices"]:
            ids, told = body["prompt"][choice["index"]], choice["prompt_logprobs"]
            said = range(len(prompt), len(ids))
            likelihood[work.labels[choice["index"]]] = sum(told[i][str(ids[i])]["logprob"] for i in said)
        best = max(likelihood, key=likelihood.get)
        shares = {label: math.exp(value - likelihood[best]) for label, value in likelihood.items()}
        scores = {label: share / sum(shares.values()) for label, share in shares.items()}
        work.choice, work.outcome = Choice(best, scores, likelihood), STOP
        work.told(None)

    def _safely(self, do: Callable, work: Writing | Choosing, backend: Backend) -> None:
        try:
            do(work, backend)
        except httpx.HTTPError as error:
            self.log(f"vLLM 没有回答：{type(error).__name__}")
            work.fail(Refused(502, "backend_unreachable", "后面的 vLLM 没有回答。请稍后再试。"))
        except Exception as error:
            self.log(f"vLLM 的回答用不了：{type(error).__name__}: {error}")
            work.fail(error)


def _refusal(status: int, body: bytes) -> Refused:
    if status == 400 and b"context" in body:
        return Refused(
            400, "context_length_exceeded", "提示和答案合起来超过模型能看的长度。请缩短提示或调小 max_tokens。"
        )
    return Refused(502, "backend_error", f"后面的 vLLM 出错（状态 {status}）。请告诉服务的主人看看它的输出。")
