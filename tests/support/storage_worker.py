"""One of several processes that share a store: `python tests/support/storage_worker.py URL`.

It reads jobs, says what was acknowledged and `done` at the end of each, all on lines of JSON.
"""
# ruff: noqa: T201 - it prints

import asyncio
import json
import re
import secrets
import signal
import sys
import threading
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from functools import partial
from pathlib import Path

from chatbot.adapters.filesystem.files import Files
from chatbot.adapters.llm.scripted import Answer, Script
from chatbot.adapters.storage.json_files.storage import JsonFileStorage
from chatbot.application.turn import Started
from chatbot.domain.chat import SessionId
from chatbot.domain.errors import Conflict, SessionBusy
from chatbot.domain.identity import User, UserId
from chatbot.domain.ports.model import ModelRequest
from chatbot.domain.ports.storage import Storage
from chatbot.domain.throttling import AttemptKey, Throttle
from chatbot.domain.transaction import JOURNALS, Transaction
from conversation import ANA, NO_MEMORY, ChatApp

TURNS, MEMORIES, USERS, GUESSES, ENTRIES = 2, 10, 5, 20, 20
GUESSED = tuple(
    Throttle(key=AttemptKey(char * 64), allowed=allowed) for char, allowed in (("a", 5), ("b", 9))
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
    return _sql_storage_at(url)


def _sql_storage_at(url: str) -> Storage:
    # Imported here: most of the time of a short process would go to imports that it does not need.
    from chatbot.adapters.storage.sql.storage import SqlStorage  # noqa: PLC0415

    if url.startswith("sqlite:///"):
        from chatbot.adapters.storage.sql.sqlite import SqliteDatabase  # noqa: PLC0415

        path = Path(url.removeprefix("sqlite:///"))
        return SqlStorage(SqliteDatabase(path), replica="test")
    from chatbot.adapters.storage.sql.postgres import PostgresDatabase  # noqa: PLC0415

    return SqlStorage(PostgresDatabase(url, connections=4, prepared=True), replica="test")


def app_on(storage: Storage, answer: Callable[[ModelRequest], Answer] | None = None) -> ChatApp:
    return ChatApp(
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


def say(*acknowledged: object) -> None:
    print(json.dumps(acknowledged), flush=True)


# --- the jobs --------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """The task, its sessions, and the number of this process."""

    name: str
    sessions: Sequence[str] = ()
    number: int = 0
    tasks: int = 0

    @property
    def session_id(self) -> SessionId:
        return SessionId(self.sessions[0])


async def talk(app: ChatApp, job: Job) -> None:
    """Run many concurrent turns in a few sessions."""

    async def ask(task: int) -> None:
        session_id = SessionId(job.sessions[task % len(job.sessions)])
        for turn in range(TURNS):
            question, begun = f"{job.number} {task} {turn}", time.monotonic_ns()
            answer = await patient_turn(app, session_id, question)
            say(session_id, question, answer, begun, time.monotonic_ns())

    async with asyncio.TaskGroup() as tasks:
        for task in range(job.tasks):
            tasks.create_task(ask(task))


async def patient_turn(app: ChatApp, session_id: SessionId, question: str) -> str:
    while True:
        try:
            return (await app.ask(question, session_id, stream=False)).text
        except SessionBusy:
            continue


async def remember(app: ChatApp, job: Job) -> None:
    """Extend the summary without a lease, as consolidation does, against other writers."""

    def add(tx: Transaction) -> bool:
        memory = tx.sessions.memory(ANA.owner, job.session_id)
        memory = replace(memory, summary=memory.summary + str(job.number))
        return tx.sessions.put_memory(ANA.owner, job.session_id, memory, epoch=0)

    stored = 0
    while stored < MEMORIES:
        stored += await app.storage.transact(add)


async def add_first_admin(app: ChatApp, job: Job) -> None:
    admin = user(1000 + job.number, "admin")
    try:
        await app.storage.transact(partial(add_first, admin))
        say("first")
    except Conflict:
        say("late")


def add_first(admin: User, tx: Transaction) -> None:
    tx.users.lock()
    tx.users.require_no_administrator(tx.roles.all())
    tx.users.add(admin)


async def add_users(app: ChatApp, job: Job) -> None:
    for number in range(USERS):
        await app.storage.transact(partial(_add_user, user(job.number * USERS + number)))


def _add_user(added: User, tx: Transaction) -> None:
    tx.users.add(added)


async def guess(app: ChatApp, _: Job) -> None:
    for _each in range(GUESSES):
        wait = await app.storage.transact(lambda tx: tx.attempts.count(GUESSED, at=NOW))
        say("waits" if wait else "counted")


async def note(app: ChatApp, _: Job) -> None:
    """Append entries to a journal, each with the number of the previous one."""

    def append(tx: Transaction) -> int:
        return tx.journal.append(JOURNALS[0], lambda last: {"last": last and last.seq}, at=NOW).seq

    for _each in range(ENTRIES):
        say(await app.storage.transact(append))


async def hold(app: ChatApp, job: Job) -> None:
    """A turn whose answer waits for a line on standard input."""

    async def pause() -> None:
        await asyncio.to_thread(sys.stdin.readline)

    slow = app_on(app.storage, lambda _: Script(pieces=("held answer",), pause=pause))
    async for event in slow.events("held question", job.session_id, stream=False):
        if isinstance(event, Started):
            say("asked")


async def put_summary(app: ChatApp, job: Job) -> None:
    await app.memory_editor.put_summary(ANA, job.session_id, "new summary")


class StoppingFiles(Files):
    """Suspends its own process when it renames a new file."""

    def replace(self, source: Path, target: Path) -> None:
        if sys.platform != "win32":
            say("stops")
            signal.pthread_kill(threading.get_ident(), signal.SIGSTOP)
        super().replace(source, target)


JOBS: dict[str, Callable[[ChatApp, Job], Awaitable[None]]] = {
    job.__name__: job
    for job in (talk, remember, add_first_admin, add_users, guess, note, hold, put_summary)
}


async def main(url: str) -> None:
    async with storage_at(url) as storage:
        say("ready")
        while line := await asyncio.to_thread(sys.stdin.readline):
            job = Job(**json.loads(line))
            await JOBS[job.name](app_on(storage), job)
            say("done")


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
