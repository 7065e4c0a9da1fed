"""What is remembered of a person: one suite for every store."""

import asyncio
from collections.abc import AsyncIterator, Callable
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest

from canaries import files_with, rows_with
from chatbot.adapters.storage.json_files.export import JsonFileExport
from chatbot.adapters.storage.json_files.storage import JsonFileStorage
from chatbot.application.transfer import Outcome, StoreCopy, compared
from chatbot.domain.chat import Session, SessionId, TurnId
from chatbot.domain.identity import Owner
from chatbot.domain.memory import Memory, MemoryItem, Origin, StructuredMemory
from chatbot.domain.memory_tombstones import forgotten
from chatbot.domain.person_memory import ItemOrigin, PersonMemory
from chatbot.domain.ports.storage import Storage
from chatbot.domain.transaction import Transaction
from person_memories import NEW_ID, ONE, TWO, said, source, with_new
from samples import ANA, CLIENT, T0, conversation, fill, remembered


@pytest.fixture
async def storage(closed_storage: Storage) -> AsyncIterator[Storage]:
    async with closed_storage:
        yield closed_storage


def held(tx: Transaction, session_id: SessionId, *, days: int = 0, **known: str) -> None:
    """Store a session of an earlier version: profile by key, and one fact."""
    at = T0 + timedelta(days=days)
    tx.sessions.create(Session(id=session_id, owner=ANA, created_at=at, updated_at=at))

    def item(value: str) -> MemoryItem:
        return MemoryItem(value=value, origin=Origin.MODEL, sources=(1, 3))

    profile = {key: item(value) for key, value in known.items()}
    structured = StructuredMemory(profile=profile, facts=(item("Likes tea"),))
    memory = Memory(summary="About tea.", structured=structured, extracted_to=4)
    assert tx.sessions.put_memory(ANA, session_id, memory, epoch=0)


async def of(storage: Storage, owner: Owner = ANA) -> PersonMemory:
    return await storage.transact(lambda tx: tx.person_memories.of(owner))


async def learn(storage: Storage, text: str, owner: Owner = ANA) -> PersonMemory:
    return await storage.transact(
        lambda tx: tx.person_memories.change(
            owner, lambda known: with_new(said(text), memory=known)
        )
    )


async def test_person_and_application_remember_apart(storage: Storage) -> None:
    await learn(storage, "Likes tea")
    assert [item.text for item in (await of(storage)).active] == ["Likes tea"]
    assert not (await of(storage, CLIENT)).active
    assert not (await of(storage, Owner(kind="client", id=ANA.id))).active


async def test_change_that_changes_nothing_writes_nothing(storage: Storage) -> None:
    first = await learn(storage, "Likes tea")
    assert await learn(storage, "Likes tea") == first == await of(storage)


async def test_changes_at_once_are_all_kept(storage: Storage) -> None:
    texts = [f"number {n}" for n in range(12)]
    await asyncio.gather(*(learn(storage, text) for text in texts))
    assert sorted(item.text for item in (await of(storage)).active) == sorted(texts)


async def test_items_of_older_sessions_become_the_persons(storage: Storage) -> None:
    def store(tx: Transaction) -> None:
        held(tx, ONE, role="nurse")
        held(tx, TWO, days=1, role="doctor", name="Ana")

    await storage.transact(store)
    memory = await of(storage)
    texts = {item.key or item.kind.value: item.text for item in memory.active}
    assert texts == {"role": "doctor", "name": "Ana", "fact": "Likes tea"}
    tea = next(item for item in memory.active if item.key is None)
    assert [(each.session_id, each.seq) for each in tea.sources] == [
        (ONE, 1), (ONE, 3), (TWO, 1), (TWO, 3),
    ]  # fmt: skip
    assert {item.origin for item in memory.active} == {ItemOrigin.IMPORTED}
    role = next(item for item in memory.active if item.key == "role")
    assert [each.text for each in role.history] == ["nurse"]
    left = await storage.transact(lambda tx: tx.sessions.memory(ANA, ONE))
    assert left == Memory(summary="About tea.", extracted_to=4, version=2)
    assert await of(storage) == memory


async def test_interrupted_migration_is_completed_by_the_next_call(storage: Storage) -> None:
    """The record was stored, and the process died before the sessions were emptied."""
    await storage.transact(lambda tx: held(tx, ONE, role="nurse"))
    before = await storage.transact(lambda tx: tx.sessions.memory(ANA, ONE))
    whole = await of(storage)

    def undo(tx: Transaction) -> None:
        emptied = tx.sessions.memory(ANA, ONE)
        again = replace(emptied, structured=before.structured)
        assert tx.sessions.put_memory(ANA, ONE, again, epoch=0)
        tx.person_memories.change(ANA, lambda known: replace(known, is_complete=False))

    await storage.transact(undo)
    completed = await of(storage)
    assert completed.items == whole.items
    left = await storage.transact(lambda tx: tx.sessions.memory(ANA, ONE))
    assert left.structured == StructuredMemory()


