"""Reading and correcting by hand what the assistant remembers of a session.

A person's word settles what was said before it: the model looks only at later messages.
"""

from collections.abc import Callable
from dataclasses import replace

from chatbot.application.leases import held
from chatbot.domain.chat import Session, SessionId, TurnId
from chatbot.domain.errors import SessionBusy
from chatbot.domain.identity import Permission, Principal
from chatbot.domain.memory import Memory, Setter, Update, replaced_by_hand, with_summary
from chatbot.domain.policy import Action, require
from chatbot.domain.ports.runtime import NewId
from chatbot.domain.ports.storage import Storage

_TRIES = 5


class MemoryByHand:
    """Shows and replaces the summary and the structured memory of the caller's own sessions."""

    def __init__(self, storage: Storage, *, new_id: NewId, max_items: int) -> None:
        self._storage = storage
        self._new_id = new_id
        self._max_items = max_items

    async def read(self, principal: Principal, session_id: SessionId) -> Memory:
        """Return what is remembered.

        Raises:
            NotFound: the caller has no such session.
        """
        require(principal, Action.MANAGE_SESSIONS)
        async with self._storage.transaction() as tx:
            return await tx.sessions.memory(principal.owner, session_id)

    async def put_summary(
        self, principal: Principal, session_id: SessionId, summary: str
    ) -> Memory:
        """Replace the summary; an empty one forgets it. What it covered stays covered.

        Raises:
            InvalidInput: it is too long.
            NotFound, SessionBusy: there is no such session, or a turn holds it.
        """
        return await self._change(
            principal, session_id, lambda memory, _: with_summary(memory, summary)
        )

    async def put_structured(
        self, principal: Principal, session_id: SessionId, update: Update
    ) -> Memory:
        """Replace the structured memory; an empty update forgets it.

        Raises:
            InvalidInput: something is over its limit.
            NotFound, SessionBusy: there is no such session, or a turn holds it.
        """
        by_admin = Permission.ADMINISTER in principal.permissions
        setter = Setter.ADMINISTRATOR if by_admin else Setter.USER
        return await self._change(
            principal,
            session_id,
            lambda memory, session: replace(
                memory,
                structured=replaced_by_hand(update, by=setter, max_items=self._max_items),
                extracted_to=session.last_seq,
            ),
        )

    async def _change(
        self,
        principal: Principal,
        session_id: SessionId,
        change: Callable[[Memory, Session], Memory],
    ) -> Memory:
        """Change memory while no turn runs; try again when a consolidation was faster."""
        require(principal, Action.CORRECT_MEMORY)
        owner, turn_id = principal.owner, TurnId(self._new_id())
        async with held(self._storage, owner, session_id, turn_id):
            for _ in range(_TRIES):
                async with self._storage.transaction() as tx:
                    session = await tx.sessions.get(owner, session_id)
                    changed = change(await tx.sessions.memory(owner, session_id), session)
                    if await tx.sessions.put_memory(
                        owner, session_id, changed, epoch=session.epoch
                    ):
                        return changed
        raise SessionBusy("The session's memory is being changed.")
