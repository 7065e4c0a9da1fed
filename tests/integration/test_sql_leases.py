"""Leases in a database: they expire, are renewed, and a turn that lost its lease writes nothing."""

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack
from datetime import UTC, datetime
from pathlib import Path
from typing import TypeVar

import pytest
from sqlalchemy import text

from chatbot.adapters.storage.sql.postgres import PostgresDatabase
from chatbot.adapters.storage.sql.session_statements import LEASE_S, RENEW_S
from chatbot.adapters.storage.sql.sqlite import SqliteDatabase
from chatbot.adapters.storage.sql.storage import SqlStorage
from chatbot.domain.chat import (
    Lease,
    Message,
    MessageRange,
    MessageRole,
    Session,
    SessionId,
    TurnId,
)
from chatbot.domain.errors import SessionBusy, StorageUnavailable
from chatbot.domain.identity import Owner
from chatbot.domain.transaction import Transaction
from conversation import PATIENCE_S
from samples import new_message

Found = TypeVar("Found")

T0 = datetime(2026, 3, 1, 12, tzinfo=UTC)
ANA = Owner(kind="user", id="a" * 32)
SESSION = SessionId("1" * 32)
OLD, NEW = TurnId("1" * 32), TurnId("2" * 32)
FOR_EVER, SOON = 50.0, 0.05


class Replicas:
    """Stores that the database sees as several processes."""

    def __init__(
        self, open_one: Callable[[float, float], SqlStorage], stack: AsyncExitStack
    ) -> None:
        self._open_one, self._stack = open_one, stack

    async def one(self, *, lease_s: float = FOR_EVER, renew_s: float = FOR_EVER) -> SqlStorage:
        return await self._stack.enter_async_context(self._open_one(lease_s, renew_s))


@pytest.fixture(params=["sqlite", "postgres"])
async def replicas(request: pytest.FixtureRequest) -> AsyncIterator[Replicas]:
    store = request.getfixturevalue(f"{request.param}_store")

    def open_one(lease_s: float, renew_s: float) -> SqlStorage:
        database = (
            SqliteDatabase(store)
            if isinstance(store, Path)
            else PostgresDatabase(store, connections=2, prepared=True)
        )
        return SqlStorage(database, replica="test", lease_s=lease_s, renew_s=renew_s)

    async with AsyncExitStack() as stack:
        replicas = Replicas(open_one, stack)
        first = await replicas.one()
        session = Session(id=SESSION, owner=ANA, title="", created_at=T0, updated_at=T0)
        await first.transact(lambda tx: tx.sessions.create(session))
        yield replicas


def acquire(turn: TurnId) -> Callable[[Transaction], Lease]:
    return lambda tx: tx.sessions.acquire(ANA, SESSION, turn)


def say(lease: Lease, words: str = "text") -> Callable[[Transaction], Message]:
    return lambda tx: tx.sessions.append(lease, new_message(lease, MessageRole.USER, words, ts=T0))


def said(tx: Transaction) -> list[str]:
    return [message.content for message in tx.sessions.read(ANA, SESSION, MessageRange(limit=99))]


async def until_free(store: SqlStorage, turn: TurnId) -> Lease:
    async with asyncio.timeout(PATIENCE_S):
        while True:
            try:
                return await store.transact(acquire(turn))
            except SessionBusy:
                await asyncio.sleep(0.01)


async def end_of_lease(store: SqlStorage) -> float:
    """The expiry of the lease by the database's clock."""
    found = await store._database.run(lambda tx: tx.row(text("SELECT lease_until FROM sessions")))
    assert found is not None
    return float(found.lease_until)


async def until_later(store: SqlStorage, first: float) -> None:
    """Wait until the lease has been renewed."""
    async with asyncio.timeout(PATIENCE_S):
        while await end_of_lease(store) <= first:  # noqa: ASYNC110 - no event exists
            await asyncio.sleep(0.01)


def test_a_lease_outlives_three_renewals() -> None:
    assert LEASE_S >= 4 * RENEW_S


async def test_lease_of_a_dead_replica_expires_and_the_next_turn_acquires_it(
    replicas: Replicas,
) -> None:
    dead, alive = await replicas.one(lease_s=SOON), await replicas.one()
    await dead.transact(acquire(OLD))
    lease = await until_free(alive, NEW)
    await alive.transact(say(lease, "new"))
    with pytest.raises(SessionBusy):
        await dead.transact(acquire(OLD))


async def test_unexpired_lease_excludes_others(replicas: Replicas) -> None:
    one, other = await replicas.one(), await replicas.one()
    lease = await one.transact(acquire(OLD))
    for _ in range(3):
        with pytest.raises(SessionBusy):
            await other.transact(acquire(NEW))
    await one.transact(lambda tx: tx.sessions.release(lease))
    await other.transact(acquire(NEW))


