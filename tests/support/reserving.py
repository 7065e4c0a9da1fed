"""A process whose turns share budgets with other processes: `python tests/support/reserving.py URL LATER`.

It prints `ready` and waits for a line; then it prints what it has used, and ends when nothing has
fitted for a while.
"""
# ruff: noqa: T201 - it prints

import asyncio
import json
import random
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta

from chatbot.adapters.limits.redis_counters import RedisCounters
from chatbot.application.limit_counters import StoreLimitCounters
from chatbot.domain.ports.counters import Addition, CounterKey
from chatbot.domain.ports.limit_counters import LimitCounters, Settlement
from storage_worker import storage_at

EVERYONE = CounterKey("budget", "everyone")
PEOPLE = [CounterKey("budget", name) for name in ("ana", "zoe")]
LIMIT, LIMIT_OF_ONE = 300, 200
"""Little, and a turn uses little of what it reserves: the limit is reached again and again."""
MOST_AT_ONCE = 40
TIME_OUT = timedelta(minutes=5)
"""More than a turn takes on a busy machine."""
LATER_S = 3600
"""The clock of a process that begins after the reservations of the dead have expired."""
AT_ONCE = 4
_TRIES = 25
_REFUSED_WAIT_S = 0.01
WINDOW_ENDS = datetime(2100, 1, 1, tzinfo=UTC)


async def reserve_and_use(counters: LimitCounters, later: timedelta) -> None:
    draw, refusals = random.SystemRandom(), 0
    while refusals < _TRIES:
        now, amount = datetime.now(UTC) + later, draw.randint(1, MOST_AT_ONCE)
        both = [(draw.choice(PEOPLE), LIMIT_OF_ONE), (EVERYONE, LIMIT)]
        draw.shuffle(both)  # in any order: no two processes wait for each other for ever
        reserved = [
            Addition(key=key, amount=amount, expires_at=now + TIME_OUT, limit=limit)
            for key, limit in both
        ]
        if await counters.add(reserved, now=now):
            refusals += 1
            await asyncio.sleep(_REFUSED_WAIT_S)
            continue
        refusals = 0
        used = [Addition(key=key, amount=1, expires_at=WINDOW_ENDS) for key, _ in both]
        settlement = Settlement(id=f"{draw.getrandbits(64)}", reserved=reserved, used=used)
        await asyncio.sleep(draw.random() * _REFUSED_WAIT_S)
        await counters.settle(settlement, now=now)
        print(json.dumps([both[0][0].name, both[1][0].name, 1]), flush=True)


@asynccontextmanager
async def counters_at(url: str) -> AsyncIterator[LimitCounters]:
    """The counters of limits in the store or Redis of a URL."""
    if url.startswith("redis:"):
        counters = RedisCounters(url)
        yield counters
        await counters.aclose()
        return
    async with storage_at(url) as storage:
        yield StoreLimitCounters(storage)


async def main(url: str, later: timedelta) -> None:
    async with counters_at(url) as counters, asyncio.TaskGroup() as tasks:
        print("ready", flush=True)
        await asyncio.to_thread(sys.stdin.readline)
        for _ in range(AT_ONCE):
            tasks.create_task(reserve_and_use(counters, later))


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], timedelta(seconds=int(sys.argv[2]))))
