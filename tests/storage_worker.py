"""One of several processes that share a store: `python tests/storage_worker.py URL JOB NUMBER`.

It says `ready` when the store is open, begins with its job when it reads a line, and says on
lines of JSON what was acknowledged. The test makes the sessions.
"""
# ruff: noqa: T201 - it prints

import asyncio
import json
import os
import re
import secrets
import signal
import sys
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from functools import partial
from pathlib import Path

from chatbot.adapters.llm.scripted import Answer, Script
from chatbot.adapters.storage.json_files.files import Files
from chatbot.adapters.storage.json_files.storage import JsonFileStorage
from chatbot.application.turn import Started
from chatbot.domain.chat import Session
from chatbot.domain.errors import Conflict, SessionBusy
from chatbot.domain.identity import User, UserId
from chatbot.domain.ports.model import ModelRequest
from chatbot.domain.ports.storage import Storage, Transaction
from chatbot.domain.throttling import AttemptKey, Tally
from conversation import ANA, NO_MEMORY, Desk

TASKS, TURNS, MEMORIES, GUESSES = 32, 2, 10, 20
GUESSED = tuple(
    Tally(key=AttemptKey(char * 64), allowed=allowed) for char, allowed in (("a", 5), ("b", 9))
)
NOW = datetime.now(UTC)


def storage_at(url: str) -> Storage:
    """The store that a URL names, as `STORAGE_URL` does."""
    scheme, _, rest = url.partition(":")
    match scheme:
        case "json":
            return JsonFileStorage(Path(rest))
        case "stopping-json":
            return JsonFileStorage(Path(rest), StoppingFiles())
    raise ValueError(f"no test opens a store at {scheme}:")


def desk_on(storage: Storage, answer: Callable[[ModelRequest], Answer] | None = None) -> Desk:
    return Desk(
        answer or (lambda request: answer_to(request.messages[-1].text)),
        storage=storage,
        rules=NO_MEMORY,
        new_id=lambda: secrets.token_hex(16),
    )


def answer_to(question: str) -> str:
    found = re.findall(r"\d+ \d+ \d+", question)
    return f"answer to {found[-1]}" if found else "answer"


def user(number: int, *roles: str) -> User:
    return User(
        id=UserId(f"{number:032x}"),
        email=f"u{number}@example.com",
        password_hash="x",
        roles=roles,
        department="",
        created_at=NOW,
    )


async def sessions_of(desk: Desk) -> Sequence[Session]:
    found = await desk.storage.transact(lambda tx: tx.sessions.page(ANA.owner, limit=9))
    return sorted(found, key=lambda session: session.id)


def say(*acknowledged: object) -> None:
    print(json.dumps(acknowledged), flush=True)


# --- the jobs --------------------------------------------------------------------------------


async def talk(desk: Desk, number: int) -> None:
    """Many turns at once in a few sessions. Says who waited in vain for one, and asks again."""
    sessions = await sessions_of(desk)

    async def ask(task: int) -> None:
        session_id = sessions[task % len(sessions)].id
        for turn in range(TURNS):
            question, begun = f"{number} {task} {turn}", time.monotonic_ns()
            while True:
                try:
                    reply = await desk.ask(question, session_id, stream=False)
                except SessionBusy:
                    continue
                break
            say(session_id, question, reply.text, begun, time.monotonic_ns())

    async with asyncio.TaskGroup() as tasks:
        for task in range(TASKS):
            tasks.create_task(ask(task))


async def remember(desk: Desk, number: int) -> None:
    """Add to the summary without a lease, as consolidation does; others do too."""
    [session] = await sessions_of(desk)

    def add(tx: Transaction) -> bool:
        memory = tx.sessions.memory(ANA.owner, session.id)
        memory = replace(memory, summary=memory.summary + str(number))
        return tx.sessions.put_memory(ANA.owner, session.id, memory, epoch=session.epoch)

    stored = 0
    while stored < MEMORIES:
        stored += await desk.storage.transact(add)


async def add_first_admin(desk: Desk, number: int) -> None:
    try:
        await desk.storage.transact(
            lambda tx: tx.users.add(user(number, "admin"), unless_any_has=frozenset({"admin"}))
        )
        say("first")
    except Conflict:
        say("late")


def add_user(tx: Transaction, added: User) -> None:
    tx.users.add(added)


async def add_users(desk: Desk, number: int) -> None:
    for each in range(MEMORIES):
        added = user(number * MEMORIES + each)
        await desk.storage.transact(partial(add_user, added=added))


async def guess(desk: Desk, _: int) -> None:
    for _ in range(GUESSES):
        wait = await desk.storage.transact(lambda tx: tx.attempts.count(GUESSED, at=NOW))
        say("waits" if wait else "counted")


async def hold(desk: Desk, _: int) -> None:
    """A turn whose answer is waited for until a line is read."""

    async def pause() -> None:
        await asyncio.to_thread(sys.stdin.readline)

    slow = desk_on(desk.storage, lambda _: Script(pieces=("held answer",), pause=pause))
    session = (await sessions_of(desk))[0]
    async for event in slow.events("held question", session.id, stream=False):
        if isinstance(event, Started):
            say("asked")
    say("answered")


async def put_summary(desk: Desk, _: int) -> None:
    session = (await sessions_of(desk))[0]
    await desk.by_hand.put_summary(ANA, session.id, "new summary")
    say("stored")


class StoppingFiles(Files):
    """A process that is stopped as it gives a new file its name."""

    def replace(self, source: Path, target: Path) -> None:
        say("stops")
        if sys.platform != "win32":
            os.kill(os.getpid(), signal.SIGSTOP)
        super().replace(source, target)


JOBS: dict[str, Callable[[Desk, int], Awaitable[None]]] = {
    job.__name__: job
    for job in (talk, remember, add_first_admin, add_users, guess, hold, put_summary)
}


async def main(url: str, job: str, number: str) -> None:
    async with storage_at(url) as storage:
        say("ready")
        sys.stdin.readline()
        await JOBS[job](desk_on(storage), int(number))


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
