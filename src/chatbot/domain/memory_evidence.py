"""What in a person's messages supports a memory: their own statements, or text from elsewhere.

A message may hold quotations, pasted or forwarded text, questions, suppositions and what others
said. Only what the person asserts in their own words makes an item active. The patterns are in
`memory_evidence.toml`.
"""

import re
import tomllib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import IntEnum
from functools import cache, cached_property
from importlib.resources import files
from itertools import islice
from typing import Any

from chatbot.domain.chat import Message
from chatbot.domain.memory_items import plain
from chatbot.domain.person_memory import MAX_QUOTE_CHARS, ItemKind
from chatbot.domain.phrases import Phrase, Word
from chatbot.domain.text import fold

MAX_TYPED_CHARS = 1500
"""A longer message was pasted."""
_MAX_SENTENCES = 200
"""Of a message, and of all messages together the first 400: typed text has fewer."""
_MAX_WORDS = 20
_ENOUGH = 0.3
_SHORT_QUOTE_WORDS = 2
_QUOTED = re.compile(
    r"```.*?(?:```|\Z)|\"[^\"\n]*\"|«[^«»\n]*»|\u201c[^\u201c\u201d\n]*\u201d|(?m:^)[ \t]*[>|][^\n]*",
    re.DOTALL,
)
_LISTED = re.compile(r"\s*(?:a|en|to|on|from|off|de) (?:mi|mis|la|my|the)\b", re.IGNORECASE)
"""As in: put "call the bank" on my list."""
_SENTENCE = re.compile(r"(?<=[.!?…])\s+|[\n;]+\s*|(?=¿)")


class Standing(IntEnum):
    """How a text is supported by the messages, from not at all to the person's own words."""

    NOWHERE = 0
    UNASSERTED = 1
    """Only in questions, suppositions, negations, or about another person."""
    FOREIGN = 2
    """Only in text that is not the person's: quoted, pasted or reported."""
    ASSERTED = 3


@dataclass(frozen=True, slots=True)
class _Sentence:
    text: str
    standing: Standing
    phrase: Phrase


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """How messages support a text, and those that do, each with the words to quote."""

    standing: Standing
    quotes: tuple[tuple[Message, str], ...] = ()


class Evidence:
    """The sentences of messages, which are read on first use."""

    def __init__(self, messages: Sequence[Message]) -> None:
        self._messages = messages

    def of(self, kind: ItemKind, text: str) -> Finding:
        """Return how the messages support an item."""
        wanted = _wanted(text)
        shares = [
            (each, message, _share(wanted, each.phrase))
            for message, sentences in self._read
            for each in sentences
        ]
        best = dict.fromkeys(Standing, 0.0)
        for each, _, share in shares:
            found = _standing_for(each, kind, text, wanted)
            best[found] = max(best[found], share)
        standing = _decided(best)
        if standing is Standing.NOWHERE:
            return self._without_words(kind)
        least = min(best[standing], max(_ENOUGH, best[standing] / 2))
        quotes: dict[int, tuple[Message, str]] = {}
        for each, message, share in shares:
            if share >= least:
                quotes.setdefault(message.seq, (message, each.text[:MAX_QUOTE_CHARS]))
        return Finding(standing=standing, quotes=tuple(quotes.values()))

    def undoing(self, line: str) -> Finding:
        """Return whether the person undoes this item, and the messages that ask to forget it."""
        wanted, found, is_undone = _wanted(line), [], False
        for message, sentences in self._read:
            own = [each for each in sentences if each.standing is not Standing.FOREIGN]
            named = [each for each in own if _share(wanted, each.phrase) > 0]
            cues = [each for each in own if _pattern("undoing").search(fold(each.text))]
            is_undone = is_undone or bool(named or cues)
            if any(_pattern("forgetting").search(fold(each.text)) for each in (*named, *cues)):
                found.append((message, ""))
        standing = Standing.ASSERTED if is_undone else Standing.NOWHERE
        return Finding(standing=standing, quotes=tuple(found))

    @cached_property
    def _read(self) -> list[tuple[Message, list[_Sentence]]]:
        found, room = list[tuple[Message, list[_Sentence]]](), 2 * _MAX_SENTENCES
        for message in self._messages:
            sentences = list(islice(_sentences(message.content), room))
            room -= len(sentences)
            found.append((message, sentences))
        return found

    def _without_words(self, kind: ItemKind) -> Finding:
        """What a model inferred: how to answer may be, from what the person wrote."""
        everything = [each for _, sentences in self._read for each in sentences]
        is_foreign = any(each.standing is Standing.FOREIGN for each in everything)
        own = [
            (message, sentences[0].text[:MAX_QUOTE_CHARS])
            for message, sentences in self._read
            if sentences
        ]
        is_inferred = kind is ItemKind.PREFERENCE and bool(own) and not is_foreign
        standing = Standing.ASSERTED if is_inferred else Standing.NOWHERE
        quotes = own or [(message, "") for message in self._messages]
        return Finding(standing=standing, quotes=tuple(quotes))


