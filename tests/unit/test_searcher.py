"""Searching a store: what is read, what runs in threads, and what is folded afterwards."""

import asyncio
import logging
from collections.abc import Sequence
from typing import Any, NoReturn

import pytest

from chatbot.domain.chat import MessageRole
from chatbot.domain.errors import StorageUnavailable
from chatbot.domain.identity import Owner
from chatbot.domain.search import Hit, Passage, Scope, messages_scope
from index_storage import IndexStorage

ANA = Owner(kind="user", id="ana")
LUIS = Owner(kind="user", id="luis")


def say(store: IndexStorage, owner: Owner, session: str, texts: Sequence[str]) -> None:
    roles = list(MessageRole)
    messages = [
        Passage(seq=n, text=text, role=roles[n % 2 - 1]) for n, text in enumerate(texts, start=1)
    ]
    store.index.append(messages_scope(owner), session, messages)


def refuse(*_: Any) -> NoReturn:
    raise AssertionError("A thread was used.")


def keys(hits: Sequence[Hit]) -> list[tuple[str, int]]:
    return [(hit.parent, hit.seq) for hit in hits]


async def test_a_person_finds_only_messages_of_their_own() -> None:
    store = IndexStorage()
    say(store, ANA, "s1", ["My kite is red.", "Nice!"])
    say(store, LUIS, "s2", ["My kite is blue.", "Good."])
    hits = await store.searcher.messages(ANA, "which kite do I have", limit=5)
    assert keys(hits)[0] == ("s1", 1)
    assert {hit.parent for hit in hits} == {"s1"}
    assert hits[0].why.words["kite"][1] == 0
    assert hits[0].why.speaker == 2.0
    assert store.rows.touched == {messages_scope(ANA)}


async def test_a_session_that_is_left_out_counts_in_the_statistics_all_the_same() -> None:
    store = IndexStorage()
    say(store, ANA, "s1", ["My kite is red.", "Nice!"])
    say(store, ANA, "s2", ["The kite again.", "Yes."])
    everything = await store.searcher.messages(ANA, "a kite", limit=9)
    others = await store.searcher.messages(ANA, "a kite", limit=9, without="s2")
    assert others == [hit for hit in everything if hit.parent == "s1"]
    assert len(others) == 2


async def test_nothing_to_search_needs_no_thread(monkeypatch: pytest.MonkeyPatch) -> None:
    store = IndexStorage()
    monkeypatch.setattr(asyncio, "to_thread", refuse)
    assert await store.searcher.messages(ANA, "kite", limit=5) == []
    assert await store.searcher.documents({"public"}, "kite", limit=5) == []
    assert await store.searcher.texts("kite", {}, limit=5) == []
    assert store.transactions == 2


async def test_documents_are_found_by_the_atoms_of_their_audience() -> None:
    store = IndexStorage()
    store.add_document("a", "handbook", ["Kites fly.", "Rain."], {"public"})
    store.add_document("b", "payroll", ["Kites cost money."], {"department:finance"})
    store.add_document("c", "secret", ["Kites are secret."], {"user:boss"})
    store.rows.touched.clear()
    hits = await store.searcher.documents({"public", "department:finance"}, "kite", limit=5)
    assert sorted(keys(hits)) == [("handbook", 1), ("payroll", 1)]
    assert store.rows.touched == {Scope("a"), Scope("b")}
    assert await store.searcher.documents({"user:other"}, "kite", limit=5) == []


async def test_labels_narrow_what_may_be_read_and_never_widen_it() -> None:
    store = IndexStorage()
    store.add_document("a", "handbook", ["Kites fly."], {"public", "label:sport"})
    store.add_document("b", "other", ["Kites fly."], {"public", "label:work"})
    store.add_document("c", "secret", ["Kites fly."], {"user:boss", "label:sport"})
    hits = await store.searcher.documents({"public"}, "kites", limit=5, labels=["sport", "fun"])
    assert keys(hits) == [("handbook", 1)]
    assert await store.searcher.documents({"public"}, "kites", limit=5, labels=["fun"]) == []


async def test_exact_forms_and_pairs_of_words_raise_a_passage() -> None:
    store = IndexStorage()
    texts = ["He planned holidays and budgets.", "The holiday budget of this year.", "None."]
    store.add_document("a", "handbook", texts, {"public"})
    hits = await store.searcher.documents({"public"}, "the holiday budget", limit=5)
    assert keys(hits) == [("handbook", 2), ("handbook", 1)]
    assert hits[0].why.exact > 0
    assert hits[0].why.pairs > 0
    assert (hits[1].why.exact, hits[1].why.pairs) == (0, 0)


async def test_a_passage_whose_text_is_gone_is_not_found() -> None:
    store = IndexStorage()
    store.add_document("a", "handbook", ["Kites fly.", "Kites fall."], {"public"})
    store.forget_text("handbook", 1)
    hits = await store.searcher.documents({"public"}, "kites", limit=5)
    assert keys(hits) == [("handbook", 2)]


