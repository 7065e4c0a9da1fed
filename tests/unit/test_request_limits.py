"""Limits on requests and sessions."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from itertools import count

import pytest

from chatbot.adapters.storage.in_memory.storage import InMemoryStorage
from chatbot.application.limit_counters import LimitChecks, StoreLimitCounters
from chatbot.application.limit_rules import LimitRules
from chatbot.application.request_limits import RequestLimits
from chatbot.application.session_room import SessionRoom
from chatbot.domain.chat import Session, SessionId
from chatbot.domain.errors import RateLimited, TooManySessions
from chatbot.domain.identity import Owner
from chatbot.domain.ports.storage import Storage
from conversation import ANA, BEN, START, ChatApp

OWNER = Owner(kind="user", id="a" * 32)


class Clock:
    def __init__(self) -> None:
        self.now = START

    def __call__(self) -> datetime:
        return self.now


def limits(clock: Clock, *, per_minute: int, storage: Storage | None = None) -> RequestLimits:
    counters = LimitChecks(StoreLimitCounters(storage or InMemoryStorage()))
    return RequestLimits(
        LimitRules(storage or InMemoryStorage()),
        minutes=counters,
        windows=counters,
        per_minute=per_minute,
        zone=UTC,
        clock=clock,
    )


async def test_as_many_requests_pass_in_a_minute_as_are_allowed() -> None:
    clock = Clock()
    limited = limits(clock, per_minute=3)
    for _ in range(3):
        await limited.count(ANA)
        clock.now += timedelta(seconds=10)
    with pytest.raises(RateLimited, match="limit of 3 requests") as refused:
        await limited.count(ANA)
    assert refused.value.retry_after_s == 30
    await limited.count(BEN)
    clock.now += timedelta(seconds=30)
    await limited.count(ANA)


async def test_refused_request_does_not_count() -> None:
    clock, storage = Clock(), InMemoryStorage()
    limited = limits(clock, per_minute=1, storage=storage)
    await limited.count(ANA)
    for _ in range(3):
        with pytest.raises(RateLimited):
            await limited.count(ANA)
    held = await storage.transact(lambda tx: tx.counters.scan("rate", "", now=clock.now))
    assert list(held.values()) == [1]


async def test_clock_that_jumps_neither_locks_out_nor_counts_negatively() -> None:
    clock = Clock()
    limited = limits(clock, per_minute=1)
    await limited.count(ANA)
    clock.now += timedelta(days=400)
    await limited.count(ANA)
    clock.now = START - timedelta(minutes=5)
    await limited.count(ANA)
    with pytest.raises(RateLimited) as refused:
        await limited.count(ANA)
    assert 0 < refused.value.retry_after_s <= 60


async def test_nothing_is_counted_without_a_limit() -> None:
    clock, storage = Clock(), InMemoryStorage()
    for _ in range(1000):
        await limits(clock, per_minute=0, storage=storage).count(ANA)
    assert not await storage.transact(lambda tx: tx.counters.scan("rate", "", now=clock.now))


# --- sessions --------------------------------------------------------------------------------


async def test_owner_with_the_maximum_of_sessions_cannot_begin_another() -> None:
    app = ChatApp(["ok"] * 9, max_sessions=2)
    first = await app.sessions.begin(ANA)
    await app.ask("hello")
    with pytest.raises(TooManySessions):
        await app.sessions.begin(ANA)
    with pytest.raises(TooManySessions):
        await app.ask("hello")
    await app.ask("hello", first)
    await app.ask("hello", who=BEN)
    await app.sessions.delete(ANA, first)
    await app.sessions.begin(ANA)


def new_session(numbers: Iterator[int]) -> Session:
    session_id = SessionId(f"{next(numbers):032x}")
    return Session(id=session_id, owner=OWNER, created_at=START, updated_at=START)


async def test_processes_together_never_create_more_sessions_than_the_maximum() -> None:
    storage, numbers, most = InMemoryStorage(), count(), 3000
    processes = [SessionRoom(max_per_owner=most) for _ in range(40)]
    refused = 0
    for number in range(2 * most):
        room = processes[number % len(processes)]
        try:
            await storage.transact(lambda tx, room=room: room.create(tx, new_session(numbers)))  # type: ignore[misc] # a default
        except TooManySessions:
            refused += 1
    assert refused == most
    assert await storage.transact(lambda tx: tx.sessions.count(OWNER)) == most
