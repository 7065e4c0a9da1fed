"""Budgets that several processes share, some of which are killed: three replicas' worth."""

import asyncio
import json
import os
import sys
from asyncio.subprocess import PIPE, Process
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

import reserving
from chatbot.domain.ports.counters import CounterKey
from chatbot.domain.ports.limit_counters import LimitCounters
from conversation import PATIENCE_S
from reserving import (
    EVERYONE,
    LATER_S,
    LIMIT,
    LIMIT_OF_ONE,
    MOST_AT_ONCE,
    PEOPLE,
    counters_at,
)

LIMITS = {EVERYONE: LIMIT, **dict.fromkeys(PEOPLE, LIMIT_OF_ONE)}
KILLED_AFTER = 20
Totals = Counter[str]

pytestmark = pytest.mark.skipif(os.name == "nt", reason="Windows sends programs no signals")


@pytest.fixture(params=["json", "sqlite", "postgres", "redis"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    match request.param:
        case "json":
            return f"json:{tmp_path / 'data'}"
        case "sqlite":
            return f"sqlite:///{request.getfixturevalue('sqlite_store')}"
        case "postgres":
            return str(request.getfixturevalue("postgres_store"))
    return str(request.getfixturevalue("redis").url)


@asynccontextmanager
async def process(url: str, later_s: int = 0) -> AsyncIterator[Process]:
    """A process that is ready to begin."""
    script = str(Path(reserving.__file__))
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    running = await asyncio.create_subprocess_exec(
        sys.executable, script, url, str(later_s), stdin=PIPE, stdout=PIPE, env=environment
    )
    try:
        assert await line_of(running) == b"ready\n"
        yield running
    finally:
        if running.returncode is None:
            running.kill()
        await running.wait()


async def line_of(running: Process) -> bytes:
    assert running.stdout is not None
    async with asyncio.timeout(PATIENCE_S):
        return await running.stdout.readline()


async def live(running: Process, totals: Totals, *, killed_after: int | None = None) -> None:
    """Let it begin, and add up what it has used until it ends."""
    assert running.stdin is not None
    running.stdin.write(b"go\n")
    said = 0
    while (line := await line_of(running)).endswith(b"\n"):
        *names, amount = json.loads(line)
        totals.update(dict.fromkeys(names, amount))
        said += 1
        if said == killed_after:
            running.kill()
    assert (await running.wait() == 0) is (killed_after is None)


async def held(counters: LimitCounters, *, later_s: int = 0) -> dict[CounterKey, int]:
    now = datetime.now(UTC) + timedelta(seconds=later_s)
    found = await counters.read([*LIMITS], now=now)
    return {key: sum(each.amount for each in found[key]) for key in LIMITS}


async def watch(counters: LimitCounters) -> None:
    """What is reserved and used is never more than the limit, at any moment."""
    while True:
        for key, amount in (await held(counters)).items():
            assert amount <= LIMITS[key], key
        await asyncio.sleep(0.005)


async def test_budget_holds_for_processes_that_are_killed(url: str) -> None:
    totals = Totals()
    async with counters_at(url) as counters:
        watching = asyncio.create_task(watch(counters))
        async with process(url) as one, process(url) as another, process(url) as doomed:
            lives = (live(one, totals), live(another, totals))
            await asyncio.gather(*lives, live(doomed, totals, killed_after=KILLED_AFTER))
        assert not watching.done(), watching.exception()
        watching.cancel()
        async with process(url, LATER_S) as last:
            await live(last, totals)
        used = await held(counters, later_s=LATER_S)
    for key, limit in LIMITS.items():
        assert totals[key.name] <= used[key] <= limit, "what was acknowledged is counted"
    assert used[EVERYONE] > LIMIT - MOST_AT_ONCE, "what the dead had reserved was given to others"
    assert used[EVERYONE] == sum(used[person] for person in PEOPLE)
