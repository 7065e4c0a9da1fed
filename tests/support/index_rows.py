"""The rows of the index in dictionaries, and an index on them that is used without a storage engine."""

from collections.abc import Collection, Mapping, Sequence

from chatbot.adapters.search.caches import IndexCache
from chatbot.adapters.search.rows import IndexRows, SegmentHead, TailRow
from chatbot.adapters.search.stored_index import StoredIndex
from chatbot.adapters.search.vector_rows import VectorHead
from chatbot.adapters.storage.in_memory.vector_rows import InMemoryVectorRows
from chatbot.domain.search import Scope


class DictRows(InMemoryVectorRows, IndexRows):
    """`touched` are the scopes of all rows that were read."""

    def __init__(self) -> None:
        super().__init__()
        self._tails: dict[tuple[Scope, str, int], TailRow] = {}
        self._heads: dict[int, SegmentHead] = {}
        self._data: dict[int, bytes] = {}
        self._audiences: dict[Scope, frozenset[str]] = {}
        self._last_id = 0
        self.touched: set[Scope] = set()

    def vector_heads(self, scopes: Collection[Scope], model: str) -> Sequence[VectorHead]:
        self.touched.update(scopes)
        return super().vector_heads(scopes, model)

    def add_tail(self, scope: Scope, rows: Sequence[TailRow]) -> None:
        self._tails.update({(scope, row.parent, row.seq): row for row in rows})

    def tails(self, scopes: Collection[Scope]) -> Sequence[tuple[Scope, TailRow]]:
        self.touched.update(scopes)
        return [(key[0], row) for key, row in self._tails.items() if key[0] in scopes]

    def drop_tail(self, scope: Scope, parent: str | None = None, upto: int | None = None) -> None:
        for key in list(self._tails):
            of_parent = parent is None or key[1] == parent
            if key[0] == scope and of_parent and (upto is None or key[2] <= upto):
                del self._tails[key]

    def heads(self, scopes: Collection[Scope]) -> Sequence[SegmentHead]:
        self.touched.update(scopes)
        return [head for head in self._heads.values() if head.scope in scopes]

    def data(self, scopes: Collection[Scope], ids: Sequence[int]) -> Mapping[int, bytes]:
        return {
            n: self._data[n] for n in ids if n in self._heads and self._heads[n].scope in scopes
        }

    def add_segment(self, scope: Scope, count: int, data: bytes) -> None:
        self._last_id += 1
        self._heads[self._last_id] = SegmentHead(self._last_id, scope, count, b"")
        self._data[self._last_id] = data

    def set_dead(self, scope: Scope, segment_id: int, dead: bytes) -> None:
        assert self._heads[segment_id].scope == scope
        self._heads[segment_id] = self._heads[segment_id]._replace(dead=dead)

    def drop_segment(self, scope: Scope, segment_id: int) -> None:
        assert self._heads[segment_id].scope == scope
        del self._heads[segment_id], self._data[segment_id]

    def lock(self, scope: Scope) -> None:
        pass

    def set_audience(self, scope: Scope, atoms: Collection[str]) -> None:
        self._audiences[scope] = frozenset(atoms)

    def scopes_for(self, atoms: Collection[str]) -> Sequence[Scope]:
        return sorted(s for s, audience in self._audiences.items() if audience & set(atoms))


def fresh_index(rows: IndexRows | None = None) -> StoredIndex:
    return StoredIndex(rows or DictRows(), IndexCache())
