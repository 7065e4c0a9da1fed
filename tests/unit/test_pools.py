"""Grouping small segments: which, how stable the groups are, and that results are the same."""

import pytest

from chatbot.adapters.search import pools
from chatbot.adapters.search.pools import grouped, key_of
from chatbot.adapters.search.rows import SegmentHead
from chatbot.adapters.search.weighting import DOCUMENTS
from chatbot.domain.search import Passage, Scope
from index_rows import DictRows, fresh_index
from search_worlds import found


def heads(count: int, passages: int = 10) -> list[SegmentHead]:
    return [SegmentHead(n, Scope(f"class {n}"), passages, b"") for n in range(1, count + 1)]


def test_few_segments_and_large_ones_stay_as_they_are() -> None:
    assert [len(group) for group in grouped(heads(16))] == [1] * 16
    assert [len(group) for group in grouped(heads(40, passages=512))] == [1] * 40


def test_thousands_of_small_segments_become_a_few_groups() -> None:
    groups = grouped([*heads(5000), SegmentHead(9999, Scope("big"), 600, b"")])
    assert len(groups) < 100
    assert sum(len(group) for group in groups) == 5001
    assert max(sum(head.count for head in group) for group in groups) < 2000


def test_one_changed_segment_changes_one_group() -> None:
    before = heads(5000)
    after = [head._replace(dead=b"\1\0") if head.id == 77 else head for head in before]
    keys = [{key_of(group) for group in grouped(each)} for each in (before, after)]
    assert len(keys[0] ^ keys[1]) == 2


def test_a_segment_without_passages_is_in_no_group() -> None:
    assert grouped([SegmentHead(1, Scope("class"), 1, b"\0\0")]) == []


def test_grouped_segments_give_the_same_results(monkeypatch: pytest.MonkeyPatch) -> None:
    rows = DictRows()
    index = fresh_index(rows)
    scopes = [Scope(f"class {number}") for number in range(40)]
    for number, scope in enumerate(scopes):
        passages = [Passage(seq=n, text=f"kite number{number} of {n}") for n in range(1, 4)]
        index.append(scope, f"leaflet {number}", passages)
        index.fold(scope)
    index.remove(scopes[7], "leaflet 7", upto=1)
    questions = ["the kite of number7", "kite", "number11 and number39"]
    results = [found(index, scopes, text, DOCUMENTS) for text in questions]
    assert len(index.snapshot(scopes).opened().segments) == 1
    monkeypatch.setattr(pools, "_FEW", 100)
    assert len(index.snapshot(scopes).opened().segments) == 40
    assert [found(index, scopes, text, DOCUMENTS) for text in questions] == results
    assert [hit.parent for hit in results[2]][:2] == ["leaflet 11", "leaflet 11"]


def test_callers_with_different_rights_share_no_group() -> None:
    assert not {key_of(group) for group in grouped(heads(40))} & {
        key_of(group) for group in grouped(heads(39))
    }
