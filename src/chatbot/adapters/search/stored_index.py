"""The search index on the tables of a storage engine."""

import logging
from collections import Counter
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain

from chatbot.adapters.search.analyser import VERSION
from chatbot.adapters.search.building import merged
from chatbot.adapters.search.caches import IndexCache
from chatbot.adapters.search.folding import Part, Plan, all_in_few, due_parts, segment_of_rows
from chatbot.adapters.search.packing import MAX_PASSAGES, DamagedIndex
from chatbot.adapters.search.records import tail_row, unpacked
from chatbot.adapters.search.rows import IndexRows, SegmentHead, TailRow
from chatbot.adapters.search.segments import Segment, numbers_of, packed_numbers
from chatbot.adapters.search.snapshots import StoredSnapshot, snapshot_of
from chatbot.adapters.search.stored_vectors import StoredVectors
from chatbot.adapters.search.vector_pools import Codes
from chatbot.adapters.search.vector_snapshots import (
    VectorSnapshot,
    read_codes,
    vector_snapshot_of,
)
from chatbot.domain.ports.search import Prepared, SearchIndex
from chatbot.domain.search import Embedded, Passage, Scope, owner_of

SEGMENT_AT_ONCE = 64
"""From this number on, passages of one parent do not go through the tail."""
_REWRITTEN_AT_ONCE = 4096
"""Rewriting a segment takes 15 ms for a thousand passages, in the transaction that removes some."""
_log = logging.getLogger("chatbot.search")


@dataclass(frozen=True, slots=True, kw_only=True)
class PreparedPassages(Prepared):
    """The passages of a parent as rows of the tail or, if there are many, as packed segments."""

    parent: str
    rows: Sequence[TailRow] = ()
    segments: Sequence[tuple[int, bytes]] = ()


def prepared(parent: str, passages: Sequence[Passage]) -> PreparedPassages:
    """Analyse the passages of a parent."""
    rows = [tail_row(parent, passage) for passage in passages]
    if len(rows) < SEGMENT_AT_ONCE:
        return PreparedPassages(parent=parent, rows=rows)
    parts = [rows[at : at + MAX_PASSAGES] for at in range(0, len(rows), MAX_PASSAGES)]
    segments = [(len(part), segment_of_rows(part)) for part in parts]
    return PreparedPassages(parent=parent, segments=segments)


