"""Fairness between connections: what one of them has too much of waits its turn.

An event loop serves whatever is ready, so a connection with a thousand tiny chunks, or with a
hundred requests sent at once, would hold up all others. Its rest waits here instead, and of all
connections that have one, a single one is served each millisecond, for some 0.2 ms. So all of them
together take a fifth of the CPU from the others, however many they are.
"""

import asyncio
from collections import deque
from collections.abc import Callable
from weakref import WeakKeyDictionary

READ_BYTES = 16 * 1024
"""Most that is read of a connection at a time; asyncio itself would read 256 KiB."""

PAUSE_S = 0.001


class Backlog:
    """The work of one event loop that waits its turn, and the buffer that all its sockets share.

    A buffer is filled and read in one step of the loop, so one is enough for all connections.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._waiting: deque[Callable[[], None]] = deque()
        self._served_at = 0.0
        self.buffer = memoryview(bytearray(READ_BYTES))

    def add(self, work: Callable[[], None]) -> None:
        """Do it later, after what was added before."""
        self._waiting.append(work)
        if len(self._waiting) == 1:
            self._loop.call_at(self._served_at + PAUSE_S, self._serve)

    def _serve(self) -> None:
        work = self._waiting.popleft()
        self._served_at = self._loop.time()
        if self._waiting:
            self._loop.call_at(self._served_at + PAUSE_S, self._serve)
        work()


_backlogs: WeakKeyDictionary[asyncio.AbstractEventLoop, Backlog] = WeakKeyDictionary()


def backlog_of(loop: asyncio.AbstractEventLoop) -> Backlog:
    """The backlog that all connections of this loop share."""
    return _backlogs.setdefault(loop, Backlog(loop))
