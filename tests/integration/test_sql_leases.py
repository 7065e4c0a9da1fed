"""Leases in SQL: how long a session stays held when its replica dies, hangs or cannot write."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from datetime import UTC, datetime

import pytest
from sqlalchemy import select, update

from chatbot.adapters.storage.sql.database import Database
from chatbot.adapters.storage.sql.leases import LEASE_S
from chatbot.adapters.storage.sql.postgres import PostgresDatabase
from chatbot.adapters.storage.sql.sqlite import SqliteDatabase
from chatbot.adapters.storage.sql.storage import SqlStorage
from chatbot.adapters.storage.sql.tables import sessions
from chatbot.domain.chat import Author, Lease, Session, SessionId, TurnId
from chatbot.domain.errors import SessionBusy
from chatbot.domain.identity import Owner
from chatbot.domain.ports.storage import Transaction
from conversation import PATIENCE_S

NOW = datetime(2030, 1, 1, tzinfo=UTC)
ANA = Owner(kind="user", id="a" * 32)
TALK, OTHER = SessionId("1" * 32), SessionId("2" * 32)
Open = Callable[[], Database]


@pytest.fixture(params=["sqlite", "postgres"])
def open_database(request: pytest.FixtureRequest) -> Open:
    """Another access to the same database."""
    where = request.getfixturevalue(f"{request.param}_store")
    if request.param == "sqlite":
        return lambda: SqliteDatabase(where)
    return lambda: PostgresDatabase(where, connections=2, prepared=True)


@pytest.fixture
async def first(open_database: Open) -> AsyncIterator[SqlStorage]:
    """A replica that renews its leases again and again; it has two sessions."""
    async with SqlStorage(open_database(), replica="first", renew_s=0.05) as storage:
        for each in (TALK, OTHER):
            new = Session(id=each, owner=ANA, title="", created_at=NOW, updated_at=NOW)
            await storage.transact(lambda tx, new=new: tx.sessions.create(new))  # type: ignore[misc] # a bound default
        yield storage


@pytest.fixture
async def second(open_database: Open) -> AsyncIterator[SqlStorage]:
    async with SqlStorage(open_database(), replica="second") as storage:
        yield storage


async def take(storage: SqlStorage, session_id: SessionId, turn: str) -> Lease:
    return await storage.transact(
        lambda tx: tx.sessions.acquire(ANA, session_id, TurnId(turn * 32))
    )


@asynccontextmanager
async def running_turn(storage: SqlStorage, session_id: SessionId) -> AsyncIterator[Lease]:
    """A turn whose model is asked in the block; it does not give the session back."""
    lease = await take(storage, session_id, "1")
    with storage.keeping(lease):
        yield lease


def held_until(database: Database, session_id: SessionId) -> float:
    with database.connect() as connection:
        query = select(sessions.c.lease_until).where(sessions.c.id == session_id)
        found: float = connection.execute(query).scalar_one()
        return found


async def until_renewed(database: Database, session_id: SessionId) -> None:
    async with asyncio.timeout(PATIENCE_S):
        before = held_until(database, session_id)
        while held_until(database, session_id) <= before:  # noqa: ASYNC110 - nobody tells
            await asyncio.sleep(0.01)


def let_pass(database: Database, seconds: float) -> None:
    """Let time pass, for all leases."""
    with database.connect() as connection:
        connection.execute(update(sessions).values(lease_until=sessions.c.lease_until - seconds))
        connection.commit()


def hand_over(database: Database, session_id: SessionId) -> None:
    """Give the session to another turn, as if the lease had run out."""
    with database.connect() as connection:
        taken = update(sessions).where(sessions.c.id == session_id).values(lease_turn="2" * 32)
        connection.execute(taken)
        connection.commit()


def answer(lease: Lease) -> Callable[[Transaction], None]:
    def work(tx: Transaction) -> None:
        tx.sessions.append(lease, Author.ASSISTANT, "late", ts=NOW)

    return work


async def test_session_of_a_dead_replica_is_free_when_its_lease_has_run_out(
    open_database: Open, second: SqlStorage, first: SqlStorage
) -> None:
    async with SqlStorage(open_database(), replica="dead") as dead:
        await take(dead, TALK, "1")
    with pytest.raises(SessionBusy):
        await take(second, TALK, "2")
    let_pass(open_database(), LEASE_S)
    await second.transact(answer(await take(second, TALK, "2")))


async def test_turn_whose_session_was_taken_over_writes_nothing(
    open_database: Open, second: SqlStorage, first: SqlStorage
) -> None:
    async with SqlStorage(open_database(), replica="hung") as hung:
        old = await take(hung, TALK, "1")
        let_pass(open_database(), LEASE_S)
        new = await take(second, TALK, "2")
        with pytest.raises(SessionBusy):
            await hung.transact(answer(old))
        await second.transact(answer(new))
        stored = await hung.transact(lambda tx: tx.sessions.messages(ANA, TALK, limit=9))
    assert [message.turn_id for message in stored] == [new.turn_id]


async def test_turn_whose_session_was_taken_over_does_not_prolong_the_new_lease(
    open_database: Open, first: SqlStorage
) -> None:
    async with running_turn(first, TALK), running_turn(first, OTHER):
        hand_over(open_database(), TALK)
        await until_renewed(open_database(), OTHER)
        until = held_until(open_database(), TALK)
        await until_renewed(open_database(), OTHER)
        assert held_until(open_database(), TALK) == until


async def test_running_turn_keeps_its_session(
    open_database: Open, first: SqlStorage, second: SqlStorage
) -> None:
    async with running_turn(first, TALK) as lease:
        for _ in range(3):
            let_pass(open_database(), LEASE_S / 2)
            await until_renewed(open_database(), TALK)
        with pytest.raises(SessionBusy):
            await take(second, TALK, "2")
        await first.transact(answer(lease))


async def test_turn_that_ended_without_giving_its_session_back_does_not_keep_it(
    open_database: Open, first: SqlStorage, second: SqlStorage
) -> None:
    """As when the database was down in that moment."""
    async with running_turn(first, TALK):
        await until_renewed(open_database(), TALK)
    async with running_turn(first, OTHER):
        await until_renewed(open_database(), OTHER)
        until = held_until(open_database(), TALK)
        await until_renewed(open_database(), OTHER)
        assert held_until(open_database(), TALK) == until
    let_pass(open_database(), LEASE_S)
    await take(second, TALK, "2")