async def test_forgotten_item_is_not_taken_over_from_a_restored_session(storage: Storage) -> None:
    await storage.transact(lambda tx: held(tx, ONE, role="nurse"))

    def forget(known: PersonMemory) -> PersonMemory:
        gone = forgotten(known, known.items, now=T0 + timedelta(days=9), new_id=NEW_ID)
        return replace(gone, is_complete=False)

    def restored(tx: Transaction) -> None:
        tx.person_memories.change(ANA, forget)
        held(tx, TWO, days=2, role="nurse", name="Ana")

    await storage.transact(restored)
    assert [item.text for item in (await of(storage)).active] == ["Ana"]


async def test_older_value_of_a_late_session_goes_to_the_history(storage: Storage) -> None:
    def store(tx: Transaction) -> None:
        held(tx, TWO, days=5, role="doctor")
        known = tx.person_memories.of(ANA)
        held(tx, ONE, role="nurse")
        tx.person_memories.change(ANA, lambda _: replace(known, is_complete=False))

    await storage.transact(store)
    role = next(item for item in (await of(storage)).active if item.key == "role")
    assert (role.text, [each.text for each in role.history]) == ("doctor", ["nurse"])


async def test_quotes_go_with_the_messages(storage: Storage) -> None:
    await learn(storage, "Likes tea")
    at = Session(id=ONE, owner=ANA, created_at=T0, updated_at=T0)

    def delete(tx: Transaction) -> None:
        tx.sessions.create(at)
        with tx.sessions.held(ANA, ONE, TurnId("1" * 32)) as lease:
            tx.person_memories.forget_messages(ANA, ONE)
            tx.sessions.delete(lease)

    await storage.transact(delete)
    [item] = (await of(storage)).active
    assert (item.text, item.sources[0].quote, item.sources[0].is_removed) == ("Likes tea", "", True)


@pytest.mark.parametrize("is_known", [True, False])
async def test_items_of_a_session_that_is_imported_later_become_the_persons(
    tmp_path: Path, is_known: bool
) -> None:
    """As by `chatbot import` and `chatbot restore` into a store in use."""
    source = JsonFileExport(tmp_path / "source")
    fill(source, [conversation(1, memory=remembered("Likes tea"))])
    async with JsonFileStorage(tmp_path / "data") as storage:
        if is_known:
            await learn(storage, "Has a dog")
    with JsonFileExport(tmp_path / "data") as target:
        for _ in range(2):
            outcomes = {step.outcome for step in StoreCopy(source, target).steps()}
        assert outcomes <= {Outcome.NEW, Outcome.SAME}
    async with JsonFileStorage(tmp_path / "data") as storage:
        texts = {item.text for item in (await of(storage)).active}
        assert texts == {"Likes tea", *(["Has a dog"] if is_known else [])}
        assert (await of(storage)).is_complete


def test_copy_replaces_an_earlier_state_of_a_memory_and_no_other() -> None:
    first = with_new(said("Likes tea"))
    later = replace(with_new(said("Has a dog"), memory=first), version=2)
    other = replace(with_new(said("Likes coffee")), version=3)
    assert compared(replace(first, version=1), later) is Outcome.UPDATED
    assert compared(later, replace(first, version=1)) is Outcome.TARGET_NEWER
    assert compared(replace(first, version=1), other) is Outcome.CONFLICT


@pytest.mark.parametrize("name", ["json_files", "sqlite", "postgres"])
async def test_forgotten_texts_are_in_no_file_of_the_open_store(
    name: str,
    make_storage: Callable[[str], Storage],
    request: pytest.FixtureRequest,
    tmp_path: Path,
) -> None:
    url = request.getfixturevalue("postgres_store") if name == "postgres" else ""
    canary = "canary-9f1b"

    def found() -> list[object]:
        return [*files_with(canary, tmp_path), *(rows_with(canary, url) if url else [])]

    def learned(tx: Transaction) -> None:
        tx.sessions.create(Session(id=ONE, owner=ANA, created_at=T0, updated_at=T0))
        memory = Memory(summary=f"{canary} summary", summarized_to=4)
        assert tx.sessions.put_memory(ANA, ONE, memory, epoch=0)
        new = [said(f"Likes {canary} {n}", source(1, quote=canary)) for n in range(30)]
        tx.person_memories.change(ANA, lambda known: with_new(*new, memory=known))

    def forget(known: PersonMemory) -> PersonMemory:
        return forgotten(known, known.items, now=T0 + timedelta(days=1), new_id=NEW_ID)

    async with make_storage(name) as storage:
        await storage.transact(learned)
        assert found()
        await storage.transact(lambda tx: tx.person_memories.change(ANA, forget))
        assert found() == []
