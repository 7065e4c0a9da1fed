"""Weights the words of a question in a passage: BM25, with the parameters of each kind of search."""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from chatbot.adapters.search.questions import Question
from chatbot.adapters.search.segments import Postings, Segment
from chatbot.adapters.search.statistics import Statistics


@dataclass(frozen=True, slots=True, kw_only=True)
class Weights:
    """The numbers of one kind of search, chosen by measuring (bench/bench_search.py)."""

    k1: float = 0.9
    b: float = 0.9
    near: tuple[float, ...] = ()
    """The share of a word's weight in neighbouring passages, by distance."""
    parent: float = 0.0
    parent_k1: float = 1.2
    parent_b: float = 0.7
    speaker: float = 0.0
    question: float = 0.0
    length: float = 0.0
    longest: int = 40
    candidates: int = 40
    exact: float = 0.0
    pairs: float = 0.0
    meaning: float = 0.0


MESSAGES = Weights(
    near=(0.6, 0.35, 0.2),
    parent=0.5,
    speaker=2.0,
    question=-0.5,
    length=0.4,
    candidates=60,
    meaning=1.0,
)
DOCUMENTS = Weights(parent=0.3, exact=0.3, pairs=0.2, meaning=2.0)


@dataclass(frozen=True, slots=True, kw_only=True)
class Formula:
    """BM25 with its constants: a term with `count` in a passage counts `count / (count + norm)`."""

    k1: float
    base: float
    slope: float

    def weight(self, most: float, count: int, length: int) -> float:
        return most * count / (count + self.base + self.slope * length)


def formula_of(weights: Weights, statistics: Statistics) -> Formula:
    return Formula(
        k1=weights.k1,
        base=weights.k1 * (1 - weights.b),
        slope=weights.k1 * weights.b / statistics.mean_length,
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Word:
    """A word of the question that is in some passage, with its postings by the segment's number."""

    surface: str
    idf: float
    most: float
    """An upper bound of its weight in any passage."""
    postings: Mapping[int, Postings]

    @property
    def parents(self) -> int:
        """The number of parents with it; one that is spread over segments counts in each."""
        return sum(each.parents for each in self.postings.values())


def words_found(
    question: Question,
    segments: Sequence[Segment],
    *,
    passages: int,
    k1: float,
    without: frozenset[str],
) -> Sequence[Word]:
    """Returns the words that are in some passage, in the order of the question."""
    found = []
    for surface, terms in question.terms.items():
        if surface in without:
            continue
        all_postings = ((n, segment.postings(terms)) for n, segment in enumerate(segments))
        postings = {number: each for number, each in all_postings if each is not None}
        if postings:
            idf = rarity(passages, sum(len(each.passages) for each in postings.values()))
            word = Word(surface=surface, idf=idf, most=idf * (k1 + 1), postings=postings)
            found.append(word)
    return found


def rarity(total: int, having: int) -> float:
    """Returns the inverse document frequency."""
    return math.log(1 + (total - having + 0.5) / (having + 0.5))


def names_in(speakers: Iterable[str]) -> frozenset[str]:
    return frozenset(word for speaker in speakers for word in speaker.split())
