"""Operations on the items of a person. Each returns the changed memory.

Every change of an item's text or state makes a version; the state before it goes to the history.
"""

from dataclasses import replace
from datetime import datetime

from chatbot.domain.errors import Conflict, NotFound
from chatbot.domain.memory_items import (
    NewItem,
    bounded,
    checked_text,
    merged_sources,
    next_version,
    plain,
    with_sources,
)
from chatbot.domain.person_memory import Item, ItemOrigin, ItemState, PersonMemory, Source
from chatbot.domain.ports.runtime import NewId


def added(memory: PersonMemory, new: NewItem, *, now: datetime, new_id: NewId) -> PersonMemory:
    """Add an item, or extend a matching one.

    An item with the same text gets further sources. An item with the same key gets a new version,
    which supersedes its old value; a pending value is kept beside it.
    """
    waiting = _same(memory, new, ItemState.PENDING)
    known = _same(memory, new, ItemState.ACTIVE)
    if waiting is not None and new.state is ItemState.PENDING:
        known = known or waiting
    elif waiting is not None:
        memory = _without(memory, waiting)
        new = replace(new, sources=merged_sources(*_taught(waiting), *new.sources))
    if known is not None:
        return memory.with_item(_said_again(known, new, now=now))
    old = _holder(memory, new) if new.state is ItemState.ACTIVE else None
    if old is not None:
        superseded = replace(old, state=ItemState.SUPERSEDED, valid_to=now)
        item = next_version(
            old, superseded, now, text=new.text, origin=new.origin, sources=new.sources
        )
        return memory.with_item(replace(item, state=new.state))
    item = Item(
        id=new_id(),
        kind=new.kind,
        key=new.key,
        text=new.text,
        state=new.state,
        origin=new.origin,
        created_at=now,
        updated_at=now,
        valid_from=now,
    )
    return bounded(memory.with_item(with_sources(item, new.sources)))


def edited(memory: PersonMemory, item: Item, text: str, *, now: datetime) -> PersonMemory:
    """Edit the text of an item; the old version is superseded.

    Raises:
        InvalidInput: the text is empty or too long.
        Conflict: the item is forgotten.
    """
    new = checked_text(text)
    require_kept(item)
    if new == item.text and item.origin is ItemOrigin.EDITED:
        return memory
    old = replace(item, state=_outdated(item), valid_to=now)
    changed = next_version(item, old, now, text=new, origin=ItemOrigin.EDITED, sources=item.sources)
    return memory.with_item(changed)


def confirmed(memory: PersonMemory, item: Item, *, now: datetime, new_id: NewId) -> PersonMemory:
    """Make a pending item active. It may supersede another one with its key.

    Raises:
        Conflict: the item is not pending.
    """
    if item.state is not ItemState.PENDING:
        raise Conflict("The item is not pending.")
    new = NewItem(
        kind=item.kind,
        key=item.key,
        text=item.text,
        origin=ItemOrigin.CONFIRMED,
        sources=_taught(item),
    )
    others = _without(memory, item)
    if _same(others, new, ItemState.ACTIVE) is not None or _holder(others, new) is not None:
        return added(others, new, now=now, new_id=new_id)
    active = next_version(item, item, now, origin=ItemOrigin.CONFIRMED, state=ItemState.ACTIVE)
    return memory.with_item(active)


def finished(memory: PersonMemory, item: Item, *, now: datetime) -> PersonMemory:
    """Mark an active item as done, so that prompts no longer use it. No-op if it is done."""
    if not item.is_active:
        return memory
    done = next_version(item, item, now, state=ItemState.DONE)
    return bounded(memory.with_item(replace(done, valid_to=now)))


def reopened(memory: PersonMemory, item: Item, *, now: datetime) -> PersonMemory:
    """Make an item that is done active again; no-op if it is active.

    Raises:
        Conflict: it is pending or forgotten, or another item has its key now.
    """
    if item.is_active:
        return memory
    if item.state is not ItemState.DONE:
        raise Conflict(f"The item is {item.state}.")
    return restored(memory, item, item.version, now=now)


def restored(memory: PersonMemory, item: Item, version: int, *, now: datetime) -> PersonMemory:
    """Make a superseded or done version active again, as the newest one.

    Raises:
        NotFound: the item has no such version.
        Conflict: the item is forgotten or pending, the version is active, or another item has its key.
    """
    require_kept(item)
    versions = (*item.history, item.as_version)
    old = next((each for each in versions if each.version == version), None)
    if old is None:
        raise NotFound("The item does not have this version.")
    if old.state not in {ItemState.SUPERSEDED, ItemState.DONE}:
        raise Conflict(f"The version is {old.state}.")
    new = NewItem(kind=item.kind, key=item.key, text=old.text, origin=old.origin)
    others = _without(memory, item)
    if _same(others, new, ItemState.ACTIVE) is not None or _holder(others, new) is not None:
        raise Conflict("Another item has the same key or text: forget it first.")
    past = item if not item.is_active else replace(item, state=ItemState.SUPERSEDED, valid_to=now)
    changed = next_version(item, past, now, text=old.text, origin=old.origin, sources=old.sources)
    return memory.with_item(replace(changed, state=ItemState.ACTIVE))


def require_kept(item: Item) -> None:
    """Raise `Conflict` if the item is forgotten or pending."""
    if item.state in {ItemState.FORGOTTEN, ItemState.PENDING}:
        raise Conflict(f"The item is {item.state}.")


def _same(memory: PersonMemory, new: NewItem, *states: ItemState) -> Item | None:
    """Return the item in one of these states that has the same meaning."""
    alike = (
        each
        for each in memory.in_state(*states)
        if (each.kind, each.key) == (new.kind, new.key) and plain(each.text) == plain(new.text)
    )
    return next(alike, None)


def _holder(memory: PersonMemory, new: NewItem) -> Item | None:
    """Return the active item whose value the new one supersedes."""
    if new.key is None:
        return None
    found = [each for each in memory.items if (each.kind, each.key) == (new.kind, new.key)]
    return next((each for each in found if each.is_active), None)


def _said_again(item: Item, new: NewItem, *, now: datetime) -> Item:
    sources = merged_sources(*item.sources, *new.sources)
    origin = new.origin if new.origin.is_manual else item.origin
    if sources == item.sources and origin is item.origin:
        return item
    return with_sources(replace(item, origin=origin, updated_at=now), sources)


def _taught(item: Item) -> tuple[Source, ...]:
    """Return all messages from which the item is known to have been learned."""
    return merged_sources(*item.earlier, *item.sources)


def _outdated(item: Item) -> ItemState:
    return ItemState.SUPERSEDED if item.is_active else item.state


def _without(memory: PersonMemory, item: Item) -> PersonMemory:
    return replace(memory, items=tuple(each for each in memory.items if each.id != item.id))
