"""Lists of a person's items, in pages."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

from chatbot.domain.person_memory import Item, ItemKind, ItemState, PersonMemory
from chatbot.domain.text import fold

_LISTED = (ItemState.ACTIVE, ItemState.PENDING, ItemState.DONE)


@dataclass(frozen=True, slots=True, kw_only=True)
class ItemFilter:
    """Which items to list: by kind, state and text; None = any."""

    kind: ItemKind | None = None
    state: ItemState | None = None
    query: str = ""

    def admits(self, item: Item) -> bool:
        is_of_kind = self.kind is None or item.kind is self.kind
        return is_of_kind and fold(self.query) in fold(item.line)


@dataclass(frozen=True, slots=True, kw_only=True)
class ItemPage:
    """A page of items.

    `next` is the position after which the next page begins; None on the last page.
    """

    items: Sequence[Item]
    next: str | None


def page_of(memory: PersonMemory, wanted: ItemFilter, *, limit: int, after: str) -> ItemPage:
    """List items, newest first.

    Without a state: those that are active, pending or done. With the state `superseded`: former
    versions of items.
    """
    if wanted.state is ItemState.SUPERSEDED:
        found = _superseded(memory)
    else:
        found = memory.in_state(*(_LISTED if wanted.state is None else (wanted.state,)))
    placed = {_position(item): item for item in found if wanted.admits(item)}
    rest = sorted(position for position in placed if position > after)
    last = rest[limit - 1] if len(rest) > limit else None
    return ItemPage(items=[placed[position] for position in rest[:limit]], next=last)


def _superseded(memory: PersonMemory) -> list[Item]:
    """The former versions, each in the form of an item."""
    return [
        replace(
            item,
            text=each.text,
            state=each.state,
            origin=each.origin,
            sources=each.sources,
            version=each.version,
            updated_at=each.valid_to,
            valid_from=each.valid_from,
            valid_to=each.valid_to,
            history=(),
        )
        for item in memory.items
        for each in item.history
        if each.state is ItemState.SUPERSEDED
    ]


def _position(item: Item) -> str:
    """The position of an item in lists, as text that sorts the newest item first."""
    age, item_id = item.order
    return f"{age} {item_id} {item.version:09}"
