"""The shorter way of a turn on SQLite: who is calling is read on the event loop.

Readers of a write-ahead log wait for nobody, and two look-ups in a table that the system has in
memory take 20 us, less than the way to the writer's thread and back, which takes 100 of CPU beside
a busy event loop (`bench/bench_turn.py`). What would have to wait is left to that thread.
"""

import asyncio
import sqlite3
from collections.abc import Callable, Mapping
from datetime import datetime

from sqlalchemy import Connection
from sqlalchemy.exc import SQLAlchemyError

from chatbot.adapters.storage.sql.database import Turns
from chatbot.adapters.storage.sql.group_commits import SqliteStatements
from chatbot.adapters.storage.sql.users import SqlUsers
from chatbot.domain.chat import InterruptReason, Lease, Question, TurnContext
from chatbot.domain.errors import StorageFailure
from chatbot.domain.identity import Role, User, UserId


class SqliteTurns(Turns):
    """A connection of the event loop's own, which only reads.

    Args:
        connect: opens one that does not wait for locks; it blocks.
    """

    def __init__(self, connect: Callable[[], Connection]) -> None:
        self._connect = connect
        self._statements: SqliteStatements | None = None

    async def open(self) -> None:
        self._statements = await asyncio.to_thread(lambda: SqliteStatements(self._connect()))

    async def aclose(self) -> None:
        statements, self._statements = self._statements, None
        if statements is not None:
            await asyncio.to_thread(statements.close)

    def give_up(self, after_s: float) -> None:
        """Nothing is waited for."""

    async def find_caller(self, user_id: UserId) -> tuple[User | None, Mapping[str, Role]] | None:
        statements = self._statements
        if statements is None:
            return None
        users = SqlUsers(statements)
        try:
            found = users.by_id(user_id), users.roles()
            statements.commit()  # this looks for the file's name, too
        except (SQLAlchemyError, sqlite3.Error, StorageFailure):
            self._forget(statements)
            return None
        return found

    def _forget(self, statements: SqliteStatements) -> None:
        """The writer's thread finds out what is wrong, and this is ready for the next time."""
        try:
            statements.rollback()
        except (SQLAlchemyError, sqlite3.Error):
            self._statements = None
            statements.close()

    async def store_question(self, question: Question) -> TurnContext | None:  # noqa: ARG002 # the writer's thread does it
        return None

    async def store_answer(
        self,
        lease: Lease,  # noqa: ARG002 # as above
        text: str,  # noqa: ARG002 # as above
        *,
        ts: datetime,  # noqa: ARG002 # as above
        reason: InterruptReason | None,  # noqa: ARG002 # as above
    ) -> bool:
        return False
