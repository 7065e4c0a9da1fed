r"""Append-only files of checksummed lines, read from their end.

A line is acknowledged when it is synced, so a power loss can only spoil the last one, in ways that
differ from damage:

- Without its newline, it is a torn write: readers ignore it, and the next append moves its bytes to
  a file of their own. If only the newline is missing, the line counts: it was never acknowledged,
  but it is complete.
- With holes of NUL bytes it is torn too: file systems may save a file's length before its data
  (https://lwn.net/Articles/322823/). Holes begin and end at sector borders, flipped bits do not.

Everything else that does not match its checksum is damage.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass

from chatbot.adapters.filesystem.file_status import Status
from chatbot.adapters.filesystem.files import Files
from chatbot.adapters.storage.json_files.checksummed import is_intact
from chatbot.adapters.storage.json_values import Damaged

_BLOCK, _SMALL_BLOCK = 8192, 1024
_LARGE_BLOCK = 1 << 20
"""A line that is longer than a block is read in larger and larger ones, and joined once."""
_SECTOR = 512


@dataclass(frozen=True, slots=True, kw_only=True)
class Tail:
    """The end of a file: after the line `last_seq`, as long as the file has this status."""

    status: Status
    last_seq: int
    end: int
    lacks_newline: bool = False

    @property
    def is_torn(self) -> bool:
        """Whether bytes of an incomplete write follow."""
        return self.status.size != self.end


class LineFile:
    """An open file as of the moment it was opened. `_pieces` can be iterated once."""

    def __init__(self, files: Files, fd: int) -> None:
        self._files, self.fd = files, fd
        self.status = files.status(fd)
        self._first = files.read_at(fd, min(_BLOCK, self.status.size), 0)
        self.end, self.lacks_newline = 0, False

    def tail(self, last_seq: int) -> Tail:
        return Tail(
            status=self.status, last_seq=last_seq, end=self.end, lacks_newline=self.lacks_newline
        )

    def _find_last(self, start: int, stop: int | None = None) -> bytes | None:
        """Return the last complete line between `start` and `stop`, and find the end of the file."""
        self._start = start
        size = self.status.size if stop is None else stop
        self._pieces = self._backwards(size)
        self.end, self.lacks_newline, last = self._find_end(size)
        return last

    def _find_end(self, size: int) -> tuple[int, bool, bytes | None]:
        """Return where the complete lines end, whether the last lacks its newline, and it."""
        offset, tail = next(self._pieces)
        whole = tail.rstrip(b"\0")
        if is_intact(whole):
            return offset + len(whole), True, whole
        if is_intact(whole[:-1]):
            raise Damaged("the last line: its newline is damaged")
        end = offset
        for offset, piece in self._pieces:
            if not has_holes(piece, offset):
                return end, False, piece
            if end != size:
                raise Damaged("the last lines: two incomplete writes")
            end = offset
        return end, False, None

    def _backwards(self, size: int) -> Iterator[tuple[int, bytes]]:
        """Yield the text between newlines, with its offset, from the end to the header.

        The first piece is the text after the last newline, usually empty.
        """
        begin = stop = size
        block = _BLOCK
        behind: list[bytes] = []  # blocks of a line whose beginning is not read yet, the last first
        while begin > self._start:
            end, begin = begin, max(self._start, begin - block)
            found = self._read(begin, end)
            if b"\n" not in found:
                behind.append(found)
                block = min(2 * block, _LARGE_BLOCK)
                continue
            first, *pieces = found.split(b"\n")
            pieces[-1] = b"".join((pieces[-1], *reversed(behind)))
            behind, block = [first], _BLOCK
            for piece in reversed(pieces):
                stop -= len(piece)
                yield stop, piece
                stop -= 1
        yield self._start, b"".join(reversed(behind))

    def _line_from(self, offset: int) -> bytes:
        known = len(self._first)
        end = min(known if offset < known else offset + _BLOCK, self.end)
        while (found := self._read(offset, end)).find(b"\n") < 0 and end < self.end:
            end = min(end + (end - offset), self.end)
        return found.partition(b"\n")[0]

    def _forwards(self, begin: int) -> Iterator[bytes]:
        """Yield the lines from this offset on."""
        block = _BLOCK
        behind: list[bytes] = []  # blocks of a line whose end is not read yet
        while begin < self.end:
            found = self._read(begin, min(begin + block, self.end))
            begin += len(found)
            first, *pieces = found.split(b"\n")
            behind.append(first)
            block = min(2 * block, _LARGE_BLOCK // 16)
            if pieces:
                yield b"".join(behind)
                yield from pieces[:-1]
                behind = [pieces[-1]]
        if any(behind):
            yield b"".join(behind)

    def _line_after(self, offset: int, stop: int) -> int:
        """Return where the first line at `offset` or after it begins; `stop` if none does."""
        begin = offset - 1
        while begin < stop:
            end = min(begin + _SMALL_BLOCK, stop)
            found = self._read(begin, end).find(b"\n")
            if found >= 0:
                return begin + found + 1
            begin = end
        return stop

    def _read(self, begin: int, end: int) -> bytes:
        if end <= len(self._first):
            return self._first[begin:end]
        found = self._files.read_at(self.fd, end - begin, begin)
        if len(found) != end - begin:
            raise Damaged("the file became shorter while it was being read")
        return found


def has_holes(piece: bytes, offset: int) -> bool:
    """Whether the piece has NUL bytes, all of them in runs that a lost sector would leave."""

    def is_border(position: int) -> bool:
        return position in {0, len(piece)} or (offset + position) % _SECTOR == 0

    runs = [run.span() for run in re.finditer(rb"\0+", piece)]
    return bool(runs) and all(b - a > 1 and is_border(a) and is_border(b) for a, b in runs)
