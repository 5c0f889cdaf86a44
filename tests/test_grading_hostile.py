"""Zips that mean harm or are broken: each is refused for its own reason, in Chinese, and nothing else happens."""

import copy
import json
import os
import random
import struct
import sys
import zlib

import numpy as np
import pytest
from grading_samples import BASE, forge, good, legal, lines, member, settings, tensors
from hypothesis import HealthCheck, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from safetensors.numpy import save

from course_utils.grading import submission as s
from course_utils.grading.archive import MB, SubmissionError, read_file, unpack
from course_utils.grading.pack import as_json, make_zip, sealed
from course_utils.grading.submission import read_submission

M = s.MANIFEST
BIG = b"0" * (2 * MB)
STREAM = zlib.compressobj(9, zlib.DEFLATED, -15)
STREAM = STREAM.compress(b"{}") + STREAM.flush()
LINK, DEVICE, FOLDER = 0o120777 << 16, 0o060600 << 16, 0o040755 << 16

ZIPS = {
    "空文件": (b"", "是空文件"),
    "不是 zip": (b"hello, I am homework", "不是 zip 文件"),
    "rar": (b"Rar!\x1a\x07\x00" + bytes(40), "其实是 rar 文件"),
    "7z": (b"7z\xbc\xaf\x27\x1c" + bytes(40), "其实是 7z 文件"),
    "前面有别的程序": (forge(member(M), prefix=b"#!/bin/sh\nrm -rf ~\n"), "前面多了别的字节"),
    "没有传完": (good()[:-30], "没有完整的结尾"),
    "后面有别的字节": (forge(member(M), after=b"PK more"), "没有完整的结尾"),
    "有注释": (forge(member(M), comment=b"hi"), "没有完整的结尾"),
    "文件太多": (forge(*(member(f"f{i}") for i in range(40))), "最多只能 16 个"),
    "zip64": (forge(member(M), offset=0xFFFFFFFF), "zip64"),
    "分卷": (forge(member(M), disk=1), "分卷"),
    "目录的位置不对": (forge(member(M), offset=3), "目录不在它该在的位置"),
    "目录里有多余的字节": (forge(member(M), tail=b"secret"), "目录里有多余的字节"),
    "目录不完整": (forge(member(M), count=2), "目录不完整"),
    "绝对路径": (forge(member("/etc/passwd")), "是绝对路径"),
    "往上爬": (forge(member("data/../../train.jsonl")), "要往上爬"),
    "盘符": (forge(member("C:manifest.json")), "有盘符或冒号"),
    "反斜杠": (forge(member("data\\..\\train.jsonl")), "有反斜杠"),
    "NUL": (forge(member("manifest.json\0.exe")), "看不见的字符"),
    "反转文字方向": (forge(member("\u202egnp.exe")), "看不见的字符"),
    "文件名的编码不对": (forge(member(b"\xff\xfe.json")), "编码不对"),
    "Windows 设备名": (forge(member("data/CON.jsonl")), "设备名"),
    "以点结尾": (forge(member("manifest.json.")), "以点、空格结尾"),
    "链接": (forge(member(M, b"/etc/passwd", attributes=LINK)), "是一个链接"),
    "设备": (forge(member(M, attributes=DEVICE)), "设备或管道"),
    "文件夹": (forge(member("data/", b"", attributes=FOLDER | 0x10)), "是一个文件夹"),
    "加密": (forge(member(M, flags=1)), "加了密码"),
    "不认识的压缩方法": (forge(member(M, method=12)), "不认识的压缩方法（12 号）"),
    "压缩包里的压缩包": (forge(member("data/more.zip", good())), "压缩包里的压缩包"),
    "重复": (forge(member(M), member(M)), "有重复的文件"),
    "重复，大小写不同": (forge(member(M), member("Manifest.JSON")), "有重复的文件"),
    "重复，写法不同": (forge(member(M), member("ｍanifest.json")), "有重复的文件"),
    "不该有的文件": (forge(member(M), member("run_me.py", b"import os")), "不该有的文件「run_me.py」"),
    "苹果的附带文件": (forge(member(M), member("__MACOSX/._manifest.json")), "不该有的文件"),
    "单个太大": (forge(member(s.SETTINGS, b"0" * MB)), "最多只能"),
    "压缩炸弹": (forge(member(s.TRAIN, b"0" * (8 * MB))), "压缩比超过"),
    "总共太大": (
        forge(*(member(n, size=m, packed=m // 50) for n, m in s.ALLOWED.items())),
        "解开以后超过",
    ),
    "比说的大": (forge(member(s.TRAIN, BIG, size=1000)), "实际的大小"),
    "比说的小": (forge(member(M, b"{}", size=500)), "实际的大小"),
    "校验和不对": (forge(member(M, crc=1)), "校验和（CRC）不对"),
    "两处的名字不同": (forge(member(M, local_name=b"manifest.jsom")), "文件头和目录说的不一样"),
    "两处的大小不同": (forge(member(M, local_size=9)), "文件头和目录说的不一样"),
    "两处的方法不同": (forge(member(M, local_method=0)), "文件头和目录说的不一样"),
    "重叠": (forge(member(M, b"x" * 40), member(s.CLAIMS, b"x" * 40, offset=0)), "重叠"),
    "夹着目录里没有的文件": (forge(member(M), gap=b"PK\x03\x04 hidden"), "目录里没有的字节"),
    "指到别的文件中间": (forge(member(M, b"x" * 90), member(s.CLAIMS, offset=45)), "和别的文件重叠"),
    "没有文件头": (
        forge(member(M), member(s.CLAIMS)).replace(b"PK\x03\x04", b"PK\x05\x04").replace(b"PK\x05", b"PK\x03", 1),
        "找不到「claims.jsonl」的文件头",
    ),
    "伸进了目录": (forge(member(M, packed=4000)), "zip 就结束了"),
    "大小写在后面": (forge(member(M, flags=1 << 3)), "大小写在后面"),
    "解不开": (forge(member(M, b"{}", packed_bytes=b"\xff" * 9, packed=9)), "解不开"),
    "流里有多余的数据": (
        forge(member(M, b"{}", packed_bytes=STREAM + b"secret", packed=len(STREAM) + 6)),
        "多余的数据",
    ),
}


@pytest.mark.parametrize("name", ZIPS)
def test_a_hostile_zip_is_refused_for_its_own_reason(name):
    content, reason = ZIPS[name]
    with pytest.raises(SubmissionError, match=_literal(reason)):
        unpack(content, s.ALLOWED)


def sealed_zip(files: dict[str, bytes], base: str = BASE) -> bytes:
    return make_zip(sealed(files, "05", "1", "张三", base, "2026"))


def weights(**changes) -> dict[str, bytes]:
    """The files of a submission whose weights or settings were tampered with, the manifest made anew."""
    return legal(**changes)


def tensor(**changes) -> bytes:
    """The weights with these tensors instead; None leaves one out."""
    own = tensors() | {name.replace("__", "."): value for name, value in changes.items()}
    return save({name: value for name, value in own.items() if value is not None})


def header(content: bytes, change) -> bytes:
    """A safetensors file whose header `change` was let loose on."""
    length = struct.unpack("<Q", content[:8])[0]
    entries = json.loads(content[8 : 8 + length])
    text = json.dumps(change(entries) or entries).encode()
    return struct.pack("<Q", len(text)) + text + content[8 + length :]


A0 = "base_model.model.model.layers.0.self_attn.q_proj.lora_A.weight"
W = s.WEIGHTS


def spoilt(value: float) -> np.ndarray:
    array = tensors()[A0].copy()
    array[1, 3] = value
    return array


def overlapping(entries: dict) -> None:
    names = [name for name in entries if name != "__metadata__"]
    entries[names[1]]["data_offsets"] = entries[names[0]]["data_offsets"]


def renamed(old: str, new: str) -> bytes:
    return save({name.replace(old, new): value for name, value in tensors().items()})


FILES = {
    "pickle 冒充适配器": ({W: b"\x80\x02cos\nsystem\n(S'echo'\ntR."}, "其实是 pickle 或 zip"),
    "torch 的 zip 冒充适配器": ({W: good()}, "其实是 pickle 或 zip"),
    "文件头长得没有边": ({W: struct.pack("<Q", 1 << 60) + b"{}"}, "文件头不对"),
    "文件头不是 JSON": ({W: struct.pack("<Q", 4) + b"oops"}, "不是正确的 JSON"),
    "NaN 权重": ({W: tensor(**{A0: spoilt(np.nan)})}, "有 NaN 或无穷大"),
    "无穷大权重": ({W: tensor(**{A0: spoilt(np.inf)})}, "有 NaN 或无穷大"),
    "整数权重": ({W: tensor(**{A0: np.ones((2, 640), np.int64)})}, "类型是 I64"),
    "张量重叠": ({W: header(save(tensors()), overlapping)}, "位置和形状对不上"),
    "张量后面有别的字节": ({W: save(tensors()) + b"x" * 8}, "后面多了别的字节"),
    "说明里没有形状": ({W: header(save(tensors()), lambda e: e[A0].pop("shape") and None)}, "的说明不对"),
    "形状不对": ({W: tensor(**{A0: np.ones((2, 641), np.float32)})}, "对不上"),
    "秩不对": ({s.SETTINGS: as_json(settings(r=4))}, "和秩 4"),
    "缺了一半": ({W: tensor(**{A0: None})}, "缺了另一半"),
    "多余的张量": ({W: tensor(**{"base_model__model__lm_head__weight": np.ones((2, 2), np.float32)})}, "不该有的张量"),
    "层数超过基座": ({W: renamed("layers.1.", "layers.20.")}, "它是给别的基座的"),
    "适配器是给别的基座的": ({s.SETTINGS: as_json(settings(base_model_name_or_path="qwen3-0.6b"))}, "是给基座「qwen3-0.6b」的"),
    "设置里指着程序": ({s.SETTINGS: as_json(settings(auto_mapping={"parent_library": "os"}))}, "「auto_mapping」不对：不该有"),
    "设置里有别的模块": ({s.SETTINGS: as_json(settings(target_modules=["lm_head"]))}, "target_modules"),
    "设置要整个保存的模块": ({s.SETTINGS: as_json(settings(modules_to_save=["embed_tokens"]))}, "modules_to_save"),
    "不是 LoRA": ({s.SETTINGS: as_json(settings(peft_type="PROMPT_TUNING"))}, "peft_type"),
    "只有权重没有设置": ({s.SETTINGS: None}, "缺少「adapter/adapter_config.json」"),
    "只有训练记录没有曲线": ({s.METRICS: None}, "缺少「metrics.jsonl」"),
    "JSON 里有 NaN": ({s.METRICS: b'{"step": 1, "loss": NaN}\n'}, "NaN 不是数"),
    "JSON 里有 1e999": ({s.METRICS: b'{"step": 1, "loss": 1e999}\n'}, "无穷大的数"),
    "JSON 套得太深": ({s.CLAIMS: b"[" * 100_000 + b"\n"}, "嵌套太深|不是正确的 JSON"),
    "JSON 套了二十层": ({s.CLAIMS: b"[" * 20 + b"]" * 20 + b"\n"}, "嵌套超过 12 层"),
    "数字长得没有边": ({s.CLAIMS: b"9" * 9000 + b"\n"}, "不是正确的 JSON"),
    "一个名字两次": ({s.ANSWERS: b'{"05-1": "a", "05-1": "b"}'}, "出现了两次"),
    "半个代理对": ({s.ANSWERS: b'{"05-1": "\\ud800"}'}, "写不成 UTF-8"),
    "不是 UTF-8": ({s.ANSWERS: '{"05-1": "你好"}'.encode("gbk")}, "不是 UTF-8"),
    "行太多": ({s.TRAIN: b"{}\n" * 40_000}, "超过 30000 行"),
    "一段文本太长": ({s.TRAIN: lines([{"input": "长" * 200_000}])}, "超过 100000 个字"),
    "问答题写了一本书": ({s.ANSWERS: as_json({"05-1": "长" * 30_000})}, "超过 20000 个字"),
    "回答长得算不完": ({s.PREDICTIONS: legal()[s.PREDICTIONS].replace(b'"max_new_tokens": 160', b'"max_new_tokens": 4000')}, "max_new_tokens"),
    "数据里有别的字段": ({s.TRAIN: b'{"input": "x", "__class__": "y"}\n'}, "「__class__」不对：不该有"),
    "训练的设置不对": ({s.TRAINING: legal()[s.TRAINING].replace(b'"learning_rate": 0.0004', b'"learning_rate": "fast"')}, "learning_rate"),
    "回答的题号是路径": ({s.ANSWERS: as_json({"../05-1": "x"})}, "格式不对|answers"),
}  # fmt: skip


@pytest.mark.parametrize("name", FILES)
def test_a_hostile_part_is_refused_for_its_own_reason(name):
    changes, reason = FILES[name]
    with pytest.raises(SubmissionError, match=reason.replace("(", r"\(")):
        read_submission(sealed_zip(legal(**changes)))


def test_the_manifest_must_be_there_and_tell_the_truth():
    files = sealed(legal(), "05", "1", "张三", BASE, "2026")
    manifest = json.loads(files[M])
    for change, reason in (
        (lambda m: m["files"][s.TRAIN].update(sha256="0" * 64), "SHA-256 不符"),
        (lambda m: m["files"].pop(s.TRAIN), "清单和文件不一致"),
        (lambda m: m.update(format="homework"), "「format」不对"),
        (lambda m: m.update(notebook="../05"), "「notebook」不对"),
        (lambda m: m.update(base_model="my-own-base"), "不在课程的目录里"),
        (lambda m: m.update(run="os.system"), "「run」不对：不该有"),
    ):
        lied = copy.deepcopy(manifest)
        change(lied)
        with pytest.raises(SubmissionError, match=reason):
            read_submission(make_zip(files | {M: as_json(lied)}))
    with pytest.raises(SubmissionError, match="没有清单"):
        read_submission(make_zip(legal()))


def test_a_file_that_is_none_is_refused(tmp_path):
    (tmp_path / "link.zip").symlink_to("/etc/passwd")
    (tmp_path / "large.zip").open("wb").truncate(400 * MB)
    for name, reason in (
        ("link.zip", "不是一个普通文件"),
        ("large.zip", "超过 160 MB"),
        ("none.zip", "不是一个普通文件"),
    ):
        with pytest.raises(SubmissionError, match=reason):
            read_file(tmp_path / name)


# --- whatever the bytes are ---

EVENTS: list[str] = []
WATCHED = (
    "open",
    "os.",
    "shutil.",
    "subprocess.",
    "socket.",
    "pickle.",
    "exec",
    "compile",
    "import",
    "ctypes.",
    "tempfile.",
)
watching = False


def _watch(event: str, args) -> None:
    if watching and event.startswith(WATCHED):
        EVENTS.append(f"{event} {args!r:.80}")


sys.addaudithook(_watch)


def read_watched(content: bytes) -> None:
    """Read; `SubmissionError` and nothing else may come, and no file, socket, process, import or code is touched."""
    global watching
    EVENTS.clear()
    watching = True
    try:
        read_submission(content)
    except SubmissionError as error:
        str(error).encode()  # can be shown and written
    finally:
        watching = False
    assert EVENTS == []


QUICK = hypothesis_settings(
    max_examples=int(os.environ.get("COURSE_FUZZ", 150)), deadline=None, suppress_health_check=list(HealthCheck)
)
VALID = good()
read_submission(VALID)  # what is read once from files of our own, such as the catalogue, is read now


def test_the_watch_sees_what_it_should(tmp_path):
    global watching
    EVENTS.clear()
    watching = True
    (tmp_path / "x").write_text("x")
    watching = False
    assert EVENTS


def test_a_good_zip_is_read_without_touching_anything():
    read_watched(VALID)
    assert read_submission(VALID).manifest.student_name == "张三"


@QUICK
@given(st.binary(max_size=400))
def test_any_bytes(content):
    read_watched(content)
    read_watched(b"PK\x03\x04" + content + VALID[-22:])


@QUICK
@given(st.integers(0, 2**32), st.integers(1, 8))
def test_a_mutated_zip(seed, n):
    """Bytes changed, cut out, put in or moved anywhere, the directory and the headers more often than the rest."""
    rng, content = random.Random(seed), bytearray(VALID)
    directory = struct.unpack("<L", VALID[-6:-2])[0]
    for _ in range(n):
        at = rng.choice([rng.randrange(len(content)), rng.randrange(directory, len(VALID)), rng.randrange(60)])
        at = min(at, len(content) - 1)
        kind, size = rng.randrange(4), rng.choice((1, 1, 2, 4, 30))
        if kind == 0:
            content[at : at + size] = rng.randbytes(size)
        elif kind == 1:
            del content[at : at + size]
        elif kind == 2:
            content[at:at] = rng.randbytes(size)
        else:
            content[at:at] = content[rng.randrange(len(content)) :][:size]
    read_watched(bytes(content))


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=6), inner, max_size=3),
    max_leaves=8,
)


@QUICK
@given(st.sampled_from(sorted(s.ALLOWED)), JSON | st.binary(max_size=60), st.integers(0, 2**32))
def test_a_sealed_zip_with_any_part(name, value, seed):
    """The outer zip is in order and its hashes fit; a part holds anything, or has some of its own bytes changed."""
    files = legal()
    content = value if isinstance(value, bytes) else json.dumps(value).encode()
    if seed % 2 and files.get(name):
        rng, spoilt_part = random.Random(seed), bytearray(files[name])
        for _ in range(3):
            spoilt_part[min(rng.randrange(len(spoilt_part)), rng.randrange(400), len(spoilt_part) - 1)] = rng.randrange(
                256
            )
        content = bytes(spoilt_part)
    files = sealed(files | {name: content}, "05", "1", "张三", BASE, "2026")
    read_watched(make_zip(files | ({name: content} if name == M else {})))


def _literal(text: str) -> str:
    return text.replace("(", r"\(").replace(")", r"\)")
