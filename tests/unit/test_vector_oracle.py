"""A search by words and meaning finds what its definition says, however the index came to be."""

from collections.abc import Iterator, Sequence
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from chatbot.adapters.search import pools, stored_vectors
from chatbot.adapters.search.weighting import DOCUMENTS, MESSAGES, Weights
from chatbot.domain.search import Hit, Passage
from index_rows import DictRows, fresh_index
from search_oracle import Analysed, Oracle
from search_worlds import FEW_DOCUMENTS, FEW_MESSAGES, SCOPES, left_of, texts
from vector_oracle import MeaningOracle
from vector_worlds import (
    DIMENSION,
    Change,
    changes,
    found_with_vectors,
    make,
    vectors_of,
    writes_in,
)
from vectors_of_texts import embedded, vector_of

some_scopes = st.lists(st.sampled_from(SCOPES), min_size=1, unique=True)
kinds = st.sampled_from([FEW_MESSAGES, FEW_DOCUMENTS, MESSAGES, DOCUMENTS])


@pytest.fixture(autouse=True, scope="module")
def _small() -> Iterator[None]:
    """Makes small worlds take all the ways of large ones."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(pools, "_FEW", 1)
        patch.setattr(stored_vectors, "_MOST_VECTORS", 3)
        yield


@given(changes(), some_scopes, texts, kinds, st.sampled_from([None, "p1", "p2"]))
@settings(max_examples=60, deadline=None)
def test_words_and_meaning_find_what_their_definition_says(
    done: list[Change], scopes: Sequence[str], text: str, weights: Weights, without: str | None
) -> None:
    permitted = [scope for scope in SCOPES if scope in scopes]
    rows = DictRows()
    index = fresh_index(rows)
    make(index, done)
    rows.touched.clear()
    known, vectors = left_of(writes_in(done), permitted), vectors_of(done, permitted)
    expected: Sequence[Hit] = []
    if any(Analysed(passage).length for passage in known.values()):
        meanings = MeaningOracle(vectors, vector_of(text, DIMENSION)) if vectors else None
        expected = Oracle(known, text, weights, meanings).hits(2, without=without)
    found = found_with_vectors(index, permitted, text, weights, without=without)
    assert found == expected
    assert rows.touched <= set(permitted)


@given(changes(), some_scopes, texts, kinds)
@settings(max_examples=30, deadline=None)
def test_vectors_of_forbidden_passages_change_nothing_of_a_result(
    done: list[Change], scopes: Sequence[str], text: str, weights: Weights
) -> None:
    permitted = [scope for scope in SCOPES if scope in scopes]
    with_all, with_permitted = fresh_index(), fresh_index()
    make(with_all, done)
    make(with_permitted, done, permitted)
    found = [
        found_with_vectors(index, permitted, text, weights) for index in (with_all, with_permitted)
    ]
    assert repr(found[0]) == repr(found[1])


def test_a_search_that_was_decoded_before_finds_the_same() -> None:
    random = Random(7)
    words = [f"word{number}" for number in range(30)]
    passages = [
        Passage(seq=seq, text=" ".join(random.choices(words, k=6))) for seq in range(1, 200)
    ]
    index = fresh_index()
    index.put(SCOPES[0], "p", passages)
    index.put_vectors(SCOPES[0], "p", embedded(passages, dimension=DIMENSION))
    asked = " ".join(words[:3])
    meanings = MeaningOracle(
        {("p", each.seq): vector_of(each.text, DIMENSION) for each in passages},
        vector_of(asked, DIMENSION),
    )
    known = {("p", each.seq): each for each in passages}
    for weights in (DOCUMENTS, MESSAGES):
        expected = Oracle(known, asked, weights, meanings).hits(2)
        for _ in range(2):
            assert found_with_vectors(index, SCOPES[:1], asked, weights) == expected
