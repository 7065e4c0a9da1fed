"""One suite for every store that can be moved, imported into, backed up and restored."""

import asyncio
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass, replace
from datetime import timedelta
from pathlib import Path
from typing import TypeVar

import pytest

from chatbot.adapters.storage.json_files.export import JsonFileExport
from chatbot.adapters.storage.json_files.storage import JsonFileStorage
from chatbot.adapters.storage.sql.database import Database
from chatbot.adapters.storage.sql.export import SqlExport
from chatbot.adapters.storage.sql.postgres import PostgresDatabase
from chatbot.adapters.storage.sql.sqlite import SqliteDatabase
from chatbot.adapters.storage.sql.storage import SqlStorage
from chatbot.domain.chat import Lease, MessageRange, MessageRole, TurnId
from chatbot.domain.errors import Conflict, SessionBusy
from chatbot.domain.memory import Memory
from chatbot.domain.permissions import DEFAULT_ROLES, Permission, Role
from chatbot.domain.ports.export import Change, Conversation, ExportTarget, Item
from chatbot.domain.ports.journal import JournalEntry
from chatbot.domain.ports.storage import Storage
from chatbot.domain.transaction import JOURNALS, Transaction
from samples import (
    ANA,
    EVERYTHING,
    REVIEWER,
    T0,
    conversation,
    entry,
    everything_in,
    fill,
    new_message,
    remembered,
    user,
)

Done = TypeVar("Done")
TURN = TurnId("f" * 32)
KINDS = ["json_files", "sqlite", "postgres"]


@dataclass(frozen=True)
class Store:
    """A new store, through the service's port and the export port."""

    export: ExportTarget
    storage: Callable[[], Storage]

    def serve(self, work: Callable[[Transaction], Done]) -> Done:
        """Run the work through the service's port."""

        async def done() -> Done:
            async with self.storage() as storage:
                return await storage.transact(work)

        return asyncio.run(done())


@pytest.fixture(params=KINDS)
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Store]:
    """A store that does not exist yet."""
    if request.param == "json_files":
        with JsonFileExport(tmp_path / "data") as export:
            yield Store(export, lambda: JsonFileStorage(tmp_path / "data"))
        return
    database: Database = SqliteDatabase(tmp_path / "data" / "chatbot.db")
    if request.param == "postgres":
        url = request.getfixturevalue("postgres_database")
        database = PostgresDatabase(url, connections=2, prepared=True)
    with SqlExport(database) as export:
        yield Store(export, lambda: SqlStorage(database, replica="test"))


@pytest.fixture
def export(store: Store) -> ExportTarget:
    return store.export


def kept_in(export: ExportTarget) -> list[Item]:
    """Everything except the default roles of a new database."""
    return [item for item in everything_in(export) if item not in DEFAULT_ROLES.values()]


def put(export: ExportTarget, new: Conversation, *, over: Conversation | None = None) -> None:
    export.put([Change(new, over)])


def test_stored_memory_is_exactly_what_was_put(export: ExportTarget) -> None:
    fill(export)
    there = everything_in(export)
    assert len(there) == len(EVERYTHING)
    assert [item for item in EVERYTHING if item not in there] == []
    keys = {(c.session.owner, c.session.id) for c in there if isinstance(c, Conversation)}
    assert export.session_keys() == keys
    assert [export.find(item) for item in EVERYTHING] == EVERYTHING


def test_roles_come_first_then_users_blobs_conversations_and_journals(export: ExportTarget) -> None:
    fill(export)
    kinds = [type(item).__name__ for item in export.items()]
    assert kinds == sorted(
        kinds, key=["Role", "User", "Blob", "Conversation", "JournalEntry"].index
    )


def test_journal_is_copied_in_its_order_and_continued(store: Store) -> None:
    with pytest.raises(Conflict):
        store.export.put([Change(entry(1), None), Change(entry(3), None)])
    store.export.put([Change(entry(1), None), Change(entry(2), None)])
    for there in (entry(1), entry(2), entry(4)):
        with pytest.raises(Conflict):
            store.export.put([Change(there, None)])
    assert store.export.find(entry(2, ["else"])) == entry(2)
    assert store.export.find(entry(3)) is None
    appended = store.serve(lambda tx: tx.journal.append(JOURNALS[0], lambda _: {"a": 1}, at=T0))
    assert appended.seq == 3
    journal = [item for item in store.export.items() if isinstance(item, JournalEntry)]
    assert journal == [entry(1), entry(2), appended]


def test_store_that_was_never_made_has_nothing_and_is_made_by_the_first_put(
    export: ExportTarget,
) -> None:
    assert [export.find(item) for item in (REVIEWER, user(), conversation(), entry(1))] == [
        None
    ] * 4
    assert export.session_keys() == set()
    admin = DEFAULT_ROLES["admin"]
    export.put([Change(admin, export.find(admin))])
    put(export, conversation())
    assert export.find(conversation()) == conversation()


def test_service_continues_the_copied_conversation(store: Store) -> None:
    moved = conversation(texts=["Hi", "Hello!"], reset_at=4, epoch=1, memory=remembered(version=3))
    put(store.export, moved)
    one, now = moved.session.id, T0 + timedelta(hours=1)

    def go_on(tx: Transaction) -> None:
        assert list(tx.sessions.page(ANA, limit=9)) == [moved.session]
        assert tuple(tx.sessions.read(ANA, one, MessageRange(limit=9))) == moved.messages
        assert tx.sessions.memory(ANA, one) == moved.memory
        lease = tx.sessions.acquire(ANA, one, TURN)
        assert (
            tx.sessions.append(lease, new_message(lease, MessageRole.USER, "And then?", ts=now)).seq
            == 7
        )
        tx.sessions.release(lease)
        assert tx.sessions.put_memory(ANA, one, moved.memory, epoch=1)

    store.serve(go_on)
    found = store.export.find(moved)
    assert isinstance(found, Conversation)
    assert found.session == replace(
        moved.session, message_count=3, last_seq=7, updated_at=now, title="Hi"
    )
    assert [m.content for m in found.messages] == ["Hi", "Hello!", "And then?"]
    assert found.memory == replace(moved.memory, version=4)


