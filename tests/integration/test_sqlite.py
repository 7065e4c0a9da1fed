"""SQLite: one thread, groups of work, and what happens to them when something fails."""
# ruff: noqa: ASYNC240 - a test may block a loop that is its own

import asyncio
import os
import sqlite3
import stat
import sys
import threading
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import closing, contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from sqlalchemy import text

from chatbot.adapters.storage.sql.export import SqlExport
from chatbot.adapters.storage.sql.sqlite import SqliteDatabase
from chatbot.adapters.storage.sql.sqlite_session import SqliteSession
from chatbot.adapters.storage.sql.storage import SqlStorage
from chatbot.adapters.storage.sql.upgrading import upgrade
from chatbot.domain.chat import Lease, MessageRange, MessageRole, Session, SessionId, TurnId
from chatbot.domain.errors import Conflict, StorageFull, StorageUnavailable
from chatbot.domain.identity import Owner
from chatbot.domain.memory import Memory
from chatbot.domain.permissions import Role
from chatbot.domain.ports.counters import Addition, CounterKey
from chatbot.domain.ports.export import Conversation, Unreadable
from chatbot.domain.transaction import Transaction
from conversation import PATIENCE_S
from samples import everything_in, new_message

T0 = datetime(2026, 3, 1, 12, tzinfo=UTC)
ANA = Owner(kind="user", id="a" * 32)
PAGE = 4096


def session_id(number: int) -> SessionId:
    return SessionId(f"{number:032x}")


def create(number: int) -> Callable[[Transaction], None]:
    session = Session(id=session_id(number), owner=ANA, title="", created_at=T0, updated_at=T0)
    return lambda tx: tx.sessions.create(session)


def fill(number: int, *texts: str) -> Callable[[Transaction], Lease]:
    def work(tx: Transaction) -> Lease:
        create(number)(tx)
        lease = tx.sessions.acquire(ANA, session_id(number), TurnId(f"{number:032x}"))
        for one in texts:
            tx.sessions.append(lease, new_message(lease, MessageRole.USER, one, ts=T0))
        return lease

    return work


def known(tx: Transaction) -> set[int]:
    return {int(session.id, 16) for session in tx.sessions.page(ANA, limit=99)}


@pytest.fixture
async def store(sqlite_store: Path) -> AsyncIterator[SqlStorage]:
    async with SqlStorage(SqliteDatabase(sqlite_store), replica="test") as store:
        yield store


@contextmanager
def other(path: Path) -> Iterator[sqlite3.Connection]:
    """A connection of another process, with explicit transactions."""
    with closing(sqlite3.connect(path, isolation_level=None, timeout=0)) as connection:
        yield connection


class Pause:
    """Work that keeps the thread busy, so that other work is queued."""

    def __init__(self) -> None:
        self._begun, self._over = threading.Event(), threading.Event()

    def __call__(self, _: object) -> None:
        self._begun.set()
        assert self._over.wait(PATIENCE_S)

    async def until_begun(self) -> None:
        assert await asyncio.to_thread(self._begun.wait, PATIENCE_S)

    def end(self) -> None:
        self._over.set()


async def until_sent(store: SqlStorage) -> None:
    """Wait until the thread's queue holds the work of all tasks created before."""
    await asyncio.sleep(0)
    assert isinstance(store._database, SqliteDatabase)
    while store._database._work is not None and store._database._work._outgoing:  # noqa: ASYNC110 - no event says it
        await asyncio.sleep(0)


async def together(
    store: SqlStorage, *works: Callable[[Transaction], object]
) -> list[object | BaseException]:
    """Execute them in one group; return the results or exceptions."""
    pause = Pause()
    first = asyncio.create_task(store.transact(pause))
    await pause.until_begun()
    given = [asyncio.create_task(store.transact(work)) for work in works]
    await until_sent(store)
    pause.end()
    await first
    return list(await asyncio.gather(*given, return_exceptions=True))


# --- groups ----------------------------------------------------------------------------------


