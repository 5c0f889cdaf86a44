"""Reading a zip from a stranger: whole, in memory, and only when every byte of it is accounted for.

The bytes must be what `course submit` writes: members one after the other without a gap, then the central directory,
then its end, and nothing else. Local headers and central directory must say the same. Sizes are counted while a member
is unpacked. Nothing is written to the disk, so no name in a zip can lead anywhere. Format: APPNOTE.TXT 6.3 of PKWARE.
"""

import re
import stat
import struct
import unicodedata
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from course_utils.errors import CourseError

MB = 1 << 20
LARGEST_FILE = 160 * MB  # of a zip
LARGEST_TOTAL = 180 * MB  # of all that a zip unpacks to
MOST_MEMBERS = 16
HIGHEST_RATIO = 200  # unpacked over packed, of a member above 1 MB: text that people write has less than 20
STORED, DEFLATED = 0, 8
ENCRYPTED, DESCRIPTOR, UTF8 = 1 << 0 | 1 << 6 | 1 << 13, 1 << 3, 1 << 11

END = struct.Struct("<4s4H2LH")
CENTRAL = struct.Struct("<4s6H3L5H2L")
LOCAL = struct.Struct("<4s5H3L2H")
OTHERS = {b"Rar!": "rar", b"7z\xbc\xaf": "7z", b"\x1f\x8b": "gzip", b"%PDF": "PDF", b"\xd0\xcf\x11\xe0": "旧版 Word"}
RESERVED = re.compile(r"(?:con|prn|aux|nul|com\d|lpt\d)(?:\..*)?", re.IGNORECASE)  # devices of Windows, in any folder
NESTED = re.compile(r"\.(?:zip|rar|7z|tar|gz|bz2|xz|jar|whl)$", re.IGNORECASE)
AGAIN = "请交 course submit 写出的那个 zip，不要解压后重新打包，也不要改里面的东西。"


class SubmissionError(CourseError):
    """A file that was handed in cannot be graded. The message says why, and what the student should do."""


@dataclass(frozen=True)
class Member:
    """What the central directory says of a member, and where its bytes stand in the file."""

    name: str
    flags: int
    method: int
    crc: int
    packed: int
    size: int
    attributes: int
    offset: int

    @property
    def shown(self) -> str:
        return shown(self.name)


def read_file(path: Path) -> bytes:
    """The bytes of a file that was handed in. Raises `SubmissionError` for one that is too large or no file at all."""
    if path.is_symlink() or not path.is_file():
        raise SubmissionError("不是一个普通文件。请重新下载这一份。")
    if path.stat().st_size > LARGEST_FILE:
        raise SubmissionError(f"文件有 {path.stat().st_size // MB} MB，超过 {LARGEST_FILE // MB} MB。{AGAIN}")
    return path.read_bytes()


def unpack(data: bytes, allowed: Mapping[str, int]) -> dict[str, bytes]:
    """name -> content of every member of the zip `data`.

    allowed: the names that may be there, and the most bytes of each. Raises `SubmissionError` and nothing else.
    """
    members = _directory(data)
    names = [member.name for member in members]
    for member in members:
        _check_name(member)
        _check_kind(member)
    folded = [unicodedata.normalize("NFKC", name).casefold() for name in names]
    if twice := {name for name, key in zip(names, folded, strict=True) if folded.count(key) > 1}:
        raise SubmissionError(f"有重复的文件：{'、'.join(sorted(map(shown, twice)))}（大小写和写法不同也算）。{AGAIN}")
    for member in members:
        if member.name not in allowed:
            raise SubmissionError(f"里面有不该有的文件「{member.shown}」。{AGAIN}")
        if member.size > allowed[member.name]:
            most = f"{allowed[member.name] / MB:g} MB"
            raise SubmissionError(
                f"「{member.shown}」说它有 {member.size / MB:.1f} MB，最多只能 {most}。请减小它再交。"
            )
        if member.size > MB and member.size > HIGHEST_RATIO * member.packed:
            raise SubmissionError(f"「{member.shown}」的压缩比超过 {HIGHEST_RATIO}，像是压缩炸弹，没有打开。{AGAIN}")
    if sum(member.size for member in members) > LARGEST_TOTAL:
        raise SubmissionError(f"解开以后超过 {LARGEST_TOTAL // MB} MB，没有打开。请减小适配器或数据再交。")
    return {
        member.name: _content(data, member, start)
        for member, start in zip(members, _places(data, members), strict=True)
    }


