"""The interface of each kind of database for `SqlStorage`, and the translation of its errors."""

import asyncio
import hashlib
from abc import abstractmethod
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from sqlite3 import Error as SqliteError
from typing import Any, Protocol

from sqlalchemy import Connection, CursorResult, Executable, Row, Table, text
from sqlalchemy.exc import DBAPIError, SQLAlchemyError

from chatbot.adapters.storage.sql.turn_statements import TurnRow, TurnStatement, TurnValues
from chatbot.domain.errors import StorageFull, StorageUnavailable
from chatbot.domain.ports.counters import Bill
from chatbot.domain.ports.storage import Found

Values = Mapping[str, object]

_FULL = {"53100", "SQLITE_FULL", "SQLITE_IOERR_SHMSIZE"}
"""PostgreSQL's disk_full (appendix A), SQLite's code 13, and no room for the index of its log."""
_LOCK_NUMBERS = text(
    "SELECT pg_advisory_xact_lock(number) FROM unnest(CAST(:numbers AS bigint[])) AS number"
)


class SqlSession:
    """What the repositories execute statements on. Writes are committed with the work."""

    def __init__(self, connection: Connection) -> None:
        self.connection = connection
        self.on_commit: list[Callable[[], None]] = []
        """The callbacks after the commit."""

    def row(self, query: Executable, values: Values | None = None) -> Row[Any] | None:
        """The first row, if there is one."""
        return self._read(query, values).first()

    def rows(self, query: Executable, values: Values | None = None) -> Sequence[Row[Any]]:
        return self._read(query, values).all()

    def tuples(self, query: Executable, values: Values | None = None) -> Sequence[tuple[Any, ...]]:
        """The rows as the driver returns them, which is faster if there are thousands."""
        with closing(self._read(query, values)) as result:
            found: Sequence[tuple[Any, ...]] = result.cursor.fetchall()
            return found

    def write(self, change: Executable, values: Values | None = None) -> CursorResult[Any]:
        """Insert, update or delete; also to read what is to be changed, with `FOR UPDATE`."""
        return self._execute(change, values)

    def write_all(self, change: Executable, rows: Sequence[Values]) -> None:
        """The same change with the values of each row."""
        self._execute(change, rows)

    def delete_securely(
        self, change: Executable, values: Values | None = None
    ) -> CursorResult[Any]:
        """Delete rows for an erasure; if the database can, also from its files."""
        return self.write(change, values)

    def lock(self, table: Table) -> None:
        """Lock the table against other writers until the end of the transaction."""
        self._execute(text(f"LOCK TABLE {table.name} IN EXCLUSIVE MODE"))

    def lock_names(self, names: Collection[str]) -> None:
        """Exclude other transactions that lock one of these names, until the end.

        On SQLite a transaction that writes excludes all others anyway.
        """
        if self.connection.dialect.name == "sqlite":
            return
        self._execute(_LOCK_NUMBERS, {"numbers": sorted(map(number_of, names))})

    def _read(self, query: Executable, values: Values | None) -> CursorResult[Any]:
        return self._execute(query, values)

    def _execute(
        self, statement: Executable, values: Values | Sequence[Values] | None = None
    ) -> CursorResult[Any]:
        return self.connection.execute(statement, values)


def number_of(name: str) -> int:
    """A number of 64 bits for a name: of a lock, as Postgres has them, or of a label."""
    digest = hashlib.sha256(name.encode(errors="surrogatepass")).digest()
    return int.from_bytes(digest[:8], signed=True)


class Turns(Protocol):
    """Executes the statements of turns faster than a repository's work, each in a transaction."""

    @abstractmethod
    async def open(self) -> None:
        """Connect, if possible now."""

    @abstractmethod
    async def aclose(self) -> None: ...

    @abstractmethod
    async def execute(
        self, statement: TurnStatement, values: TurnValues, *, locks: Collection[str] = ()
    ) -> TurnRow | None:
        """Returns the row of the statement.

        Transactions that lock one of these names, as `SqlSession.lock_names` does, are excluded
        before it is executed.

        None if it returned none or could not be executed; in both cases it changed nothing.

        Raises:
            StorageUnavailable, StorageFull: it may have changed something.
        """

    @abstractmethod
    def settle(self, bill: Bill) -> "asyncio.Future[bool]":
        """Settle a bill in one transaction with what is executed next, before the loop goes on.

        The future is False if that could not be done and nothing was changed. It raises like
        `execute`, and need not be awaited.
        """

    @abstractmethod
    def give_up(self, after_s: float) -> None:
        """Drop connections that have not answered for this long; called periodically."""


class Database(Protocol):
    """A database, and the threads in which it is worked on."""

    @abstractmethod
    def open(self) -> None:
        """Connect and start to accept work. Blocks.

        Raises:
            StorageUnavailable: it cannot be reached; the message says how to fix it.
        """

    @abstractmethod
    def close(self) -> None:
        """Finish the submitted work, and disconnect. Blocks."""

    @abstractmethod
    def run(self, work: Callable[[SqlSession], Found]) -> "asyncio.Future[Found]":
        """Do the work in a transaction of its own, off the event loop, in the caller's context.

        It is committed when the future is done; an exception has undone it.
        """

    @abstractmethod
    def turns(self) -> Turns | None:
        """Returns a faster path for the steps of a turn, not open yet; None if there is none."""

    @abstractmethod
    def create(self) -> None:
        """Create the file of the database, if there is one."""

    @abstractmethod
    def exists(self) -> bool:
        """Whether the file of the database exists, if there is one."""

    @abstractmethod
    def connect(self, *, to_read: bool = False) -> Connection:
        """A separate connection, for code that works on the database in one thread of its own.

        A read-only one leaves the database unchanged, and sees one state of it in a transaction.

        Raises:
            StorageUnavailable: as `open`.
        """

    @abstractmethod
    def require_room(self, connection: Connection) -> None:
        """Check that `ROOM_BYTES` more can be stored, without keeping them.

        Raises:
            StorageFull: they cannot.
        """

    @abstractmethod
    def inspect(self, connection: Connection) -> list[str]:
        """Returns the problems of the stored data and of the database, with their fixes."""

    @abstractmethod
    def require_usable(self, connection: Connection) -> None:
        """Check that the database can store our data, and that the account can read and write it.

        Raises:
            StorageUnavailable: it cannot; the message names the command that fixes it.
        """

    @abstractmethod
    def require_changeable(self, connection: Connection) -> None:
        """Check that the account may create and change tables.

        Raises:
            StorageUnavailable: it may not; the text names the command that fixes it.
        """

    @abstractmethod
    def set_timeouts(self, connection: Connection) -> None:
        """Limit how long an idle transaction can block others."""

    @abstractmethod
    def lock_schema(self, connection: Connection) -> None:
        """Lock the tables against changes until the transaction ends."""


@contextmanager
def translated() -> Iterator[None]:
    """The table of foreign errors.

    Raises:
        StorageFull: no space is left.
        StorageUnavailable: every other error of a driver.
    """
    try:
        yield
    except (SQLAlchemyError, SqliteError) as error:
        cause = error.orig if isinstance(error, DBAPIError) and error.orig else error
        if codes_of(cause) & _FULL:
            raise StorageFull("The store has no space left.") from error
        raise StorageUnavailable("The store cannot be read or written.") from error


def codes_of(error: BaseException) -> set[str]:
    """How the database names the error: Postgres by its SQLSTATE, SQLite by its result code."""
    names = (getattr(error, "sqlstate", None), getattr(error, "sqlite_errorname", None))
    return {name for name in names if name}
