"""The sentences of a message: the person's own statements, or text from other sources.

A message may contain quotations, pasted or forwarded text, questions, suppositions and what others
said. The patterns are in `memory_evidence.toml`.
"""

import re
import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from enum import IntEnum
from functools import cache
from importlib.resources import files
from typing import Any

from chatbot.domain.phrases import Phrase
from chatbot.domain.text import fold

MAX_TYPED_CHARS = 1500
"""A longer message counts as pasted."""
MAX_SENTENCES = 200
"""The maximum per message; of all messages together, the first 400. Typed text has fewer."""
_SHORT_QUOTE_WORDS = 2
_LONGEST_ANNOUNCEMENT, _LITTLE = 300, 40
_QUOTED = re.compile(
    r"```.*?(?:```|\Z)|\"[^\"\n]*\"|«[^«»\n]*»|\u201c[^\u201c\u201d\n]*\u201d|`[^`\n]+`"
    r"|\u2018[^\u2018\u2019\n]{3,}\u2019(?!\w)|(?<!\w)'[^'\n]{3,}'(?!\w)|(?m:^)[ \t]*[>|][^\n]*",
    re.DOTALL,
)
_LISTED = re.compile(r"\s*(?:a|en|to|on|from|off|de) (?:mi|mis|la|my|the)\b", re.IGNORECASE)
"""As in: put "call the bank" on my list."""
SENTENCE_END = re.compile(r"(?<=[.!?…])\s+|[\n;]+\s*|(?=¿)")


class Support(IntEnum):
    """How a text is supported by the messages, from not at all to the person's own words."""

    NOWHERE = 0
    UNASSERTED = 1
    """Only in questions, suppositions, negations, or about another person."""
    FOREIGN = 2
    """Only in text that is not the person's: quoted, pasted or reported."""
    ASSERTED = 3


@dataclass(frozen=True, slots=True)
class Sentence:
    text: str
    support: Support
    phrase: Phrase


def sentences_of(text: str) -> Iterator[Sentence]:
    if len(text) > MAX_TYPED_CHARS:
        yield from _split(text, Support.FOREIGN)
        return
    quoted: list[str] = []

    def taken(found: re.Match[str]) -> str:
        words = found[0].strip('"«»\u201c\u201d')
        is_short = len(words.split()) <= _SHORT_QUOTE_WORDS
        if found[0][0] in '"«\u201c' and (is_short or _LISTED.match(text, found.end())):
            return words
        quoted.append(found[0])
        return " "

    own = _QUOTED.sub(taken, text)
    end = _foreign_from(own)
    yield from _split(own[:end], Support.ASSERTED)
    yield from _split("\n".join([own[end:], *quoted]), Support.FOREIGN)


def _foreign_from(text: str) -> int:
    """Return where pasted text begins; the end if there is none."""
    plain = _folded(text)
    starts = (found.start() for each in patterns("foreign") if (found := each.search(plain)))
    return min(starts, default=len(text))


def _folded(text: str) -> str:
    """Return the text folded, with each character in its place."""
    return "".join(fold(each)[:1] or each for each in text)


def announces(text: str) -> bool:
    """Whether a message asks for work on another text or announces one, with little after that."""
    if len(text) > _LONGEST_ANNOUNCEMENT:
        return False
    plain = _folded(text)
    ends = [found.end() for each in patterns("foreign") for found in each.finditer(plain)]
    return bool(ends) and len(plain) - max(ends) < _LITTLE


def _split(text: str, support: Support) -> Iterator[Sentence]:
    for raw in SENTENCE_END.split(text)[:MAX_SENTENCES]:
        if sentence := raw.strip():
            if support is Support.FOREIGN:
                yield Sentence(sentence, support, Phrase(sentence))
            else:
                yield from _own(sentence)


def _own(sentence: str) -> Iterator[Sentence]:
    plain = fold(sentence)
    if any(each.search(plain) for each in patterns("reported")):
        yield Sentence(sentence, Support.FOREIGN, Phrase(sentence))
    elif any(each.search(plain) for each in patterns("unasserted")):
        yield Sentence(sentence, Support.UNASSERTED, Phrase(sentence))
    elif "?" not in sentence or pattern("requests").search(plain):
        yield Sentence(sentence, Support.ASSERTED, Phrase(sentence))
    elif pattern("question").search(plain):
        yield Sentence(sentence, Support.UNASSERTED, Phrase(sentence))
    else:
        *stated, asked = clauses_of(sentence)
        for each in stated:
            yield Sentence(each, Support.ASSERTED, Phrase(each))
        yield Sentence(asked, Support.UNASSERTED, Phrase(asked))


def clauses_of(sentence: str) -> list[str]:
    parts = (part.strip() for part in pattern("boundary").split(sentence))
    return [part for part in parts if part] or [sentence]


@cache
def _tables() -> Mapping[str, Any]:
    return tomllib.loads(files(__package__).joinpath("memory_evidence.toml").read_text("utf-8"))


@cache
def subjects() -> frozenset[str]:
    return frozenset(_tables()["subjects"].split())


@cache
def patterns(name: str) -> tuple[re.Pattern[str], ...]:
    return tuple(re.compile(each) for each in _tables()[name])


@cache
def pattern(name: str) -> re.Pattern[str]:
    return re.compile(_tables()[name])
