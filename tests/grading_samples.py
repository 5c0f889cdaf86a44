"""Submissions for the tests of grading: good ones, made without a model, and a zip writer that can be told to lie."""

import hashlib
import json
import struct
import zlib
from dataclasses import asdict
from functools import cache

import numpy as np
from safetensors.numpy import save

from course_utils.data import presets
from course_utils.data.records import to_records
from course_utils.grading import submission as s
from course_utils.grading.given import given_questions, without_given
from course_utils.grading.pack import as_json, make_zip, sealed
from course_utils.training.config import TrainingConfig

BASE = "gemma-3-270m"
ANSWER = (
    "以下不是法律意见。可以要求赔偿。依据是《劳动合同法》第四十七条和《民法典》第五百七十七条。先留好证据，再去仲裁。"
)
WIDTHS = {"q_proj": (640, 1024), "v_proj": (640, 256)}


def tensors(seed: int = 0, rank: int = 2, layers: int = 2) -> dict[str, np.ndarray]:
    """The weights of an adapter of the embedded model on q and v of its first layers."""
    rng, found = np.random.default_rng(seed), {}
    for layer in range(layers):
        for module, (width, out) in WIDTHS.items():
            name = f"base_model.model.model.layers.{layer}.self_attn.{module}"
            found[f"{name}.lora_A.weight"] = rng.normal(size=(rank, width)).astype(np.float32)
            found[f"{name}.lora_B.weight"] = rng.normal(size=(out, rank)).astype(np.float32)
    return found


def settings(**changes) -> dict:
    """adapter_config.json."""
    own = {"r": 2, "lora_alpha": 4, "lora_dropout": 0.0, "target_modules": ["q_proj", "v_proj"], "bias": "none"}
    return own | {"layers_to_transform": None, "base_model_name_or_path": BASE} | changes


@cache
def shared_rows() -> tuple[dict, ...]:
    """Public rows that everybody may train on."""
    return tuple(asdict(record) for record in to_records(without_given(presets.rows("legal_qa")[:168])))


def own_rows(seed: int, n: int = 12) -> list[dict]:
    """Rows that a student wrote: of every seed its own."""
    rng = np.random.default_rng(seed)
    words = [
        "租房",
        "押金",
        "工资",
        "欠条",
        "离婚",
        "遗嘱",
        "快递",
        "装修",
        "停车",
        "体检",
        "定金",
        "加班",
        "合伙",
        "宠物",
    ]
    return [
        {"instruction": shared_rows()[0]["instruction"], "input": f"{' '.join(rng.choice(words, 9))}第{i}回该怎么办",
         "output": ANSWER, "system": "", "history": []}
        for i in range(n)
    ]  # fmt: skip


def lines(rows) -> bytes:
    return "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows).encode()


def legal(seed: int = 0, answers: dict[str, str] | None = None, claims=(), **changes: bytes | None) -> dict[str, bytes]:
    """The files of a submission of notebook 05, of this seed; a change of None leaves the file out."""
    weights = save(tensors(seed))
    train, validation = lines([*shared_rows()[8:], *own_rows(seed)]), lines(shared_rows()[:8])
    config = TrainingConfig(lora_rank=2, lora_alpha=4, lora_modules="q_v", seed=seed).model_dump()
    record = {
        "run": "法律助手", "config": config, "created": "2026-11-24T10:00:00", "finished": True, "steps": 20, "seconds": 60.0,
        "best_eval_loss": 2.5, "versions": {"torch": "2.13.0"}, "machine": {"system": "Linux", "cores": 2},
        "data": {part: {"rows": rows.count(b"\n"), "sha256": digest(rows)} for part, rows in (("train", train), ("validation", validation))},
    }  # fmt: skip
    given = {
        "adapter": digest(weights), "max_new_tokens": 160, "max_length": 512,
        "answers": {question.id: ANSWER for question in given_questions()},
    }  # fmt: skip
    files = {
        s.WEIGHTS: weights, s.SETTINGS: as_json(settings()), s.PREDICTIONS: as_json(given), s.TRAINING: as_json(record),
        s.METRICS: lines([{"step": 1, "loss": 3.0}, {"step": 2, "loss": 2.0, "eval_loss": 2.5}]), s.TRAIN: train,
        s.VALIDATION: validation, s.ANSWERS: as_json(answers or {}), s.CLAIMS: lines(claims),
    }  # fmt: skip
    return {name: content for name, content in (files | changes).items() if content is not None}


def claim(exercise: str, answer, passed: bool = True) -> dict:
    return {
        "exercise": exercise, "answer": answer, "passed": passed, "time": "2026-11-24T10:00:00+08:00", "profile": "ci",
    }  # fmt: skip


def good(student_id: str = "20260101", student_name: str = "张三", notebook: str = "05", base=BASE, **kwargs) -> bytes:
    """The bytes of a zip as `submit` writes it."""
    files = legal(**kwargs)
    return make_zip(sealed(files, notebook, student_id, student_name, base, "2026-11-24T12:00:00+08:00"))


def digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def member(name: str | bytes, content: bytes = b"{}", **lies) -> dict:
    """A member for `forge`, deflated. lies: fields of the headers; those that begin with local_ stand there alone."""
    raw = name if isinstance(name, bytes) else name.encode()
    packer = zlib.compressobj(9, zlib.DEFLATED, -15)
    packed = lies.pop("packed_bytes", None) or packer.compress(content) + packer.flush()
    facts = {"flags": 0 if raw.isascii() else 1 << 11, "method": 8, "crc": zlib.crc32(content), "packed": len(packed),
             "size": len(content), "attributes": 0, "name": raw, "bytes": packed, "offset": None, "extra": b""}  # fmt: skip
    return facts | lies


def forge(*members: dict, prefix=b"", gap=b"", tail=b"", after=b"", comment=b"", **end) -> bytes:
    """A zip of these members, in which every field says what it was told to say.

    gap: before the central directory; tail: inside it; after: behind everything. end: fields of the end record.
    """
    body, offsets = bytearray(prefix), []
    for m in members:
        offsets.append(len(body) if m["offset"] is None else m["offset"])
        own = {key.removeprefix("local_"): value for key, value in m.items() if key.startswith("local_")}
        local = m | own
        if m["offset"] is None:
            fields = (20, local["flags"], local["method"], 0, 33, local["crc"], local["packed"], local["size"])
            body += struct.pack("<4s5H3L2H", b"PK\x03\x04", *fields, len(local["name"]), len(local["extra"]))
            body += local["name"] + local["extra"] + m["bytes"]
    body += gap
    start = len(body)
    for m, offset in zip(members, offsets, strict=True):
        fields = (20, 20, m["flags"], m["method"], 0, 33, m["crc"], m["packed"], m["size"], len(m["name"]), 0, 0, 0, 0)
        body += struct.pack("<4s6H3L5H2L", b"PK\x01\x02", *fields, m["attributes"], offset) + m["name"]
    body += tail
    facts = {"disk": 0, "count": len(members), "size": len(body) - start, "offset": start} | end
    body += struct.pack("<4s4H2LH", b"PK\x05\x06", facts["disk"], 0, facts["count"], facts["count"], facts["size"], facts["offset"], len(comment))  # fmt: skip
    return bytes(body + comment + after)
