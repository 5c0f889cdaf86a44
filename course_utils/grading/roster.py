"""Whose is which file: a folder as a learning platform hands it out, and a class list.

The platform puts the student's name and number in front of what the student called the file, or makes a folder of that
name; what stands there first counts, and what a student wrote behind it or inside the zip does not.
"""

import csv
import io
import re
from dataclasses import dataclass
from pathlib import Path

from course_utils.errors import DataError

# Moodle: 张三_4711_assignsubmission_file_..., as folder or in front of the file; the number is of the participant.
MOODLE = re.compile(r"(?P<name>[^_]+)_(?P<number>\d+)_assignsubmission_file")
BREAK = re.compile(r"[-_—－+＋\s()（）【】\[\],，、.&]+")
NUMBER = re.compile(r"[A-Za-z]{0,4}\d{5,16}[A-Za-z]{0,2}")
NAME = re.compile(r"[\u4e00-\u9fff]{1,6}(?:·[\u4e00-\u9fff]{1,6})*")
NOT_NAMES = re.compile(r"作业|提交|附件|实验|报告|助手|课程|最终|修改|第.+[章次版]|班$|组$|学院|模型|微调")
IGNORED = re.compile(r"^(?:\.|~\$|Thumbs\.db$|desktop\.ini$|__MACOSX)", re.IGNORECASE)
HEADERS = {
    "学号": "id",
    "工号": "id",
    "student_id": "id",
    "id": "id",
    "姓名": "name",
    "name": "name",
    "student_name": "name",
}


@dataclass(frozen=True)
class Student:
    """id: 学号, or what takes its place. name: 姓名."""

    id: str
    name: str


@dataclass(frozen=True)
class Found:
    """A file in the folder: path relative to it, and whose it is; None when the name does not tell.

    home: the platform's own folder or prefix; files of one home come from one account.
    """

    path: str
    student: Student | None
    home: str


def read_roster(path: str | Path) -> list[Student]:
    """The students in a CSV with the columns 学号 and 姓名, as spreadsheets save it. Raises `DataError`."""
    path = Path(path)
    rows = list(csv.reader(io.StringIO(read_text(path))))
    header = [HEADERS.get(cell.strip().lower().lstrip("\ufeff")) for cell in rows[0]] if rows else []
    if "id" not in header or "name" not in header:
        raise DataError(f"名单 {path.name} 的第一行要有「学号」和「姓名」两列。")
    students = []
    for number, row in enumerate(rows[1:], 2):
        if any(cell.strip() for cell in row):
            values = dict(zip(header, (cell.strip().strip("'\t") for cell in row), strict=False))
            if not values.get("id") or not values.get("name"):
                raise DataError(f"名单 {path.name} 第 {number} 行缺学号或姓名。请补上，或者删掉这一行。")
            if re.search(r"e\+", values["id"], re.IGNORECASE):
                raise DataError(
                    f"名单 {path.name} 第 {number} 行的学号变成了 {values['id']}。请把那一列设成文本再保存。"
                )
            students.append(Student(values["id"], values["name"]))
    ids = [student.id for student in students]
    if twice := sorted({i for i in ids if ids.count(i) > 1}):
        raise DataError(f"名单 {path.name} 里学号 {twice[0]} 出现了两次。请改正。")
    if not students:
        raise DataError(f"名单 {path.name} 里没有学生。")
    return students


def read_text(path: Path) -> str:
    """The text of a CSV from a spreadsheet: UTF-8 with or without mark, else GB18030. Raises `DataError`."""
    try:
        content = path.read_bytes()
    except OSError:
        raise DataError(f"读不了 {path}。请检查路径。") from None
    for encoding in ("utf-8-sig", "gb18030"):
        try:
            return content.decode(encoding)
        except UnicodeDecodeError:
            continue
    raise DataError(f"{path} 的编码不是 UTF-8 也不是 GBK。请在表格软件里另存为“CSV UTF-8”。")


def find_files(folder: str | Path, roster: list[Student] | None = None) -> list[Found]:
    """Every file that was handed in, zip or not, by path. Raises `DataError` when there is none."""
    folder = Path(folder)
    if folder.is_file():
        raise DataError(f"{folder} 是一个文件。请先把平台下载的压缩包解开，再给那个文件夹。")
    if not folder.is_dir():
        raise DataError(f"没有 {folder} 这个文件夹。请检查路径。")
    paths = sorted(
        path for path in folder.rglob("*")
        if not path.is_dir() and not any(IGNORED.match(part) for part in path.relative_to(folder).parts)
    )  # fmt: skip
    if not paths:
        raise DataError(f"{folder} 里没有文件。请给平台下载的、解开之后的文件夹。")
    found = []
    for path in paths:
        inside = path.relative_to(folder)
        first = inside.parts[0] if len(inside.parts) > 1 else inside.stem
        student, home = whose(first, roster or [])
        if student is None and len(inside.parts) > 1:  # the folder is not a student's: a class, or the whole download
            student, home = whose(inside.stem if len(inside.parts) == 2 else inside.parts[-2], roster or [])
            home = f"{inside.parent.as_posix()}/{home}"
        found.append(Found(inside.as_posix(), student, home))
    return found


def whose(name: str, roster: list[Student]) -> tuple[Student | None, str]:
    """The student that a file or folder name begins with, and the part of the name that tells.

    >>> whose("20260101-张三-第五章 李四.zip", [])[0]
    Student(id='20260101', name='张三')
    """
    if match := MOODLE.match(name):
        known = [student for student in roster if student.name == match["name"].replace(" ", "")]
        known = known or [student for student in roster if student.id in match["name"].split()]
        if len(known) == 1:
            return known[0], match[0]
        return (None if roster else Student(match["number"], match["name"].strip())), match[0]
    tokens = [token for token in BREAK.split(name) if token]
    numbers = [token for token in tokens if NUMBER.fullmatch(token)]
    names = [token for token in tokens if NAME.fullmatch(token) and not NOT_NAMES.search(token)]
    if roster:
        by_number = [s for number in numbers for s in roster if s.id == number][:1]
        by_name = [s for s in roster if s.name == names[0]] if names else []
        if by_number and by_name and by_number[0] not in by_name:
            return None, name  # two different students: which of them, the teacher must say
        known = by_number or by_name
        return (known[0] if len(known) == 1 else None), name
    return (Student(numbers[0], names[0] if names else "") if numbers else None), name
