"""Operations on the items of a person's memory."""

from dataclasses import replace
from datetime import timedelta

import pytest

from chatbot.domain.errors import Conflict, InvalidInput, NotFound
from chatbot.domain.memory import MAX_VALUE_CHARS
from chatbot.domain.memory_changes import confirmed, edited, finished, reopened, restored
from chatbot.domain.memory_items import MAX_HISTORY, MAX_ITEMS, MAX_PENDING, checked
from chatbot.domain.person_memory import ItemKind, ItemOrigin, ItemState, MemorySettings
from person_memories import EMPTY, NEW_ID, ONE, TWO, only, role, said, source, with_new
from samples import T0

LATER = T0 + timedelta(days=1)
PENDING = ItemState.PENDING


def test_same_text_again_is_one_more_source_of_one_item() -> None:
    memory = with_new(said("Likes tea", source(1)))
    again = with_new(said("likes  TEA.", source(3, TWO)), memory=memory, now=LATER)
    assert only(again).sources == (source(1), source(3, TWO))
    assert (only(again).version, only(again).updated_at) == (1, LATER)
    assert with_new(said("Likes tea", source(1)), memory=again, now=LATER) == again


def test_new_value_of_a_key_supersedes_the_old_one_which_stays_in_the_history() -> None:
    memory = with_new(role("doctor", source(3)), memory=with_new(role("nurse")), now=LATER)
    item = only(memory)
    assert (item.text, item.version, item.sources) == ("doctor", 2, (source(3),))
    [old] = item.history
    assert (old.text, old.state, old.sources) == ("nurse", ItemState.SUPERSEDED, (source(1),))
    assert (old.valid_from, old.valid_to) == (T0, LATER)


def test_pending_value_waits_beside_the_active_one_until_it_is_confirmed() -> None:
    memory = with_new(role("nurse"), replace(role("boss", source(5)), state=PENDING))
    nurse, boss = memory.items
    assert [item.text for item in memory.active] == ["nurse"]
    item = only(confirmed(memory, boss, now=LATER, new_id=NEW_ID))
    assert (item.id, item.text, item.origin) == (nurse.id, "boss", ItemOrigin.CONFIRMED)
    assert item.history[-1].text == "nurse"


def test_pending_item_becomes_active_when_the_person_says_it() -> None:
    memory = with_new(said("Likes tea", source(1), state=PENDING))
    item = only(with_new(said("Likes tea", source(5)), memory=memory))
    assert (item.state, item.sources) == (ItemState.ACTIVE, (source(1), source(5)))


def test_pending_text_that_is_known_already_changes_no_state() -> None:
    memory = with_new(said("Likes tea"), said("Likes tea", source(7), state=PENDING))
    assert only(memory).state is ItemState.ACTIVE


def test_confirmed_item_is_active_and_its_pending_state_is_in_the_history() -> None:
    memory = with_new(said("Likes tea", state=PENDING))
    item = only(confirmed(memory, only(memory), now=LATER, new_id=NEW_ID))
    assert (item.state, item.version) == (ItemState.ACTIVE, 2)
    assert [each.state for each in item.history] == [PENDING]
    with pytest.raises(Conflict):
        confirmed(with_new(said("x")), item, now=LATER, new_id=NEW_ID)


def test_edit_replaces_the_text_and_keeps_the_sources() -> None:
    memory = with_new(said("Lives in Rome"))
    changed = edited(memory, only(memory), " Lives in Oslo ", now=LATER)
    item = only(changed)
    assert (item.text, item.origin, item.version) == ("Lives in Oslo", ItemOrigin.EDITED, 2)
    assert item.sources == (source(1),)
    assert edited(changed, item, "Lives in Oslo", now=LATER) == changed


@pytest.mark.parametrize("text", ["", "  ", "x" * (MAX_VALUE_CHARS + 1)])
def test_text_of_an_item_has_bounds(text: str) -> None:
    memory = with_new(said("x"))
    with pytest.raises(InvalidInput):
        edited(memory, only(memory), text, now=LATER)
    with pytest.raises(InvalidInput):
        checked(ItemKind.FACT, None, text)


@pytest.mark.parametrize(
    ("kind", "key"),
    [(ItemKind.FACT, "name"), (ItemKind.PROFILE, None), (ItemKind.PREFERENCE, " ")],
)
def test_only_profile_and_preferences_have_keys(kind: ItemKind, key: str | None) -> None:
    with pytest.raises(InvalidInput):
        checked(kind, key, "x")
    assert checked(ItemKind.PROFILE, " city ", " Oslo ").key == "city"


def test_done_item_is_not_active_and_can_be_reopened() -> None:
    memory = with_new(said("call HR", kind=ItemKind.TODO))
    done = finished(memory, only(memory), now=LATER)
    assert (only(done).state, only(done).valid_to) == (ItemState.DONE, LATER)
    assert not done.active
    assert finished(done, only(done), now=LATER) == done
    again = only(reopened(done, only(done), now=LATER))
    assert (again.state, again.version, again.valid_to) == (ItemState.ACTIVE, 3, None)


def test_superseded_version_becomes_active_again() -> None:
    memory = with_new(role("nurse"), role("doctor", source(3)))
    item = only(restored(memory, only(memory), 1, now=LATER))
    assert (item.text, item.version, item.sources) == ("nurse", 3, (source(1),))
    assert [each.text for each in item.history] == ["nurse", "doctor"]
    assert item.history[-1].state is ItemState.SUPERSEDED


def test_active_or_unknown_version_cannot_be_restored() -> None:
    memory = with_new(role("nurse"), role("doctor"))
    with pytest.raises(Conflict, match="active"):
        restored(memory, only(memory), 2, now=LATER)
    with pytest.raises(NotFound):
        restored(memory, only(memory), 9, now=LATER)


def test_version_is_not_restored_beside_another_item_with_its_key() -> None:
    memory = with_new(role("nurse"))
    memory = with_new(role("doctor"), memory=finished(memory, only(memory), now=T0))
    done, _ = memory.items
    with pytest.raises(Conflict, match="Another item"):
        reopened(memory, done, now=LATER)


def test_items_and_history_are_bounded_and_edited_items_go_last() -> None:
    memory = with_new(said("first"), said("second"))
    first, second = memory.items
    memory = edited(memory, first, "edited", now=T0)
    more = [said(f"number {n}") for n in range(MAX_ITEMS - 1)]
    full = with_new(*more, memory=memory, now=LATER)
    assert len(full.active) == MAX_ITEMS
    assert full.find(first.id) is not None
    assert full.find(second.id) is None
    waiting = [said(f"number {n}", state=PENDING) for n in range(MAX_PENDING + 2)]
    assert len(with_new(*waiting).items) == MAX_PENDING
    many = with_new(*(role(f"role {n}") for n in range(MAX_HISTORY + 5)))
    assert len(only(many).history) == MAX_HISTORY


def test_settings_decide_which_items_a_session_uses() -> None:
    memory = with_new(said("one"), said("two", source(1, TWO)))
    assert [item.text for item in memory.for_session(ONE)] == ["one", "two"]
    apart = replace(memory, settings=MemorySettings(cross_session=False))
    assert [item.text for item in apart.for_session(ONE)] == ["one"]
    off = replace(memory, settings=MemorySettings(enabled=False))
    assert not off.for_session(ONE)
    assert not off.active
    assert not off.settings.learns
    assert EMPTY.settings.learns
