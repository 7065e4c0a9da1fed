"""All work on an SQLite file in one thread, committed in groups.

Work that waits while a commit goes to the disk is done together in the next one: one sync for all,
and one round trip to the thread for each task, where an asynchronous driver needs one per
statement.
"""

import asyncio
import contextvars
import logging
import os
import sqlite3
from collections.abc import Callable, Collection
from contextlib import suppress
from functools import partial
from queue import Empty, SimpleQueue
from threading import Thread
from typing import Any, Generic

from sqlalchemy import Connection, Executable, Table
from sqlalchemy.exc import SQLAlchemyError

from chatbot.adapters.storage.sql.compiled import compiled
from chatbot.adapters.storage.sql.database import translated
from chatbot.adapters.storage.sql.sql_session import HOT, Result, SqlSession, Values
from chatbot.adapters.storage.threads import as_told
from chatbot.domain.errors import StorageFailure, StorageFull, StorageUnavailable
from chatbot.domain.ports.storage import Found

_log = logging.getLogger("chatbot.storage")
_ERRORS = (SQLAlchemyError, sqlite3.Error)
_GROUP = 64


class SqliteSession(SqlSession):
    """Reads in a snapshot until the first write, which acquires the write lock.

    Transactions are begun here and not by the driver, so that read-only ones block no one.
    """

    def __init__(self, connection: Connection) -> None:
        super().__init__(connection)
        self._raw: sqlite3.Connection = connection.connection.driver_connection  # type: ignore[assignment] # it is SQLite's
        self._is_writing = self._is_marked = self._has_erased = False
        (*_, self._path) = self._raw.execute("PRAGMA database_list").fetchone()
        self._file = self._named()

    def write(self, change: Executable, values: Values | None = None) -> Result:
        self._begin_to_write()
        return super().write(change, values)

    def delete_securely(self, change: Executable, values: Values | None = None) -> Result:
        self._has_erased = True
        return self.write(change, values)

    def lock(self, table: Table) -> None:  # noqa: ARG002 # there is one writer for all of them
        self._begin_to_write()

    def lock_names(self, names: Collection[str]) -> None:  # noqa: ARG002 # as above
        self._begin_to_write()

    def release_savepoint(self) -> None:
        """Finish the task: what it wrote is committed with the group."""
        if self._is_marked:
            self._raw.execute("RELEASE work")
            self._is_marked = False

    def rollback_to_savepoint(self) -> None:
        """The piece of work failed: the others of its group stay."""
        if self._is_marked:
            self._raw.execute("ROLLBACK TO work")
            self.release_savepoint()

    def commit(self) -> None:
        if self._raw.in_transaction:
            self._raw.execute("COMMIT")
        if self._has_erased:
            self._has_erased = not self._is_log_emptied()
        self.connection.rollback()  # nothing but SQLAlchemy's own idea of a transaction
        self._is_writing = False
        if self._named() != self._file:
            raise StorageUnavailable("The store was moved or removed.")

    def rollback(self) -> None:
        if self._raw.in_transaction:
            self._raw.execute("ROLLBACK")
        self.connection.rollback()
        self._is_writing = self._is_marked = False

    def _named(self) -> tuple[int, int] | None:
        """Returns which file has the name now. Data in an unlinked file would be lost."""
        try:
            found = os.stat(self._path)  # noqa: PTH116 - pathlib's takes longer, at each commit
        except OSError:
            return None
        return found.st_dev, found.st_ino

    def _is_log_emptied(self) -> bool:
        """Empty the write-ahead log, which contains old data; not while a reader needs it."""
        (wait_ms,) = self._raw.execute("PRAGMA busy_timeout").fetchone()
        self._raw.execute("PRAGMA busy_timeout = 0")
        try:
            (is_busy, *_) = self._raw.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
        except sqlite3.OperationalError:  # the data to commit is safe: the next commit tries again
            is_busy = True
        self._raw.execute(f"PRAGMA busy_timeout = {wait_ms}")
        return not is_busy

    def close(self) -> None:
        """Close the connection; uncommitted work is rolled back."""
        self.connection.invalidate()
        self.connection.close()

    def _read(self, query: Executable, values: Values | None) -> Result:
        if not self._raw.in_transaction:
            self._raw.execute("BEGIN")
        return super()._read(query, values)

    def _execute(self, statement: Executable, values: Values | None = None) -> Result:
        given, fixed = values or {}, HOT.get(statement)
        if fixed is None:
            return super()._execute(statement, values)
        return compiled(fixed, tuple(given), self.connection.dialect).run(self._raw, given)

    def _begin_to_write(self) -> None:
        if not self._is_writing:
            if self._raw.in_transaction:  # a snapshot may be too old to write on
                self._raw.execute("COMMIT")
            self._raw.execute("BEGIN IMMEDIATE")
            self._is_writing = True
        if not self._is_marked:
            self._raw.execute("SAVEPOINT work")
            self._is_marked = True


