"""A transport that can pause reading, and that closes without losing the last response."""

import asyncio
from collections.abc import Callable

LINGER_S = 2.0


class LingeringTransport(asyncio.Transport):
    """The transport as uvicorn's protocol uses it.

    Closing a socket while it has unread bytes resets the connection, and the reset may reach the
    client before the response does. So, while `is_unread` reports that a request is still arriving,
    `close` only ends the response, and the connection up to 2 s later; data that arrives in between
    must be discarded. nginx calls this a lingering close.
    """

    def __init__(self, transport: asyncio.Transport, is_unread: Callable[[], bool]) -> None:
        super().__init__()
        self._transport, self._is_unread = transport, is_unread
        self._is_held = self._is_paused = False
        self._ending: asyncio.TimerHandle | None = None
        self.get_extra_info = transport.get_extra_info  # type: ignore[method-assign] # the same

    @property
    def is_lingering(self) -> bool:
        """Whether received data must be discarded."""
        return self._ending is not None

    def is_closing(self) -> bool:
        return self.is_lingering or self._transport.is_closing()

    def write(self, data: bytes | bytearray | memoryview) -> None:
        if data and not self.is_lingering:
            self._transport.write(data)

    def hold(self) -> None:
        """Stop reading until `release`, even if `resume_reading` is called."""
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
        """Close; immediately if the request has arrived completely, or on the second call."""
        if self.is_lingering or not self._is_unread() or self._transport.is_closing():
            self._transport.close()
            return
        if self._transport.can_write_eof():
            self._transport.write_eof()
        self._ending = asyncio.get_running_loop().call_later(LINGER_S, self._transport.abort)
        self.resume_reading()

    def forget(self) -> None:
        """Cancel the delayed close of a connection that is already closed."""
        if self._ending is not None:
            self._ending.cancel()
