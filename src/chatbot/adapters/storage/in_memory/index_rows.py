"""The rows of the search index in dictionaries."""

from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence
from itertools import count

from chatbot.adapters.search.rows import IndexRows, SegmentHead, TailRow
from chatbot.adapters.storage.in_memory.vector_rows import InMemoryVectorRows
from chatbot.domain.search import Scope


class InMemoryIndexRows(InMemoryVectorRows, IndexRows):
    """Rows that last as long as their process."""

    def __init__(self) -> None:
        super().__init__()
        self._tails = defaultdict[Scope, dict[tuple[str, int], TailRow]](dict)
        self._heads = defaultdict[Scope, dict[int, SegmentHead]](dict)
        self._data: dict[int, bytes] = {}
        self._audiences: dict[Scope, frozenset[str]] = {}
        self._ids = count(1)

    def add_tail(self, scope: Scope, rows: Sequence[TailRow]) -> None:
        self._tails[scope].update({(row.parent, row.seq): row for row in rows})

    def tails(self, scopes: Collection[Scope]) -> Sequence[tuple[Scope, TailRow]]:
        found = ((scope, self._tails.get(scope, {})) for scope in set(scopes))
        return [(scope, row) for scope, rows in found for row in rows.values()]

    def drop_tail(self, scope: Scope, parent: str | None = None, upto: int | None = None) -> None:
        rows = self._tails.pop(scope, {})
        kept = {
            key: row
            for key, row in rows.items()
            if (parent is not None and row.parent != parent)
            or (upto is not None and row.seq > upto)
        }
        if kept:
            self._tails[scope] = kept

    def heads(self, scopes: Collection[Scope]) -> Sequence[SegmentHead]:
        found = (self._heads.get(scope, {}) for scope in set(scopes))
        return sorted(head for heads in found for head in heads.values())

    def data(self, scopes: Collection[Scope], ids: Sequence[int]) -> Mapping[int, bytes]:
        permitted = {head.id for head in self.heads(scopes)}
        return {number: self._data[number] for number in permitted.intersection(ids)}

    def add_segment(self, scope: Scope, count: int, data: bytes) -> None:
        new = next(self._ids)
        self._heads[scope][new] = SegmentHead(new, scope, count, b"")
        self._data[new] = data

    def set_dead(self, scope: Scope, segment_id: int, dead: bytes) -> None:
        heads = self._heads[scope]
        heads[segment_id] = heads[segment_id]._replace(dead=dead)

    def drop_segment(self, scope: Scope, segment_id: int) -> None:
        if self._heads[scope].pop(segment_id, None) is not None:
            del self._data[segment_id]

    def lock(self, scope: Scope) -> None:
        """No-op: only one transaction runs at a time."""

    def set_audience(self, scope: Scope, atoms: Collection[str]) -> None:
        self._audiences.pop(scope, None)
        if atoms:
            self._audiences[scope] = frozenset(atoms)

    def scopes_for(self, atoms: Collection[str]) -> Sequence[Scope]:
        wanted = set(atoms)
        return sorted(scope for scope, has in self._audiences.items() if has & wanted)
