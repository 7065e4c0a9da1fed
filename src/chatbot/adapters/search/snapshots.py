"""The index of some access classes at one moment: read in a transaction, and decoded after it."""

from collections import Counter, defaultdict
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property, partial
from itertools import accumulate, chain, groupby

from chatbot.adapters.search.building import merged
from chatbot.adapters.search.caches import IndexCache
from chatbot.adapters.search.folding import LONGEST_TAIL, due_parts, segment_of_rows
from chatbot.adapters.search.packing import MAX_PASSAGES
from chatbot.adapters.search.pools import Group, grouped, key_of
from chatbot.adapters.search.rows import IndexRows, SegmentHead, TailRow
from chatbot.adapters.search.segments import Segment
from chatbot.adapters.search.statistics import Statistics, statistics_of
from chatbot.domain.errors import StorageUnavailable
from chatbot.domain.ports.search import Snapshot
from chatbot.domain.search import Scope

_MOST_TAIL_ROWS = 512
"""With more rows in all tails of a search, each tail is folded."""
_PASSAGES_AT_ONCE = 8192
_ATTEMPTS = 5
"""Segments may be replaced between two statements of a transaction."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Opened:
    """Decoded segments, what they add up to, and the access classes that should be folded."""

    segments: Sequence[Segment]
    statistics: Statistics
    due: Sequence[Scope] = ()


class StoredSnapshot(Snapshot):
    """Groups of segments, each decoded already or with the data of its members; and the tails."""

    def __init__(
        self,
        groups: Mapping[Group, Segment | None],
        data: Mapping[int, bytes],
        tails: Sequence[tuple[Scope, TailRow]],
        cache: IndexCache,
    ) -> None:
        self._groups, self._data, self._tails, self._cache = groups, data, tails, cache

    @property
    def is_empty(self) -> bool:
        return not self._groups and not self._tails

    def opened(self) -> Opened:
        """Decode the remaining data, which takes too long for the event loop."""
        segments = [found or self._decoded(group) for group, found in self._groups.items()]
        if self._tails:
            segments += self._tail(segments)
        statistics = self._cache.statistics.get(self._key)
        if statistics is not None:
            return Opened(
                segments=segments, statistics=statistics
            )  # an earlier search knew what is due
        self._cache.statistics.put(self._key, made := statistics_of(segments))
        return Opened(segments=segments, statistics=made, due=self._due())

    def _due(self) -> Sequence[Scope]:
        """Returns the access classes that should be folded."""
        heads: defaultdict[Scope, list[SegmentHead]] = defaultdict(list)
        for head in chain.from_iterable(self._groups):
            heads[head.scope].append(head)
        lengths = Counter(scope for scope, _ in self._tails)
        longest = LONGEST_TAIL if len(self._tails) <= _MOST_TAIL_ROWS else 0
        crowded = {scope for scope, of_scope in heads.items() if due_parts(of_scope, ())}
        return sorted(crowded | {scope for scope, rows in lengths.items() if rows > longest})

    @cached_property
    def _rows(self) -> tuple[TailRow, ...]:
        return tuple(sorted(row for _, row in self._tails))

    @cached_property
    def _key(self) -> tuple[object, ...]:
        """The permanent key of the content."""
        return (*map(key_of, self._groups), self._rows)

    def _decoded(self, group: Group) -> Segment:
        if len(group) == 1:
            return self._cache.decoded(group[0], self._data[group[0].id])
        members = [Segment.decoded(self._data[head.id], head.dead) for head in group]
        self._cache.segments.put(key_of(group), made := Segment.decoded(merged(members)))
        return made

    def _tail(self, stored: Sequence[Segment]) -> Sequence[Segment]:
        """Returns the tails as segments.

        A tail that became a segment between two statements has been read twice.
        """
        rows = [row for row in self._rows if not any(map(partial(_holds, row), stored))]
        parts = [rows[at : at + MAX_PASSAGES] for at in range(0, len(rows), MAX_PASSAGES)]
        make = self._cache.segments.get_or_make
        return [make(tuple(part), partial(_segment_of_rows, part)) for part in parts]


def snapshot_of(rows: IndexRows, scopes: Collection[Scope], cache: IndexCache) -> StoredSnapshot:
    """Reads the tails and segments of access classes, and the data of what is not in the cache.

    The tails come first: what is folded meanwhile is read twice and not missed.
    """
    if not scopes:
        return StoredSnapshot({}, {}, (), cache)
    tails = rows.tails(scopes)
    for _ in range(_ATTEMPTS):
        groups = {group: _cached(group, cache) for group in grouped(rows.heads(scopes))}
        wanted = [head for group, found in groups.items() if found is None for head in group]
        data = _data_of(rows, wanted)
        if len(data) == len(wanted):
            return StoredSnapshot(groups, data, tails, cache)
    raise StorageUnavailable("The search index changes too often to be read.")


def _data_of(rows: IndexRows, heads: Sequence[SegmentHead]) -> Mapping[int, bytes]:
    """Reads the data of segments, some at once: a driver has them in memory twice."""
    data: dict[int, bytes] = {}
    places = accumulate((head.count for head in heads), initial=0)
    for _, part in groupby(
        zip(places, heads, strict=False), key=lambda p: p[0] // _PASSAGES_AT_ONCE
    ):
        some = [head for _, head in part]
        data |= rows.data({head.scope for head in some}, [head.id for head in some])
    return data


def _cached(group: Group, cache: IndexCache) -> Segment | None:
    return cache.stored(group[0]) if len(group) == 1 else cache.segments.get(key_of(group))


def _segment_of_rows(rows: Sequence[TailRow]) -> Segment:
    return Segment.decoded(segment_of_rows(rows))


def _holds(row: TailRow, segment: Segment) -> bool:
    parent = segment.parent_numbers.get(row.parent)
    return parent is not None and segment.passage_at(parent, row.seq) is not None
