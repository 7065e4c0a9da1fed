"""The vectors of passages on the tables of a storage engine, in the transaction of the passages."""

import struct
from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import NamedTuple

from chatbot.adapters.search.vector_rows import VectorChunk, VectorPart, VectorRows, VectorSigns
from chatbot.adapters.search.vectors import Quantised, code_bytes, plane_bytes
from chatbot.domain.search import Embedded, Scope

_MOST_VECTORS, _MOST_BYTES = 64, 32_768
"""The size of a chunk: adding a vector writes one anew, and a search reads all of it for one vector."""
_SEQ_BYTES = 4


class _Vector(NamedTuple):
    """A stored vector."""

    seq: int
    signs: bytes
    code: bytes


class StoredVectors:
    """The vectors of one transaction."""

    def __init__(self, rows: VectorRows) -> None:
        self._rows = rows

    def put(self, scope: Scope, parent: str, embedded: Embedded, indexed: Collection[int]) -> None:
        """Add vectors of passages that are indexed, in place of those of the same model."""
        vectors = [
            _stored(seq, Quantised.of(vector))
            for seq, vector in embedded.vectors.items()
            if seq in indexed
        ]
        if not vectors:
            return
        dimension = len(next(iter(embedded.vectors.values())))
        replaced = {vector.seq for vector in vectors}
        parts = [p for p in self._rows.vector_parts(scope, parent) if p.model == embedded.model]
        open_part = _not_full(parts, dimension)
        changed = [p for p in parts if p == open_part or not replaced.isdisjoint(numbers(p.seqs))]
        kept = self._taken(scope, changed, replaced)
        kept[dimension] += vectors
        for each, those in kept.items():
            self._add(scope, parent, embedded.model, each, those)

    def numbers(
        self, scope: Scope, model: str, dimension: int | None, parent: str | None = None
    ) -> Mapping[str, frozenset[int]]:
        """Returns which passages of a parent, or of each, have a vector of the model."""
        found: defaultdict[str, set[int]] = defaultdict(set)
        for part in self._rows.vector_parts(scope, parent):
            if part.model == model and dimension in {None, part.dimension}:
                found[part.parent].update(numbers(part.seqs))
        return {parent: frozenset(seqs) for parent, seqs in found.items()}

    def remove(self, scope: Scope, parent: str, upto: int | None) -> None:
        """Remove the vectors of a parent, or those up to a number. Nothing of them stays in a chunk."""
        if upto is None:
            self._rows.drop_vectors(scope, parent)
            return
        removed = range(upto + 1)
        by_model: defaultdict[str, list[VectorPart]] = defaultdict(list)
        for part in self._rows.vector_parts(scope, parent):
            if min(numbers(part.seqs)) in removed:
                by_model[part.model].append(part)
        for model, parts in by_model.items():
            for dimension, kept in self._taken(scope, parts, removed).items():
                self._add(scope, parent, model, dimension, kept)

    def keep_only(self, scope: Scope, model: str | None) -> None:
        """Remove the vectors of other models."""
        others = [part.id for part in self._rows.vector_parts(scope) if part.model != model]
        if others:
            self._rows.drop_vectors(scope, ids=others)

    def _taken(
        self, scope: Scope, parts: Sequence[VectorPart], without: Collection[int]
    ) -> defaultdict[int, list[_Vector]]:
        """Remove chunks and return their vectors by dimension, without those of some numbers."""
        taken: defaultdict[int, list[_Vector]] = defaultdict(list)
        if not parts:
            return taken
        ids = [part.id for part in parts]
        codes = self._rows.vector_codes([scope], ids)
        for signs in self._rows.vector_signs([scope], ids):
            vectors = _vectors_in(signs, codes[signs.id])
            taken[signs.dimension] += (each for each in vectors if each.seq not in without)
        self._rows.drop_vectors(scope, ids=ids)
        return taken

    def _add(
        self, scope: Scope, parent: str, model: str, dimension: int, vectors: Sequence[_Vector]
    ) -> None:
        ordered, size = sorted(vectors), _most(dimension)
        for at in range(0, len(ordered), size):
            some = ordered[at : at + size]
            chunk = VectorChunk(
                parent=parent,
                model=model,
                dimension=dimension,
                seqs=struct.pack(f"<{len(some)}I", *(each.seq for each in some)),
                signs=b"".join(each.signs for each in some),
                codes=b"".join(each.code for each in some),
            )
            self._rows.add_vectors(scope, chunk)


def numbers(seqs: bytes) -> Sequence[int]:
    """Returns the numbers of the passages of a chunk."""
    return struct.unpack(f"<{len(seqs) // _SEQ_BYTES}I", seqs)


def parts_of(data: bytes, size: int) -> Sequence[bytes]:
    """Returns the vectors of a chunk, or their signs, which have so many bytes each."""
    return [data[at : at + size] for at in range(0, len(data), size)]


def _stored(seq: int, vector: Quantised) -> _Vector:
    signs = vector.signs.to_bytes(plane_bytes(vector.dimension), "big")
    return _Vector(seq, signs, vector.code)


def _vectors_in(found: VectorSigns, codes: bytes) -> Iterable[_Vector]:
    signs = parts_of(found.signs, plane_bytes(found.dimension))
    code = parts_of(codes, code_bytes(found.dimension))
    return map(_Vector, numbers(found.seqs), signs, code)


def _not_full(parts: Sequence[VectorPart], dimension: int) -> VectorPart | None:
    """Returns the chunk that takes more vectors, if there is one."""
    for part in parts:
        if part.dimension == dimension and len(part.seqs) < _most(dimension) * _SEQ_BYTES:
            return part
    return None


def _most(dimension: int) -> int:
    """Returns how many vectors a chunk has."""
    return max(1, min(_MOST_VECTORS, _MOST_BYTES // dimension))
