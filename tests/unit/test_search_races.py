"""Searches while other transactions fold: databases show each statement what is committed by then."""

from collections.abc import Callable, Collection, Mapping, Sequence

import pytest

from chatbot.adapters.search.caches import IndexCache
from chatbot.adapters.search.rows import TailRow
from chatbot.adapters.search.stored_index import StoredIndex
from chatbot.domain.errors import StorageUnavailable
from chatbot.domain.search import Passage, Scope
from index_rows import DictRows, fresh_index

CLASS = Scope("one")
PASSAGES = [Passage(seq=n, text=f"kite {n}") for n in range(1, 6)]


class RacedRows(DictRows):
    """Calls `after_tails` once tails have been read, and `before_data` before data are read."""

    after_tails: Callable[[], None] = staticmethod(lambda: None)
    before_data: Callable[[], None] = staticmethod(lambda: None)

    def tails(self, scopes: Collection[Scope]) -> Sequence[tuple[Scope, TailRow]]:
        found = super().tails(scopes)
        call, self.after_tails = self.after_tails, lambda: None
        call()
        return found

    def data(self, scopes: Collection[Scope], ids: Sequence[int]) -> Mapping[int, bytes]:
        self.before_data()
        return super().data(scopes, ids)


def test_a_tail_that_is_folded_while_it_is_read_counts_once() -> None:
    rows = RacedRows()
    index = fresh_index(rows)
    index.append(CLASS, "session", PASSAGES)
    expected = index.snapshot([CLASS]).opened().statistics
    rows.after_tails = lambda: index.fold(CLASS)
    found = index.snapshot([CLASS]).opened()
    assert len(rows.heads([CLASS])) == 1
    assert found.statistics == expected


def test_segments_that_are_replaced_while_they_are_read_are_read_again() -> None:
    rows = RacedRows()
    index = StoredIndex(rows, IndexCache())
    index.put(CLASS, "manual", [Passage(seq=n, text="kite") for n in range(70)])
    index.put(CLASS, "guide", [Passage(seq=n, text="kite") for n in range(70)])
    folds = [lambda: fresh_index(rows).fold(CLASS, is_whole=True)]

    def fold_once() -> None:
        if folds:
            folds.pop()()

    rows.before_data = fold_once
    assert index.snapshot([CLASS]).opened().statistics.passages == 140
    assert len(rows.heads([CLASS])) == 1


def test_a_search_gives_up_on_an_index_that_never_rests() -> None:
    rows = RacedRows()
    index = fresh_index(rows)

    def replace() -> None:
        for head in rows.heads([CLASS]):
            rows.drop_segment(CLASS, head.id)
        index.append(CLASS, "manual", [Passage(seq=n, text="kite") for n in range(70)])

    replace()
    rows.before_data = replace
    with pytest.raises(StorageUnavailable):
        index.snapshot([CLASS])
