"""Generators for work on files, so that the same code runs in a thread and on the event loop.

A generator yields whatever may wait for the disk, and receives its exception if it fails. Between
two yields it only uses cached data, which takes less time than switching threads.
"""

import asyncio
from collections.abc import Awaitable, Callable, Generator
from dataclasses import dataclass
from typing import TypeVar

from chatbot.adapters.filesystem.files import Files, translated

Result = TypeVar("Result")
Wait = Callable[[], object]
Steps = Generator[Wait, None, Result]
InThread = Callable[[Wait], Awaitable[object]]


@dataclass(frozen=True, slots=True)
class Fsync:
    """Waits until the file is on the disk."""

    files: Files
    fd: int

    def __call__(self) -> None:
        self.files.fsync(self.fd)


def run(steps: Steps[Result]) -> Result:
    """Take all steps in this thread."""
    try:
        wait = next(steps)
        while True:
            try:
                wait()
            except Exception as error:  # noqa: BLE001 # the steps decide
                wait = steps.throw(error)
            else:
                wait = next(steps)
    except StopIteration as end:
        result: Result = end.value
        return result


async def run_on_loop(steps: Steps[Result], in_thread: InThread) -> Result:
    """Take the steps on the event loop; the kernel or a thread does the waiting."""
    try:
        wait = next(steps)
        while True:
            try:
                with translated:
                    await (_in_kernel(wait) or in_thread(wait))
            except Exception as error:  # noqa: BLE001 # as above
                wait = steps.throw(error)
            else:
                wait = next(steps)
    except StopIteration as end:
        result: Result = end.value
        return result


def _in_kernel(wait: Wait) -> "asyncio.Future[None] | None":
    return wait.files.kernel_fsync(wait.fd) if isinstance(wait, Fsync) else None
