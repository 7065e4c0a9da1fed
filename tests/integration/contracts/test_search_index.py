"""Every store finds the same: ids, order, scores and explanations, whatever was written and folded.

Hypothesis writes the same to all stores, and their searches are compared with each other and with
those of an index that was written at once with what is left.
"""

import asyncio
import os
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from functools import partial

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from chatbot.adapters.search.searcher import Searcher
from chatbot.adapters.storage.in_memory.storage import InMemoryStorage
from chatbot.domain.chat import MessageRole, Session, SessionId, TurnId
from chatbot.domain.ports.storage import Storage
from chatbot.domain.search import Embedded, Hit, Passage, messages_scope
from chatbot.domain.transaction import Transaction
from index_worlds import WORDS, World, apply, atoms, steps
from samples import ANA, T0, new_message
from vectors_of_texts import WordEmbedder, embedded

EXAMPLES = int(os.environ.get("CHATBOT_TEST_EXAMPLES", "12"))
STORES = ("in_memory", "json_files", "sqlite", "postgres")
QUERIES = ("kites in sheds", "vacaciones de los empleados 2026", "the salaries number", "forms")


async def found_in(storage: Storage, world: World, asked: set[str]) -> list[Sequence[Hit]]:
    """The hits of all queries for a caller with these atoms, by words alone and by meaning."""
    own, found = [f"{world.prefix} {each}" for each in asked], list[Sequence[Hit]]()
    for embedder in (None, WordEmbedder()):
        searcher = Searcher(storage, world.texts, embedder)
        found += [await searcher.documents(own, each, limit=20) for each in QUERIES]
        await searcher.aclose()
    return found


async def at_once(world: World, asked: set[str]) -> list[Sequence[Hit]]:
    """The same in a new store with only what the caller may read."""
    own = {f"{world.prefix} {each}" for each in asked}
    async with InMemoryStorage() as storage:
        await storage.transact(partial(_permitted, world, own))
        return await found_in(storage, world, asked)


def _permitted(world: World, own: set[str], tx: Transaction) -> None:
    for (scope, parent), written in world.passages.items():
        if world.audiences.get(scope, set()) & own:
            passages = [Passage(seq=n, text=text, heading="Forms") for n, text in written.items()]
            tx.index.put(scope, parent, passages)
            texts = {n: written[n] for n in world.embedded.get((scope, parent), ()) if n in written}
            tx.index.put_vectors(scope, parent, embedded(texts))
            tx.index.set_audience(scope, own)


def test_all_stores_find_the_same_whatever_was_written_removed_and_folded(
    make_storage: Callable[[str], Storage],
) -> None:
    storages = [make_storage(name) for name in STORES]

    @asynccontextmanager
    async def all_open() -> AsyncIterator[None]:
        async with AsyncExitStack() as stack:
            for storage in storages:
                await stack.enter_async_context(storage)
            yield

    async def compare(written: list[tuple[object, ...]], callers: list[set[str]]) -> None:
        world = World()
        for step in written:
            work = apply(world, step)
            for storage in storages:
                await storage.transact(work)
        for asked in callers:
            wanted = await at_once(world, asked)
            for name, storage in zip(STORES, storages, strict=True):
                assert await found_in(storage, world, asked) == wanted, name

    with asyncio.Runner() as runner:
        opened = all_open()
        runner.run(opened.__aenter__())

        @settings(max_examples=EXAMPLES, suppress_health_check=[HealthCheck.too_slow])
        @given(
            st.lists(steps, min_size=4, max_size=25),
            st.lists(atoms.filter(bool), min_size=1, max_size=2),
        )
        def same(written: list[tuple[object, ...]], callers: list[set[str]]) -> None:
            audiences: list[tuple[object, ...]] = [
                ("audience", "one", {"public", "role:a"}),
                ("audience", "two", {"public", "department:sales"}),
            ]
            runner.run(compare([*audiences, *written], [*callers, {"public"}]))

        same()
        runner.run(opened.__aexit__(None, None, None))


async def test_all_stores_find_the_same_messages(
    make_storage: Callable[[str], Storage],
) -> None:
    found = []
    for name in STORES:
        async with make_storage(name) as storage:
            searcher = Searcher(storage, lambda *_: {}, WordEmbedder())
            for number in range(1, 5):
                said = [f"{WORDS[n % 7]} {WORDS[(n * number) % 11]} {n}?" for n in range(30)]
                session_id = SessionId(f"{number:032x}")
                await storage.transact(partial(_say, session_id, said))
                some = embedded({n: text for n, text in enumerate(said, start=1) if n % number})
                await storage.transact(partial(_embed, session_id, some))
                found.append(await searcher.messages(ANA, "salaries of kites", limit=20))
                await searcher.tidier.idle()
            found.append(
                await searcher.messages(ANA, "number 7", limit=9, without=SessionId(f"{1:032x}"))
            )
            await searcher.aclose()
    assert [hit.why.meaning != 0 for hit in found[1][:3]] == [True] * 3
    assert found[: len(found) // 4] * 4 == found


def _say(session_id: SessionId, texts: list[str], tx: Transaction) -> None:
    new = Session(id=session_id, owner=ANA, title="", created_at=T0, updated_at=T0)
    tx.sessions.create(new)
    with tx.sessions.held(ANA, session_id, TurnId("1" * 32)) as lease:
        for text in texts:
            tx.sessions.append(lease, new_message(lease, MessageRole.USER, text, ts=T0))


def _embed(session_id: SessionId, given: Embedded, tx: Transaction) -> None:
    tx.index.put_vectors(messages_scope(ANA), session_id, given)
