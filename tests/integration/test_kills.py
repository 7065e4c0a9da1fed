"""SIGKILL at every system call of a change to a folder of JSON files, with strace.

A first run is only watched: it says which calls touch the folder. Then the change is made anew for
each of them, by a process that is killed as it makes that call, and the folder is opened again.
"""

import asyncio
import multiprocessing
import os
import re
import shutil
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from multiprocessing.connection import Connection
from pathlib import Path
from typing import NamedTuple

import pytest

from chatbot.adapters.storage.json_files.check import Problem
from chatbot.adapters.storage.json_files.storage import JsonFileStorage
from chatbot.domain.chat import Message, Session
from chatbot.domain.transaction import JOURNALS
from conversation import ANA, PATIENCE_S, ChatApp
from killed_before import OPEN, TORN, USER, append_entry
from killed_changes import CHANGES, Change, Seen
from killed_process import SURVIVED, be_killed
from programs import program
from storage_worker import app_on

if sys.platform != "linux":
    pytest.skip("strace is a tool of Linux", allow_module_level=True)

AT_ONCE = 2
CONTENT = [
    word.encode()
    for word in ("question", "answer", "asked", "summary", "old title", "new title", OPEN, TORN)
]
FORKS = multiprocessing.get_context("forkserver")
FORKS.set_forkserver_preload(
    ["chatbot.entrypoints.container.wiring", "chatbot.adapters.storage.json_files.backend"]
)  # imported once, not at each kill


class Call(NamedTuple):
    """A system call, by name, thread (0 is the main one) and count of that name in the thread."""

    thread: int
    name: str
    number: int


@pytest.fixture(scope="module")
def strace() -> str:
    return program("strace")


@pytest.mark.parametrize("name", CHANGES)
async def test_change_that_is_killed_at_any_system_call_is_whole_or_absent(
    name: str, tmp_path: Path, strace: str
) -> None:
    change, before = CHANGES[name], tmp_path / "before"
    async with JsonFileStorage(before) as storage:
        await change.prepare(app_on(storage), before)
    calls = await watch(strace, name, before, tmp_path / "watched")
    assert len(calls) > 15
    turns = asyncio.Semaphore(AT_ONCE)

    async def kill(number: int, call: Call) -> None:
        async with turns:
            root = tmp_path / f"{number}"
            shutil.copytree(before, root)
            acknowledged = await asyncio.to_thread(killed_at, call, strace, name, root)
            try:
                await check(change, root, acknowledged)
            except BaseException as error:
                error.add_note(
                    f"killed at {call}, {number} of {len(calls)}; acknowledged: {acknowledged}"
                )
                raise
            shutil.rmtree(root)

    async with asyncio.TaskGroup() as kills:
        for number, call in enumerate(calls, 1):
            kills.create_task(kill(number, call))
    print(f"{name}: {len(calls)} kills")  # noqa: T201 - with `pytest -rP`


# --- the killed process ----------------------------------------------------------------------


class KilledProcess(NamedTuple):
    """A process that waits for a start signal while strace attaches to its two threads."""

    test: Connection
    process: multiprocessing.process.BaseProcess
    threads: tuple[int, int]

    def answers(self) -> Iterator[int]:
        """Start the change and collect its acknowledgements until the process ends."""
        self.test.send("go")
        with suppress(EOFError, ConnectionResetError):
            while True:
                yield self.test.recv()


@contextmanager
def started(name: str, root: Path) -> Iterator[KilledProcess]:
    ours, its = FORKS.Pipe()
    with ours, its:
        process = FORKS.Process(target=be_killed, args=(root, name, its))
        process.start()
        its.close()
        try:
            yield KilledProcess(ours, process, ours.recv())
        finally:
            process.join()


@contextmanager
def traced(strace: str, thread: int, *options: str) -> Iterator[None]:
    """Trace the thread until the process ends."""
    command = [strace, "-p", str(thread), *options]
    with subprocess.Popen(command, stderr=subprocess.PIPE, encoding="utf-8") as tracer:
        try:
            assert tracer.stderr is not None
            attached = tracer.stderr.readline()
            assert " attached" in attached, attached
            yield
            tracer.wait(PATIENCE_S)
        finally:
            tracer.kill()