async def commits(store: SqlStorage, doing: Callable[[], Awaitable[object]]) -> int:
    """How often the thread's connection commits in the block."""
    said = list[str]()

    def trace(callback: Callable[[str], object] | None) -> Awaitable[None]:
        def work(tx: Transaction) -> None:
            tx.sessions._sql._raw.set_trace_callback(callback)  # type: ignore[attr-defined]

        return store.transact(work)

    await trace(said.append)
    await doing()
    await trace(None)
    return said.count("COMMIT")


async def test_work_that_waits_together_is_one_commit(store: SqlStorage) -> None:
    works = [create(number) for number in range(20)]
    assert await commits(store, lambda: together(store, *works)) == 1
    assert await store.transact(known) == set(range(20))


async def test_exception_in_one_unit_of_work_rolls_back_only_that_one(store: SqlStorage) -> None:
    def fail(tx: Transaction) -> None:
        fill(2, "lost")(tx)
        raise ZeroDivisionError

    def refuse(tx: Transaction) -> None:
        create(3)(tx)
        create(1)(tx)

    found = await together(store, create(1), fail, refuse, create(4), known)
    assert [type(one) for one in found[:4]] == [type(None), ZeroDivisionError, Conflict, type(None)]
    assert found[4] == await store.transact(known) == {1, 4}


async def test_database_failure_fails_the_whole_group_and_stores_nothing(
    store: SqlStorage,
) -> None:
    def break_down(tx: Transaction) -> None:
        tx.sessions._sql.write(text("INSERT INTO nowhere VALUES (1)"))  # type: ignore[attr-defined]

    found = await together(store, create(1), break_down, create(2), known)
    assert [type(one) for one in found] == [StorageUnavailable] * 4
    assert len(set(map(id, found))) == len(found), "a turn notes its session on its own"
    assert await store.transact(known) == set()
    await store.transact(create(3))
    assert await store.transact(known) == {3}


@pytest.mark.parametrize("failure", [MemoryError("none left"), sqlite3.OperationalError("bad")])
async def test_failed_commit_stores_nothing_and_the_thread_continues(
    store: SqlStorage, monkeypatch: pytest.MonkeyPatch, failure: Exception
) -> None:
    def fail(_: object) -> None:
        raise failure

    with monkeypatch.context() as broken:
        broken.setattr(SqliteSession, "commit", fail)
        with pytest.raises((MemoryError, StorageUnavailable)):
            await asyncio.wait_for(store.transact(create(1)), PATIENCE_S)
    await asyncio.wait_for(store.transact(create(2)), PATIENCE_S)
    assert await store.transact(known) == {2}


async def test_full_disk_rolls_back_the_group_and_keeps_the_connection(store: SqlStorage) -> None:
    """A new connection would need space for the index of its log and could not read."""

    def raw(tx: Transaction) -> sqlite3.Connection:
        return tx.sessions._sql._raw  # type: ignore[attr-defined,no-any-return]

    before = await store.transact(raw)
    await store.transact(lambda tx: raw(tx).execute("PRAGMA max_page_count = 1"))  # as large as now
    found = await together(store, create(1), fill(2, "x" * 100_000), create(3))
    assert [type(one) for one in found] == [StorageFull] * 3
    assert await store.transact(known) == set()
    assert await store.transact(raw) is before
    await store.transact(lambda tx: raw(tx).execute("PRAGMA max_page_count = 9999"))
    await store.transact(fill(2, "x" * 100_000))
    assert await store.transact(known) == {2}


async def test_database_that_does_not_answer_is_given_up(sqlite_store: Path) -> None:
    database, goes_on = SqliteDatabase(sqlite_store), threading.Event()
    async with SqlStorage(database, replica="test", answer_s=0.1) as store:
        with pytest.raises(StorageUnavailable, match="does not answer"):
            await store.transact(lambda _: goes_on.wait(PATIENCE_S))
        with pytest.raises(StorageUnavailable, match="does not answer"):
            await store.transact(create(1))
        goes_on.set()
    async with SqlStorage(database, replica="test") as store:
        assert await store.transact(known) == set()


# --- callers ---------------------------------------------------------------------------------


