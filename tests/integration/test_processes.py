"""Guarantees between processes that share a store; one suite for every persistent backend."""

import asyncio
import json
import os
import shutil
import signal
import sys
from asyncio.subprocess import PIPE, Process
from collections.abc import AsyncGenerator, AsyncIterator, Iterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from dataclasses import dataclass
from functools import partial
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

import storage_worker
from chatbot.adapters.storage.json_files.storage import JsonFileStorage
from chatbot.adapters.storage.sql.postgres import PostgresDatabase
from chatbot.adapters.storage.sql.upgrading import upgrade
from chatbot.domain.chat import SessionId
from chatbot.domain.errors import Conflict, SessionBusy, StorageUnavailable
from chatbot.domain.memory import Memory
from chatbot.domain.ports.storage import Storage
from chatbot.domain.transaction import JOURNALS
from conversation import ANA, PATIENCE_S, ChatApp
from postgres import new_database
from storage_worker import (
    ENTRIES,
    GUESSES,
    MEMORIES,
    TURNS,
    USERS,
    add_first,
    answer_to,
    app_on,
    storage_at,
    user,
)

pytestmark = pytest.mark.asyncio(loop_scope="module")

SCRIPT = Path(storage_worker.__file__)
SESSIONS = 4
CROWDS = {"json": (8, 32), "sqlite": (4, 8), "postgres": (4, 8)}
"""Processes, and turns at once in each."""
POSIX = pytest.mark.skipif(os.name == "nt", reason="Windows stops no process")


# --- the workers -----------------------------------------------------------------------------


@dataclass(frozen=True)
class Worker:
    process: Process

    async def receive(self) -> Any:
        """The next message of the process."""
        assert self.process.stdout is not None
        line = await asyncio.wait_for(self.process.stdout.readline(), 2 * PATIENCE_S)
        return json.loads(line)

    async def send(self, **job: object) -> None:
        """Send a job; without arguments, let its held turn continue."""
        assert self.process.stdin is not None
        self.process.stdin.write(json.dumps(job).encode() + b"\n")
        await self.process.stdin.drain()

    async def rest(self) -> list[Any]:
        """All messages up to the end of its job."""
        said = []
        while (received := await self.receive()) != ["done"]:
            said.append(received)
        return said

    async def kill(self) -> None:
        self.process.kill()
        await self.process.wait()

    def stop(self) -> None:
        if sys.platform != "win32":
            self.process.send_signal(signal.SIGSTOP)

    def wake(self) -> None:
        if sys.platform != "win32":
            self.process.send_signal(signal.SIGCONT)


@asynccontextmanager
async def worker(url: str) -> AsyncGenerator[Worker]:
    """A process with the open store."""
    command = (sys.executable, str(SCRIPT), url)
    process = await asyncio.create_subprocess_exec(*command, stdin=PIPE, stdout=PIPE)
    started = Worker(process)
    try:
        assert await started.receive() == ["ready"]
        yield started
    finally:
        if process.returncode is None:
            await started.kill()


@dataclass(frozen=True, kw_only=True)
class Crowd:
    """Processes that share an open store with the test."""

    storage: Storage
    workers: Sequence[Worker]
    tasks: int

    @property
    def app(self) -> ChatApp:
        return app_on(self.storage)

    async def begin(self, count: int) -> list[SessionId]:
        return await begin(self.storage, count)

    async def do(self, name: str, sessions: Sequence[SessionId] = ()) -> list[list[Any]]:
        """Run a job in all processes concurrently; return the messages of each."""
        for number, each in enumerate(self.workers):
            await each.send(name=name, sessions=sessions, number=number, tasks=self.tasks)
        return await asyncio.gather(*(each.rest() for each in self.workers))


