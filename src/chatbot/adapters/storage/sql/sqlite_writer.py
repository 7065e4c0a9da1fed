"""All work on an SQLite file in one thread, committed in groups.

A group is what comes in one round of the event loop, and what waits while a commit goes to the
disk: one sync and one wake-up of the thread for all of it. With 16 callers at once, waiting for one
round more than the current one saves 45 us of the 200 that the thread needs for a turn
(`bench/bench_turn.py`).
"""

import asyncio
import logging
import sqlite3
from collections.abc import Callable, Collection
from contextlib import suppress
from functools import partial
from queue import Empty, SimpleQueue
from threading import Thread
from typing import Any, Generic

from sqlalchemy import Connection
from sqlalchemy.exc import SQLAlchemyError

from chatbot.adapters.storage.sql.database import Turns, translated
from chatbot.adapters.storage.sql.settle_statement import SETTLE, settle_values
from chatbot.adapters.storage.sql.sqlite_session import SqliteSession
from chatbot.adapters.storage.sql.turn_statements import TurnRow, TurnStatement, TurnValues
from chatbot.adapters.storage.threads import future_exception
from chatbot.domain.errors import StorageFailure, StorageFull, StorageUnavailable
from chatbot.domain.ports.counters import Bill
from chatbot.domain.ports.storage import Found

_log = logging.getLogger("chatbot.storage")
_ERRORS = (SQLAlchemyError, sqlite3.Error)
_GROUPS = 64


class _Job(Generic[Found]):
    """A task, and the result to report for it."""

    def __init__(self, work: Callable[[SqliteSession], Found], *, is_volatile: bool) -> None:
        self.is_volatile = is_volatile
        self.loop = asyncio.get_running_loop()
        self.done: asyncio.Future[Found] = self.loop.create_future()
        self._work = work
        self._deliver: Callable[[], None] | None = None
        self.on_commit: list[Callable[[], None]] = []

    def attempt(self, sql: SqliteSession) -> None:
        """Do the work. An exception in the work rolls back only this task.

        Raises:
            SQLAlchemyError, sqlite3.Error: the transaction is not to be relied on any more.
        """
        sql.on_commit.clear()
        try:
            found = self._work(sql)
        except _ERRORS:
            raise
        except BaseException as error:  # noqa: BLE001 - it is the caller's
            sql.rollback_to_savepoint()
            self.fail(error)
        else:
            sql.release_savepoint()
            self.on_commit = [*sql.on_commit]
            self._deliver = partial(self.done.set_result, found)

    def fail(self, error: BaseException) -> None:
        self._deliver = partial(self.done.set_exception, future_exception(error))

    def wake(self) -> None:
        """Wake the caller, if it is still waiting."""
        if self._deliver is not None and not self.done.done():
            self._deliver()


class SqliteWriter:
    """The thread that owns the connection, and opens a new one after a failure."""

    def __init__(self, connect: Callable[[], Connection], sql: SqliteSession) -> None:
        self._connect = connect
        self._sql: SqliteSession | None = sql
        self._groups: SimpleQueue[list[_Job[Any]] | None] = SimpleQueue()
        self._outgoing: list[_Job[Any]] = []
        self._thread = Thread(target=self._serve, name="chatbot-sqlite", daemon=True)
        self._thread.start()

    def run(
        self, work: Callable[[SqliteSession], Found], *, is_volatile: bool = False
    ) -> "asyncio.Future[Found]":
        """Do the work in the thread; committed when the future is done.

        What is volatile does not wait for the disk, if nothing else is committed with it.
        """
        job = _Job(work, is_volatile=is_volatile)
        if not self._outgoing:  # after a round of the loop, so that what comes now goes together
            job.loop.call_soon(job.loop.call_soon, self._send)
        self._outgoing.append(job)
        return job.done

    def _send(self) -> None:
        outgoing, self._outgoing = self._outgoing, []
        self._groups.put(outgoing)

    def end(self) -> None:
        """Finish the submitted work. Blocks."""
        self._send()
        self._groups.put(None)
        self._thread.join()

    def _serve(self) -> None:
        is_over = False
        while not is_over:
            groups = self._waiting()
            is_over = None in groups
            jobs = [job for group in groups for job in group or () if not job.done.cancelled()]
            if jobs:
                self._do(jobs)
                for loop in {job.loop for job in jobs}:
                    _notify(loop, [job for job in jobs if job.loop is loop])
        self._disconnect()

    def _waiting(self) -> list[list[_Job[Any]] | None]:
        """Returns the groups that are waiting, at least one; they are committed together."""
        groups = [self._groups.get()]
        while groups[-1] is not None and len(groups) < _GROUPS:
            try:
                groups.append(self._groups.get_nowait())
            except Empty:
                break
        return groups

    def _do(self, jobs: list[_Job[Any]]) -> None:
        """Do the work and commit; if the database fails, all the work fails and nothing is kept."""
        try:
            with translated():
                sql = self._connected()
                sql.sync_commits(any(not job.is_volatile for job in jobs))
                for job in jobs:
                    job.attempt(sql)
                sql.commit()
        except BaseException as failure:  # noqa: BLE001 - the thread must not end
            self._undo(failure)
            for job in jobs:
                job.fail(_own(failure))
        else:
            for call in [call for job in jobs for call in job.on_commit]:
                call()

    def _undo(self, failure: BaseException) -> None:
        """Roll back, or drop the connection if its state is in doubt.

        It is certain when the disk was full; a new one would need room for the index of its log.
        """
        try:
            if isinstance(failure, StorageFull) and self._sql is not None:
                self._sql.rollback()
                return
        except _ERRORS:
            _log.warning("a write could not be rolled back: its connection is closed instead")
        self._disconnect()

    def _connected(self) -> SqliteSession:
        if self._sql is None:
            try:
                self._sql = SqliteSession(self._connect())
            except StorageUnavailable as error:  # it names a path, which is not for callers' eyes
                raise StorageUnavailable("The store cannot be read or written.") from error
        return self._sql

    def _disconnect(self) -> None:
        """Uncommitted work is rolled back with the connection."""
        sql, self._sql = self._sql, None
        if sql is not None:
            sql.close()


