"""The vectors of some access classes at one moment: read in a transaction, and decoded after it."""

from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence

from chatbot.adapters.search.caches import VectorCache
from chatbot.adapters.search.vector_pools import Chunk, Codes, Pool
from chatbot.adapters.search.vector_rows import VectorHead, VectorRows, VectorSigns
from chatbot.domain.search import Scope

_ATTEMPTS = 5
"""Chunks may be replaced between two statements of a transaction."""


class _Vectors:
    """The chunks of one length of vectors: decoded together, each by itself, or not yet."""

    def __init__(self, heads: Sequence[VectorHead], cache: VectorCache) -> None:
        self._heads, self._cache = heads, cache
        self._pool = cache.pools.get(self._key)
        known = [] if self._pool else [cache.chunks.get(head.id) for head in heads]
        self._chunks = {each.id: each for each in known if each is not None}
        self._read: Mapping[int, VectorSigns] = {}

    @property
    def unknown(self) -> Sequence[VectorHead]:
        return [] if self._pool else [head for head in self._heads if head.id not in self._chunks]

    def read(self, rows: Mapping[int, VectorSigns]) -> None:
        """Take what was read; chunks that are neither known nor among it were replaced meanwhile."""
        if self._pool is None:
            known = rows.keys() | self._chunks.keys()
            self._heads = [head for head in self._heads if head.id in known]
            self._read = rows

    def pool(self, dimension: int) -> Pool:
        if self._pool is None:
            chunks = [self._chunks.get(head.id) or self._decoded(head.id) for head in self._heads]
            self._cache.pools.put(self._key, made := Pool(chunks, dimension))
            return made
        return self._pool

    @property
    def _key(self) -> tuple[int, ...]:
        """The permanent key of the content."""
        return tuple(head.id for head in self._heads)

    def _decoded(self, number: int) -> Chunk:
        self._cache.chunks.put(number, made := Chunk.decoded(self._read[number]))
        return made


class VectorSnapshot:
    """The chunks of one model."""

    def __init__(self, heads: Sequence[VectorHead], cache: VectorCache) -> None:
        by_dimension: defaultdict[int, list[VectorHead]] = defaultdict(list)
        for head in heads:
            by_dimension[head.dimension].append(head)
        self._vectors = {each: _Vectors(of, cache) for each, of in by_dimension.items()}
        self._heads, self.cache = heads, cache

    @property
    def is_empty(self) -> bool:
        return not self._vectors

    def read(self, rows: VectorRows) -> bool:
        """Read the remaining data; returns whether all of it still exists."""
        unknown = [head for each in self._vectors.values() for head in each.unknown]
        scopes, ids = {head.scope for head in unknown}, [head.id for head in unknown]
        found = {row.id: row for row in rows.vector_signs(scopes, ids)}
        for each in self._vectors.values():
            each.read(found)
        return len(found) == len(unknown)

    def pool(self, dimension: int) -> Pool:
        """Returns all vectors of this length. Decoding them takes too long for the event loop."""
        found = self._vectors.get(dimension)
        return Pool([], dimension) if found is None else found.pool(dimension)

    def scopes_of(self, ids: Collection[int]) -> frozenset[Scope]:
        """Returns the access classes of chunks."""
        return frozenset(head.scope for head in self._heads if head.id in ids)


def vector_snapshot_of(
    rows: VectorRows, scopes: Collection[Scope], model: str, cache: VectorCache
) -> VectorSnapshot:
    """Reads which vectors there are, and the signs of those that are not in the cache."""
    for _ in range(_ATTEMPTS):
        found = VectorSnapshot(rows.vector_heads(scopes, model), cache)
        if found.read(rows):
            break
    return found


def read_codes(
    rows: VectorRows, scopes: Collection[Scope], ids: Collection[int], cache: VectorCache
) -> Mapping[int, Codes]:
    """Reads the codes of chunks and keeps them; those that were replaced are left out."""
    found = {number: Codes(data) for number, data in rows.vector_codes(scopes, ids).items()}
    for number, codes in found.items():
        cache.codes.put(number, codes)
    return found


def cached_codes(cache: VectorCache, ids: Collection[int]) -> dict[int, Codes]:
    """Returns the codes that have been read before."""
    return {number: found for number in ids if (found := cache.codes.get(number)) is not None}
