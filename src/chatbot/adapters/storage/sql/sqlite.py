"""SQLite: one file that several processes can share. They wait for each other's commits."""

import asyncio
import contextvars
import errno
import os
import secrets
import sqlite3
import sys
import time
from collections.abc import Callable
from pathlib import Path

from sqlalchemy import Connection, create_engine, event
from sqlalchemy.exc import DBAPIError
from sqlalchemy.pool import NullPool

from chatbot.adapters.storage.sql.database import Database, SqlSession, Turns, translated
from chatbot.adapters.storage.sql.schema import VERSION_TABLE
from chatbot.adapters.storage.sql.sqlite_session import SqliteSession
from chatbot.adapters.storage.sql.sqlite_writer import SqliteTurns, SqliteWriter
from chatbot.domain.errors import StorageFull, StorageUnavailable
from chatbot.domain.ports.storage import ROOM_BYTES, Found

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
    """A file, which is created by `create`, never by connecting.

    Args:
        busy_wait_s: how long to wait for another process that writes.
    """

    def __init__(self, path: Path, *, busy_wait_s: float = 5.0) -> None:
        self._path, self._busy_wait_s = path, busy_wait_s
        self._work: SqliteWriter | None = None

    def create(self) -> None:
        """Create an empty file (mode 0600) and its folder, if they do not exist."""
        self._refuse_link()
        try:
            for folder in reversed(self._path.parents):  # `parents=True` makes the others for all
                folder.mkdir(mode=0o700, exist_ok=True)
            os.close(os.open(self._path, os.O_RDWR | os.O_CREAT, 0o600))
        except OSError as error:
            raise StorageUnavailable(f"{error.filename}: {error.strerror}.") from error

    def open(self) -> None:
        self._work = SqliteWriter(self.connect, SqliteSession(self.connect()))

    def close(self) -> None:
        work, self._work = self._work, None
        if work is not None:
            work.end()

    def run(self, work: Callable[[SqlSession], Found]) -> "asyncio.Future[Found]":
        if self._work is None:
            raise StorageUnavailable("The store is not open.")
        context = contextvars.copy_context()
        return self._work.run(lambda sql: context.run(work, sql))

    def turns(self) -> Turns | None:
        reader = SqliteDatabase(self._path, busy_wait_s=0)
        return None if self._work is None else SqliteTurns(self._work, reader.connect)

    def exists(self) -> bool:
        return self._path.exists()

    def connect(self, *, to_read: bool = False) -> Connection:
        self._refuse_link()
        if not os.path.isfile(self._path):  # noqa: PTH113 - pathlib's raises where it may not look
            if os.path.isdir(self._path):  # noqa: PTH112 - as above
                raise StorageUnavailable(f"{self._path} is a folder. Fix: name a file.")
            raise StorageUnavailable(
                f"The file {self._path} does not exist. Fix: run `chatbot init` to create it."
            )
        url = f"{self._path.as_uri()}?mode={'ro' if to_read and self._is_in_use() else 'rw'}"
        engine = create_engine(
            "sqlite+pysqlite://",
            creator=lambda: sqlite3.connect(
                url,
                uri=True,
                timeout=self._busy_wait_s,
                isolation_level=None,  # transactions are begun by hand
                check_same_thread=False,
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
            message = getattr(failure.__cause__, "orig", None) or failure.__cause__
            raise StorageUnavailable(
                f"{self._path} cannot be opened ({message}). Fix: repair it, or name another file."
            ) from failure

    def _refuse_link(self) -> None:
        if os.path.islink(self._path):  # noqa: PTH114 - as above
            raise StorageUnavailable(f"{self._path} is a symbolic link. Fix: name the file itself.")

    def _is_in_use(self) -> bool:
        """Whether a process is writing or was killed, because the last writer cleans up on exit.

        (A read-only connection would leave new files behind.)
        """
        return self._path.with_name(f"{self._path.name}-wal").exists()

    def require_room(self, connection: Connection) -> None:  # noqa: ARG002 # its log may use old room again
        """Write a file beside the database's, where its log grows."""
        probe = self._path.with_name(f".{self._path.name}.probe-{secrets.token_hex(8)}")
        try:
            fd = os.open(probe, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
            try:
                if os.write(fd, bytes(ROOM_BYTES)) < ROOM_BYTES:
                    raise StorageFull("The store has no space left.")
                os.fsync(fd)
            finally:
                os.close(fd)
                probe.unlink()
        except OSError as error:
            if error.errno in {errno.ENOSPC, errno.EFBIG, getattr(errno, "EDQUOT", errno.ENOSPC)}:
                raise StorageFull("The store has no space left.") from error
            raise StorageUnavailable("The store cannot be written.") from error

    def inspect(self, connection: Connection) -> list[str]:
        try:
            found = connection.exec_driver_sql("PRAGMA integrity_check").scalars().all()
        except DBAPIError as error:  # it gives up where it cannot go on
            found = [str(error.orig)]
        texts = [" ".join(text.split()) for text in found if text != "ok"]
        if not texts and connection.exec_driver_sql("PRAGMA foreign_key_check").first():
            texts = ["messages or memory without a session"]
        errors = [f"{self._path}: {text}. Fix: restore a backup" for text in texts]
        files = self._path.parent.glob(f"{self._path.name}*")
        open_ones = [file for file in files if sys.platform != "win32" and _is_open(file)]
        return errors + [
            f"{file}: other accounts can read it. Fix: chmod go-rwx" for file in open_ones
        ]

    def require_usable(self, connection: Connection) -> None:
        """No-op: SQLite stores any text and has no accounts."""

    def require_changeable(self, connection: Connection) -> None:
        """No-op, for the same reason."""

    def set_timeouts(self, connection: Connection) -> None:
        """No-op: each process that waits for the file has its own time-out."""

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
    if is_ours:  # stored in the file; a file of another application stays unchanged
        _keep_log(connection)


def _keep_log(connection: sqlite3.Connection) -> None:
    """Set the write-ahead log; retries, because SQLite does not wait for table creation here."""
    (wait_ms,) = connection.execute("PRAGMA busy_timeout").fetchone()
    deadline = time.monotonic() + wait_ms / 1000
    while connection.execute("PRAGMA journal_mode").fetchone() != ("wal",):
        try:
            connection.execute("PRAGMA journal_mode = WAL")
        except sqlite3.OperationalError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.01)
