"""What several processes on one store promise each other; one suite for every store that lasts."""

import asyncio
import json
import os
import signal
import sys
from asyncio.subprocess import PIPE, Process
from collections.abc import AsyncGenerator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

import storage_worker
from chatbot.adapters.storage.json_files.storage import JsonFileStorage
from chatbot.domain.chat import SessionId
from chatbot.domain.errors import Conflict, SessionBusy, StorageUnavailable
from chatbot.domain.memory import Memory
from chatbot.domain.ports.storage import Storage
from conversation import ANA, PATIENCE_S
from storage_worker import GUESSES, MEMORIES, TASKS, TURNS, answer_to, desk_on, storage_at, user

SCRIPT = Path(storage_worker.__file__)
PROCESSES, SESSIONS = 8, 4
POSIX = pytest.mark.skipif(os.name == "nt", reason="Windows stops no process")


@pytest.fixture(params=["json"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """An empty store of each kind that processes may share."""
    match request.param:
        case "json":
            return f"json:{tmp_path / 'data'}"
    raise ValueError(request.param)


# --- the workers -----------------------------------------------------------------------------


@dataclass(frozen=True)
class Worker:
    process: Process

    async def heard(self) -> Any:
        """What it says next; None at its end."""
        assert self.process.stdout is not None
        line = await asyncio.wait_for(self.process.stdout.readline(), 2 * PATIENCE_S)
        return json.loads(line) if line else None

    async def go(self) -> None:
        """Let it begin, or go on."""
        assert self.process.stdin is not None
        self.process.stdin.write(b"go\n")
        await self.process.stdin.drain()

    async def kill(self) -> None:
        self.process.kill()
        await self.process.wait()

    def stop(self) -> None:
        if sys.platform != "win32":
            self.process.send_signal(signal.SIGSTOP)

    def wake(self) -> None:
        if sys.platform != "win32":
            self.process.send_signal(signal.SIGCONT)

    async def rest(self) -> list[Any]:
        """All that it says up to its end."""
        said = []
        while (heard := await self.heard()) is not None:
            said.append(heard)
        assert await self.process.wait() == 0
        return said


@asynccontextmanager
async def worker(url: str, job: str, number: int = 0) -> AsyncGenerator[Worker]:
    """A process that has opened the store and waits for `go`."""
    command = (sys.executable, str(SCRIPT), url, job, str(number))
    process = await asyncio.create_subprocess_exec(*command, stdin=PIPE, stdout=PIPE)
    try:
        started = Worker(process)
        assert await started.heard() == ["ready"]
        yield started
    finally:
        if process.returncode is None:
            await started.kill()


async def done_by(url: str, job: str, count: int) -> list[list[Any]]:
    """Let processes do a job at once; return what each of them said."""
    async with AsyncExitStack() as stack:
        starting = (stack.enter_async_context(worker(url, job, n)) for n in range(count))
        workers = await asyncio.gather(*starting)
        for each in workers:
            await each.go()
        return await asyncio.gather(*(each.rest() for each in workers))


async def begin(storage: Storage, count: int) -> list[SessionId]:
    desk = desk_on(storage)
    return sorted([await desk.sessions.begin(ANA) for _ in range(count)])


# --- what they write at once -----------------------------------------------------------------


async def test_every_acknowledged_turn_is_there_once_whole_and_in_order(url: str) -> None:
    async with storage_at(url) as storage:
        sessions = await begin(storage, SESSIONS)
        said = [each for said in await done_by(url, "talk", PROCESSES) for each in said]
        assert len(said) == PROCESSES * TASKS * TURNS
        for session_id in sessions:
            messages = await desk_on(storage).messages(session_id)
            assert [m.seq for m in messages] == list(range(1, len(messages) + 1))
            turns = list(zip(messages[::2], messages[1::2], strict=True))
            assert all(asked.turn_id == answer.turn_id for asked, answer in turns)
            found = {asked.content: answer.content for asked, answer in turns}
            assert len(found) == len(turns)
            told = {asked: (answer, *at) for id_, asked, answer, *at in said if id_ == session_id}
            assert found == {asked: answer for asked, (answer, *_) in told.items()}
            assert all(answer == answer_to(asked) for asked, answer in found.items())
            times = [told[asked][1:] for asked in found]
            assert all(begun < heard for (begun, _), (_, heard) in pairwise(times))


async def test_no_stored_memory_is_lost(url: str) -> None:
    async with storage_at(url) as storage:
        [session_id] = await begin(storage, 1)
        await done_by(url, "remember", 4)
        memory = await desk_on(storage).memory(session_id)
    assert memory.version == 4 * MEMORIES
    assert {char: memory.summary.count(char) for char in "0123"} == dict.fromkeys("0123", MEMORIES)


async def test_one_process_makes_the_first_administrator(url: str) -> None:
    async with storage_at(url) as storage:
        said = await done_by(url, "add_first_admin", 6)
        assert sorted(said) == [[["first"]], *[[["late"]]] * 5]
        with pytest.raises(Conflict):
            await storage.transact(
                lambda tx: tx.users.add(user(99), unless_any_has=frozenset({"admin"}))
            )


async def test_no_user_is_lost(url: str) -> None:
    async with storage_at(url) as storage:
        await done_by(url, "add_users", 4)
        added = [user(number).id for number in range(4 * MEMORIES)]
        assert all(await storage.transact(lambda tx: [tx.users.by_id(each) for each in added]))


async def test_processes_count_attempts_together(url: str) -> None:
    async with storage_at(url):
        said = [each for said in await done_by(url, "guess", 4) for each in said]
    assert said.count(["counted"]) == 5
    assert said.count(["waits"]) == 4 * GUESSES - 5


# --- who holds a session and dies, or is stopped ---------------------------------------------


async def test_killed_holder_frees_its_session_at_once_and_loses_no_message(url: str) -> None:
    async with storage_at(url) as storage, worker(url, "hold") as holder:
        [session_id] = await begin(storage, 1)
        desk = desk_on(storage)
        await holder.go()
        assert await holder.heard() == ["asked"]
        with pytest.raises(SessionBusy):
            await desk.is_free(session_id)
        await holder.kill()
        assert await desk.is_free(session_id)
        await desk.ask("1 1 1", session_id)
        said = [m.reason or m.content for m in await desk.messages(session_id)]
    assert said == ["held question", "crash", "1 1 1", "answer to 1 1 1"]


@POSIX
async def test_stopped_holder_keeps_its_session_only_and_then_ends_its_turn(url: str) -> None:
    async with storage_at(url) as storage, worker(url, "hold") as holder:
        held, other = await begin(storage, 2)
        desk = desk_on(storage)
        await holder.go()
        assert await holder.heard() == ["asked"]
        holder.stop()
        with pytest.raises(SessionBusy):
            await desk.is_free(held)
        assert [m.content for m in await desk.messages(held)] == ["held question"]
        await desk.ask("1 1 1", other)
        await holder.go()
        with pytest.raises(SessionBusy):
            await desk.is_free(held)
        holder.wake()
        assert await holder.rest() == [["answered"]]
        assert [m.content for m in await desk.messages(held)] == ["held question", "held answer"]
        assert await desk.is_free(held)


@POSIX
async def test_process_that_is_stopped_as_it_replaces_a_file_stops_others_for_a_while_only(
    tmp_path: Path,
) -> None:
    root = tmp_path / "data"
    async with (
        JsonFileStorage(root) as storage,
        worker(f"stopping-json:{root}", "put_summary") as stopped,
    ):
        one, two = await begin(storage, 2)
        desk = desk_on(storage)
        await stopped.go()
        assert await stopped.heard() == ["stops"]
        with pytest.raises(SessionBusy):
            await desk.is_free(one)
        putting = asyncio.create_task(
            storage.transact(lambda tx: tx.sessions.put_memory(ANA.owner, one, Memory(), epoch=0))
        )
        turns = 0
        while not putting.done():
            await desk.ask("1 1 1", two)
            assert await desk.memory(one) == Memory()
            turns += 1
        with pytest.raises(StorageUnavailable):
            await putting
        assert turns > 1
        stopped.wake()
        assert await stopped.rest() == [["stored"]]
        assert (await desk.memory(one)).summary == "new summary"
        assert await storage.inspect() == []
