"""The memory of a session: a running summary and structured items.

Every item records its source messages and its origin. `memory_updates` has the rules for changes.
"""

import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import Literal

from chatbot.domain.errors import InvalidInput
from chatbot.domain.stored import Stored

MAX_EXTRA_KEYS = 20
MAX_KEY_CHARS = 64
MAX_VALUE_CHARS = 500
MAX_SUMMARY_CHARS = 4000
MAX_REFUSED = 1000
DEFAULT_PREFERENCES: Mapping[str, str] = {"language": "es", "tone": "neutral"}
"""Shown for an empty memory. Defaults are neither stored nor part of a prompt."""
PROFILE_KEYS = frozenset({"name", "role"})
PREFERENCE_KEYS = frozenset({"language", "tone"})
STANDARD_KEYS = PROFILE_KEYS | PREFERENCE_KEYS

_SPARSE = Stored(is_sparse=True)
"""Marks of refused messages, and failures, are rare."""

Kind = Literal["profile", "preference", "fact", "todo", "summary"]
RecalledKind = Literal["profile", "preference", "fact", "todo", "summary", "message"]


class Origin(StrEnum):
    """Where an item comes from."""

    USER = "user"
    """A user's edit."""
    MODEL = "model"
    """Extracted by the model from the user's messages."""
    ADMINISTRATOR = "administrator"
    """An administrator's edit."""


