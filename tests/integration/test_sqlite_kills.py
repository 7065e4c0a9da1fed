"""SIGKILL of a process that writes to SQLite, at random moments: acknowledged turns survive."""

import asyncio
import multiprocessing
import os
import random
import signal
import sqlite3
import sys
from contextlib import closing
from datetime import UTC, datetime
from multiprocessing.connection import Connection
from pathlib import Path

import pytest

from chatbot.adapters.storage.sql.sqlite import SqliteDatabase
from chatbot.adapters.storage.sql.storage import SqlStorage
from chatbot.domain.chat import MessageRole, Session, SessionId, TurnId
from chatbot.domain.identity import Owner
from chatbot.domain.transaction import Transaction
from samples import new_message

if sys.platform == "win32":
    pytest.skip("Windows has no SIGKILL", allow_module_level=True)

T0 = datetime(2026, 3, 1, tzinfo=UTC)
ANA = Owner(kind="user", id="a" * 32)
PARTS = ("asked", "answered")
WRITERS, KILLS, ENOUGH = 4, 25, 25
FORKS = multiprocessing.get_context("forkserver")
FORKS.set_forkserver_preload(
    ["chatbot.adapters.storage.sql.storage", "chatbot.adapters.storage.sql.sqlite"]
)


def text_of(writer: int, turn: int, part: str) -> str:
    return f"{writer} {turn} {part} " + "x" * (turn * 97 % 3000)


def be_killed(path: Path, life: int, test: Connection) -> None:
    asyncio.run(_write(path, life, test))


async def _write(path: Path, life: int, test: Connection) -> None:
    """Concurrent turns of several writers, two messages per transaction; reports each when stored."""
    async with SqlStorage(SqliteDatabase(path), replica="killed") as store:

        async def talk(writer: int) -> None:
            session_id, turn_id = SessionId(f"{life:016x}{writer:016x}"), TurnId(f"{life:032x}")
            session = Session(id=session_id, owner=ANA, title="", created_at=T0, updated_at=T0)
            await store.transact(lambda tx: tx.sessions.create(session))
            lease = await store.transact(lambda tx: tx.sessions.acquire(ANA, session_id, turn_id))
            for turn in range(10_000):

                def say(tx: Transaction, turn: int = turn) -> None:
                    for role, part in (
                        (MessageRole.USER, "asked"),
                        (MessageRole.ASSISTANT, "answered"),
                    ):
                        tx.sessions.append(
                            lease, new_message(lease, role, text_of(writer, turn, part), ts=T0)
                        )

                await store.transact(say)
                test.send((session_id, writer, turn + 1))

        await asyncio.gather(*(talk(writer) for writer in range(WRITERS)))


def killed(path: Path, life: int, after: int) -> dict[str, tuple[int, int]]:
    """Run the writer, kill it `after` this many acknowledgements; return the last of each session."""
    ours, its = FORKS.Pipe()
    acknowledged: dict[str, tuple[int, int]] = {}
    with ours:
        with its:
            process = FORKS.Process(target=be_killed, args=(path, life, its))
            process.start()
        try:
            while True:
                session_id, writer, turns = ours.recv()
                acknowledged[session_id] = (writer, turns)
                after -= 1
                if not after:
                    os.kill(process.pid or 0, signal.SIGKILL)
        except EOFError:
            process.join()
    return acknowledged


def check(path: Path, acknowledged: dict[str, tuple[int, int]]) -> None:
    """Check that each session holds the acknowledged turns, at most one more, all complete."""
    with closing(sqlite3.connect(path)) as connection:
        assert connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
        for session_id, (writer, turns) in acknowledged.items():
            rows = connection.execute(
                "SELECT seq, content FROM messages WHERE session_id = ? ORDER BY seq", [session_id]
            ).fetchall()
            whole = [text_of(writer, turn, part) for turn in range(turns + 1) for part in PARTS]
            assert rows in (list(enumerate(whole[:-2], 1)), list(enumerate(whole, 1)))
            [(count, last)] = connection.execute(
                "SELECT message_count, last_seq FROM sessions WHERE id = ?", [session_id]
            )
            assert (count, last) == (len(rows), len(rows))


def test_acknowledged_writes_are_complete_and_unique_after_each_kill(sqlite_store: Path) -> None:
    moments = random.Random(4)
    everything: dict[str, tuple[int, int]] = {}
    for life in range(1, KILLS + 1):
        acknowledged = killed(sqlite_store, life, moments.randint(1, ENOUGH))
        check(sqlite_store, acknowledged)
        everything |= acknowledged
    check(sqlite_store, everything)
    assert len(everything) > KILLS
