"""What the assistant remembers of a session: a running summary and structured items.

Every item knows which messages it came from and who set it. How it changes: `memory_updates`.
"""

import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import Literal

from chatbot.domain.errors import InvalidInput

MAX_EXTRA_KEYS = 20
MAX_KEY_CHARS = 64
MAX_VALUE_CHARS = 500
MAX_SUMMARY_CHARS = 4000
MAX_REFUSED = 200
DEFAULT_PREFERENCES: Mapping[str, str] = {"language": "es", "tone": "neutral"}
"""What empty memory shows. Nobody has said it: it is neither stored nor in a prompt."""
PROFILE_KEYS = frozenset({"name", "role"})
PREFERENCE_KEYS = frozenset({"language", "tone"})
STANDARD_KEYS = PROFILE_KEYS | PREFERENCE_KEYS

Kind = Literal["profile", "preference", "fact", "todo", "summary"]


class Origin(StrEnum):
    """Who put an item into memory."""

    USER = "user"
    """A person, by hand."""
    MODEL = "model"
    """The model, from what the user said."""
    ADMINISTRATOR = "administrator"
    """Somebody who administers the service, by hand."""


@dataclass(frozen=True, slots=True, kw_only=True)
class MemoryItem:
    """One remembered value. `sources` are the numbers of the messages that it came from."""

    value: str
    origin: Origin
    sources: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class StructuredMemory:
    """Profile and preferences by key, facts and tasks in the order in which they were learned."""

    profile: Mapping[str, MemoryItem] = field(default_factory=dict)
    preferences: Mapping[str, MemoryItem] = field(default_factory=dict)
    facts: tuple[MemoryItem, ...] = ()
    todos: tuple[MemoryItem, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Update:
    """What is to be merged into structured memory; every part may be empty.

    `forget` names what is remembered and shall not be: a key of profile or preferences, or the
    words of an item. `done` names tasks that are no longer open.
    """

    profile: Mapping[str, str] = field(default_factory=dict)
    preferences: Mapping[str, str] = field(default_factory=dict)
    facts: tuple[str, ...] = ()
    todos: tuple[str, ...] = ()
    forget: tuple[str, ...] = ()
    done: tuple[str, ...] = ()

    def __or__(self, later: "Update") -> "Update":
        """Both, the later one's values where both have a key."""
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
    """How often in a row a step failed, and the message before which it is not tried again."""

    failures: int = 0
    retry_at: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Memory:
    """All that is remembered of one session.

    `summarized_to` and `extracted_to` are watermarks: the number of the newest message that the
    summary, or the structured memory, has taken in. `version` rises with every stored change.

    `refused` names messages that the provider refuses: prompts, summaries and extractions leave
    them out. Prompts begin after `prompts_after`, since the provider refuses something before it.
    """

    summary: str = ""
    structured: StructuredMemory = field(default_factory=StructuredMemory)
    summarized_to: int = 0
    extracted_to: int = 0
    version: int = 0
    refused: tuple[int, ...] = ()
    prompts_after: int = 0
    summary_setback: Setback = Setback()
    extraction_setback: Setback = Setback()

    def with_refused(self, messages: Iterable[int]) -> "Memory":
        """The memory with these messages marked as refused; of all marks the newest are kept."""
        marked = sorted({*self.refused, *messages})
        return replace(self, refused=tuple(marked[-MAX_REFUSED:]))


@dataclass(frozen=True, slots=True, kw_only=True)
class RecalledItem:
    """A remembered item as the prompt and the caller see it; `id` is stable while the text is."""

    id: str
    kind: Kind
    text: str


def default_preferences(language: str | None) -> Mapping[str, str]:
    """What empty memory shows where the language of the texts is set, or not."""
    return (
        DEFAULT_PREFERENCES if language is None else {**DEFAULT_PREFERENCES, "language": language}
    )


def without_defaults(
    preferences: Mapping[str, str], known: Mapping[str, MemoryItem], defaults: Mapping[str, str]
) -> dict[str, str]:
    """The preferences but for defaults that are merely given back: nobody has stated them."""
    return {
        key: value
        for key, value in preferences.items()
        if key in known or defaults.get(key) != value.strip()
    }


def with_summary(memory: Memory, summary: str) -> Memory:
    """The memory with a summary that a person wrote; the watermark stays where it is.

    Raises:
        InvalidInput: the summary is longer than 4,000 characters.
    """
    if len(summary) > MAX_SUMMARY_CHARS:
        raise InvalidInput(f"At most {MAX_SUMMARY_CHARS} characters.", where=("summary",))
    return replace(memory, summary=summary.strip())


def recollections(memory: Memory) -> list[RecalledItem]:
    """Everything remembered, summary first, as it enters a prompt."""

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
    """As much of a text as a value can hold, trimmed."""
    return text.strip()[:MAX_VALUE_CHARS].rstrip()
