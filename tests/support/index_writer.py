"""A process that writes, removes and searches messages in a shared store until it is killed."""

import asyncio
import random
import secrets
from contextlib import suppress
from datetime import UTC, datetime
from functools import partial
from multiprocessing.connection import Connection

from chatbot.adapters.search.searcher import Searcher
from chatbot.domain.chat import (
    MessageRange,
    MessageRole,
    Question,
    Session,
    SessionId,
    TurnId,
)
from chatbot.domain.errors import NotFound, SessionBusy
from chatbot.domain.identity import Owner
from chatbot.domain.ports.storage import Storage
from chatbot.domain.search import messages_scope, passages_of
from chatbot.domain.transaction import Transaction
from samples import new_message
from storage_worker import storage_at
from vectors_of_texts import embedded

OWNERS = tuple(Owner(kind="user", id=letter * 32) for letter in "ab")
WORDS = ["kites", "sheds", "holidays", "salaries", "vacaciones", "empleados", "number", "forms"]
_TURNS_AT_ONCE = 3
_SESSIONS = 5


def write_until_killed(url: str, seed: int, test: Connection) -> None:
    """Report each change that is done."""
    asyncio.run(_write(url, random.Random(seed), test))  # not a secret


async def _write(url: str, chance: random.Random, test: Connection) -> None:
    async with storage_at(url) as storage:
        searcher = Searcher(storage, lambda *_: {})
        while True:
            owner = chance.choice(OWNERS)
            sessions = await storage.transact(lambda tx: tx.sessions.page(owner, limit=99))  # noqa: B023 # done at once
            if len(sessions) < _SESSIONS:
                await storage.transact(partial(_create, owner))
                continue
            chosen = chance.sample([each.id for each in sessions], _TURNS_AT_ONCE)
            async with asyncio.TaskGroup() as group:
                for session_id in chosen:
                    group.create_task(_change(storage, owner, session_id, chance))
                group.create_task(_search(searcher, owner))
            test.send(seed_of(chance))


def seed_of(chance: random.Random) -> int:
    return chance.getrandbits(16)


def _create(owner: Owner, tx: Transaction) -> None:
    now = datetime.now(UTC)
    new = Session(id=SessionId(secrets.token_hex(16)), owner=owner, created_at=now, updated_at=now)
    tx.sessions.create(new)


async def _search(searcher: Searcher, owner: Owner) -> None:
    await searcher.messages(owner, "kites and salaries", limit=5)


async def _change(
    storage: Storage, owner: Owner, session_id: SessionId, chance: random.Random
) -> None:
    with suppress(SessionBusy, NotFound):
        kind = chance.random()
        if kind < 0.6:
            await _take_turn(storage, owner, session_id, chance)
        elif kind < 0.8:
            await _embed(storage, owner, session_id)
        else:
            await storage.transact(partial(_remove, owner, session_id, kind))


async def _take_turn(
    storage: Storage, owner: Owner, session_id: SessionId, chance: random.Random
) -> None:
    def text() -> str:
        return " ".join(chance.choices(WORDS, k=chance.randint(0, 12)))

    question = Question(
        owner=owner,
        session_id=session_id,
        turn_id=TurnId(secrets.token_hex(16)),
        text=text(),
        ts=datetime.now(UTC),
        summarized_step=1,
        history_limit=9,
    )
    context = await storage.store_question(question)
    answer = new_message(context.lease, MessageRole.ASSISTANT, text(), ts=question.ts)
    await storage.store_answer(context.lease, answer)


async def _embed(storage: Storage, owner: Owner, session_id: SessionId) -> None:
    """Add vectors of all messages, which may be gone by then."""
    everything = MessageRange(limit=10**4)
    found = await storage.transact(lambda tx: tx.sessions.read(owner, session_id, everything))
    await asyncio.sleep(0.01)
    vectors = embedded(passages_of(found))
    scope = messages_scope(owner)
    await storage.transact(lambda tx: tx.index.put_vectors(scope, session_id, vectors))


def _remove(owner: Owner, session_id: SessionId, kind: float, tx: Transaction) -> None:
    with tx.sessions.held(owner, session_id, TurnId(secrets.token_hex(16))) as lease:
        if kind < 0.9:
            tx.sessions.trim(lease, tx.sessions.get(owner, session_id).last_seq - 3)
        elif kind < 0.96:
            tx.sessions.reset(lease, ts=datetime.now(UTC))
        else:
            tx.sessions.delete(lease)
