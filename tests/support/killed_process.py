"""A process that changes a folder of JSON files and is killed at each of its system calls."""
# ruff: noqa: ASYNC240 - a test may block a loop that is its own

import asyncio
import ctypes
import os
import sys
import threading
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path
from typing import NamedTuple

from chatbot.adapters.storage.json_files import storage as storage_module
from chatbot.adapters.storage.json_files.storage import JsonFileStorage
from chatbot.application.turn import Started
from chatbot.domain.chat import SessionId, TurnId
from chatbot.domain.identity import User, UserId
from chatbot.domain.transaction import JOURNALS, Transaction
from conversation import ANA, START, ChatApp
from storage_worker import app_on

OPEN, TORN = "still open", '{"seq":4,"ro'
USER = User(
    id=UserId("7"),
    email="ana@example.com",
    password_hash="old hash",
    roles=("admin",),
    department="",
    created_at=START,
)

SURVIVED = -1
Acknowledge = Callable[[int], None]
"""Acknowledges the state with this number."""


class Seen(NamedTuple):
    """What a reader finds: numbered messages, summary and given title of each session, and others."""

    sessions: tuple[tuple[tuple[tuple[int, str], ...], str, str], ...] = ()
    hashes: tuple[str, ...] = ()
    journal: tuple[str, ...] = ()


def one_session(*messages: str, summary: str = "", title: str = "") -> Seen:
    return Seen(sessions=((tuple(enumerate(messages, 1)), summary, title),))


@dataclass(frozen=True, kw_only=True)
class Change:
    """A change, its preparation, and the states that readers may observe, in order."""

    prepare: Callable[[ChatApp, Path], Awaitable[object]]
    make: Callable[[ChatApp, SessionId, Acknowledge], Awaitable[object]]
    states: tuple[Seen, ...]


# --- what is there before --------------------------------------------------------------------


async def nothing(_: ChatApp, __: Path) -> None: ...


async def talk(app: ChatApp, _: Path) -> SessionId:
    session_id = await app.filled(1)
    await app.memory_editor.put_summary(ANA, session_id, "old summary")
    return session_id


async def titled_talk(app: ChatApp, root: Path) -> None:
    session_id = await talk(app, root)
    await app.sessions.rename(ANA, session_id, "old title")


async def open_question(app: ChatApp, root: Path) -> None:
    await app.question_left_by_a_crash(await talk(app, root), OPEN)


async def torn_write(app: ChatApp, root: Path) -> None:
    await talk(app, root)
    [log] = root.rglob("*.log")
    with log.open("ab") as file:
        file.write(TORN.encode())


async def torn_write_set_aside(app: ChatApp, root: Path) -> None:
    await torn_write(app, root)
    await app.add_turns(await only_session(app), 1)


async def deletion_that_did_not_end(app: ChatApp, root: Path) -> None:
    """The log is already renamed for deletion; nothing else has happened."""
    await torn_write_set_aside(app, root)
    [log] = root.rglob("*.log")
    log.rename(log.parent / ".work" / f"{log.stem}.deleted")


async def another_deletion_that_did_not_end(app: ChatApp, root: Path) -> None:
    await torn_write_set_aside(app, root)
    [stays] = root.rglob("*.log")
    await talk(app, root)
    [log] = set(root.rglob("*.log")) - {stays}
    log.rename(log.parent / ".work" / f"{log.stem}.deleted")


async def user(app: ChatApp, _: Path) -> None:
    await app.storage.transact(lambda tx: tx.users.add(USER))


async def torn_entry(app: ChatApp, root: Path) -> None:
    await app.storage.transact(append_entry)
    [log] = root.rglob("*.jsonl")
    with log.open("ab") as file:
        file.write(b'{"seq":2,"at')


def append_entry(tx: Transaction) -> None:
    tx.journal.append(JOURNALS[0], lambda last: {"number": last.seq + 1 if last else 1}, at=START)


async def only_session(app: ChatApp) -> SessionId:
    found = await app.storage.transact(lambda tx: tx.sessions.page(ANA.owner, limit=1))
    return found[0].id if found else SessionId("")


# --- the changes -----------------------------------------------------------------------------


async def take_turn(app: ChatApp, session_id: SessionId, acknowledge: Acknowledge) -> None:
    async for event in app.events("asked", session_id or None, stream=False):
        if isinstance(event, Started):
            acknowledge(2)
    acknowledge(3)


async def append_turn(app: ChatApp, session_id: SessionId, acknowledge: Acknowledge) -> None:
    await app.add_turns(session_id, 1)
    acknowledge(2)


async def put_summary(app: ChatApp, session_id: SessionId, acknowledge: Acknowledge) -> None:
    await app.memory_editor.put_summary(ANA, session_id, "new summary")
    acknowledge(1)


async def rename(app: ChatApp, session_id: SessionId, acknowledge: Acknowledge) -> None:
    await app.sessions.rename(ANA, session_id, "new title")
    acknowledge(1)


async def expire(app: ChatApp, session_id: SessionId, acknowledge: Acknowledge) -> None:
    def trim(tx: Transaction) -> None:
        with tx.sessions.held(ANA.owner, session_id, TurnId("t")) as lease:
            tx.sessions.trim(lease, 2)

    await app.storage.transact(trim)
    acknowledge(1)


