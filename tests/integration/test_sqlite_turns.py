"""Looking up the caller on SQLite: on the event loop, or by the writer thread if that fails."""
# ruff: noqa: ASYNC240 - a test may block a loop that is its own

import asyncio
import sqlite3
from collections.abc import AsyncIterator
from contextlib import closing
from pathlib import Path

import pytest

from chatbot.adapters.storage.sql.sqlite import SqliteDatabase
from chatbot.adapters.storage.sql.sqlite_writer import SqliteTurns
from chatbot.adapters.storage.sql.storage import SqlStorage
from chatbot.adapters.storage.sql.turn_statements import FIND_CALLER
from chatbot.adapters.storage.sql.turns import caller_of
from chatbot.domain.chat import MessageRange, Question, Session, SessionId, TurnContext, TurnId
from chatbot.domain.errors import StorageUnavailable
from samples import ANA, T0, user

VALUES = {"user_id": user(1).id, "family_id": None}


@pytest.fixture
async def store(sqlite_store: Path) -> AsyncIterator[SqlStorage]:
    async with SqlStorage(SqliteDatabase(sqlite_store), replica="test") as store:
        await store.transact(lambda tx: tx.users.add(user(1)))
        yield store


def turns_of(store: SqlStorage) -> SqliteTurns:
    assert isinstance(store._turns, SqliteTurns)
    return store._turns


async def test_caller_is_found_while_another_process_writes(
    sqlite_store: Path, store: SqlStorage
) -> None:
    with closing(sqlite3.connect(sqlite_store, isolation_level=None, timeout=0)) as other:
        other.execute("BEGIN IMMEDIATE")
        other.execute("UPDATE users SET email = 'not committed'")
        found = await turns_of(store).execute(FIND_CALLER, VALUES)
        assert found is not None
        assert caller_of(found)[0] == user(1)
        other.execute("ROLLBACK")


async def test_locked_file_is_left_to_the_writer_thread(
    sqlite_store: Path, store: SqlStorage, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> None:
        raise sqlite3.OperationalError("database is locked")

    with monkeypatch.context() as locked:
        locked.setattr(turns_of(store)._reader, "read_row", fail)
        assert await turns_of(store).execute(FIND_CALLER, VALUES) is None
        assert (await store.find_caller(user(1).id))[0] == user(1)
    assert await turns_of(store).execute(FIND_CALLER, VALUES) is not None


async def test_caller_is_not_looked_up_in_a_moved_file(
    sqlite_store: Path, store: SqlStorage
) -> None:
    sqlite_store.rename(sqlite_store.with_name("moved.db"))
    with pytest.raises(StorageUnavailable):
        await store.find_caller(user(1).id)
    sqlite_store.with_name("moved.db").rename(sqlite_store)
    assert (await store.find_caller(user(1).id))[0] == user(1)


async def test_reading_leaves_no_transaction_open(sqlite_store: Path, store: SqlStorage) -> None:
    """An open transaction would keep deleted data in the write-ahead log."""
    await store.find_caller(user(1).id)
    with closing(sqlite3.connect(sqlite_store, isolation_level=None, timeout=0)) as other:
        [(is_busy, *_)] = other.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
    assert not is_busy


@pytest.mark.parametrize("record", ["null", "[]", '"admin"', '{"permissions": 1}', "{"])
async def test_damaged_role_is_reported_as_such(
    sqlite_store: Path, store: SqlStorage, record: str
) -> None:
    with closing(sqlite3.connect(sqlite_store)) as other, other:
        other.execute("UPDATE roles SET record = ? WHERE name = 'employee'", [record])
    with pytest.raises(StorageUnavailable):
        await store.find_caller(user(1).id)


@pytest.mark.parametrize("damage", ["role = 'boss'", "ts = 'noon'", "reason = 'none'"])
async def test_damaged_message_is_reported_as_such(
    sqlite_store: Path, store: SqlStorage, damage: str
) -> None:
    session_id = SessionId("0" * 32)
    session = Session(id=session_id, owner=ANA, created_at=T0, updated_at=T0)
    question = Question(
        owner=ANA, session_id=session_id, turn_id=TurnId("a" * 32), text="?", ts=T0,
        summarized_step=1, history_limit=9,
    )  # fmt: skip
    await store.transact(lambda tx: tx.sessions.create(session))
    lease = (await store.store_question(question)).lease
    await store.transact(lambda tx: tx.sessions.release(lease))
    with closing(sqlite3.connect(sqlite_store)) as other, other:
        other.execute(f"UPDATE messages SET {damage}")  # a parameter of the test
    with pytest.raises(StorageUnavailable):
        await store.transact(lambda tx: tx.sessions.read(ANA, session_id, MessageRange(limit=9)))
    with pytest.raises(StorageUnavailable):
        await store.store_question(question)


@pytest.mark.parametrize("content", ["nonsense", '{"summary": 5}', '{"summarized_to": "all"}'])
async def test_damaged_memory_fails_its_own_session_alone_and_leaves_it_free(
    sqlite_store: Path, store: SqlStorage, content: str
) -> None:
    ids = [SessionId(f"{number:032x}") for number in range(2)]
    for each in ids:
        session = Session(id=each, owner=ANA, created_at=T0, updated_at=T0)
        await store.transact(lambda tx, session=session: tx.sessions.create(session))  # type: ignore[misc]
    with closing(sqlite3.connect(sqlite_store)) as other, other:
        key = (f"user:{ANA.id}", ids[0])
        other.execute("INSERT INTO memories VALUES (?, ?, 1, ?)", [*key, content])

    def question(session_id: SessionId) -> Question:
        return Question(
            owner=ANA, session_id=session_id, turn_id=TurnId("a" * 32), text="?", ts=T0,
            summarized_step=1, history_limit=9,
        )  # fmt: skip

    asking = (store.store_question(question(each)) for each in ids)
    failure, context = await asyncio.gather(*asking, return_exceptions=True)
    assert isinstance(failure, StorageUnavailable)
    assert isinstance(context, TurnContext)
    lease = await store.transact(lambda tx: tx.sessions.acquire(ANA, ids[0], TurnId("b" * 32)))
    assert lease.session_id == ids[0]
