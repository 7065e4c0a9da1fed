"""The JSON store's threads: results and errors that reach their callers."""

import asyncio
import contextvars
import threading
from collections.abc import Iterator

import pytest

from chatbot.adapters.storage.threads import Threads
from chatbot.domain.errors import StorageFull


@pytest.fixture
def one() -> Iterator[Threads]:
    threads = Threads(1, name="test")
    yield threads
    threads.end()


async def test_caller_gets_what_the_work_returns_or_raises(one: Threads) -> None:
    assert await one.run(threading.get_ident) != threading.get_ident()
    with pytest.raises(ZeroDivisionError):
        await one.run(lambda: 1 // 0)


async def test_stop_iteration_is_an_error_and_does_not_hang_the_caller(
    one: Threads,
) -> None:
    with pytest.raises(RuntimeError, match="StopIteration"):
        await asyncio.wait_for(one.run(lambda: next(iter([]))), 5)


async def test_work_is_done_in_the_callers_context(one: Threads) -> None:
    who = contextvars.ContextVar("who", default="none")
    who.set("the caller")
    assert await one.run(who.get) == "the caller"


async def test_cancelling_undoes_only_work_that_has_not_begun(one: Threads) -> None:
    begun, go_on, done = threading.Event(), threading.Event(), list[str]()

    def first() -> None:
        begun.set()
        go_on.wait(5)
        done.append("first")

    callers: list[asyncio.Future[None]] = [one.run(first)]
    await asyncio.to_thread(begun.wait, 5)
    callers.append(one.run(lambda: done.append("second")))
    for caller in callers:
        caller.cancel()
    await asyncio.wait(callers)
    go_on.set()
    await one.run(lambda: done.append("third"))
    assert done == ["first", "third"]


async def test_exit_waits_for_pending_log_lines() -> None:
    threads, done = Threads(2, name="test"), list[int]()
    given = [threads.run(lambda: done.append(1)) for _ in range(20)]
    await asyncio.to_thread(threads.end)
    assert len(done) == 20
    await asyncio.gather(*given)


async def test_closed_event_loop_ends_no_thread(one: Threads) -> None:
    begun, go_on = threading.Event(), threading.Event()

    def work() -> None:
        begun.set()
        go_on.wait(30)

    async def leave() -> None:
        one.run(work)
        await asyncio.to_thread(begun.wait, 30)

    await asyncio.to_thread(asyncio.run, leave())
    go_on.set()
    assert await asyncio.wait_for(one.run(lambda: "alive"), 30) == "alive"


async def test_failure_after_its_caller_was_cancelled_is_logged(
    one: Threads, caplog: pytest.LogCaptureFixture
) -> None:
    begun, go_on = threading.Event(), threading.Event()

    def work() -> None:
        begun.set()
        go_on.wait(30)
        raise StorageFull("full")

    caller = one.run(work)
    await asyncio.to_thread(begun.wait, 30)
    caller.cancel()
    await asyncio.wait({caller})
    go_on.set()
    await one.run(lambda: None)
    assert "failed after its caller was cancelled: StorageFull: full" in caplog.text
