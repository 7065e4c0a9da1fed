"""New messages are embedded in the background: which of them, and what failures cost."""

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import replace
from datetime import timedelta

import pytest

from chatbot.application import vector_queue
from chatbot.application.vector_parents import DocumentParent, SessionParent
from chatbot.application.vector_queue import VectorQueue
from chatbot.domain.chat import SessionId
from chatbot.domain.documents import DocumentId
from chatbot.domain.errors import ModelUnavailable
from chatbot.domain.memory_tombstones import forgotten
from chatbot.domain.person_memory import MemorySettings
from chatbot.domain.ports.storage import Storage
from chatbot.domain.search import Vector, messages_scope
from chatbot.domain.transaction import Transaction
from person_memories import NEW_ID, said, source, with_new
from samples import ANA, CLIENT, T0
from vector_world import ONE, TWO, VectorWorld


@pytest.fixture(params=["in_memory", "json_files", "sqlite", "postgres"])
async def world(
    request: pytest.FixtureRequest, make_storage: Callable[[str], Storage]
) -> AsyncIterator[VectorWorld]:
    async with make_storage(request.param) as storage:
        yield VectorWorld(storage)


@pytest.fixture
async def small(make_storage: Callable[[str], Storage]) -> AsyncIterator[VectorWorld]:
    async with make_storage("sqlite") as storage:
        yield VectorWorld(storage)


async def until(is_so: Callable[[], bool]) -> None:
    for _ in range(2000):
        if is_so():
            return
        await asyncio.sleep(0.005)
    raise AssertionError("It has not become so.")


async def embed(world: VectorWorld, *parents: SessionParent | DocumentParent) -> None:
    queue = world.queue()
    for parent in parents:
        queue.add(parent)
    await queue.drain()


async def test_messages_that_have_no_vector_yet_are_embedded_once(world: VectorWorld) -> None:
    session = await world.say("We have a dog", "Nice!")
    other = await world.say("I work on Mondays", owner=CLIENT)
    await embed(world, session, other)
    assert world.embedder.calls == [["We have a dog", "Nice!", "I work on Mondays"]]
    assert await world.vectors() == {ONE: [1, 2]}
    assert await world.vectors(messages_scope(CLIENT)) == {ONE: [1]}
    await world.say("And a cat", "  ", "Its name is Tom")
    await embed(world, session, session, other)
    assert world.embedder.calls[1:] == [["And a cat", "Its name is Tom"]]
    assert await world.vectors() == {ONE: [1, 2, 3, 5]}


async def test_documents_are_embedded_part_by_part(world: VectorWorld) -> None:
    scope = await world.plant("kites", passages=300)
    (document,) = await world.storage.transact(lambda tx: tx.documents.all(limit=9))
    await embed(world, DocumentParent(document.id, 2))
    assert await world.vectors(scope) == {document.id: [*range(1, 301)]}
    assert world.embedder.texts == [f"kites\nkites passage {n}" for n in range(1, 301)]


async def test_another_version_of_a_document_gets_no_vectors_of_the_one_before(
    small: VectorWorld,
) -> None:
    scope = await small.plant("kites")
    (document,) = await small.storage.transact(lambda tx: tx.documents.all(limit=9))
    await embed(small, DocumentParent(document.id, 1), DocumentParent(DocumentId("gone"), 1))
    assert not small.embedder.calls

    live = replace(document.newest, number=3)
    newer = replace(document, live=live, newest=live)

    def replaced(tx: Transaction) -> None:
        tx.documents.put(newer, old=document)

    small.embedder.meanwhile = lambda: small.storage.transact(replaced)
    await embed(small, DocumentParent(document.id, 2))
    assert len(small.embedder.texts) == 3
    assert await small.vectors(scope) == {}


@pytest.mark.parametrize(
    "settings", [MemorySettings(enabled=False), MemorySettings(cross_session=False)]
)
async def test_nothing_is_sent_of_people_who_do_not_want_to_be_remembered(
    small: VectorWorld, settings: MemorySettings
) -> None:
    session = await small.say("We have a dog")
    other = await small.say("I work on Mondays", owner=CLIENT)
    await small.settle(settings)
    await embed(small, session, other)
    assert small.embedder.texts == ["I work on Mondays"]
    await small.settle(MemorySettings())
    await embed(small, session)
    assert small.embedder.texts[1:] == ["We have a dog"]


async def test_who_switches_the_memory_off_during_a_call_sends_nothing_more(
    small: VectorWorld,
) -> None:
    session = await small.say(*(f"text {number}" for number in range(200)))
    small.embedder.meanwhile = lambda: small.settle(MemorySettings(enabled=False))
    await embed(small, session)
    assert len(small.embedder.calls) == 1


async def test_what_is_forgotten_is_not_sent(small: VectorWorld) -> None:
    session = await small.say("My dog is ill", "I am sorry", "My car is red", "Nice")
    learned = with_new(said("has an ill dog", source(1, ONE)))
    gone = forgotten(learned, learned.items, now=T0, new_id=NEW_ID)
    await small.change(lambda old: replace(old, items=gone.items, salt=gone.salt))
    await embed(small, session)
    assert small.embedder.texts == ["My car is red", "Nice"]


