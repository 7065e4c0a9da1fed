"""A cache of decoded data between searches, which keeps the most recently used up to a size."""

from collections import OrderedDict
from collections.abc import Callable, Hashable
from threading import Lock
from typing import Generic, Protocol, TypeVar

from chatbot.adapters.search.records import record_of
from chatbot.adapters.search.rows import SegmentHead
from chatbot.adapters.search.segments import Segment
from chatbot.adapters.search.statistics import Statistics
from chatbot.adapters.search.vector_pools import Chunk, Codes, Pool


class _Sized(Protocol):
    @property
    def size(self) -> int: ...


Kept = TypeVar("Kept", bound=_Sized)


class LruCache(Generic[Kept]):
    """Values up to `max_bytes`, for all threads."""

    def __init__(self, max_bytes: int) -> None:
        self._max_bytes = max_bytes
        self._values: OrderedDict[Hashable, Kept] = OrderedDict()
        self._lock = Lock()
        self.size = 0
        """The bytes of all values."""

    def get(self, key: Hashable) -> Kept | None:
        with self._lock:
            found = self._values.get(key)
            if found is not None:
                self._values.move_to_end(key)
            return found

    def put(self, key: Hashable, value: Kept) -> None:
        """Keep a value.

        Evicts the least recently used ones, and does not keep one that is too large.
        """
        with self._lock:
            if (old := self._values.pop(key, None)) is not None:
                self.size -= old.size
            self._values[key] = value
            self.size += value.size
            while self.size > self._max_bytes:
                _, dropped = self._values.popitem(last=False)
                self.size -= dropped.size

    def clear(self) -> None:
        with self._lock:
            self._values.clear()
            self.size = 0

    def get_or_make(self, key: Hashable, make: Callable[[], Kept]) -> Kept:
        found = self.get(key)
        if found is None:
            self.put(key, found := make())
        return found


class VectorCache:
    """Vectors by the ids of their chunks: signs one by one and together, and codes.

    A pool holds the same chunks, so that both take hardly more than one.
    """

    def __init__(self, signs_bytes: int = 64 * 2**20, codes_bytes: int = 64 * 2**20) -> None:
        self.chunks: LruCache[Chunk] = LruCache(signs_bytes)
        self.pools: LruCache[Pool] = LruCache(signs_bytes)
        self.codes: LruCache[Codes] = LruCache(codes_bytes)

    def clear(self) -> None:
        for each in (self.chunks, self.pools, self.codes):
            each.clear()


class IndexCache:
    """Shared by all transactions and threads of a process.

    A key always names the same content: ids of stored segments with their removed passages, or the
    rows of a tail. So no entry is ever outdated, and the results of one caller never depend on
    another.
    """

    def __init__(self, segment_bytes: int = 128 * 2**20, statistics_bytes: int = 8 * 2**20) -> None:
        self.segments: LruCache[Segment] = LruCache(segment_bytes)
        self.statistics: LruCache[Statistics] = LruCache(statistics_bytes)
        self.vectors = VectorCache()

    def clear(self) -> None:
        """Clear the cache, including the most recently analysed texts."""
        self.segments.clear()
        self.statistics.clear()
        self.vectors.clear()
        record_of.cache_clear()

    def stored(self, head: SegmentHead) -> Segment | None:
        """Returns a stored segment if it is decoded, with its currently removed passages."""
        found = self.segments.get(head.id)
        if found is not None and found.dead != head.dead:
            self.segments.put(head.id, found := found.without(head.dead))
        return found

    def decoded(self, head: SegmentHead, data: bytes) -> Segment:
        """Decodes a stored segment and keeps it."""
        self.segments.put(head.id, found := Segment.decoded(data, head.dead))
        return found
