"""`chatbot reindex` makes the vectors that are missing; what `chatbot doctor` says of them."""

import asyncio
import os
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from typing import Any

import pytest

from chatbot.application.vector_reindexing import VectorReindexing
from chatbot.domain.errors import PromptRefused
from chatbot.domain.identity import Owner
from chatbot.domain.person_memory import MemorySettings
from chatbot.domain.ports.backend import StorageOptions
from chatbot.domain.ports.storage import Storage
from chatbot.domain.search import messages_scope
from chatbot.entrypoints.settings.loading import load_settings
from chatbot.entrypoints.storage_backends import backend_of
from commands import Run
from embedding_calls import FakeEmbedder
from provider import FakeProvider, Fault, Raw
from samples import ANA, CLIENT
from vector_world import ONE, TWO, VectorWorld

MODEL = "openai/bge-m3"
COMMAND = "from chatbot.entrypoints.commands.cli import main; main(['reindex'])"


@pytest.fixture(params=["in_memory", "json_files", "sqlite", "postgres"])
async def world(
    request: pytest.FixtureRequest, make_storage: Callable[[str], Storage]
) -> AsyncIterator[VectorWorld]:
    async with make_storage(request.param) as storage:
        yield VectorWorld(storage)


async def run(
    world: VectorWorld, *owners: Owner, documents: bool = True, messages: bool = True
) -> int:
    reindexing = VectorReindexing(world.storage, world.writer, messages=messages)
    world.embedder.calls.clear()
    return await reindexing.run(owners, documents=documents)


async def test_only_what_is_missing_is_embedded(world: VectorWorld) -> None:
    await world.say(*(f"message {n}" for n in range(150)))
    await world.say("A dog", session_id=TWO)
    await world.say("A cat", owner=CLIENT)
    scope = await world.plant("kites", passages=140)
    assert await run(world, ANA, CLIENT) == 150 + 1 + 1 + 140
    assert world.embedder.calls[0] == ["hello"]
    assert len(world.embedder.calls) <= 1 + 2 * 3
    assert await world.vectors() == {ONE: [*range(1, 151)], TWO: [1]}
    assert await world.vectors(messages_scope(CLIENT)) == {ONE: [1]}
    assert sorted(map(len, (await world.vectors(scope)).values())) == [140]
    assert await run(world, ANA, CLIENT) == 0
    assert world.embedder.texts == ["hello"]
    await world.say("And a bird")
    assert await run(world, ANA, CLIENT) == 1


async def test_vectors_of_other_models_and_lengths_are_replaced(world: VectorWorld) -> None:
    await world.say("A dog", "A cat")
    scope = await world.plant("kites")
    await run(world, ANA)
    world.embedder.dimension = 32
    assert await run(world, ANA) == 5
    world.embedder.model = "openai/other"
    assert await run(world, ANA) == 5

    def of_lengths(scope: Any) -> Callable[[Any], list[Mapping[str, frozenset[int]]]]:
        kinds: list[tuple[str, int]] = [(MODEL, 64), (MODEL, 32), ("openai/other", 32)]
        return lambda tx: [tx.index.vectors_of(scope, m, dimension=d) for m, d in kinds]

    for where in (messages_scope(ANA), scope):
        *old, new = await world.storage.transact(of_lengths(where))
        assert old == [{}, {}]
        assert new


async def test_without_a_model_all_vectors_are_dropped(world: VectorWorld) -> None:
    await world.say("A dog")
    scope = await world.plant("kites")
    await run(world, ANA)
    assert (
        await VectorReindexing(world.storage, None, messages=False).run([ANA], documents=True) == 0
    )
    assert await world.vectors() == {}
    assert await world.vectors(scope) == {}


async def test_one_persons_messages_and_no_documents(world: VectorWorld) -> None:
    await world.say("A dog")
    await world.say("A cat", owner=CLIENT)
    await world.plant("kites")
    assert await run(world, CLIENT, documents=False) == 1
    assert world.embedder.texts == ["hello", "A cat"]


async def test_people_who_do_not_want_it_are_left_out_of_everything(world: VectorWorld) -> None:
    await world.say("A dog")
    await world.say("A cat", owner=CLIENT)
    await world.settle(MemorySettings(cross_session=False))
    assert await run(world, ANA, CLIENT) == 1
    reindexing = VectorReindexing(world.storage, world.writer, messages=True)
    found = await reindexing.lacking([ANA, CLIENT], dimension=64)
    assert (found.messages, found.indexed) == (0, 2)
    await world.settle(MemorySettings())
    assert (await reindexing.lacking([ANA, CLIENT], dimension=64)).messages == 1


async def test_where_messages_are_never_recalled_only_documents_are_embedded(
    world: VectorWorld,
) -> None:
    await world.say("A dog")
    await world.plant("kites", passages=2)
    assert await run(world, ANA, messages=False) == 2
    assert all("dog" not in text for text in world.embedder.texts)


async def test_a_text_that_is_refused_for_ever_does_not_keep_the_command_busy(
    world: VectorWorld,
) -> None:
    await world.say("fine", "bad", *(f"fine {n}" for n in range(200)))

    def answer(texts: Sequence[str]) -> None:
        if "bad" in texts:
            raise PromptRefused(status=400)

    world.embedder.answer = answer
    assert await run(world, ANA) == 201
    assert world.embedder.calls.count(["bad"]) == 1
    assert await world.vectors() == {ONE: [1, *range(3, 203)]}
    assert await run(world, ANA) == 0


