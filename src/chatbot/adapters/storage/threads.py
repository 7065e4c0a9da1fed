"""A few threads for work that blocks."""

import asyncio
import contextvars
import logging
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor

from chatbot.domain.errors import cause_of
from chatbot.domain.ports.storage import Found

_log = logging.getLogger("chatbot.storage")


class Threads:
    """Threads that take work from one queue, in order."""

    def __init__(self, count: int, *, name: str) -> None:
        self._executor = ThreadPoolExecutor(count, thread_name_prefix=name)

    def run(self, work: Callable[[], Found]) -> "asyncio.Future[Found]":
        """Run the work in a thread, in the caller's context.

        Cancelling the result drops work that has not started, and does not stop work that has; if
        that fails, it is logged.
        """

        def log_failure_if_cancelled(done: asyncio.Future[Found]) -> None:
            if done.cancelled():
                running.add_done_callback(_log_failure)

        running = self._executor.submit(contextvars.copy_context().run, _result_of, work)
        done = asyncio.wrap_future(running)
        done.add_done_callback(log_failure_if_cancelled)
        return done

    def end(self) -> None:
        """Wait until all submitted work is done and the threads have ended. Blocks."""
        self._executor.shutdown()


def _result_of(work: Callable[[], Found]) -> Found:
    try:
        return work()
    except StopIteration as error:
        raise future_exception(error) from error


def _log_failure(running: Future[Found]) -> None:
    failure = None if running.cancelled() else running.exception()
    if failure is not None:
        _log.warning("a task failed after its caller was cancelled: %s", cause_of(failure))


def future_exception(error: BaseException) -> BaseException:
    """Returns the error as a future can hold it: `StopIteration` is wrapped, as in a coroutine."""
    if not isinstance(error, StopIteration):
        return error
    failure = RuntimeError("work raised StopIteration")
    failure.__cause__ = error
    return failure
