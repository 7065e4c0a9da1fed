"""Evidence for memory in a person's messages: their own statements, or text from other sources.

A message may contain quotations, pasted or forwarded text, questions, suppositions and what others
said. Only the person's own statements make an item active: see `memory_sentences`.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import islice

from chatbot.domain.chat import Message
from chatbot.domain.memory_items import plain
from chatbot.domain.memory_sentences import (
    MAX_SENTENCES,
    SENTENCE_END,
    Sentence,
    Support,
    announces,
    clauses_of,
    pattern,
    sentences_of,
    subjects,
)
from chatbot.domain.person_memory import MAX_QUOTE_CHARS, ItemKind
from chatbot.domain.phrases import Phrase, Word
from chatbot.domain.text import fold

_ENOUGH = 0.3
_MAX_WORDS = 20
_FEW_WORDS = re.compile(r"[^\W\d_]+(?:[ -][^\W\d_]+){0,2}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """How messages support a text, and the supporting messages, each with the words to quote."""

    support: Support
    quotes: tuple[tuple[Message, str], ...] = ()


class Evidence:
    """The sentences of messages, which are read on first use.

    A message after one that announces a text, such as "Here is the letter", is that text. `before`
    is the message before the first one.
    """

    def __init__(self, messages: Sequence[Message], *, before: str = "") -> None:
        self._messages, self._before = messages, before

    def of(self, kind: ItemKind, text: str) -> Finding:
        """Return how the messages support an item."""
        wanted = _wanted(text)
        shares = [
            (each, message, _share(wanted, each.phrase))
            for message, sentences in self._attributed
            for each in sentences
        ]
        best = dict.fromkeys(Support, 0.0)
        for each, _, share in shares:
            found = _standing_for(each, kind, text, wanted)
            best[found] = max(best[found], share)
        support = _decided(best)
        if support is Support.NOWHERE:
            return self._without_words(kind, text)
        least = min(best[support], max(_ENOUGH, best[support] / 2))
        quotes: dict[int, tuple[Message, str]] = {}
        for each, message, share in shares:
            if share >= least:
                quotes.setdefault(message.seq, (message, each.text[:MAX_QUOTE_CHARS]))
        return Finding(support=support, quotes=tuple(quotes.values()))

    def undoing(self, line: str) -> Finding:
        """Return whether the person revokes this item, and the messages that ask to forget it."""
        wanted, found, is_undone = _wanted(line), [], False
        for message, sentences in self._read:
            own = [each for each in sentences if each.support is not Support.FOREIGN]
            named = [each for each in own if _share(wanted, each.phrase) > 0]
            cues = [each for each in own if pattern("undoing").search(fold(each.text))]
            is_undone = is_undone or bool(named or cues)
            if any(pattern("forgetting").search(fold(each.text)) for each in (*named, *cues)):
                found.append((message, ""))
        support = Support.ASSERTED if is_undone else Support.NOWHERE
        return Finding(support=support, quotes=tuple(found))

    @cached_property
    def _read(self) -> list[tuple[Message, list[Sentence]]]:
        found, room = list[tuple[Message, list[Sentence]]](), 2 * MAX_SENTENCES
        for message in self._messages:
            sentences = list(islice(sentences_of(message.content), room))
            room -= len(sentences)
            found.append((message, sentences))
        return found

    @cached_property
    def _attributed(self) -> list[tuple[Message, list[Sentence]]]:
        """The sentences, those of announced texts as foreign."""
        before = [self._before, *(message.content for message in self._messages)]
        return [
            (message, [replace(each, support=Support.FOREIGN) for each in sentences])
            if announces(said)
            else (message, sentences)
            for said, (message, sentences) in zip(before, self._read, strict=False)
        ]

    def _without_words(self, kind: ItemKind, text: str) -> Finding:
        """What a model inferred: how to answer may be, in a few words, from what the person wrote."""
        everything = [each for _, sentences in self._attributed for each in sentences]
        is_foreign = any(each.support is Support.FOREIGN for each in everything)
        own = [
            (message, sentences[0].text[:MAX_QUOTE_CHARS])
            for message, sentences in self._read
            if sentences
        ]
        is_plain = _FEW_WORDS.fullmatch(text) is not None
        is_inferred = kind is ItemKind.PREFERENCE and is_plain and bool(own) and not is_foreign
        support = Support.ASSERTED if is_inferred else Support.NOWHERE
        quotes = own or [(message, "") for message in self._messages]
        return Finding(support=support, quotes=tuple(quotes))


def is_mentioned(key: str | None, text: str, message: str) -> bool:
    """Whether a message repeats an item: a line with the value of its key, or all of its words.

    A single word without a key says too little.
    """
    if key is not None:
        value = plain(text)
        return any(plain(each).endswith(f": {value}") for each in message.splitlines())
    wanted = _wanted(text)
    return len(wanted) > 1 and any(
        _share(wanted, Phrase(each)) == 1 for each in SENTENCE_END.split(message)[:MAX_SENTENCES]
    )


def _decided(best: Mapping[Support, float]) -> Support:
    own, foreign = best[Support.ASSERTED], best[Support.FOREIGN]
    if own >= _ENOUGH and own >= max(foreign, best[Support.UNASSERTED] / 2):
        return Support.ASSERTED
    if foreign > 0 and foreign >= best[Support.UNASSERTED]:
        return Support.FOREIGN
    return Support.UNASSERTED if best[Support.UNASSERTED] > 0 else Support.NOWHERE


def _standing_for(sentence: Sentence, kind: ItemKind, text: str, wanted: Sequence[Word]) -> Support:
    """Return how a sentence supports one item: it may deny it, or be about another person.

    Preferences about answers may also be requests, conditional, or negative.
    """
    if kind is ItemKind.PREFERENCE and sentence.support is Support.UNASSERTED:
        return Support.ASSERTED
    if sentence.support is not Support.ASSERTED or kind is ItemKind.PREFERENCE:
        return sentence.support
    plain = fold(sentence.text)
    if kind is ItemKind.PROFILE and pattern("third_person").search(plain):
        return Support.UNASSERTED
    is_denying = pattern("negation").search(fold(text)) is None and _is_denied(plain, wanted)
    return Support.UNASSERTED if is_denying else sentence.support


def _is_denied(plain: str, wanted: Sequence[Word]) -> bool:
    clauses = clauses_of(pattern("not_negation").sub(" ", plain))
    best = max(clauses, key=lambda each: _share(wanted, Phrase(each)))
    return pattern("negation").search(best) is not None


def _wanted(text: str) -> Sequence[Word]:
    """Return the meaningful words of an item, at most 20."""
    phrase = Phrase(text)
    words = [each for each in phrase.meaning if each.text not in subjects()]
    fillers = [Word(each, is_fixed=True) for each in phrase.words]
    return (words or phrase.meaning or fillers)[:_MAX_WORDS]


def _share(wanted: Sequence[Word], phrase: Phrase) -> float:
    shared = sum(phrase.known.has(each) or _has_filler(phrase, each) for each in wanted)
    return shared / len(wanted) if wanted else 0.0


def _has_filler(phrase: Phrase, word: Word) -> bool:
    """Whether the phrase contains a word that elsewhere has no meaning, such as the name Al."""
    return word.is_fixed and word.text in phrase.words
