"""大模型精调实战课：首次运行会在 .venv 里装好全部依赖，之后直接执行命令。

用法：python course.py 命令 [选项]

  demo      从头到尾做一次精调：数据、训练、预测、评估
  lab       打开 JupyterLab，从第一课学起
  train     按配置文件训练
  predict   用训练好的模型批量预测
  evaluate  给预测结果打分
  progress  看自己的学习进度
  check     检查这台电脑的环境
  test      运行测试

python course.py 命令 --help 显示一个命令的选项。
没有网络时，从老师给的离线包安装：python course.py --from 离线包文件夹 命令
"""

# Standard library only, and no syntax newer than Python 3.6: an old Python must get far enough to say that it is old.

import contextlib
import hashlib
import importlib.util
import json
import os
import platform
import re
import shutil
import subprocess
import sys
import sysconfig
import time
from pathlib import Path

MINIMUM_PYTHON = (3, 11)
NEEDED_GB = 5  # the CPU build of torch and the rest, pip's downloads, the converted weights, a few runs

ROOT = Path(__file__).resolve().parent
LOCK = ROOT / "requirements.lock"
VENV = ROOT / ".venv"
WINDOWS = os.name == "nt"
BIN = VENV / ("Scripts" if WINDOWS else "bin")
PYTHON = BIN / ("python.exe" if WINDOWS else "python")
COURSE = BIN / ("course.exe" if WINDOWS else "course")
MARKER = VENV / "course-ready.txt"  # written last: a .venv without it was interrupted
LOG = VENV / "install.log"
# How pip names a package that it takes from an index, finds in place, or takes from a file on this disk.
COLLECTED = re.compile(
    r"\s*(?:Collecting |Requirement already satisfied: )([\w.-]+)|\s*Processing .*?[/\\]([\w.]+)-\d[^/\\]*(?:whl|gz)"
)


def main(arguments):
    check_python(sys.version_info)
    if not arguments or arguments[0] in ("-h", "--help"):
        print(__doc__.strip())
        return 0
    kit = None
    if arguments[0] == "--from":
        if len(arguments) < 3:
            sys.exit("--from 后面要写离线包的文件夹和一个命令，例如：python course.py --from ../kit check")
        kit, arguments = Path(arguments[1]).resolve(), arguments[2:]
    if arguments[:2] == ["kit", "verify"]:  # asked before anything is installed
        return tell_kit(kit, arguments[2:])
    if not ready():
        with only_one_at_a_time() as lock:
            if not ready():  # the launch that we waited for may have done it
                set_up(lock, kit)
    return hand_over(arguments)


# --- is everything there? ---------------------------------------------------------------------------------------------


def check_python(version):
    if tuple(version[:2]) < MINIMUM_PYTHON:
        sys.exit(
            "Python {}.{} 太旧，本课程需要 {}.{} 或更新的版本：请从 python.org 安装，再用它运行 course.py。".format(
                version[0], version[1], *MINIMUM_PYTHON
            )
        )


def place():
    """What a venv does not survive: its folder being moved, or another minor version of Python."""
    return "{} | Python {}.{}".format(ROOT, *sys.version_info[:2])


def contents():
    """What must be inside: a hash of the two files that say so."""
    files = (LOCK, ROOT / "pyproject.toml")
    return hashlib.sha256(b"\0".join(file.read_bytes() for file in files)).hexdigest()


def marker():
    """The two lines left by the last complete installation, or two empty ones."""
    return MARKER.read_text(encoding="utf-8").splitlines() if MARKER.is_file() else ["", ""]


def ready():
    return marker() == [place(), contents()] and PYTHON.exists() and COURSE.exists()


@contextlib.contextmanager
def only_one_at_a_time():
    """Wait while another launch installs. The lock is on this very file, so nothing is left to clean up."""
    with open(__file__, "r+b") as file:
        waiting = False
        while not locked(file):
            if not waiting:
                print("另一个窗口正在安装课程，等它完成……", flush=True)
            waiting = True
            time.sleep(1)
        yield file


