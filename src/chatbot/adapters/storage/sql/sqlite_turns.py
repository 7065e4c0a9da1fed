"""The shorter way of a turn on SQLite: who is calling is read on the event loop.

Readers of a write-ahead log wait for nobody, and two look-ups in a table that the system has in
memory take 20 us, less than the way to the writer's thread and back, which takes 100 of CPU beside
a busy event loop (`bench/bench_turn.py`). What would have to wait is left to that thread.
"""

import asyncio
import sqlite3
from collections.abc import Callable, Mapping

from sqlalchemy import Connection
from sqlalchemy.exc import SQLAlchemyError

from chatbot.adapters.storage.sql.database import Turns
from chatbot.adapters.storage.sql.records import SqlRecords
from chatbot.adapters.storage.sql.sqlite_writer import SqliteSession
from chatbot.domain.chat import Lease, Message, Question, TurnContext
from chatbot.domain.errors import StorageFailure
from chatbot.domain.identity import Role, User, UserId
from chatbot.domain.repositories.roles import Roles
from chatbot.domain.repositories.users import Users


class SqliteTurns(Turns):
    """A connection of the event loop's own, which only reads.

    Args:
        connect: opens one that does not wait for locks; it blocks.
    """

    def __init__(self, connect: Callable[[], Connection]) -> None:
        self._connect = connect
        self._sql: SqliteSession | None = None

    async def open(self) -> None:
        self._sql = await asyncio.to_thread(lambda: SqliteSession(self._connect()))

    async def aclose(self) -> None:
        sql, self._sql = self._sql, None
        if sql is not None:
            await asyncio.to_thread(sql.close)

    def give_up(self, after_s: float) -> None:
        """Nothing is waited for."""

    async def find_caller(self, user_id: UserId) -> tuple[User | None, Mapping[str, Role]] | None:
        sql = self._sql
        if sql is None:
            return None
        records = SqlRecords(sql)
        try:
            found = Users(records).by_id(user_id), Roles(records).all()
            sql.commit()  # this looks for the file's name, too
        except (SQLAlchemyError, sqlite3.Error, StorageFailure):
            self._forget(sql)
            return None
        return found

    def _forget(self, sql: SqliteSession) -> None:
        """The writer's thread finds out what is wrong, and this is ready for the next time."""
        try:
            sql.rollback()
        except (SQLAlchemyError, sqlite3.Error):
            self._sql = None
            sql.close()

    async def store_question(self, question: Question) -> TurnContext | None:  # noqa: ARG002 # the writer's thread does it
        return None

    async def store_answer(self, lease: Lease, answer: Message) -> bool:  # noqa: ARG002 # as above
        return False