class _Job(Generic[Found]):
    """A task, and the result to report for it."""

    def __init__(self, work: Callable[[SqlSession], Found]) -> None:
        self.loop = asyncio.get_running_loop()
        self.done: asyncio.Future[Found] = self.loop.create_future()
        self._work, self._context = work, contextvars.copy_context()
        self._tell: Callable[[], None] | None = None

    def attempt(self, sql: SqliteSession) -> None:
        """Do the work. An exception of its own undoes it alone.

        Raises:
            SQLAlchemyError, sqlite3.Error: the transaction is not to be relied on any more.
        """
        try:
            found = self._context.run(self._work, sql)
        except _ERRORS:
            raise
        except BaseException as error:  # noqa: BLE001 - it is the caller's
            sql.rollback_to_savepoint()
            self.fail(error)
        else:
            sql.release_savepoint()
            self._tell = partial(self.done.set_result, found)

    def fail(self, error: BaseException) -> None:
        self._tell = partial(self.done.set_exception, as_told(error))

    def tell(self) -> None:
        """Wake the caller, if it still waits."""
        if self._tell is not None and not self.done.done():
            self._tell()


class SqliteWriter:
    """The thread that has the connection, and makes a new one after a failure."""

    def __init__(self, connect: Callable[[], Connection], sql: SqliteSession) -> None:
        self._connect = connect
        self._sql: SqliteSession | None = sql
        self._jobs: SimpleQueue[_Job[Any] | None] = SimpleQueue()
        self._thread = Thread(target=self._serve, name="chatbot-sqlite", daemon=True)
        self._thread.start()

    def run(self, work: Callable[[SqlSession], Found]) -> "asyncio.Future[Found]":
        job = _Job(work)
        self._jobs.put(job)
        return job.done

    def end(self) -> None:
        self._jobs.put(None)
        self._thread.join()

    def _serve(self) -> None:
        is_over = False
        while not is_over:
            group = self._group()
            is_over = None in group
            jobs = [job for job in group if job is not None and not job.done.cancelled()]
            if jobs:
                self._do(jobs)
                for loop in {job.loop for job in jobs}:
                    _notify(loop, [job for job in jobs if job.loop is loop])
        self._disconnect()

    def _group(self) -> list[_Job[Any] | None]:
        """Returns the tasks that are waiting, at least one."""
        group = [self._jobs.get()]
        while len(group) < _GROUP and group[-1] is not None:
            try:
                group.append(self._jobs.get_nowait())
            except Empty:
                break
        return group

    def _do(self, jobs: list[_Job[Any]]) -> None:
        """Do the work and commit; a failure of the database is everybody's, and nothing is kept."""
        try:
            with translated():
                sql = self._connected()
                for job in jobs:
                    job.attempt(sql)
                sql.commit()
        except BaseException as failure:  # noqa: BLE001 - the thread goes on, whatever it is
            self._undo(failure)
            for job in jobs:
                job.fail(_own(failure))

    def _undo(self, failure: BaseException) -> None:
        """Keep nothing, and no connection whose state is in doubt.

        It is not when the disk was full; a new one would need room for the index of its log.
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
            job.tell()

    with suppress(RuntimeError):
        loop.call_soon_threadsafe(wake)