async def test_cancelling_undoes_only_work_that_has_not_begun(store: SqlStorage) -> None:
    pause = Pause()

    def first(tx: Transaction) -> None:
        create(1)(tx)
        pause(tx)

    callers = [asyncio.create_task(store.transact(first))]
    await pause.until_begun()
    callers.append(asyncio.create_task(store.transact(create(2))))
    await asyncio.sleep(0)
    for caller in callers:
        caller.cancel()
    await asyncio.wait(callers)
    pause.end()
    assert await store.transact(known) == {1}


async def test_stop_iteration_is_reported_and_does_not_hang_the_group(
    store: SqlStorage,
) -> None:
    async with asyncio.timeout(PATIENCE_S):
        found = await together(store, create(1), lambda _: next(iter([])), create(2))
    assert isinstance(found[1], RuntimeError)
    assert found[::2] == [None, None]


async def test_closed_event_loop_does_not_end_the_thread(store: SqlStorage) -> None:
    pause = Pause()

    async def leave() -> None:
        store._database.run(lambda _: pause(None))
        await pause.until_begun()

    await asyncio.to_thread(asyncio.run, leave())
    pause.end()
    await asyncio.wait_for(store.transact(create(1)), PATIENCE_S)


async def test_store_that_is_not_open_refuses(sqlite_store: Path) -> None:
    store = SqlStorage(SqliteDatabase(sqlite_store), replica="test")
    with pytest.raises(StorageUnavailable, match="not open"):
        await store.transact(known)
    async with store:
        await store.transact(create(1))
    with pytest.raises(StorageUnavailable, match="not open"):
        await store.transact(known)
    async with store:
        assert await store.transact(known) == {1}


async def test_closing_waits_for_accepted_work(sqlite_store: Path) -> None:
    async with SqlStorage(SqliteDatabase(sqlite_store), replica="test") as store:
        given = [asyncio.create_task(store.transact(create(number))) for number in range(30)]
        await asyncio.sleep(0)
    await asyncio.gather(*given)
    async with store:
        assert await store.transact(known) == set(range(30))


# --- other processes -------------------------------------------------------------------------


async def test_reader_and_writer_do_not_block_each_other(
    store: SqlStorage, sqlite_store: Path
) -> None:
    await store.transact(create(1))
    count = "SELECT count(*) FROM sessions"
    with other(sqlite_store) as reader:
        reader.execute("BEGIN")
        assert reader.execute(count).fetchone() == (1,)
        await store.transact(create(2))
        assert reader.execute(count).fetchone() == (1,)
    with other(sqlite_store) as writer:
        writer.execute("BEGIN IMMEDIATE")
        writer.execute("DELETE FROM sessions")
        assert await store.transact(known) == {1, 2}
        writer.execute("COMMIT")
    assert await store.transact(known) == set()


async def test_transaction_that_read_may_write_despite_concurrent_writes(
    store: SqlStorage, sqlite_store: Path
) -> None:
    await store.transact(create(1))

    def work(tx: Transaction) -> None:
        assert known(tx) == {1}
        with other(sqlite_store) as writer:
            writer.execute("UPDATE sessions SET title = 'theirs'")
        create(2)(tx)

    await store.transact(work)
    assert await store.transact(known) == {1, 2}
    found = await store.transact(lambda tx: tx.sessions.get(ANA, session_id(1)))
    assert found.title == "theirs"


async def test_waiting_for_a_suspended_writer_is_bounded(
    sqlite_store: Path,
) -> None:
    database = SqliteDatabase(sqlite_store, busy_wait_s=0.2)
    async with SqlStorage(database, replica="test") as store:
        with other(sqlite_store) as writer:
            writer.execute("BEGIN IMMEDIATE")
            with pytest.raises(StorageUnavailable):
                await asyncio.wait_for(store.transact(create(1)), PATIENCE_S)
            with pytest.raises(StorageUnavailable):
                await asyncio.wait_for(store.check(), PATIENCE_S)
            assert await store.transact(known) == set()
        await store.check()
        await store.transact(create(1))


# --- the file --------------------------------------------------------------------------------


async def test_connection_has_the_documented_durability_settings(store: SqlStorage) -> None:
    def setting(name: str) -> object:
        return store._database.run(
            lambda tx: tx.connection.exec_driver_sql(f"PRAGMA {name}").scalar()
        )

    names = ("journal_mode", "synchronous", "foreign_keys", "secure_delete", "busy_timeout")
    assert [await setting(name) for name in names] == ["wal", 2, 1, 1, 5000]  # type: ignore[misc]