def _directory(data: bytes) -> list[Member]:
    """The members by the central directory, in its order."""
    if not data:
        raise SubmissionError("是空文件，多半是上传或下载中断了。请重新下载；还是空的就请学生重新交。")
    for magic, kind in OTHERS.items():
        if data.startswith(magic):
            raise SubmissionError(f"其实是 {kind} 文件，不是 zip。{AGAIN}")
    if len(data) < END.size or data[:4] != b"PK\x03\x04":
        raise SubmissionError(f"不是 zip 文件，或者前面多了别的字节。{AGAIN}")
    mark, disk, first_disk, here, count, size, offset, comment = END.unpack(data[-END.size :])
    if mark != b"PK\x05\x06" or comment:
        raise SubmissionError(f"zip 没有完整的结尾：没有传完，或者后面多了别的字节。{AGAIN}")
    if offset == 0xFFFFFFFF or count == 0xFFFF:
        raise SubmissionError(f"是 zip64 格式，课程不写这样的文件。{AGAIN}")
    if disk or first_disk or here != count:
        raise SubmissionError(f"是分卷的 zip，或者目录里的文件数前后不一。{AGAIN}")
    if count > MOST_MEMBERS:
        raise SubmissionError(f"里面有 {count} 个文件，最多只能 {MOST_MEMBERS} 个。{AGAIN}")
    if offset + size != len(data) - END.size:
        raise SubmissionError(f"zip 的目录不在它该在的位置。{AGAIN}")
    members, at = [], offset
    for _ in range(count):
        member, at = _central(data, at, len(data) - END.size)
        members.append(member)
    if at != offset + size:
        raise SubmissionError(f"zip 的目录里有多余的字节。{AGAIN}")
    return members


def _central(data: bytes, at: int, end: int) -> tuple[Member, int]:
    if at + CENTRAL.size > end:
        raise SubmissionError(f"zip 的目录不完整。{AGAIN}")
    mark, _, _, flags, method, _, _, crc, packed, size, name, extra, note, disk, _, attributes, offset = CENTRAL.unpack(
        data[at : at + CENTRAL.size]
    )
    start, after = at + CENTRAL.size, at + CENTRAL.size + name + extra + note
    if mark != b"PK\x01\x02" or after > end or disk:
        raise SubmissionError(f"zip 的目录坏了。{AGAIN}")
    raw = data[start : start + name]
    return Member(_text(raw, flags), flags, method, crc, packed, size, attributes, offset), after


def _text(raw: bytes, flags: int) -> str:
    """The name: UTF-8 where the flag says so, ASCII otherwise, as Python writes them."""
    try:
        return raw.decode("utf-8" if flags & UTF8 else "ascii")
    except UnicodeDecodeError:
        raise SubmissionError(f"有一个文件名的编码不对：{shown(raw.decode('latin-1'))}。{AGAIN}") from None


def _check_name(member: Member) -> None:
    name, why = member.name, None
    parts = PurePosixPath(name).parts
    if not name or any(unicodedata.category(mark) in ("Cc", "Cf", "Zl", "Zp", "Cs") for mark in name):
        why = "是空的，或者有看不见的字符"
    elif "\\" in name:
        why = "有反斜杠"
    elif name.startswith("/"):
        why = "是绝对路径"
    elif re.match(r"[A-Za-z]:", name) or ":" in name:
        why = "有盘符或冒号"
    elif ".." in parts or "." in name.split("/"):
        why = "要往上爬到别的文件夹"
    elif any(RESERVED.fullmatch(part) or part.endswith((".", " ")) for part in parts):
        why = "是 Windows 的设备名，或者以点、空格结尾"
    if why:
        raise SubmissionError(f"文件名「{member.shown}」{why}。{AGAIN}")


