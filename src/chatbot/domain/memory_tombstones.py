"""Forgetting: what remains of forgotten items, and of items whose messages are removed.

A forgotten item has no text, quotes or history, only salted digests.
"""

from collections.abc import Collection, Iterable, Mapping
from dataclasses import replace
from datetime import datetime

from chatbot.domain.chat import SessionId
from chatbot.domain.memory import STANDARD_KEYS
from chatbot.domain.memory_items import bounded, merged_sources, with_sources
from chatbot.domain.person_memory import Item, ItemState, PersonMemory, Source
from chatbot.domain.ports.runtime import NewId


def forgotten(
    memory: PersonMemory,
    items: Iterable[Item],
    *,
    now: datetime,
    new_id: NewId,
    said_in: Iterable[Source] = (),
) -> PersonMemory:
    """Erase texts, quotes and versions of items.

    The remaining digests prevent learning them again from old messages. `said_in` are the messages
    that asked for it, since they contain what is to be forgotten.
    """
    asked = tuple(replace(each, quote="") for each in said_in)
    gone = [each for each in items if each.state is not ItemState.FORGOTTEN]
    salted = memory if memory.salt else replace(memory, salt=new_id())
    return bounded(salted.with_items(_tombstone(salted, each, asked, now) for each in gone))


def all_forgotten(memory: PersonMemory, now: datetime, new_id: NewId) -> PersonMemory:
    """Forget all items, and prevent learning from any message up to now."""
    gone = forgotten(memory, memory.items, now=now, new_id=new_id)
    return replace(gone, forgotten_until=now)


def is_forgotten(memory: PersonMemory, text: str, *, said_at: datetime) -> bool:
    """Whether this text, said at that moment, has been forgotten since."""
    if memory.forgotten_until is not None and said_at <= memory.forgotten_until:
        return True
    digest = memory.digest(text)
    return any(
        digest in item.digests and said_at <= item.updated_at
        for item in memory.items
        if item.state is ItemState.FORGOTTEN
    )


def newly_hidden(old: PersonMemory, new: PersonMemory) -> Mapping[SessionId, Collection[int]]:
    """Return the messages that are hidden only in the new state, by session."""
    found: dict[SessionId, set[int]] = {}
    for session_id, seq in new.hidden_messages - old.hidden_messages:
        found.setdefault(session_id, set()).add(seq)
    return found


def without_messages(
    memory: PersonMemory, session_id: SessionId, *, upto: int | None = None
) -> PersonMemory:
    """Erase the quotes of messages that are removed: all of a session, or those up to a number."""

    def left(sources: tuple[Source, ...]) -> tuple[Source, ...]:
        return tuple(
            replace(each, quote="", is_removed=True)
            if each.session_id == session_id and (upto is None or each.seq <= upto)
            else each
            for each in sources
        )

    changed = [
        replace(
            item,
            sources=left(item.sources),
            history=tuple(replace(each, sources=left(each.sources)) for each in item.history),
        )
        for item in memory.items
    ]
    return replace(memory, items=tuple(changed))


def _tombstone(memory: PersonMemory, item: Item, asked: tuple[Source, ...], now: datetime) -> Item:
    past = [source for each in item.history for source in each.sources]
    sources = [replace(each, quote="") for each in (*past, *item.sources)]
    texts = dict.fromkeys([item.text, *(each.text for each in item.history)])
    tombstone = Item(
        id=item.id,
        kind=item.kind,
        key=item.key if item.key in STANDARD_KEYS else None,
        text="",
        state=ItemState.FORGOTTEN,
        origin=item.origin,
        earlier=item.earlier,
        created_at=item.created_at,
        updated_at=now,
        version=item.version + 1,
        digests=tuple(memory.digest(each) for each in texts),
    )
    return with_sources(tombstone, merged_sources(*sources, *asked))
