"""What the assistant remembers of a session: a running summary and structured items.

Every item knows which messages it came from and who set it. Merging keeps three promises:
an update never deletes, a list keeps each text once, and what a person set by hand is not
overwritten by the model unless the user has said the new value since.
"""

import hashlib
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import Literal, TypeGuard

from chatbot.domain.errors import InvalidInput
from chatbot.domain.text import is_sound, was_said

MAX_EXTRA_KEYS = 20
MAX_KEY_CHARS = 64
MAX_VALUE_CHARS = 500
MAX_SUMMARY_CHARS = 4000
MAX_REFUSED = 200
DEFAULT_PREFERENCES: Mapping[str, str] = {"language": "es", "tone": "neutral"}
"""What empty memory shows. Nobody has said it: it is neither stored nor in a prompt."""
PROFILE_KEYS = frozenset({"name", "role"})
PREFERENCE_KEYS = frozenset({"language", "tone"})

Kind = Literal["profile", "preference", "fact", "todo", "summary"]


class Setter(StrEnum):
    """Who put an item into memory."""

    USER = "user"
    """A person, by hand."""
    MODEL = "model"
    """The model, from what the user said."""
    ADMINISTRATOR = "administrator"
    """Somebody who administers the service, by hand."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Item:
    """One remembered value. `sources` are the numbers of the messages that it came from."""

    value: str
    set_by: Setter
    sources: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class StructuredMemory:
    """Profile and preferences by key, facts and tasks in the order in which they were learned."""

    profile: Mapping[str, Item] = field(default_factory=dict)
    preferences: Mapping[str, Item] = field(default_factory=dict)
    facts: tuple[Item, ...] = ()
    todos: tuple[Item, ...] = ()


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

    def with_refused(self, messages: Iterable[int]) -> "Memory":
        """The memory with these messages marked as refused; of all marks the newest are kept."""
        marked = sorted({*self.refused, *messages})
        return replace(self, refused=tuple(marked[-MAX_REFUSED:]))


@dataclass(frozen=True, slots=True, kw_only=True)
class Update:
    """What is to be merged into structured memory; every part may be empty."""

    profile: Mapping[str, str] = field(default_factory=dict)
    preferences: Mapping[str, str] = field(default_factory=dict)
    facts: tuple[str, ...] = ()
    todos: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Recollection:
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
    preferences: Mapping[str, str], known: Mapping[str, Item], defaults: Mapping[str, str]
) -> dict[str, str]:
    """The preferences but for defaults that are merely given back: nobody has stated them."""
    return {
        key: value
        for key, value in preferences.items()
        if key in known or defaults.get(key) != value.strip()
    }


def merge(
    memory: StructuredMemory,
    update: Update,
    *,
    sources: Sequence[int],
    said: Sequence[str],
    max_items: int,
    defaults: Mapping[str, str] = DEFAULT_PREFERENCES,
) -> StructuredMemory:
    """Merge what the model extracted from the messages `sources`, whose texts are `said`.

    Objects merge by key. Lists append new, trimmed, non-empty texts once and keep the last
    `max_items`, those that a person set before the others. A value that a person set stays
    unless the user said the new one; a default preference counts only if the user said it.
    """
    came_from = tuple(sources)
    stated = {k: v for k, v in update.preferences.items() if was_said(v, said)}
    preferences = {**without_defaults(update.preferences, memory.preferences, defaults), **stated}

    def keyed(
        known: Mapping[str, Item], new: Mapping[str, str], standard: frozenset[str]
    ) -> dict[str, Item]:
        merged = dict(known)
        for key, text in new.items():
            old, value = merged.get(key), _cut(text)
            further = merged.keys() - standard
            crowded = key not in standard | further and len(further) >= MAX_EXTRA_KEYS
            unchanged = old is not None and old.value == value
            by_hand = old is not None and old.set_by is not Setter.MODEL
            if not value or not 0 < len(key) <= MAX_KEY_CHARS or crowded or unchanged:
                continue
            if by_hand and not was_said(value, said):
                continue
            merged[key] = Item(value=value, set_by=Setter.MODEL, sources=came_from)
        return merged

    def listed(known: tuple[Item, ...], new: Iterable[str]) -> tuple[Item, ...]:
        merged = {item.value: item for item in known}
        for text in new:
            value = _cut(text)
            if value and value not in merged:
                merged[value] = Item(value=value, set_by=Setter.MODEL, sources=came_from)
        return _newest(merged.values(), max_items)

    return StructuredMemory(
        profile=keyed(memory.profile, update.profile, PROFILE_KEYS),
        preferences=keyed(memory.preferences, preferences, PREFERENCE_KEYS),
        facts=listed(memory.facts, update.facts),
        todos=listed(memory.todos, update.todos),
    )


def replaced_by_hand(update: Update, *, by: Setter, max_items: int) -> StructuredMemory:
    """The structured memory that a person wrote in place of the old one.

    Raises:
        InvalidInput: a list, the number of keys, a key or a value is over its limit.
    """

    def keyed(name: str, new: Mapping[str, str], standard: frozenset[str]) -> dict[str, Item]:
        if len(new.keys() - standard) > MAX_EXTRA_KEYS:
            raise InvalidInput(f"At most {MAX_EXTRA_KEYS} further keys.", where=(name,))
        for key, value in new.items():
            if not 0 < len(key) <= MAX_KEY_CHARS:
                raise InvalidInput(f"A key has 1 to {MAX_KEY_CHARS} characters.", where=(name,))
            if len(value) > MAX_VALUE_CHARS:
                raise InvalidInput(
                    f"A value has at most {MAX_VALUE_CHARS} characters.", where=(name,)
                )
        return {k: Item(value=v.strip(), set_by=by) for k, v in new.items() if v.strip()}

    def listed(name: str, new: Sequence[str]) -> tuple[Item, ...]:
        texts = dict.fromkeys(text.strip() for text in new if text.strip())
        if len(texts) > max_items:
            raise InvalidInput(f"At most {max_items} entries.", where=(name,))
        for index, text in enumerate(new):
            if len(text) > MAX_VALUE_CHARS:
                raise InvalidInput(f"At most {MAX_VALUE_CHARS} characters.", where=(name, index))
        return tuple(Item(value=text, set_by=by) for text in texts)

    return StructuredMemory(
        profile=keyed("profile", update.profile, PROFILE_KEYS),
        preferences=keyed("preferences", update.preferences, PREFERENCE_KEYS),
        facts=listed("facts", update.facts),
        todos=listed("todos", update.todos),
    )


def with_summary(memory: Memory, summary: str) -> Memory:
    """The memory with a summary that a person wrote; the watermark stays where it is.

    Raises:
        InvalidInput: the summary is longer than 4,000 characters.
    """
    if len(summary) > MAX_SUMMARY_CHARS:
        raise InvalidInput(f"At most {MAX_SUMMARY_CHARS} characters.", where=("summary",))
    return replace(memory, summary=summary.strip())


def update_from_json(found: object) -> Update:
    """Read an update from decoded JSON that a model wrote: what is not of the shape is left out.

    Raises:
        InvalidInput: it is not an object at all.
    """
    if not isinstance(found, Mapping):
        raise InvalidInput("A memory update is a JSON object.")

    def keyed(name: str) -> dict[str, str]:
        values = found.get(name)
        pairs = values.items() if isinstance(values, Mapping) else ()
        return {
            key.strip(): str(value)
            for key, value in pairs
            if _is_text(key) and (_is_number(value) or _is_text(value))
        }

    def listed(name: str) -> tuple[str, ...]:
        values = found.get(name)
        return tuple(filter(_is_text, values)) if isinstance(values, list) else ()

    return Update(
        profile=keyed("profile"),
        preferences=keyed("preferences"),
        facts=listed("facts"),
        todos=listed("todos"),
    )


def recollections(memory: Memory) -> list[Recollection]:
    """Everything remembered, summary first, as it enters a prompt."""

    def keyed(kind: Kind, items: Mapping[str, Item]) -> list[Recollection]:
        return [
            Recollection(id=f"{kind}.{key}", kind=kind, text=f"{key}: {item.value}")
            for key, item in items.items()
        ]

    def listed(kind: Kind, items: Iterable[Item]) -> list[Recollection]:
        return [
            Recollection(id=f"{kind}.{_digest(item.value)}", kind=kind, text=item.value)
            for item in items
        ]

    known = memory.structured
    summary = [Recollection(id="summary", kind="summary", text=memory.summary)]
    return [
        *(summary if memory.summary else []),
        *keyed("profile", known.profile),
        *keyed("preference", known.preferences),
        *listed("fact", known.facts),
        *listed("todo", known.todos),
    ]


def _newest(items: Iterable[Item], count: int) -> tuple[Item, ...]:
    """At most `count` items: the model's oldest go first, then the oldest of all."""
    kept = list(items)
    while len(kept) > count:
        kept.remove(next((item for item in kept if item.set_by is Setter.MODEL), kept[0]))
    return tuple(kept)


def _cut(text: str) -> str:
    return text.strip()[:MAX_VALUE_CHARS].rstrip()


def _is_text(value: object) -> TypeGuard[str]:
    return isinstance(value, str) and is_sound(value)


def _is_number(value: object) -> bool:
    if isinstance(value, float):
        return math.isfinite(value)
    return isinstance(value, int) and not isinstance(value, bool)


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:12]