async def test_only_a_commit_of_nothing_but_counts_does_not_wait_for_the_disk(
    store: SqlStorage, monkeypatch: pytest.MonkeyPatch
) -> None:
    modes: list[object] = []
    original = SqliteSession.commit

    def commit(session: SqliteSession) -> None:
        modes.append(session.connection.exec_driver_sql("PRAGMA synchronous").scalar())
        original(session)

    monkeypatch.setattr(SqliteSession, "commit", commit)
    request = Addition(key=CounterKey("rate", "ana"), amount=1, expires_at=T0 + timedelta(1))
    await store.add_counts([request], now=T0)
    await asyncio.gather(store.add_counts([request], now=T0), store.transact(create(1)))
    await store.transact(create(2))
    await store.add_counts([request], now=T0)
    full, normal = 2, 1
    assert modes == [normal, full, full, normal]


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no such rights")
async def test_files_are_readable_by_their_owner_only(tmp_path: Path) -> None:
    path = tmp_path / "new" / "folder" / "chatbot.db"
    database = SqliteDatabase(path)
    usual = os.umask(0)
    try:
        database.create()
    finally:
        os.umask(usual)
    upgrade(database)
    async with SqlStorage(database, replica="test") as store:
        await store.transact(create(1))
        modes = {file.name: stat.S_IMODE(file.stat().st_mode) for file in path.parent.iterdir()}
        assert modes == {f"chatbot.db{end}": 0o600 for end in ("", "-wal", "-shm")}
        for folder in (path.parent, path.parent.parent):
            assert stat.S_IMODE(folder.stat().st_mode) == 0o700
        assert await store.inspect() == []
        path.chmod(0o644)
        [line] = await store.inspect()
        assert "chmod" in line


async def test_deleted_or_reset_text_remains_in_no_file(
    store: SqlStorage, sqlite_store: Path
) -> None:
    """Among other rows that stay, in pages that are split, emptied and merged."""
    canary = "canary-5d0c"

    def remembered(number: int) -> Callable[[Transaction], Lease]:
        def work(tx: Transaction) -> Lease:
            texts = [f"{canary} {each} " + "x" * (each * 37 % 700) for each in range(40)]
            lease = fill(number, *texts)(tx)
            memory = Memory(summary=f"{canary} of {number}")
            tx.sessions.put_memory(ANA, session_id(number), memory, epoch=0)
            return lease

        return work

    def in_files() -> bool:
        files = sqlite_store.parent.glob(f"{sqlite_store.name}*")
        return any(canary.encode() in file.read_bytes() for file in files)

    leases = [await store.transact(remembered(number)) for number in (1, 3, 5, 7)]
    for number in (2, 4, 6):
        await store.transact(fill(number, *["stays"] * 40))
    assert in_files()
    for lease in leases[:2]:
        await store.transact(lambda tx, lease=lease: tx.sessions.delete(lease))  # type: ignore[misc]
    for lease in leases[2:]:
        await store.transact(lambda tx, lease=lease: tx.sessions.reset(lease, ts=T0))  # type: ignore[misc]
    assert not in_files()
    assert await store.transact(known) == {2, 4, 5, 6, 7}
    assert await store.inspect() == []


async def test_data_retained_in_the_log_by_a_reader_is_erased_by_the_next_work(
    store: SqlStorage, sqlite_store: Path
) -> None:
    log = sqlite_store.with_name(f"{sqlite_store.name}-wal")
    lease = await store.transact(fill(1, "canary-5d0c"))
    with other(sqlite_store) as reader:
        reader.execute("BEGIN")
        reader.execute("SELECT count(*) FROM sessions").fetchone()
        await store.transact(lambda tx: tx.sessions.delete(lease))
        assert b"canary-5d0c" in log.read_bytes()
    await store.transact(known)
    assert log.read_bytes() == b""