def locked(file):
    """Take the system's lock on an open file, which ends with the process; False when another process holds it."""
    try:
        if WINDOWS:
            import msvcrt

            file.seek(1 << 30)  # far behind the text: Windows would keep others from reading a locked byte
            msvcrt.locking(file.fileno(), msvcrt.LK_NBLCK, 1)
        else:
            import fcntl

            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return False
    return True


# --- installing -------------------------------------------------------------------------------------------------------


def set_up(lock, kit=None):
    """Everything of the lock and the course itself; from `kit`, a folder, when there is one, and then without network."""
    if kit:
        check_fits(verified(kit))
    network = "不用联网" if kit else "需要联网"
    print(f"正在安装课程的依赖（只需一次，{network}；详细日志：{shown(LOG)}）", flush=True)
    if marker()[0] != place() or not PYTHON.exists():
        make_venv()
    if MARKER.exists():
        MARKER.unlink()
    LOG.write_bytes(b"")
    progress = Progress(locked_names())
    install(["-r", str(LOCK)], progress, lock, kit)
    install(["--no-deps", "--no-build-isolation", "-e", str(ROOT)], progress, lock, kit)
    progress.finish()
    if kit and (kit / "models").is_dir():
        run([str(COURSE), "kit", "unpack", str(kit)])
    MARKER.write_text(f"{place()}\n{contents()}\n", encoding="utf-8")


def make_venv():
    """A fresh .venv; one that was moved, interrupted or made by another Python is replaced."""
    check_disk(shutil.disk_usage(str(ROOT)).free)
    if not (importlib.util.find_spec("venv") and importlib.util.find_spec("ensurepip")):
        sys.exit(
            "这个 Python 没有 venv 模块：Debian / Ubuntu 请先运行 sudo apt install python{}.{}-venv，"
            "其他系统请从 python.org 重新安装 Python，然后重试。".format(*sys.version_info[:2])
        )
    # Started from inside an activated .venv, this Python would delete itself: use the one it was made from.
    python = getattr(sys, "_base_executable", sys.executable)
    made = subprocess.run(
        [python, "-m", "venv", "--clear", str(VENV)], stdout=subprocess.PIPE, stderr=subprocess.STDOUT
    )
    if made.returncode:
        lines = made.stdout.decode("utf-8", "replace").strip().splitlines()
        sys.exit("建不了 .venv（{}）：请关闭正在使用它的窗口，删除 .venv 文件夹，再重试。".format((lines or [""])[-1]))


def check_disk(free):
    if free < NEEDED_GB * 10**9:
        sys.exit(
            f"磁盘空间不够：{ROOT} 所在的磁盘还剩 {free / 10**9:.1f} GB，安装需要约 {NEEDED_GB} GB。请腾出空间后重试。"
        )


def pip_command(arguments):
    options = ["--disable-pip-version-check", "--progress-bar", "off"]
    if not sys.dont_write_bytecode:  # much faster: Python compiles what is really imported, once, and keeps it
        options.append("--no-compile")
    return [str(PYTHON), "-m", "pip", "install", *options, *arguments]


def install(arguments, progress, lock, kit=None):
    """Run pip with its whole output in the log and one line on the screen; leave with one line when it fails."""
    environment = dict(os.environ, PYTHONUTF8="1", PYTHONUNBUFFERED="1")
    if kit:  # neither an index nor whatever this computer has set for pip
        environment = {name: value for name, value in environment.items() if not name.startswith("PIP_")}
        environment["PIP_CONFIG_FILE"] = os.devnull
        arguments = [*arguments, "--no-index", "--find-links", str(kit / "wheels")]
    # pip inherits the lock: should this process be killed, the next launch still waits for the pip it left behind.
    inherited = () if WINDOWS else (lock.fileno(),)
    with open(str(LOG), "ab") as log, open(str(LOG), encoding="utf-8", errors="replace") as output:
        output.seek(0, os.SEEK_END)
        process = subprocess.Popen(
            pip_command(arguments), cwd=str(ROOT), env=environment, stdout=log, stderr=log, pass_fds=inherited
        )
        try:
            while process.poll() is None:
                progress.read(output.read())
                progress.show()
                time.sleep(0.5)
        except KeyboardInterrupt:
            process.terminate()
            process.wait()
            raise
    if process.returncode:
        progress.finish()
        said = LOG.read_text(encoding="utf-8", errors="replace")
        sys.exit("安装失败：{}。{}。详细日志：{}".format(*explain(said, kit), shown(LOG)))


