"""Finds the remembered items that an update names to forget or as done.

Names come from a model or from rules and may differ from the stored words. The closest kind of match
counts: a key, the same words, the same words with other endings, or some of the words if they match a
single item only. Items without a certain match stay.
"""

import math
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property

from chatbot.domain.memory import STANDARD_KEYS, MemoryItem, Origin, StructuredMemory, Update, cut
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
_FILLERS = frozenset(
    """
    a about al am an and are at con de del el en es forget have he i im in is la las lo los me
    mi mis my of on or para por que se soy su sus that the to tu un una was with y ya yo you
    your
    """.split()  # noqa: SIM905 # a list has a line for each word
)
_KEYED = ("profile", "preferences")
_MOST_WORDS = 80  # MAX_VALUE_CHARS has about as many
_LONGEST_INFLECTED = 40
_SHORTEST_STEM, _LONGEST_ENDING = 4, 3
_SAME_SHARE, _SHORTEST_SHARED = 0.7, 5


@dataclass(frozen=True, slots=True)
class _Word:
    text: str
    is_fixed: bool
    """Names, numbers and overlong words match only exactly, not with another ending."""


class _Words:
    """A set of words with look-ups by stem, in constant time for each word.

    Two words match if one of them is the other plus an ending of at most three letters, or if they
    share five or more first letters that make up 70 % of the longer one.
    """

    def __init__(self, words: Iterable[_Word]) -> None:
        known = list(words)
        self._texts = {word.text for word in known}
        self._inflected = {word.text for word in known if not word.is_fixed}
        self._shorter = {each for text in self._inflected for each in _shorter(text)}
        self._beginnings = {each for text in self._inflected for each in _beginnings(text)}

    def has(self, word: _Word) -> bool:
        """Whether the set contains the word, possibly with another ending."""
        if word.text in self._texts:
            return True
        return not word.is_fixed and (
            word.text in self._shorter
            or any(each in self._inflected for each in _shorter(word.text))
            or any(each in self._beginnings for each in _beginnings(word.text))
        )


class _Phrase:
    """The first words of a text, and those of them that are not fillers."""

    def __init__(self, text: str) -> None:
        raw = re.findall(r"\w+", text)[:_MOST_WORDS]
        words = [_word(each, is_first=number == 0) for number, each in enumerate(raw)]
        self.words = tuple(word.text for word in words)
        self.meaning = tuple(dict.fromkeys(word for word in words if word.text not in _FILLERS))

    def is_in(self, other: "_Phrase") -> bool:
        """Whether the other phrase has all meaningful words of this one."""
        return bool(self.meaning) and all(map(other.known.has, self.meaning))

    @cached_property
    def known(self) -> _Words:
        return _Words(self.meaning)


def without_named(
    memory: StructuredMemory, update: Update, said: Sequence[str]
) -> tuple[StructuredMemory, Update]:
    """Return memory and update without the items that the update forgets or reports as done."""
    if not (update.forget or update.done):
        return memory, update
    keys = {key for name in update.forget if (key := _key_named(name)) is not None}
    names = [_Phrase(name) for name in update.forget if _key_named(name) is None]
    done = [_Phrase(name) for name in update.done]

    def named_in(known: Update) -> set[Slot]:
        phrases = _phrases_of(known)
        todos = [(slot, phrase) for slot, phrase in phrases if slot[0] == "todos"]
        found = [_named_by(name, phrases) for name in names]
        return set[Slot]().union(*found, *(_named_by(name, todos) for name in done))

    gone = named_in(memory.values) | {(part, key) for part in _KEYED for key in keys}
    repeated = named_in(update)
    spoken = _Words(word for text in said for word in _Phrase(text).meaning)

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


def _phrases_of(update: Update) -> list[tuple[Slot, _Phrase]]:
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
    return [(slot, _Phrase(text)) for slot, text in texts]


def _key_named(name: str) -> str | None:
    """Return the standard key for a name such as `name`, `my name`, `mi nombre`, `profile.name`."""
    phrase = _Phrase(name.rpartition(".")[2])
    if len(phrase.meaning) != 1:
        return None
    word = phrase.meaning[0].text
    return next((key for key, words in _KEY_WORDS.items() if word in words), None)


def _is_mentioned(item: MemoryItem, key: str, spoken: _Words) -> bool:
    """Whether a word of the item, or a word for its key, was spoken."""
    words = _KEY_WORDS.get(key, frozenset({fold(key)}))
    is_key_spoken = any(spoken.has(_Word(each, is_fixed=True)) for each in words)
    return is_key_spoken or any(map(spoken.has, _Phrase(item.value).meaning))


def _named_by(name: _Phrase, phrases: Sequence[tuple[Slot, _Phrase]]) -> set[Slot]:
    def slots(is_meant: Callable[[_Phrase], bool]) -> set[Slot]:
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


def _word(raw: str, *, is_first: bool) -> _Word:
    is_name = raw[:1].isupper() and not is_first
    is_fixed = is_name or raw[:1].isdigit() or len(raw) > _LONGEST_INFLECTED
    return _Word(fold(raw), is_fixed=is_fixed)


def _shorter(text: str) -> Iterator[str]:
    """Yield the word without its last letters, down to the shortest stem."""
    for end in range(max(_SHORTEST_STEM, len(text) - _LONGEST_ENDING), len(text)):
        yield text[:end]


def _beginnings(text: str) -> Iterator[str]:
    """Yield the beginnings that another form of the word must share."""
    for end in range(max(_SHORTEST_SHARED, math.ceil(_SAME_SHARE * len(text))), len(text) + 1):
        yield text[:end]
