"""The rows of vectors in dictionaries."""

from collections import defaultdict
from collections.abc import Collection, Iterator, Mapping, Sequence
from itertools import count

from chatbot.adapters.search.vector_rows import (
    VectorChunk,
    VectorHead,
    VectorPart,
    VectorRows,
    VectorSigns,
)
from chatbot.domain.search import Scope


class InMemoryVectorRows(VectorRows):
    """Chunks by scope and id."""

    def __init__(self) -> None:
        self._chunks = defaultdict[Scope, dict[int, VectorChunk]](dict)
        self._chunk_ids = count(1)

    def vector_heads(self, scopes: Collection[Scope], model: str) -> Sequence[VectorHead]:
        found = (
            VectorHead(number, scope, chunk.dimension)
            for scope, number, chunk in self._of(scopes)
            if chunk.model == model
        )
        return sorted(found)

    def vector_signs(
        self, scopes: Collection[Scope], ids: Collection[int]
    ) -> Sequence[VectorSigns]:
        wanted = set(ids)
        return [
            VectorSigns(number, each.parent, each.dimension, each.seqs, each.signs)
            for _, number, each in self._of(scopes)
            if number in wanted
        ]

    def vector_codes(self, scopes: Collection[Scope], ids: Collection[int]) -> Mapping[int, bytes]:
        wanted = set(ids)
        return {number: each.codes for _, number, each in self._of(scopes) if number in wanted}

    def vector_parts(self, scope: Scope, parent: str | None = None) -> Sequence[VectorPart]:
        return [
            VectorPart(number, each.parent, each.model, each.dimension, each.seqs)
            for _, number, each in self._of([scope])
            if parent in {None, each.parent}
        ]

    def add_vectors(self, scope: Scope, chunk: VectorChunk) -> None:
        self._chunks[scope][next(self._chunk_ids)] = chunk

    def move_vectors(self, scope: Scope, to: Scope, parent: str) -> None:
        for part in self.vector_parts(scope, parent):
            self._chunks[to][part.id] = self._chunks[scope].pop(part.id)

    def drop_vectors(
        self, scope: Scope, parent: str | None = None, ids: Collection[int] | None = None
    ) -> None:
        for part in self.vector_parts(scope, parent):
            if ids is None or part.id in ids:
                del self._chunks[scope][part.id]

    def _of(self, scopes: Collection[Scope]) -> Iterator[tuple[Scope, int, VectorChunk]]:
        for scope in set(scopes):
            for number, chunk in sorted(self._chunks.get(scope, {}).items()):
                yield scope, number, chunk
