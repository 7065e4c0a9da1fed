"""A log stream that never blocks the service, however slowly its reader reads.

A pipe takes 64 KiB and then blocks: a paused terminal, or a log collector that hangs, would stop
every response. So a line is written directly only if the system reports that this will not block;
otherwise it is queued, up to a limit, for a thread that may block. Lines beyond it are counted.
"""

import os
import select
import stat
import sys
import threading
import time
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from typing import TextIO

QUEUED_BYTES = 2**20
_AT_ONCE_BYTES = 4096
"""Bytes that a pipe accepts without blocking if it accepts any (POSIX's PIPE_BUF on Linux)."""


class UnblockedStream:
    """A file for log lines that wraps another one, usually stderr.

    Args:
        stream: where the lines go. A stream without a descriptor is written to directly.
        is_shared: whether other processes write there too. What the system reports may then be
            outdated a moment later, so every line goes through the thread.
        on_dropped: called by the thread with the number of dropped lines, once it can write again.
    """

    def __init__(
        self,
        stream: TextIO,
        *,
        is_shared: bool,
        on_dropped: Callable[[int], None],
        max_bytes: int = QUEUED_BYTES,
    ) -> None:
        self._stream, self._on_dropped, self._max_bytes = stream, on_dropped, max_bytes
        self._fd = _descriptor_of(stream)
        self._may_block = self._fd is not None and not stat.S_ISREG(os.fstat(self._fd).st_mode)
        self._is_shared = is_shared
        self._lines: deque[bytes] = deque()
        self._queued = self._dropped = 0
        self._changed = threading.Condition()
        self._thread: threading.Thread | None = None

    def write(self, text: str) -> None:
        """Write, queue or drop the text."""
        if self._fd is None:
            self._stream.write(text)
            return
        data = text.encode("utf-8", "replace")
        if not self._may_block:
            _write(self._fd, data)
            return
        with self._changed:
            if not (self._lines or self._is_shared) and _can_take(self._fd, data):
                _write(self._fd, data)
            else:
                self._enqueue(data)

    def flush(self) -> None:
        if self._fd is None:
            self._stream.flush()

    def drain(self, within_s: float) -> None:
        """Wait until the queue is written, for at most `within_s` seconds."""
        deadline = time.monotonic() + within_s
        with self._changed:
            self._changed.wait_for(lambda: not self._lines, max(0.0, deadline - time.monotonic()))

    def _enqueue(self, data: bytes) -> None:
        if self._queued + len(data) > self._max_bytes:
            self._dropped += 1
            return
        self._lines.append(data)
        self._queued += len(data)
        if self._thread is None:
            self._thread = threading.Thread(target=self._work, name="logs", daemon=True)
            self._thread.start()
        self._changed.notify_all()

    def _work(self) -> None:
        """Runs in the thread: a line leaves the queue once written, so lines stay in order."""
        while True:
            with self._changed:
                self._changed.wait_for(lambda: bool(self._lines))
                data = self._lines[0]
            _write_blocking(self._fd or 0, data)
            with self._changed:
                self._lines.popleft()
                self._queued -= len(data)
                dropped = 0 if self._lines else self._dropped
                self._dropped -= dropped
                self._changed.notify_all()
            if dropped:
                self._on_dropped(dropped)


def _descriptor_of(stream: TextIO) -> int | None:
    try:
        return stream.fileno()
    except (OSError, ValueError):  # io.UnsupportedOperation is both
        return None


def _can_take(fd: int, data: bytes) -> bool:
    """Whether a write would not block. On Windows this is unknown, so always False."""
    if sys.platform == "win32" or len(data) > _AT_ONCE_BYTES:
        return False
    poll = select.poll()
    poll.register(fd, select.POLLOUT)
    return any(event & select.POLLOUT for _, event in poll.poll(0))


def _write(fd: int, data: bytes) -> None:
    """A line that cannot be written is dropped: logging must not break a response."""
    with suppress(OSError):
        while data:
            data = data[os.write(fd, data) :]


def _write_blocking(fd: int, data: bytes) -> None:
    """As `_write`, but also works if the descriptor was made non-blocking."""
    while data:
        try:
            data = data[os.write(fd, data[:_AT_ONCE_BYTES]) :]
        except BlockingIOError:
            time.sleep(0.05)
        except OSError:
            return
