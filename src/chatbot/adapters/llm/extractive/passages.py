"""Finds the sentences of document passages that answer a question."""

import math
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from pydantic import BaseModel

from chatbot.domain.plain_words import plain_words
from chatbot.domain.text import fold

_END = re.compile(r"(?<=[.!?…])\s+|\n+")
_QUANTITY = re.compile(
    r"\b(?:how (?:many|much|long|often|far)|when|what (?:time|date|price|percentage)|cuant\w+|cuando|"
    r"a que hora|que (?:dia|fecha|plazo|importe|precio|porcentaje)|hasta cuando)\b"
)
_BRACKETS = str.maketrans("[]", "()")
_STEM_CHARS, _SHORT_CHARS = 6, 3
_MOST_SENTENCES, _MOST_CHARS = 400, 400
_LEAST_WORDS = 3
_NEAR, _HEADING, _AFTER_QUESTION = 0.35, 0.6, 0.8
"""What a word counts that stands beside a sentence, above it, or in the question before it."""
_FIGURE, _NUMBER = 0.5, 2.0
"""What a figure counts in an answer to "how many", and a number in a question, such as a year."""
_LATER = 0.9
"""A passage that was found later counts less."""
_ENOUGH, _ENOUGH_AROUND, _LEAST = 0.5, 0.4, 0.25
"""Which share of a question a sentence covers, or its passage and at least the sentence."""
_ALIKE, _AS_GOOD = 0.6, 0.95
"""Which share of their words two sentences have in common, and how good the second one is."""
_CLEARLY = 1.3
"""How much better than others the best sentence is. Of the 400 questions of bench/data, which it was
chosen by, 83 of 100 are then answered, and 98 of 100 answers are right; with 1.2 it is 87 and 96.
"""


class Passage(BaseModel):
    """A passage of the prompt; `n` is its number."""

    n: int
    title: str = ""
    heading: str = ""
    text: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Quoted:
    """A sentence that answers a question, and the number of its passage."""

    n: int
    text: str

    @property
    def line(self) -> str:
        """The sentence with its mark."""
        text = self.text.translate(_BRACKETS)
        end = text[-1:] if text.endswith((".", "!", "?", "…")) else ""
        return f"{text.removesuffix(end)} [{self.n}]{end or '.'}"


@dataclass(frozen=True, slots=True, kw_only=True)
class _Sentence:
    passage: Passage
    text: str
    own: frozenset[str]
    beside: frozenset[str]
    before: frozenset[str]
    heading: frozenset[str]

    def is_like(self, other: "_Sentence") -> bool:
        """Whether most of their words are the same."""
        return len(self.own & other.own) >= _ALIKE * max(len(self.own), len(other.own))

    def weight(self, word: str) -> float:
        if word in self.own:
            return 1.0
        if word in self.before:
            return _AFTER_QUESTION
        if word in self.heading:
            return _HEADING
        return _NEAR if word in self.beside else 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class _Scored:
    """A sentence with its score. `place` is that of its passage in the order of the search."""

    sentence: _Sentence
    whole: float
    place: int

    @property
    def score(self) -> float:
        return self.whole * _LATER**self.place

    @property
    def n(self) -> int:
        return self.sentence.passage.n

    @property
    def quoted(self) -> Quoted:
        return Quoted(n=self.n, text=self.sentence.text)


