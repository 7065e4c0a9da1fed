"""The memory of a person: items with their sources, states and earlier versions.

`memory_changes` has the operations on items, `memory_learning` the rules for what a model extracts.
"""

import hashlib
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from enum import StrEnum

from chatbot.domain.chat import Message, SessionId
from chatbot.domain.identity import Owner
from chatbot.domain.stored import Stored
from chatbot.domain.text import LAST_MOMENT, fold

MAX_QUOTE_CHARS = 200

_SPARSE = Stored(is_sparse=True).metadata()


class ItemKind(StrEnum):
    """The kind of an item."""

    PROFILE = "profile"
    PREFERENCE = "preference"
    FACT = "fact"
    TODO = "todo"


class ItemState(StrEnum):
    """The state of an item, or of one of its versions."""

    ACTIVE = "active"
    DONE = "done"
    SUPERSEDED = "superseded"
    """Replaced by a newer version."""
    FORGOTTEN = "forgotten"
    """The texts are erased."""
    PENDING = "pending"
    """Not said by the person themselves: used only after they confirm it."""


class ItemOrigin(StrEnum):
    """Where an item comes from."""

    SAID = "said"
    """Extracted from what the person said."""
    CONFIRMED = "confirmed"
    EDITED = "edited"
    IMPORTED = "imported"
    """From the memory of a session of an earlier version."""

    @property
    def is_manual(self) -> bool:
        """Whether the person wrote or approved it."""
        return self in {ItemOrigin.EDITED, ItemOrigin.CONFIRMED}


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """A message from which an item was learned, with the quoted words.

    `is_removed`: the message was deleted with its session or by a reset, and so was the quote.
    """

    session_id: SessionId
    seq: int
    quote: str = ""
    is_removed: bool = field(default=False, metadata=_SPARSE)


@dataclass(frozen=True, slots=True, kw_only=True)
class ItemVersion:
    """An earlier state of an item."""

    version: int
    text: str
    state: ItemState
    origin: ItemOrigin
    sources: tuple[Source, ...] = ()
    valid_from: datetime
    valid_to: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Item:
    """A remembered item.

    `version` counts its states; `history` has the earlier ones, oldest first. `earlier` are further
    messages from which it was learned, without quotes: the number of sources is limited, but
    forgetting must cover all messages. `digests` are those of the texts of a forgotten item,
    salted: see `PersonMemory.digest`.
    """

    id: str
    kind: ItemKind
    key: str | None = None
    text: str
    state: ItemState
    origin: ItemOrigin
    sources: tuple[Source, ...] = ()
    created_at: datetime
    updated_at: datetime
    valid_from: datetime | None = None
    valid_to: datetime | None = None
    version: int = 1
    history: tuple[ItemVersion, ...] = field(default=(), metadata=_SPARSE)
    earlier: tuple[Source, ...] = field(default=(), metadata=_SPARSE)
    digests: tuple[str, ...] = field(default=(), metadata=_SPARSE)

    @property
    def is_active(self) -> bool:
        return self.state is ItemState.ACTIVE

    @property
    def line(self) -> str:
        """The item in one line, as it is recalled and searched: with its key, if it has one."""
        return f"{self.key}: {self.text}" if self.key else self.text

    @property
    def order(self) -> tuple[str, str]:
        """Sorts the newest item first, then by id."""
        age = LAST_MOMENT - self.updated_at
        return f"{age.days:08}{age.seconds:05}{age.microseconds:06}", self.id

    @property
    def as_version(self) -> ItemVersion:
        """The current state, in the form of a version in the history."""
        return ItemVersion(
            version=self.version,
            text=self.text,
            state=self.state,
            origin=self.origin,
            sources=self.sources,
            valid_from=self.valid_from or self.created_at,
            valid_to=self.valid_to or self.updated_at,
        )

    def is_of(self, session_id: SessionId) -> bool:
        """Whether the item was learned from messages that the session still has."""
        return any(each.session_id == session_id and not each.is_removed for each in self.sources)


@dataclass(frozen=True, slots=True, kw_only=True)
class MemorySettings:
    """The memory settings of a person.

    Without `enabled`, nothing is read or learned; without `cross_session`, a session uses only
    items learned in it; without `extract`, nothing is learned from conversations.
    """

    enabled: bool = True
    cross_session: bool = True
    extract: bool = True

    @property
    def learns(self) -> bool:
        return self.enabled and self.extract


MEMORY_ON = MemorySettings()


