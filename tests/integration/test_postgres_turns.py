"""The steps of a turn on Postgres: three round trips, and the handling of failures in each."""

import asyncio
import secrets
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from typing import Any

import psycopg
import pytest

from chatbot.adapters.storage.sql.postgres import PostgresDatabase
from chatbot.adapters.storage.sql.postgres_turns import PREPARED, PostgresTurns
from chatbot.adapters.storage.sql.storage import SqlStorage
from chatbot.domain.chat import (
    Message,
    MessageRange,
    MessageRole,
    Question,
    Session,
    SessionId,
    TurnContext,
    TurnId,
)
from chatbot.domain.errors import StorageUnavailable
from chatbot.domain.identity import UserId
from chatbot.domain.permissions import DEFAULT_ROLES
from conversation import PATIENCE_S
from relay import Relay, relay_to
from samples import ANA, new_message, user

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
CONNECTIONS = 4


def storage_of(url: str, **options: Any) -> SqlStorage:
    database = PostgresDatabase(url, connections=CONNECTIONS, prepared=True)
    return SqlStorage(database, replica="test", **options)


@pytest.fixture
async def storage(postgres_store: str) -> AsyncIterator[SqlStorage]:
    async with storage_of(postgres_store) as storage:
        yield storage


def question(session_id: SessionId, text: str = "asked") -> Question:
    return Question(
        owner=ANA,
        session_id=session_id,
        turn_id=TurnId(secrets.token_hex(16)),
        text=text,
        ts=NOW,
        summarized_step=1,
        history_limit=9,
    )


async def begin(storage: SqlStorage) -> SessionId:
    new = SessionId(secrets.token_hex(16))
    session = Session(id=new, owner=ANA, title="", created_at=NOW, updated_at=NOW)
    await storage.transact(lambda tx: tx.sessions.create(session))
    return new


async def take_turn(storage: SqlStorage, session_id: SessionId) -> TurnContext:
    context = await storage.store_question(question(session_id))
    await storage.store_answer(
        context.lease,
        new_message(context.lease, MessageRole.ASSISTANT, "answered", ts=NOW, reason=None),
    )
    return context


async def messages(storage: SqlStorage, session_id: SessionId) -> list[Message]:
    return [
        *await storage.transact(
            lambda tx: tx.sessions.read(ANA, session_id, MessageRange(limit=99))
        )
    ]


def turns_of(storage: SqlStorage) -> PostgresTurns:
    assert isinstance(storage._turns, PostgresTurns)
    return storage._turns


async def until_connected(storage: SqlStorage) -> None:
    async with asyncio.timeout(PATIENCE_S):
        while sum(not each.is_lost for each in turns_of(storage)._pipelines) < CONNECTIONS // 2:
            await storage.find_caller(UserId("nobody"))
            await asyncio.sleep(0.02)


@pytest.fixture
async def relayed(postgres_store: str) -> AsyncIterator[tuple[Relay, SqlStorage]]:
    async with relay_to(postgres_store) as (relay, url), storage_of(url) as storage:
        yield relay, storage


async def test_turn_takes_three_round_trips(relayed: tuple[Relay, SqlStorage]) -> None:
    relay, storage = relayed
    await storage.transact(lambda tx: tx.users.add(user(1)))
    session_id = await begin(storage)
    for _ in range(3):
        relay.round_trips = 0
        found, _, _ = await storage.find_caller(user(1).id)
        await take_turn(storage, session_id)
        assert found == user(1)
        assert relay.round_trips == 3


async def test_concurrent_turns_share_round_trips(
    relayed: tuple[Relay, SqlStorage],
) -> None:
    relay, storage = relayed
    ids = [await begin(storage) for _ in range(10)]
    relay.round_trips = 0
    contexts = await asyncio.gather(*(storage.store_question(question(each)) for each in ids))
    assert relay.round_trips == 1
    assert [context.lease.session_id for context in contexts] == ids


async def test_connections_cut_while_idle_are_replaced_silently(
    relayed: tuple[Relay, SqlStorage],
) -> None:
    relay, storage = relayed
    session_id = await begin(storage)
    for count in range(1, 4):
        relay.cut()
        await take_turn(storage, session_id)
        assert len(await messages(storage, session_id)) == 2 * count
        await until_connected(storage)


async def test_question_whose_answer_is_lost_is_not_stored_twice(
    relayed: tuple[Relay, SqlStorage], postgres_store: str
) -> None:
    relay, storage = relayed
    session_id = await begin(storage)
    relay.swallows = True
    asking = asyncio.create_task(storage.store_question(question(session_id)))
    async with storage_of(postgres_store) as other, asyncio.timeout(PATIENCE_S):
        while not await messages(other, session_id):
            pass
        relay.cut()
        with pytest.raises(StorageUnavailable):
            await asking
        assert [m.content for m in await messages(other, session_id)] == ["asked"]


async def test_caller_is_found_although_the_connection_is_lost_meanwhile(
    relayed: tuple[Relay, SqlStorage],
) -> None:
    relay, storage = relayed
    relay.swallows = True
    finding = asyncio.create_task(storage.find_caller(UserId("nobody")))
    await asyncio.sleep(0.05)
    relay.swallows = False
    relay.cut()
    assert (await finding)[0] is None


