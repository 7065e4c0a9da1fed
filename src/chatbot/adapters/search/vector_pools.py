"""The vectors that a search may compare: those of all permitted passages, by their signs."""

import logging
import math
from bisect import bisect_left, bisect_right
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import accumulate, chain
from typing import NamedTuple

from chatbot.adapters.search.stored_vectors import numbers, parts_of
from chatbot.adapters.search.vector_rows import VectorSigns
from chatbot.adapters.search.vectors import code_bytes, plane_bytes

PassageKey = tuple[str, int]
"""The parent and the number of a passage."""
_BYTES_OF_A_VECTOR = 90
"""The memory that a vector takes besides its signs."""
_BYTES_OF_A_CHUNK = 300
_log = logging.getLogger("chatbot.search")


@dataclass(frozen=True, kw_only=True)
class Chunk:
    """Some vectors of one parent, in the order of their passages."""

    id: int
    parent: str
    seqs: Sequence[int]
    signs: Sequence[int]

    @classmethod
    def decoded(cls, row: VectorSigns) -> "Chunk":
        """Returns the chunk; one that is damaged has no vectors."""
        width, seqs = plane_bytes(row.dimension), numbers(row.seqs)
        if len(row.signs) != width * len(seqs):
            _log.error("damaged vectors in the search index: run `chatbot reindex`")
            seqs = ()
        signs = parts_of(row.signs, width)[: len(seqs)]
        found = [int.from_bytes(each, "big") for each in signs]
        return cls(id=row.id, parent=row.parent, seqs=seqs, signs=found)

    @cached_property
    def size(self) -> int:
        return sum(_BYTES_OF_A_VECTOR + each.bit_length() // 8 for each in self.signs)


class Codes(NamedTuple):
    """The codes of the vectors of a chunk."""

    data: bytes

    @property
    def size(self) -> int:
        return len(self.data)

    def of(self, number: int, dimension: int) -> bytes:
        """Returns the code of one vector."""
        size = code_bytes(dimension)
        return self.data[number * size : (number + 1) * size]


class Found(NamedTuple):
    """Where a vector is: the number in its chunk, and its signs."""

    chunk: Chunk
    number: int

    @property
    def signs(self) -> int:
        return self.chunk.signs[self.number]


class Distances(NamedTuple):
    """The closest passages by signs, and the mean similarity of all passages to the question."""

    closest: Sequence[PassageKey]
    mean_cosine: float


class Pool:
    """Chunks of one model and dimension."""

    def __init__(self, chunks: Iterable[Chunk], dimension: int) -> None:
        self._chunks, self.dimension = list(chunks), dimension
        self._signs = list(chain.from_iterable(each.signs for each in self._chunks))
        self._starts = list(accumulate((len(c.signs) for c in self._chunks), initial=0))
        self._of_parent: defaultdict[str, list[Chunk]] = defaultdict(list)
        for each in self._chunks:
            self._of_parent[each.parent].append(each)

    @property
    def count(self) -> int:
        return len(self._signs)

    @property
    def size(self) -> int:
        """About the bytes that it takes in memory, those of its chunks included."""
        return sum(_BYTES_OF_A_CHUNK + each.size for each in self._chunks)

    def at(self, key: PassageKey) -> Found | None:
        """Returns the vector of a passage, if there is one."""
        parent, seq = key
        for each in self._of_parent.get(parent, ()):
            number = bisect_left(each.seqs, seq)
            if number < len(each.seqs) and each.seqs[number] == seq:
                return Found(each, number)
        return None

    def distances(self, signs: int, count: int, without: str | None = None) -> Distances:
        """Returns the `count` passages with most signs in common, not those of the parent `without`.

        Of equal ones, the first by parent and number.
        """
        distances = [(signs ^ each).bit_count() for each in self._signs]
        counts = Counter(distances)
        left_out = sum(len(each.signs) for each in self._of_parent.get(without or "", ()))
        least = _at_least(counts, count + left_out)
        close = [
            (distance, *self._key_of(place))
            for place, distance in enumerate(distances)
            if distance <= least
        ]
        best = sorted(each for each in close if each[1] != without)[:count]
        return Distances([(parent, seq) for _, parent, seq in best], self._mean_cosine(counts))

    def _key_of(self, place: int) -> PassageKey:
        number = bisect_right(self._starts, place) - 1
        chunk = self._chunks[number]
        return chunk.parent, chunk.seqs[place - self._starts[number]]

    def _mean_cosine(self, counts: Mapping[int, int]) -> float:
        total = sum(counts.values())
        return math.fsum(n * self.estimated_cosine(d) for d, n in counts.items()) / max(1, total)

    def estimated_cosine(self, distance: int) -> float:
        """Returns about the cosine of vectors of which so many signs differ."""
        return math.cos(math.pi * distance / self.dimension)


def _at_least(counts: Mapping[int, int], wanted: int) -> int:
    """Returns the least distance up to which there are so many."""
    for distance in sorted(counts):
        wanted -= counts[distance]
        if wanted <= 0:
            return distance
    return max(counts, default=0)
