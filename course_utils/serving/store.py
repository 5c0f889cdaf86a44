"""What is published, who may call it and what was called: one SQLite file in the workspace, services.db.

The server, the panels and the command line work on it at once. Whatever was answered for had been committed before,
and a commit waits until the disk has it (WAL, synchronous=FULL): neither `kill -9` nor a power cut loses it.
"""

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from sqlalchemy import JSON, Column, Connection, event
from sqlmodel import Field, Session, SQLModel, create_engine

from course_utils import paths
from course_utils.errors import ConfigError


@dataclass(frozen=True)
class Served:
    """What answers: a base model with, perhaps, an adapter.

    base: a name or a folder. precision: as in `TrainingConfig`. adapter: its folder; None for the base as it is.
    labels: of a label task, else None. head: whether the labels come from a classification head.
    """

    base: str
    precision: str = "auto"
    adapter: Path | None = None
    labels: tuple[str, ...] | None = None
    head: bool = False

    @classmethod
    def of(cls, weights: Path, trained, labels: Sequence[str] | None) -> "Served":
        """The weights in a folder. trained: how they were made, a `TrainingConfig` or a `Version`."""
        base, adapter = (str(weights), None) if trained.method == "full" else (trained.base_model, weights)
        labels = tuple(labels) if labels else None
        return cls(base, trained.precision, adapter, labels, trained.task == "classification")


class Service(SQLModel, table=True):
    """A name that programs call. Which version answers is the last of its moves."""

    id: int | None = Field(None, primary_key=True)
    name: str = Field(unique=True)
    created: float = Field(default_factory=time.time)  # seconds since the epoch, as all times here


class Version(SQLModel, table=True):
    """A copy of a run's weights, and what is needed to ask them as they were trained.

    folder: relative to the workspace. instruction, system: what all training rows shared, the default of a request.
    proof: in words, how it was proved that requests are encoded like training rows.
    """

    id: int | None = Field(None, primary_key=True)
    service_id: int = Field(foreign_key="service.id")
    number: int
    run: str
    folder: str
    base_model: str
    precision: str
    method: str
    task: str
    labels: list[str] | None = Field(None, sa_column=Column(JSON))
    instruction: str
    system: str
    proof: str
    created: float = Field(default_factory=time.time)

    @property
    def path(self) -> Path:
        return paths.workspace() / self.folder

    @property
    def served(self) -> Served:
        return Served.of(self.path, self, self.labels)


class Move(SQLModel, table=True):
    """A version became the current one. Rolling back takes the last move away."""

    id: int | None = Field(None, primary_key=True)
    service_id: int = Field(foreign_key="service.id")
    number: int
    created: float = Field(default_factory=time.time)


class Application(SQLModel, table=True):
    """A program that calls services; it has keys."""

    id: int | None = Field(None, primary_key=True)
    name: str = Field(unique=True)
    created: float = Field(default_factory=time.time)


class Key(SQLModel, table=True):
    """A key that was handed out; the key itself is not here. See `keys`.

    hint: its first characters, to tell keys apart. per_minute: requests. prompt_limit, answer_limit: tokens.
    at_once: requests that may be under way or waiting.
    """

    id: int | None = Field(None, primary_key=True)
    application_id: int = Field(foreign_key="application.id")
    hint: str
    lookup: str = Field(unique=True)
    salt: str
    digest: str
    per_minute: int
    prompt_limit: int
    answer_limit: int
    at_once: int
    created: float = Field(default_factory=time.time)
    expires: float | None = None
    revoked: float | None = None


class Opens(SQLModel, table=True):
    """A service that a key was granted."""

    key_id: int = Field(foreign_key="key.id", primary_key=True)
    service_id: int = Field(foreign_key="service.id", primary_key=True)


class Usage(SQLModel, table=True):
    """One answered request. question and answer stay empty unless the server was asked to keep texts."""

    id: int | None = Field(None, primary_key=True)
    key_id: int = Field(foreign_key="key.id")
    service: str
    version: int
    prompt_tokens: int
    completion_tokens: int
    milliseconds: int
    outcome: str  # stop, length, cancelled or error
    question: str | None = None
    answer: str | None = None
    created: float = Field(default_factory=time.time)


class Vote(SQLModel, table=True):
    """Which of several answers to one question somebody liked best. winner: an index of `models`; None: none."""

    id: int | None = Field(None, primary_key=True)
    question: str
    models: list[str] = Field(sa_column=Column(JSON, nullable=False))
    answers: list[str] = Field(sa_column=Column(JSON, nullable=False))
    winner: int | None = None
    blind: bool
    created: float = Field(default_factory=time.time)