class SqliteTurns(Turns):
    """The writer, and a connection of the event loop's own, which only reads.

    Readers of a write-ahead log do not wait, and one look-up in a table that the system has in
    memory takes 15 us, less than the way to the writer's thread and back, which takes 100 of CPU
    beside a busy event loop (`bench/bench_turn.py`). What would have to wait is left to that thread.

    Args:
        connect: opens one that does not wait for locks; it blocks.
    """

    def __init__(self, writer: SqliteWriter, connect: Callable[[], Connection]) -> None:
        self._writer, self._connect = writer, connect
        self._reader: SqliteSession | None = None

    async def open(self) -> None:
        self._reader = await asyncio.to_thread(lambda: SqliteSession(self._connect()))

    async def aclose(self) -> None:
        reader, self._reader = self._reader, None
        if reader is not None:
            await asyncio.to_thread(reader.close)

    async def execute(
        self,
        statement: TurnStatement,
        values: TurnValues,
        *,
        locks: Collection[str] = (),  # noqa: ARG002 # there is one writer for all of them
    ) -> TurnRow | None:
        if statement.is_read:
            return self._read(statement.sqlite[0], values)
        return await self._writer.run(
            lambda sql: sql.write_row(statement.sqlite, values), is_volatile=statement.is_volatile
        )

    def settle(self, bill: Bill) -> "asyncio.Future[bool]":
        values = settle_values([bill])
        done = self._writer.run(lambda sql: sql.write_row(SETTLE.sqlite, values) is not None)
        done.add_done_callback(lambda each: each.cancelled() or each.exception())
        return done

    def _read(self, statement: str, values: TurnValues) -> TurnRow | None:
        reader = self._reader
        if reader is None:
            return None
        try:
            return reader.read_row(statement, values)
        except (*_ERRORS, StorageUnavailable):
            self._forget(reader)
            return None

    def _forget(self, reader: SqliteSession) -> None:
        """The writer's thread finds out what is wrong, and this is ready for the next time."""
        try:
            reader.rollback()
        except _ERRORS:
            self._reader = None
            reader.close()

    def give_up(self, after_s: float) -> None:
        """A connection to a file has no other side that could be silent."""


def _own(failure: BaseException) -> BaseException:
    """One of its own for each caller: a turn notes its session on what it failed with."""
    if not isinstance(failure, StorageFailure):
        return failure
    own = type(failure)(*failure.args)
    own.__cause__ = failure
    return own


def _notify(loop: asyncio.AbstractEventLoop, jobs: list[_Job[Any]]) -> None:
    """Wake the callers on their loop; if it was closed in the meantime, none of them is waiting."""

    def wake() -> None:
        for job in jobs:
            job.wake()

    with suppress(RuntimeError):
        loop.call_soon_threadsafe(wake)
