"""A training run is a folder that explains itself; this class only reads and writes it."""

import hashlib
import importlib.metadata
import itertools
import json
import os
import platform
from collections.abc import Iterable
from dataclasses import asdict
from datetime import datetime
from pathlib import Path

import yaml

from course_utils import paths
from course_utils.data.formats import read_rows
from course_utils.data.records import Record, atomic_writer, to_records, write_jsonl
from course_utils.errors import ConfigError, DataError
from course_utils.training.config import TrainingConfig

LIBRARIES = ("torch", "transformers", "peft", "accelerate", "datasets", "tokenizers", "safetensors")


class Run:
    """One fine-tune on disk.

    config.yaml     every setting
    run.json        data fingerprint, library versions, machine, results
    data/           train.jsonl, validation.jsonl and, when it was given, test.jsonl: the rows in Alpaca's fields
    metrics.jsonl   one line per report: step, loss, eval_loss, eval_accuracy, learning_rate, tokens_per_second,
                    seconds, time_left
    samples.jsonl   what a few validation rows were answered at each evaluation, see `Exam`
    checkpoints/    what `resume` goes on from
    adapter/        the best adapter in PEFT's own format with its model card (a full fine-tune has model/ instead)
    curve.png       the losses
    """

    def __init__(self, folder: str | Path):
        self.folder = Path(folder)
        if not (self.folder / "config.yaml").exists():
            raise ConfigError(
                f"{self.folder} 不是一次训练的文件夹：里面没有 config.yaml。请给 workspace/runs/ 下的一个文件夹。"
            )

    @classmethod
    def create(cls, config: TrainingConfig, data: dict[str, list[Record]], name: str) -> "Run":
        """Make a new folder `name` under `workspace/runs/`, numbered when that is taken. `data`: part -> rows."""
        folder = new_folder(paths.runs(), name)
        for part, records in data.items():
            write_jsonl(map(asdict, records), folder / "data" / f"{part}.jsonl")
        if Path(config.base_model).exists():  # a folder must be found from anywhere
            config = config.model_copy(update={"base_model": str(Path(config.base_model).resolve())})
        with atomic_writer(folder / "config.yaml") as file:
            yaml.safe_dump(config.model_dump(), file, allow_unicode=True, sort_keys=False)
        run = cls(folder)
        run.note(
            instruction=_common(record.instruction for record in data["train"]),
            system=_common(record.system for record in data["train"]),
            created=datetime.now().isoformat(timespec="seconds"),
            data={part: fingerprint(folder / "data" / f"{part}.jsonl") for part in data},
            versions={name: importlib.metadata.version(name) for name in LIBRARIES},
            machine={"system": platform.platform(), "cores": os.cpu_count()},
        )
        return run

    @property
    def config(self) -> TrainingConfig:
        return TrainingConfig.read(self.folder / "config.yaml")

    @property
    def facts(self) -> dict:
        """What `note` wrote."""
        path = self.folder / "run.json"
        return json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}

    def note(self, **facts) -> None:
        """Add to `run.json`."""
        with atomic_writer(self.folder / "run.json") as file:
            json.dump(self.facts | facts, file, ensure_ascii=False, indent=1)

    def records(self, part: str) -> list[Record]:
        """The rows of "train", "validation" or "test"."""
        return to_records(read_rows(self.folder / "data" / f"{part}.jsonl"))

    @property
    def metrics(self) -> list[dict]:
        """The lines of metrics.jsonl; a line that a crash cut short is left out."""
        return self._lines("metrics.jsonl")

    @property
    def samples(self) -> list[dict]:
        """The lines of samples.jsonl."""
        return self._lines("samples.jsonl")

    def _lines(self, name: str) -> list[dict]:
        path = self.folder / name
        lines = path.read_text(encoding="utf-8").split("\n") if path.exists() else []
        return [json.loads(line) for line in lines if line.endswith("}")]

    @property
    def stop_file(self) -> Path:
        """While this file is there, training saves a checkpoint and stops after the step at hand."""
        return self.folder / "stop"

    @property
    def checkpoint(self) -> Path | None:
        """The newest complete checkpoint. The Trainer writes trainer_state.json last."""
        found = [state.parent for state in self.folder.glob("checkpoints/checkpoint-*/trainer_state.json")]
        return max(found, key=lambda folder: int(folder.name.split("-")[1]), default=None)

    @property
    def weights(self) -> Path:
        """The folder with what was trained."""
        return self.folder / ("adapter" if self.config.method == "lora" else "model")

    @property
    def finished(self) -> bool:
        return "finished" in self.facts

    def load(self, merge: bool = True):
        """`(model, tokenizer)` of this run's best weights, ready to predict.

        merge: add the adapter to the base's weights, which predicts faster; False keeps the two apart.
        """
        from course_utils.models.load import load, load_classifier

        if not self.weights.exists():
            raise ConfigError(
                f"{self.folder.name} 还没有训练完，没有可用的权重。可以先继续：course train --resume {self.folder}"
            )
        config = self.config
        if config.method == "full":
            return load(str(self.weights), config.precision)
        from peft import PeftModel

        if config.task == "classification":
            model, tokenizer = load_classifier(config.base_model, self.facts["labels"], config.precision)
        else:
            model, tokenizer = load(config.base_model, config.precision)
        # Adapters in the model's own dtype: in fp32 every product would first widen all of its input.
        model = PeftModel.from_pretrained(model, self.weights, autocast_adapter_dtype=False).eval()
        return (model.merge_and_unload() if merge else model), tokenizer


def check_parts(data: dict[str, list[Record]]) -> None:
    """Raise `DataError` when there is nothing to train on or to validate with."""
    for part in ("train", "validation"):
        if not data.get(part):
            raise DataError(f"「{part}」部分没有数据。训练集和验证集都至少要有一行。")


def new_folder(home: Path, name: str) -> Path:
    """Make folder `name` in `home`, numbered when that is taken."""
    for number in itertools.count(1):
        folder = home / (name if number == 1 else f"{name}-{number}")
        try:
            folder.mkdir(parents=True)
            return folder
        except FileExistsError:
            continue


def _common(texts: Iterable[str]) -> str:
    """The text when all are the same, else nothing: what prediction falls back on for rows that bring none."""
    different = set(texts)
    return different.pop() if len(different) == 1 else ""


def fingerprint(path: Path) -> dict:
    """Rows and SHA-256 of a file of JSON lines."""
    content = path.read_bytes()
    return {"rows": content.count(b"\n"), "sha256": hashlib.sha256(content).hexdigest()}
