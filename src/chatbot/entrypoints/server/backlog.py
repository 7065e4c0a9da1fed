"""Fairness between connections: expensive work waits in one queue.

An event loop serves whatever is ready, so a connection with a thousand tiny chunks, or with a
hundred requests sent at once, would hold up all others. Its rest waits here instead. All
connections share one queue, of which one entry is served each millisecond, or later: after each,
the queue rests for four times as long as it took. So all of them together take a fifth of the CPU
from the others, however many they are.
"""

import asyncio
from collections import deque
from collections.abc import Callable
from weakref import WeakKeyDictionary

READ_BYTES = 16 * 1024
"""Maximum size of one read; asyncio itself would read 256 KiB."""

PAUSE_S = 0.001
_REST = 4


class Backlog:
    """The queue of an event loop, and the read buffer that all its sockets share.

    A buffer is filled and read in one step of the loop, so one is enough for all connections.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._waiting: deque[Callable[[], None]] = deque()
        self._next_at = 0.0
        self.buffer = memoryview(bytearray(READ_BYTES))

    def add(self, work: Callable[[], None]) -> None:
        """Call `work` later, after earlier entries."""
        self._waiting.append(work)
        if len(self._waiting) == 1:
            self._loop.call_at(self._next_at, self._serve)

    def _serve(self) -> None:
        began = self._loop.time()
        try:
            self._waiting[0]()
        finally:
            self._waiting.popleft()
            ended = self._loop.time()
            self._next_at = max(began + PAUSE_S, ended + _REST * (ended - began))
            if self._waiting:
                self._loop.call_at(self._next_at, self._serve)


_backlogs: WeakKeyDictionary[asyncio.AbstractEventLoop, Backlog] = WeakKeyDictionary()


def backlog_of(loop: asyncio.AbstractEventLoop) -> Backlog:
    """Returns the backlog that all connections of this loop share."""
    return _backlogs.setdefault(loop, Backlog(loop))
