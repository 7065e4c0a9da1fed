"""Finds the remembered items that an update names as forgotten or done.

Names come from a model or from rules and may differ from the stored words. The closest kind of match
counts: a key, the same words, the same words with other endings, or some of the words if they match a
single item only. Items without a certain match stay.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace

from chatbot.domain.memory import STANDARD_KEYS, MemoryItem, Origin, StructuredMemory, Update, cut
from chatbot.domain.phrases import Phrase, Word, Words
from chatbot.domain.text import fold

Slot = tuple[str, str]
"""Locates an item: the part of the memory, and its key or, in a list, its text."""

_KEY_WORDS = {
    "name": frozenset({"name", "nombre", "called", "llamo", "llama", "llamar"}),
    "role": frozenset(
        {"role", "job", "profession", "position", "puesto", "cargo", "rol", "trabajo"}
    ),
    "language": frozenset({"language", "idioma", "lengua"}),
    "tone": frozenset({"tone", "style", "tono", "estilo"}),
}
_KEYED = ("profile", "preferences")


def without_named(
    memory: StructuredMemory, update: Update, said: Sequence[str]
) -> tuple[StructuredMemory, Update]:
    """Return memory and update without the items that the update forgets or reports as done."""
    if not (update.forget or update.done):
        return memory, update
    keys = {key for name in update.forget if (key := _key_named(name)) is not None}
    names = [Phrase(name) for name in update.forget if _key_named(name) is None]
    done = [Phrase(name) for name in update.done]

    def named_in(known: Update) -> set[Slot]:
        phrases = _phrases_of(known)
        todos = [(slot, phrase) for slot, phrase in phrases if slot[0] == "todos"]
        found = [_named_by(name, phrases) for name in names]
        return set[Slot]().union(*found, *(_named_by(name, todos) for name in done))

    gone = named_in(memory.values) | {(part, key) for part in _KEYED for key in keys}
    repeated = named_in(update)
    spoken = Words(word for text in said for word in Phrase(text).meaning)

    def goes(part: str, key: str, item: MemoryItem) -> bool:
        is_own = item.origin is Origin.MODEL
        return (part, key) in gone and (is_own or _is_mentioned(item, key, spoken))

    def keyed(part: str, known: Mapping[str, MemoryItem]) -> dict[str, MemoryItem]:
        return {key: item for key, item in known.items() if not goes(part, key, item)}

    def listed(part: str, known: Iterable[MemoryItem]) -> tuple[MemoryItem, ...]:
        return tuple(item for item in known if not goes(part, item.value, item))

    def changed(
        part: str, known: Mapping[str, MemoryItem], values: Mapping[str, str]
    ) -> dict[str, str]:
        """For a forgotten key, only a new value is kept."""
        return {
            key: value
            for key, value in values.items()
            if (part, key) not in repeated
            and not (key in keys and key in known and known[key].value == cut(value))
        }

    kept = StructuredMemory(
        profile=keyed("profile", memory.profile),
        preferences=keyed("preferences", memory.preferences),
        facts=listed("facts", memory.facts),
        todos=listed("todos", memory.todos),
    )
    rest = replace(
        update,
        profile=changed("profile", memory.profile, update.profile),
        preferences=changed("preferences", memory.preferences, update.preferences),
        facts=tuple(text for text in update.facts if ("facts", text) not in repeated),
        todos=tuple(text for text in update.todos if ("todos", text) not in repeated),
    )
    return kept, rest


def _phrases_of(update: Update) -> list[tuple[Slot, Phrase]]:
    """Return what a name can match: values, further keys, and values with their keys."""
    keyed = {"profile": update.profile, "preferences": update.preferences}
    listed = {"facts": update.facts, "todos": update.todos}
    pairs = [((part, key), value) for part, known in keyed.items() for key, value in known.items()]
    texts = [
        *pairs,
        *((slot, slot[1]) for slot, _ in pairs if slot[1] not in STANDARD_KEYS),
        *((slot, f"{slot[1]}: {value}") for slot, value in pairs),
        *((slot, slot[1]) for slot in ((p, text) for p, known in listed.items() for text in known)),
    ]
    return [(slot, Phrase(text)) for slot, text in texts]


def _key_named(name: str) -> str | None:
    """Return the standard key for a name such as `name`, `my name`, `mi nombre`, `profile.name`."""
    phrase = Phrase(name.rpartition(".")[2])
    if len(phrase.meaning) != 1:
        return None
    word = phrase.meaning[0].text
    return next((key for key, words in _KEY_WORDS.items() if word in words), None)


def _is_mentioned(item: MemoryItem, key: str, spoken: Words) -> bool:
    """Whether a word of the item, or a word for its key, was mentioned."""
    words = _KEY_WORDS.get(key, frozenset({fold(key)}))
    is_key_spoken = any(spoken.has(Word(each, is_fixed=True)) for each in words)
    return is_key_spoken or any(map(spoken.has, Phrase(item.value).meaning))


def _named_by(name: Phrase, phrases: Sequence[tuple[Slot, Phrase]]) -> set[Slot]:
    def slots(is_meant: Callable[[Phrase], bool]) -> set[Slot]:
        return {slot for slot, phrase in phrases if is_meant(phrase)}

    if not name.words:
        return set()
    surely = slots(lambda phrase: phrase.words == name.words) or slots(
        lambda phrase: phrase.is_in(name) and name.is_in(phrase)
    )
    if surely:
        return surely
    parts = slots(name.is_in) or slots(
        lambda phrase: phrase.is_in(name) and 2 * len(phrase.meaning) >= len(name.meaning)
    )
    return parts if len(parts) == 1 else set()
