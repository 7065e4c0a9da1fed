"""Validation and limits of items, and their versions."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime

from chatbot.domain.errors import InvalidInput
from chatbot.domain.memory import MAX_KEY_CHARS, MAX_VALUE_CHARS
from chatbot.domain.memory_updates import plain_key
from chatbot.domain.person_memory import (
    Item,
    ItemKind,
    ItemOrigin,
    ItemState,
    PersonMemory,
    Source,
)

MAX_ITEMS = 500
"""The maximum per person, in each of the states active and done.

The oldest are dropped first, edited ones last.
"""
MAX_PENDING = 100
MAX_TOMBSTONES = 500
MAX_HISTORY = 20
MAX_SOURCES = 20
MAX_EARLIER = 1000

_BOUNDS = (
    (ItemState.ACTIVE, MAX_ITEMS),
    (ItemState.DONE, MAX_ITEMS),
    (ItemState.PENDING, MAX_PENDING),
    (ItemState.FORGOTTEN, MAX_TOMBSTONES),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class NewItem:
    """The content of a new item or version, and its origin."""

    kind: ItemKind
    key: str | None = None
    text: str
    origin: ItemOrigin
    state: ItemState = ItemState.ACTIVE
    sources: tuple[Source, ...] = ()


def checked(kind: ItemKind, key: str | None, text: str) -> NewItem:
    """Return the content that a person has entered.

    Raises:
        InvalidInput: text or key is empty or too long, or the kind needs a key or has none.
    """
    is_keyed = kind in {ItemKind.PROFILE, ItemKind.PREFERENCE}
    if is_keyed != (key is not None):
        needed = "needs a key" if is_keyed else "has no key"
        raise InvalidInput(f"An item of the kind {kind} {needed}.", where=("key",))
    name = None if key is None else plain_key(key)
    if name is not None and not 0 < len(name) <= MAX_KEY_CHARS:
        raise InvalidInput(f"A key must have 1 to {MAX_KEY_CHARS} characters.", where=("key",))
    return NewItem(kind=kind, key=name, text=checked_text(text), origin=ItemOrigin.EDITED)


def checked_text(text: str) -> str:
    """Return the text of an item.

    Raises:
        InvalidInput: it is empty or too long.
    """
    if not 0 < len(text.strip()) <= MAX_VALUE_CHARS:
        raise InvalidInput(f"A text must have 1 to {MAX_VALUE_CHARS} characters.", where=("text",))
    return text.strip()


def bounded(memory: PersonMemory) -> PersonMemory:
    """Return the memory without its oldest items beyond the bounds."""
    gone: set[str] = set()
    for state, most in _BOUNDS:
        found = memory.in_state(state)
        if len(found) > most:
            found.sort(key=lambda each: (each.origin.is_manual, each.updated_at))
            gone.update(each.id for each in found[: len(found) - most])
    if not gone:
        return memory
    return replace(memory, items=tuple(each for each in memory.items if each.id not in gone))


def plain(text: str) -> str:
    """Return the text in the form in which it is compared.

    That is without case and a full stop at the end, and with single blanks.
    """
    spaced = " ".join(text.casefold().split())
    return spaced.rstrip(" .") or spaced


def merged_sources(*sources: Source) -> tuple[Source, ...]:
    """Return each message once, with its newest quote."""
    by_message = {(each.session_id, each.seq): each for each in sources}
    return tuple(by_message.values())


def with_sources(item: Item, sources: Sequence[Source], *dropped: Source) -> Item:
    """Return the item with the newest sources; the others become earlier ones, without quotes."""
    kept = tuple(sources)[-MAX_SOURCES:]
    others = (*item.earlier, *dropped, *sources[: -len(kept) or None])
    earlier = merged_sources(*(replace(each, quote="") for each in others))
    return replace(item, sources=kept, earlier=earlier[-MAX_EARLIER:])


def next_version(
    item: Item,
    past: Item,
    now: datetime,
    *,
    text: str | None = None,
    origin: ItemOrigin | None = None,
    sources: tuple[Source, ...] | None = None,
    state: ItemState | None = None,
) -> Item:
    """Return the next version of an item; `past` is the previous one for the history."""
    versions = (*item.history, past.as_version)
    dropped = (source for each in versions[:-MAX_HISTORY] for source in each.sources)
    changed = replace(
        item,
        text=item.text if text is None else text,
        origin=origin or item.origin,
        state=state or item.state,
        updated_at=now,
        valid_from=now,
        valid_to=None,
        version=item.version + 1,
        history=versions[-MAX_HISTORY:],
    )
    return with_sources(changed, item.sources if sources is None else sources, *dropped)
