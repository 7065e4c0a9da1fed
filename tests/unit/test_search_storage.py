"""The bytes of the index: damage is detected, and decoded segments are kept within bounds."""

import pytest

from chatbot.adapters.search.caches import IndexCache, LruCache
from chatbot.adapters.search.folding import segment_of_rows
from chatbot.adapters.search.packing import DamagedIndex
from chatbot.adapters.search.records import tail_row, unpacked
from chatbot.adapters.search.rows import SegmentHead
from chatbot.adapters.search.segments import Segment, packed_numbers
from chatbot.adapters.search.stored_index import StoredIndex
from chatbot.domain.search import Passage, Scope
from index_rows import DictRows, fresh_index

CLASS = Scope("one")


def data_of(texts: list[str]) -> bytes:
    passages = [Passage(seq=n, text=text) for n, text in enumerate(texts, start=1)]
    return segment_of_rows([tail_row("p", passage) for passage in passages])


class Sized:
    def __init__(self, size: int) -> None:
        self.size = size


@pytest.mark.parametrize("place", [0, 5, 10, 40, 60, -1])
def test_a_changed_byte_of_a_segment_is_detected(place: int) -> None:
    data = bytearray(data_of(["a kite", "the rain"]))
    data[place] ^= 4
    if 4 <= place < 8:  # the version is not covered: it is what `reindex` looks at
        assert Segment.decoded(bytes(data)).version != 1
        return
    with pytest.raises(DamagedIndex, match="reindex"):
        Segment.decoded(bytes(data))


@pytest.mark.parametrize("size", [0, 10, 60])
def test_a_torn_segment_is_detected(size: int) -> None:
    with pytest.raises(DamagedIndex):
        Segment.decoded(data_of(["a kite", "the rain"])[:size])


@pytest.mark.parametrize("size", [0, 8, 20])
def test_a_torn_record_of_the_tail_is_detected(size: int) -> None:
    record = tail_row("p", Passage(seq=1, text="a kite in the rain")).record
    with pytest.raises(DamagedIndex):
        unpacked(record[:size])


def test_the_least_recently_used_values_leave_a_full_cache() -> None:
    cache: LruCache[Sized] = LruCache(10)
    for key in "abc":
        cache.put(key, Sized(4))
    assert (cache.get("a"), cache.size) == (None, 8)
    assert cache.get("b") is not None
    cache.put("d", Sized(4))
    assert cache.get("c") is None
    assert cache.get("b") is not None


def test_a_value_that_is_kept_again_takes_the_place_of_the_old_one() -> None:
    cache: LruCache[Sized] = LruCache(10)
    cache.put("a", Sized(4))
    cache.put("a", new := Sized(6))
    assert (cache.get("a"), cache.size) == (new, 6)


def test_a_value_larger_than_the_cache_is_not_kept() -> None:
    cache: LruCache[Sized] = LruCache(10)
    cache.put("a", Sized(11))
    assert (cache.get("a"), cache.size) == (None, 0)


def test_a_decoded_segment_serves_other_removed_passages_without_its_data() -> None:
    cache, data = IndexCache(), data_of(["a kite", "the rain", "kites"])
    cache.decoded(SegmentHead(1, CLASS, 3, b""), data)
    found = cache.stored(SegmentHead(1, CLASS, 3, packed_numbers([1])))
    assert found is not None
    assert found.live_count == 2
    assert cache.stored(SegmentHead(2, CLASS, 3, b"")) is None


def test_a_second_search_reads_no_data() -> None:
    class CountedRows(DictRows):
        reads = 0

        def data(self, scopes: object, ids: object) -> dict[int, bytes]:
            self.reads += 1
            return dict(super().data(scopes, ids))  # type: ignore[arg-type] # handed on as it is

    rows = CountedRows()
    index = fresh_index(rows)
    index.put(CLASS, "manual", [Passage(seq=n, text="kite") for n in range(70)])
    index.snapshot([CLASS]).opened()
    index.remove(CLASS, "manual", upto=3)
    assert index.snapshot([CLASS]).opened().statistics.passages == 66
    assert rows.reads == 1


def test_an_index_without_room_in_its_cache_finds_the_same() -> None:
    rows = DictRows()
    index = StoredIndex(rows, IndexCache(segment_bytes=1, statistics_bytes=1))
    index.put(CLASS, "manual", [Passage(seq=n, text="kite") for n in range(70)])
    index.remove(CLASS, "manual", upto=3)
    assert index.snapshot([CLASS]).opened().statistics.passages == 66
    assert index.indexed(CLASS) == {"manual": 66}
