"""The words of questions and documents that carry meaning, by their stems, and how alike two are."""

import re
import tomllib
from collections.abc import Mapping
from functools import cache, lru_cache
from importlib.resources import files

from chatbot.adapters.search.languages import DEFAULT, language_of, stem
from chatbot.domain.plain_words import plain_words
from chatbot.domain.text import fold

_WORD = re.compile(r"\w+")
_FILLER = re.compile("['\u2019]s\\b|\\bhac\\w+ falta\\b", re.IGNORECASE)
_APOSTROPHES = str.maketrans("", "", "'\u2019")
_DECIDING_CHARS = 2000
_REMEMBERED = 16_384
_LEAST_PREFIX = 5
_LONGER, _SYNONYM = 0.8, 0.7
"""How alike a stem and a longer one are, or two that mean the same."""


@cache
def table() -> Mapping[str, Mapping[str, str]]:
    """Return the words and patterns of `questions.toml`."""
    return tomllib.loads(files(__package__).joinpath("questions.toml").read_text("utf-8"))


def one_word(text: str) -> str:
    """Return the text with English contractions as one word, without `'s` and `hace falta`."""
    return _FILLER.sub("", text).translate(_APOSTROPHES)


def words_in(text: str) -> list[str]:
    """Return the folded words that carry meaning, and abbreviations such as `IT` as they are."""
    plain = plain_words()
    found = []
    for written in _WORD.findall(one_word(text)):
        word = _folded(written)
        if word not in plain:
            found.append(word)
        elif len(written) > 1 and written.isupper() and not text.isupper():
            found.append(written)
    return found


@lru_cache(_REMEMBERED)
def _folded(word: str) -> str:
    return fold(word)


def language_in(text: str, *, preferred: str = DEFAULT) -> str:
    """Return the language of a text, by its frequent words."""
    words = _WORD.findall(fold(text[:_DECIDING_CHARS]))
    return language_of(words, preferred=preferred) or preferred


@lru_cache(_REMEMBERED)
def stem_of(language: str, word: str) -> str:
    """Return the stem of a word of `words_in`."""
    return stem(language, word)


def stems_in(language: str, text: str) -> tuple[str, ...]:
    """Return the stems of the words that carry meaning."""
    return tuple(stem_of(language, word) for word in words_in(text))


def likeness(language: str, wanted: str, found: str) -> float:
    """Return how far two stems mean the same: 1 if they are equal, 0 if not at all."""
    if wanted == found:
        return 1.0
    if len(wanted) >= _LEAST_PREFIX <= len(found) and (
        wanted.startswith(found) or found.startswith(wanted)
    ):
        return _LONGER
    group = _synonyms(language).get(wanted)
    return _SYNONYM if group and found in group else 0.0


@cache
def _synonyms(language: str) -> Mapping[str, frozenset[str]]:
    rows = [row.split() for row in table()["synonyms"].get(language, "").split("|")]
    groups = [frozenset(stem_of(language, word) for word in row) for row in rows]
    return {stem: group for group in groups for stem in group}
