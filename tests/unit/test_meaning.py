"""Passages are found by the meaning of a question, and nothing breaks if a vector is missing."""

import asyncio
import logging
from collections.abc import Sequence
from typing import Any

import pytest

from chatbot.adapters.search import vector_snapshots
from chatbot.adapters.search.vector_pools import Chunk, Pool
from chatbot.adapters.search.vector_rows import VectorSigns
from chatbot.domain.identity import Owner
from chatbot.domain.search import Embedded, Hit, Passage, Scope, Vector, messages_scope
from index_storage import IndexStorage
from vectors_of_texts import MODEL, WordEmbedder, embedded

ANA = Owner(kind="user", id="ana")
HOLIDAYS, SALARIES = "holidays are thirty days", "salaries are paid monthly"


class Synonyms(WordEmbedder):
    """A question about time off is embedded as if it were the text about holidays."""

    async def embed(self, texts: Sequence[str]) -> Sequence[Vector]:
        return await super().embed([HOLIDAYS if "time off" in text else text for text in texts])


def company(embedder: WordEmbedder | None) -> IndexStorage:
    store = IndexStorage(embedder)
    store.add_document("one", "holidays", [HOLIDAYS, "the weather"], {"public"})
    store.add_document("one", "salaries", [SALARIES], {"public"})
    store.add_document("secret", "board", [HOLIDAYS], {"role:board"})
    return store


def embed(store: IndexStorage, scope: str, document: str, texts: Sequence[str]) -> None:
    store.index.put_vectors(Scope(scope), document, embedded(dict(enumerate(texts, start=1))))


def keys(hits: Sequence[Hit]) -> list[tuple[str, int]]:
    return [(hit.parent, hit.seq) for hit in hits]


async def test_a_question_without_a_known_word_finds_by_meaning() -> None:
    store = company(Synonyms())
    embed(store, "one", "holidays", [HOLIDAYS, "the weather"])
    embed(store, "one", "salaries", [SALARIES])
    embed(store, "secret", "board", [HOLIDAYS])
    hits = await store.searcher.documents(["public"], "time off", limit=5)
    assert keys(hits)[0] == ("holidays", 1)
    assert {hit.parent for hit in hits} == {"holidays", "salaries"}
    assert not hits[0].why.words
    assert hits[0].why.meaning > 1
    assert hits[0].why.likeness == 1.0


async def test_a_passage_without_a_vector_is_neither_raised_nor_lowered() -> None:
    store = company(WordEmbedder())
    plain = company(None)
    embed(store, "one", "holidays", [HOLIDAYS, "the weather"])
    found = await store.searcher.documents(["public"], "paid salaries", limit=5)
    by_words = await plain.searcher.documents(["public"], "paid salaries", limit=5)
    assert [hit for hit in found if hit.parent == "salaries"] == by_words
    assert {hit.parent for hit in found} == {"holidays", "salaries"}


async def test_without_an_embedder_no_vector_is_read(monkeypatch: pytest.MonkeyPatch) -> None:
    store = company(None)
    embed(store, "one", "holidays", [HOLIDAYS, "the weather"])
    for name in ("vector_heads", "vector_signs", "vector_codes", "vector_parts"):
        monkeypatch.setattr(type(store.rows), name, None)
    before = store.transactions
    assert await store.searcher.documents(["public"], "holidays", limit=5)
    assert await store.searcher.messages(ANA, "holidays", limit=5) == []
    assert store.transactions - before == 3


@pytest.mark.parametrize("model", [None, "openai/other"])
async def test_the_question_is_not_sent_if_there_is_nothing_to_compare_it_with(
    model: str | None,
) -> None:
    embedder = WordEmbedder()
    store = company(embedder)
    if model is not None:
        store.index.put_vectors(Scope("one"), "holidays", embedded({1: HOLIDAYS}, model=model))
    store.index.put_vectors(Scope("secret"), "board", embedded({1: HOLIDAYS}))
    assert len(await store.searcher.documents(["public"], "holidays", limit=5)) == 1
    assert embedder.asked == []


async def test_without_passages_no_vector_is_read() -> None:
    store = company(WordEmbedder())
    store.rows.vector_heads = None  # type: ignore[assignment,method-assign]
    assert await store.searcher.documents(["nobody"], "holidays", limit=5) == []


async def test_vectors_of_another_length_are_left_alone() -> None:
    store, plain = company(WordEmbedder(24)), company(None)
    embed(store, "one", "holidays", [HOLIDAYS, "the weather"])
    found = await store.searcher.documents(["public"], "holidays", limit=5)
    assert found == await plain.searcher.documents(["public"], "holidays", limit=5)


