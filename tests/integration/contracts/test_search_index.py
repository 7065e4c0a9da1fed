"""Every store finds the same: ids, order, scores and explanations, whatever was written and folded.

Hypothesis writes the same to all stores, and their searches are compared with each other and with
those of an index that was written at once with what is left.
"""

import asyncio
import os
import secrets
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from functools import partial

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from chatbot.adapters.search.searcher import Searcher
from chatbot.adapters.search.stored_index import StoredIndex
from chatbot.adapters.storage.in_memory.storage import InMemoryStorage
from chatbot.domain.chat import MessageRole, Session, SessionId, TurnId
from chatbot.domain.ports.storage import Storage
from chatbot.domain.search import Hit, Passage, Scope
from chatbot.domain.transaction import Transaction
from samples import ANA, T0, new_message

EXAMPLES = int(os.environ.get("CHATBOT_TEST_EXAMPLES", "12"))
STORES = ("in_memory", "json_files", "sqlite", "postgres")
WORDS = [
    "kites",
    "sheds",
    "holidays",
    "salaries",
    "vacaciones",
    "empleados",
    "the",
    "la",
    "of",
    "number",
    "forms",
    "2026",
]
ATOMS = ("public", "role:a", "role:b", "department:sales", "label:x")
QUERIES = ("kites in sheds", "vacaciones de los empleados 2026", "the salaries number", "forms")

scopes = st.sampled_from(["one", "two", "three"])
parents = st.sampled_from(["p", "q", "r"])
atoms = st.sets(st.sampled_from(ATOMS), max_size=3)
texts = st.lists(st.lists(st.sampled_from(WORDS), min_size=1, max_size=9).map(" ".join), max_size=5)
long_texts = texts.map(lambda few: (few or ["forms"]) * 20)


@dataclass
class World:
    """What was written: texts by access class, parent and number; audiences by access class."""

    prefix: str = field(default_factory=lambda: secrets.token_hex(4))
    passages: dict[tuple[Scope, str], dict[int, str]] = field(default_factory=dict)
    audiences: dict[Scope, set[str]] = field(default_factory=dict)

    def scope(self, name: str) -> Scope:
        return Scope(f"{self.prefix} {name}")

    def texts(
        self, _: Transaction, keys: Sequence[tuple[str, int]]
    ) -> Mapping[tuple[str, int], str]:
        named = {
            (p, seq): text for (_, p), all_ in self.passages.items() for seq, text in all_.items()
        }
        return {key: named[key] for key in keys if key in named}


Work = Callable[[Transaction], None]


def named(scope: str, parent: str) -> str:
    """A parent is in one access class only, as documents are."""
    return f"{parent} of {scope}"


def apply(world: World, step: tuple[object, ...]) -> Work:  # noqa: PLR0911 # one for each step
    """Note a step in the world; returns what does it in a store."""
    match step:
        case ("put" | "append" as kind, str(name), str(short), list(found)):
            scope, parent = world.scope(name), named(name, short)
            there = world.passages.setdefault((scope, parent), {})
            if kind == "put":
                there.clear()
            first = max(there, default=0) + 1
            new = dict(enumerate(map(str, found), first))
            there.update(new)
            passages = [Passage(seq=seq, text=text, heading="Forms") for seq, text in new.items()]
            if kind == "put":
                return lambda tx: tx.index.put(scope, parent, passages)
            return lambda tx: tx.index.append(scope, parent, passages)
        case ("remove", str(name), str(short), upto):
            scope, parent = world.scope(name), named(name, short)
            last = upto if isinstance(upto, int) else None
            there = world.passages.get((scope, parent), {})
            for seq in [each for each in there if last is None or each <= last]:
                del there[seq]
            return lambda tx: tx.index.remove(scope, parent, upto=last)
        case ("move", str(name), str(other), str(short)):
            scope, to, parent = world.scope(name), world.scope(other), named(name, short)
            return lambda tx: _there_and_back(tx, scope, to, parent)
        case ("clear", str(name)):
            scope = world.scope(name)
            world.passages = {key: each for key, each in world.passages.items() if key[0] != scope}
            world.audiences.pop(scope, None)
            return lambda tx: tx.index.clear(scope)
        case ("audience", str(name), set(found)):
            scope, audience = world.scope(name), {f"{world.prefix} {each}" for each in found}
            world.audiences[scope] = audience
            return lambda tx: tx.index.set_audience(scope, audience)
        case ("fold", str(name), bool(is_whole)):
            scope = world.scope(name)
            return lambda tx: _stored(tx).fold(scope, is_whole=is_whole)
        case _:
            raise AssertionError(step)


def _there_and_back(tx: Transaction, scope: Scope, to: Scope, parent: str) -> None:
    if scope == to:
        return
    there = tx.index.indexed(scope).get(parent, 0)
    tx.index.move(scope, to, parent)
    assert parent not in tx.index.indexed(scope)
    assert tx.index.indexed(to).get(parent, 0) == there
    tx.index.move(to, scope, parent)


def _stored(tx: Transaction) -> StoredIndex:
    assert isinstance(tx.index, StoredIndex)
    return tx.index


steps = st.one_of(
    st.tuples(st.just("put"), scopes, parents, texts | long_texts),
    st.tuples(st.just("append"), scopes, parents, texts),
    st.tuples(st.just("remove"), scopes, parents, st.none() | st.integers(1, 6)),
    st.tuples(st.just("move"), scopes, scopes, parents),
    st.tuples(st.just("clear"), scopes),
    st.tuples(st.just("audience"), scopes, atoms),
    st.tuples(st.just("fold"), scopes, st.booleans()),
)


async def found_in(storage: Storage, world: World, asked: set[str]) -> list[Sequence[Hit]]:
    """The hits of all queries for a caller with these atoms, without a label and with one."""
    searcher = Searcher(storage, world.texts)
    own = [f"{world.prefix} {each}" for each in asked]
    found = [await searcher.documents(own, each, limit=20) for each in QUERIES]
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
            searcher = Searcher(storage, lambda *_: {})
            for number in range(1, 5):
                said = [f"{WORDS[n % 7]} {WORDS[(n * number) % 11]} {n}?" for n in range(30)]
                await storage.transact(partial(_say, SessionId(f"{number:032x}"), said))
                found.append(await searcher.messages(ANA, "salaries of kites", limit=20))
                await searcher.tidier.idle()
            found.append(
                await searcher.messages(ANA, "number 7", limit=9, without=SessionId(f"{1:032x}"))
            )
            await searcher.aclose()
    assert found[0]
    assert found[: len(found) // 4] * 4 == found


def _say(session_id: SessionId, texts: list[str], tx: Transaction) -> None:
    new = Session(id=session_id, owner=ANA, title="", created_at=T0, updated_at=T0)
    tx.sessions.create(new)
    with tx.sessions.held(ANA, session_id, TurnId("1" * 32)) as lease:
        for text in texts:
            tx.sessions.append(lease, new_message(lease, MessageRole.USER, text, ts=T0))
