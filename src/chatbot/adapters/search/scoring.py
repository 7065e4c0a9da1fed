"""Ranks the passages of some segments for a question, and says what each score is made of."""

import heapq
import math
from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

from chatbot.adapters.search.candidates import best_places, by_segment, identity, weights_at
from chatbot.adapters.search.neighbours import Neighbours
from chatbot.adapters.search.parents import ParentScores
from chatbot.adapters.search.questions import Question
from chatbot.adapters.search.records import IS_QUESTION
from chatbot.adapters.search.segments import Segment
from chatbot.adapters.search.snapshots import Opened
from chatbot.adapters.search.statistics import Place
from chatbot.adapters.search.weighting import (
    Weights,
    formula_of,
    names_in,
    words_found,
)
from chatbot.domain.search import Hit, Reason

DIGITS = 9
"""Scores are rounded, so that the order of additions cannot decide on the order of passages."""
_SHOWN_DIGITS = 3


def in_order(hits: Iterable[Hit], limit: int) -> list[Hit]:
    """Returns the best hits in the order of their rank."""
    return heapq.nsmallest(limit, hits, key=lambda hit: (-hit.score, hit.parent, hit.seq))


class _Scored(NamedTuple):
    """A candidate. `words` have their weight and the offset of the passage in which it is that high."""

    score: float
    place: Place
    words: list[tuple[str, float, int]]
    parent: float
    speaker: float
    prior: float


class Ranking:
    """One question to some segments, which hold at least one term."""

    def __init__(self, opened: Opened, question: Question, weights: Weights) -> None:
        self._segments, self._weights = opened.segments, weights
        self._statistics = opened.statistics
        self._speakers: frozenset[str] = frozenset()
        self._role = 0
        if weights.speaker:
            labels = frozenset[str]().union(*(segment.speakers for segment in self._segments))
            self._speakers = question.speakers_among(labels)
            self._role = 0 if self._speakers else question.asked_role
        self._formula = formula_of(weights, self._statistics)
        self._words = words_found(
            question,
            self._segments,
            passages=self._statistics.passages,
            k1=weights.k1,
            without=names_in(self._speakers),
        )
        self._parents = ParentScores(self._words, self._segments, self._statistics, weights)

    def hits(self, limit: int, without: str | None = None) -> Sequence[Hit]:
        """Returns the best passages in order: all that texts may still raise, or so many.

        Those of the parent `without` are left out; in the statistics they count.
        """
        places = best_places(
            self._words,
            self._segments,
            wanted=max(self._weights.candidates, 3 * limit),
            formula=self._formula,
            excluded=self._places_of(without),
        )
        neighbours = Neighbours(self._segments, self._statistics)
        reach = len(self._weights.near)
        if reach:
            places = neighbours.with_closest(places)
        windows = {place: [(0, place), *neighbours.around(place, reach)] for place in places}
        weights = self._weights_in(windows.values())
        scored = [
            each
            for place, window in windows.items()
            if (each := self._scored(place, window, weights)) is not None
        ]
        texts_may_add = self._weights.exact or self._weights.pairs
        return self._best(scored, len(scored) if texts_may_add else limit)

    @property
    def rarities(self) -> Mapping[str, float]:
        """The inverse document frequency of each word that is in some passage."""
        return {word.surface: word.idf for word in self._words}

    def _places_of(self, parent: str | None) -> list[Place]:
        places: list[Place] = []
        for number, segment in enumerate(self._segments if parent else ()):
            found = segment.parent_numbers.get(parent or "")
            if found is not None:
                first = number << 16
                places += range(first | segment.starts[found], first | segment.starts[found + 1])
        return places

    def _weights_in(self, windows: Iterable[list[tuple[int, Place]]]) -> list[dict[Place, float]]:
        """Returns for each word its weight in the passages that are looked at."""
        passages = by_segment(place for window in windows for _, place in window)
        return [
            dict(weights_at(word, self._segments, passages, self._formula)) for word in self._words
        ]

    def _scored(
        self, place: Place, window: list[tuple[int, Place]], weights: Sequence[dict[Place, float]]
    ) -> _Scored | None:
        total, words = 0.0, []
        for word, weight_at in zip(self._words, weights, strict=True):
            weight, offset = self._heaviest(window, weight_at)
            if weight > 0:
                total += weight
                words.append((word.surface, weight, offset))
        if total <= 0:
            return None
        segment, passage = self._segments[place >> 16], place & 0xFFFF
        parent = self._parent_score(segment, place)
        speaker, prior = self._speaker_score(segment, passage), self._prior(segment, passage)
        score = round(total + parent + speaker + prior, DIGITS)
        return _Scored(score, place, words, parent, speaker, prior)

    def _best(self, scored: Sequence[_Scored], count: int) -> list[Hit]:
        if len(scored) > count:
            least = heapq.nlargest(count, (each.score for each in scored))[-1]
            scored = [each for each in scored if each.score >= least]
        return in_order(map(self._hit, scored), count)

    def _hit(self, scored: _Scored) -> Hit:
        parent, seq = identity(self._segments, scored.place)
        why = Reason(
            words={word: (round(w, _SHOWN_DIGITS), offset) for word, w, offset in scored.words},
            parent=round(scored.parent, _SHOWN_DIGITS),
            speaker=scored.speaker,
            prior=round(scored.prior, _SHOWN_DIGITS),
        )
        return Hit(parent=parent, seq=seq, score=scored.score, why=why)

    def _heaviest(
        self, window: list[tuple[int, Place]], weight_at: dict[Place, float]
    ) -> tuple[float, int]:
        """Returns the highest weight of a word in a window, and the offset of its passage."""
        best, best_offset = 0.0, 0
        for offset, place in window:
            weight = weight_at.get(place)
            if weight is not None:
                weight *= self._weights.near[abs(offset) - 1] if offset else 1.0
                if weight > best:
                    best, best_offset = weight, offset
        return best, best_offset

    def _parent_score(self, segment: Segment, place: Place) -> float:
        parent = place >> 16 << 16 | segment.parent_of(place & 0xFFFF)
        return self._weights.parent * self._parents.of(parent)

    def _speaker_score(self, segment: Segment, passage: int) -> float:
        is_asked = segment.flags[passage] & self._role
        is_named = segment.label_names[segment.labels[passage]] in self._speakers
        return self._weights.speaker if is_asked or is_named else 0.0

    def _prior(self, segment: Segment, passage: int) -> float:
        """Returns what counts whatever the question: questions hold few answers, long texts more."""
        asks = self._weights.question if segment.flags[passage] & IS_QUESTION else 0.0
        length = min(segment.lengths[passage], self._weights.longest)
        return asks + self._weights.length * math.log1p(length)
