"""Vectors stay with their passages in every store, whatever moves or removes these."""

from collections.abc import AsyncIterator, Callable

import pytest

from chatbot.domain.chat import MessageRole, Session, SessionId, TurnId
from chatbot.domain.ports.storage import Storage
from chatbot.domain.search import Embedded, Passage, Scope, messages_scope
from chatbot.domain.transaction import Transaction
from samples import ANA, T0, new_message
from vectors_of_texts import MODEL, embedded

SCOPE, OTHER = Scope("documents one"), Scope("documents two")
PASSAGES = [Passage(seq=seq, text=f"text {seq}") for seq in range(1, 151)]
ALL = frozenset(range(1, 151))


@pytest.fixture
async def storage(closed_storage: Storage) -> AsyncIterator[Storage]:
    async with closed_storage:
        yield closed_storage


def numbers(scope: Scope = SCOPE, model: str = MODEL) -> Callable[[Transaction], object]:
    return lambda tx: tx.index.vectors_of(scope, model)


def filled(tx: Transaction) -> None:
    for parent in ("a", "b"):
        tx.index.put(SCOPE, parent, PASSAGES)
        tx.index.put_vectors(SCOPE, parent, embedded(PASSAGES))


@pytest.mark.parametrize(
    ("change", "left"),
    [
        (lambda tx: tx.index.remove(SCOPE, "a"), {"b": ALL}),
        (lambda tx: tx.index.remove(SCOPE, "a", upto=100), {"a": ALL - {*range(101)}, "b": ALL}),
        (lambda tx: tx.index.remove(SCOPE, "a", upto=150), {"b": ALL}),
        (lambda tx: tx.index.put(SCOPE, "b", PASSAGES), {"a": ALL}),
        (
            lambda tx: tx.index.append(SCOPE, "b", [Passage(seq=151, text="x")]),
            {"a": ALL, "b": ALL},
        ),
        (lambda tx: tx.index.clear(SCOPE), {}),
        (lambda tx: tx.index.move(SCOPE, OTHER, "b"), {"a": ALL}),
        (lambda tx: tx.index.drop_other_vectors(SCOPE, MODEL), {"a": ALL, "b": ALL}),
        (lambda tx: tx.index.drop_other_vectors(SCOPE, "openai/new"), {}),
        (lambda tx: tx.index.drop_other_vectors(SCOPE, None), {}),
        (lambda tx: tx.index.fold(SCOPE, is_whole=True), {"a": ALL, "b": ALL}),
    ],
)
async def test_vectors_are_where_their_passages_are(
    storage: Storage, change: Callable[[Transaction], None], left: dict[str, frozenset[int]]
) -> None:
    await storage.transact(filled)
    assert await storage.transact(numbers()) == {"a": ALL, "b": ALL}
    await storage.transact(change)
    assert await storage.transact(numbers()) == left
    moved = await storage.transact(numbers(OTHER))
    assert moved == ({"b": ALL} if await storage.transact(_is_moved) else {})


def _is_moved(tx: Transaction) -> bool:
    return bool(tx.index.indexed(OTHER))


async def test_vectors_of_passages_that_are_not_indexed_are_left_out(storage: Storage) -> None:
    def late(tx: Transaction) -> None:
        tx.index.put(SCOPE, "a", PASSAGES[:3])
        tx.index.put(SCOPE, "many", PASSAGES)
        tx.index.remove(SCOPE, "many", upto=148)
        for parent in ("a", "many", "gone"):
            tx.index.put_vectors(SCOPE, parent, embedded(PASSAGES))
            tx.index.put_vectors(OTHER, parent, embedded(PASSAGES))

    await storage.transact(late)
    assert await storage.transact(numbers()) == {"a": {1, 2, 3}, "many": {149, 150}}
    assert await storage.transact(numbers(OTHER)) == {}


