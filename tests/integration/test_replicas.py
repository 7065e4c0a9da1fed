"""Three replicas on one Postgres: guarantees when a replica or Postgres itself dies under load.

A lease lasts 20 s by the database's clock, and nothing here shortens it. So what outlasts one
happens once, in `outlasted`, and each test looks at a part of it.
"""

import asyncio
import random
import signal
import sys
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import dataclass

import pytest
import pytest_asyncio

from chatbot.adapters.storage.sql.postgres import PostgresDatabase
from chatbot.adapters.storage.sql.upgrading import upgrade
from kill_under_load import World
from postgres import PostgresServer, postgres_server
from replicas import BUSY, DONE, DOWN, GONE, Answer, HeldProvider, Load, Replicas, replicas

pytestmark = pytest.mark.asyncio(loop_scope="module")
if sys.platform == "win32":
    pytest.skip("Windows stops no process for a while", allow_module_level=True)

SESSIONS, TURNS = 4, 40
KEPT, DIED, HUNG = "[0-0-1]", "[0-0-2]", "[0-0-3]"
"""Questions that are asked for longer than a lease lasts, each in a session of its own."""


@pytest.fixture(scope="module")
def server() -> Iterator[PostgresServer]:
    with postgres_server() as server:
        upgrade(PostgresDatabase(server.url("postgres"), connections=1, prepared=True))
        yield server


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def upstream() -> AsyncIterator[HeldProvider]:
    async with HeldProvider() as upstream:
        yield upstream


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def three(
    server: PostgresServer, upstream: HeldProvider, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[Replicas]:
    folder, world = tmp_path_factory.mktemp("replicas"), World(random.Random(1))
    url = server.url("postgres")
    async with replicas(3, folder, upstream, world, STORAGE_URL=url) as three:
        yield three


@dataclass(frozen=True, kw_only=True)
class Outlasted:
    """The responses to callers, and how the questions of each session ended, in order.

    `elsewhere` is the answer of another replica while the turn that is kept still runs.
    """

    kept: Answer
    elsewhere: Answer
    died: Answer
    hung: Answer
    ends: list[list[str]]
    acknowledged: int
    broken: list[str]


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def outlasted(three: Replicas, upstream: HeldProvider) -> Outlasted:
    """Kill a replica under load and suspend another one, each in the middle of a turn."""
    _, second, third = three.services
    own, shared = await three.begin(3), await three.begin(SESSIONS)
    turns = dict(zip((KEPT, DIED, HUNG), zip(three.services, own, strict=True), strict=True))
    asking = {mark: await upstream.held_turn(three, *turn, mark) for mark, turn in turns.items()}
    async with Load(three, shared) as load:
        await load.more(TURNS)
        three.drop(second).kill()
        await load.more(TURNS)
    three.drop(third).send_signal(signal.SIGSTOP)
    fourth = await three.start()
    await asyncio.gather(*map(three.until_accepted, [*own[1:], *shared]))
    elsewhere = await three.ask(fourth, own[0], three.new_mark())
    third.process.send_signal(signal.SIGCONT)
    upstream.let_go()
    replies = {mark: await turn for mark, turn in asking.items()}
    three.services.append(third)
    three.world.asked[HUNG].is_refused = False  # it is stored: from before its replica stood still
    return Outlasted(
        kept=replies[KEPT],
        elsewhere=elsewhere,
        died=replies[DIED],
        hung=replies[HUNG],
        ends=[list((await three.stored(each)).values()) for each in own + shared],
        acknowledged=load.acknowledged,
        broken=three.world.broken,
    )


async def test_no_acknowledged_turn_is_lost_or_doubled_when_a_replica_is_killed(
    outlasted: Outlasted,
) -> None:
    assert outlasted.broken == []
    assert outlasted.acknowledged >= 2 * TURNS
    shared = [end for ends in outlasted.ends[3:] for end in ends]
    assert shared.count("whole") >= outlasted.acknowledged
    assert "open" not in shared


async def test_turn_longer_than_a_lease_keeps_its_session(outlasted: Outlasted) -> None:
    assert (outlasted.elsewhere, outlasted.kept) == (BUSY, DONE)
    assert outlasted.ends[0] == ["whole"]


async def test_turn_of_a_killed_replica_is_a_crash_and_the_session_continues(
    outlasted: Outlasted,
) -> None:
    assert outlasted.died == GONE
    assert outlasted.ends[1] == ["crash", "whole"]


async def test_replica_suspended_longer_than_its_lease_writes_nothing(
    outlasted: Outlasted,
) -> None:
    assert outlasted.hung == BUSY
    assert outlasted.ends[2] == ["crash", "whole"]


@pytest.mark.parametrize("end", [PostgresServer.stop, PostgresServer.crash])
async def test_replicas_outlive_postgres_and_lose_nothing(
    three: Replicas, server: PostgresServer, end: Callable[[PostgresServer], None]
) -> None:
    shared = await three.begin(SESSIONS)
    async with Load(three, shared) as load:
        await load.more(TURNS)
        await asyncio.to_thread(end, server)
        for service in three.services:
            await three.until_ready(service, 503)
            await three.until_answered(service, shared[0], DOWN)
        await asyncio.to_thread(server.start)
        for service in three.services:
            await three.until_ready(service, 200)
    for service, session_id in zip(three.services, await three.begin(3), strict=True):
        await three.until_answered(service, session_id, DONE)
    found = [await three.stored(session_id) for session_id in shared]
    assert three.world.broken == []
    assert sum(list(each.values()).count("whole") for each in found) >= load.acknowledged >= TURNS