@dataclass(frozen=True, slots=True, kw_only=True)
class PersonMemory:
    """All items of a person. An API client that calls for itself counts as a person.

    `owner_key` is the owner's kind and id, as in `user:0f3a`; `user_id` is empty for a client.
    `salt`, generated with the first digest, makes digests of forgotten texts useless elsewhere.
    `forgotten_until` is when the person last had everything forgotten. `is_complete` is False while
    sessions may contain items in the form of earlier versions, which have not been moved yet.
    `has_chosen`: the settings are the person's own, not the default of the deployment.
    """

    owner_key: str
    user_id: str = ""
    salt: str = field(default="", repr=False, metadata=_SPARSE)
    items: tuple[Item, ...] = ()
    settings: MemorySettings = MEMORY_ON
    has_chosen: bool = field(default=False, metadata=_SPARSE)
    version: int = 0
    forgotten_until: datetime | None = None
    is_complete: bool = False

    def with_settings(self, settings: MemorySettings) -> "PersonMemory":
        """Return the memory with the settings that the person has chosen."""
        return replace(self, settings=settings, has_chosen=True)

    def with_default(self, default: MemorySettings) -> "PersonMemory":
        """Return the memory with these settings, unless the person has chosen their own."""
        is_own = self.has_chosen or self.settings != MEMORY_ON
        return self if is_own else replace(self, settings=default)

    @property
    def owner(self) -> Owner:
        if self.user_id:
            return Owner(kind="user", id=self.user_id)
        return Owner(kind="client", id=self.owner_key.partition(":")[2])

    @property
    def active(self) -> Sequence[Item]:
        """The items that prompts may use, in the order in which they were learned."""
        return [item for item in self.items if item.is_active] if self.settings.enabled else []

    def in_state(self, *states: ItemState) -> list[Item]:
        return [item for item in self.items if item.state in states]

    def find(self, item_id: str) -> Item | None:
        return next((item for item in self.items if item.id == item_id), None)

    def for_session(self, session_id: SessionId) -> Sequence[Item]:
        """The active items that the prompts of a session may use: see `MemorySettings`."""
        if self.settings.cross_session:
            return self.active
        return [item for item in self.active if item.is_of(session_id)]

    @property
    def hidden_messages(self) -> frozenset[tuple[SessionId, int]]:
        """The messages that must not be recalled: forgotten items were learned from them, or they
        answer those.
        """
        return frozenset(
            (source.session_id, seq)
            for item in self.items
            if item.state is ItemState.FORGOTTEN
            for source in (*item.earlier, *item.sources)
            for seq in (source.seq, source.seq + 1)
        )

    @property
    def forgotten_ids(self) -> frozenset[str]:
        return frozenset(item.id for item in self.in_state(ItemState.FORGOTTEN))

    def allows_recall(self, message: Message) -> bool:
        """Whether a message is newer than "forget everything" and used no item that has been
        forgotten since.
        """
        is_newer = self.forgotten_until is None or message.ts > self.forgotten_until
        return is_newer and message.used_items.isdisjoint(self.forgotten_ids)

    def digest(self, text: str) -> str:
        """Return the salted digest by which a forgotten text is recognised."""
        words = " ".join(re.findall(r"\w+", fold(text)))
        return hashlib.sha256(f"{self.salt}\n{words}".encode()).hexdigest()[:32]

    def with_item(self, item: Item) -> "PersonMemory":
        """Return the memory with the item, replacing the one with its id, or else as the newest."""
        if self.find(item.id) is None:
            return replace(self, items=(*self.items, item))
        items = (item if each.id == item.id else each for each in self.items)
        return replace(self, items=tuple(items))

    def with_items(self, items: Iterable[Item]) -> "PersonMemory":
        changed = self
        for item in items:
            changed = changed.with_item(item)
        return changed

    def is_later_than(self, other: "PersonMemory") -> bool:
        """Whether it is a later state of the other, so that a copy of a store may replace that one."""
        own, others = {item.id for item in self.items}, {item.id for item in other.items}
        return self.version > other.version and (not others or not own.isdisjoint(others))


def new_person(owner: Owner) -> PersonMemory:
    """Return the empty memory of a person."""
    user_id = owner.id if owner.kind == "user" else ""
    return PersonMemory(owner_key=key_of(owner), user_id=user_id)


def key_of(owner: Owner) -> str:
    """Return the key of an owner's memory."""
    return owner.key