def is_mentioned(key: str | None, text: str, message: str) -> bool:
    """Whether a message repeats an item: a line with the value of its key, or all of its words.

    A single word without a key says too little.
    """
    if key is not None:
        value = plain(text)
        return any(plain(each).endswith(f": {value}") for each in message.splitlines())
    wanted = _wanted(text)
    return len(wanted) > 1 and any(
        _share(wanted, Phrase(each)) == 1 for each in _SENTENCE.split(message)[:_MAX_SENTENCES]
    )


def _decided(best: Mapping[Standing, float]) -> Standing:
    own, foreign = best[Standing.ASSERTED], best[Standing.FOREIGN]
    if own >= _ENOUGH and own >= max(foreign, best[Standing.UNASSERTED] / 2):
        return Standing.ASSERTED
    if foreign > 0 and foreign >= best[Standing.UNASSERTED]:
        return Standing.FOREIGN
    return Standing.UNASSERTED if best[Standing.UNASSERTED] > 0 else Standing.NOWHERE


def _sentences(text: str) -> Iterator[_Sentence]:
    if len(text) > MAX_TYPED_CHARS:
        yield from _split(text, Standing.FOREIGN)
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
    yield from _split(own[:end], Standing.ASSERTED)
    yield from _split("\n".join([own[end:], *quoted]), Standing.FOREIGN)


def _foreign_from(text: str) -> int:
    """Where another text begins; its end if there is none. Folding must not move characters."""
    plain = "".join(fold(each)[:1] or each for each in text)
    starts = (found.start() for each in _patterns("foreign") if (found := each.search(plain)))
    return min(starts, default=len(text))


def _split(text: str, standing: Standing) -> Iterator[_Sentence]:
    for raw in _SENTENCE.split(text)[:_MAX_SENTENCES]:
        if sentence := raw.strip():
            if standing is Standing.FOREIGN:
                yield _Sentence(sentence, standing, Phrase(sentence))
            else:
                yield from _own(sentence)


def _own(sentence: str) -> Iterator[_Sentence]:
    plain = fold(sentence)
    if any(each.search(plain) for each in _patterns("reported")):
        yield _Sentence(sentence, Standing.FOREIGN, Phrase(sentence))
    elif any(each.search(plain) for each in _patterns("unasserted")):
        yield _Sentence(sentence, Standing.UNASSERTED, Phrase(sentence))
    elif "?" not in sentence or _pattern("requests").search(plain):
        yield _Sentence(sentence, Standing.ASSERTED, Phrase(sentence))
    elif _pattern("question").search(plain):
        yield _Sentence(sentence, Standing.UNASSERTED, Phrase(sentence))
    else:
        *stated, asked = _clauses(sentence)
        for each in stated:
            yield _Sentence(each, Standing.ASSERTED, Phrase(each))
        yield _Sentence(asked, Standing.UNASSERTED, Phrase(asked))


def _clauses(sentence: str) -> list[str]:
    parts = (part.strip() for part in _pattern("boundary").split(sentence))
    return [part for part in parts if part] or [sentence]


def _standing_for(
    sentence: _Sentence, kind: ItemKind, text: str, wanted: Sequence[Word]
) -> Standing:
    """The standing of a sentence towards one item: it may deny it, or be about somebody else.

    How to answer may also be asked for or conditional, and says what not to do.
    """
    if kind is ItemKind.PREFERENCE and sentence.standing is Standing.UNASSERTED:
        return Standing.ASSERTED
    if sentence.standing is not Standing.ASSERTED or kind is ItemKind.PREFERENCE:
        return sentence.standing
    plain = fold(sentence.text)
    if kind is ItemKind.PROFILE and _pattern("third_person").search(plain):
        return Standing.UNASSERTED
    is_denying = _pattern("negation").search(fold(text)) is None and _is_denied(plain, wanted)
    return Standing.UNASSERTED if is_denying else sentence.standing


def _is_denied(plain: str, wanted: Sequence[Word]) -> bool:
    clauses = _clauses(_pattern("not_negation").sub(" ", plain))
    best = max(clauses, key=lambda each: _share(wanted, Phrase(each)))
    return _pattern("negation").search(best) is not None


def _wanted(text: str) -> Sequence[Word]:
    """The words of an item that carry its meaning, at most 20."""
    phrase = Phrase(text)
    words = [each for each in phrase.meaning if each.text not in _subjects()]
    fillers = [Word(each, is_fixed=True) for each in phrase.words]
    return (words or phrase.meaning or fillers)[:_MAX_WORDS]


def _share(wanted: Sequence[Word], phrase: Phrase) -> float:
    shared = sum(phrase.known.has(each) or _has_filler(phrase, each) for each in wanted)
    return shared / len(wanted) if wanted else 0.0


def _has_filler(phrase: Phrase, word: Word) -> bool:
    """Whether the phrase has a word that carries no meaning elsewhere, such as the name Al."""
    return word.is_fixed and word.text in phrase.words


@cache
def _tables() -> Mapping[str, Any]:
    return tomllib.loads(files(__package__).joinpath("memory_evidence.toml").read_text("utf-8"))


@cache
def _subjects() -> frozenset[str]:
    return frozenset(_tables()["subjects"].split())


@cache
def _patterns(name: str) -> Iterable[re.Pattern[str]]:
    return tuple(re.compile(each) for each in _tables()[name])


@cache
def _pattern(name: str) -> re.Pattern[str]:
    return re.compile(_tables()[name])
