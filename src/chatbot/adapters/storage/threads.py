"""A few threads for work that blocks.

An executor makes two futures and takes several locks for each piece of work, 23 us of CPU at 16
at once; here that is one future and a queue, 9 us.
"""

import asyncio
import contextvars
import logging
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from queue import SimpleQueue
from threading import Thread

from chatbot.domain.errors import cause_of
from chatbot.domain.ports.storage import Found

_log = logging.getLogger("chatbot.storage")


class Threads:
    """Threads that take work from one queue, in its order."""

    def __init__(self, count: int, *, name: str) -> None:
        self._jobs: SimpleQueue[Callable[[], None] | None] = SimpleQueue()
        self._threads = [Thread(target=self._serve, name=name, daemon=True) for _ in range(count)]
        for thread in self._threads:
            thread.start()

    def run(self, work: Callable[[], Found]) -> "asyncio.Future[Found]":
        """Run the work in a thread, in the caller's context.

        Cancelling the result drops work that has not started, and does not stop work that has; if
        that fails, it is logged.
        """
        loop = asyncio.get_running_loop()
        done: asyncio.Future[Found] = loop.create_future()
        context = contextvars.copy_context()

        def job() -> None:
            if not done.cancelled():
                call_soon(loop, _attempt(partial(context.run, work), done))

        self._jobs.put(job)
        return done

    def end(self) -> None:
        """Return when everything that was given is done, and the threads have ended. It blocks."""
        for _ in self._threads:
            self._jobs.put(None)
        for thread in self._threads:
            thread.join()

    def _serve(self) -> None:
        while (job := self._jobs.get()) is not None:
            job()


def _attempt(work: Callable[[], Found], done: "asyncio.Future[Found]") -> Callable[[], None]:
    """Run the work; returns a callback that delivers the result to the caller."""
    try:
        found = work()
    except BaseException as error:  # noqa: BLE001 - all of them are the caller's
        failure = as_told(error)
        return lambda: _log_failure(failure) if done.cancelled() else done.set_exception(failure)
    return lambda: None if done.cancelled() else done.set_result(found)


def _log_failure(failure: BaseException) -> None:
    _log.warning("a task failed after its caller was cancelled: %s", cause_of(failure))


def as_told(error: BaseException) -> BaseException:
    """Returns the error as a future can hold it: `StopIteration` is wrapped, as in a coroutine."""
    if not isinstance(error, StopIteration):
        return error
    failure = RuntimeError("work raised StopIteration")
    failure.__cause__ = error
    return failure


def call_soon(loop: asyncio.AbstractEventLoop, tell: Callable[[], None]) -> None:
    """Schedule it on the loop; if the loop was closed in the meantime, no one is waiting."""
    with suppress(RuntimeError):
        loop.call_soon_threadsafe(tell)
