"""What to search for in a turn, and which of the hits are relevant enough for its prompt."""

import re
import tomllib
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cache
from importlib.resources import files

from chatbot.domain.plain_words import plain_words
from chatbot.domain.search import Hit
from chatbot.domain.text import fold

_WORD = re.compile(r"\w+")
_MOST_CHARS = 2000
_FEW_WORDS = 1
"""A question with no more significant words may be a follow-up to the previous one."""
_LAST_WORDS = 3
_QUESTIONS_BEFORE = 3
_PASSAGES_OF_BEST, _MESSAGES_OF_BEST = 0.45, 0.6
"""Hits with a smaller share of the best score are left out."""
_PART = 0.3
"""The share of the significant words that a hit must contain; a message counts with its neighbours."""
_LIKENESS = 0.35
"""A hit that is so similar in meaning needs none of the words; 0 is the average of all passages."""
_PASSAGES_MEANING, _MESSAGES_MEANING = 2.0, 1.0
"""What the meaning must add to its score then: one standard deviation above the other candidates."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Query:
    """What to search for. `words` are the significant ones, folded."""

    text: str
    words: frozenset[str]
    is_with_previous: bool = False

    def relevant_passages(self, hits: Sequence[Hit]) -> Iterator[Hit]:
        """Yield the hits in documents that are relevant enough."""
        return self._relevant(hits, _PASSAGES_OF_BEST, _PASSAGES_MEANING)

    def relevant_messages(self, hits: Sequence[Hit]) -> Iterator[Hit]:
        """Yield the messages that are relevant enough."""
        return self._relevant(hits, _MESSAGES_OF_BEST, _MESSAGES_MEANING)

    def _relevant(self, hits: Sequence[Hit], of_best: float, meaning: float) -> Iterator[Hit]:
        least = max(1, round(_PART * len(self.words)))
        for hit in hits:
            shared = sum(word in self.words for word in hit.why.words)
            is_worded = shared >= least and hit.score >= of_best * hits[0].score
            if is_worded or _is_meant(hit, meaning if len(hits) > 1 else 0.0):
                yield hit


def _is_meant(hit: Hit, meaning: float) -> bool:
    return hit.why.likeness >= _LIKENESS and hit.why.meaning >= meaning


def queries_for(prompt: str, before: Sequence[str]) -> Sequence[Query]:
    """Return what to search for: usually the prompt.

    A follow-up, such as "and for managers?", is searched together with the previous question; a
    short question, which may be one, both ways. `before` are the person's earlier messages, newest
    first. Nothing is searched for without a significant word.
    """
    alone, kind = _query(prompt), _kind_of(prompt)
    earlier = [*_questions_before(before)]
    together = replace(_query("\n".join([prompt, *earlier])), is_with_previous=bool(earlier))
    if kind == "follow-up":
        found = [together]
    elif kind == "short" and earlier:
        found = [alone, together]
    else:
        found = [alone]
    return [query for query in found if query.words]


def _questions_before(before: Sequence[str]) -> Iterator[str]:
    """Yield the previous messages up to one that is not a follow-up."""
    for text in before[:_QUESTIONS_BEFORE]:
        yield text
        if _kind_of(text) != "follow-up":
            return


def _query(text: str) -> Query:
    plain = plain_words()
    words = (word for word in _words(text) if word not in plain)
    return Query(text=text, words=frozenset(words))


def _kind_of(prompt: str) -> str:
    words, table = _words(prompt), _table()
    counting = [word for word in words if word not in plain_words()]
    start = " ".join(words[:4]) + " "
    if words and (words[0] in table.openers or start.startswith(table.phrases)):
        return "follow-up"
    points_back = not table.pronouns.isdisjoint(words[-_LAST_WORDS:])
    if not counting or (points_back and len(counting) <= 2 * _FEW_WORDS):
        return "follow-up"
    return "short" if len(counting) <= _FEW_WORDS else "whole"


def excerpt(text: str, words: Collection[str], most_chars: int) -> str:
    """Return a text; of a long one, the part that begins with the best matching sentence."""
    if len(text) <= most_chars:
        return text
    starts = [0, *(found.end() for found in re.finditer(r"[.!?…]\s+|\n+", text[:20_000]))]
    wanted = frozenset(words)

    def shared(at: int) -> tuple[int, int]:
        return len(wanted.intersection(_words(text[at : at + most_chars]))), at

    best = max(starts, key=shared)
    part = text[best : best + most_chars].rsplit(maxsplit=1)[0]
    return f"{'… ' if best else ''}{part} …"


def _words(text: str) -> list[str]:
    """The words of a text, folded, without greetings."""
    words = " ".join(_WORD.findall(fold(text[:_MOST_CHARS])))
    return _table().greetings.sub("", words).split()


@dataclass(frozen=True, slots=True, kw_only=True)
class _Table:
    openers: frozenset[str]
    phrases: tuple[str, ...]
    pronouns: frozenset[str]
    greetings: re.Pattern[str]


@cache
def _table() -> _Table:
    raw = tomllib.loads(files(__package__).joinpath("relevance.toml").read_text("utf-8"))
    phrases = (each.strip() + " " for each in raw["opening_phrases"].strip().split("|"))
    return _Table(
        openers=frozenset(raw["openers"].split()),
        phrases=tuple(phrases),
        pronouns=frozenset(raw["pronouns"].split()),
        greetings=re.compile(rf"\b(?:{raw['greetings'].strip()})\b"),
    )
