"""Attempts to log in: a row each, removed when it counts no more.

Every attempt that is counted has its password hashed, which takes a processor tens of
milliseconds: that bounds how many there can be in the time for which they count.
"""

from collections.abc import Sequence
from datetime import datetime, timedelta

from sqlalchemy import bindparam, delete, func, insert, select

from chatbot.adapters.storage.sql.statements import Statements
from chatbot.adapters.storage.sql.tables import attempts
from chatbot.domain.ports.storage import AttemptRepository
from chatbot.domain.throttling import WINDOW, AttemptKey, Tally

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

    def __init__(self, statements: Statements) -> None:
        self._statements = statements

    def count(self, tallies: Sequence[Tally], *, at: datetime) -> timedelta:
        self._statements.lock(attempts)
        wait = max(tally.wait(self._made(tally.key), at) for tally in tallies)
        if not wait:
            self._statements.write(_OVER, {"then": at - WINDOW})
            for tally in tallies:
                self._statements.write(insert(attempts), {"key": tally.key, "at": at})
        return wait

    def withdraw(self, tallies: Sequence[Tally], *, at: datetime) -> None:
        for tally in tallies:
            self._statements.write(_WITHDRAW, {"k": tally.key, "moment": at})

    def clear(self, key: AttemptKey) -> None:
        self._statements.write(delete(attempts).where(attempts.c.key == key))

    def _made(self, key: AttemptKey) -> list[datetime]:
        return [row.at for row in self._statements.rows(_MADE, {"k": key})]
