"""Analysing passages in a process of its own."""

import asyncio
import os
import subprocess
import sys

import pytest

from chatbot.adapters.search import preparing
from chatbot.adapters.search.preparing import PreparationFailed, prepared_apart
from chatbot.adapters.search.stored_index import SEGMENT_AT_ONCE, prepared
from chatbot.domain.search import Passage

MANY = [Passage(seq=n, text=f"Regla {n} del año.") for n in range(1, SEGMENT_AT_ONCE + 1)]


@pytest.fixture
def started(monkeypatch: pytest.MonkeyPatch) -> "list[subprocess.Popen[bytes]]":
    """The processes that were started."""
    found: list[subprocess.Popen[bytes]] = []
    start = preparing._started

    def noted() -> "subprocess.Popen[bytes]":
        found.append(start())
        return found[-1]

    monkeypatch.setattr(preparing, "_started", noted)
    return found


@pytest.mark.parametrize(("count", "processes"), [(3, 0), (SEGMENT_AT_ONCE, 1)])
async def test_many_passages_are_analysed_by_another_process_in_the_same_way(
    started: "list[subprocess.Popen[bytes]]", count: int, processes: int
) -> None:
    assert await prepared_apart("a", MANY[:count]) == prepared("a", MANY[:count])
    assert [process.returncode for process in started] == [0] * processes


async def test_a_cancelled_analysis_ends_its_process(
    started: "list[subprocess.Popen[bytes]]",
) -> None:
    work = asyncio.create_task(prepared_apart("a", MANY * 500))
    await asyncio.sleep(0)  # it starts the process
    work.cancel()
    with pytest.raises(asyncio.CancelledError):
        await work
    assert started[0].returncode


async def test_a_process_that_is_killed_is_an_error_of_the_service(
    started: "list[subprocess.Popen[bytes]]",
) -> None:
    work = asyncio.create_task(prepared_apart("a", MANY * 500))
    await asyncio.sleep(0)  # it starts the process
    started[0].kill()
    with pytest.raises(PreparationFailed):
        await work


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
async def test_the_process_has_a_low_priority_and_no_secret_of_the_service(
    started: "list[subprocess.Popen[bytes]]", monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "secret")
    work = asyncio.create_task(prepared_apart("a", MANY * 500))
    await asyncio.sleep(0)  # it starts the process
    pid = started[0].pid
    while sys.platform != "win32" and os.getpriority(os.PRIO_PROCESS, pid) < 10:  # another process
        assert not work.done()
        await asyncio.sleep(0.001)
    with open(f"/proc/{pid}/environ", "rb") as file:  # noqa: ASYNC230, PTH123 # in memory
        assert b"secret" not in file.read()
    work.cancel()
    with pytest.raises(asyncio.CancelledError):
        await work
