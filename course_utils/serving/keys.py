"""Applications and their keys: made, shown once, checked, expired, revoked; and what each has used."""

import hashlib
import hmac
import secrets
import time
from collections.abc import Sequence
from dataclasses import dataclass

from sqlmodel import Session, col, func, or_, select

from course_utils.errors import ConfigError
from course_utils.serving.limits import Refused
from course_utils.serving.services import check_name, find
from course_utils.serving.store import Application, Key, Opens, Service, Usage, reading, writing

PREFIX = "sk-"
HINT = 8  # characters of a key that are kept to tell it by; 37 random ones, 222 bits, are not
DAY = 86_400.0
NOBODY = Key(  # what an unknown key is compared with, so that it takes as long as a known one
    application_id=0, hint="", lookup="", salt="0" * 32, digest="0" * 64, per_minute=0, prompt_limit=0,
    answer_limit=0, at_once=0,
)  # fmt: skip


@dataclass(frozen=True)
class KeyFacts:
    """A key as a panel may show it. requests, tokens: what it has used, prompts and answers together."""

    key: Key
    application: str
    services: list[str]
    requests: int
    tokens: int

    @property
    def state(self) -> str:
        if self.key.revoked:
            return "已吊销"
        return "已过期" if self.key.expires and self.key.expires <= time.time() else "可用"


def create_application(name: str) -> Application:
    """Register a program that will call services. Raises `ConfigError`."""
    check_name(name, "应用")
    with writing() as session:
        if session.exec(select(Application).where(Application.name == name)).first():
            raise ConfigError(f"应用「{name}」已经有了。直接给它建密钥，或者换一个名字。")
        made = Application(name=name)
        session.add(made)
    return made


def applications() -> list[Application]:
    with reading() as session:
        return list(session.exec(select(Application).order_by(Application.name)).all())


def create_key(
    application: str,
    services: Sequence[str],
    days: float | None = None,
    per_minute: int = 120,
    prompt_limit: int = 1024,
    answer_limit: int = 512,
    at_once: int = 32,
) -> str:
    """A new key for an application, which opens `services` and no other. It is returned here and nowhere else.

    days: until it expires; None: never. The limits are those of `Key`. Raises `CourseError`.
    """
    if not services:
        raise ConfigError("请指明这个密钥能打开哪个服务。")
    if min(per_minute, prompt_limit, answer_limit, at_once) < 1 or (days is not None and not 0 < days <= 36_500):
        raise ConfigError("密钥的天数和各项限额都要大于 0，天数不超过 36500。")
    secret = PREFIX + secrets.token_urlsafe(32)
    salt = secrets.token_hex(16)
    with writing() as session:
        owner = session.exec(select(Application).where(Application.name == application)).first()
        if owner is None:
            raise ConfigError(f"没有叫「{application}」的应用。先建一个：course app create {application}")
        key = Key(
            application_id=owner.id, hint=secret[:HINT], lookup=_lookup(secret), salt=salt,
            digest=_digest(secret, salt), expires=time.time() + days * DAY if days else None,
            per_minute=per_minute, prompt_limit=prompt_limit, answer_limit=answer_limit, at_once=at_once,
        )  # fmt: skip
        session.add(key)
        session.flush()
        for name in dict.fromkeys(services):
            session.add(Opens(key_id=key.id, service_id=find(session, name).id))
    return secret


def revoke(which: str) -> Key:
    """Make a key useless at once. which: its number, or the key itself. Raises `ConfigError`."""
    with writing() as session:
        by_number = which.isascii() and which.isdigit() and len(which) < 10
        wanted = Key.id == int(which) if by_number else Key.lookup == _lookup(which)
        found = session.exec(select(Key).where(wanted)).first()
        if found is None:
            raise ConfigError("没有这个密钥。用 course key list 看看有哪些，给它的号码。")
        found.revoked = found.revoked or time.time()
        session.add(found)
    return found


def listed() -> list[KeyFacts]:
    """All keys, the newest first."""
    spent = func.sum(Usage.prompt_tokens + Usage.completion_tokens)
    with reading() as session:
        used = {row[0]: row[1:] for row in session.exec(select(Usage.key_id, func.count(), spent).group_by("key_id"))}
        found = session.exec(select(Key, Application.name).join(Application).order_by(col(Key.id).desc())).all()
        return [KeyFacts(key, name, _opened(session, key.id), *used.get(key.id, (0, 0))) for key, name in found]


def usable_keys() -> int:
    """How many keys are neither expired nor revoked."""
    alive = or_(col(Key.expires).is_(None), col(Key.expires) > time.time())
    with reading() as session:
        return session.exec(select(func.count()).select_from(Key).where(col(Key.revoked).is_(None), alive)).one()


def check(secret: str) -> Key:
    """The key of a request. Raises `Refused` (401).

    It is found by a digest of all of it, so a right beginning does not even find the row: what takes time does not
    tell how much of a key is right.
    """
    with reading() as session:
        found = session.exec(select(Key).where(Key.lookup == _lookup(secret))).first() or NOBODY
    if not hmac.compare_digest(_digest(secret, found.salt), found.digest):
        raise Refused(401, "invalid_api_key", "密钥不对。请检查有没有抄漏；密钥只显示一次，丢了就再建一个。")
    if found.revoked:
        raise Refused(401, "revoked_api_key", "这个密钥已经吊销。请向服务的主人要一个新的。")
    if found.expires and found.expires <= time.time():
        raise Refused(401, "expired_api_key", "这个密钥已经过期。请向服务的主人要一个新的。")
    return found


def opened(key: Key) -> list[str]:
    """The services that a key opens."""
    with reading() as session:
        return _opened(session, key.id)


def log_usage(usage: Usage) -> None:
    """Keep what a request used; it is on the disk when this returns."""
    with writing() as session:
        session.add(usage)


def usages(limit: int = 100) -> list[Usage]:
    """The last requests, the newest first."""
    with reading() as session:
        return list(session.exec(select(Usage).order_by(col(Usage.id).desc()).limit(limit)).all())


def _opened(session: Session, key_id: int) -> list[str]:
    names = select(Service.name).join(Opens).where(Opens.key_id == key_id).order_by(Service.name)
    return list(session.exec(names).all())


def _lookup(secret: str) -> str:
    return hashlib.sha256(secret.encode(errors="replace")).hexdigest()[:16]


def _digest(secret: str, salt: str) -> str:
    return hashlib.sha256(salt.encode() + secret.encode(errors="replace")).hexdigest()
