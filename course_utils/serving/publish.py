"""A run becomes the next version of a service: proved, copied, described."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path

from sqlmodel import col, select

from course_utils import paths
from course_utils.data.records import atomic_writer
from course_utils.errors import ConfigError, CourseError
from course_utils.serving.prompts import prove
from course_utils.serving.services import check_name
from course_utils.serving.store import Move, Service, Version, writing
from course_utils.training.run import Run


def publish(run: Run, service: str, log: Callable[[str], None] = print) -> Version:
    """Publish a run's weights as the next version of `service`, which is made when it is not there.

    The weights are copied, so a version stays what it is whatever becomes of the run. Version 1 answers at once;
    later ones when asked for (`名字@2`) or made current by `services.update`. Raises `CourseError` when the run has
    no weights, when these are not finite, or when it cannot be proved that requests are encoded as in training.
    """
    from course_utils.models.load import load_tokenizer

    check_name(service, "服务")
    if not run.weights.exists():
        raise ConfigError(
            f"{run.folder.name} 还没有训练完，没有可以发布的权重。可以先继续：course train --resume {run.folder}"
        )
    config = run.config
    trained = load_tokenizer(config.base_model, log)
    served = load_tokenizer(str(run.weights), log) if config.method == "full" else trained
    proof = prove(run, served, trained)
    log(proof)
    _check_weights(run.weights)
    home = paths.workspace() / "services" / service
    copy = home / f"{run.folder.name}.partial"
    shutil.rmtree(copy, ignore_errors=True)  # of a killed call
    shutil.copytree(run.weights, copy)
    try:
        version = _register(run, service, proof, copy)
    finally:
        shutil.rmtree(copy, ignore_errors=True)
    log(f"已发布：服务「{service}」第 {version.number} 版。")
    return version


def _register(run: Run, service: str, proof: str, copy: Path) -> Version:
    """Give the copy its number and its place; the version is there with the commit."""
    config, facts = run.config, run.facts
    with writing() as session:
        found = session.exec(select(Service).where(Service.name == service)).first() or Service(name=service)
        session.add(found)
        session.flush()
        last = session.exec(
            select(Version.number).where(Version.service_id == found.id).order_by(col(Version.number).desc())
        ).first()
        number = (last or 0) + 1
        folder = copy.with_name(f"v{number}")
        version = Version(
            service_id=found.id, number=number, run=run.folder.name,
            folder=folder.relative_to(paths.workspace()).as_posix(), base_model=config.base_model,
            precision=config.precision, method=config.method, task=config.task, labels=facts.get("labels"),
            instruction=facts["instruction"], system=facts["system"], proof=proof,
        )  # fmt: skip
        session.add(version)
        if number == 1:
            session.add(Move(service_id=found.id, number=1))
        _describe(copy, service, version)
        shutil.rmtree(folder, ignore_errors=True)  # of a call killed before its commit: no version owns it
        copy.rename(folder)
    return version


def _describe(folder: Path, service: str, version: Version) -> None:
    """Add to the model card what is served and how it was proved."""
    card = folder / "README.md"
    defaults = "".join(
        f"- 请求里没有写{what}时，用训练时的：{text}\n"
        for what, text in (("系统提示", version.system), ("指令", version.instruction))
        if text
    )
    labels = f"- 标签：{'、'.join(version.labels)}\n" if version.labels else ""
    with atomic_writer(card) as file:
        text = card.read_text(encoding="utf-8") if card.exists() else ""
        file.write(f"{text}\n## 发布\n- 服务「{service}」第 {version.number} 版\n- {version.proof}\n{defaults}{labels}")


def _check_weights(folder: Path) -> None:
    """Raise `CourseError` for weights that are not numbers: beside other adapters they would spoil their answers too."""
    from safetensors import safe_open

    settings = folder / "adapter_config.json"
    if settings.exists():
        check_plain_lora(json.loads(settings.read_text(encoding="utf-8")), folder)
    for path in folder.glob("*.safetensors"):
        with safe_open(path, "pt") as file:
            for name in file.keys():  # noqa: SIM118, the file is no dict
                if not file.get_tensor(name).isfinite().all():
                    raise CourseError(f"没有发布：权重 {name} 里有无穷大或 NaN，训练发散了。请调小学习率，重新训练。")


def check_plain_lora(settings: dict, folder: Path) -> None:
    """Raise `CourseError` for an adapter that is more than pairs of matrices, which the course does not train."""
    special = ("use_dora", "use_rslora", "rank_pattern", "alpha_pattern", "fan_in_fan_out", "lora_bias")
    if settings["peft_type"] != "LORA" or settings["bias"] != "none" or any(settings.get(name) for name in special):
        raise CourseError(f"{folder} 里的适配器不是普通的 LoRA，服务不会用它。请用本课程训练的适配器。")
