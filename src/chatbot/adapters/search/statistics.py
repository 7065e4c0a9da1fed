"""The statistics of some segments, which are the only input of the weights."""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

from chatbot.adapters.search.segments import Segment

Place = int
"""A passage or a parent of one of the segments: `segment << 16 | number`."""
_BYTES_OF_A_PLACE = 200


@dataclass(frozen=True, kw_only=True)
class Statistics:
    """Numbers of segments, without the segments. Removed passages count nowhere.

    `spread` has the places of each parent with passages in several segments, by each of its places.
    """

    passages: int
    terms: int
    parents: int
    """Those with at least one term."""
    spread: Mapping[Place, tuple[Place, ...]]

    @cached_property
    def size(self) -> int:
        return _BYTES_OF_A_PLACE * (len(self.spread) + 1)

    @property
    def mean_length(self) -> float:
        return self.terms / self.passages

    @property
    def mean_parent_length(self) -> float:
        return self.terms / self.parents if self.parents else 1.0

    @cached_property
    def spread_parents(self) -> frozenset[tuple[Place, ...]]:
        return frozenset(self.spread.values())

    def places_of(self, parent: Place) -> tuple[Place, ...]:
        """Returns all places of a parent."""
        return self.spread.get(parent, (parent,))


def statistics_of(segments: Sequence[Segment]) -> Statistics:
    spread = _spread(segments)
    counts = [
        sum(bool(length_at(segments, place)) for place in places) for places in set(spread.values())
    ]
    again = sum(count - 1 for count in counts if count)
    return Statistics(
        passages=sum(segment.live_count for segment in segments),
        terms=sum(sum(segment.parent_lengths) for segment in segments),
        parents=sum(segment.parents_with_terms for segment in segments) - again,
        spread=spread,
    )


def length_at(segments: Sequence[Segment], parent: Place) -> int:
    """Returns the terms of a parent in one of its places."""
    return segments[parent >> 16].parent_lengths[parent & 0xFFFF]


def _spread(segments: Sequence[Segment]) -> Mapping[Place, tuple[Place, ...]]:
    places: defaultdict[str, list[Place]] = defaultdict(list)
    for parent in _in_several(segments):
        for number, segment in enumerate(segments):
            if (found := segment.parent_numbers.get(parent)) is not None:
                places[parent].append(number << 16 | found)
    return {place: tuple(each) for each in places.values() for place in each}


def _in_several(segments: Iterable[Segment]) -> set[str]:
    seen: set[str] = set()
    again: set[str] = set()
    for segment in segments:
        again |= seen.intersection(segment.parents)
        seen.update(segment.parents)
    return again
