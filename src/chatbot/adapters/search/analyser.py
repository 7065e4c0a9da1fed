"""From text to terms: words are folded, stop words dropped, and the others reduced to their stems.

A term is a 64-bit key, the digest of a stem. Change `VERSION` whenever the terms of a text change:
text indexed by another version must be indexed again.
"""

import hashlib
import re
from collections.abc import Sequence
from functools import lru_cache
from unicodedata import combining, normalize

from chatbot.adapters.search.languages import DEFAULT, language_of, languages, stem

VERSION = 1
_WORD = re.compile(r"\w+")
_MAX_WORD_CHARS = 40
_DECIDING_WORDS = 400
"""The number of words that decide the language of a text."""
_REMEMBERED = 16_384
_KEY_BYTES = 8


def fold(text: str) -> str:
    """Returns the text in lower case, without accents and other marks, in compatible forms."""
    if text.isascii():
        return text.lower()
    decomposed = normalize("NFKD", text.lower())
    return "".join([char for char in decomposed if char < "\x80" or not combining(char)])


def words_of(text: str) -> list[str]:
    """Returns the folded words of a text, each cut at 40 characters, without the English `'s`."""
    plain = fold(text).replace("\u2019", "'").replace("'s ", " ")
    return [word[:_MAX_WORD_CHARS] for word in _WORD.findall(plain)]


@lru_cache(_REMEMBERED)
def term_of(language: str, word: str) -> int:
    """Returns the term of a folded word in a language."""
    digest = hashlib.blake2b(stem(language, word).encode(), digest_size=_KEY_BYTES).digest()
    return int.from_bytes(digest, "little")


def terms_of(words: Sequence[str]) -> list[int]:
    """Returns the terms of the words of a text, in their order, without its stop words."""
    language = language_of(words[:_DECIDING_WORDS], preferred=DEFAULT) or DEFAULT
    stop_words = languages()[language].stop_words
    return [term_of(language, word) for word in words if word not in stop_words]
