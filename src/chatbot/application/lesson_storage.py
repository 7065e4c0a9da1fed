"""Stores what a model has learned from a batch, in the memory of the session and of the person."""

from collections.abc import Callable
from dataclasses import replace

from chatbot.application.learning import Learner
from chatbot.application.learning_bisection import Known
from chatbot.application.mentions import Mentions
from chatbot.domain.chat import SessionId, SessionView
from chatbot.domain.errors import NotFound
from chatbot.domain.identity import Owner
from chatbot.domain.memory import Memory
from chatbot.domain.memory_tombstones import newly_hidden
from chatbot.domain.person_memory import PersonMemory
from chatbot.domain.ports.counters import Bill
from chatbot.domain.ports.session_log import Select, select_none
from chatbot.domain.ports.storage import Storage
from chatbot.domain.transaction import Transaction


class LessonStorage:
    """Stores lessons in one transaction with the session's watermark.

    Args:
        mentions: hides turns that mention forgotten items; None leaves them.
    """

    def __init__(
        self, storage: Storage, learner: Learner, mentions: Mentions | None = None
    ) -> None:
        self._storage, self._learner, self._mentions = storage, learner, mentions
        self._emptied: dict[Owner, set[SessionId]] = {}

    def take_emptied(self, owner: Owner) -> set[SessionId]:
        """Return, once, the sessions whose summaries were emptied by lessons of other sessions."""
        return self._emptied.pop(owner, set())

    async def store(
        self, known: Known, new: Known, *, epoch: int, bill: Bill | None
    ) -> Memory | None:
        """Store the lessons, and return the session's memory; None if it has changed since.

        The person's memory may have changed: then the lessons are applied to what is stored now. A
        summary of answers that used what was forgotten meanwhile is not stored.
        """
        person, memory = known.person, new.memory
        owner, session_id = person.owner, known.session_id
        if new.person == person:
            is_summary = memory.summarized_items != known.memory.summarized_items
            store = self._store_summary if is_summary else self._storage.store_memory
            is_stored = await store(owner, session_id, memory, epoch=epoch, bill=bill)
            return replace(memory, version=memory.version + 1) if is_stored else None
        hidden: set[SessionId] = set()
        changes = [(person, person)]

        def taught(stored: PersonMemory) -> PersonMemory:
            after = new.person if stored == person else self._learner.after(stored, new.lessons)
            hidden.update(newly_hidden(stored, after))
            changes.append((stored, after))
            return after

        def work(tx: Transaction) -> Memory | None:
            tx.settle(bill)
            try:
                found = load_session(tx, owner, session_id, select_none)
            except NotFound:
                return None
            if (found.session.epoch, found.memory.version) != (epoch, memory.version):
                return None
            put = _put_whole if tx.is_atomic else _put_in_steps
            if not put(tx, found, memory, lambda: tx.person_memories.change(owner, taught)):
                return None
            return load_session(tx, owner, session_id, select_none).memory

        stored = await self._storage.transact(work)
        if hidden and stored is not None and self._mentions is not None:
            hidden.update(await self._mentions.hide(owner, *changes[-1]))
            stored = await self._storage.transact(
                lambda tx: load_session(tx, owner, session_id, select_none).memory
            )
        if others := hidden - {session_id}:
            self._emptied.setdefault(owner, set()).update(others)
        return stored

    async def _store_summary(
        self, owner: Owner, session_id: SessionId, memory: Memory, *, epoch: int, bill: Bill | None
    ) -> bool:
        """Store the memory, unless an item that the summarized answers used is forgotten by now."""

        def work(tx: Transaction) -> bool:
            tx.settle(bill)
            person = tx.person_memories.of(owner)
            if not person.forgotten_ids.isdisjoint(memory.summarized_items):
                return False
            return tx.sessions.put_memory(owner, session_id, memory, epoch=epoch)

        return await self._storage.transact(work)


def load_session(
    tx: Transaction, owner: Owner, session_id: SessionId, select: Select
) -> SessionView:
    """Load a session. Messages before a reset count as already processed."""
    found = tx.sessions.load(
        owner,
        session_id,
        lambda session, memory: select(session, memory.after_reset(session.reset_at)),
    )
    return replace(found, memory=found.memory.after_reset(found.session.reset_at))


def _put_whole(
    tx: Transaction, found: SessionView, memory: Memory, teach: Callable[[], object]
) -> bool:
    """Store the session's memory before the person's: see `PersonMemories.change`."""
    session = found.session
    if not tx.sessions.put_memory(session.owner, session.id, memory, epoch=session.epoch):
        return False
    teach()
    return True


def _put_in_steps(
    tx: Transaction, found: SessionView, memory: Memory, teach: Callable[[], object]
) -> bool:
    """Store the person's memory first: a crash between repeats the lesson, which changes nothing."""
    teach()
    session = found.session
    now = load_session(tx, session.owner, session.id, select_none).memory
    merged = _on_top_of(now, memory)
    return tx.sessions.put_memory(session.owner, session.id, merged, epoch=session.epoch)


def _on_top_of(now: Memory, extracted: Memory) -> Memory:
    """The memory after an extraction, with what forgetting has changed in it meanwhile."""
    return replace(
        extracted.with_refused(now.refused),
        summary=now.summary,
        summarized_to=now.summarized_to,
        summarized_items=now.summarized_items,
        version=now.version,
    )
