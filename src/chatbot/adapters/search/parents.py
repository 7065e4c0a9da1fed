"""Scores how well a whole session or document matches a question."""

from collections.abc import Iterable, Iterator, Sequence

from chatbot.adapters.search.segments import Segment
from chatbot.adapters.search.statistics import Place, Statistics, length_at
from chatbot.adapters.search.weighting import Weights, Word, rarity


class ParentScores:
    """BM25 of the parents of passages, each computed once."""

    def __init__(
        self,
        words: Sequence[Word],
        segments: Sequence[Segment],
        statistics: Statistics,
        weights: Weights,
    ) -> None:
        self._segments, self._statistics, self._weights = segments, statistics, weights
        self._words = [
            (word, rarity(statistics.parents, word.parents - self._counted_again(word)))
            for word in words
        ]
        self._scores: dict[Place, float] = {}

    def of(self, parent: Place) -> float:
        score = self._scores.get(parent)
        if score is None:
            score = self._scores[parent] = self._score(self._statistics.places_of(parent))
        return score

    def with_places(self, places: Iterable[Place]) -> Iterator[tuple[Place, list[Place]]]:
        """Yields the parents of passages, each with those of them that are in one segment."""
        parent, found, end = 0, list[Place](), 0
        for place in sorted(places):
            if place >= end:
                if found:
                    yield parent, found
                segment, first = self._segments[place >> 16], place >> 16 << 16
                number = segment.parent_of(place & 0xFFFF)
                parent, found, end = first | number, [], first + segment.starts[number + 1]
            found.append(place)
        if found:
            yield parent, found

    def _score(self, places: tuple[Place, ...]) -> float:
        length = sum(length_at(self._segments, place) for place in places)
        k1, b = self._weights.parent_k1, self._weights.parent_b
        norm = k1 * (1 - b + b * length / self._statistics.mean_parent_length)
        spans = [(place >> 16, *self._span(place)) for place in places]
        score = 0.0
        for word, idf in self._words:
            count, postings_in = 0, word.postings.get
            for number, start, end in spans:
                if (postings := postings_in(number)) is not None:
                    count += postings.count_in(start, end)
            if count:
                score += idf * (k1 + 1) * count / (count + norm)
        return score

    def _counted_again(self, word: Word) -> int:
        """Returns how often the word's parents have been counted more than once."""
        spread = self._statistics.spread_parents
        counts = [sum(bool(self._count(word, place)) for place in places) for places in spread]
        return sum(count - 1 for count in counts if count)

    def _count(self, word: Word, parent: Place) -> int:
        """Returns how often the word is in the parent's passages in one place."""
        postings = word.postings.get(parent >> 16)
        if postings is None:
            return 0
        return postings.count_in(*self._span(parent))

    def _span(self, parent: Place) -> tuple[int, int]:
        """Returns where the parent's passages begin and end in its segment."""
        starts, number = self._segments[parent >> 16].starts, parent & 0xFFFF
        return starts[number], starts[number + 1]