# --- the commands, over HTTP ---------------------------------------------------------------------


@pytest.fixture
async def upstream(ready: Run, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[FakeProvider]:
    async with FakeProvider() as provider:
        monkeypatch.setenv("STORAGE_URL", "sqlite:///data/chatbot.db")
        monkeypatch.setenv("EMBEDDING_MODEL", MODEL)
        monkeypatch.setenv("EMBEDDING_BASE_URL", provider.base_url)
        await asyncio.to_thread(ready, "init")
        yield provider


async def in_store(work: Callable[[VectorWorld], Awaitable[Any]]) -> Any:
    url = load_settings().storage.url
    async with backend_of(url).storage(url, StorageOptions()) as storage:
        return await work(VectorWorld(storage, FakeEmbedder(model=MODEL)))


async def fill(world: VectorWorld) -> None:
    await world.say(*(f"message {n}" for n in range(300)))
    await world.say("A cat", owner=CLIENT)
    await world.plant("kites", passages=10)


async def made_in_all(world: VectorWorld) -> int:
    """How many messages have a vector; documents come later."""
    scopes = map(messages_scope, (ANA, CLIENT))
    found = [numbers for scope in scopes for numbers in (await world.vectors(scope)).values()]
    return sum(map(len, found))


async def vector_line(ready: Run) -> str:
    _, out, _ = await asyncio.to_thread(ready, "doctor")
    [line] = [line for line in out.splitlines() if " vectors: " in line]
    return line


async def test_doctor_counts_what_reindex_then_makes(upstream: FakeProvider, ready: Run) -> None:
    await in_store(fill)
    assert await vector_line(ready) == (
        f"FAIL  vectors: 301 messages and 10 passages of documents, of 311 in all, have no vector of "
        f"{MODEL} with 64 dimensions. Fix: run `chatbot reindex`"
    )
    code, out, err = await asyncio.to_thread(ready, "reindex")
    assert (code, err) == (0, "")
    assert out.splitlines()[-1] == f"vectors made with {MODEL}: 311"
    assert await vector_line(ready) == f"ok    vectors: all passages have one of {MODEL}"
    await in_store(lambda world: world.say("newer"))
    assert (await vector_line(ready)).startswith("ok    vectors: 1 messages and 0 passages")
    upstream.dimension = 32
    assert (await vector_line(ready)).startswith("FAIL  vectors: 302 messages and 10 passages")
    code, out, _ = await asyncio.to_thread(ready, "reindex")
    assert out.splitlines()[-1] == f"vectors made with {MODEL}: 312"
    assert await vector_line(ready) == f"ok    vectors: all passages have one of {MODEL}"


async def test_without_a_model_reindex_drops_vectors_and_doctor_is_silent(
    upstream: FakeProvider, ready: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    await in_store(fill)
    await asyncio.to_thread(ready, "reindex")
    upstream.requests.clear()
    monkeypatch.setenv("EMBEDDING_MODEL", "")
    code, out, _ = await asyncio.to_thread(ready, "reindex")
    assert (code, out) == (0, "sessions checked: 2, indexed again: 0\n")
    assert await in_store(lambda world: world.vectors()) == {}
    _, out, _ = await asyncio.to_thread(ready, "doctor")
    assert " vectors: " not in out
    assert not upstream.requests


async def test_a_failing_provider_is_named_and_what_was_made_stays(
    upstream: FakeProvider, ready: Run
) -> None:
    await in_store(fill)

    def raw(_: Any) -> Raw | None:
        if len(upstream.requests) > 3:
            upstream.fault = Fault.UNAUTHENTICATED
        return None

    upstream.raw = raw
    code, out, err = await asyncio.to_thread(ready, "reindex")
    assert code == 1
    assert "vectors made" not in out
    assert "Some vectors are missing: The model provider rejected the API key" in err
    assert "Run the command again once `chatbot doctor` says" in err
    made = await in_store(made_in_all)
    assert made == 192
    upstream.fault, upstream.raw = None, lambda _: None
    code, out, _ = await asyncio.to_thread(ready, "reindex")
    assert out.splitlines()[-1] == f"vectors made with {MODEL}: {311 - made}"


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no SIGKILL")
async def test_a_killed_run_is_continued_by_the_next_one(
    upstream: FakeProvider, ready: Run
) -> None:
    await in_store(fill)
    paused = asyncio.Event()

    def raw(_: Any) -> Raw | None:
        if len(upstream.requests) < 4:
            return None
        paused.set()
        return Raw(pieces=[], hangs=True)

    upstream.raw = raw
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-c", COMMAND, env=dict(os.environ)
    )
    async with asyncio.timeout(60):
        await paused.wait()
    process.kill()
    await process.wait()
    already = await in_store(made_in_all)
    upstream.requests.clear()
    upstream.raw = lambda _: None
    code, out, _ = await asyncio.to_thread(ready, "reindex")
    sent = [text for each in upstream.requests for text in each.body["input"]]
    assert code == 0
    assert already == 128
    assert len(sent) == 1 + 311 - already
    assert out.splitlines()[-1] == f"vectors made with {MODEL}: {311 - already}"
    assert await in_store(lambda world: world.vectors()) == {ONE: [*range(1, 301)]}
