"""Analysing passages and merging segments in a process of their own."""

import asyncio
import os
import subprocess
import sys

import pytest

from chatbot.adapters.search import apart, tidying
from chatbot.adapters.search.apart import ProcessFailed
from chatbot.adapters.search.preparing import prepared_apart
from chatbot.adapters.search.stored_index import SEGMENT_AT_ONCE, prepared
from chatbot.domain.search import Passage, Scope
from index_storage import IndexStorage

MANY = [Passage(seq=n, text=f"Regla {n} del año.") for n in range(1, SEGMENT_AT_ONCE + 1)]


@pytest.fixture
def started(monkeypatch: pytest.MonkeyPatch) -> "list[subprocess.Popen[bytes]]":
    """The processes that were started."""
    found: list[subprocess.Popen[bytes]] = []
    start = apart._started

    def noted() -> "subprocess.Popen[bytes]":
        found.append(start())
        return found[-1]

    monkeypatch.setattr(apart, "_started", noted)
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
    with pytest.raises(ProcessFailed):
        await work


async def test_big_segments_are_merged_by_another_process_with_the_same_results(
    started: "list[subprocess.Popen[bytes]]", monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tidying, "_BUILT_APART", 2 * SEGMENT_AT_ONCE)
    store = IndexStorage()
    scope = Scope("documents")
    for number in range(4):
        store.index.put(scope, f"d{number}", MANY)
    before = store.index.indexed(scope)
    store.searcher.tidier.add([scope])
    await store.searcher.tidier.idle()
    assert [process.returncode for process in started] == [0]
    assert [head.count for head in store.rows.heads([scope])] == [4 * SEGMENT_AT_ONCE]
    assert store.index.indexed(scope) == before


async def test_a_merge_whose_process_is_killed_changes_nothing(
    started: "list[subprocess.Popen[bytes]]",
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    monkeypatch.setattr(tidying, "_BUILT_APART", 1)
    monkeypatch.setattr(apart, "_PROGRAM", "import os; os.kill(os.getpid(), 9)")
    store = IndexStorage()
    scope = Scope("documents")
    for number in range(4):
        store.index.put(scope, f"d{number}", MANY)
    store.searcher.tidier.add([scope])
    await store.searcher.tidier.idle()
    assert started[0].returncode
    assert len(store.rows.heads([scope])) == 4
    assert "was not folded" in caplog.text


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
