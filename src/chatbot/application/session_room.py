"""Creates sessions as long as their owner has fewer than the maximum."""

from chatbot.domain.chat import Session
from chatbot.domain.errors import TooManySessions
from chatbot.domain.identity import Owner
from chatbot.domain.ports.counters import CounterKey
from chatbot.domain.transaction import Transaction

_PROCESSES = 1024
"""More processes than share a store, so that together they never create more sessions than allowed."""
_OWNERS_KEPT = 10_000


class SessionRoom:
    """Enforces the maximum number of sessions.

    Counting an owner's sessions takes time, so a process that has counted creates a small share of
    the remaining number before it counts again.
    """

    def __init__(self, *, max_per_owner: int) -> None:
        self._max_per_owner = max_per_owner
        self._uncounted: dict[Owner, int] = {}

    def create(self, tx: Transaction, session: Session) -> None:
        """Store a new, empty session.

        Raises:
            TooManySessions: the owner has the maximum.
        """
        uncounted = self._uncounted.pop(session.owner, 0)
        if uncounted:
            self._uncounted[session.owner] = uncounted - 1
            tx.sessions.create(session)
            return
        with tx.counters.exclusive([CounterKey("sessions", session.owner.id)]):
            room = self._max_per_owner - tx.sessions.count(session.owner)
            if room <= 0:
                raise TooManySessions
            tx.sessions.create(session)
        if len(self._uncounted) >= _OWNERS_KEPT:
            self._uncounted.clear()
        self._uncounted[session.owner] = (room - 1) // _PROCESSES