def test_user_can_be_found_and_roles_hold(store: Store) -> None:
    fill(store.export)

    def look(tx: Transaction) -> None:
        assert tx.users.by_email("user1@example.com") == user(1)
        assert tx.roles.all() == {**DEFAULT_ROLES, REVIEWER.name: REVIEWER}

    store.serve(look)


@pytest.mark.parametrize(
    "new",
    [
        conversation(texts=["Hi", "Hello!", "More"], memory=remembered(version=2)),
        conversation(texts=["Hi", "Hello!"], memory=remembered(version=2)),
        conversation(texts=["New"], reset_at=2, epoch=1),
        conversation(texts=["New"], reset_at=2, epoch=1, memory=remembered(version=1)),
        conversation(texts=[], reset_at=2, epoch=1),
    ],
    ids=["longer", "with newer memory", "reset", "reset and remembered", "reset only"],
)
def test_later_state_replaces_the_earlier_one(export: ExportTarget, new: Conversation) -> None:
    old = conversation(texts=["Hi", "Hello!"], memory=remembered(version=1))
    put(export, old)
    put(export, new, over=old)
    assert kept_in(export) == [new]


def test_conversation_changed_during_the_copy_is_left_alone(export: ExportTarget) -> None:
    there = conversation(texts=["Hi", "Hello!", "More"])
    put(export, there)
    for over in (None, conversation(texts=["Hi", "Hello!"])):
        with pytest.raises(Conflict):
            put(export, conversation(texts=["Other"]), over=over)
    gone = conversation(2)
    with pytest.raises(Conflict):
        put(export, conversation(2, texts=["Other"]), over=gone)
    assert kept_in(export) == [there]


def test_conversation_whose_turn_runs_is_busy(store: Store) -> None:
    there = conversation()
    put(store.export, there)

    def during_a_turn(tx: Transaction) -> None:
        lease = tx.sessions.acquire(ANA, there.session.id, TURN)
        held.append(lease)

    async def attempt() -> None:
        async with store.storage() as storage:
            await storage.transact(during_a_turn)
            with pytest.raises(SessionBusy):
                put(store.export, conversation(texts=["Hi", "Hello!", "More"]), over=there)
            with pytest.raises(SessionBusy):
                store.export.remove(ANA, there.session.id)
            await storage.transact(lambda tx: tx.sessions.release(held[0]))

    held: list[Lease] = []
    asyncio.run(attempt())
    assert kept_in(store.export) == [there]
    put(store.export, conversation(texts=["Hi", "Hello!", "More"]), over=there)


def test_conversation_that_is_removed_is_gone_with_all_of_it(store: Store) -> None:
    fill(store.export)
    gone, kept = conversation(1).session, conversation(2).session
    store.export.remove(gone.owner, gone.id)
    store.export.remove(gone.owner, gone.id)
    assert store.export.find(conversation(1)) is None
    assert (kept.owner, kept.id) in store.export.session_keys()
    put(store.export, conversation(1, texts=[]))
    assert store.export.find(conversation(1)) == conversation(1, texts=[])


@pytest.mark.parametrize("store", ["sqlite", "postgres"], indirect=True)
def test_export_of_a_database_is_one_consistent_snapshot(export: ExportTarget) -> None:
    fill(export, [user(1), conversation(1)])
    with closing(export.items()) as items:
        first = next(items)
        longer = conversation(1, texts=["Hi", "Hello!", "More"])
        export.put([Change(longer, conversation(1)), Change(conversation(2), None)])
        export.put([Change(user(2), None)])
        found = [first, *items]
    assert [item for item in found if not isinstance(item, Role)] == [user(1), conversation(1)]


def test_users_are_imported_all_or_none(export: ExportTarget) -> None:
    fill(export, [user(1), REVIEWER])
    other = replace(REVIEWER, permissions=frozenset(Permission))
    for changes in (
        [Change(user(3), None), Change(user(2, email="user1@example.com"), None)],
        [Change(user(3), None), Change(user(4, email="user3@example.com"), None)],
        [Change(user(3), None), Change(replace(user(1), department="x"), user(2))],
        [Change(replace(REVIEWER, name="new"), None), Change(other, DEFAULT_ROLES["admin"])],
    ):
        with pytest.raises(Conflict):
            export.put(changes)
        assert kept_in(export) == [REVIEWER, user(1)]


def test_user_is_found_by_id_else_by_email(export: ExportTarget) -> None:
    fill(export, [user(1), user(2)])
    assert export.find(user(1, email="user2@example.com")) == user(1)
    assert export.find(user(3, email="user2@example.com")) == user(2)


def test_user_replaces_the_earlier_one(export: ExportTarget) -> None:
    fill(export, [user(1), user(2)])
    new = replace(user(1), password_hash="$argon2id$new", roles=("admin",), is_active=False)
    export.put([Change(new, user(1))])
    assert [export.find(user(1)), export.find(user(2))] == [new, user(2)]


def test_memory_that_was_never_stored_is_none(export: ExportTarget) -> None:
    put(export, conversation(memory=Memory()))
    assert kept_in(export) == [conversation()]


def test_conversation_of_10000_messages_is_copied(export: ExportTarget) -> None:
    long = conversation(texts=[f"text {n} ñ" for n in range(10_000)], memory=remembered())
    put(export, long)
    assert kept_in(export) == [long]
