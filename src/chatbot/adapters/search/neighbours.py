"""The passages before and after another one in its parent, which may be in another segment."""

from collections.abc import Iterable, Sequence
from functools import cache

from chatbot.adapters.search.segments import Segment
from chatbot.adapters.search.statistics import Place, Statistics

CLOSEST = (-2, -1, 1, 2)
"""Whose passages are candidates, too: the answer often stands next to the words of the question."""


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
            near = (self.at(place, offset) for offset in CLOSEST)
            found.update(dict.fromkeys(each for each in near if each is not None))
        return list(found)

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
