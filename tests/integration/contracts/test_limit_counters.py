"""What the counters of limits promise, in every store and in Redis."""

import asyncio
import threading
from collections.abc import AsyncIterator, Coroutine, Iterator, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from datetime import datetime, timedelta
from typing import Any, cast

import pytest

from chatbot.domain.ports.counters import Addition, CounterKey, Counters, Counts
from chatbot.domain.ports.limit_counters import LimitCounters, Settlement
from chatbot.domain.ports.storage import Found
from counter_contract import ELSEWHERE, HOUR, ONE, CounterContract, OpenLimits, addition
from samples import T0

WITHIN_S = 60


class BlockingCounters:
    """The counters of limits with blocking calls, as the tests of all counters make them."""

    def __init__(self, opened: AbstractAsyncContextManager[LimitCounters]) -> None:
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever)
        self._thread.start()
        self._opened, self._settled = opened, 0
        self._counters: LimitCounters = self._run(opened.__aenter__())

    def add(self, additions: Sequence[Addition], *, now: datetime) -> Sequence[Addition]:
        return self._run(self._counters.add(additions, now=now))

    def settle(
        self, reserved: Sequence[Addition], used: Sequence[Addition], *, now: datetime
    ) -> None:
        self._settled += 1
        settlement = Settlement(id=f"{self._settled}", reserved=reserved, used=used)
        self._run(self._counters.settle(settlement, now=now))

    def read(self, keys: Sequence[CounterKey], *, now: datetime) -> Counts:
        return self._run(self._counters.read(keys, now=now))

    def erase(self, part: str) -> Mapping[str, int]:
        return self._run(self._counters.erase(part))

    def _run(self, call: Coroutine[Any, Any, Found]) -> Found:
        return asyncio.run_coroutine_threadsafe(call, self._loop).result(WITHIN_S)

    def close(self) -> None:
        self._run(self._opened.__aexit__(None, None, None))
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()


class TestLimitCounters(CounterContract):
    """What the counters of transactions promise, too."""

    @pytest.fixture(params=["in_memory", "json_files", "sqlite", "postgres", "pgbouncer", "redis"])
    def counters(
        self, request: pytest.FixtureRequest, open_limits: OpenLimits
    ) -> Iterator[Counters]:
        blocking = BlockingCounters(open_limits(request.param))
        yield cast("Counters", blocking)
        blocking.close()


@pytest.fixture(params=["in_memory", "json_files", "sqlite", "postgres", "redis"])
async def limits(
    request: pytest.FixtureRequest, open_limits: OpenLimits
) -> AsyncIterator[LimitCounters]:
    async with open_limits(request.param) as counters:
        yield counters


async def held(limits: LimitCounters, key: CounterKey = ONE) -> int:
    return sum(count.amount for count in (await limits.read([key], now=T0))[key])


async def test_concurrent_additions_reach_and_never_exceed_the_limit(
    limits: LimitCounters,
) -> None:
    async def reserve(number: int) -> bool:
        until = HOUR + timedelta(seconds=number % 3)
        both = [addition(10, until=until, limit=100), addition(1, ELSEWHERE, limit=50)]
        return not await limits.add(both if number % 2 else both[::-1], now=T0)

    added = await asyncio.gather(*(reserve(number) for number in range(40)))
    assert sum(added) == 10
    assert [await held(limits, key) for key in (ONE, ELSEWHERE)] == [100, 10]


async def test_concurrent_settlements_lose_nothing(limits: LimitCounters) -> None:
    await limits.add([addition(40, until=HOUR / 2)], now=T0)

    async def settle(number: int) -> None:
        both = Settlement(
            id=f"{number}", reserved=[addition(1, until=HOUR / 2)], used=[addition(3)]
        )
        await limits.settle(both, now=T0)

    await asyncio.gather(*(settle(number) for number in range(40)))
    assert await held(limits) == 120


async def test_settlement_that_is_repeated_is_carried_out_once(limits: LimitCounters) -> None:
    await limits.add([addition(10, until=HOUR / 2)], now=T0)
    once = Settlement(id="1", reserved=[addition(5, until=HOUR / 2)], used=[addition(3)])
    for _ in range(3):
        await limits.settle(once, now=T0)
    assert await held(limits) == 8
    await limits.settle(Settlement(id="2", reserved=[], used=[addition(1)]), now=T0)
    assert await held(limits) == 9


async def test_nothing_is_subtracted_below_zero(limits: LimitCounters) -> None:
    await limits.add([addition(5)], now=T0)
    await limits.settle(Settlement(id="1", reserved=[addition(9)], used=[]), now=T0)
    assert (await limits.read([ONE], now=T0))[ONE] == []
    await limits.add([addition(5)], now=T0)
    assert await held(limits) == 5


async def test_counters_can_be_checked(limits: LimitCounters) -> None:
    await limits.check()
    assert await limits.read([], now=T0) == {}
    assert not await limits.add([], now=T0)
