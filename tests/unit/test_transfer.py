"""Copying a store: what is new, what is updated, and what is left unchanged."""

from collections.abc import Generator, Iterator, Sequence
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from chatbot.application.transfer import Outcome, Step, StoreCopy, compared
from chatbot.domain.chat import SessionId
from chatbot.domain.errors import Conflict, SessionBusy
from chatbot.domain.identity import Owner, User
from chatbot.domain.permissions import DEFAULT_ROLES, Permission, Role
from chatbot.domain.ports.blobs import Blob
from chatbot.domain.ports.export import (
    Change,
    Conversation,
    ExportTarget,
    Item,
    Unreadable,
    kind_of,
)
from chatbot.domain.ports.journal import JournalEntry, JournalKind
from chatbot.domain.session_fields import Hold
from samples import EVERYTHING, T0, conversation, remembered, user

REFUSED = next(item for item in EVERYTHING if isinstance(item, User) and item.id.endswith("2"))


class Shelf(ExportTarget):
    """An export in a list."""

    def __init__(self, *items: Item | Unreadable) -> None:
        self.kept = list(items)
        self.refuses: Conflict | None = None
        self.spoils = False

    def items(self) -> Generator[Item | Unreadable]:
        yield from self.kept

    def entries(self, journal: JournalKind) -> Iterator[JournalEntry | Unreadable]:
        raise NotImplementedError

    def hidden_entries(self, _: JournalKind, /) -> Iterator[int]:
        return iter(())

    def session_keys(self) -> set[tuple[Owner, SessionId]]:
        sessions = [item.session for item in self.kept if isinstance(item, Conversation)]
        return {(session.owner, session.id) for session in sessions}

    def find(self, item: Item) -> Item | None:
        kept = (each for each in self.kept if not isinstance(each, Unreadable))
        return next((each for each in kept if _key(each) == _key(item)), None)

    def put(self, changes: Sequence[Change]) -> None:
        if self.refuses and any(change.item == REFUSED for change in changes):
            raise self.refuses
        for change in changes:
            self.kept = [item for item in self.kept if item != change.over]
            spoilt = self.spoils and isinstance(change.item, Conversation)
            self.kept.append(conversation(texts=["?"]) if spoilt else change.item)

    def remove(self, owner: Owner, session_id: SessionId) -> None:
        self.kept = [item for item in self.kept if _key_of(item) != (owner, session_id)]


def _key_of(item: Item | Unreadable) -> object:
    return None if isinstance(item, Unreadable) else _key(item)


def _key(item: Item) -> object:
    if isinstance(item, Conversation):
        return item.session.owner, item.session.id
    if isinstance(item, JournalEntry):
        return item.journal, item.seq
    if isinstance(item, Blob):
        return "blob", item.name
    return kind_of(item), kind_of(item).key_of(item)


def outcomes(source: Shelf, target: Shelf) -> list[Outcome]:
    return [step.outcome for step in StoreCopy(source, target).steps()]


def with_fields(found: Conversation, **given: Any) -> Conversation:
    return replace(found, session=replace(found.session, **given))


OLD = conversation(texts=["Hi", "Hello!"], memory=remembered(version=1))


@pytest.mark.parametrize(
    "new",
    [
        conversation(texts=["Hi", "Hello!", "More"], memory=remembered(version=1)),
        conversation(texts=["Hi", "Hello!"], memory=remembered("new", version=2)),
        conversation(texts=["Hi", "Hello!", "More"], memory=remembered("new", version=2)),
        with_fields(OLD, title="Given", revision=1),
        with_fields(OLD, hold=Hold(reason="A court asked.", at=T0), revision=2),
        with_fields(
            conversation(texts=["Hi", "Hello!", "More"], memory=OLD.memory),
            title="Given",
            revision=1,
        ),
        with_fields(conversation(texts=["Hello!"], reset_at=1, memory=OLD.memory), revision=1),
        with_fields(conversation(texts=["New"], reset_at=4, memory=OLD.memory), revision=1),
        conversation(texts=["New"], reset_at=2, epoch=1),
        conversation(texts=["New"], reset_at=6, epoch=3, memory=remembered(version=1)),
    ],
    ids=[
        "message",
        "memory",
        "both",
        "title",
        "hold",
        "title and message",
        "expired message",
        "expired messages",
        "reset",
        "several resets",
    ],
)
def test_older_state_is_updated_and_newer_state_is_kept(
    new: Conversation,
) -> None:
    assert compared(OLD, new) is Outcome.UPDATED
    assert compared(new, OLD) is Outcome.TARGET_NEWER


