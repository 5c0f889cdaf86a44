"""The files of a submission, taken from the workspace: a notebook's free answers, claims, a run, a data set; and the zip."""

import hashlib
import io
import json
import zipfile
from dataclasses import asdict
from pathlib import Path

from course_utils import copies
from course_utils.data.store import DataSet
from course_utils.errors import ConfigError
from course_utils.grading import progress
from course_utils.grading import submission as s
from course_utils.grading.untrusted import parse
from course_utils.notebooks import ANSWER_TAG, NOTEBOOKS, WRITE_ANSWER
from course_utils.training.run import Run

GIVEN = "given.json"  # in the run folder: what its model answered to the given questions
SETTINGS = ("r", "lora_alpha", "lora_dropout", "target_modules", "layers_to_transform", "bias")
FACTS = ("created", "steps", "seconds", "best_eval_loss", "versions", "machine")


def notebook_cells(notebook: str | Path) -> tuple[str, list[dict]]:
    """The chapter's number, such as "05", and the cells of the saved file. Raises `ConfigError`."""
    text = str(notebook)
    homes = (copies.folder(), NOTEBOOKS)  # the learner's copy, else the course's own, which may be used as it is
    if text.endswith(".ipynb"):
        found = [Path(text)]
    else:
        found = [
            path for home in homes for path in sorted(home.glob("[0-9][0-9]_*.ipynb")) if path.name[:2] == text[:2]
        ]
    if not found or not found[0].exists() or not found[0].name[:2].isdigit():
        raise ConfigError(f"找不到笔记本「{text}」。请写章号，例如 05，或者 .ipynb 文件的路径（名字以章号开头）。")
    content = parse(found[0].read_bytes(), found[0].name)
    cells = content.get("cells") if isinstance(content, dict) else None
    if not isinstance(cells, list):
        raise ConfigError(f"{found[0]} 不是笔记本文件：里面没有 cells。请检查路径。")
    return found[0].name[:2], cells


def free_answers(cells: list[dict]) -> dict[str, str]:
    """exercise -> text of every cell for a free answer; "" where nothing was written."""
    found = {}
    for cell in cells:
        for tag in cell.get("metadata", {}).get("tags", []):
            if cell.get("cell_type") == "markdown" and tag.startswith(ANSWER_TAG):
                text = "".join(cell.get("source", "")).strip()
                found[tag.removeprefix(ANSWER_TAG)] = "" if text == WRITE_ANSWER else text
    return found


def claims() -> bytes:
    """Of each exercise and quiz the last attempt that passed, else the last."""
    chosen = {}
    for claim in progress.attempts():
        if claim.passed or not chosen.get(claim.exercise) or not chosen[claim.exercise].passed:
            chosen[claim.exercise] = claim
    return "".join(json.dumps(asdict(claim), ensure_ascii=False) + "\n" for claim in chosen.values()).encode()


def check_run(run: Run) -> None:
    """Raise `ConfigError` for a run of which there is no adapter to hand in."""
    config, again = run.config, "请用 LoRA 和文本生成重新训练"
    if config.method != "lora" or config.task != "generation":
        raise ConfigError(f"「{run.folder.name}」是全参微调或分类头，没有可以交的适配器。{again}")
    if not (run.weights / "adapter_model.safetensors").exists():
        raise ConfigError(
            f"「{run.folder.name}」还没有训练完，没有适配器。可以继续：course train --resume {run.folder}"
        )


def run_files(run: Run) -> dict[str, bytes]:
    """Adapter, training record, data and, when it has answered them, the answers to the given questions."""
    own = json.loads((run.weights / "adapter_config.json").read_text(encoding="utf-8"))
    config, facts = run.config, run.facts
    settings = {name: own[name] for name in SETTINGS} | {"base_model_name_or_path": config.base_model}
    settings["target_modules"] = sorted(own["target_modules"])  # PEFT keeps a set
    record = {name: facts.get(name) for name in FACTS} | {
        "run": run.folder.name,
        "config": config.model_dump(),
        "finished": run.finished,
        "data": {part: facts["data"][part] for part in ("train", "validation")},
    }
    files = {
        s.WEIGHTS: (run.weights / "adapter_model.safetensors").read_bytes(),
        s.SETTINGS: as_json(settings),
        s.TRAINING: as_json(record),
        s.METRICS: (run.folder / "metrics.jsonl").read_bytes(),
        s.TRAIN: (run.folder / "data" / "train.jsonl").read_bytes(),
        s.VALIDATION: (run.folder / "data" / "validation.jsonl").read_bytes(),
    }
    if (run.folder / GIVEN).exists():
        files[s.PREDICTIONS] = (run.folder / GIVEN).read_bytes()
    return files


def add_data(files: dict[str, bytes], name: str) -> None:
    """The data set `name` of the workspace. Raises `ConfigError` when a run brings data and was trained on others."""
    for part, records in DataSet.open(name).records().items():
        place = s.VALIDATION if part == "validation" else s.TRAIN if part in ("train", "all") else None
        if place:
            lines = "".join(json.dumps(asdict(record), ensure_ascii=False) + "\n" for record in records).encode()
            if files.get(place, lines) != lines:
                raise ConfigError(f"训练用的不是数据集「{name}」：{part} 部分不同。请去掉 data，或者换一次训练")
            files[place] = lines
    files.setdefault(s.VALIDATION, b"")


def sealed(
    files: dict[str, bytes], notebook: str, student_id: str, student_name: str, base: str | None, created: str
) -> dict[str, bytes]:
    """The files with their manifest in front."""
    manifest = s.Manifest(
        notebook=notebook,
        student_id=student_id,
        student_name=student_name,
        base_model=base,
        created=created,
        files={name: s.FileEntry(bytes=len(c), sha256=hashlib.sha256(c).hexdigest()) for name, c in files.items()},
    )
    return {s.MANIFEST: as_json(manifest.model_dump())} | files


def make_zip(files: dict[str, bytes]) -> bytes:
    """The bytes of a zip as `archive.unpack` wants it."""
    target = io.BytesIO()
    with zipfile.ZipFile(target, "w") as archive:
        for name, content in files.items():
            method = zipfile.ZIP_STORED if name == s.WEIGHTS else zipfile.ZIP_DEFLATED  # weights do not get smaller
            archive.writestr(zipfile.ZipInfo(name), content, method)
    return target.getvalue()


def plain(text: str) -> str:
    """A part of a file name on any system."""
    return "".join(mark for mark in text if mark.isalnum() or mark in "_")[:40]


def as_json(value) -> bytes:
    """Indented UTF-8."""
    return json.dumps(value, ensure_ascii=False, indent=1).encode()
