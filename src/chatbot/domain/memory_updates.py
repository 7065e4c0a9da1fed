"""Changes of structured memory: what a model extracted, or a person wrote by hand.

Merging keeps three promises: an update deletes only what it names, a list keeps each text once,
and what a person set by hand is not overwritten or deleted by the model unless the user has spoken
of it since.
"""

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import TypeGuard

from chatbot.domain.errors import InvalidInput
from chatbot.domain.forgetting import without_named
from chatbot.domain.memory import (
    DEFAULT_PREFERENCES,
    MAX_EXTRA_KEYS,
    MAX_KEY_CHARS,
    MAX_VALUE_CHARS,
    PREFERENCE_KEYS,
    PROFILE_KEYS,
    MemoryItem,
    Origin,
    StructuredMemory,
    Update,
    cut,
    without_defaults,
)
from chatbot.domain.text import Said, is_storable

MAX_UPDATE_ENTRIES = 200
"""Of each part of an update that a model wrote: the last ones are read."""
MAX_NAMES = 40
"""In `forget` and in `done`: each name is compared with all that is known."""


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

    First goes what the update names as forgotten or done, of what a person set only if the user
    mentioned it. Objects merge by key. Lists append new, trimmed, non-empty texts once and keep the last
    `max_items`, those that a person set before the others. A value that a person set stays
    unless the user said the new one; a default preference counts only if the user said it.
    """
    came_from = tuple(sources)
    memory, update = without_named(memory, update, said)
    spoken = Said(said)
    stated = {k: v for k, v in update.preferences.items() if spoken.has(v)}
    preferences = {**without_defaults(update.preferences, memory.preferences, defaults), **stated}

    def keyed(
        known: Mapping[str, MemoryItem], new: Mapping[str, str], standard: frozenset[str]
    ) -> dict[str, MemoryItem]:
        merged = dict(known)
        for key, text in new.items():
            old, value = merged.get(key), cut(text)
            further = merged.keys() - standard
            crowded = key not in standard | further and len(further) >= MAX_EXTRA_KEYS
            unchanged = old is not None and old.value == value
            is_manual = old is not None and old.origin is not Origin.MODEL
            if not value or not 0 < len(key) <= MAX_KEY_CHARS or crowded or unchanged:
                continue
            if is_manual and not spoken.has(value):
                continue
            merged[key] = MemoryItem(value=value, origin=Origin.MODEL, sources=came_from)
        return merged

    def listed(known: tuple[MemoryItem, ...], new: Iterable[str]) -> tuple[MemoryItem, ...]:
        merged = {item.value: item for item in known}
        for text in new:
            value = cut(text)
            if value and value not in merged:
                merged[value] = MemoryItem(value=value, origin=Origin.MODEL, sources=came_from)
        return _newest(merged.values(), max_items)

    return StructuredMemory(
        profile=keyed(memory.profile, update.profile, PROFILE_KEYS),
        preferences=keyed(memory.preferences, preferences, PREFERENCE_KEYS),
        facts=listed(memory.facts, update.facts),
        todos=listed(memory.todos, update.todos),
    )


def bounded(update: Update) -> Update:
    """The last entries of each part: what a model wrote may be of any length."""

    def keyed(values: Mapping[str, str]) -> dict[str, str]:
        return dict([*values.items()][-MAX_UPDATE_ENTRIES:])

    return Update(
        profile=keyed(update.profile),
        preferences=keyed(update.preferences),
        facts=update.facts[-MAX_UPDATE_ENTRIES:],
        todos=update.todos[-MAX_UPDATE_ENTRIES:],
        forget=update.forget[-MAX_NAMES:],
        done=update.done[-MAX_NAMES:],
    )


def replaced_by_hand(update: Update, *, by: Origin, max_items: int) -> StructuredMemory:
    """The structured memory that a person wrote in place of the old one.

    Raises:
        InvalidInput: a list, the number of keys, a key or a value is over its limit.
    """

    def keyed(name: str, new: Mapping[str, str], standard: frozenset[str]) -> dict[str, MemoryItem]:
        if len(new.keys() - standard) > MAX_EXTRA_KEYS:
            raise InvalidInput(f"At most {MAX_EXTRA_KEYS} additional keys.", where=(name,))
        for key, value in new.items():
            if not 0 < len(key) <= MAX_KEY_CHARS:
                raise InvalidInput(
                    f"A key must have 1 to {MAX_KEY_CHARS} characters.", where=(name,)
                )
            if len(value) > MAX_VALUE_CHARS:
                raise InvalidInput(
                    f"A value can have at most {MAX_VALUE_CHARS} characters.", where=(name,)
                )
        return {k: MemoryItem(value=v.strip(), origin=by) for k, v in new.items() if v.strip()}

    def listed(name: str, new: Sequence[str]) -> tuple[MemoryItem, ...]:
        texts = dict.fromkeys(text.strip() for text in new if text.strip())
        if len(texts) > max_items:
            raise InvalidInput(f"At most {max_items} entries.", where=(name,))
        for index, text in enumerate(new):
            if len(text) > MAX_VALUE_CHARS:
                raise InvalidInput(f"At most {MAX_VALUE_CHARS} characters.", where=(name, index))
        return tuple(MemoryItem(value=text, origin=by) for text in texts)

    return StructuredMemory(
        profile=keyed("profile", update.profile, PROFILE_KEYS),
        preferences=keyed("preferences", update.preferences, PREFERENCE_KEYS),
        facts=listed("facts", update.facts),
        todos=listed("todos", update.todos),
    )


def update_from_json(found: object) -> Update:
    """Read an update from decoded JSON that a model wrote: what is not of the shape is left out.

    Raises:
        InvalidInput: it is not an object at all.
    """
    if not isinstance(found, Mapping):
        raise InvalidInput("A memory update must be a JSON object.")

    def keyed(name: str) -> dict[str, str]:
        values = found.get(name)
        pairs = list(values.items()) if isinstance(values, Mapping) else []
        return {
            key.strip(): _readable(str(value))
            for key, value in pairs[-MAX_UPDATE_ENTRIES:]
            if _is_text(key) and (_is_number(value) or _is_text(value))
        }

    def listed(name: str) -> tuple[str, ...]:
        values = found.get(name)
        texts = values[-MAX_UPDATE_ENTRIES:] if isinstance(values, list) else []
        return tuple(map(_readable, filter(_is_text, texts)))

    update = Update(
        profile=keyed("profile"),
        preferences=keyed("preferences"),
        facts=listed("facts"),
        todos=listed("todos"),
        forget=listed("forget"),
        done=listed("done"),
    )
    return bounded(update)


def _newest(items: Iterable[MemoryItem], count: int) -> tuple[MemoryItem, ...]:
    """At most `count` items: the model's oldest go first, then the oldest of all."""
    kept = list(items)
    while len(kept) > count:
        kept.remove(next((item for item in kept if item.origin is Origin.MODEL), kept[0]))
    return tuple(kept)


def _readable(text: str) -> str:
    """As much of a text as can matter: it is trimmed and cut when it is merged."""
    return text[: 2 * MAX_VALUE_CHARS]


def _is_text(value: object) -> TypeGuard[str]:
    return isinstance(value, str) and is_storable(_readable(value))


def _is_number(value: object) -> bool:
    if isinstance(value, float):
        return math.isfinite(value)
    return isinstance(value, int) and not isinstance(value, bool)
