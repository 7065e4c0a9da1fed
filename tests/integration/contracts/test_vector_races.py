"""Vectors that are added while their passages are removed or moved never outlast them."""

import asyncio
from collections.abc import Callable
from threading import Event

import pytest

from chatbot.domain.chat import MessageRole, Session, SessionId, TurnId
from chatbot.domain.ports.storage import Storage
from chatbot.domain.search import Passage, Scope, messages_scope
from chatbot.domain.transaction import Transaction
from index_contents import with_vectors
from samples import ANA, T0, new_message
from vectors_of_texts import embedded

HERE, THERE, OF_ANA = Scope("documents a"), Scope("documents b"), messages_scope(ANA)
SESSION, TURN = SessionId("a" * 32), TurnId("1" * 32)
NUMBERS = range(1, 101)
PASSAGES = [Passage(seq=seq, text=f"text {seq}") for seq in NUMBERS]
AT_ONCE_S = 0.15
"""So long the first transaction stays open while the second one begins."""
Work = Callable[[Transaction], None]


def fill(tx: Transaction) -> None:
    tx.index.put(HERE, "d", PASSAGES)
    tx.index.append(HERE, "other", PASSAGES[:5])
    tx.sessions.create(Session(id=SESSION, owner=ANA, title="", created_at=T0, updated_at=T0))
    with tx.sessions.held(ANA, SESSION, TURN) as lease:
        for passage in PASSAGES[:6]:
            message = new_message(lease, MessageRole.USER, passage.text, ts=T0)
            tx.sessions.append(lease, message)


def embed(tx: Transaction) -> None:
    tx.index.put_vectors(HERE, "d", embedded(PASSAGES))


def embed_messages(tx: Transaction) -> None:
    tx.index.put_vectors(OF_ANA, SESSION, embedded(PASSAGES[:6]))


def delete_session(tx: Transaction) -> None:
    with tx.sessions.held(ANA, SESSION, TURN) as lease:
        tx.sessions.delete(lease)


def trim_session(tx: Transaction) -> None:
    with tx.sessions.held(ANA, SESSION, TURN) as lease:
        tx.sessions.trim(lease, 4)


def moved(tx: Transaction) -> None:
    tx.index.move(HERE, THERE, "d")


ALL = {("d", seq) for seq in NUMBERS}


@pytest.mark.parametrize("kind", ["sqlite", "postgres"])
@pytest.mark.parametrize(
    ("change", "left"),
    [
        (lambda tx: tx.index.remove(HERE, "d"), set()),
        (lambda tx: tx.index.clear(HERE), set()),
        (lambda tx: tx.index.remove(HERE, "d", upto=98), {("d", 99), ("d", 100)}),
        (moved, set()),
        (lambda tx: tx.index.fold(HERE, is_whole=True), ALL),
        (delete_session, set()),
        (trim_session, {(SESSION, 5), (SESSION, 6)}),
    ],
)
async def test_vectors_do_not_outlast_their_passages_whoever_is_first(
    make_storage: Callable[[str], Storage],
    kind: str,
    change: Work,
    left: set[tuple[str, int]],
) -> None:
    is_of_messages = change in {delete_session, trim_session}
    embeds, scope = (embed_messages, OF_ANA) if is_of_messages else (embed, HERE)
    async with make_storage(kind) as storage:
        await storage.transact(fill)
        await at_once(storage, change, embeds)
        assert await with_vectors(storage, scope) == left, "the change was first"
        assert await with_vectors(storage, THERE) == set()
    async with make_storage(kind) as storage:
        await storage.transact(empty)
        await storage.transact(fill)
        await at_once(storage, embeds, change)
        assert await with_vectors(storage, scope) == left, "the vectors were first"
        assert await with_vectors(storage, THERE) == (ALL if change is moved else set())


def empty(tx: Transaction) -> None:
    tx.index.clear(HERE)
    tx.index.clear(THERE)
    if tx.sessions.count(ANA):
        delete_session(tx)


async def at_once(storage: Storage, first: Work, second: Work) -> None:
    """Do one piece of work, and begin another before the first is committed."""
    done, release = Event(), Event()

    def held(tx: Transaction) -> None:
        first(tx)
        done.set()
        release.wait(AT_ONCE_S)

    one = asyncio.create_task(storage.transact(held))
    await asyncio.to_thread(done.wait, 10)
    await storage.transact(second)
    await one