class StoredIndex(SearchIndex):
    """The index of one transaction. Decoded data stays in the cache, which transactions share."""

    def __init__(self, rows: IndexRows, cache: IndexCache) -> None:
        self._rows = rows
        self._cache = cache

    def put(self, scope: Scope, parent: str, passages: Sequence[Passage]) -> None:
        self.put_prepared(scope, prepared(parent, passages))

    def put_prepared(self, scope: Scope, prepared: Prepared) -> None:
        self.remove(scope, prepared.parent)
        self._add(scope, prepared)

    def append(self, scope: Scope, parent: str, passages: Sequence[Passage]) -> None:
        self._add(scope, prepared(parent, passages))

    def _add(self, scope: Scope, found: Prepared) -> None:
        if not isinstance(found, PreparedPassages):
            raise TypeError("another engine prepared the passages")
        if found.rows:
            self._rows.add_tail(scope, found.rows)
        for count, data in found.segments:
            self._rows.add_segment(scope, count, data)

    def move(self, scope: Scope, to: Scope, parent: str) -> None:
        for each in sorted({scope, to}):  # in one order, so that no two moves wait for each other
            self._rows.lock(each)
        self._rows.add_tail(to, [r for _, r in self._rows.tails([scope]) if r.parent == parent])
        for head, segment in self._segments(scope):
            own = () if segment is None else _passages_of(segment, parent, None)
            if segment is not None and own:
                others = packed_numbers(set(range(head.count)).difference(own))
                self._rows.add_segment(to, len(own), merged([segment.without(others)]))
        self._rows.move_vectors(scope, to, parent)
        self.remove(scope, parent)

    def remove(self, scope: Scope, parent: str, *, upto: int | None = None) -> None:
        self._rows.lock(scope)
        self._vectors.remove(scope, parent, upto)
        self._rows.drop_tail(scope, parent, upto)
        for head, segment in self._segments(scope):
            if segment is None:
                _log.error("a damaged part of the search index was dropped: run `chatbot reindex`")
                self._rows.drop_segment(scope, head.id)
            elif removed := _passages_of(segment, parent, upto):
                self._drop_passages(head, segment, removed)

    def _drop_passages(self, head: SegmentHead, segment: Segment, removed: Sequence[int]) -> None:
        """Mark passages as removed; those of a person leave the bytes of the segment, too.

        A large segment of a person is rewritten after their next search: see `folding`.
        """
        dead = {*numbers_of(head.dead), *removed}
        left = head.count - len(dead)
        is_rewritten = owner_of(head.scope) is not None and head.count <= _REWRITTEN_AT_ONCE
        if left and not is_rewritten:
            self._rows.set_dead(head.scope, head.id, packed_numbers(dead))
            return
        self._rows.drop_segment(head.scope, head.id)
        if left:
            data = merged([segment.without(packed_numbers(dead))])
            self._rows.add_segment(head.scope, left, data)

    def clear(self, scope: Scope) -> None:
        self._rows.lock(scope)
        self._rows.drop_tail(scope)
        self._rows.drop_vectors(scope)
        for head in self._rows.heads([scope]):
            self._rows.drop_segment(scope, head.id)
        self._rows.set_audience(scope, ())

    def set_audience(self, scope: Scope, atoms: Collection[str]) -> None:
        self._rows.set_audience(scope, atoms)

    def scopes_for(self, atoms: Collection[str]) -> Sequence[Scope]:
        return self._rows.scopes_for(atoms)

    def snapshot(self, scopes: Collection[Scope]) -> StoredSnapshot:
        return snapshot_of(self._rows, scopes, self._cache)

    def indexed(self, scope: Scope) -> Mapping[str, int]:
        rows = (row for _, row in self._rows.tails([scope]))
        counts = Counter(row.parent for row in rows if unpacked(row.record).version == VERSION)
        for _, segment in self._segments(scope):
            if segment is not None and segment.version == VERSION:
                counts.update({p: len(_passages_of(segment, p, None)) for p in segment.parents})
        return {parent: count for parent, count in counts.items() if count}

    def put_vectors(self, scope: Scope, parent: str, embedded: Embedded) -> None:
        self._rows.lock(scope)
        self._vectors.put(scope, parent, embedded, self._numbers_of(scope, parent))

    def vectors_of(
        self,
        scope: Scope,
        model: str,
        *,
        dimension: int | None = None,
        parent: str | None = None,
    ) -> Mapping[str, frozenset[int]]:
        return self._vectors.numbers(scope, model, dimension, parent)

    def drop_other_vectors(self, scope: Scope, model: str | None) -> None:
        self._rows.lock(scope)
        self._vectors.keep_only(scope, model)

    def vector_snapshot(self, scopes: Collection[Scope], model: str) -> VectorSnapshot:
        """Return the vectors of these access classes that a model has made."""
        return vector_snapshot_of(self._rows, scopes, model, self._cache.vectors)

    def vector_codes(self, scopes: Collection[Scope], ids: Collection[int]) -> Mapping[int, Codes]:
        """Return all but the signs of the vectors in these chunks."""
        return read_codes(self._rows, scopes, ids, self._cache.vectors)

    @property
    def _vectors(self) -> StoredVectors:
        return StoredVectors(self._rows)

    def _numbers_of(self, scope: Scope, parent: str) -> frozenset[int]:
        """Returns the numbers of the parent's passages."""
        in_tail = (row.seq for _, row in self._rows.tails([scope]) if row.parent == parent)
        segments = (segment for _, segment in self._segments(scope) if segment is not None)
        folded = (s.seqs[place] for s in segments for place in _passages_of(s, parent, None))
        return frozenset(chain(in_tail, folded))

    def fold(self, scope: Scope, *, is_whole: bool = False) -> None:
        """Make segments of the tail, and few of many; with `is_whole`, of everything one."""
        plan = self.plan(scope, is_whole=is_whole)
        if plan is not None:
            self.replace(plan, plan.built())

    def plan(self, scope: Scope, *, is_whole: bool = False) -> Plan | None:
        """Return the parts to merge, with their data; None if there are none."""
        rows = [row for _, row in self._rows.tails([scope])]
        heads = self._rows.heads([scope])
        parts = all_in_few(heads, rows) if is_whole else due_parts(heads, rows)
        ids = [head.id for part in parts for head in part.heads]
        data = self._rows.data([scope], ids) if ids else {}
        if not parts or len(data) < len(ids):
            return None
        return Plan(scope=scope, parts=parts, data=data)

    def replace(self, plan: Plan, built: Sequence[tuple[int, bytes]]) -> bool:
        """Carry out a plan; False if any of it has changed since, so that nothing is done."""
        self._rows.lock(plan.scope)
        if not self._is_unchanged(plan):
            return False
        for part in plan.parts:
            self._drop(plan.scope, part)
        for count, data in built:
            self._rows.add_segment(plan.scope, count, data)
        return True

    def _is_unchanged(self, plan: Plan) -> bool:
        heads = {head for part in plan.parts for head in part.heads}
        rows = {row for part in plan.parts for row in part.rows}
        return heads.issubset(self._rows.heads([plan.scope])) and (
            not rows or rows.issubset(row for _, row in self._rows.tails([plan.scope]))
        )

    def _drop(self, scope: Scope, part: Part) -> None:
        """Remove the parts that a new segment replaces.

        Rows are dropped by the last number of each parent that was seen: a message that is added
        meanwhile, without a lock, has a higher one.
        """
        for head in part.heads:
            self._rows.drop_segment(scope, head.id)
        last: dict[str, int] = {}
        for row in part.rows:
            last[row.parent] = max(row.seq, last.get(row.parent, row.seq))
        for parent, seq in last.items():
            self._rows.drop_tail(scope, parent, seq)

    def _segments(self, scope: Scope) -> Iterator[tuple[SegmentHead, Segment | None]]:
        """Yields the segments of an access class, decoded; None for a damaged one.

        One that was replaced meanwhile is left out; not while the scope is locked.
        """
        heads = self._rows.heads([scope])
        cached = {head: self._cache.stored(head) for head in heads}
        missing = [head.id for head, segment in cached.items() if segment is None]
        data = self._rows.data([scope], missing) if missing else {}
        for head, segment in cached.items():
            try:
                yield head, segment or self._cache.decoded(head, data[head.id])
            except KeyError:
                continue
            except DamagedIndex:
                yield head, None


def _passages_of(segment: Segment, parent: str, upto: int | None) -> Sequence[int]:
    """Returns the numbers of the passages that a parent has in a segment, up to a number."""
    number = segment.parent_numbers.get(parent)
    if number is None:
        return ()
    places = range(segment.starts[number], segment.starts[number + 1])
    return [
        place
        for place in places
        if not segment.is_dead(place) and (upto is None or segment.seqs[place] <= upto)
    ]
