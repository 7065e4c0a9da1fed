"""Reads and edits what the assistant remembers of a session.

An edit settles everything that was said before it: the model then looks only at later messages.
"""

from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import partial

from chatbot.application.consolidation import Consolidation
from chatbot.application.leases import retry_while_busy
from chatbot.application.metering import paying
from chatbot.domain.authorization import require
from chatbot.domain.chat import Session, SessionId, TurnId
from chatbot.domain.errors import SessionBusy
from chatbot.domain.identity import Principal
from chatbot.domain.memory import (
    DEFAULT_PREFERENCES,
    Memory,
    Origin,
    Update,
    with_summary,
    without_defaults,
)
from chatbot.domain.memory_updates import replaced_by_hand
from chatbot.domain.permissions import Permission
from chatbot.domain.ports.runtime import NewId
from chatbot.domain.ports.storage import Storage
from chatbot.domain.transaction import Transaction
from chatbot.domain.usage import payer_of

LEARNING_WAIT_S = 2.0
_TRIES = 5


class MemoryEditor:
    """Returns and replaces the summary and the structured memory of the caller's own sessions.

    All methods raise `Forbidden` without the permission and `NotFound` if the caller has no such
    session, and those that replace `SessionBusy` if a turn holds the session.

    Args:
        defaults: the preferences that an empty memory shows.
    """

    def __init__(
        self,
        storage: Storage,
        consolidation: Consolidation,
        *,
        new_id: NewId,
        max_items: int,
        defaults: Mapping[str, str] = DEFAULT_PREFERENCES,
    ) -> None:
        self._storage = storage
        self._consolidation = consolidation
        self._new_id = new_id
        self._max_items = max_items
        self._defaults = defaults

    async def read(self, principal: Principal, session_id: SessionId) -> Memory:
        """Return the session's memory."""
        require(principal, Permission.CHAT)
        return await self._storage.transact(
            lambda tx: tx.sessions.memory(principal.owner, session_id)
        )

    async def read_learned(
        self, principal: Principal, session_id: SessionId
    ) -> tuple[Memory, bool]:
        """Return the memory, and whether an extraction from an answered turn is still pending.

        Waits up to 2 s for a pending extraction.
        """
        require(principal, Permission.CHAT)
        with paying(payer_of(principal)):
            is_pending = await self._consolidation.is_pending(
                principal.owner, session_id, within_s=LEARNING_WAIT_S
            )
        return await self.read(principal, session_id), is_pending

    async def put_summary(
        self, principal: Principal, session_id: SessionId, summary: str
    ) -> Memory:
        """Replace the summary; an empty one clears it. The messages it covered stay covered.

        Raises:
            InvalidInput: it is too long.
        """
        return await self._change(
            principal, session_id, lambda memory, _: with_summary(memory, summary)
        )

    async def put_structured(
        self, principal: Principal, session_id: SessionId, update: Update
    ) -> Memory:
        """Replace the structured memory; an empty update clears it.

        A default preference that is sent back unchanged remains a default.

        Raises:
            InvalidInput: a value or a list exceeds its limit.
        """
        by_admin = Permission.USERS_MANAGE in principal.permissions
        origin = Origin.ADMINISTRATOR if by_admin else Origin.USER

        def replaced(memory: Memory, session: Session) -> Memory:
            known = memory.structured.preferences
            stated = without_defaults(update.preferences, known, self._defaults)
            new = replaced_by_hand(
                replace(update, preferences=stated), by=origin, max_items=self._max_items
            )
            return replace(memory, structured=new, extracted_to=session.last_seq)

        return await self._change(principal, session_id, replaced)

    async def _change(
        self,
        principal: Principal,
        session_id: SessionId,
        change: Callable[[Memory, Session], Memory],
    ) -> Memory:
        """Change the memory under a lease; retry when a consolidation has changed it first."""
        require(principal, Permission.MEMORY)
        owner, turn_id = principal.owner, TurnId(self._new_id())

        def changed(tx: Transaction) -> Memory:
            with tx.sessions.held(owner, session_id, turn_id):
                for _ in range(_TRIES):
                    found = tx.sessions.load(owner, session_id)
                    memory = change(found.memory, found.session)
                    if tx.sessions.put_memory(owner, session_id, memory, epoch=found.session.epoch):
                        return memory
            raise SessionBusy("The session's memory is being changed. Try again.")

        return await retry_while_busy(partial(self._storage.transact, changed))
