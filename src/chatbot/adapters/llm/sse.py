"""Server-sent events, read from bytes as they arrive (https://html.spec.whatwg.org/#server-sent-events)."""

from collections.abc import Iterator

MAX_EVENT_BYTES = 1024 * 1024


class EventTooLong(ValueError):
    """A line or an event is longer than anything a provider has reason to send."""


class EventData:
    """Gives the `data` of each event. Comments and other fields are passed over.

    Works on bytes, so that a character may be spread over two pieces. A piece may end anywhere.
    """

    def __init__(self) -> None:
        self._rest = b""
        self._data: list[bytes] = []
        self._size = 0

    def feed(self, piece: bytes) -> Iterator[bytes]:
        """Yield the data of every event that this piece completes.

        Raises:
            EventTooLong: what is held back exceeds `MAX_EVENT_BYTES`.
        """
        lines = (self._rest + piece).splitlines(keepends=True)
        # A last line without its end waits; so does one that ends in CR, for its LF.
        self._rest = lines.pop() if lines and not lines[-1].endswith(b"\n") else b""
        for line in lines:
            yield from self._line(line.rstrip(b"\r\n"))
        if len(self._rest) + self._size > MAX_EVENT_BYTES:
            raise EventTooLong("The provider sends an event without end.")

    def flush(self) -> Iterator[bytes]:
        """Yield the last event, if the stream ended without the blank line that ends an event."""
        yield from self._line(self._rest.rstrip(b"\r\n"))
        yield from self._line(b"")
        self._rest = b""

    def _line(self, line: bytes) -> Iterator[bytes]:
        if line.startswith(b"data:"):
            value = line[5:].removeprefix(b" ")
            self._data.append(value)
            self._size += len(value)
        elif not line and self._data:
            yield b"\n".join(self._data)
            self._data, self._size = [], 0
