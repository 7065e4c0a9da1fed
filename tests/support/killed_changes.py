"""Changes of a folder of JSON files, and the states that readers may find when one is cut short."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from chatbot.application.turn import Started
from chatbot.domain.chat import SessionId, TurnId
from chatbot.domain.transaction import Transaction
from conversation import ANA, ChatApp
from killed_before import (
    OPEN,
    USER,
    another_deletion_that_did_not_end,
    append_entry,
    deletion_that_did_not_end,
    nothing,
    open_question,
    talk,
    titled_talk,
    torn_entry,
    torn_write,
    torn_write_set_aside,
    user,
)

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
