"""Compares texts, such as items and messages, as sets of words by their stems."""

import math
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cached_property

from chatbot.domain.text import fold

_FILLERS = frozenset(
    """
    a about al am an and are at con de del el en es forget have he i im in is la las lo los me
    mi mis my of on or para por que se soy su sus that the to tu un una was with y ya yo you
    your
    """.split()  # noqa: SIM905 # a list has a line for each word
)
_MOST_WORDS = 80  # MAX_VALUE_CHARS has about as many
_LONGEST_INFLECTED = 40
_SHORTEST_STEM, _LONGEST_ENDING = 4, 3
_SAME_SHARE, _SHORTEST_SHARED = 0.7, 5


@dataclass(frozen=True, slots=True)
class Word:
    text: str
    is_fixed: bool
    """Names, numbers and overlong words match only exactly, not with another ending."""


class Words:
    """A set of words with look-ups by stem, in constant time for each word.

    Two words match if one of them is the other plus an ending of at most three letters, or if they
    share five or more first letters that make up 70 % of the longer one.
    """

    def __init__(self, words: Iterable[Word]) -> None:
        known = list(words)
        self._texts = {word.text for word in known}
        self._inflected = {word.text for word in known if not word.is_fixed}
        self._shorter = {each for text in self._inflected for each in _shorter(text)}
        self._beginnings = {each for text in self._inflected for each in _beginnings(text)}

    def has(self, word: Word) -> bool:
        """Whether the set contains the word, possibly with another ending."""
        if word.text in self._texts:
            return True
        return not word.is_fixed and (
            word.text in self._shorter
            or any(each in self._inflected for each in _shorter(word.text))
            or any(each in self._beginnings for each in _beginnings(word.text))
        )


class Phrase:
    """The first words of a text, and those of them that are not fillers."""

    def __init__(self, text: str) -> None:
        raw = re.findall(r"\w+", text)[:_MOST_WORDS]
        words = [_word(each, is_first=number == 0) for number, each in enumerate(raw)]
        self.words = tuple(word.text for word in words)
        self.meaning = tuple(dict.fromkeys(word for word in words if word.text not in _FILLERS))

    def is_in(self, other: "Phrase") -> bool:
        """Whether the other phrase has all meaningful words of this one."""
        return bool(self.meaning) and all(map(other.known.has, self.meaning))

    @cached_property
    def known(self) -> Words:
        return Words(self.meaning)


def _word(raw: str, *, is_first: bool) -> Word:
    is_name = raw[:1].isupper() and not is_first
    is_fixed = is_name or raw[:1].isdigit() or len(raw) > _LONGEST_INFLECTED
    return Word(fold(raw), is_fixed=is_fixed)


def _shorter(text: str) -> Iterator[str]:
    """Yield the word without its last letters, down to the shortest stem."""
    for end in range(max(_SHORTEST_STEM, len(text) - _LONGEST_ENDING), len(text)):
        yield text[:end]


def _beginnings(text: str) -> Iterator[str]:
    """Yield the beginnings that another form of the word must share."""
    for end in range(max(_SHORTEST_SHARED, math.ceil(_SAME_SHARE * len(text))), len(text) + 1):
        yield text[:end]