async def test_held_lease_is_renewed_repeatedly(replicas: Replicas) -> None:
    one = await replicas.one(lease_s=FOR_EVER, renew_s=SOON)
    lease = await one.transact(acquire(OLD))
    first = await end_of_lease(one)
    with one.renewing(lease):
        await until_later(one, first)
        await until_later(one, await end_of_lease(one))


async def test_abandoned_lease_is_not_renewed(replicas: Replicas) -> None:
    one = await replicas.one()
    lease = await one.transact(acquire(OLD))
    first = await end_of_lease(one)
    await one._leases.renew_once()
    assert await end_of_lease(one) == first
    with one.renewing(lease):
        await one._leases.renew_once()
    assert await end_of_lease(one) > first


async def test_renewal_continues_after_a_database_outage(
    replicas: Replicas, monkeypatch: pytest.MonkeyPatch
) -> None:
    failed = list[int]()
    one = await replicas.one(renew_s=SOON)
    lease = await one.transact(acquire(OLD))
    first, run = await end_of_lease(one), one._database.run

    def fail_three_times(work: Callable[..., Found]) -> "asyncio.Future[Found]":
        if len(failed) < 3 and asyncio.current_task() is one._leases._renewing:
            failed.append(1)
            raise StorageUnavailable
        return run(work)

    with one.renewing(lease):
        monkeypatch.setattr(one._database, "run", fail_three_times)
        await until_later(one, first)
    assert len(failed) == 3


async def test_superseded_turn_writes_nothing_and_releases_nothing(
    replicas: Replicas,
) -> None:
    late, now = await replicas.one(lease_s=SOON), await replicas.one()
    old = await late.transact(acquire(OLD))
    await late.transact(say(old, "before"))
    new = await until_free(now, NEW)
    before, end = (
        await now.transact(lambda tx: tx.sessions.get(ANA, SESSION)),
        await end_of_lease(now),
    )

    for work in (
        say(old, "late"),
        lambda tx: tx.sessions.reset(old, ts=T0),
        lambda tx: tx.sessions.delete(old),
    ):
        with pytest.raises(SessionBusy):
            await late.transact(work)
    with late.renewing(old):
        await late._leases.renew_once()
    await late.transact(lambda tx: tx.sessions.release(old))

    assert await now.transact(lambda tx: tx.sessions.get(ANA, SESSION)) == before
    assert await end_of_lease(now) == end
    with pytest.raises(SessionBusy):
        await late.transact(acquire(OLD))
    assert (await now.transact(say(new, "after"))).seq == 2
    assert await now.transact(said) == ["before", "after"]


async def test_late_write_without_another_writer_in_between_is_accepted(replicas: Replicas) -> None:
    late = await replicas.one(lease_s=0.0)
    lease = await late.transact(acquire(OLD))
    await late.transact(say(lease, "late"))
    assert await late.transact(said) == ["late"]


async def test_work_that_fails_leaves_no_lease_and_no_message(replicas: Replicas) -> None:
    one = await replicas.one()

    def fail(tx: Transaction) -> None:
        lease = acquire(OLD)(tx)
        say(lease)(tx)
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        await one.transact(fail)
    await one.transact(acquire(NEW))
    assert await one.transact(said) == []


@pytest.mark.parametrize("wrong_by_s", [-10 * FOR_EVER, 10 * FOR_EVER])
async def test_clock_of_a_replica_does_not_matter(
    replicas: Replicas, monkeypatch: pytest.MonkeyPatch, wrong_by_s: float
) -> None:
    right, wrong = await replicas.one(), await replicas.one()
    right_time = time.time
    monkeypatch.setattr(time, "time", lambda: right_time() + wrong_by_s)
    lease = await wrong.transact(acquire(OLD))
    assert abs(await end_of_lease(wrong) - right_time() - FOR_EVER) < FOR_EVER / 2
    with pytest.raises(SessionBusy):
        await right.transact(acquire(NEW))
    await wrong.transact(lambda tx: tx.sessions.release(lease))
    await right.transact(acquire(NEW))
    with pytest.raises(SessionBusy):
        await wrong.transact(acquire(OLD))


async def test_database_clock_that_is_set_back_does_not_lock_users_out_for_long(
    replicas: Replicas,
) -> None:
    died, other = await replicas.one(), await replicas.one()
    await died.transact(acquire(OLD))
    ahead = text("UPDATE sessions SET lease_until = lease_until + 3600")
    await died._database.run(lambda statements: statements.write(ahead))
    assert (await other.transact(acquire(NEW))).turn_id == NEW


async def test_of_concurrent_turns_on_two_replicas_one_holds_the_session(
    replicas: Replicas,
) -> None:
    both = [await replicas.one(), await replicas.one()]
    tries = [both[n % 2].transact(acquire(TurnId(f"{n:032x}"))) for n in range(40)]
    found = await asyncio.gather(*tries, return_exceptions=True)
    assert sum(isinstance(one, Lease) for one in found) == 1
    assert {type(one) for one in found} == {Lease, SessionBusy}
