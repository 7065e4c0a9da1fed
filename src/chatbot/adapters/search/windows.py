"""Lets a word count in the passages next to its own, because an answer rarely repeats the question."""

from collections.abc import Collection, Iterable, Mapping, Sequence
from functools import cache

from chatbot.adapters.search.neighbours import Neighbours
from chatbot.adapters.search.statistics import Place

Peak = tuple[float, int, int]
"""The highest weight of a word in a window, how close its passage is, and the offset of that.

Of equal weights, that of the closest passage counts; the one before is closer than the one after.
"""
_NONE: Peak = (0.0, 0, 0)


class Windows:
    """The windows of some passages. `shares` is what a word counts in the next ones, by distance."""

    def __init__(
        self, places: Collection[Place], neighbours: Neighbours, shares: tuple[float, ...]
    ) -> None:
        self._places, self._neighbours, self._shares = frozenset(places), neighbours, shares
        self._windows: dict[Place, Sequence[tuple[Place, Peak]]] = {}
        self.passages = neighbours.reached(places, len(shares))
        """What may be in one of the windows, by the number of its segment."""

    def peaks(self, weights: Iterable[tuple[Place, float]]) -> Mapping[Place, Peak]:
        """Returns the highest weight of a word in each window that has it.

        `weights` has the weight of the word in each passage that has it.
        """
        peaks: dict[Place, Peak] = {}
        for passage, weight in weights:
            for place, (share, closeness, offset) in self._windows_of(passage):
                peak = (weight * share, closeness, offset)
                if peak > peaks.get(place, _NONE):
                    peaks[place] = peak
        return peaks

    def _windows_of(self, passage: Place) -> Sequence[tuple[Place, Peak]]:
        """Returns the windows with a passage, by the place of each, and what a weight of 1 is there."""
        found = self._windows.get(passage)
        if found is None:
            around = [(0, passage), *self._neighbours.around(passage, len(self._shares))]
            found = self._windows[passage] = [
                (place, _share(-offset, self._shares))
                for offset, place in around
                if place in self._places
            ]
        return found


@cache
def _share(offset: int, shares: tuple[float, ...]) -> Peak:
    """Returns what a word of weight 1 counts at an offset."""
    share = shares[abs(offset) - 1] if offset else 1.0
    return share, (offset < 0) - 2 * abs(offset), offset
