"""h11's connection with limits on the work that a client can cause."""

import re

import h11
from h11 import Event

MAX_HEAD_BYTES = 64 * 1024
"""uvicorn's own limit: single sign-on may put tens of KiB of cookies and tokens into a head."""

MAX_HEAD_LINES = 101
"""A request line and 100 headers, as Apache's `LimitRequestFields` has it."""

MAX_OVERHEAD_BYTES = 2048
"""Limit for chunk sizes, extensions and trailers, in addition to half of the body's size.

A body in chunks of one byte is rejected after about 450 of them, a body in chunks of 16 bytes never.
"""

EVENTS_AT_ONCE = 8
"""A request takes 4: head, body, end of the body, and `NEED_DATA`."""

_BLANK_LINE = re.compile(rb"\n\r?\n")


class BoundedConnection(h11.Connection):
    """A server's connection that parses a few events at a time and rejects excessive framing.

    While `is_cut_short`, there is more to parse: call `allow_more_events`, then `next_event`.
    """

    def __init__(self) -> None:
        super().__init__(h11.SERVER, MAX_HEAD_BYTES)
        self.is_cut_short = False
        self._events_left = EVENTS_AT_ONCE
        self._overhead = 0
        self._body_bytes = 0
        self._is_refused = False
        self._head = b""

    @property
    def waiting_bytes(self) -> int:
        """Number of bytes received and not yet parsed."""
        return len(self._receive_buffer)  # `trailing_data` would copy them

    @property
    def is_unread(self) -> bool:
        """Whether the current request is not parsed completely."""
        return self._is_refused or self.their_state in (h11.SEND_BODY, h11.ERROR)

    @property
    def is_unfinished(self) -> bool:
        """Whether only part of a request has been received."""
        return self.their_state is h11.SEND_BODY or (
            self.their_state is h11.IDLE and self.waiting_bytes > 0
        )

    @property
    def is_answering(self) -> bool:
        """Whether a request is parsed completely and not yet answered.

        h11 has two states for this: another one if the client offers an upgrade, as Java's does.
        """
        return not (self.is_unread or self.their_state is h11.IDLE)

    def allow_more_events(self) -> None:
        self.is_cut_short = False
        self._events_left = EVENTS_AT_ONCE

    def next_event(self) -> Event | type[h11.NEED_DATA] | type[h11.PAUSED]:
        """As h11's; also `NEED_DATA` after `EVENTS_AT_ONCE` events.

        Raises:
            h11.RemoteProtocolError: the bytes are not HTTP, or exceed a bound.
        """
        if not self._events_left:
            self.is_cut_short = True
            return h11.NEED_DATA
        self._events_left -= 1
        if self.their_state is h11.IDLE:
            self._check_head()
        waiting = self.waiting_bytes
        event = super().next_event()
        if isinstance(event, h11.Request):
            self._overhead = self._body_bytes = 0
        elif self.their_state is h11.SEND_BODY or isinstance(event, h11.EndOfMessage):
            self._check_framing(event, waiting - self.waiting_bytes)
        return event

    def _check_head(self) -> None:
        """Reject a head that would be slow to parse, before parsing it."""
        received = bytes(self._receive_buffer)
        blank_line = _BLANK_LINE.search(received)
        size = blank_line.start() if blank_line else len(received)
        if size > MAX_HEAD_BYTES or received.count(b"\n", 0, size) >= MAX_HEAD_LINES:
            raise self._refusal("too many or too long headers")

    def _check_framing(self, event: object, taken: int) -> None:
        """Count the bytes that are not body, including those of an incomplete chunk."""
        if isinstance(event, h11.Data):
            self._body_bytes += len(event.data)
            taken -= len(event.data)
        self._overhead += taken
        unfinished = self.waiting_bytes if event is h11.NEED_DATA else 0
        if self._overhead + unfinished > MAX_OVERHEAD_BYTES + self._body_bytes // 2:
            raise self._refusal("too many chunks for so small a body")

    def _refusal(self, reason: str) -> h11.RemoteProtocolError:
        self._is_refused = True
        return h11.RemoteProtocolError(reason)

    def send(self, event: Event) -> bytes | None:  # type: ignore[override] # h11 overloads it
        """As h11's, but the response to an unread request closes the connection.

        The rest of the request is then never parsed. The head of a response is returned with what
        follows it: a write to a socket costs 50 us, and uvicorn writes each part by itself.
        """
        if isinstance(event, h11.Response):
            self._head = super().send(_closing(event) if self.is_unread else event) or b""
            return b""
        head, self._head = self._head, b""
        data = super().send(event)
        return head + data if head and data is not None else head or data


def _closing(answer: h11.Response) -> h11.Response:
    headers = [pair for pair in answer.headers if pair[0] != b"connection"]
    return h11.Response(
        status_code=answer.status_code,
        headers=[*headers, (b"connection", b"close")],
        reason=answer.reason,
    )