def explain(output, kit=None):
    """pip's own last error, and what the learner can do about it."""
    errors = re.findall(r"^ERROR: (.+?)\.?\s*$", output, re.MULTILINE)
    reason = errors[-1] if errors else "pip 没有说明原因"
    if "No space left" in output:
        return reason, "磁盘已满，请腾出空间后重试"
    if kit and "No matching distribution" in output:
        return reason, "离线包里没有适合这台电脑的版本，请老师核对系统要求并重做离线包"
    if re.search(r"Retrying \(Retry|ConnectionError|Connection aborted|[Tt]imed out|Temporary failure", output):
        return reason, "连不上软件源，请检查网络，或给 pip 换一个镜像源，然后重试；已下载的部分不会重来"
    if "No matching distribution" in output:
        return reason, "软件源里没有适合这台电脑的版本：请用 64 位的 Python 3.11 到 3.13，并核对 README 里的系统要求"
    return reason, "请直接重试；仍然失败时请查看日志"


def locked_names():
    """The packages every platform gets; those with a marker are left out, as only pip can judge the marker."""
    lines = LOCK.read_text(encoding="utf-8").splitlines()
    return {plain(line.split("==")[0]) for line in lines if "==" in line and ";" not in line and line[0] != "#"}


def plain(name):
    return re.sub(r"[-_.]+", "-", name).lower()


class Progress:
    """One line on the screen, written over again each second: 下载 41/160 numpy，已用 0:12."""

    def __init__(self, wanted):
        self.wanted, self.seen = wanted, set()
        self.start = time.monotonic()
        self.text, self.rest, self.writing = "正在准备", "", 0
        # A log file or a pipe cannot be written over: there a new line comes now and then.
        self.live = sys.stdout.isatty()
        self.shown = float("-inf")

    def read(self, output):
        """Take what pip has written since the last call; a line that is not finished waits for its end."""
        *lines, self.rest = (self.rest + output).split("\n")
        for line in lines:
            found = COLLECTED.match(line)
            if found:
                name = found.group(found.lastindex)
                self.seen.add(plain(name))
                self.text = f"下载 {len(self.seen & self.wanted)}/{len(self.wanted)} {name[:30]}"
            elif line.startswith("Installing collected packages"):
                self.writing = line.count(",") + 1

    def show(self):
        now = time.monotonic()
        if not self.live and now - self.shown < 20:
            return
        self.shown = now
        if self.writing > 1:  # pip is silent here, so count what has arrived; the course alone is not worth a count
            self.text = f"写入磁盘 {min(installed(), self.writing)}/{self.writing}"
        minutes, seconds = divmod(int(now - self.start), 60)
        line = f"{self.text}，已用 {minutes}:{seconds:02d}"
        print("\r" + line.ljust(60) if self.live else line, end="" if self.live else "\n", flush=True)

    def finish(self):
        self.shown = float("-inf")
        self.show()
        if self.live:
            print(flush=True)


def installed():
    packages = Path(sysconfig.get_path("purelib", "venv", {"base": str(VENV)}))
    return sum(1 for _ in packages.glob("*.dist-info"))


def shown(path):
    return path.relative_to(ROOT)


# --- an offline kit, as `course kit build` makes it --------------------------------------------------------------------