# The n-th step leads from schema n to schema n + 1. A step that has been released is never changed: add another.
STEPS = (
    """
    CREATE TABLE service (id INTEGER PRIMARY KEY, name VARCHAR NOT NULL UNIQUE, created FLOAT NOT NULL);
    CREATE TABLE version (id INTEGER PRIMARY KEY, service_id INTEGER NOT NULL REFERENCES service (id),
        number INTEGER NOT NULL, run VARCHAR NOT NULL, folder VARCHAR NOT NULL, base_model VARCHAR NOT NULL,
        precision VARCHAR NOT NULL, method VARCHAR NOT NULL, task VARCHAR NOT NULL, labels JSON,
        instruction VARCHAR NOT NULL, system VARCHAR NOT NULL, proof VARCHAR NOT NULL, created FLOAT NOT NULL,
        UNIQUE (service_id, number));
    CREATE TABLE move (id INTEGER PRIMARY KEY, service_id INTEGER NOT NULL REFERENCES service (id),
        number INTEGER NOT NULL, created FLOAT NOT NULL);
    CREATE TABLE application (id INTEGER PRIMARY KEY, name VARCHAR NOT NULL UNIQUE, created FLOAT NOT NULL);
    CREATE TABLE key (id INTEGER PRIMARY KEY, application_id INTEGER NOT NULL REFERENCES application (id),
        hint VARCHAR NOT NULL, lookup VARCHAR NOT NULL UNIQUE, salt VARCHAR NOT NULL, digest VARCHAR NOT NULL,
        per_minute INTEGER NOT NULL, prompt_limit INTEGER NOT NULL, answer_limit INTEGER NOT NULL,
        at_once INTEGER NOT NULL, created FLOAT NOT NULL, expires FLOAT, revoked FLOAT);
    CREATE TABLE opens (key_id INTEGER NOT NULL REFERENCES key (id),
        service_id INTEGER NOT NULL REFERENCES service (id), PRIMARY KEY (key_id, service_id));
    CREATE TABLE usage (id INTEGER PRIMARY KEY, key_id INTEGER NOT NULL REFERENCES key (id),
        service VARCHAR NOT NULL, version INTEGER NOT NULL, prompt_tokens INTEGER NOT NULL,
        completion_tokens INTEGER NOT NULL, milliseconds INTEGER NOT NULL, outcome VARCHAR NOT NULL,
        question VARCHAR, answer VARCHAR, created FLOAT NOT NULL);
    CREATE TABLE vote (id INTEGER PRIMARY KEY, question VARCHAR NOT NULL, models JSON NOT NULL,
        answers JSON NOT NULL, winner INTEGER, blind BOOLEAN NOT NULL, created FLOAT NOT NULL);
    """,
)


def reading() -> Session:
    """A session for queries; use it with `with`."""
    return Session(_database(paths.workspace() / "services.db"), expire_on_commit=False)


@contextmanager
def writing() -> Iterator[Session]:
    """A session that has the file for itself and commits at the end, or changes nothing when something is raised."""
    database = _database(paths.workspace() / "services.db").execution_options(begin="IMMEDIATE")
    with Session(database, expire_on_commit=False) as session:
        yield session
        session.commit()


@cache
def _database(path: Path):
    """The open file, brought up to the newest schema."""
    path.touch(0o600)  # with questions and keys' digests in it, for its owner alone even in a workspace open to all
    database = create_engine(f"sqlite:///{path}", connect_args={"timeout": 30, "check_same_thread": False})

    @event.listens_for(database, "connect")
    def prepare(connection, _):
        connection.isolation_level = None  # transactions begin where we say: sqlite3 would leave out tables' changes
        for setting in ("journal_mode = WAL", "synchronous = FULL", "foreign_keys = ON"):
            connection.execute(f"PRAGMA {setting}")

    @event.listens_for(database, "begin")
    def begin(connection):
        connection.exec_driver_sql(f"BEGIN {connection.get_execution_options().get('begin', 'DEFERRED')}")

    with database.execution_options(begin="IMMEDIATE").begin() as connection:
        migrate(connection)
    return database


def migrate(connection: Connection, steps: tuple[str, ...] = STEPS) -> None:
    """Bring a file to the newest schema, inside the connection's transaction. Raises `ConfigError` if it is newer."""
    connection.exec_driver_sql("CREATE TABLE IF NOT EXISTS schema_version (version INTEGER NOT NULL)")
    version = connection.exec_driver_sql("SELECT max(version) FROM schema_version").scalar() or 0
    if version > len(steps):
        raise ConfigError("services.db 是更新的课程版本写的，这一版读不了。请更新课程。")
    for number, step in enumerate(steps[version:], version + 1):
        for statement in filter(str.strip, step.split(";")):
            connection.exec_driver_sql(statement)
        connection.exec_driver_sql("INSERT INTO schema_version VALUES (?)", (number,))