@pytest_asyncio.fixture(loop_scope="module", scope="module", params=CROWDS)
async def crowd(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[Crowd]:
    processes, tasks = CROWDS[request.param]
    with new_store(request, tmp_path_factory.mktemp("store")) as url:
        async with AsyncExitStack() as stack:
            starting = (stack.enter_async_context(worker(url)) for _ in range(processes))
            workers = await asyncio.gather(*starting)
            storage = await stack.enter_async_context(storage_at(url))
            yield Crowd(storage=storage, workers=workers, tasks=tasks)


@contextmanager
def new_store(request: pytest.FixtureRequest, folder: Path) -> Iterator[str]:
    match request.param:
        case "sqlite":
            template = request.getfixturevalue("sqlite_template")
            yield f"sqlite:///{shutil.copy(template, folder / 'chatbot.db')}"
        case "postgres":
            with new_database(request.getfixturevalue("postgres")) as url:
                upgrade(PostgresDatabase(url, connections=1, prepared=True))
                yield url
        case _:
            yield f"json:{folder / 'data'}"


async def begin(storage: Storage, count: int) -> list[SessionId]:
    return [await app_on(storage).sessions.begin(ANA) for _ in range(count)]


# --- what they write at once -----------------------------------------------------------------


async def test_every_acknowledged_turn_is_there_once_whole_and_in_order(crowd: Crowd) -> None:
    sessions = await crowd.begin(SESSIONS)
    said = [each for said in await crowd.do("talk", sessions) for each in said]
    assert len(said) == len(crowd.workers) * crowd.tasks * TURNS
    for session_id in sessions:
        messages = await crowd.app.messages(session_id)
        assert [m.seq for m in messages] == list(range(1, len(messages) + 1))
        turns = list(zip(messages[::2], messages[1::2], strict=True))
        assert all(asked.turn_id == answer.turn_id for asked, answer in turns)
        found = {asked.content: answer.content for asked, answer in turns}
        assert len(found) == len(turns)
        answers = {asked: (answer, *at) for id_, asked, answer, *at in said if id_ == session_id}
        assert found == {asked: answer for asked, (answer, *_) in answers.items()}
        assert all(answer == answer_to(asked) for asked, answer in found.items())
        times = [answers[asked][1:] for asked in found]
        assert all(begun < received for (begun, _), (_, received) in pairwise(times))


async def test_no_stored_memory_is_lost(crowd: Crowd) -> None:
    [session_id] = await crowd.begin(1)
    await crowd.do("remember", [session_id])
    memory = await crowd.app.memory(session_id)
    assert memory.version == len(crowd.workers) * MEMORIES
    counts = {memory.summary.count(str(number)) for number in range(len(crowd.workers))}
    assert counts == {MEMORIES}


async def test_one_process_makes_the_first_administrator(crowd: Crowd) -> None:
    said = await crowd.do("add_first_admin")
    assert sorted(said) == [[["first"]], *[[["late"]]] * (len(crowd.workers) - 1)]
    with pytest.raises(Conflict):
        await crowd.storage.transact(partial(add_first, user(999, "admin")))


async def test_no_user_is_lost(crowd: Crowd) -> None:
    await crowd.do("add_users")
    added = [user(number).id for number in range(len(crowd.workers) * USERS)]
    assert all(await crowd.storage.transact(lambda tx: [tx.users.by_id(each) for each in added]))


async def test_processes_count_attempts_together(crowd: Crowd) -> None:
    said = [each for said in await crowd.do("guess") for each in said]
    assert said.count(["counted"]) == 5
    assert said.count(["waits"]) == len(crowd.workers) * GUESSES - 5


async def test_processes_append_to_a_journal_without_gaps(crowd: Crowd) -> None:
    numbers = [number for said in await crowd.do("note") for [number] in said]
    entries = await crowd.storage.transact(lambda tx: tx.journal.read(JOURNALS[0], limit=999))
    assert sorted(numbers) == [entry.seq for entry in entries]
    assert [entry.seq for entry in entries] == list(range(1, len(crowd.workers) * ENTRIES + 1))
    assert [entry.content["last"] for entry in entries] == [None, *range(1, len(entries))]


# --- who holds a session and dies, or is stopped ---------------------------------------------


@POSIX
async def test_suspended_process_holds_only_its_session_and_then_finishes_its_turn(
    crowd: Crowd,
) -> None:
    held, other = await crowd.begin(2)
    holder, app = crowd.workers[0], crowd.app
    await holder.send(name="hold", sessions=[held])
    assert await holder.receive() == ["asked"]
    holder.stop()
    await holder.send()
    with pytest.raises(SessionBusy):
        await app.is_free(held)
    assert [m.content for m in await app.messages(held)] == ["held question"]
    await app.ask("1 1 1", other)
    with pytest.raises(SessionBusy):
        await app.is_free(held)
    holder.wake()
    assert await holder.rest() == []
    assert [m.content for m in await app.messages(held)] == ["held question", "held answer"]
    assert await app.is_free(held)


async def test_killed_holder_frees_its_session_at_once_and_loses_no_message(
    tmp_path: Path,
) -> None:
    """The kernel releases the lock at once; on SQL the lease has to expire first."""
    url = f"json:{tmp_path / 'data'}"
    async with storage_at(url) as storage, worker(url) as holder:
        [session_id] = await begin(storage, 1)
        app = app_on(storage)
        await holder.send(name="hold", sessions=[session_id])
        assert await holder.receive() == ["asked"]
        with pytest.raises(SessionBusy):
            await app.is_free(session_id)
        await holder.kill()
        assert await app.is_free(session_id)
        await app.ask("1 1 1", session_id)
        said = [m.reason or m.content for m in await app.messages(session_id)]
    assert said == ["held question", "crash", "1 1 1", "answer to 1 1 1"]


@POSIX
async def test_process_suspended_while_replacing_a_file_blocks_others_for_a_bounded_time(
    tmp_path: Path,
) -> None:
    root = tmp_path / "data"
    async with JsonFileStorage(root) as storage, worker(f"stopping-json:{root}") as stopped:
        one, two = await begin(storage, 2)
        app = app_on(storage)
        await app.memory(one)  # the first look stores the person's memory, alone
        await stopped.send(name="put_summary", sessions=[one])
        assert await stopped.receive() == ["stops"]
        with pytest.raises(SessionBusy):
            await app.is_free(one)
        putting = asyncio.create_task(
            storage.transact(lambda tx: tx.sessions.put_memory(ANA.owner, one, Memory(), epoch=0))
        )
        turns = 0
        while not putting.done():
            await app.ask("1 1 1", two)
            assert await app.memory(one) == Memory()
            turns += 1
        with pytest.raises(StorageUnavailable):
            await putting
        assert turns > 1
        stopped.wake()
        assert await stopped.rest() == []
        assert (await app.memory(one)).summary == "new summary"
        assert await storage.findings() == []
