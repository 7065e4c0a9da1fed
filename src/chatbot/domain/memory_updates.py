"""Changes to structured memory: extracted by a model, or edited by a person.

Merging keeps three promises: an update deletes only what it names, a list contains each text once,
and the model overwrites or deletes an edited value only if the user has mentioned it since.
"""

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import TypeGuard

from chatbot.domain.errors import InvalidInput
from chatbot.domain.forgetting import without_named
from chatbot.domain.lookalikes import unmasked
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
"""Maximum number of entries in each part of an update by a model; the last ones count."""
MAX_NAMES = 40
"""Maximum number of names in `forget` and in `done`; each is compared with every item."""


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

    First, items named in `forget` and `done` are removed, edited ones only if the user mentioned
    them. Objects merge by key. Lists append new, trimmed, non-empty texts once and keep the last
    `max_items`, edited ones in preference to others. An edited value is replaced only if the user
    said the new one; a default preference counts only if the user said it.
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


def plain_key(key: str) -> str:
    """Return a key as it is stored: with single blanks, and as it is read: see `unmasked`."""
    return " ".join(unmasked(key[: 4 * MAX_KEY_CHARS]).split())


def bounded(update: Update) -> Update:
    """Return the last entries of each part: a model's update may have any length."""

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
    """Return the structured memory that replaces the old one by a person's edit.

    Raises:
        InvalidInput: a list, the number of keys, a key or a value exceeds its limit.
    """

    def keyed(name: str, new: Mapping[str, str], standard: frozenset[str]) -> dict[str, MemoryItem]:
        if len(new.keys() - standard) > MAX_EXTRA_KEYS:
            raise InvalidInput(f"At most {MAX_EXTRA_KEYS} additional keys.", where=(name,))
        new = {plain_key(key): value for key, value in new.items()}
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
    """Read an update from a model's decoded JSON, ignoring everything of another shape.

    It has operations, `{"set": [{"kind", "key", "text"}], "done": [...], "forget": [...]}`, or the
    parts of an `Update`, or both.

    Raises:
        InvalidInput: it is not an object.
    """
    if not isinstance(found, Mapping):
        raise InvalidInput("A memory update must be a JSON object.")

    def keyed(name: str) -> dict[str, str]:
        values = found.get(name)
        pairs = list(values.items()) if isinstance(values, Mapping) else []
        return {
            plain_key(key): _readable(str(value))
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
    return bounded(update | _set_by(found.get("set")))


def _set_by(found: object) -> Update:
    """Return the update of the `set` operations. A profile or preference without a key is a fact."""
    entries = found[-MAX_UPDATE_ENTRIES:] if isinstance(found, list) else []
    keyed: dict[str, dict[str, str]] = {"profile": {}, "preference": {}}
    facts, todos = list[str](), list[str]()
    for entry in entries:
        if not isinstance(entry, Mapping) or not _is_text(entry.get("text")):
            continue
        kind, key, text = entry.get("kind"), entry.get("key"), _readable(entry["text"])
        if kind in keyed and _is_text(key) and plain_key(key):
            keyed[kind][plain_key(key)] = text
        elif kind in {"fact", *keyed}:
            facts.append(text)
        elif kind == "todo":
            todos.append(text)
    return Update(
        profile=keyed["profile"],
        preferences=keyed["preference"],
        facts=tuple(facts),
        todos=tuple(todos),
    )


def _newest(items: Iterable[MemoryItem], count: int) -> tuple[MemoryItem, ...]:
    """Return at most `count` items, dropping the model's oldest first, then the oldest of all."""
    kept = list(items)
    while len(kept) > count:
        kept.remove(next((item for item in kept if item.origin is Origin.MODEL), kept[0]))
    return tuple(kept)


def _readable(text: str) -> str:
    """Return the part of a text that can matter; merging trims and cuts it."""
    return unmasked(text[: 2 * MAX_VALUE_CHARS])


def _is_text(value: object) -> TypeGuard[str]:
    return isinstance(value, str) and is_storable(_readable(value))


def _is_number(value: object) -> bool:
    if isinstance(value, float):
        return math.isfinite(value)
    return isinstance(value, int) and not isinstance(value, bool)