async def test_vectors_are_added_one_after_the_other_and_replaced(storage: Storage) -> None:
    def added(tx: Transaction) -> None:
        tx.index.put(SCOPE, "a", PASSAGES)
        for passage in PASSAGES:
            tx.index.put_vectors(SCOPE, "a", embedded([passage]))
        tx.index.put_vectors(SCOPE, "a", embedded(PASSAGES[60:70], model="openai/other"))
        tx.index.put_vectors(SCOPE, "a", embedded(PASSAGES[5:90]))

    await storage.transact(added)
    assert await storage.transact(numbers()) == {"a": ALL}
    assert await storage.transact(numbers(model="openai/other")) == {"a": {*range(61, 71)}}


async def test_a_vector_of_another_length_takes_the_place_of_the_old_one(storage: Storage) -> None:
    def changed(tx: Transaction) -> tuple[object, ...]:
        tx.index.put(SCOPE, "a", PASSAGES)
        tx.index.put_vectors(SCOPE, "a", embedded(PASSAGES))
        tx.index.put_vectors(SCOPE, "a", embedded(PASSAGES[:2], dimension=24))
        of_length = (tx.index.vectors_of(SCOPE, MODEL, dimension=n) for n in (16, 24))
        return (tx.index.vectors_of(SCOPE, MODEL), *of_length)

    both, old, new = await storage.transact(changed)
    assert (both, old, new) == ({"a": ALL}, {"a": ALL - {1, 2}}, {"a": {1, 2}})


async def test_no_vector_is_no_change(storage: Storage) -> None:
    def nothing(tx: Transaction) -> None:
        tx.index.put(SCOPE, "a", PASSAGES)
        tx.index.put_vectors(SCOPE, "a", Embedded(model=MODEL, vectors={}))

    await storage.transact(nothing)
    assert await storage.transact(numbers()) == {}


FIRST, SECOND = SessionId("a" * 32), SessionId("b" * 32)
TURN = TurnId("1" * 32)


def said(tx: Transaction) -> None:
    for session_id in (FIRST, SECOND):
        new = Session(id=session_id, owner=ANA, title="", created_at=T0, updated_at=T0)
        tx.sessions.create(new)
        with tx.sessions.held(ANA, session_id, TURN) as lease:
            for text in ("one", "two", "three"):
                tx.sessions.append(lease, new_message(lease, MessageRole.USER, text, ts=T0))
        vectors = embedded({1: "one", 2: "two", 3: "three", 4: "not there"})
        tx.index.put_vectors(messages_scope(ANA), session_id, vectors)


def deleted(tx: Transaction) -> None:
    with tx.sessions.held(ANA, FIRST, TURN) as lease:
        tx.sessions.delete(lease)


def reset(tx: Transaction) -> None:
    with tx.sessions.held(ANA, FIRST, TURN) as lease:
        tx.sessions.reset(lease, ts=T0)


def trimmed(tx: Transaction) -> None:
    with tx.sessions.held(ANA, FIRST, TURN) as lease:
        tx.sessions.trim(lease, 2)


def erased(tx: Transaction) -> None:
    for session_id in (FIRST, SECOND):
        with tx.sessions.held(ANA, session_id, TURN) as lease:
            tx.sessions.delete(lease)
    tx.sessions.clear(ANA)


@pytest.mark.parametrize(
    ("work", "left"),
    [
        (deleted, {SECOND: {1, 2, 3}}),
        (reset, {SECOND: {1, 2, 3}}),
        (trimmed, {FIRST: {3}, SECOND: {1, 2, 3}}),
        (erased, {}),
    ],
)
async def test_vectors_of_messages_leave_with_them(
    storage: Storage, work: Callable[[Transaction], None], left: object
) -> None:
    await storage.transact(said)
    scope = messages_scope(ANA)
    assert await storage.transact(numbers(scope)) == {FIRST: {1, 2, 3}, SECOND: {1, 2, 3}}
    await storage.transact(work)
    assert await storage.transact(numbers(scope)) == left