async def test_server_that_does_not_answer_is_given_up(
    postgres_store: str,
) -> None:
    async with (
        relay_to(postgres_store) as (relay, url),
        storage_of(url, answer_s=0.2, renew_s=0.1) as storage,
    ):
        session_id = await begin(storage)
        relay.swallows = True
        async with asyncio.timeout(PATIENCE_S):
            with pytest.raises(StorageUnavailable):
                await storage.store_question(question(session_id))


async def test_locked_session_delays_no_other(storage: SqlStorage, postgres_store: str) -> None:
    free, *locked = [await begin(storage) for _ in range(1 + CONNECTIONS // 2)]
    waiting = []
    with psycopg.connect(postgres_store) as other:
        for each in locked:  # one for each pipeline, if they waited there
            other.execute("SELECT FROM sessions WHERE id = %s FOR UPDATE", [each])
            waiting.append(asyncio.create_task(take_turn(storage, each)))
            await asyncio.sleep(0.05)
        async with asyncio.timeout(4):  # less than the `lock_timeout`
            for _ in range(5):
                await take_turn(storage, free)
        assert not any(each.done() for each in waiting)
        other.rollback()
        await asyncio.gather(*waiting)
    assert [len(await messages(storage, each)) for each in (free, *locked)] == [10, 2, 2]


async def test_turn_of_another_replica_between_the_reading_and_the_lock_is_in_the_history(
    storage: SqlStorage, postgres_store: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The statement sleeps just before it locks the row; the other turn ends meanwhile."""
    statement, names = PREPARED["store_question"]
    slow = statement.replace(
        "SELECT extract(epoch FROM clock_timestamp())::float8 AS now",
        "SELECT extract(epoch FROM clock_timestamp())::float8 AS now FROM pg_sleep(1)",
    )
    assert slow != statement
    session_id = await begin(storage)
    monkeypatch.setitem(PREPARED, "store_question", (slow, names))
    async with storage_of(postgres_store) as sleepy:
        asking = asyncio.create_task(sleepy.store_question(question(session_id)))
        await asyncio.sleep(0.3)
        await take_turn(storage, session_id)
        history = (await asking).history
    assert [m.content for m in history] == ["asked", "answered", "asked"]
    assert [m.seq for m in history] == [1, 2, 3]


async def test_failed_statement_affects_no_other(
    postgres_store: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    failing = "SELECT 1 / (length($1::text) - length($1::text))"
    monkeypatch.setitem(PREPARED, "find_caller", (failing, ("user_id",)))
    async with storage_of(postgres_store) as storage:
        ids = [await begin(storage) for _ in range(3)]
        asking = [asyncio.create_task(storage.store_question(question(each))) for each in ids]
        found, roles, _ = await asyncio.create_task(storage.find_caller(UserId("nobody")))
        contexts = await asyncio.gather(*asking)
        assert (found, roles) == (None, DEFAULT_ROLES)
        assert [context.lease.session_id for context in contexts] == ids
        for each in ids:
            assert len(await messages(storage, each)) == 1


async def test_client_that_disconnected_before_sending_the_question_leaves_no_turn(
    storage: SqlStorage,
) -> None:
    session_id = await begin(storage)
    asking = asyncio.create_task(storage.store_question(question(session_id)))
    await asyncio.sleep(0)
    asking.cancel()
    await asyncio.wait({asking})
    await take_turn(storage, session_id)
    assert len(await messages(storage, session_id)) == 2


async def test_turns_are_stored_without_a_selector_event_loop(
    postgres_store: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As with the proactor event loop on Windows."""

    def refuse(*_: object) -> None:
        raise NotImplementedError

    monkeypatch.setattr(asyncio.get_running_loop(), "add_reader", refuse, raising=False)
    async with storage_of(postgres_store) as storage:
        session_id = await begin(storage)
        await take_turn(storage, session_id)
        assert len(await messages(storage, session_id)) == 2


async def test_one_connection_is_enough(postgres_store: str) -> None:
    database = PostgresDatabase(postgres_store, connections=1, prepared=True)
    async with SqlStorage(database, replica="test") as storage:
        session_id = await begin(storage)
        await take_turn(storage, session_id)
        assert len(await messages(storage, session_id)) == 2


async def test_no_more_connections_are_opened_than_allowed(
    relayed: tuple[Relay, SqlStorage],
) -> None:
    relay, storage = relayed
    session_id = await begin(storage)
    await asyncio.gather(*(storage.check() for _ in range(20)), take_turn(storage, session_id))
    assert relay.accepted == CONNECTIONS


async def test_nothing_is_left_open(postgres_store: str) -> None:
    before = asyncio.all_tasks()
    async with storage_of(postgres_store) as storage:
        await take_turn(storage, await begin(storage))
        pipelines = list(turns_of(storage)._pipelines)
    assert all(each.is_lost for each in pipelines)
    assert asyncio.all_tasks() == before
