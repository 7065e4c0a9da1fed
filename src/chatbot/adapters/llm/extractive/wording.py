"""A sentence in the plain form that patterns match, and the way back to what was written."""

import re
import unicodedata
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from chatbot.domain.text import fold

MAX_CHARS = 600  # of a sentence: nobody states anything about themselves at greater length

_TOKEN = re.compile(r"[^\W_]+(?:['\u2019][^\W_]+)*|\s+|.", re.DOTALL)
_KEPT = frozenset(",.:;!?()/&+-")
_IGNORED = frozenset("¿¡\"'*_`\u2019\u200d\ufe0f")
_BREAK = ","  # what stands for emoji, dashes and other signs
_FUZZY_CHARS = 5  # shorter words have too many neighbours


@dataclass(frozen=True, slots=True, kw_only=True)
class Spelling:
    """How a language is written in haste. Words with accents are looked up before accents go."""

    words: Mapping[str, str]
    endings: Mapping[str, str]
    fuzzy: Sequence[str]
    vocabulary: frozenset[str]


@dataclass(frozen=True, slots=True, kw_only=True)
class Wording:
    """A sentence as it was written and in plain form, with the origin of each plain character."""

    written: str
    plain: str
    starts: tuple[int, ...]
    ends: tuple[int, ...]

    def source(self, start: int, end: int) -> str:
        """What was written where the plain text reads `plain[start:end]`."""
        if start >= end:
            return ""
        return self.written[self.starts[start] : self.ends[end - 1]]


def wording(written: str, spelling: Spelling) -> Wording:
    """Bring a sentence into plain form: lower case, no accents, spellings replaced."""
    written = unicodedata.normalize("NFC", written[:MAX_CHARS])
    plain: list[str] = []
    starts: list[int] = []
    ends: list[int] = []
    for found in _TOKEN.finditer(written):
        text = _plain(found[0], spelling)
        same_length = len(text) == len(found[0])
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


def meant(word: str, known: Sequence[str]) -> str:
    """The known word that this is but for one slip of the finger, else the word itself.

    The first letter and the last two are right, since endings tell persons and tenses apart; two
    letters are swapped, or one is missing, superfluous or wrong.
    """
    if len(word) < _FUZZY_CHARS or word in known:
        return word
    alike = (
        each
        for each in known
        if each[0] == word[0] and each[-2:] == word[-2:] and abs(len(each) - len(word)) <= 1
    )
    return next((each for each in alike if _is_one_slip(word, each)), word)


def _is_one_slip(word: str, other: str) -> bool:
    start = next((i for i, (a, b) in enumerate(zip(word, other, strict=False)) if a != b), None)
    if start is None:
        return len(word) != len(other)
    rest, wanted = word[start:], other[start:]
    swapped = rest[1:2] + rest[:1] + rest[2:] == wanted
    return swapped or rest[1:] == wanted or rest == wanted[1:] or rest[1:] == wanted[1:]
