"""The index finds what its definition says, however it came to be, and reads nothing else."""

from collections.abc import Iterator, Sequence
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from chatbot.adapters.search import candidates, pools
from chatbot.adapters.search.weighting import MESSAGES, Weights
from chatbot.domain.search import Passage, Scope
from index_rows import DictRows, fresh_index
from search_oracle import Oracle
from search_worlds import (
    FEW_DOCUMENTS,
    FEW_MESSAGES,
    SCOPES,
    Write,
    apply,
    found,
    left_of,
    texts,
    writes,
)

some_scopes = st.lists(st.sampled_from(SCOPES), min_size=1, unique=True)
few = st.sampled_from([FEW_MESSAGES, FEW_DOCUMENTS])


@pytest.fixture(autouse=True, scope="module")
def _small() -> Iterator[None]:
    """Makes small worlds take all the ways of large ones."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(candidates, "_WALKED", 2)
        patch.setattr(candidates, "_LOOKUP_COST", 2)
        patch.setattr(pools, "_FEW", 1)
        yield


@given(writes(), some_scopes, texts, few, st.sampled_from([None, "p1", "p2"]))
@settings(max_examples=80, deadline=None)
def test_the_index_finds_what_its_definition_says(
    done: list[Write], scopes: Sequence[Scope], text: str, weights: Weights, without: str | None
) -> None:
    rows = DictRows()
    index = fresh_index(rows)
    for write in done:
        apply(index, write)
    rows.touched.clear()
    known = left_of(done, scopes)
    expected = Oracle(known, text, weights).hits(2, without=without) if known else []
    assert found(index, scopes, text, weights, limit=2, without=without) == expected
    assert rows.touched <= set(scopes)


@given(writes(), some_scopes, texts, few)
@settings(max_examples=30, deadline=None)
def test_forbidden_passages_change_nothing_of_a_result(
    done: list[Write], scopes: Sequence[Scope], text: str, weights: Weights
) -> None:
    with_all, with_permitted = fresh_index(), fresh_index()
    for write in done:
        apply(with_all, write)
        if write.scope in scopes:
            apply(with_permitted, write)
    hits = [found(index, scopes, text, weights) for index in (with_all, with_permitted)]
    assert repr(hits[0]) == repr(hits[1])


def test_the_best_are_found_exactly_in_a_world_whose_postings_are_long() -> None:
    random = Random(11)
    vocabulary = [f"word{number}" for number in range(60)]
    shares = [1 / (number + 1) for number in range(60)]
    known = {
        ("p", seq): Passage(
            seq=seq, text=" ".join(random.choices(vocabulary, shares, k=random.randint(3, 20)))
        )
        for seq in range(1, 400)
    }
    index = fresh_index()
    index.put(SCOPES[0], "p", list(known.values()))
    for _ in range(20):
        text = "the " + " ".join(random.choices(vocabulary, k=4))
        for weights in (FEW_MESSAGES, FEW_DOCUMENTS, MESSAGES):
            expected = Oracle(known, text, weights).hits(2)
            assert found(index, SCOPES[:1], text, weights, limit=2) == expected
