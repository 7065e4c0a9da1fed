"""Ranks the passages of some segments for a question, and explains each score."""

import heapq
import math
from collections.abc import Mapping, Sequence
from functools import cache
from typing import NamedTuple

from chatbot.adapters.search.candidates import best_places, identity, weights_at
from chatbot.adapters.search.neighbours import Neighbours
from chatbot.adapters.search.parents import ParentScores
from chatbot.adapters.search.questions import Question
from chatbot.adapters.search.records import IS_QUESTION
from chatbot.adapters.search.segments import Segment
from chatbot.adapters.search.snapshots import Opened
from chatbot.adapters.search.statistics import Place
from chatbot.adapters.search.weighting import Weights, formula_of, names_in, words_found
from chatbot.adapters.search.windows import Peak, Windows
from chatbot.domain.search import Hit, Reason

DIGITS = 9
"""Scores are rounded, so that the order of additions cannot decide on the order of passages."""
_SHOWN_DIGITS = 3
_NO_PEAK: Peak = (0.0, 0, 0)


class Ranked(NamedTuple):
    """A passage and its score. What that is made of is only computed for the best."""

    score: float
    parent: str
    seq: int
    place: Place
    meaning: float = 0.0
    likeness: float = 0.0

    @property
    def rank(self) -> tuple[float, str, int]:
        """Sorts the best first."""
        return -self.score, self.parent, self.seq


class Ranking:
    """The passages that fit a question best, in segments that hold at least one term.

    Those of the parent `without` are left out; in the statistics they count. `also` are passages
    that are ranked whatever their words; with them, all that are ranked are the best.
    """

    def __init__(
        self,
        opened: Opened,
        question: Question,
        weights: Weights,
        *,
        limit: int,
        without: str | None = None,
        also: frozenset[Place] | None = None,
    ) -> None:
        self._segments, self._weights, self._limit = opened.segments, weights, limit
        self._also = also
        self._statistics = opened.statistics
        self._speakers: frozenset[str] = frozenset()
        self._role = 0
        if weights.speaker:
            labels = frozenset[str]().union(*(segment.speakers for segment in self._segments))
            self._speakers = question.speakers_among(labels)
            self._role = 0 if self._speakers else question.asked_role
        self._words = words_found(
            question,
            self._segments,
            passages=self._statistics.passages,
            k1=weights.k1,
            without=names_in(self._speakers),
        )
        self._parents = ParentScores(self._words, self._segments, self._statistics, weights)
        self._peaks = self._peaks_of_words(without)

    def best(self) -> Sequence[Ranked]:
        """Returns the best passages in order; if texts or vectors may raise scores, all of these."""
        scored = self._scored()
        is_raised = self._also is not None or self._weights.exact or self._weights.pairs
        if not is_raised and len(scored) > self._limit:
            least = heapq.nlargest(self._limit, scored)[-1][0]
            scored = [each for each in scored if each[0] >= least]
        found = (Ranked(score, *identity(self._segments, place), place) for score, place in scored)
        return sorted(found, key=lambda each: each.rank)

    def hit(self, ranked: Ranked, *, exact: float = 0.0, pairs: float = 0.0) -> Hit:
        """Returns one of the best passages with what its score is made of."""
        words = {
            word.surface: (round(weight, _SHOWN_DIGITS), offset)
            for word, peaks in zip(self._words, self._peaks, strict=True)
            for weight, _, offset in (peaks.get(ranked.place, _NO_PEAK),)
            if weight
        }
        ((parent, _),) = self._parents.with_places([ranked.place])
        speaker, prior = self._own_parts(ranked.place)
        why = Reason(
            words=words,
            parent=round(self._weights.parent * self._parents.of(parent), _SHOWN_DIGITS),
            speaker=speaker,
            prior=round(prior, _SHOWN_DIGITS),
            exact=round(exact, _SHOWN_DIGITS),
            pairs=round(pairs, _SHOWN_DIGITS),
            meaning=round(ranked.meaning, _SHOWN_DIGITS),
            likeness=round(ranked.likeness, _SHOWN_DIGITS),
        )
        return Hit(parent=ranked.parent, seq=ranked.seq, score=ranked.score, why=why)

    @property
    def rarities(self) -> Mapping[str, float]:
        """The inverse document frequency of each word that is in some passage."""
        return {word.surface: word.idf for word in self._words}

    def _peaks_of_words(self, without: str | None) -> Sequence[Mapping[Place, Peak]]:
        """Returns for each word what it weighs in the passages that may be the best."""
        formula = formula_of(self._weights, self._statistics)
        places = best_places(
            self._words,
            self._segments,
            wanted=max(self._weights.candidates, 3 * self._limit),
            formula=formula,
            excluded=self._places_of(without),
        )
        neighbours = Neighbours(self._segments, self._statistics)
        if self._weights.near:
            places = neighbours.with_closest(places)
        places += (self._also or frozenset()).difference(places)
        windows = Windows(places, neighbours, self._weights.near)
        return [
            windows.peaks(weights_at(word, self._segments, windows.passages, formula))
            for word in self._words
        ]

    def _places_of(self, parent: str | None) -> list[Place]:
        places: list[Place] = []
        for number, segment in enumerate(self._segments if parent else ()):
            found = segment.parent_numbers.get(parent or "")
            if found is not None:
                first = number << 16
                places += range(first | segment.starts[found], first | segment.starts[found + 1])
        return places

    def _scored(self) -> list[tuple[float, Place]]:
        """Returns the scores of all passages with a word in their window, and of `also`."""
        totals: dict[Place, float] = dict.fromkeys(self._also or (), 0.0)
        for peaks in self._peaks:
            for place, (weight, _, _) in peaks.items():
                totals[place] = totals.get(place, 0.0) + weight
        scored = []
        for parent, places in self._parents.with_places(totals):
            of_parent = self._weights.parent * self._parents.of(parent)
            for place in places:
                speaker, prior = self._own_parts(place)
                scored.append((round(totals[place] + of_parent + speaker + prior, DIGITS), place))
        return scored

    def _own_parts(self, place: Place) -> tuple[float, float]:
        """Returns what a score has for the speaker, and in any case."""
        segment, passage = self._segments[place >> 16], place & 0xFFFF
        return self._speaker_score(segment, passage), self._prior(segment, passage)

    def _speaker_score(self, segment: Segment, passage: int) -> float:
        if not (self._speakers or self._role):
            return 0.0
        is_asked = segment.flags[passage] & self._role
        is_named = segment.label_names[segment.labels[passage]] in self._speakers
        return self._weights.speaker if is_asked or is_named else 0.0

    def _prior(self, segment: Segment, passage: int) -> float:
        """Returns what counts whatever the question: questions hold few answers, long texts more."""
        asks = self._weights.question if segment.flags[passage] & IS_QUESTION else 0.0
        length = min(segment.lengths[passage], self._weights.longest)
        return asks + self._weights.length * _logarithm(length)


@cache
def _logarithm(length: int) -> float:
    return math.log1p(length)
