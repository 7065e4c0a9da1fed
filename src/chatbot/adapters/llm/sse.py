"""Parses server-sent events incrementally (https://html.spec.whatwg.org/#server-sent-events)."""

from collections.abc import Iterator

BOM = b"\xef\xbb\xbf"
MAX_EVENT_BYTES = 1024 * 1024


class EventTooLong(ValueError):
    """A line or an event exceeds `MAX_EVENT_BYTES`."""


class EventData:
    """Extracts the `data` of each event; ignores comments and other fields.

    Works on bytes, so a piece may end anywhere, even inside a character. Lines may end in CR, LF or
    both, also mixed, and the stream may begin with a byte order mark.
    """

    def __init__(self) -> None:
        self._held = [b""]
        self._held_size = 0
        self._ends_in_cr = False
        self._has_begun = False
        self._data: list[bytes] = []
        self._size = 0

    def feed(self, piece: bytes) -> Iterator[bytes]:
        """Yield the data of every event that this piece completes.

        Raises:
            EventTooLong: the incomplete event exceeds `MAX_EVENT_BYTES`.
        """
        if self._ends_in_cr and piece:
            piece = piece.removeprefix(b"\n")  # of a CR LF split over two pieces
            self._ends_in_cr = False
        self._held.append(piece)
        self._held_size += len(piece)
        if b"\n" in piece or b"\r" in piece:
            yield from self._lines()
        if self._held_size + self._size > MAX_EVENT_BYTES:
            raise EventTooLong("The provider sent an event that does not end.")

    def flush(self) -> Iterator[bytes]:
        """Yield the last event if the stream ended without a blank line."""
        self._held.append(b"\n\n")
        yield from self._lines()

    def _lines(self) -> Iterator[bytes]:
        lines = b"".join(self._held).splitlines(keepends=True)
        rest = b"" if lines[-1].endswith((b"\n", b"\r")) else lines.pop()
        self._ends_in_cr = not rest and lines[-1].endswith(b"\r")
        self._held, self._held_size = [rest], len(rest)
        if not self._has_begun:
            self._has_begun = True
            lines[0] = lines[0].removeprefix(BOM)
        for line in lines:
            if line.startswith(b"data:"):
                value = line[5:].rstrip(b"\r\n").removeprefix(b" ")
                self._data.append(value)
                self._size += len(value)
            elif self._data and not line.rstrip(b"\r\n"):
                yield b"\n".join(self._data)
                self._data, self._size = [], 0
