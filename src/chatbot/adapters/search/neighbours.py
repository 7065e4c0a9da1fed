"""The passages before and after another one in its parent, which may be in another segment."""

from collections import defaultdict
from collections.abc import Iterable, Sequence
from functools import cache

from chatbot.adapters.search.segments import Segment
from chatbot.adapters.search.statistics import Place, Statistics

_CLOSEST = 2
"""Up to this distance, passages are candidates, too: the answer often stands next to the words of
the question."""


class Neighbours:
    """Finds passages by their distance in the numbers of the parent."""

    def __init__(self, segments: Sequence[Segment], statistics: Statistics) -> None:
        self._segments, self._statistics = segments, statistics

    def around(self, place: Place, reach: int) -> list[tuple[int, Place]]:
        """Returns the neighbours up to a distance, each with its offset; nearer ones come first.

        Removed ones may be among them: they have no postings.
        """
        number, passage = place >> 16, place & 0xFFFF
        segment = self._segments[number]
        parent = segment.parent_of(passage)
        first = max(passage - reach, segment.starts[parent])
        last = min(passage + reach, segment.starts[parent + 1] - 1)
        has_gaps = segment.seqs[last] - segment.seqs[first] != last - first
        is_spread = (number << 16 | parent) in self._statistics.spread
        if has_gaps or is_spread:
            each = ((offset, self.at(place, offset)) for offset in _offsets(reach))
            return [(offset, found) for offset, found in each if found is not None]
        return [(o, place + o) for o in _offsets(reach) if first <= passage + o <= last]

    def with_closest(self, places: Iterable[Place]) -> list[Place]:
        """Returns the places and their closest neighbours, each once."""
        found = dict.fromkeys(places)
        for place in list(found):
            found.update(dict.fromkeys(near for _, near in self.around(place, _CLOSEST)))
        return [place for place in found if not self._segments[place >> 16].is_dead(place & 0xFFFF)]

    def reached(self, places: Iterable[Place], reach: int) -> dict[int, set[int]]:
        """Returns the passages up to a distance from the places by segment, and a few others."""
        found: defaultdict[int, set[int]] = defaultdict(set)
        for place in places:
            number, passage = place >> 16, place & 0xFFFF
            found[number].update(range(passage - reach, passage + reach + 1))
            if self._is_spread(place):
                for _, near in self.around(place, reach):
                    found[near >> 16].add(near & 0xFFFF)
        return found

    def _is_spread(self, place: Place) -> bool:
        spread = self._statistics.spread
        return bool(spread) and self._parent_of(place) in spread

    def _parent_of(self, place: Place) -> Place:
        return place >> 16 << 16 | self._segments[place >> 16].parent_of(place & 0xFFFF)

    def at(self, place: Place, offset: int) -> Place | None:
        """Returns the passage whose number is so much higher, if there is one."""
        number, passage = place >> 16, place & 0xFFFF
        segment = self._segments[number]
        seq, guess = segment.seqs[passage] + offset, passage + offset
        parent = segment.parent_of(passage)
        is_inside = segment.starts[parent] <= guess < segment.starts[parent + 1]
        if is_inside and segment.seqs[guess] == seq and not segment.is_dead(guess):
            return number << 16 | guess
        for other in self._statistics.places_of(number << 16 | parent):
            found = self._segments[other >> 16].passage_at(other & 0xFFFF, seq)
            if found is not None:
                return other >> 16 << 16 | found
        return None


@cache
def _offsets(reach: int) -> tuple[int, ...]:
    return tuple(offset for n in range(1, reach + 1) for offset in (-n, n))
