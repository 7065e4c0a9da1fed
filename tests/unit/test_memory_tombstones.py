"""Forgetting: nothing of the text stays, and old messages do not teach it again."""

from datetime import timedelta

import pytest

from chatbot.adapters.storage.codec import codec
from chatbot.domain.errors import Conflict
from chatbot.domain.memory_changes import edited, restored
from chatbot.domain.memory_items import MAX_SOURCES, MAX_TOMBSTONES
from chatbot.domain.memory_tombstones import forgotten, is_forgotten, without_messages
from chatbot.domain.person_memory import ItemState, PersonMemory
from person_memories import NEW_ID, ONE, TWO, only, role, said, source, with_new
from samples import T0

LATER = T0 + timedelta(days=1)


def forget(memory: PersonMemory) -> PersonMemory:
    return forgotten(memory, memory.items, now=LATER, new_id=NEW_ID)


def test_forgotten_item_has_neither_texts_nor_quotes_nor_history() -> None:
    memory = with_new(role("nurse", source(1, quote="I am a nurse")), role("doctor", source(3)))
    gone = forget(memory)
    stored = repr(codec(PersonMemory).to_json(gone))
    assert not [word for word in ("nurse", "doctor", "as said") if word in stored]
    item = only(gone)
    assert (item.state, item.key, item.history) == (ItemState.FORGOTTEN, "role", ())
    assert not gone.active


def test_messages_that_taught_it_are_hidden_with_their_answers() -> None:
    memory = with_new(role("nurse", source(1)), role("doctor", source(3, TWO)))
    asked = [source(7)]
    gone = forgotten(memory, memory.items, now=LATER, new_id=NEW_ID, said_in=asked)
    assert gone.hidden_messages == {(ONE, 1), (ONE, 2), (TWO, 3), (TWO, 4), (ONE, 7), (ONE, 8)}
    assert not memory.hidden_messages


@pytest.mark.parametrize("is_keyed", [False, True], ids=["said again", "versions"])
def test_all_messages_that_taught_it_are_hidden_however_many_there_were(*, is_keyed: bool) -> None:
    """Sources and versions are limited, forgetting is not."""
    news = (
        role(f"title {n}", source(n)) if is_keyed else said("Is allergic to nuts", source(n))
        for n in range(1, 61, 2)
    )
    memory = with_new(*news)
    assert len(only(memory).sources) <= MAX_SOURCES
    assert {seq for _, seq in forget(memory).hidden_messages} == {*range(1, 61)}
    assert "as said" not in repr(forget(memory))


def test_messages_of_an_item_that_waited_are_hidden_too() -> None:
    waiting = (said("Is vegan", source(n), state=ItemState.PENDING) for n in range(1, 61, 2))
    memory = with_new(*waiting, said("Is vegan", source(61)))
    assert {seq for _, seq in forget(memory).hidden_messages} == {*range(1, 63)}


def test_only_messages_from_before_are_kept_from_teaching_it_again() -> None:
    gone = forget(with_new(said("Is allergic to nuts")))
    assert is_forgotten(gone, "is ALLERGIC to nuts.", said_at=T0)
    assert not is_forgotten(gone, "is allergic to nuts", said_at=LATER + timedelta(seconds=1))
    assert not is_forgotten(gone, "is allergic to eggs", said_at=T0)


def test_digests_are_salted_by_person() -> None:
    one, two = forget(with_new(said("x"))), forget(with_new(said("x")))
    assert one.digest("x") != two.digest("x")


def test_forgotten_item_can_neither_be_edited_nor_restored() -> None:
    gone = forget(with_new(said("x")))
    with pytest.raises(Conflict):
        edited(gone, only(gone), "y", now=LATER)
    with pytest.raises(Conflict):
        restored(gone, only(gone), 1, now=LATER)
    assert forget(gone) == gone


def test_tombstones_are_bounded() -> None:
    memory = with_new(*(said(f"number {n}") for n in range(400)))
    memory = forget(with_new(*(said(f"more {n}") for n in range(400)), memory=forget(memory)))
    assert len(memory.items) == MAX_TOMBSTONES


def test_quotes_of_removed_messages_are_erased_and_items_stay() -> None:
    memory = with_new(role("nurse", source(1)), role("doctor", source(3), source(5, TWO)))
    left = only(without_messages(memory, ONE))
    assert [each.quote for each in left.sources] == ["", "as said"]
    assert left.history[0].sources[0].quote == ""
    assert not left.is_of(ONE)
    assert left.is_of(TWO)
    assert left.text == "doctor"


def test_quotes_of_later_messages_stay_when_old_ones_are_removed() -> None:
    memory = with_new(said("x", source(1), source(5)))
    left = only(without_messages(memory, ONE, upto=4))
    assert [each.quote for each in left.sources] == ["", "as said"]
    assert left.is_of(ONE)
