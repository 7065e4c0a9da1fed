"""Acquiring a session: one turn or change at a time."""

import asyncio
from collections.abc import Awaitable, Callable

from chatbot.domain.chat import Lease, SessionId, TurnId
from chatbot.domain.errors import SessionBusy
from chatbot.domain.identity import Owner
from chatbot.domain.ports.storage import Found, Storage
from chatbot.domain.transaction import Transaction

BUSY_WAIT_S = 5.0
_FIRST_PAUSE_S, _LONGEST_PAUSE_S = 0.01, 0.16
"""Between two attempts, doubling: in a database, waiting callers must not slow down the one that
they wait for."""


async def retry_while_busy(attempt: Callable[[], Awaitable[Found]]) -> Found:
    """Acquire a session; retry for up to 5 s while another turn or change holds it.

    Raises:
        SessionBusy: it was still held after 5 s.
    """
    deadline = asyncio.get_running_loop().time() + BUSY_WAIT_S
    pause_s = _FIRST_PAUSE_S
    while True:
        try:
            return await attempt()
        except SessionBusy:
            if asyncio.get_running_loop().time() >= deadline:
                raise
            await asyncio.sleep(pause_s)
            pause_s = min(2 * pause_s, _LONGEST_PAUSE_S)


async def with_lease(
    storage: Storage,
    owner: Owner,
    session_id: SessionId,
    turn_id: TurnId,
    work: Callable[[Transaction, Lease], Found],
) -> Found:
    """Acquire the session, do the work, and release the session, in one transaction.

    Raises:
        NotFound: the owner has no such session.
        SessionBusy: it was still held after 5 s.
    """
    held = while_held(owner, session_id, turn_id, work)
    return await retry_while_busy(lambda: storage.transact(held))


def while_held(
    owner: Owner,
    session_id: SessionId,
    turn_id: TurnId,
    work: Callable[[Transaction, Lease], Found],
) -> Callable[[Transaction], Found]:
    """Return work for a transaction that acquires the session, does `work`, and releases it."""

    def held(tx: Transaction) -> Found:
        lease = tx.sessions.acquire(owner, session_id, turn_id)
        try:
            return work(tx, lease)
        finally:
            tx.sessions.release(lease)

    return held