def tell_kit(kit, rest):
    """`course kit verify DIR`."""
    if kit is None:
        if not rest or rest[0].startswith("-"):
            sys.exit("请写出离线包的文件夹，例如：python course.py kit verify ../kit")
        kit = Path(rest[0]).resolve()
    manifest = verified(kit)
    print(
        "离线包完好：{} 个文件与清单一致。适用于 {}；Python {}。".format(
            len(manifest["files"]), "、".join(manifest["platforms"]), "、".join(manifest["pythons"])
        )
    )
    return 0


def verified(kit):
    """The manifest of a kit whose files are all as they were made; leave with one line when they are not."""
    path = kit / "manifest.json"
    if not path.is_file():
        sys.exit(f"{kit} 不是离线包：里面没有 manifest.json。请写出离线包所在的文件夹。")
    remedy = "请重新复制离线包，或请老师再运行一次 course kit build"
    try:
        manifest = json.loads(path.read_text(encoding="utf-8"))
        files = manifest["files"]
    except (ValueError, KeyError):
        sys.exit(f"离线包的清单 {path} 已损坏。{remedy}。")
    if not files:
        sys.exit("这个离线包还没有做完：请老师再运行一次 course kit build，会接着做。")
    bad = []
    for number, name in enumerate(sorted(files), 1):
        if sys.stdout.isatty():
            print(f"\r正在核对离线包 {number}/{len(files)}".ljust(60), end="", flush=True)
        if sha256(kit / name) != files[name]["sha256"]:
            bad.append(name)
    if sys.stdout.isatty():
        print(flush=True)
    # pip would take a wheel that somebody has added.
    bad += sorted("wheels/" + file.name for file in (kit / "wheels").iterdir() if "wheels/" + file.name not in files)
    if bad:
        names = "、".join(bad[:5]) + ("等" if len(bad) > 5 else "")
        sys.exit(f"离线包有 {len(bad)} 个文件缺失、损坏或不在清单上：{names}。{remedy}。")
    return manifest


def check_fits(manifest):
    """Leave with one line when a kit is for other computers, another Python or another version of the course."""
    system, python = this_platform(), "{}.{}".format(*sys.version_info[:2])
    if system not in manifest["platforms"] or python not in manifest["pythons"]:
        sys.exit(
            "离线包适用于 {} 上的 Python {}，这里是 {} 上的 Python {}：请换一个 Python，或请老师用 "
            "course kit build --platform {} --python {} 再做一次。".format(
                "、".join(manifest["platforms"]), "、".join(manifest["pythons"]), system, python, system, python
            )
        )
    if manifest["files"]["course/requirements.lock"]["sha256"] != sha256(LOCK):
        sys.exit("离线包和这个课程文件夹的版本不同：请把离线包里的 course 文件夹复制过来，在它里面运行。")


def this_platform():
    """As `course kit build --platform` names it. A universal Python for macOS does not say on which chip it runs."""
    name = sysconfig.get_platform()
    return "macosx_" + platform.machine() if name.startswith("macosx") else name.replace("-", "_")


def sha256(path):
    """Of a file, in hexadecimal; nothing when it cannot be read."""
    found = hashlib.sha256()
    try:
        with open(str(path), "rb") as file:
            for block in iter(lambda: file.read(1 << 20), b""):
                found.update(block)
    except OSError:
        return ""
    return found.hexdigest()


# --- handing over -----------------------------------------------------------------------------------------------------


def hand_over(arguments):
    command = [str(COURSE), *arguments]
    if not WINDOWS:
        os.execv(command[0], command)
    return run(command)


def run(command):
    """The exit status of a command that has the screen meanwhile."""
    process = subprocess.Popen(command)
    while True:
        try:
            return process.wait()
        except KeyboardInterrupt:  # the command got it too, and decides what it means
            continue


if __name__ == "__main__":
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):  # a console that lacks a character shows ? in its place
            stream.reconfigure(errors="replace")
    try:
        sys.exit(main(sys.argv[1:]))
    except KeyboardInterrupt:
        print("\n已中断。再次运行同一条命令会接着做。", file=sys.stderr)
        sys.exit(130)
    except OSError as error:
        sys.exit(f"读写文件出错（{error}）：请确认课程文件夹可写、磁盘未满，然后重试。")
