"""Services and their versions: which there are, which is current, moving it forward and back."""

import re
from dataclasses import dataclass

from sqlmodel import Session, col, select

from course_utils.errors import ConfigError
from course_utils.serving.limits import Refused
from course_utils.serving.store import Move, Service, Version, reading, writing

NAME = re.compile(r"[\w][\w.-]{0,63}")  # also Chinese; no @, which asks for a version, and no /
PLATFORM_ID = 5  # digits; a lora_id of so many or more is a resource on the platform, not one of our versions


@dataclass(frozen=True)
class Published:
    """A service as it stands: all its versions, and the number of the one that answers."""

    name: str
    current: int
    versions: list[Version]

    def version(self, number: int | None = None) -> Version:
        """One version; the current one without a number. Raises `Refused` (404)."""
        for version in self.versions:
            if version.number == (number or self.current):
                return version
        have = "、".join(str(version.number) for version in self.versions)
        raise Refused(404, "model_not_found", f"服务「{self.name}」没有第 {number} 版。有的版本：{have}。")


def services() -> list[Published]:
    """All services in the order of their names."""
    with reading() as session:
        found = session.exec(select(Service).order_by(Service.name)).all()
        return [_published(session, service) for service in found]


def service(name: str) -> Published:
    """The service of this name. Raises `Refused` (404)."""
    with reading() as session:
        return _published(session, find(session, name))


def asked_for(model: str, lora_id: str | None = None) -> tuple[Published, Version]:
    """The service and version that a request names: `model` is 名字 or 名字@2.

    lora_id: the header of 讯飞's fine-tuned services. A number of up to four digits asks for that version of ours; 0
    and whatever a client brings along from the platform, a long resource number, ask for nothing. Raises `Refused`.
    """
    name, _, number = model.partition("@")
    if not number and lora_id and lora_id.isascii() and lora_id.isdigit() and len(lora_id) < PLATFORM_ID:
        number = lora_id
    if number and not (number.isascii() and number.isdigit() and len(number) < PLATFORM_ID):
        raise Refused(404, "model_not_found", f"「@」后面要写版本的数字，例如 {name}@2。")
    found = service(name)
    return found, found.version(int(number or 0) or None)


def update(name: str, number: int | None = None) -> int:
    """更新服务: make a version the current one, the newest unless `number` is given; returns it. Raises `CourseError`."""
    with writing() as session:
        found = find(session, name)
        published = _published(session, found)
        target = published.version(number or published.versions[-1].number).number
        if target == published.current:
            raise ConfigError(f"服务「{name}」已经是第 {target} 版。先发布一个新版本，或者用 --to 指明版本。")
        session.add(Move(service_id=found.id, number=target))
    return target


def rollback(name: str) -> int:
    """Take the last update back; returns the version that is current again. Raises `CourseError`."""
    with writing() as session:
        moves = _moves(session, find(session, name))
        if len(moves) < 2:
            raise ConfigError(f"服务「{name}」没有更新过，一直是第 {moves[-1].number} 版，退不回去。")
        session.delete(moves[-1])
    return moves[-2].number


def check_name(name: str, what: str) -> None:
    """Raises `ConfigError` when a name cannot be called by a program."""
    if not NAME.fullmatch(name):
        raise ConfigError(
            f"{what}的名字「{name}」不行。用文字、数字、点、横线和下划线，不超过 64 个字，例如 商品分类。"
        )


def find(session: Session, name: str) -> Service:
    """The row of a service. Raises `Refused` (404)."""
    found = session.exec(select(Service).where(Service.name == name)).first()
    if found is None:
        raise Refused(404, "model_not_found", f"没有叫「{name[:64]}」的服务。请检查名字，用 /v1/models 看看有哪些。")
    return found


def _published(session: Session, found: Service) -> Published:
    versions = session.exec(select(Version).where(Version.service_id == found.id).order_by(col(Version.number))).all()
    return Published(found.name, _moves(session, found)[-1].number, list(versions))


def _moves(session: Session, found: Service) -> list[Move]:
    return list(session.exec(select(Move).where(Move.service_id == found.id).order_by(col(Move.id))).all())
