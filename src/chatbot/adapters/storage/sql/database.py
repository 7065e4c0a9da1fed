"""What each kind of database offers to `SqlStorage`, and how its errors are translated."""

import asyncio
from abc import abstractmethod
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from sqlite3 import Error as SqliteError
from typing import Protocol

from sqlalchemy import Connection
from sqlalchemy.exc import DBAPIError, SQLAlchemyError

from chatbot.adapters.storage.sql.sql_session import SqlSession
from chatbot.adapters.storage.sql.turns import Turns
from chatbot.domain.errors import StorageFull, StorageUnavailable
from chatbot.domain.ports.storage import Found

_FULL = {"53100", "SQLITE_FULL", "SQLITE_IOERR_SHMSIZE"}
"""PostgreSQL's disk_full (appendix A), SQLite's code 13, and no room for the index of its log."""


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
        """Finish the work that was given, and disconnect. It blocks."""

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
        """Create the file that holds the database, where that is our task."""

    @abstractmethod
    def exists(self) -> bool:
        """Whether the file that holds the database exists, where that is our task."""

    @abstractmethod
    def connect(self, *, to_read: bool = False) -> Connection:
        """A separate connection, for code that works on the database in one thread of its own.

        A read-only one leaves the database unchanged, and sees one state of it in a transaction.

        Raises:
            StorageUnavailable: as `open`.
        """

    @abstractmethod
    def require_room(self, connection: Connection) -> None:
        """Return if `ROOM_BYTES` more can be stored. Nothing of them stays.

        Raises:
            StorageFull: they cannot.
        """

    @abstractmethod
    def inspect(self, connection: Connection) -> list[str]:
        """Returns what is wrong with the stored data, or with how it is stored, and the fix."""

    @abstractmethod
    def require_usable(self, connection: Connection) -> None:
        """Return if our data can be stored there, and the account can read and write it.

        Raises:
            StorageUnavailable: it cannot; the message names the command that fixes it.
        """

    @abstractmethod
    def require_changeable(self, connection: Connection) -> None:
        """Return if the account may make and change tables.

        Raises:
            StorageUnavailable: it may not; the text names the command that fixes it.
        """

    @abstractmethod
    def set_timeouts(self, connection: Connection) -> None:
        """Limit how long an idle transaction can block others."""

    @abstractmethod
    def lock_schema(self, connection: Connection) -> None:
        """Keep others from changing the tables until the transaction ends."""


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