async def watch(strace: str, name: str, before: Path, root: Path) -> list[Call]:
    """Make the change without a kill, check it, and return the calls that touch the folder."""
    shutil.copytree(before, root)
    output = root.parent / "trace"
    states = CHANGES[name].states

    def run() -> tuple[int, int]:
        options = ("-ff", "-y", "-o", str(output), "-e", "trace=%file,%desc")
        with started(name, root) as each, traced(strace, each.threads[0], *options):
            assert list(each.answers())[-2:] == [len(states) - 1, SURVIVED]
            return each.threads

    threads = await asyncio.to_thread(run)
    await check(CHANGES[name], root, [len(states) - 1])
    return [
        call
        for thread, number in enumerate(threads)
        for call in calls_in(output.with_name(f"trace.{number}"), thread, str(root))
    ]


def calls_in(trace: Path, thread: int, root: str) -> Iterator[Call]:
    counts = Counter[str]()
    for line in trace.read_text("utf-8").splitlines():
        if found := re.match(r"(\w+)\(", line):
            counts[found[1]] += 1
            if root in line:
                yield Call(thread, found[1], counts[found[1]])


def killed_at(call: Call, strace: str, name: str, root: Path) -> list[int]:
    """Kill the change at this call; return what it acknowledged."""
    inject = f"inject={call.name}:signal=KILL:when={call.number}"
    options = ("-o", os.devnull, "-e", f"trace={call.name}", "-e", inject)
    with started(name, root) as each, traced(strace, each.threads[call.thread], *options):
        acknowledged = list(each.answers())  # not its exit code: only one thread may ask for those
    assert SURVIVED not in acknowledged, f"{call} was not reached"
    return acknowledged


# --- what has to be there --------------------------------------------------------------------


async def check(change: Change, root: Path, acknowledged: list[int]) -> None:
    """Check that acknowledged states survive once, others are complete or absent, and work continues."""
    async with JsonFileStorage(root) as storage:
        app = app_on(storage)
        assert await seen(app) in change.states[max(acknowledged, default=0) :]
        assert {found.problem for found in await storage.findings()} <= {Problem.LEFTOVER}
        entries = (await seen(app)).journal
        await storage.transact(append_entry)
        sessions = await sessions_of(app)
        for session in sessions:
            await go_on(app, session)
        assert sessions or not acknowledged or content_left_in(root) == []
        await app.sessions.begin(ANA)
        assert sessions or content_left_in(root) == []
        for session in await sessions_of(app):
            await app.sessions.delete(ANA, session.id)
        assert content_left_in(root) == []
        if not (await seen(app)).hashes:
            await storage.transact(lambda tx: tx.users.add(USER))
        assert {found.problem for found in await storage.findings()} <= {Problem.LEFTOVER}
        assert (await seen(app)).journal[:-1] == entries


def content_left_in(root: Path) -> list[bytes]:
    files = [path for path in (root / "memory").rglob("*") if path.is_file()]
    return [word for word in CONTENT if any(word in path.read_bytes() for path in files)]


async def go_on(app: ChatApp, session: Session) -> None:
    """Check that the session is free and the next turn continues the numbering."""
    assert await app.is_free(session.id)
    before = await app.messages(session.id)
    await app.ask("once more", session.id)
    after = await app.messages(session.id)
    assert after[: len(before)] == before
    first = session.last_seq - len(before) + 1
    assert [m.seq for m in after] == list(range(first, first + len(after)))
    assert [m.content for m in after[-2:]] == ["once more", "answer"]
    await app.memory_editor.put_summary(ANA, session.id, "a summary")


async def seen(app: ChatApp) -> Seen:
    sessions = []
    for session in await sessions_of(app):
        messages = tuple((m.seq, text_of(m)) for m in await app.messages(session.id))
        title = session.title if session.revision else ""
        sessions.append((messages, (await app.memory(session.id)).summary, title))
    found = await app.storage.transact(lambda tx: tx.users.by_email(USER.email))
    entries = await app.storage.transact(lambda tx: tx.journal.read(JOURNALS[0], limit=9))
    assert [entry.seq for entry in entries] == list(range(1, len(entries) + 1))
    numbers = tuple(str(entry.content["number"]) for entry in entries)
    return Seen(tuple(sessions), (found.password_hash,) if found else (), numbers)


def text_of(message: Message) -> str:
    return message.reason or message.content


async def sessions_of(app: ChatApp) -> list[Session]:
    return await app.storage.transact(lambda tx: list(tx.sessions.page(ANA.owner, limit=9)))
