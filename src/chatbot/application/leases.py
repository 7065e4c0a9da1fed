"""Holding a session while it is written to."""

import asyncio
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

from chatbot.domain.chat import Lease, SessionId, TurnId
from chatbot.domain.errors import SessionBusy
from chatbot.domain.identity import Owner
from chatbot.domain.ports.storage import Storage

BUSY_WAIT_S = 5.0
_POLL_S = 0.02


@asynccontextmanager
async def held(
    storage: Storage, owner: Owner, session_id: SessionId, turn_id: TurnId
) -> AsyncGenerator[Lease]:
    """Hold the session for the length of the block; wait up to 5 s for whoever holds it now.

    Raises:
        NotFound: the owner has no such session.
        SessionBusy: it was still held after 5 s.
    """
    lease = await _acquire(storage, owner, session_id, turn_id)
    try:
        yield lease
    finally:
        async with storage.transaction() as tx:
            await tx.sessions.release(lease)


async def _acquire(storage: Storage, owner: Owner, session_id: SessionId, turn_id: TurnId) -> Lease:
    deadline = asyncio.get_running_loop().time() + BUSY_WAIT_S
    while True:
        try:
            async with storage.transaction() as tx:
                return await tx.sessions.acquire(owner, session_id, turn_id)
        except SessionBusy:
            if asyncio.get_running_loop().time() >= deadline:
                raise
            await asyncio.sleep(_POLL_S)