@dataclass(frozen=True, slots=True, kw_only=True)
class MemoryItem:
    """One remembered value. `sources` are the numbers of its source messages."""

    value: str
    origin: Origin = field(metadata=Stored(name="set_by").metadata())
    sources: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class StructuredMemory:
    """Profile and preferences by key; facts and tasks in the order of their extraction."""

    profile: Mapping[str, MemoryItem] = field(default_factory=dict)
    preferences: Mapping[str, MemoryItem] = field(default_factory=dict)
    facts: tuple[MemoryItem, ...] = ()
    todos: tuple[MemoryItem, ...] = ()

    @property
    def values(self) -> "Update":
        """The values alone, as an update."""
        return Update(
            profile={key: item.value for key, item in self.profile.items()},
            preferences={key: item.value for key, item in self.preferences.items()},
            facts=tuple(item.value for item in self.facts),
            todos=tuple(item.value for item in self.todos),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Update:
    """Changes to merge into structured memory; every part may be empty.

    `forget` names items to remove: a key of profile or preferences, or the words of an item. `done`
    names completed tasks.
    """

    profile: Mapping[str, str] = field(default_factory=dict)
    preferences: Mapping[str, str] = field(default_factory=dict)
    facts: tuple[str, ...] = ()
    todos: tuple[str, ...] = ()
    forget: tuple[str, ...] = ()
    done: tuple[str, ...] = ()

    @property
    def size(self) -> int:
        """The number of characters of its texts."""
        listed = (*self.facts, *self.todos, *self.forget, *self.done)
        return sum(map(len, (*self.profile.values(), *self.preferences.values(), *listed)))

    def __or__(self, later: "Update") -> "Update":
        """Return the union; for a key in both, the value of `later` wins."""
        return Update(
            profile={**self.profile, **later.profile},
            preferences={**self.preferences, **later.preferences},
            facts=self.facts + later.facts,
            todos=self.todos + later.todos,
            forget=self.forget + later.forget,
            done=self.done + later.done,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Setback:
    """How often in a row a step failed, and the message number from which it is retried."""

    failures: int = 0
    retry_at: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Memory:
    """The memory of one session.

    `summarized_to` and `extracted_to` are watermarks: the number of the newest message that the
    summary, or the structured memory, covers. `version` increases with every stored change.

    `refused` lists messages that the provider refuses, or from which a forgotten item was learned:
    prompts, summaries and extractions leave them out. `structured` is empty once its items have
    been moved to the person's memory: see `person_memory`. Prompts begin after message
    `prompts_after`, because the provider refuses an earlier one. `summarized_items` are the ids of
    the person's items that the prompts of summarized answers contained.
    """

    summary: str = ""
    structured: StructuredMemory = field(
        default_factory=StructuredMemory, metadata=Stored(is_inline=True).metadata()
    )
    summarized_to: int = 0
    extracted_to: int = 0
    version: int = 0
    refused: tuple[int, ...] = field(default=(), metadata=_SPARSE.metadata())
    prompts_after: int = field(default=0, metadata=_SPARSE.metadata())
    summarized_items: tuple[str, ...] = field(default=(), metadata=_SPARSE.metadata())
    summary_setback: Setback = field(default=Setback(), metadata=_SPARSE.metadata())
    extraction_setback: Setback = field(default=Setback(), metadata=_SPARSE.metadata())

    def after_reset(self, reset_at: int) -> "Memory":
        """The memory with messages before a reset counted as processed."""
        return replace(
            self,
            summarized_to=max(self.summarized_to, reset_at),
            extracted_to=max(self.extracted_to, reset_at),
        )

    def without_summary(self, reset_at: int) -> "Memory":
        """The memory as before the first summary since message `reset_at`: it is made again."""
        return replace(self, summary="", summarized_to=reset_at, summarized_items=())

    def with_refused(self, messages: Iterable[int]) -> "Memory":
        """Return the memory with these messages marked as refused; the newest 1,000 marks are kept."""
        marked = sorted({*self.refused, *messages})
        return replace(self, refused=tuple(marked[-MAX_REFUSED:]))


@dataclass(frozen=True, slots=True, kw_only=True)
class RecalledItem:
    """An item or a message in a prompt, as reported to the caller.

    `id` is stable while the text is unchanged. `session_id` and `seq` name the message from which
    the item was learned, or the recalled message.
    """

    id: str
    kind: RecalledKind
    text: str
    session_id: str | None = None
    seq: int | None = None


def default_preferences(language: str | None) -> Mapping[str, str]:
    """Return the default preferences for a configured language, or None if none is configured."""
    return (
        DEFAULT_PREFERENCES if language is None else {**DEFAULT_PREFERENCES, "language": language}
    )


def without_defaults(
    preferences: Mapping[str, str], known: Mapping[str, MemoryItem], defaults: Mapping[str, str]
) -> dict[str, str]:
    """Return the preferences without defaults that were only sent back unchanged."""
    return {
        key: value
        for key, value in preferences.items()
        if key in known or defaults.get(key) != value.strip()
    }


def with_summary(memory: Memory, summary: str) -> Memory:
    """Return the memory with an edited summary; the watermark is unchanged.

    Raises:
        InvalidInput: the summary is longer than 4,000 characters.
    """
    if len(summary) > MAX_SUMMARY_CHARS:
        raise InvalidInput(f"At most {MAX_SUMMARY_CHARS} characters.", where=("summary",))
    return replace(memory, summary=summary.strip())


def recollections(memory: Memory) -> list[RecalledItem]:
    """Return everything remembered, summary first, as it enters a prompt."""

    def keyed(kind: Kind, items: Mapping[str, MemoryItem]) -> list[RecalledItem]:
        return [
            RecalledItem(id=f"{kind}.{key}", kind=kind, text=f"{key}: {item.value}")
            for key, item in items.items()
        ]

    def listed(kind: Kind, items: Iterable[MemoryItem]) -> list[RecalledItem]:
        return [
            RecalledItem(id=f"{kind}.{_digest(item.value)}", kind=kind, text=item.value)
            for item in items
        ]

    known = memory.structured
    summary = [RecalledItem(id="summary", kind="summary", text=memory.summary)]
    return [
        *(summary if memory.summary else []),
        *keyed("profile", known.profile),
        *keyed("preference", known.preferences),
        *listed("fact", known.facts),
        *listed("todo", known.todos),
    ]


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:12]


def cut(text: str) -> str:
    """Return the text trimmed and cut to the maximum length of a value."""
    return text.strip()[:MAX_VALUE_CHARS].rstrip()