def quoted(prompt: str, previous: str, passages: Sequence[Passage]) -> Sequence[Quoted]:
    """Return the best sentence, if it or its passage covers enough of the question.

    It has to be clearly better than those of other passages, except for those that are like it: they
    say the same, or contradict it, and are returned, too. `previous` is the question before: its
    words count half where the prompt has few of its own.
    """
    own = words_of(prompt)
    wanted = dict.fromkeys(own, 1.0)
    if len(wanted) < _LEAST_WORDS:
        wanted = dict.fromkeys(words_of(previous), 0.5) | wanted
    sentences = [each for passage in passages for each in _sentences(passage)][:_MOST_SENTENCES]
    if not wanted or not sentences:
        return ()
    rarity = _rarity(sentences, wanted)
    places = {passage.n: place for place, passage in enumerate(passages)}
    asks_figure = _QUANTITY.search(fold(prompt)) is not None
    scored = [
        _Scored(
            sentence=each,
            whole=_score(each, rarity, asks_figure=asks_figure),
            place=places[each.passage.n],
        )
        for each in sentences
    ]
    best = max(scored, key=lambda each: each.score)
    is_about_it = any(best.sentence.weight(word) for word in own)
    return _chosen(best, scored) if is_about_it and _is_enough(best, rarity) else ()


def _is_enough(best: _Scored, rarity: Mapping[str, float]) -> bool:
    total = sum(rarity.values())
    if best.score >= _ENOUGH * total:
        return True
    around = _coverage(best.sentence.passage, rarity)
    return around >= _ENOUGH_AROUND and best.score >= _LEAST * total


def _chosen(best: _Scored, scored: Sequence[_Scored]) -> Sequence[Quoted]:
    """The best sentence and those that are like it; nothing if another is about as good."""
    found = {best.n: best.quoted}
    for each in scored:
        if each.n == best.n:
            continue
        if best.sentence.is_like(each.sentence):
            if each.whole >= _AS_GOOD * best.whole:
                found.setdefault(each.n, each.quoted)
        elif best.score < _CLEARLY * each.score:
            return ()
    return tuple(found.values())


def _coverage(passage: Passage, rarity: Mapping[str, float]) -> float:
    """The share of the question that a passage covers as a whole."""
    words = words_of(f"{passage.title} {passage.heading} {passage.text}")
    covered = sum(weight for word, weight in rarity.items() if word in words)
    return covered / sum(rarity.values())


def words_of(text: str) -> frozenset[str]:
    """Return the stems of the words that carry meaning, in either language."""
    plain = plain_words()
    words = re.findall(r"\w+", fold(text))
    return frozenset(_stem(word) for word in words if word not in plain)


def _stem(word: str) -> str:
    if len(word) >= _STEM_CHARS:
        return word[:_STEM_CHARS]
    return word.removesuffix("s") if len(word) > _SHORT_CHARS else word


def _sentences(passage: Passage) -> Iterator[_Sentence]:
    texts = [each.strip(" \t-*•|") for each in _END.split(passage.text)]
    texts = [each for each in texts if each]
    words = [words_of(each) for each in texts]
    heading = words_of(f"{passage.title} {passage.heading}")
    for i, text in enumerate(texts):
        if len(text.split()) < _LEAST_WORDS or text.endswith("?"):
            continue
        is_answer = i > 0 and texts[i - 1].endswith("?")
        yield _Sentence(
            passage=passage,
            text=text[:_MOST_CHARS].rstrip(),
            own=words[i],
            beside=frozenset[str]().union(*words[max(0, i - 1) : i + 2]),
            before=words[i - 1] if is_answer else frozenset(),
            heading=heading,
        )


def _rarity(sentences: Iterable[_Sentence], wanted: Mapping[str, float]) -> dict[str, float]:
    """What each word of the question counts: more, the fewer sentences have it."""
    sentences = list(sentences)
    counts = Counter(word for each in sentences for word in each.own & wanted.keys())
    return {
        word: share
        * (_NUMBER if word.isdigit() else 1.0)
        * math.log(1 + (len(sentences) + 1) / (counts[word] + 0.5))
        for word, share in wanted.items()
    }


def _score(sentence: _Sentence, rarity: Mapping[str, float], *, asks_figure: bool) -> float:
    score = sum(weight * sentence.weight(word) for word, weight in rarity.items())
    has_figure = any(char.isdigit() for char in sentence.text)
    mean = sum(rarity.values()) / len(rarity)
    return score + (_FIGURE * mean if score and asks_figure and has_figure else 0.0)
