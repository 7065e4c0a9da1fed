"""Merges the segments of an access class, so that there are few: which parts are merged, and how
they are replaced.

A plan is made and carried out in two short transactions, with the slow work between them.
"""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from chatbot.adapters.search.building import merged, segment_of
from chatbot.adapters.search.packing import MAX_PASSAGES
from chatbot.adapters.search.records import unpacked
from chatbot.adapters.search.rows import SegmentHead, TailRow
from chatbot.adapters.search.segments import Segment
from chatbot.domain.search import Scope, owner_of

LONGEST_TAIL = 64
"""The maximum number of passages in a tail before it becomes a segment."""
FAN = 4
"""This many segments of one size class are merged; sizes of a class differ by less than this factor."""
_MOST_DEAD = 4
"""A segment is rewritten once a quarter of its passages is removed."""
_DEAD_BYTES = 2


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """The parts of one new segment: rows of the tail, and segments."""

    rows: tuple[TailRow, ...] = ()
    heads: tuple[SegmentHead, ...] = ()

    @property
    def count(self) -> int:
        return len(self.rows) + sum(map(live_count, self.heads))

    @property
    def is_due(self) -> bool:
        """Whether it is more than a single segment that need not be rewritten."""
        return bool(self.rows) or len(self.heads) != 1 or has_many_dead(self.heads[0])


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """Parts of an access class that become one segment each, with the data of their segments."""

    scope: Scope
    parts: Sequence[Part]
    data: Mapping[int, bytes]

    def built(self) -> Sequence[tuple[int, bytes]]:
        """Returns the new segments, each with its number of passages. This may take seconds."""
        return [built for part in self.parts if (built := self._built(part))[0]]

    def _built(self, part: Part) -> tuple[int, bytes]:
        made = [segment_of_rows(part.rows)] if part.rows else []
        if not part.heads:
            return len(part.rows), made[0]
        segments = [
            *map(Segment.decoded, made),
            *(Segment.decoded(self.data[h.id], h.dead) for h in part.heads),
        ]
        return part.count, merged(segments)


def segment_of_rows(rows: Iterable[TailRow]) -> bytes:
    """Returns the data of a segment of rows of a tail."""
    return segment_of([(row.parent, row.seq, unpacked(row.record)) for row in rows])


def live_count(head: SegmentHead) -> int:
    """Returns the number of passages of a segment that are not removed."""
    return head.count - len(head.dead) // _DEAD_BYTES


def has_many_dead(head: SegmentHead) -> bool:
    """Whether a segment must be rewritten; one of a person's messages, as soon as any is removed."""
    if head.dead and owner_of(head.scope) is not None:
        return True
    return len(head.dead) // _DEAD_BYTES * _MOST_DEAD >= head.count


def due_parts(heads: Sequence[SegmentHead], rows: Sequence[TailRow]) -> Sequence[Part]:
    """Returns what should become one segment each: the rows of the tail, four of a size class."""
    parts = [Part(heads=(head,)) for head in heads]
    if rows:
        parts.append(Part(rows=tuple(sorted(rows)[:MAX_PASSAGES])))
    while group := _crowded(parts):
        members = set(map(id, group))
        parts = [part for part in parts if id(part) not in members] + [_united(group)]
    return [part for part in parts if part.is_due]


def all_in_few(heads: Sequence[SegmentHead], rows: Sequence[TailRow]) -> Sequence[Part]:
    """Returns everything in parts of the maximum size."""
    parts: list[Part] = []
    if rows:
        parts.append(Part(rows=tuple(sorted(rows)[:MAX_PASSAGES])))
    for head in sorted(heads, key=live_count):
        one = Part(heads=(head,))
        if parts and parts[-1].count + one.count <= MAX_PASSAGES:
            parts[-1] = _united([parts[-1], one])
        else:
            parts.append(one)
    return [part for part in parts if part.rows or len(part.heads) > 1 or part.heads[0].dead]


def _crowded(parts: Iterable[Part]) -> Sequence[Part]:
    classes: dict[int, list[Part]] = defaultdict(list)
    for part in parts:
        classes[_size_class(part.count)].append(part)
    for size in sorted(classes):
        group = classes[size]
        if len(group) >= FAN and sum(part.count for part in group) < MAX_PASSAGES:
            return group
    return ()


def _size_class(count: int) -> int:
    size = 0
    while count >= FAN:
        count, size = count // FAN, size + 1
    return size


def _united(parts: Iterable[Part]) -> Part:
    parts = list(parts)
    return Part(
        rows=tuple(row for part in parts for row in part.rows),
        heads=tuple(head for part in parts for head in part.heads),
    )
