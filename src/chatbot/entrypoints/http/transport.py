"""A connection's transport that can be held, and that closes so that the last answer arrives."""

import asyncio
from collections.abc import Callable

LINGER_S = 2.0
REST_S = 0.01


class LingeringTransport(asyncio.Transport):
    """The transport as uvicorn's protocol uses it.

    To close a socket while bytes of the caller wait in it is to reset the connection, and a reset
    may reach the caller before the answer does. So, where `is_unread` says that the rest of a
    request is still coming, `close` ends the answer and throws away for up to 2 s what comes:
    16 KiB each 10 ms, 3.2 MB at most (nginx calls that a lingering close).
    """

    def __init__(self, transport: asyncio.Transport, is_unread: Callable[[], bool]) -> None:
        super().__init__()
        self._transport, self._is_unread = transport, is_unread
        self._is_held = self._is_paused = False
        self._ending: asyncio.TimerHandle | None = None
        self.get_extra_info = transport.get_extra_info  # type: ignore[method-assign] # the same

    @property
    def is_lingering(self) -> bool:
        """Whether what is received is to be thrown away."""
        return self._ending is not None

    def is_closing(self) -> bool:
        return self.is_lingering or self._transport.is_closing()

    def write(self, data: bytes | bytearray | memoryview) -> None:
        if data and not self.is_lingering:
            self._transport.write(data)

    def hold(self) -> None:
        """Read nothing until `release`, whoever resumes reading meanwhile."""
        self._is_held = True
        self._transport.pause_reading()

    def release(self) -> None:
        self._is_held = False
        if not (self._is_paused or self._transport.is_closing()):
            self._transport.resume_reading()

    def pause_reading(self) -> None:
        self._is_paused = True
        self._transport.pause_reading()

    def resume_reading(self) -> None:
        self._is_paused = False
        if not self._is_held:
            self._transport.resume_reading()

    def close(self) -> None:
        """Close; at once only where the caller has sent all, or when called again."""
        if self.is_lingering or not self._is_unread() or self._transport.is_closing():
            self._transport.close()
            return
        if self._transport.can_write_eof():
            self._transport.write_eof()
        self._ending = asyncio.get_running_loop().call_later(LINGER_S, self._transport.abort)
        self._is_paused = False
        self.rest()

    def rest(self) -> None:
        """Read nothing for 10 ms."""
        self.hold()
        asyncio.get_running_loop().call_later(REST_S, self.release)

    def forget(self) -> None:
        """The connection is gone."""
        if self._ending is not None:
            self._ending.cancel()