async def begin(app: ChatApp, _: SessionId, acknowledge: Acknowledge) -> None:
    await app.sessions.begin(ANA)
    acknowledge(1)


async def reset(app: ChatApp, session_id: SessionId, acknowledge: Acknowledge) -> None:
    await app.sessions.reset(ANA, session_id)
    acknowledge(1)


async def delete(app: ChatApp, session_id: SessionId, acknowledge: Acknowledge) -> None:
    await app.sessions.delete(ANA, session_id)
    acknowledge(1)


async def add_user(app: ChatApp, _: SessionId, acknowledge: Acknowledge) -> None:
    await user(app, Path())
    acknowledge(1)


async def change_hash(app: ChatApp, _: SessionId, acknowledge: Acknowledge) -> None:
    await app.storage.transact(
        lambda tx: tx.users.set_password_hash(USER.id, old="old hash", new="new hash")
    )
    acknowledge(1)


async def append_entries(app: ChatApp, _: SessionId, acknowledge: Acknowledge) -> None:
    for number in (1, 2):
        await app.storage.transact(append_entry)
        acknowledge(number)


SAID = ("question 1", "answer 2")
NEXT = ("question 3", "answer 4")
OLD = one_session(*SAID, summary="old summary")
CHANGES = {
    "turn behind an open question": Change(
        prepare=open_question,
        make=take_turn,
        states=tuple(
            one_session(*SAID, OPEN, *("crash", "asked", "answer")[:count], summary="old summary")
            for count in range(4)
        ),
    ),
    "first turn": Change(
        prepare=nothing,
        make=take_turn,
        states=(
            Seen(),
            one_session(),
            one_session("asked"),
            one_session("asked", "answer"),
        ),
    ),
    "append behind a torn write": Change(
        prepare=torn_write,
        make=append_turn,
        states=tuple(
            one_session(*SAID, *NEXT[:count], summary="old summary") for count in range(3)
        ),
    ),
    "summary": Change(
        prepare=talk, make=put_summary, states=(OLD, one_session(*SAID, summary="new summary"))
    ),
    "title": Change(
        prepare=titled_talk,
        make=rename,
        states=tuple(
            one_session(*SAID, summary="old summary", title=f"{each} title")
            for each in ("old", "new")
        ),
    ),
    "expired messages": Change(
        prepare=torn_write_set_aside,
        make=expire,
        states=(
            one_session(*SAID, *NEXT, summary="old summary"),
            Seen(sessions=((((3, NEXT[0]), (4, NEXT[1])), "old summary", NEXT[0]),)),
        ),
    ),
    "deletion of a session with a title": Change(
        prepare=titled_talk,
        make=delete,
        states=(one_session(*SAID, summary="old summary", title="old title"), Seen()),
    ),
    "reset of a session with a title": Change(
        prepare=titled_talk,
        make=reset,
        states=(one_session(*SAID, summary="old summary", title="old title"), one_session()),
    ),
    "new session": Change(
        prepare=deletion_that_did_not_end, make=begin, states=(Seen(), one_session())
    ),
    "reset": Change(
        prepare=torn_write_set_aside,
        make=reset,
        states=(one_session(*SAID, *NEXT, summary="old summary"), one_session()),
    ),
    "deletion": Change(
        prepare=another_deletion_that_did_not_end,
        make=delete,
        states=(one_session(*SAID, *NEXT, summary="old summary"), Seen()),
    ),
    "user": Change(
        prepare=nothing, make=add_user, states=(Seen(), Seen(hashes=(USER.password_hash,)))
    ),
    "first entries of a journal": Change(
        prepare=nothing,
        make=append_entries,
        states=(Seen(), Seen(journal=("1",)), Seen(journal=("1", "2"))),
    ),
    "entries behind a torn one": Change(
        prepare=torn_entry,
        make=append_entries,
        states=tuple(Seen(journal=("1", "2", "3")[:count]) for count in (1, 2, 3)),
    ),
    "password": Change(
        prepare=user,
        make=change_hash,
        states=(Seen(hashes=("old hash",)), Seen(hashes=("new hash",))),
    ),
}


# --- the process -----------------------------------------------------------------------------


def be_killed(root: Path, name: str, test: Connection) -> None:
    """Open the store, send the ids of the two threads, and make the change on request."""
    let_anybody_trace()
    storage_module._THREADS = 1  # so that the calls have one order
    asyncio.run(_change(root, CHANGES[name], test))


def let_anybody_trace() -> None:
    """Allow ptrace where Yama restricts it (https://docs.kernel.org/admin-guide/LSM/Yama.html)."""
    if sys.platform == "linux":
        pr_set_ptracer, pr_set_ptracer_any = 0x59616D61, ctypes.c_ulong(-1)
        ctypes.CDLL(None).prctl(pr_set_ptracer, pr_set_ptracer_any, 0, 0, 0)


async def _change(root: Path, change: Change, test: Connection) -> None:
    async with JsonFileStorage(root) as storage:
        app = app_on(storage)
        session_id = await only_session(app)
        [thread] = [
            each for each in threading.enumerate() if each.name.startswith("chatbot-storage")
        ]
        test.send((os.getpid(), thread.native_id))
        test.recv()
        await change.make(app, session_id, test.send)
    test.send(SURVIVED)
