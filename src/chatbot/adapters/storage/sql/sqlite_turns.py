"""The statements of turns on SQLite: those that write in the writer's thread, the other at once.

Readers of a write-ahead log do not wait, and one look-up in a table that the system has in
memory takes 15 us, less than the way to the writer's thread and back, which takes 100 of CPU beside
a busy event loop (`bench/bench_turn.py`). What would have to wait is left to that thread.
"""

import asyncio
import sqlite3
from collections.abc import Callable

from sqlalchemy import Connection
from sqlalchemy.exc import SQLAlchemyError

from chatbot.adapters.storage.sql.sqlite_session import SqliteSession
from chatbot.adapters.storage.sql.sqlite_writer import SqliteWriter
from chatbot.adapters.storage.sql.turn_statements import TurnStatement
from chatbot.adapters.storage.sql.turns import Row, Turns, Values
from chatbot.domain.errors import StorageUnavailable


class SqliteTurns(Turns):
    """The writer, and a connection of the event loop's own, which only reads.

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

    async def execute(self, statement: TurnStatement, values: Values) -> Row | None:
        if statement.is_read:
            return self._read(statement.sqlite[0], values)
        return await self._writer.run(lambda sql: sql.write_row(statement.sqlite, values))

    def _read(self, statement: str, values: Values) -> Row | None:
        reader = self._reader
        if reader is None:
            return None
        try:
            return reader.read_row(statement, values)
        except (SQLAlchemyError, sqlite3.Error, StorageUnavailable):
            self._forget(reader)
            return None

    def _forget(self, reader: SqliteSession) -> None:
        """The writer's thread finds out what is wrong, and this is ready for the next time."""
        try:
            reader.rollback()
        except (SQLAlchemyError, sqlite3.Error):
            self._reader = None
            reader.close()

    def give_up(self, after_s: float) -> None:
        """A connection to a file has no other side that could be silent."""
