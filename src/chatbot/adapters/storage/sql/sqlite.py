"""SQLite: one writer at a time, so that one thread does all the work and commits it in groups.

What waits while a commit goes to the disk is done together in the next one: one sync for all, and
one way to a thread and back for each piece of work. (An asynchronous driver goes that way for each
statement.) Several processes may share the file; they wait for each other's commits.
"""

import asyncio
import contextvars
import os
import sqlite3
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path
from queue import Empty, SimpleQueue
from threading import Thread
from typing import Any, Generic, TypeVar

from sqlalchemy import Connection, CursorResult, Executable, Table, create_engine, event
from sqlalchemy.exc import DBAPIError, SQLAlchemyError
from sqlalchemy.pool import NullPool

from chatbot.adapters.storage.sql.database import Database, translated
from chatbot.adapters.storage.sql.schema import VERSION_TABLE
from chatbot.adapters.storage.sql.statements import Statements, Values
from chatbot.adapters.storage.threads import as_told, call_soon
from chatbot.domain.errors import StorageUnavailable

Found = TypeVar("Found")

_ERRORS = (SQLAlchemyError, sqlite3.Error)
BUSY_WAIT_S = 5.0
_GROUP = 64
_LOG = "PRAGMA journal_mode = WAL"
_PRAGMAS = (
    "PRAGMA synchronous = FULL",
    "PRAGMA foreign_keys = ON",
    "PRAGMA secure_delete = ON",
)
"""Readers do not wait for the writer; a commit is on the disk when it returns; deleting a session
deletes its messages, from the file too (https://www.sqlite.org/pragma.html)."""
_IS_OURS = """
SELECT NOT EXISTS (SELECT 1 FROM sqlite_master)
    OR EXISTS (SELECT 1 FROM sqlite_master WHERE name = ?)
"""


class SqliteDatabase(Database):
    """A file. It is made by `create`, never by connecting."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._writer: _Writer | None = None

    def create(self) -> None:
        """Make an empty file for its owner's eyes only, if there is none, and its folder."""
        self._refuse_link()
        try:
            self._path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            os.close(os.open(self._path, os.O_RDWR | os.O_CREAT, 0o600))
        except OSError as error:
            raise StorageUnavailable(f"{error.filename}: {error.strerror}.") from error

    def open(self) -> None:
        self._writer = _Writer(self.connect, _Statements(self.connect()))

    def close(self) -> None:
        writer, self._writer = self._writer, None
        if writer is not None:
            writer.end()

    def run(self, work: Callable[[Statements], Found]) -> "asyncio.Future[Found]":
        if self._writer is None:
            raise StorageUnavailable("The store is not open.")
        return self._writer.run(work)

    def is_there(self) -> bool:
        return self._path.exists()

    def connect(self, *, to_read: bool = False) -> Connection:
        self._refuse_link()
        if not os.path.isfile(self._path):  # noqa: PTH113 - pathlib's raises where it may not look
            raise StorageUnavailable(f"There is no file {self._path}: `chatbot init` makes it.")
        url = f"{self._path.as_uri()}?mode={'ro' if to_read and self._is_in_use() else 'rw'}"
        engine = create_engine(
            "sqlite+pysqlite://",
            creator=lambda: sqlite3.connect(
                url, uri=True, timeout=BUSY_WAIT_S, isolation_level=None, check_same_thread=False
            ),
            poolclass=NullPool,
        )
        if to_read:
            event.listen(engine, "begin", _begin)
        else:
            event.listen(engine, "connect", _prepare)
        try:
            with translated():
                return engine.connect()
        except StorageUnavailable as failure:
            words = getattr(failure.__cause__, "orig", None) or failure.__cause__
            raise StorageUnavailable(
                f"{self._path} cannot be opened ({words}): name another file, or mend this one."
            ) from failure

    def _refuse_link(self) -> None:
        if os.path.islink(self._path):  # noqa: PTH114 - as above
            raise StorageUnavailable(f"{self._path} is a symbolic link: name the file itself.")

    def _is_in_use(self) -> bool:
        """Whether somebody writes, or was killed: the last one who can write tidies up at his end.

        (Who can only read leaves files behind where there were none.)
        """
        return self._path.with_name(f"{self._path.name}-wal").exists()

    def flaws(self, connection: Connection) -> list[str]:
        try:
            found = connection.exec_driver_sql("PRAGMA integrity_check").scalars().all()
        except DBAPIError as error:  # it gives up where it cannot go on
            found = [str(error.orig)]
        texts = [" ".join(text.split()) for text in found if text != "ok"]
        flaws = [f"{self._path}: {text}. Mend: restore a backup" for text in texts]
        files = self._path.parent.glob(f"{self._path.name}*")
        open_ones = [file for file in files if sys.platform != "win32" and _is_open(file)]
        return flaws + [f"{file}: others may read it. Mend: chmod go-rwx" for file in open_ones]

    def lock_schema(self, connection: Connection) -> None:
        connection.exec_driver_sql("BEGIN IMMEDIATE")


def _is_open(file: Path) -> bool:
    return bool(file.stat().st_mode & 0o077)


def _begin(connection: Connection) -> None:
    connection.exec_driver_sql("BEGIN")


