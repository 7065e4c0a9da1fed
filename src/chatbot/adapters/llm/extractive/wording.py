"""Normalises a sentence for matching, and maps matches back to the written text."""

import re
import unicodedata
from collections.abc import Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from functools import lru_cache

from chatbot.domain.text import fold

MAX_CHARS = 600  # of a sentence: longer ones state nothing about a person

_TOKEN = re.compile(r"[^\W_]+(?:['\u2019][^\W_]+)*|\s+|.", re.DOTALL)
_KEPT = frozenset(",.:;!?()/&+-")
_IGNORED = frozenset("¿¡\"'*_`\u2019\u200d\ufe0f")
_BREAK = ","  # what stands for emoji, dashes and other signs
_FUZZY_CHARS = 5  # shorter words have too many neighbours
_ALIKE = 0.8


@dataclass(frozen=True, slots=True, kw_only=True)
class Spelling:
    """Common misspellings of a language; looked up with and without accents."""

    words: Mapping[str, str]
    endings: Mapping[str, str]
    fuzzy: tuple[str, ...]
    vocabulary: frozenset[str]


@dataclass(frozen=True, slots=True, kw_only=True)
class Wording:
    """A sentence as written and normalised, with the origin of each normalised character."""

    written: str
    plain: str
    starts: tuple[int, ...]
    ends: tuple[int, ...]

    def source(self, start: int, end: int) -> str:
        """The written text behind `plain[start:end]`."""
        if start >= end:
            return ""
        return self.written[self.starts[start] : self.ends[end - 1]]


def wording(written: str, spelling: Spelling) -> Wording:
    """Normalise a sentence: lower case, no accents, misspellings replaced."""
    written = unicodedata.normalize("NFC", written[:MAX_CHARS])
    plain: list[str] = []
    starts: list[int] = []
    ends: list[int] = []
    for found in _TOKEN.finditer(written):
        text = _plain(found[0], spelling)
        same_length = len(text) == len(found[0])
        if same_length and text.isalnum():
            plain += text
            starts += range(found.start(), found.end())
            ends += range(found.start() + 1, found.end() + 1)
            continue
        for index, char in enumerate(text):
            if char == " " and (not plain or plain[-1] == " "):
                continue
            if char == _BREAK and plain[-1:] == [_BREAK]:
                continue
            if char == _BREAK and plain and plain[-1] == " " and not found[0].isalnum():
                plain.pop()
                starts.pop()
                ends.pop()
            plain.append(char)
            starts.append(found.start() + index if same_length else found.start())
            ends.append(found.start() + index + 1 if same_length else found.end())
    return Wording(written=written, plain="".join(plain), starts=tuple(starts), ends=tuple(ends))


def _plain(written: str, spelling: Spelling) -> str:
    if written.isspace():
        return " "
    if len(written) == 1 and not written.isalnum():
        return written if written in _KEPT else "" if written in _IGNORED else _BREAK
    return _plain_word(written.replace("\u2019", "'").casefold(), spelling)


def _plain_word(word: str, spelling: Spelling) -> str:
    if word in spelling.words:
        return spelling.words[word]
    for ending, replacement in spelling.endings.items():
        if len(word) > len(ending) + 2 and word.endswith(ending):
            word = word.removesuffix(ending) + replacement
    folded = word if word.isascii() else fold(word)
    if folded in spelling.words:
        return spelling.words[folded]
    return folded if folded in spelling.vocabulary else meant(folded, spelling.fuzzy)


@lru_cache(maxsize=1024)
def meant(word: str, known: tuple[str, ...]) -> str:
    """The known word of which this is a misspelling, else the word itself.

    The first letter and the last two must be right: endings distinguish persons and tenses.
    """
    alike = (each for each in known if each[0] == word[0] and each[-2:] == word[-2:])
    close = get_close_matches(word, alike, n=1, cutoff=_ALIKE) if len(word) >= _FUZZY_CHARS else []
    return close[0] if close else word
