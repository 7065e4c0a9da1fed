"""Who is calling, on SQLite: read on the event loop, and by the writer's thread where that fails."""
# ruff: noqa: ASYNC240 - a test may block a loop that is its own

import sqlite3
from collections.abc import AsyncIterator
from contextlib import closing
from pathlib import Path

import pytest

from chatbot.adapters.storage.sql.sqlite import SqliteDatabase
from chatbot.adapters.storage.sql.sqlite_turns import SqliteTurns
from chatbot.adapters.storage.sql.storage import SqlStorage
from chatbot.domain.errors import StorageUnavailable
from stored import user


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
        found = await turns_of(store).find_caller(user(1).id)
        assert found is not None
        assert found[0] == user(1)
        other.execute("ROLLBACK")


async def test_file_that_nobody_may_read_right_now_is_left_to_the_writers_thread(
    sqlite_store: Path, store: SqlStorage, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> None:
        raise sqlite3.OperationalError("database is locked")

    statements = turns_of(store)._sql
    assert statements is not None
    with monkeypatch.context() as locked:
        locked.setattr(statements, "_read", fail)
        assert await turns_of(store).find_caller(user(1).id) is None
        assert (await store.find_caller(user(1).id))[0] == user(1)
    assert await turns_of(store).find_caller(user(1).id) is not None


async def test_nobody_is_found_in_a_file_that_was_moved(
    sqlite_store: Path, store: SqlStorage
) -> None:
    sqlite_store.rename(sqlite_store.with_name("moved.db"))
    with pytest.raises(StorageUnavailable):
        await store.find_caller(user(1).id)
    sqlite_store.with_name("moved.db").rename(sqlite_store)
    assert (await store.find_caller(user(1).id))[0] == user(1)


async def test_reading_leaves_no_transaction_open(sqlite_store: Path, store: SqlStorage) -> None:
    """One that is open would keep what was deleted in the write-ahead log."""
    await store.find_caller(user(1).id)
    with closing(sqlite3.connect(sqlite_store, isolation_level=None, timeout=0)) as other:
        [(is_busy, *_)] = other.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
    assert not is_busy
