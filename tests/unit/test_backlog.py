"""The queue that schedules connections in turn."""

import asyncio
import time
from functools import partial

from chatbot.entrypoints.server.backlog import PAUSE_S, Backlog
from conversation import PATIENCE_S

SLOW_S = 0.01


async def test_entries_are_served_in_order_and_one_each_millisecond() -> None:
    loop, served, done = asyncio.get_running_loop(), list[tuple[int, float]](), asyncio.Event()
    backlog = Backlog(loop)

    def note(number: int) -> None:
        served.append((number, loop.time()))

    for number in range(10):
        backlog.add(partial(note, number))
    backlog.add(done.set)
    await asyncio.wait_for(done.wait(), PATIENCE_S)
    assert [number for number, _ in served] == list(range(10))
    assert served[-1][1] - served[0][1] > 8 * PAUSE_S


async def test_queue_rests_four_times_as_long_as_an_entry_took() -> None:
    loop, ended, done = asyncio.get_running_loop(), list[float](), asyncio.Event()
    backlog = Backlog(loop)

    def slow() -> None:
        time.sleep(SLOW_S)
        ended.append(loop.time())

    backlog.add(slow)
    backlog.add(done.set)
    await asyncio.wait_for(done.wait(), PATIENCE_S)
    assert loop.time() - ended[0] > 3.9 * SLOW_S


async def test_failed_entry_does_not_stop_later_entries() -> None:
    loop, done, reported = asyncio.get_running_loop(), asyncio.Event(), list[object]()
    loop.set_exception_handler(lambda _, context: reported.append(context["exception"]))
    error = ValueError("no such connection")

    def failing() -> None:
        raise error

    backlog = Backlog(loop)
    backlog.add(failing)
    backlog.add(done.set)
    await asyncio.wait_for(done.wait(), PATIENCE_S)
    assert reported == [error]