async def test_error_about_a_missing_file_does_not_reveal_its_path(
    store: SqlStorage, sqlite_store: Path
) -> None:
    """The message is shown to callers."""
    for file in sqlite_store.parent.glob(f"{sqlite_store.name}*"):
        file.rename(file.with_name(f"moved-{file.name}"))
    with pytest.raises(StorageUnavailable):
        await store._database.run(lambda tx: tx.rows(text("SELECT 1 FROM nowhere")))
    with pytest.raises(StorageUnavailable) as raised:
        await store.transact(known)
    assert str(raised.value) == "The store cannot be read or written."


async def test_damaged_page_is_named_and_other_sessions_go_on(sqlite_store: Path) -> None:
    database = SqliteDatabase(sqlite_store)
    async with SqlStorage(database, replica="test") as store:
        for number in range(1, 4):
            await store.transact(fill(number, *[f"text of {number}"] * 200))
    content = bytearray(sqlite_store.read_bytes())
    pages = range(0, len(content), PAGE)
    its = [at for at in pages if content.count(b"text of 2", at, at + PAGE) > 10]
    place = its[len(its) // 2]  # the first and the last may hold messages of its neighbours
    content[place : place + PAGE] = b"\xa5" * PAGE
    sqlite_store.write_bytes(content)

    async with SqlStorage(database, replica="test") as store:
        errors = await store.inspect()
        assert errors
        assert not any("\n" in line for line in errors)
        assert all("Fix: restore a backup" in line for line in errors)
        with pytest.raises(StorageUnavailable):
            await store.transact(
                lambda tx: tx.sessions.read(ANA, session_id(2), MessageRange(limit=200))
            )
        for number in (1, 3):
            found = await store.transact(
                lambda tx, number=number: tx.sessions.read(
                    ANA, session_id(number), MessageRange(limit=5)
                )  # type: ignore[misc]
            )
            assert [one.content for one in found] == [f"text of {number}"] * 5
        await store.transact(fill(4, "new"))


async def test_session_deleted_by_hand_removes_no_other_from_a_backup(
    sqlite_store: Path,
) -> None:
    """Without `PRAGMA foreign_keys` its messages would remain and precede those of the next session."""
    database = SqliteDatabase(sqlite_store)
    async with SqlStorage(database, replica="test") as store:
        for number in (1, 2, 3):
            await store.transact(fill(number, f"text of {number}"))
        assert await store.inspect() == []
        with other(sqlite_store) as connection:
            connection.execute("DELETE FROM sessions WHERE id = ?", [session_id(1)])
        assert any("without a session" in line for line in await store.inspect())
    assert texts_in(database) == {session_id(2): ["text of 2"], session_id(3): ["text of 3"]}


async def test_incomplete_session_is_not_backed_up_as_complete(
    sqlite_store: Path,
) -> None:
    database = SqliteDatabase(sqlite_store)
    async with SqlStorage(database, replica="test") as store:
        for number in (1, 2):
            await store.transact(fill(number, "first", "second"))
    with other(sqlite_store) as connection:
        connection.execute("DELETE FROM messages WHERE session_id = ? AND seq = 1", [session_id(1)])
    lost, kept = (item for item in SqlExport(database).items() if not isinstance(item, Role))
    assert isinstance(lost, Unreadable)
    assert isinstance(kept, Conversation)
    assert len(kept.messages) == 2


def texts_in(database: SqliteDatabase) -> dict[SessionId, list[str]]:
    return {
        item.session.id: [message.content for message in item.messages]
        for item in everything_in(SqlExport(database))
        if isinstance(item, Conversation)
    }


@pytest.mark.skipif(sys.platform == "win32", reason="an open file cannot be removed there")
async def test_nothing_is_acknowledged_that_went_to_a_file_without_its_name(
    sqlite_store: Path, store: SqlStorage
) -> None:
    await store.transact(create(1))
    sqlite_store.rename(sqlite_store.with_name("moved.db"))
    for number in (2, 3):
        with pytest.raises(StorageUnavailable):
            await store.transact(create(number))
    with pytest.raises(StorageUnavailable):
        await store.check()
    sqlite_store.with_name("moved.db").rename(sqlite_store)
    await store.transact(create(4))
    assert {1, 4} <= await store.transact(known)