async def test_a_question_of_stop_words_finds_nothing() -> None:
    store = IndexStorage()
    say(store, ANA, "s1", ["My kite is red.", "Nice!"])
    store.add_document("a", "handbook", ["Kites fly."], {"public"})
    for query in ("", "the of and", "?!"):
        assert await store.searcher.messages(ANA, query, limit=5) == []
        assert await store.searcher.documents({"public"}, query, limit=5) == []
        assert (
            await store.searcher.texts(query, {"i": [Passage(seq=0, text="Kite")]}, limit=5) == []
        )


async def test_texts_that_are_given_are_ranked_without_the_store() -> None:
    store = IndexStorage()
    items = {
        "i1": [Passage(seq=0, text="Plays the violin on Tuesdays")],
        "i2": [Passage(seq=0, text="Has an allergy to nuts")],
        "i3": [Passage(seq=0, text="Lives in Bilbao")],
    }
    hits = await store.searcher.texts("which allergies do I have", items, limit=2)
    assert keys(hits) == [("i2", 0)]
    assert store.transactions == 0


async def test_a_long_tail_is_folded_after_a_search_and_results_stay_the_same() -> None:
    store = IndexStorage()
    for number in range(5):
        say(store, ANA, f"s{number}", [f"Kite {number} of {n}" for n in range(14)])
    before = await store.searcher.messages(ANA, "the kite of 3", limit=9)
    await store.searcher.tidier.idle()
    scope = messages_scope(ANA)
    assert store.rows.tails([scope]) == []
    assert [head.count for head in store.rows.heads([scope])] == [70]
    assert await store.searcher.messages(ANA, "the kite of 3", limit=9) == before


async def test_a_long_tail_is_folded_after_many_turns_without_a_search() -> None:
    store = IndexStorage()
    for session in ("s1", "s2"):
        say(store, ANA, session, ["My kite is red.", "Nice!"] * 16)
    for _ in range(31):
        store.searcher.answered(ANA)
    store.searcher.answered(LUIS)
    await store.searcher.tidier.idle()
    assert len(store.rows.tails([messages_scope(ANA)])) == 64
    store.searcher.answered(ANA)
    await store.searcher.tidier.idle()
    assert store.rows.tails([messages_scope(ANA)]) == []
    assert [head.count for head in store.rows.heads([messages_scope(ANA)])] == [64]


async def test_turns_count_anew_after_a_search_has_folded() -> None:
    store = IndexStorage()
    for _ in range(31):
        store.searcher.answered(ANA)
    store.searcher.tidier.add([messages_scope(ANA)])
    await store.searcher.tidier.idle()
    say(store, ANA, "s1", ["My kite is red.", "Nice!"])
    store.searcher.answered(ANA)
    await store.searcher.tidier.idle()
    assert len(store.rows.tails([messages_scope(ANA)])) == 2


async def test_many_short_tails_are_folded_too() -> None:
    store = IndexStorage()
    for number in range(300):
        store.add_document(f"class {number}", f"d{number}", ["Kites", "Rain"], {"public"})
    before = await store.searcher.documents({"public"}, "kites", limit=9)
    await store.searcher.tidier.idle()
    scopes = store.index.scopes_for({"public"})
    assert store.rows.tails(scopes) == []
    assert len(store.rows.heads(scopes)) == 300
    assert await store.searcher.documents({"public"}, "kites", limit=9) == before


async def test_a_short_tail_stays() -> None:
    store = IndexStorage()
    say(store, ANA, "s1", ["My kite is red.", "Nice!"])
    await store.searcher.messages(ANA, "kite", limit=9)
    await store.searcher.tidier.idle()
    assert store.rows.heads([messages_scope(ANA)]) == []


async def test_a_store_that_fails_while_folding_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    store = IndexStorage()
    say(store, ANA, "s1", [f"Kite {n}" for n in range(63)])
    say(store, ANA, "s2", ["Kite", "Kite"])
    store.error = StorageUnavailable("The disk is gone.")
    with caplog.at_level(logging.WARNING, "chatbot.search"):
        store.searcher.tidier.add([messages_scope(ANA)])
        await store.searcher.tidier.idle()
    assert "The disk is gone." in caplog.text
    store.error = None
    store.searcher.tidier.add([messages_scope(ANA)])
    await store.searcher.tidier.idle()
    assert store.rows.tails([messages_scope(ANA)]) == []


async def test_nothing_is_folded_once_the_searcher_is_closed() -> None:
    store = IndexStorage()
    say(store, ANA, "s1", [f"Kite {n}" for n in range(63)])
    say(store, ANA, "s2", ["Kite", "Kite"])
    await store.searcher.aclose()
    await store.searcher.messages(ANA, "kite", limit=9)
    await store.searcher.tidier.idle()
    assert len(store.rows.tails([messages_scope(ANA)])) == 65
