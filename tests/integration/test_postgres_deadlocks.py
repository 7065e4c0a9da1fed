"""Transactions that wait for each other: Postgres undoes one, which is done again."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack
from dataclasses import replace
from threading import Event

import pytest
from psycopg.errors import DeadlockDetected
from sqlalchemy.exc import OperationalError

from chatbot.adapters.storage.sql.postgres import PostgresDatabase
from chatbot.adapters.storage.sql.storage import SqlStorage
from chatbot.domain.chat import Session, SessionId, TurnId
from chatbot.domain.errors import StorageUnavailable
from chatbot.domain.identity import Owner
from chatbot.domain.memory import Memory, MemoryItem, Origin, StructuredMemory
from chatbot.domain.memory_changes import added
from chatbot.domain.memory_items import NewItem, checked
from chatbot.domain.person_memory import ItemKind, PersonMemory, Source
from chatbot.domain.repositories.person_memories import PERSON_MEMORIES
from chatbot.domain.transaction import Transaction
from conversation import fresh_ids
from samples import T0

ANA = Owner(kind="user", id="a" * 32)
ONE, TWO = SessionId("1" * 32), SessionId("2" * 32)
WITHIN_S, PAUSE_S = 30, 2.0
IDS = fresh_ids()
LIKES_TEA = MemoryItem(value="likes tea", origin=Origin.USER)


@pytest.fixture
async def replicas(postgres_store: str) -> AsyncIterator[tuple[SqlStorage, SqlStorage]]:
    """Two processes with the same store."""
    async with AsyncExitStack() as stack:
        one, two = [
            await stack.enter_async_context(
                SqlStorage(
                    PostgresDatabase(postgres_store, connections=4, prepared=True), replica=name
                )
            )
            for name in ("one", "two")
        ]
        yield one, two


def made(
    tx: Transaction, session_id: SessionId, structured: StructuredMemory | None = None
) -> None:
    tx.sessions.create(Session(id=session_id, owner=ANA, created_at=T0, updated_at=T0))
    if structured is not None:
        tx.sessions.put_memory(ANA, session_id, Memory(structured=structured), epoch=0)


def taught(tx: Transaction) -> None:
    """An item that both sessions have taught."""

    def learned(person: PersonMemory) -> PersonMemory:
        new: NewItem = checked(ItemKind.FACT, None, "likes tea")
        person = added(person, new, now=T0, new_id=IDS)
        [item] = person.items
        sources = tuple(Source(session_id=each, seq=1, quote="tea") for each in (ONE, TWO))
        return person.with_item(replace(item, sources=sources))

    for each in (ONE, TWO):
        made(tx, each)
    tx.person_memories.change(ANA, learned)


def deleting(tx: Transaction, session_id: SessionId) -> None:
    with tx.sessions.held(ANA, session_id, TurnId("t" * 32)) as lease:
        tx.person_memories.forget_messages(ANA, session_id)
        tx.sessions.delete(lease)


class Meeting:
    """Two transactions, each of which holds something before either goes on. Later tries do not wait."""

    def __init__(self) -> None:
        self.here = {"one": Event(), "two": Event()}
        self.attempts = {"one": 0, "two": 0}

    def met(self, name: str) -> None:
        self.here[name].set()
        if self.attempts[name] == 1:
            other = "two" if name == "one" else "one"
            self.here[other].wait(PAUSE_S)


async def both(
    replicas: tuple[SqlStorage, SqlStorage], *works: Callable[[Transaction], None]
) -> list[object]:
    async with asyncio.timeout(WITHIN_S):
        done = (each.transact(work) for each, work in zip(replicas, works, strict=True))
        return await asyncio.gather(*done, return_exceptions=True)


async def test_retention_of_several_sessions_and_a_delete_of_one_of_them_both_succeed(
    replicas: tuple[SqlStorage, SqlStorage],
) -> None:
    await replicas[0].transact(taught)
    meeting = Meeting()

    def sweeping(tx: Transaction) -> None:
        meeting.attempts["one"] += 1
        deleting(tx, ONE)  # holds the person's record from here on
        meeting.met("one")
        if any(each.id == TWO for each in tx.sessions.page(ANA, limit=9)):
            deleting(tx, TWO)

    def one_deleted(tx: Transaction) -> None:
        meeting.attempts["two"] += 1
        if not any(each.id == TWO for each in tx.sessions.page(ANA, limit=9)):
            return
        with tx.sessions.held(ANA, TWO, TurnId("u" * 32)) as lease:
            meeting.met("two")
            tx.person_memories.forget_messages(ANA, TWO)
            tx.sessions.delete(lease)

    assert await both(replicas, sweeping, one_deleted) == [None, None]
    assert sum(meeting.attempts.values()) > 2, "they did not wait for each other"
    left = await replicas[0].transact(lambda tx: tx.sessions.page(ANA, limit=9))
    [item] = (await replicas[0].transact(lambda tx: tx.person_memories.of(ANA))).items
    assert list(left) == []
    assert [each.quote for each in item.sources] == ["", ""]


async def test_first_use_of_a_person_in_two_processes_moves_what_sessions_hold_once(
    replicas: tuple[SqlStorage, SqlStorage],
) -> None:
    """One moves the items of both sessions; the other holds one of them and moves them, too."""
    await replicas[0].transact(lambda tx: made(tx, ONE, StructuredMemory(facts=(LIKES_TEA,))))
    await replicas[0].transact(lambda tx: made(tx, TWO, StructuredMemory(facts=(LIKES_TEA,))))
    meeting = Meeting()

    def moving(tx: Transaction) -> None:
        meeting.attempts["one"] += 1
        tx.records.exclusive(PERSON_MEMORIES)
        meeting.met("one")
        tx.person_memories.of(ANA)

    def editing(tx: Transaction) -> None:
        meeting.attempts["two"] += 1
        with tx.sessions.held(ANA, TWO, TurnId("u" * 32)):
            meeting.met("two")
            tx.person_memories.of(ANA)

    assert await both(replicas, moving, editing) == [None, None]
    assert sum(meeting.attempts.values()) > 2, "they did not wait for each other"
    person = await replicas[0].transact(lambda tx: tx.person_memories.of(ANA))
    assert [(each.text, len(each.sources)) for each in person.items] == [("likes tea", 2)]
    held = await replicas[0].transact(lambda tx: tx.sessions.memory(ANA, TWO).structured)
    assert held == StructuredMemory()


async def test_work_that_is_undone_again_and_again_fails_in_the_end(
    replicas: tuple[SqlStorage, SqlStorage],
) -> None:
    attempts = 0

    def undone(tx: Transaction) -> None:
        nonlocal attempts
        attempts += 1
        tx.records.exclusive(PERSON_MEMORIES)
        raise OperationalError("", {}, DeadlockDetected())

    with pytest.raises(StorageUnavailable):
        await replicas[0].transact(undone)
    assert attempts == 5


async def test_first_items_of_a_person_in_two_processes_are_both_kept(
    replicas: tuple[SqlStorage, SqlStorage],
) -> None:
    def adding(text: str) -> Callable[[Transaction], None]:
        new = checked(ItemKind.FACT, None, text)

        def work(tx: Transaction) -> None:
            tx.person_memories.change(ANA, lambda old: added(old, new, now=T0, new_id=IDS))

        return work

    texts = [f"fact {number}" for number in range(8)]
    works = [replicas[n % 2].transact(adding(text)) for n, text in enumerate(texts)]
    await asyncio.gather(*works)
    person = await replicas[0].transact(lambda tx: tx.person_memories.of(ANA))
    assert {each.text for each in person.items} == {*texts}
