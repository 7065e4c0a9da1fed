"""Postgres: other clients must not block or harm this replica for long."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import closing
from datetime import UTC, datetime
from typing import Any

import psycopg
import pytest
from psycopg import errors, sql

from chatbot.adapters.storage.sql import postgres as postgres_module
from chatbot.adapters.storage.sql.database import SqlSession, translated
from chatbot.adapters.storage.sql.export import SqlExport
from chatbot.adapters.storage.sql.postgres import PostgresDatabase
from chatbot.adapters.storage.sql.storage import SqlStorage
from chatbot.domain.chat import Lease, Session, SessionId, TurnId
from chatbot.domain.errors import StorageFull, StorageUnavailable
from chatbot.domain.identity import Owner
from chatbot.domain.throttling import AttemptKey, Throttle
from chatbot.domain.transaction import Transaction
from conversation import PATIENCE_S

T0 = datetime(2026, 3, 1, 12, tzinfo=UTC)
ANA = Owner(kind="user", id="a" * 32)
SESSION = SessionId("1" * 32)
THROTTLE = Throttle(key=AttemptKey("k"), allowed=3)
CONNECTIONS = 3


def create(tx: Transaction) -> None:
    tx.sessions.create(Session(id=SESSION, owner=ANA, title="", created_at=T0, updated_at=T0))


def acquire(tx: Transaction) -> Lease:
    return tx.sessions.acquire(ANA, SESSION, TurnId("1" * 32))


def count(tx: Transaction) -> object:
    return tx.attempts.count([THROTTLE], at=T0)


@pytest.fixture(params=[True, False], ids=["prepared", "as behind PgBouncer"])
async def store(
    request: pytest.FixtureRequest, postgres_store: str, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[SqlStorage]:
    """A store with short time limits."""
    limits = dict.fromkeys(postgres_module._LIMITS, "200ms") | {"statement_timeout": "2s"}
    monkeypatch.setattr(postgres_module, "_LIMITS", limits)
    database = PostgresDatabase(postgres_store, connections=CONNECTIONS, prepared=request.param)
    async with SqlStorage(database, replica="test") as store:
        yield store


async def test_limits_hold_on_every_connection(store: SqlStorage) -> None:
    def limits() -> "asyncio.Future[list[str]]":
        names = postgres_module._LIMITS
        return store._database.run(lambda tx: [setting(tx, one) for one in names])

    for found in await asyncio.gather(*(limits() for _ in range(2 * CONNECTIONS))):
        assert found == list(postgres_module._LIMITS.values())


def test_limits_apply_to_moving_commands_too(postgres_store: str) -> None:
    database = PostgresDatabase(postgres_store, connections=1, prepared=True)
    with SqlExport(database) as export, export._writing() as connection:
        for name, value in postgres_module._LIMITS.items():
            assert connection.exec_driver_sql(f"SHOW {name}").scalar() == value


async def test_options_of_the_url_hold_beside_the_limits(postgres_store: str) -> None:
    url = f"{postgres_store}?options=-c%20work_mem%3D1234kB"
    database = PostgresDatabase(url, connections=1, prepared=True)
    async with SqlStorage(database, replica="test") as store:
        for name, value in (("work_mem", "1234kB"), ("lock_timeout", "5s")):
            found = await store._database.run(lambda tx, name=name: setting(tx, name))  # type: ignore[misc]
            assert found == value


def connection_of(statements: SqlSession) -> int:
    return int(statements.connection.exec_driver_sql("SELECT pg_backend_pid()").scalar_one())


def setting(statements: SqlSession, name: str) -> str:
    return str(statements.connection.exec_driver_sql(f"SHOW {name}").scalar())


@pytest.mark.parametrize(
    ("held", "work"),
    [
        ("LOCK TABLE counters IN EXCLUSIVE MODE", count),
        ("SELECT * FROM sessions FOR UPDATE", acquire),
    ],
    ids=["table", "row"],
)
async def test_replica_suspended_in_a_transaction_blocks_others_for_a_bounded_time(
    store: SqlStorage, postgres_store: str, held: str, work: Callable[[Transaction], object]
) -> None:
    await store.transact(create)
    with closing(psycopg.connect(postgres_store)) as still:
        still.execute(held)
        with pytest.raises(StorageUnavailable):
            await asyncio.wait_for(store.transact(work), PATIENCE_S)
        await store.transact(lambda tx: tx.sessions.page(ANA, limit=9))
    await store.transact(work)


async def test_server_ends_the_transaction_of_a_replica_that_stands_still(
    store: SqlStorage, postgres_store: str
) -> None:
    """This replica is suspended, and another one continues."""
    await store.transact(create)

    def stand_still(tx: Transaction) -> None:
        count(tx)
        with psycopg.connect(postgres_store) as other:  # waits until the server has ended us
            other.execute("LOCK TABLE counters IN EXCLUSIVE MODE")

    with pytest.raises(StorageUnavailable):
        await asyncio.wait_for(store.transact(stand_still), PATIENCE_S)
    await store.transact(count)
    assert (await store.transact(lambda tx: tx.sessions.get(ANA, SESSION))).id == SESSION


def test_limits_are_those_that_are_documented() -> None:
    assert postgres_module._LIMITS == {
        "lock_timeout": "5s",
        "statement_timeout": "30s",
        "idle_in_transaction_session_timeout": "10s",
    }


@pytest.mark.parametrize("prepared", [True, False])
async def test_connections_are_bounded_and_released(postgres_store: str, *, prepared: bool) -> None:
    """With the default limits: short ones would end transactions of a busy machine."""
    works: list[Callable[[Transaction], object]] = [
        lambda tx: tx.sessions.page(ANA, limit=9),
        count,
        create,
        lambda _: 1 // 0,
    ]
    database = PostgresDatabase(postgres_store, connections=CONNECTIONS, prepared=prepared)
    async with SqlStorage(database, replica="test") as store:
        await store.transact(create)
        asked = [store.transact(work) for _ in range(20) for work in works]
        backends = [database.run(connection_of) for _ in range(20)]
        await asyncio.gather(*asked, return_exceptions=True)
        own = set(await asyncio.gather(*backends))
        assert 1 <= len(own) <= CONNECTIONS
        async with (
            asyncio.timeout(PATIENCE_S),
            await psycopg.AsyncConnection.connect(postgres_store, autocommit=True) as other,
        ):
            while await states_of(other, own) != {"idle"}:  # noqa: ASYNC110 - a server sends no event
                await asyncio.sleep(0.02)


async def states_of(other: "psycopg.AsyncConnection[Any]", backends: set[int]) -> set[str]:
    query = "SELECT state FROM pg_stat_activity WHERE pid = ANY(%s)"
    rows = await (await other.execute(query, [list(backends)])).fetchall()
    return {state for (state,) in rows}


async def test_store_is_not_ready_without_room_for_files(postgres_store: str) -> None:
    """A full disk fails the same write as a limit on temporary files."""
    name = postgres_store.rpartition("/")[2].partition("?")[0]
    database = PostgresDatabase(postgres_store, connections=1, prepared=True)
    with closing(psycopg.connect(postgres_store, autocommit=True)) as other:
        identifier = sql.Identifier(name)
        other.execute(sql.SQL("ALTER DATABASE {} SET temp_file_limit = '64kB'").format(identifier))
        try:
            async with SqlStorage(database, replica="test") as storage:
                with pytest.raises(StorageUnavailable):
                    await storage.check()
                await storage.transact(count)
        finally:
            other.execute(sql.SQL("ALTER DATABASE {} RESET temp_file_limit").format(identifier))
    async with SqlStorage(database, replica="test") as storage:
        await storage.check()


def test_full_disk_is_reported_as_a_full_disk() -> None:
    with pytest.raises(StorageFull), translated():
        raise_as_the_driver_does(errors.DiskFull("could not extend file"))
    with pytest.raises(StorageUnavailable), translated():
        raise_as_the_driver_does(errors.IoError("could not read block"))


def raise_as_the_driver_does(error: psycopg.Error) -> None:
    from sqlalchemy.exc import OperationalError  # noqa: PLC0415

    raise OperationalError("INSERT", {}, error) from error
