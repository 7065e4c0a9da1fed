"""Raises the scores of passages by their similarity in meaning to the question, using vectors.

The candidates by words and the passages that are closest by the signs of their vectors are compared by
the exact cosine. What is added is how far a cosine is above the mean of these candidates, in standard
deviations. A candidate without a vector, such as a message of a moment ago, gets nothing and loses nothing.
"""

import math
from collections.abc import Collection, Iterable, Sequence

from chatbot.adapters.search.scoring import DIGITS, Ranked
from chatbot.adapters.search.segments import Segment
from chatbot.adapters.search.statistics import Place
from chatbot.adapters.search.stored_index import StoredIndex
from chatbot.adapters.search.vector_pools import Codes, PassageKey
from chatbot.adapters.search.vector_snapshots import VectorSnapshot, cached_codes
from chatbot.adapters.search.vectors import Quantised
from chatbot.adapters.search.weighting import Weights

_LEAST = 1e-9
"""Smaller deviations come from rounding."""
_SHRUNK_BY = 20
"""The mean of few vectors is drawn to 0, as by so many more that have nothing in common with the question."""


class Meaning:
    """A question beside the vectors of the permitted passages."""

    def __init__(
        self,
        vectors: VectorSnapshot,
        question: Quantised,
        weights: Weights,
        *,
        without: str | None = None,
    ) -> None:
        self._vectors, self._question, self._weight = vectors, question, weights.meaning
        self._pool = vectors.pool(question.dimension)
        self._distances = self._pool.distances(question.signs, weights.candidates, without)
        self._codes: dict[int, Codes] = {}

    def places(self, segments: Sequence[Segment]) -> frozenset[Place]:
        """Returns the closest passages, as far as they are in the segments."""
        found = (_place_of(key, segments) for key in self._distances.closest)
        return frozenset(place for place in found if place is not None)

    def unread(self, ranked: Iterable[Ranked]) -> frozenset[int]:
        """Returns the chunks that have vectors of these passages and still have to be read."""
        found = (self._pool.at((each.parent, each.seq)) for each in ranked)
        chunks = {each.chunk.id for each in found if each is not None}
        self._codes = cached_codes(self._vectors.cache, chunks)
        return frozenset(chunks - self._codes.keys())

    def read(self, index: StoredIndex, chunks: frozenset[int]) -> None:
        """Read these chunks; those that were replaced meanwhile are left out."""
        self._codes |= index.vector_codes(self._vectors.scopes_of(chunks), chunks)

    def added_to(self, ranked: Sequence[Ranked]) -> Sequence[Ranked]:
        """Returns the passages in their new order, with their scores raised or lowered."""
        cosines = [self._cosine((each.parent, each.seq)) for each in ranked]
        mean, deviation = _spread([each for each in cosines if each is not None])
        raised = (
            each
            if cosine is None
            else self._added(each, cosine, self._weight * (cosine - mean) / deviation)
            for each, cosine in zip(ranked, cosines, strict=True)
        )
        return sorted(raised, key=lambda each: each.rank)

    def _added(self, ranked: Ranked, cosine: float, meaning: float) -> Ranked:
        return ranked._replace(
            score=round(ranked.score + meaning, DIGITS),
            meaning=meaning,
            likeness=self._likeness(cosine),
        )

    def _likeness(self, cosine: float) -> float:
        """Returns a cosine on a scale from the mean of all passages, 0, to the same direction, 1."""
        count = self._pool.count
        mean = self._distances.mean_cosine * count / (count + _SHRUNK_BY)
        return (cosine - mean) / (1 - mean)

    def _cosine(self, key: PassageKey) -> float | None:
        """Returns the exact cosine; about that of a vector that was replaced while it was read."""
        found = self._pool.at(key)
        if found is None:
            return None
        codes = self._codes.get(found.chunk.id)
        if codes is None:
            return self._pool.estimated_cosine((found.signs ^ self._question.signs).bit_count())
        code = codes.of(found.number, self._pool.dimension)
        return Quantised.decoded(self._pool.dimension, found.signs, code).cosine(self._question)


def _spread(cosines: Collection[float]) -> tuple[float, float]:
    """Returns the mean, and the standard deviation or 1: then all are equal."""
    if not cosines:
        return 0.0, 1.0
    mean = math.fsum(cosines) / len(cosines)
    deviation = math.sqrt(math.fsum((each - mean) ** 2 for each in cosines) / len(cosines))
    return mean, deviation if deviation > _LEAST else 1.0


def _place_of(key: PassageKey, segments: Sequence[Segment]) -> Place | None:
    parent, seq = key
    for number, segment in enumerate(segments):
        found = segment.parent_numbers.get(parent)
        if found is not None and (passage := segment.passage_at(found, seq)) is not None:
            return number << 16 | passage
    return None
