"""SIGKILL of processes that write to one store at once: its index equals one built afresh.

`CHATBOT_TEST_KILLS=40` kills more of them.
"""

import asyncio
import multiprocessing
import os
import random
import signal
import sys
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from pathlib import Path

import psycopg
import pytest

from chatbot.domain.search import messages_scope
from conversation import PATIENCE_S
from index_contents import assert_index_is_true, with_vectors
from index_writer import OWNERS, write_until_killed
from storage_worker import storage_at

if sys.platform == "win32":
    pytest.skip("Windows has no SIGKILL", allow_module_level=True)

PROCESSES, MOST_REPORTS = 4, 12
KILLS = int(os.environ.get("CHATBOT_TEST_KILLS", "6"))
FORKS = multiprocessing.get_context("forkserver")
FORKS.set_forkserver_preload(["index_writer", "chatbot.adapters.storage.sql.storage"])


_WORKING = """
SELECT count(*) FROM pg_stat_activity
WHERE datname = current_database() AND pid <> pg_backend_pid() AND state <> 'idle'
"""


class Writer:
    """A process that writes, and its reports."""

    def __init__(self, url: str, seed: int) -> None:
        self.reports, its = FORKS.Pipe(duplex=False)
        self.process: BaseProcess = FORKS.Process(target=write_until_killed, args=(url, seed, its))
        self.process.start()
        its.close()

    def kill(self) -> None:
        os.kill(self.process.pid or 0, signal.SIGKILL)
        self.process.join()
        self.reports.close()


@pytest.fixture(params=["json", "sqlite", "postgres"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    if request.param == "json":
        return f"json:{tmp_path / 'data'}"
    where = request.getfixturevalue(f"{request.param}_store")
    return f"sqlite:///{where}" if request.param == "sqlite" else str(where)


def test_the_index_is_true_after_processes_were_killed(url: str) -> None:
    moments = random.Random(7)
    seeds = iter(range(1, 1000))
    writers = [Writer(url, next(seeds)) for _ in range(PROCESSES)]
    try:
        for _ in range(KILLS):
            receive([each.reports for each in writers], moments.randint(1, MOST_REPORTS))
            victim = moments.randrange(PROCESSES)
            writers[victim].kill()
            writers[victim] = Writer(url, next(seeds))
        receive([each.reports for each in writers], MOST_REPORTS)
    finally:
        for each in writers:
            each.kill()
    asyncio.run(check(url))


def receive(pipes: list[Connection], count: int) -> None:
    """Wait for so many reports."""
    while count > 0:
        ready = wait(pipes, timeout=PATIENCE_S)
        assert ready, "no process reports anything"
        for pipe in ready:
            assert isinstance(pipe, Connection)
            pipe.recv()
            count -= 1


async def check(url: str) -> None:
    if url.startswith("postgresql"):
        await until_disconnected(url)
    async with storage_at(url) as storage:
        sizes = [len(await assert_index_is_true(storage, owner)) for owner in OWNERS]
        vectors = [len(await with_vectors(storage, messages_scope(owner))) for owner in OWNERS]
    assert sum(sizes) > KILLS
    assert sum(vectors) > KILLS


async def until_disconnected(url: str) -> None:
    """Until the server has ended what the killed processes asked for."""
    async with asyncio.timeout(PATIENCE_S):
        with psycopg.connect(url, autocommit=True) as connection:
            while connection.execute(_WORKING).fetchone() != (0,):  # noqa: ASYNC110 # no event exists
                await asyncio.sleep(0.02)
