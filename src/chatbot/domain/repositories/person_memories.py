"""The memory of each person: one record for a person or an API client."""

from collections.abc import Callable, Collection, Iterator
from dataclasses import replace

from chatbot.domain.chat import Session, SessionCursor, SessionId
from chatbot.domain.errors import Conflict, NotFound
from chatbot.domain.identity import Owner
from chatbot.domain.memory import Memory, StructuredMemory
from chatbot.domain.memory_tombstones import newly_hidden, without_messages
from chatbot.domain.memory_views import taken_over
from chatbot.domain.person_memory import (
    MEMORY_ON,
    ItemState,
    MemorySettings,
    PersonMemory,
    key_of,
    new_person,
)
from chatbot.domain.ports.records import Kind, Records
from chatbot.domain.ports.session_log import SessionLog

PERSON_MEMORIES = Kind(
    name="person_memories",
    singular="person memory",
    type=PersonMemory,
    key=("owner_key",),
    indexed=("user_id",),
    subject="user_id",
    supersedes=PersonMemory.is_later_than,
)

_TRIES = 50
"""The number of attempts: of concurrent changes, one succeeds each time."""
_SESSIONS_AT_ONCE = 500
_NOBODY = ""
"""A key that no record has. Removing it makes a database also clear the texts from its log."""


class PersonMemories:
    """The memories of people. Where sessions are written too, they come first: see `change`."""

    def __init__(
        self, records: Records, sessions: SessionLog, default: MemorySettings = MEMORY_ON
    ) -> None:
        self._records, self._sessions, self._default = records, sessions, default

    def of(self, owner: Owner) -> PersonMemory:
        """Return the memory of a person, with the default settings unless they have chosen their own.

        The first call for a person who has sessions stores it, with the items of sessions of
        earlier versions. Its version is 0 until it is stored.
        """
        return self._kept(owner).with_default(self._default)

    def _kept(self, owner: Owner) -> PersonMemory:
        """Return the memory as it is stored."""
        stored = self._stored(owner)
        if stored is not None and stored.is_complete:
            return stored
        return self._completed(owner)

    def change(self, owner: Owner, change: Callable[[PersonMemory], PersonMemory]) -> PersonMemory:
        """Change the memory of a person, and return it. Nothing is written if nothing changes.

        `change` is called again if another process has changed the memory first. Messages from
        which forgotten items were learned are left out of their sessions' prompts, summaries and
        extractions from then on, and summaries that cover them are emptied, so that they are
        rebuilt. Sessions
        that the same transaction writes to are written before: so no two wait for each other.

        Raises:
            Conflict: other processes keep changing it.
        """
        if self._stored(owner) is None:
            self._records.exclusive(PERSON_MEMORIES)
        for _ in range(_TRIES):
            kept = self._kept(owner)
            old = kept.with_default(self._default)
            new = change(old)
            if new == old:
                return old
            settings = new.settings if new.has_chosen else kept.settings
            stored = replace(new, version=kept.version + 1, settings=settings)
            for session_id, seqs in sorted(newly_hidden(old, new).items()):
                self._hide(owner, session_id, seqs)
            if len(new.in_state(ItemState.FORGOTTEN)) > len(old.in_state(ItemState.FORGOTTEN)):
                self._records.remove(PERSON_MEMORIES, _NOBODY)
            try:
                self._records.put(PERSON_MEMORIES, stored, expected=kept if kept.version else None)
            except Conflict:
                continue
            return stored.with_default(self._default)
        raise Conflict("The memory is being changed. Try again.")

    def forget_messages(
        self, owner: Owner, session_id: SessionId, *, upto: int | None = None
    ) -> None:
        """Erase the quotes of messages that are being removed: all of a session, or up to a number.

        Items stay: they belong to the person.
        """
        if self._stored(owner) is not None:
            self.change(owner, lambda known: without_messages(known, session_id, upto=upto))

    def _hide(self, owner: Owner, session_id: SessionId, seqs: Collection[int]) -> None:
        """Exclude messages from a session's prompts and summaries. No-op if the session was deleted."""
        for _ in range(_TRIES):
            try:
                found = self._sessions.load(owner, session_id)
            except NotFound:
                return
            session = found.session
            memory = found.memory.with_refused(seqs)
            if any(session.reset_at < seq <= memory.summarized_to for seq in seqs):
                memory = memory.without_summary(session.reset_at)
            unchanged = memory == found.memory
            if unchanged or self._sessions.put_memory(
                owner, session_id, memory, epoch=session.epoch
            ):
                return
        raise Conflict("The memory is being changed. Try again.")

    def _stored(self, owner: Owner) -> PersonMemory | None:
        return self._records.get(PERSON_MEMORIES, key_of(owner))

    def _completed(self, owner: Owner) -> PersonMemory:
        """Move the items of sessions: write the record first, so that a crash in between loses
        nothing.
        """
        if self._stored(owner) is None and not self._sessions.page(owner, limit=1):
            return replace(new_person(owner), is_complete=True)
        self._records.exclusive(PERSON_MEMORIES)
        stored = self._stored(owner)
        if stored is not None and stored.is_complete:
            return stored
        known = stored or new_person(owner)
        held = list(self._held_by_sessions(owner))
        for session, memory in reversed(held):  # the oldest first
            known = taken_over(known, session, memory.structured)
        if held:
            known = replace(known, version=known.version + 1, is_complete=False)
            self._records.put(PERSON_MEMORIES, known, expected=stored)
            stored = known
            for session, memory in held:
                self._empty(session, memory)
        known = replace(known, version=known.version + 1, is_complete=True)
        self._records.put(PERSON_MEMORIES, known, expected=stored)
        return known

    def _held_by_sessions(self, owner: Owner) -> Iterator[tuple[Session, Memory]]:
        page = self._sessions.page(owner, limit=_SESSIONS_AT_ONCE)
        while page:
            for session in page:
                memory = self._sessions.memory(owner, session.id)
                if memory.structured != StructuredMemory():
                    yield session, memory
            after = SessionCursor(updated_at=page[-1].updated_at, id=page[-1].id)
            page = self._sessions.page(owner, limit=_SESSIONS_AT_ONCE, after=after)

    def _empty(self, session: Session, memory: Memory) -> None:
        """Remove the items from a session's memory; retry if another process changes it."""
        for _ in range(_TRIES):
            emptied = replace(memory, structured=StructuredMemory())
            owner, epoch = session.owner, session.epoch
            if self._sessions.put_memory(owner, session.id, emptied, epoch=epoch):
                return
            found = self._sessions.load(owner, session.id)
            session, memory = found.session, found.memory
        raise Conflict("The memory is being changed. Try again.")
