"""One connection to the search index of a folder, and the tables of its file."""

import os
import sqlite3
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from chatbot.adapters.storage.index_rows import StatementIndexRows
from chatbot.adapters.storage.index_statements import SQLITE, Statements
from chatbot.domain.ports.storage import Found

_VERSION = 2
_BUSY_S = 5.0
_PRAGMAS = ("synchronous = NORMAL", "secure_delete = ON", "journal_mode = WAL")
_TABLES = f"""
    CREATE TABLE IF NOT EXISTS index_segments (
        id INTEGER PRIMARY KEY, scope TEXT NOT NULL, count INTEGER NOT NULL, dead BLOB NOT NULL,
        data BLOB NOT NULL
    );
    CREATE INDEX IF NOT EXISTS index_segments_heads ON index_segments (scope, count, dead);
    CREATE TABLE IF NOT EXISTS index_tail (
        scope TEXT, parent TEXT, seq INTEGER, record BLOB NOT NULL,
        PRIMARY KEY (scope, parent, seq)
    ) WITHOUT ROWID;
    CREATE TABLE IF NOT EXISTS index_audiences (
        atom TEXT, scope TEXT, PRIMARY KEY (atom, scope)
    ) WITHOUT ROWID;
    CREATE INDEX IF NOT EXISTS index_audiences_scope ON index_audiences (scope);
    CREATE TABLE IF NOT EXISTS index_vectors (
        id INTEGER PRIMARY KEY, scope TEXT NOT NULL, parent TEXT NOT NULL, model TEXT NOT NULL,
        dimension INTEGER NOT NULL, seqs BLOB NOT NULL, signs BLOB NOT NULL, codes BLOB NOT NULL
    );
    CREATE INDEX IF NOT EXISTS index_vectors_parents ON index_vectors (scope, parent);
    CREATE INDEX IF NOT EXISTS index_vectors_heads ON index_vectors (scope, model, dimension);
    CREATE TABLE IF NOT EXISTS read_logs (
        scope TEXT, parent TEXT, size INTEGER, mtime_ns INTEGER, inode INTEGER, epoch INTEGER,
        base INTEGER, last_seq INTEGER, digest BLOB, PRIMARY KEY (scope, parent)
    ) WITHOUT ROWID;
    PRAGMA user_version = {_VERSION};
"""
"""`read_logs` records how far the log of each session is indexed."""


class OtherVersion(sqlite3.DatabaseError):
    """The file has the tables of another version."""


class IndexSession(Statements):
    """One connection, in a transaction."""

    def __init__(self, path: Path) -> None:
        self.path, self.inode = path, os.stat(path).st_ino  # noqa: PTH116 # as often as a search
        self.raw = sqlite3.connect(
            path, timeout=_BUSY_S, isolation_level=None, check_same_thread=False
        )
        self.rows = StatementIndexRows(self, SQLITE)
        self._has_erased = False

    def prepare(self) -> None:
        """Create the tables of a new file.

        Raises:
            sqlite3.DatabaseError: it is damaged, or of another version.
        """
        for pragma in _PRAGMAS:
            self.raw.execute(f"PRAGMA {pragma}")
        (version,) = self.raw.execute("PRAGMA user_version").fetchone()
        (tables,) = self.raw.execute("SELECT count(*) FROM sqlite_master").fetchone()
        if tables == 0:
            self.raw.executescript(f"BEGIN IMMEDIATE; {_TABLES} COMMIT;")
        elif version != _VERSION:
            raise OtherVersion("the tables of another version")

    def transact(
        self, begin: str, work: Callable[["IndexSession"], Found], *, erases: bool
    ) -> Found:
        """Do the work in a transaction, which ends with the connection if it fails."""
        self.raw.execute(begin)
        found = work(self)
        self.raw.execute("COMMIT")
        self._has_erased |= erases
        if self._has_erased:
            self._empty_log()
        return found

    def is_current(self) -> bool:
        """Whether the file still has its name."""
        try:
            return os.stat(self.path).st_ino == self.inode  # noqa: PTH116 # as above
        except OSError:
            return False

    def read(self, statement: str, values: Mapping[str, object]) -> Sequence[Sequence[Any]]:
        return self.raw.execute(statement, values).fetchall()

    def write(self, statement: str, *rows: Mapping[str, object]) -> None:
        self.raw.executemany(statement, rows)

    def lock(self, name: str) -> None:
        """No-op: a writing transaction excludes all others."""

    def _empty_log(self) -> None:
        """Empty the write-ahead log, which contains what was removed; not while others read it."""
        self.raw.execute("PRAGMA busy_timeout = 0")
        try:
            (is_busy, *_) = self.raw.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
        except sqlite3.OperationalError:
            is_busy = True
        self.raw.execute(f"PRAGMA busy_timeout = {int(_BUSY_S * 1000)}")
        self._has_erased = bool(is_busy)
