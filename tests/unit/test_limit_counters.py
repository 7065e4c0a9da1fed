"""What happens to requests and budgets while the counters of limits cannot be reached."""

import asyncio
import logging
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta

import pytest

from chatbot.adapters.storage.in_memory.storage import InMemoryStorage
from chatbot.application import limit_counters
from chatbot.application.limit_counters import LimitChecks, StoreLimitCounters
from chatbot.domain.errors import StorageUnavailable
from chatbot.domain.ports.counters import Addition, CounterKey
from chatbot.domain.ports.limit_counters import Settlement
from samples import T0

ANA = CounterKey("budget", "user|ana")
REQUESTS = CounterKey("rate", "user|ana")
TURN, MONTH = timedelta(minutes=3), timedelta(days=30)


def tokens(amount: int, until: timedelta = MONTH, limit: int | None = None) -> list[Addition]:
    return [Addition(key=ANA, amount=amount, expires_at=T0 + until, limit=limit)]


def request(limit: int) -> list[Addition]:
    return [Addition(key=REQUESTS, amount=1, expires_at=T0 + TURN, limit=limit)]


class Unreliable(StoreLimitCounters):
    """Counters that can be down, or carry out a call and lose the answer."""

    def __init__(self) -> None:
        super().__init__(InMemoryStorage())
        self.is_down = self.loses_answers = self.is_closed = False
        self.calls = 0

    async def add(self, additions: Sequence[Addition], *, now: datetime) -> Sequence[Addition]:
        self._require_up()
        return await super().add(additions, now=now)

    async def settle(self, settlement: Settlement, *, now: datetime) -> None:
        self._require_up()
        await super().settle(settlement, now=now)
        if self.loses_answers:
            self.is_down = True
            self._require_up()

    async def erase(self, part: str) -> Mapping[str, int]:
        self._require_up()
        return await super().erase(part)

    def _require_up(self) -> None:
        self.calls += 1
        if self.is_down:
            raise StorageUnavailable("secret host")

    async def aclose(self) -> None:
        self.is_closed = True

    async def held(self) -> int:
        return sum(count.amount for count in (await self.read([ANA], now=T0))[ANA])


@pytest.fixture
def counters() -> Unreliable:
    return Unreliable()


@pytest.fixture
def checks(counters: Unreliable, monkeypatch: pytest.MonkeyPatch) -> LimitChecks:
    monkeypatch.setattr(limit_counters, "PAUSE_S", 0)
    return LimitChecks(counters)


async def test_limits_hold_while_the_counters_work(checks: LimitChecks) -> None:
    assert not await checks.count(request(1), now=T0)
    assert await checks.count(request(1), now=T0) == request(1)
    assert not await checks.reserve(tokens(100, TURN, limit=100), now=T0)
    assert await checks.reserve(tokens(1, TURN, limit=100), now=T0)
    await checks.settle(tokens(100, TURN), tokens(60), now=T0)
    assert not await checks.reserve(tokens(40, TURN, limit=100), now=T0)


async def test_requests_pass_and_reservations_are_refused_without_counters(
    checks: LimitChecks, counters: Unreliable
) -> None:
    await checks.count(request(1), now=T0)
    counters.is_down = True
    assert not await checks.count(request(1), now=T0)
    with pytest.raises(StorageUnavailable):
        await checks.reserve(tokens(1, limit=100), now=T0)
    counters.is_down = False
    assert await checks.count(request(1), now=T0)
    assert not await checks.reserve(tokens(1, limit=100), now=T0)


async def test_outage_and_recovery_are_logged_once_each(
    checks: LimitChecks, counters: Unreliable, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "chatbot.limits")
    for _ in range(2):
        counters.is_down = True
        for _ in range(5):
            await checks.count(request(9), now=T0)
            await checks.settle(tokens(1), tokens(1), now=T0)
        counters.is_down = False
        for _ in range(5):
            await checks.count(request(9), now=T0)
    levels = [record.levelname for record in caplog.records]
    assert levels == ["ERROR", "WARNING"] * 2
    assert "StorageUnavailable" in caplog.text


async def test_only_one_call_at_a_time_tries_whether_the_counters_are_back(
    checks: LimitChecks, counters: Unreliable, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limit_counters, "PAUSE_S", 60)
    counters.is_down = True
    await checks.count(request(9), now=T0)
    for _ in range(9):
        await checks.count(request(9), now=T0)
        with pytest.raises(StorageUnavailable, match="cannot be checked"):
            await checks.reserve(tokens(1), now=T0)
    assert counters.calls == 1


async def test_what_was_used_during_an_outage_is_counted_afterwards(
    checks: LimitChecks, counters: Unreliable
) -> None:
    await checks.reserve(tokens(100, TURN, limit=100), now=T0)
    await checks.reserve(tokens(100, TURN, limit=200), now=T0)
    counters.is_down = True
    await checks.settle(tokens(100, TURN), tokens(30), now=T0)
    await checks.settle(tokens(100, TURN), tokens(40), now=T0)
    assert await counters.held() == 200
    counters.is_down = False
    await checks.count(request(9), now=T0)
    for _ in range(9):
        await asyncio.sleep(0)
    assert await counters.held() == 70
    await checks.aclose()
    assert counters.is_closed


async def test_settlement_whose_answer_was_lost_is_carried_out_once(
    checks: LimitChecks, counters: Unreliable
) -> None:
    counters.loses_answers = True
    await checks.settle([], tokens(30), now=T0)
    counters.loses_answers = counters.is_down = False
    await checks.settle([], tokens(5), now=T0)
    assert await counters.held() == 35


async def test_settlement_that_is_cancelled_is_carried_out_nevertheless(
    checks: LimitChecks, counters: Unreliable
) -> None:
    """A client that disconnects does not get its answer for nothing."""
    async with checks._settling:
        settling = asyncio.create_task(checks.settle([], tokens(30), now=T0))
        await asyncio.sleep(0)
        settling.cancel()
        await asyncio.wait({settling})
    await checks.count(request(9), now=T0)
    await checks.aclose()
    assert await counters.held() == 30


async def test_erasing_a_person_fails_as_long_as_their_counters_cannot_be_removed(
    checks: LimitChecks, counters: Unreliable
) -> None:
    await checks.reserve(tokens(1), now=T0)
    counters.is_down = True
    with pytest.raises(StorageUnavailable):
        await checks.erase("ana")
    counters.is_down = False
    assert await checks.erase("ana") == {"budget": 1}
    assert await counters.held() == 0


async def test_what_could_not_be_settled_is_logged_at_the_end(
    checks: LimitChecks, counters: Unreliable, caplog: pytest.LogCaptureFixture
) -> None:
    counters.is_down = True
    await checks.settle([], tokens(30), now=T0)
    await checks.aclose()
    assert "could not be counted: 1" in caplog.text
    assert counters.is_closed
