"""One SQLite connection: its transactions, its savepoints, and what it does faster than SQLAlchemy."""

import os
import sqlite3
from collections.abc import Collection, Sequence
from typing import Any

from sqlalchemy import Connection, CursorResult, Executable, Table

from chatbot.adapters.storage.sql.database import SqlSession, Values
from chatbot.domain.errors import StorageUnavailable


class SqliteSession(SqlSession):
    """Reads in a snapshot until the first write, which acquires the write lock.

    Transactions are begun here and not by the driver, so that read-only ones block no one.
    """

    def __init__(self, connection: Connection) -> None:
        super().__init__(connection)
        self._raw: sqlite3.Connection = connection.connection.driver_connection  # type: ignore[assignment] # it is SQLite's
        self._is_writing = self._is_marked = self._has_erased = False
        self._is_synced = True
        (*_, self._path) = self._raw.execute("PRAGMA database_list").fetchone()
        self._file = self._named()

    def write(self, change: Executable, values: Values | None = None) -> CursorResult[Any]:
        self._begin_to_write()
        return super().write(change, values)

    def write_all(self, change: Executable, rows: Sequence[Values]) -> None:
        self._begin_to_write()
        super().write_all(change, rows)

    def delete_securely(
        self, change: Executable, values: Values | None = None
    ) -> CursorResult[Any]:
        self._has_erased = True
        return self.write(change, values)

    def lock(self, table: Table) -> None:  # noqa: ARG002 # there is one writer for all of them
        self._begin_to_write()

    def lock_names(self, names: Collection[str]) -> None:  # noqa: ARG002 # as above
        self._begin_to_write()

    def release_savepoint(self) -> None:
        """Finish the task; its writes are committed with the group."""
        if self._is_marked:
            self._raw.execute("RELEASE work")
            self._is_marked = False

    def rollback_to_savepoint(self) -> None:
        """Roll back the task; the others of its group are kept."""
        if self._is_marked:
            self._raw.execute("ROLLBACK TO work")
            self.release_savepoint()

    def sync_commits(self, wanted: bool) -> None:
        """Whether the next commit waits for the disk. With the next one that does, it is there."""
        if wanted != self._is_synced:
            self._raw.execute(f"PRAGMA synchronous = {'FULL' if wanted else 'NORMAL'}")
            self._is_synced = wanted

    def commit(self) -> None:
        if self._raw.in_transaction:
            self._raw.execute("COMMIT")
        if self._has_erased:
            self._has_erased = not self._is_log_emptied()
        if self.connection.in_transaction():
            self.connection.rollback()  # nothing but SQLAlchemy's own idea of a transaction
        self._is_writing = False
        self._require_file()

    def rollback(self) -> None:
        if self._raw.in_transaction:
            self._raw.execute("ROLLBACK")
        self.connection.rollback()
        self._is_writing = self._is_marked = False

    def _require_file(self) -> None:
        if self._named() != self._file:
            raise StorageUnavailable("The store was moved or removed.")

    def _named(self) -> tuple[int, int] | None:
        """Returns the identity of the file that has the name now.

        Data in an unlinked file would be lost.
        """
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

    def _read(self, query: Executable, values: Values | None) -> CursorResult[Any]:
        if not self._raw.in_transaction:
            self._raw.execute("BEGIN")
        return super()._read(query, values)

    def write_row(self, statements: Sequence[str], values: Values) -> Sequence[Any] | None:
        """Execute the first statement; and the others, if it returns or changes a row.

        Without a savepoint: nothing but the database can fail here, and that undoes the group.

        Returns:
            The row, which is empty if the statement returns none; None if there was none.
        """
        self._acquire_write_lock()
        cursor = self._raw.execute(statements[0], values)
        rows = cursor.fetchall()
        if not rows and cursor.rowcount < 1:
            return None
        for statement in statements[1:]:
            self._raw.execute(statement, values)
        return rows[0] if rows else ()

    def read_row(self, statement: str, values: Values) -> Sequence[Any]:
        """Execute a statement that reads one row, in a transaction of its own."""
        row: Sequence[Any] = self._raw.execute(statement, values).fetchall()[0]
        self._require_file()
        return row

    def _acquire_write_lock(self) -> None:
        if not self._is_writing:
            if self._raw.in_transaction:  # a snapshot may be too old to write on
                self._raw.execute("COMMIT")
            self._raw.execute("BEGIN IMMEDIATE")
            self._is_writing = True

    def _begin_to_write(self) -> None:
        self._acquire_write_lock()
        if not self._is_marked:
            self._raw.execute("SAVEPOINT work")
            self._is_marked = True
