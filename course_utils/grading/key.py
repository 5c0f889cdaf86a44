"""The teacher's key: hidden questions, the answers to all questions, a secret. Made on the teacher's machine, never shipped."""

import os
import secrets
import stat
from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field

from course_utils import paths
from course_utils.data import presets
from course_utils.data.doctor import check
from course_utils.data.formats import read_rows
from course_utils.data.mapping import Mapping
from course_utils.data.records import to_records
from course_utils.errors import ConfigError, DataError
from course_utils.evaluation.safety import ANSWERS, STANCES
from course_utils.grading.given import given_questions, leaks
from course_utils.grading.measure import Gold
from course_utils.grading.statute_questions import statute_questions

PRESET = "legal_qa"
KEY = "key.json"
HIDDEN, REFUSALS = 24, 4  # questions drawn from the statutes; those of them that are to be refused
LEAST = 8  # hidden questions: with fewer the loss says little


class KeyFile(BaseModel):
    """secret: of this class; the codes on the blind sheets come from it. source: where the hidden questions come from."""

    model_config = ConfigDict(extra="forbid")

    secret: str = Field(min_length=32)
    source: str
    instruction: str
    given: list[Gold]
    hidden: list[Gold]


def make_key(folder: str | Path, rows: str | Path | None = None, n: int = HIDDEN) -> Path:
    """Write a new key into `folder`, readable by its owner alone; returns it.

    rows: the teacher's own questions (a file with input and output, and kind where one should refuse or doubt), which
    become the hidden ones. Without, `n` questions are drawn from the laws in force by a secret seed. Raises
    `ConfigError` for a folder that others may get to see or a key that is there already, `DataError` for bad rows.
    """
    path = Path(folder).expanduser().resolve() / KEY
    _check_private(path)
    secret = secrets.token_hex(32)
    given = given_golds()
    hidden = _own(Path(rows)) if rows else _drawn(secret, n)
    key = KeyFile(
        secret=secret,
        source=f"老师自己的题：{Path(rows).name}" if rows else "用秘密的随机种子从现行法律条文里生成",
        instruction=given_questions()[0].record.instruction,
        given=given,
        hidden=[Gold(f"h{number:02}", g.question, g.reference, g.kind) for number, g in enumerate(hidden, 1)],
    )
    path.parent.mkdir(parents=True, exist_ok=True)
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "w", encoding="utf-8") as file:
        file.write(key.model_dump_json(indent=1))
    return path


def read_key(path: str | Path) -> KeyFile:
    """The key in a file. Raises `ConfigError`."""
    path = Path(path)
    try:
        if os.name == "posix" and path.stat().st_mode & (stat.S_IRWXG | stat.S_IRWXO):
            raise ConfigError(f"钥匙文件 {path} 别人也能读。请运行：chmod 600 {path}")
        return KeyFile.model_validate_json(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise ConfigError(f"找不到钥匙文件 {path}。请先用 course grade init 做一份。") from None
    except ValueError:
        raise ConfigError(f"{path} 不是钥匙文件，或者坏了。请用 course grade init 做出来的那一份。") from None


def given_golds() -> list[Gold]:
    """The given questions with their references, which stand in the preset's own rows."""
    rows = {row["input"]: row for row in presets.rows(PRESET)}
    asked = [(question.id, rows[question.record.input]) for question in given_questions()]
    return [Gold(name, row["input"], row["output"], row["kind"]) for name, row in asked]


def _check_private(path: Path) -> None:
    if path.exists():
        raise ConfigError(f"{path} 已经在那里了；换一把钥匙，之前的成绩就不能再比。请换一个文件夹，或者自己先移走它。")
    inside = [folder for folder in path.parents if folder == paths.ROOT or (folder / ".git").exists()]
    if inside:
        raise ConfigError(f"{path.parent} 在 {inside[0]} 里面，会跟着仓库到学生手里。请换一个仓库之外的文件夹。")


def _drawn(secret: str, n: int) -> list[Gold]:
    """Questions from the statutes; one that the public data nearly ask already is not taken."""
    if n < LEAST:
        raise ConfigError(f"隐藏题目至少要 {LEAST} 道，才说明得了什么。请调大 --questions。")
    drawn = statute_questions(secret, n + REFUSALS, REFUSALS)
    near = leaks([gold.question for gold in drawn], _public())
    return [gold for number, gold in enumerate(drawn) if number not in near][:n]


def _own(path: Path) -> list[Gold]:
    rows = read_rows(path)
    report = check(rows, Mapping({"input": "input", "output": "output"}))
    if not report.ok:
        first = report.errors[0]
        raise DataError(
            f"{path.name} 有 {len(report.errors)} 处错误，例如第 {first.row} 行：{first.what}。{first.fix}。"
        )
    if len(rows) < LEAST:
        raise DataError(f"{path.name} 只有 {len(rows)} 道题，至少要 {LEAST} 道，才说明得了什么。")
    for number, row in enumerate(rows, 1):
        if row.get("kind", ANSWERS) not in STANCES:
            raise DataError(f"{path.name} 第 {number} 行的 kind 是「{row['kind']}」，只能是：{'、'.join(STANCES)}。")
    records = to_records(rows)
    if near := leaks([record.input for record in records], _public()):
        numbers = "、".join(str(i + 1) for i in sorted(near)[:10])
        raise DataError(f"{path.name} 第 {numbers} 行和课程公开的数据几乎相同，学生见过。请换掉这 {len(near)} 行。")
    return [Gold("", r.input, r.output, row.get("kind", ANSWERS)) for r, row in zip(records, rows, strict=True)]


def _public() -> list[str]:
    return [row["input"] for row in presets.rows(PRESET)]
