"""The languages that the analyser knows: their stop words, their stemmers, and which one a text is in."""

import threading
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from importlib.resources import files

import snowballstemmer

DEFAULT = "en"
"""The default language of a text without any stop word, such as a name or a part number."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Language:
    """A language of `languages.toml`."""

    stemmer: str
    stop_words: frozenset[str]


@cache
def languages() -> Mapping[str, Language]:
    """Returns all languages by their code, in the order in which equal counts are decided."""
    table = tomllib.loads(files(__package__).joinpath("languages.toml").read_text("utf-8"))
    return {
        code: Language(stemmer=row["stemmer"], stop_words=frozenset(row["stop_words"].split()))
        for code, row in table.items()
    }


@cache
def _spoken_in() -> Mapping[str, tuple[str, ...]]:
    """Returns for each stop word the languages that have it."""
    words = {word for language in languages().values() for word in language.stop_words}
    return {
        word: tuple(code for code, language in languages().items() if word in language.stop_words)
        for word in words
    }


def language_of(words: Sequence[str], *, preferred: str | None = None) -> str | None:
    """Returns the language with the most stop words among these; the preferred one if it is equal.

    Without any stop word it is the preferred one.
    """
    counts = dict.fromkeys(languages(), 0)
    spoken = _spoken_in()
    for word in words:
        for code in spoken.get(word, ()):
            counts[code] += 1
    best = max(counts, key=lambda code: (counts[code], code == preferred))
    return best if counts[best] else preferred


class _Stemmers(threading.local):
    """The stemmers of one thread: they keep the word that they work on."""

    def __init__(self) -> None:
        self._of: dict[str, snowballstemmer.stemmer] = {}

    def stem(self, language: str, word: str) -> str:
        stemmer = self._of.get(language)
        if stemmer is None:
            stemmer = self._of[language] = snowballstemmer.stemmer(languages()[language].stemmer)
        stem: str = stemmer.stemWord(word)
        return stem


_stemmers = _Stemmers()


def stem(language: str, word: str) -> str:
    """Returns the stem of a folded word."""
    return _stemmers.stem(language, word)