async def test_what_is_older_than_forget_everything_is_not_sent(small: VectorWorld) -> None:
    session = await small.say("My dog is ill", "I am sorry")
    await small.change(lambda old: replace(old, forgotten_until=T0 + timedelta(days=1)))
    await embed(small, session)
    assert not small.embedder.calls


async def test_a_session_that_is_deleted_meanwhile_leaves_nothing(
    small: VectorWorld, caplog: pytest.LogCaptureFixture
) -> None:
    session = await small.say("My dog is ill")
    gone = await small.say("My car is red", session_id=TWO)

    def delete(tx: Transaction) -> None:
        with tx.sessions.held(ANA, TWO, NEW_ID()) as lease:  # type: ignore[arg-type] # a turn's id
            tx.sessions.delete(lease)

    small.embedder.meanwhile = lambda: small.storage.transact(delete)
    await embed(small, session, gone)
    assert await small.vectors() == {ONE: [1]}
    await embed(small, gone)
    assert len(small.embedder.calls) == 1
    assert not caplog.messages


async def test_a_provider_that_is_down_is_tried_again_and_nothing_is_lost(
    small: VectorWorld, caplog: pytest.LogCaptureFixture
) -> None:
    waits: list[float] = []

    async def sleep(seconds: float) -> None:
        waits.append(seconds)
        await asyncio.sleep(0)

    def answer(_: Sequence[str]) -> Sequence[Vector] | None:
        if len(small.embedder.calls) < 10:
            raise ModelUnavailable("The embedding model is not available right now.")
        return None

    small.embedder.answer = answer
    queue = VectorQueue(small.writer, sleep=sleep)
    queue.add(await small.say("We have a dog"))
    await until(lambda: len(small.embedder.calls) == 10)
    await queue.drain()
    assert await small.vectors() == {ONE: [1]}
    assert waits[:9] == [0.5, 1, 2, 4, 8, 16, 32, 60, 60]
    assert "search is by words only, for now: ModelUnavailable" in caplog.text
    assert "dog" not in caplog.text
    await queue.aclose()


async def test_a_text_with_which_the_provider_fails_delays_its_own_session_only(
    small: VectorWorld,
) -> None:
    def answer(texts: Sequence[str]) -> Sequence[Vector] | None:
        if "odd" in texts:
            raise ModelUnavailable("The connection was cut.")
        return None

    small.embedder.answer = answer
    names = [SessionId(f"{n:032x}") for n in range(40)]
    queue = small.queue()
    for name in names:
        odd = name in {names[0], names[7]}
        queue.add(await small.say("odd" if odd else "a dog", session_id=name))
    async with asyncio.timeout(10):
        while len(await small.vectors()) < len(names) - 2:  # noqa: ASYNC110 # a store tells nobody
            await asyncio.sleep(0.01)
    await queue.aclose()
    assert (await small.vectors()).keys() == set(names) - {names[0], names[7]}
    assert len(small.embedder.calls) < 4 * len(names), "the two are not tried without a pause"


async def test_one_damaged_session_does_not_stop_the_others(
    small: VectorWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    fine, broken = await small.say("A dog"), await small.say("A cat", session_id=TWO)
    lacking = SessionParent.lacking

    def failing(self: SessionParent, *given: object, **more: object) -> object:
        if self.session_id == TWO:
            raise ValueError("damaged")
        return lacking(self, *given, **more)  # type: ignore[arg-type] # as given

    monkeypatch.setattr(SessionParent, "lacking", failing)
    await embed(small, broken, fine, broken)
    assert await small.vectors() == {ONE: [1]}


async def test_the_queue_is_bounded_and_the_oldest_are_left(
    small: VectorWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(vector_queue, "MOST_WAITING", 2)
    parents = [await small.say(f"text {n}", session_id=SessionId(f"{n:032x}")) for n in range(4)]
    await embed(small, *parents)
    assert small.embedder.texts == ["text 2", "text 3"]
    await embed(small, parents[0])
    assert small.embedder.texts[2:] == ["text 0"]


async def test_a_closed_queue_ends_at_once_and_takes_nothing_more(small: VectorWorld) -> None:
    started = asyncio.Event()

    async def silent() -> None:
        started.set()
        await asyncio.Event().wait()

    small.embedder.meanwhile = silent
    queue, session = small.queue(), await small.say("A dog")
    queue.add(session)
    async with asyncio.timeout(5):
        await started.wait()
        await queue.aclose()
    queue.add(session)
    await queue.drain()
    assert await small.vectors() == {}


async def test_draining_ends_at_the_first_failure_of_the_provider(small: VectorWorld) -> None:
    def answer(_: Sequence[str]) -> Sequence[Vector]:
        raise ModelUnavailable

    small.embedder.answer = answer
    parents = [await small.say("text", session_id=SessionId(f"{n:032x}")) for n in range(40)]
    await embed(small, *parents)
    assert len(small.embedder.calls) == 1