def _prepare(connection: sqlite3.Connection, _: object) -> None:
    for pragma in _PRAGMAS:
        connection.execute(pragma)
    (is_ours,) = connection.execute(_IS_OURS, [VERSION_TABLE]).fetchone()
    if is_ours:  # a file remembers it, and that of another application is left as it is
        connection.execute(_LOG)


class _Statements(Statements):
    """Reads in a snapshot until the first write, which takes the right to write.

    Transactions are begun here and not by the driver, so that one that only reads stops nobody.
    """

    def __init__(self, connection: Connection) -> None:
        super().__init__(connection)
        self._raw: sqlite3.Connection = connection.connection.driver_connection  # type: ignore[assignment] # it is SQLite's
        self._is_writing = self._is_marked = self._has_erased = False

    def write(self, change: Executable, values: Values | None = None) -> CursorResult[Any]:
        self._begin_to_write()
        return super().write(change, values)

    def erase(self, change: Executable, values: Values | None = None) -> CursorResult[Any]:
        self._has_erased = True
        return self.write(change, values)

    def lock(self, table: Table) -> None:  # noqa: ARG002 # there is one writer for all of them
        self._begin_to_write()

    def keep(self) -> None:
        """The piece of work is done: what it wrote goes with the group."""
        if self._is_marked:
            self._raw.execute("RELEASE work")
            self._is_marked = False

    def undo(self) -> None:
        """The piece of work failed: the others of its group stay."""
        if self._is_marked:
            self._raw.execute("ROLLBACK TO work")
            self.keep()

    def commit(self) -> None:
        if self._raw.in_transaction:
            self._raw.execute("COMMIT")
        if self._has_erased:
            self._has_erased = not self._is_log_emptied()
        self.connection.rollback()  # nothing but SQLAlchemy's own idea of a transaction
        self._is_writing = False

    def _is_log_emptied(self) -> bool:
        """Empty the write-ahead log, which holds what was; not while somebody reads from it."""
        self._raw.execute("PRAGMA busy_timeout = 0")
        (is_busy, *_) = self._raw.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
        self._raw.execute(f"PRAGMA busy_timeout = {BUSY_WAIT_S * 1000:.0f}")
        return not is_busy

    def close(self) -> None:
        """End the connection; what is not committed is undone."""
        self.connection.invalidate()
        self.connection.close()

    def _read(self, query: Executable, values: Values | None) -> CursorResult[Any]:
        if not self._raw.in_transaction:
            self._raw.execute("BEGIN")
        return super()._read(query, values)

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
    """A piece of work, and what is to be told of it."""

    def __init__(self, work: Callable[[Statements], Found]) -> None:
        self.loop = asyncio.get_running_loop()
        self.done: asyncio.Future[Found] = self.loop.create_future()
        self._work, self._context = work, contextvars.copy_context()
        self._tell: Callable[[], None] | None = None

    def attempt(self, statements: _Statements) -> None:
        """Do the work. An exception of its own undoes it alone.

        Raises:
            SQLAlchemyError, sqlite3.Error: the transaction is not to be relied on any more.
        """
        try:
            found = self._context.run(self._work, statements)
        except _ERRORS:
            raise
        except BaseException as error:  # noqa: BLE001 - it is the caller's
            statements.undo()
            self.fail(error)
        else:
            statements.keep()
            self._tell = partial(self.done.set_result, found)

    def fail(self, error: BaseException) -> None:
        self._tell = partial(self.done.set_exception, as_told(error))

    def tell(self) -> None:
        """Wake the caller, if it still waits."""
        if self._tell is not None and not self.done.done():
            self._tell()


class _Writer:
    """The thread that has the connection, and makes a new one after a failure."""

    def __init__(self, connect: Callable[[], Connection], statements: _Statements) -> None:
        self._connect = connect
        self._statements: _Statements | None = statements
        self._jobs: SimpleQueue[_Job[Any] | None] = SimpleQueue()
        self._thread = Thread(target=self._serve, name="chatbot-sqlite", daemon=True)
        self._thread.start()

    def run(self, work: Callable[[Statements], Found]) -> "asyncio.Future[Found]":
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
                    call_soon(loop, partial(_tell, [job for job in jobs if job.loop is loop]))
        self._disconnect()

    def _group(self) -> list[_Job[Any] | None]:
        """What waits now, and at least one."""
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
                statements = self._connected()
                for job in jobs:
                    job.attempt(statements)
                statements.commit()
        except BaseException as failure:  # noqa: BLE001 - the thread goes on, whatever it is
            self._disconnect()
            for job in jobs:
                job.fail(failure)

    def _connected(self) -> _Statements:
        if self._statements is None:
            try:
                self._statements = _Statements(self._connect())
            except StorageUnavailable as error:  # it names a path, which is not for callers' eyes
                raise StorageUnavailable("The store cannot be read or written.") from error
        return self._statements

    def _disconnect(self) -> None:
        """What is not committed is gone with the connection."""
        statements, self._statements = self._statements, None
        if statements is not None:
            statements.close()


def _tell(jobs: list[_Job[Any]]) -> None:
    for job in jobs:
        job.tell()