@pytest.mark.parametrize(
    "other",
    [
        conversation(texts=["Hi", "Hello.", "More"], memory=remembered(version=1)),
        conversation(texts=["Hi", "Hello!", "More"]),
        conversation(texts=["Hi", "Hello!"], memory=remembered("other", version=1)),
        with_fields(OLD, title="Given"),
        with_fields(conversation(texts=["Hi"], memory=OLD.memory), title="Given", revision=1),
        conversation(texts=["New"], reset_at=1, epoch=1),
        conversation(texts=["Hi", "Hello!"], reset_at=2, memory=remembered(version=1)),
        replace(OLD, session=replace(OLD.session, created_at=T0 + timedelta(seconds=1))),
    ],
    ids=[
        "text",
        "memory gone back",
        "memory",
        "title",
        "title or message",
        "reset before",
        "numbers",
        "creation",
    ],
)
def test_unrelated_states_conflict(other: Conversation) -> None:
    assert compared(OLD, other) is Outcome.CONFLICT
    assert compared(other, OLD) is Outcome.CONFLICT


def test_user_is_updated_unless_the_target_is_newer_or_another_user() -> None:
    old = user(1)
    assert compared(old, replace(old, password_hash="stronger")) is Outcome.UPDATED
    assert compared(old, replace(old, is_active=False, token_version=1)) is Outcome.UPDATED
    assert compared(replace(old, token_version=1), old) is Outcome.TARGET_NEWER
    assert compared(old, user(1, email="else@example.com")) is Outcome.CONFLICT
    assert compared(old, user(2, email=old.email)) is Outcome.CONFLICT


def test_role_is_replaced_only_if_it_is_the_default() -> None:
    edited = Role(name="employee", permissions=frozenset({Permission.CHAT}))
    assert compared(DEFAULT_ROLES["employee"], edited) is Outcome.UPDATED
    assert compared(edited, DEFAULT_ROLES["employee"]) is Outcome.CONFLICT


def test_second_run_copies_nothing() -> None:
    source, target = Shelf(*EVERYTHING), Shelf()
    assert set(outcomes(source, target)) == {Outcome.NEW}
    assert target.kept == source.kept == EVERYTHING
    assert set(outcomes(source, target)) == {Outcome.SAME}


def test_dry_run_prints_the_same_report_and_writes_nothing() -> None:
    source, target = Shelf(*EVERYTHING), Shelf(EVERYTHING[0], conversation(1, texts=["Else"]))
    there = list(target.kept)
    said = list(StoreCopy(source, target, dry_run=True).steps())
    assert target.kept == there
    assert said == list(StoreCopy(source, target).steps())


def test_conflict_is_reported_and_left_unchanged() -> None:
    there = conversation(1, texts=["Else"])
    source, target = Shelf(user(1), conversation(1), conversation(2)), Shelf(there)
    steps = list(StoreCopy(source, target).steps())
    assert [step.outcome for step in steps] == [Outcome.NEW, Outcome.CONFLICT, Outcome.NEW]
    assert str(steps[1]) == f"session {1:032x} of user {'a' * 32}: different in the target"
    assert target.kept == [there, user(1), conversation(2)]


def test_unreadable_data_is_reported_and_the_rest_is_moved() -> None:
    source = Shelf(Unreadable(name="session x", reason="message 3: missing"), conversation())
    steps = list(StoreCopy(source, target := Shelf()).steps())
    assert str(steps[0]) == "session x: unreadable: message 3: missing"
    assert target.kept == [conversation()]


@pytest.mark.parametrize("reason", [Conflict("taken"), SessionBusy()])
def test_refused_record_does_not_stop_the_others(reason: Conflict) -> None:
    target = Shelf()
    target.refuses = reason
    steps = list(StoreCopy(Shelf(*EVERYTHING), target).steps())
    refused = [step for step in steps if step.outcome is Outcome.REFUSED]
    assert [(step.name, step.detail) for step in refused] == [(f"user {2:032x}", str(reason))]
    assert len(target.kept) == len(EVERYTHING) - 1


def test_record_that_the_target_alters_is_named_and_the_rest_is_moved() -> None:
    target = Shelf()
    target.spoils = True
    steps = list(StoreCopy(Shelf(conversation(2), conversation(3)), target).steps())
    assert [step.outcome for step in steps] == [Outcome.REFUSED] * 2
    assert all("does not return what was written" in str(step) for step in steps)


def test_sessions_of_the_target_only_are_removed_when_asked() -> None:
    source, target = Shelf(conversation(1)), Shelf(conversation(1), conversation(2))
    assert len(StoreCopy(source, target).others()) == 1
    dry = list(StoreCopy(source, target, dry_run=True).remove_others())
    assert len(target.kept) == 2
    steps = list(StoreCopy(source, target).remove_others())
    assert steps == dry
    assert str(steps[0]) == f"session {2:032x} of user {'a' * 32}: removed from the target"
    assert target.kept == [conversation(1)]


def test_step_is_printed_with_its_outcome() -> None:
    assert str(Step(name="user 1", outcome=Outcome.NEW)) == "user 1: new"
