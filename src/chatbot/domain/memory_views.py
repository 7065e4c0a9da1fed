"""Items in the form of a session's memory, and the items of sessions of earlier versions."""

import hashlib
from collections.abc import Iterable, Iterator
from dataclasses import replace
from datetime import datetime

from chatbot.domain.chat import Session, SessionId
from chatbot.domain.memory import Memory, MemoryItem, Origin, StructuredMemory
from chatbot.domain.memory_changes import added
from chatbot.domain.memory_items import NewItem, plain
from chatbot.domain.memory_tombstones import forgotten
from chatbot.domain.person_memory import (
    Item,
    ItemKind,
    ItemOrigin,
    ItemState,
    PersonMemory,
    Source,
)
from chatbot.domain.ports.runtime import NewId

Slot = tuple[ItemKind, str | None, str]
"""The identity of an item in a session's memory: its kind, its key or None, its text."""


def structured_of(items: Iterable[Item]) -> StructuredMemory:
    """Return items in the form of a session's memory; lists keep their order."""
    profile: dict[str, MemoryItem] = {}
    preferences: dict[str, MemoryItem] = {}
    facts: list[MemoryItem] = []
    todos: list[MemoryItem] = []
    for item in items:
        value = _as_value(item)
        match item.kind:
            case ItemKind.PROFILE:
                profile[item.key or ""] = value
            case ItemKind.PREFERENCE:
                preferences[item.key or ""] = value
            case ItemKind.FACT:
                facts.append(value)
            case ItemKind.TODO:
                todos.append(value)
    return StructuredMemory(
        profile=profile, preferences=preferences, facts=tuple(facts), todos=tuple(todos)
    )


def slots_of(memory: StructuredMemory) -> Iterator[tuple[Slot, MemoryItem]]:
    """Yield the items of a session's memory, each with its identity."""
    for kind, known in (
        (ItemKind.PROFILE, memory.profile),
        (ItemKind.PREFERENCE, memory.preferences),
    ):
        for key, value in known.items():
            yield (kind, key, value.value), value
    for kind, values in ((ItemKind.FACT, memory.facts), (ItemKind.TODO, memory.todos)):
        for value in values:
            yield (kind, None, value.value), value


def taught_by(memory: PersonMemory, session_id: SessionId) -> list[Item]:
    """Return the active items that were learned or edited in a session."""
    return [item for item in memory.items if item.is_active and item.is_of(session_id)]


def with_view(memory: Memory, person: PersonMemory, session_id: SessionId) -> Memory:
    """Return the memory of a session as callers see it, with the items that were learned in it."""
    return replace(memory, structured=structured_of(taught_by(person, session_id)))


def replaced_view(
    memory: PersonMemory,
    session: Session,
    structured: StructuredMemory,
    *,
    now: datetime,
    new_id: NewId,
) -> PersonMemory:
    """Replace the items that were learned in a session by what the person has written.

    Missing items are erased; the messages from which they were learned are not hidden, because the
    person did not ask to forget them.
    """
    view = taught_by(memory, session.id)
    wanted = [slot for slot, _ in slots_of(structured)]
    keys = {(kind, key) for kind, key, _ in wanted if key is not None}
    gone = [
        replace(item, sources=(), history=())
        for item in view
        if (item.kind, item.key, item.text) not in wanted and (item.kind, item.key) not in keys
    ]
    memory = forgotten(memory, gone, now=now, new_id=new_id)
    by_hand = (Source(session_id=session.id, seq=session.last_seq),)
    known = {(item.kind, item.key, item.text) for item in view}
    for slot in wanted:
        kind, key, text = slot
        sources = () if slot in known else by_hand
        new = NewItem(kind=kind, key=key, text=text, origin=ItemOrigin.EDITED, sources=sources)
        memory = added(memory, new, now=now, new_id=new_id)
    return memory


def taken_over(
    memory: PersonMemory, session: Session, structured: StructuredMemory
) -> PersonMemory:
    """Add the items in the session memory of an earlier version.

    May be repeated: items that were added before, or have been forgotten since, are left unchanged.
    Ids are
    derived, so that all stores and processes make the same items.
    """
    for (kind, key, text), value in slots_of(structured):
        if not text or _is_known(memory, session.id, (kind, key, text)):
            continue
        new = NewItem(
            kind=kind,
            key=key,
            text=text,
            origin=ItemOrigin.IMPORTED if value.origin is Origin.MODEL else ItemOrigin.EDITED,
            sources=tuple(
                Source(session_id=session.id, seq=seq)
                for seq in value.sources or (session.last_seq,)
            ),
        )
        seed = f"{session.id}\n{kind}\n{key}\n{text}"
        item_id = hashlib.sha256(seed.encode()).hexdigest()[:32]
        memory = _added(memory, new, item_id, now=session.updated_at)
    return memory


def _added(memory: PersonMemory, new: NewItem, item_id: str, *, now: datetime) -> PersonMemory:
    """Add an item; a value that is newer than that of the session stays the current one."""
    held = next(
        (
            each
            for each in memory.items
            if each.is_active and new.key and (each.kind, each.key) == (new.kind, new.key)
        ),
        None,
    )
    if held is None or held.updated_at <= now or plain(held.text) == plain(new.text):
        return added(memory, new, now=now, new_id=lambda: item_id)
    older = replace(held, text=new.text, origin=new.origin, sources=new.sources)
    version = replace(older, state=ItemState.SUPERSEDED, valid_from=now, valid_to=held.updated_at)
    history = (*held.history, replace(version.as_version, version=held.version))
    return memory.with_item(replace(held, version=held.version + 1, history=history))


def _is_known(memory: PersonMemory, session_id: SessionId, slot: Slot) -> bool:
    kind, key, text = slot
    digest = memory.digest(text)
    for item in memory.items:
        if digest in item.digests:
            return True
        if (item.kind, item.key) != (kind, key):
            continue
        versions = [(item.text, item.sources), *((v.text, v.sources) for v in item.history)]
        if any(
            plain(known) == plain(text) and any(each.session_id == session_id for each in sources)
            for known, sources in versions
        ):
            return True
    return False


def _as_value(item: Item) -> MemoryItem:
    origin = Origin.USER if item.origin.is_manual else Origin.MODEL
    return MemoryItem(
        value=item.text, origin=origin, sources=tuple(each.seq for each in item.sources)
    )