async def test_decoded_vectors_are_not_read_again() -> None:
    store = company(WordEmbedder())
    embed(store, "one", "holidays", [HOLIDAYS, "the weather"])
    first = await store.searcher.documents(["public"], "holidays", limit=5)
    transactions, original, read = store.transactions, store.rows.vector_signs, list[Any]()

    def noted(scopes: Any, ids: Any) -> Any:
        read.append(ids)
        return original(scopes, ids)

    store.rows.vector_signs = noted  # type: ignore[method-assign]
    assert await store.searcher.documents(["public"], "holidays", limit=5) == first
    assert store.transactions == transactions + 2, "the snapshot and the texts"
    assert read == [[]]


async def test_a_message_that_was_embedded_later_is_found_by_meaning() -> None:
    store, scope = IndexStorage(Synonyms()), messages_scope(ANA)
    said = [Passage(seq=1, text=HOLIDAYS), Passage(seq=2, text=SALARIES)]
    store.index.append(scope, "s1", said)
    assert await store.searcher.messages(ANA, "time off", limit=5) == []
    store.index.put_vectors(scope, "s1", embedded(said))
    assert keys(await store.searcher.messages(ANA, "time off", limit=5))[0] == ("s1", 1)
    assert await store.searcher.messages(ANA, "time off", limit=5, without="s1") == []


async def test_a_chunk_that_is_replaced_during_a_search_is_compared_by_its_signs() -> None:
    store = company(Synonyms())
    embed(store, "one", "holidays", [HOLIDAYS, "the weather"])
    store.rows.vector_codes = lambda *_: {}  # type: ignore[method-assign]
    hits = await store.searcher.documents(["public"], "time off", limit=5)
    assert keys(hits)[0] == ("holidays", 1)
    assert hits[0].why.likeness == 1.0


async def test_chunks_that_vanish_between_two_statements_are_read_again_or_left_out() -> None:
    store = company(WordEmbedder())
    embed(store, "one", "holidays", [HOLIDAYS, "the weather"])
    embed(store, "one", "salaries", [SALARIES])
    original, attempts = store.rows.vector_signs, list[object]()

    def without_one(scopes: Any, ids: Any) -> Any:
        attempts.append(ids)
        return original(scopes, ids)[:1]

    store.rows.vector_signs = without_one  # type: ignore[method-assign]
    hits = await store.searcher.documents(["public"], "the monthly", limit=5)
    assert len(attempts) == vector_snapshots._ATTEMPTS
    assert ("holidays", 2) in keys(hits)
    store.rows.vector_signs = original  # type: ignore[method-assign]
    again = await store.searcher.documents(["public"], "the monthly", limit=5)
    assert [hit.why.meaning != 0 for hit in again] == [True] * 3


async def test_equal_vectors_add_nothing() -> None:
    store = IndexStorage(WordEmbedder())
    store.add_document("one", "d", ["kite"] * 3, {"public"})
    store.index.put_vectors(Scope("one"), "d", embedded(dict.fromkeys((1, 2, 3), "kite")))
    hits = await store.searcher.documents(["public"], "kite", limit=5)
    assert [hit.why.meaning for hit in hits] == [0.0] * 3


def chunk(number: int, parent: str, signs: Sequence[int]) -> Chunk:
    return Chunk(id=number, parent=parent, seqs=range(1, len(signs) + 1), signs=signs)


def test_the_closest_are_found_behind_those_that_are_left_out() -> None:
    pool = Pool([chunk(1, "a", [0b1111, 0b1111, 0b0001]), chunk(2, "b", [0b0000, 0b0111])], 4)
    assert pool.distances(0b1111, 2).closest == [("a", 1), ("a", 2)]
    assert pool.distances(0b1111, 2, "a").closest == [("b", 2), ("b", 1)]
    assert pool.distances(0b1111, 9, "b").closest == [("a", 1), ("a", 2), ("a", 3)]
    assert Pool([], 4).distances(1, 2).closest == []


def test_a_damaged_chunk_has_no_vectors(caplog: pytest.LogCaptureFixture) -> None:
    row = VectorSigns(1, "a", 16, b"\1\0\0\0", b"\0\0\0")
    with caplog.at_level(logging.ERROR):
        assert Chunk.decoded(row).signs == []
    assert "chatbot reindex" in caplog.text


async def test_searches_at_the_same_time_find_the_same() -> None:
    store = company(WordEmbedder())
    embed(store, "one", "holidays", [HOLIDAYS, "the weather"])
    one, two = await asyncio.gather(
        *(store.searcher.documents(["public"], "holidays", limit=5) for _ in range(2))
    )
    assert one == two
    assert Embedded(model=MODEL, vectors={}).vectors == {}
