"""Shared fixtures, and Hypothesis without deadlines: a slow machine is not a failure.

Under CI Hypothesis draws the same each time.
"""

import shutil
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
import structlog
from hypothesis import settings
from psycopg import sql

from chatbot.adapters.limits.redis_counters import RedisCounters
from chatbot.adapters.storage.in_memory.storage import InMemoryStorage
from chatbot.adapters.storage.json_files.storage import JsonFileStorage
from chatbot.adapters.storage.sql.database import SqlSession
from chatbot.adapters.storage.sql.postgres import PostgresDatabase
from chatbot.adapters.storage.sql.records import SqlRecords
from chatbot.adapters.storage.sql.sqlite import SqliteDatabase
from chatbot.adapters.storage.sql.storage import SqlStorage
from chatbot.adapters.storage.sql.tables import metadata
from chatbot.adapters.storage.sql.upgrading import upgrade
from chatbot.application.limit_counters import StoreLimitCounters
from chatbot.domain.ports.limit_counters import LimitCounters
from chatbot.domain.ports.storage import Storage
from chatbot.domain.transaction import KINDS
from chatbot.entrypoints import logging_setup
from chatbot.entrypoints.commands import command_line
from chatbot.entrypoints.storage_backends import backend_of, parse_storage_url
from commands import Run, runner
from counter_contract import OpenLimits
from pgbouncer import pgbouncer
from postgres import command, new_database, postgres_url
from redis_server import RedisServer, redis_server

settings.register_profile("suite", deadline=None)
settings.load_profile("suite")


@pytest.fixture(scope="session")
def postgres() -> Iterator[str]:
    """The URL of a Postgres that all tests share; each test creates its own databases."""
    with postgres_url() as url:
        yield url


@pytest.fixture
def postgres_database(postgres: str) -> Iterator[str]:
    """The URL of a new, empty database."""
    with new_database(postgres) as url:
        yield url


@pytest.fixture(scope="session")
def postgres_tables(postgres: str) -> Iterator[str]:
    """The URL of a database with our tables, which tests use in turn."""
    with new_database(postgres) as url:
        upgrade(PostgresDatabase(url, connections=1, prepared=True))
        yield url


@pytest.fixture
def postgres_store(postgres_tables: str) -> str:
    """The URL of a database as if new: emptying one is faster than creating it."""
    names = sql.SQL(", ").join(sql.Identifier(table.name) for table in metadata.sorted_tables)
    command(postgres_tables, sql.SQL("TRUNCATE {} RESTART IDENTITY").format(names))
    database = PostgresDatabase(postgres_tables, connections=1, prepared=True)
    with database.connect() as connection:
        records = SqlRecords(SqlSession(connection))
        for kind in KINDS:
            for record in kind.initial:
                records.put(kind, record, expected=None)
        connection.commit()
    return postgres_tables


@pytest.fixture(scope="session")
def pgbouncer_tables(postgres_tables: str) -> Iterator[str]:
    """The URL of the same database through a PgBouncer in transaction mode."""
    with pgbouncer(postgres_tables) as url:
        yield url


@pytest.fixture
def pgbouncer_store(postgres_store: str, pgbouncer_tables: str) -> str:
    """The URL of an emptied database through a PgBouncer in transaction mode."""
    return pgbouncer_tables


@pytest.fixture(scope="session")
def shared_redis() -> Iterator[RedisServer]:
    """A Redis that all tests share."""
    with redis_server() as server:
        yield server


@pytest.fixture
def redis(shared_redis: RedisServer) -> RedisServer:
    """The same without any keys."""
    shared_redis.command("FLUSHALL")
    return shared_redis


@pytest.fixture(scope="session")
def sqlite_template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("sqlite") / "template.db"
    database = SqliteDatabase(path)
    database.create()
    upgrade(database)
    return path


@pytest.fixture
def sqlite_store(sqlite_template: Path, tmp_path: Path) -> Path:
    """A new database file with our tables."""
    return Path(shutil.copy(sqlite_template, tmp_path / "chatbot.db"))


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Run:
    """Run commands in an empty folder."""
    monkeypatch.chdir(tmp_path)
    # pytest's stderr ends with the test; a log that were bound to it would break later tests.
    monkeypatch.setattr(logging_setup, "configure", lambda *_, **__: None)
    structlog.reset_defaults()  # as a new process has it, whatever ran before in this one
    monkeypatch.setattr(command_line, "logger", structlog.get_logger("chatbot.settings"))
    return runner(monkeypatch, capsys)


@pytest.fixture
def ready(run: Run) -> Run:
    """The same, after `chatbot init`."""
    assert run("init")[0] == 0
    return run


@pytest.fixture
def make_storage(request: pytest.FixtureRequest, tmp_path: Path) -> Callable[[str], Storage]:
    """Makes a storage by its name that has not been opened."""

    def make(name: str) -> Storage:
        if name == "in_memory":
            return InMemoryStorage()
        if name == "json_files":
            return JsonFileStorage(tmp_path / "data")
        where = request.getfixturevalue(f"{name}_store")
        if name == "sqlite":
            return SqlStorage(SqliteDatabase(where), replica="test")
        database = PostgresDatabase(where, connections=4, prepared=name == "postgres")
        return SqlStorage(database, replica="test")

    return make


@pytest.fixture(params=["in_memory", "json_files", "sqlite", "postgres", "pgbouncer"])
def closed_storage(
    request: pytest.FixtureRequest, make_storage: Callable[[str], Storage]
) -> Storage:
    """A storage that has not been opened."""
    return make_storage(request.param)


@pytest.fixture
def open_limits(
    request: pytest.FixtureRequest, make_storage: Callable[[str], Storage]
) -> OpenLimits:
    """Opens the counters of limits in a store or in Redis."""

    @asynccontextmanager
    async def opened(name: str) -> AsyncIterator[LimitCounters]:
        if name == "redis":
            counters = RedisCounters(request.getfixturevalue("redis").url)
            yield counters
            await counters.aclose()
            return
        async with make_storage(name) as storage:
            yield StoreLimitCounters(storage)

    return opened


@pytest.fixture(params=["memory", "json", "sqlite", "postgres"])
def each_store(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """STORAGE_URL of a new store of each kind."""
    match request.param:
        case "json":
            url = parse_storage_url(f"json:{tmp_path / 'data'}")
            backend_of(url).create(url)
            return url.raw
        case "sqlite":
            return f"sqlite:///{request.getfixturevalue('sqlite_store')}"
        case "postgres":
            found: str = request.getfixturevalue("postgres_store")
            return found
        case _:
            return "memory:"
