"""Attempts to log in: a row each, removed when it counts no more.

Every attempt that is counted has its password hashed, which takes a processor tens of
milliseconds: that bounds how many there can be in the time for which they count.
"""

from collections.abc import Sequence
from datetime import datetime, timedelta

from sqlalchemy import bindparam, delete, func, insert, select

from chatbot.adapters.storage.sql.sql_session import SqlSession
from chatbot.adapters.storage.sql.tables import attempts
from chatbot.domain.ports.storage import AttemptRepository
from chatbot.domain.throttling import WINDOW, AttemptKey, Throttle

_MADE = select(attempts.c.at).where(attempts.c.key == bindparam("k"))
_OVER = delete(attempts).where(attempts.c.at < bindparam("then"))
_WITHDRAW = delete(attempts).where(
    attempts.c.id
    == select(func.min(attempts.c.id))
    .where(attempts.c.key == bindparam("k"), attempts.c.at == bindparam("moment"))
    .scalar_subquery()
)


class SqlAttempts(AttemptRepository):
    """The attempts as one piece of work sees them."""

    def __init__(self, sql: SqlSession) -> None:
        self._sql = sql

    def count(self, throttles: Sequence[Throttle], *, at: datetime) -> timedelta:
        self._sql.lock(attempts)
        wait = max(throttle.wait(self._made(throttle.key), at) for throttle in throttles)
        if not wait:
            self._sql.write(_OVER, {"then": at - WINDOW})
            for throttle in throttles:
                self._sql.write(insert(attempts), {"key": throttle.key, "at": at})
        return wait

    def withdraw(self, throttles: Sequence[Throttle], *, at: datetime) -> None:
        for throttle in throttles:
            self._sql.write(_WITHDRAW, {"k": throttle.key, "moment": at})

    def clear(self, key: AttemptKey) -> None:
        self._sql.write(delete(attempts).where(attempts.c.key == key))

    def _made(self, key: AttemptKey) -> list[datetime]:
        return [row.at for row in self._sql.rows(_MADE, {"k": key})]
