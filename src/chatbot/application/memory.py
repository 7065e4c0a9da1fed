"""Reads and edits the memory of a session.

It consists of the summary, and of the person's items that were learned in the session. After an
edit, the model only processes later messages.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from functools import partial

from chatbot.application.consolidation import Consolidation
from chatbot.application.leases import retry_while_busy
from chatbot.application.metering import paying
from chatbot.domain.authorization import require
from chatbot.domain.chat import Message, MessageRange, Session, SessionId, TurnId
from chatbot.domain.errors import SessionBusy
from chatbot.domain.identity import Owner, Principal
from chatbot.domain.memory import (
    DEFAULT_PREFERENCES,
    Memory,
    Origin,
    Update,
    with_summary,
    without_defaults,
)
from chatbot.domain.memory_guards import require_storable
from chatbot.domain.memory_updates import replaced_by_hand
from chatbot.domain.memory_views import replaced_view, structured_of, taught_by, with_view
from chatbot.domain.permissions import Permission
from chatbot.domain.person_memory import Item, ItemState, PersonMemory
from chatbot.domain.ports.runtime import Clock, NewId
from chatbot.domain.ports.storage import Storage
from chatbot.domain.transaction import Transaction
from chatbot.domain.usage import payer_of

LEARNING_WAIT_S = 2.0
_TRIES = 5
_NEWEST = MessageRange(limit=20)


@dataclass(frozen=True, slots=True, kw_only=True)
class SessionMemory:
    """The memory of a session.

    `items` are the active ones that were learned in it, or that were in the prompts of its newest
    answers.
    """

    memory: Memory
    items: tuple[Item, ...]


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
        clock: Clock,
        new_id: NewId,
        max_items: int,
        defaults: Mapping[str, str] = DEFAULT_PREFERENCES,
    ) -> None:
        self._storage = storage
        self._consolidation = consolidation
        self._clock, self._new_id = clock, new_id
        self._max_items = max_items
        self._defaults = defaults

    async def read(self, principal: Principal, session_id: SessionId) -> SessionMemory:
        """Return the session's memory."""
        require(principal, Permission.CHAT)
        return await self._storage.transact(partial(_view, principal.owner, session_id))

    async def read_learned(
        self, principal: Principal, session_id: SessionId
    ) -> tuple[SessionMemory, bool]:
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
    ) -> SessionMemory:
        """Replace the summary; an empty one clears it.

        The messages that it covered are not summarised again.

        Raises:
            InvalidInput: it is too long.
        """
        return await self._change(
            principal, session_id, lambda memory, _: with_summary(memory, summary)
        )

    async def put_structured(
        self, principal: Principal, session_id: SessionId, update: Update
    ) -> SessionMemory:
        """Replace what was learned in the session; an empty update erases it.

        A default preference that is sent back unchanged remains a default.

        Raises:
            InvalidInput: a value or a list exceeds its limit, or a value is a secret.
        """
        _require_storable(update)

        def replaced(person: PersonMemory, session: Session) -> PersonMemory:
            known = structured_of(taught_by(person, session_id)).preferences
            stated = without_defaults(update.preferences, known, self._defaults)
            new = replaced_by_hand(
                replace(update, preferences=stated), by=Origin.USER, max_items=self._max_items
            )
            now = self._clock()
            return replaced_view(person, session, new, now=now, new_id=self._new_id)

        def settled(memory: Memory, session: Session) -> Memory:
            return replace(memory, extracted_to=session.last_seq)

        return await self._change(principal, session_id, settled, replaced)

    async def _change(
        self,
        principal: Principal,
        session_id: SessionId,
        change: Callable[[Memory, Session], Memory],
        change_person: Callable[..., PersonMemory] = lambda person, session: person,  # noqa: ARG005 # by name
    ) -> SessionMemory:
        """Change the memory under a lease; retry when a consolidation has changed it first."""
        require(principal, Permission.MEMORY)
        owner, turn_id = principal.owner, TurnId(self._new_id())

        def tried(tx: Transaction) -> bool:
            found = tx.sessions.load(owner, session_id)
            changed = partial(change_person, session=found.session)
            changed(tx.person_memories.of(owner))  # raises before anything is written
            memory, epoch = change(found.memory, found.session), found.session.epoch
            is_stored = tx.sessions.put_memory(owner, session_id, memory, epoch=epoch)
            if is_stored:
                tx.person_memories.change(owner, changed)
            return is_stored

        def changed(tx: Transaction) -> SessionMemory:
            with tx.sessions.held(owner, session_id, turn_id):
                if any(tried(tx) for _ in range(_TRIES)):
                    return _view(owner, session_id, tx)
            raise SessionBusy("The session's memory is being changed. Try again.")

        return await retry_while_busy(partial(self._storage.transact, changed))


def _require_storable(update: Update) -> None:
    for name, keyed in (("profile", update.profile), ("preferences", update.preferences)):
        for key, text in keyed.items():
            require_storable(text, key, where=(name,))
    for name, texts in (("facts", update.facts), ("todos", update.todos)):
        for text in texts:
            require_storable(text, where=(name,))


def _view(owner: Owner, session_id: SessionId, tx: Transaction) -> SessionMemory:
    memory = tx.sessions.memory(owner, session_id)
    person = tx.person_memories.of(owner)
    used = _used_in(tx.sessions.read(owner, session_id, _NEWEST))
    active = person.in_state(ItemState.ACTIVE)
    items = [each for each in active if each.is_of(session_id) or each.id in used]
    return SessionMemory(memory=with_view(memory, person, session_id), items=tuple(items))


def _used_in(messages: Iterable[Message]) -> set[str]:
    """The ids of the items that were in the prompts of these answers."""
    parts = (part for each in messages if each.details for part in each.details.parts)
    return {part.id for part in parts if part.kind == "item" and part.reason is None}