def _check_kind(member: Member) -> None:
    mode = member.attributes >> 16
    if member.flags & ENCRYPTED:
        raise SubmissionError(f"「{member.shown}」加了密码。{AGAIN}")
    if member.method not in (STORED, DEFLATED):
        raise SubmissionError(f"「{member.shown}」用了不认识的压缩方法（{member.method} 号）。{AGAIN}")
    if stat.S_ISLNK(mode):
        raise SubmissionError(f"「{member.shown}」是一个链接，不是文件。{AGAIN}")
    if member.name.endswith("/") or stat.S_ISDIR(mode) or member.attributes & 0x10:
        raise SubmissionError(f"「{member.shown}」是一个文件夹。{AGAIN}")
    if stat.S_IFMT(mode) not in (0, stat.S_IFREG):
        raise SubmissionError(f"「{member.shown}」是设备或管道，不是文件。{AGAIN}")
    if NESTED.search(member.name):
        raise SubmissionError(f"「{member.shown}」是压缩包里的压缩包。{AGAIN}")
    if member.flags & DESCRIPTOR:
        raise SubmissionError(f"「{member.shown}」的大小写在后面，课程不写这样的文件。{AGAIN}")


def _places(data: bytes, members: list[Member]) -> list[int]:
    """Where each member's packed bytes start. The local headers must agree and fill the file without gap or overlap."""
    start = END.unpack(data[-END.size :])[6]  # of the directory
    places, expected = {}, 0
    for member in sorted(members, key=lambda member: member.offset):
        if member.offset < expected:
            raise SubmissionError(f"「{member.shown}」和别的文件重叠。{AGAIN}")
        if member.offset > expected:
            raise SubmissionError(f"「{member.shown}」前面有目录里没有的字节。{AGAIN}")
        places[member.name] = _local(data, member, start)
        expected = places[member.name] + member.packed
    if expected != start:
        raise SubmissionError(f"文件和目录之间有目录里没有的字节，或者文件伸进了目录。{AGAIN}")
    return [places[member.name] for member in members]


def _local(data: bytes, member: Member, end: int) -> int:
    header = data[member.offset : member.offset + LOCAL.size]
    if len(header) < LOCAL.size or header[:4] != b"PK\x03\x04":
        raise SubmissionError(f"找不到「{member.shown}」的文件头。{AGAIN}")
    _, _, flags, method, _, _, crc, packed, size, name, extra = LOCAL.unpack(header)
    at = member.offset + LOCAL.size
    same = (flags, method, crc, packed, size) == (member.flags, member.method, member.crc, member.packed, member.size)
    if not same or data[at : at + name] != member.name.encode():
        raise SubmissionError(f"「{member.shown}」的文件头和目录说的不一样。{AGAIN}")
    if at + name + extra + member.packed > end:
        raise SubmissionError(f"「{member.shown}」没有完，zip 就结束了。{AGAIN}")
    return at + name + extra


def _content(data: bytes, member: Member, start: int) -> bytes:
    """The unpacked bytes, of which there are never more than the directory said, whatever the stream holds."""
    packed = data[start : start + member.packed]
    if member.method == STORED:
        content = packed
    else:
        stream = zlib.decompressobj(-zlib.MAX_WBITS)
        try:
            content = stream.decompress(packed, member.size + 1)
        except zlib.error:
            raise SubmissionError(f"「{member.shown}」解不开，数据坏了。请重新上传。") from None
        if len(content) == member.size and (not stream.eof or stream.unused_data):
            raise SubmissionError(f"「{member.shown}」解开以后还有多余的数据。{AGAIN}")
    if len(content) != member.size:
        raise SubmissionError(f"「{member.shown}」实际的大小和目录说的不一样。{AGAIN}")
    if zlib.crc32(content) != member.crc:
        raise SubmissionError(f"「{member.shown}」的校验和（CRC）不对，数据坏了。请重新上传。")
    return content


def shown(text: str) -> str:
    """A stranger's text inside a message: on one line, without invisible characters, at most 60 characters."""
    clean = "".join(mark if mark.isprintable() else "�" for mark in text)
    return clean[:60] + ("……" if len(clean) > 60 else "")
