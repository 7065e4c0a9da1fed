"""The lines of an append-only file, found from its end; what an incomplete write left is not one of them.

See `log_reader` for what counts as one.
"""

import re
from collections.abc import Iterator

from chatbot.adapters.filesystem.file_status import Status
from chatbot.adapters.filesystem.files import Files
from chatbot.adapters.storage.json_files.checksummed import is_sealed
from chatbot.adapters.storage.json_values import Damaged

BLOCK = 8192
_LARGE_BLOCK = 1 << 20
"""A line that is longer than a block is read in larger and larger ones, and joined once."""
_SECTOR = 512


class LogLines:
    """The checksummed lines from `start` on, as of the moment the file was opened.

    `first` are the first bytes of the file, as far as they are known. `end` is where the complete
    lines end; `last_line` is the last of them, which may lack its newline.
    """

    def __init__(
        self, files: Files, fd: int, status: Status, *, first: bytes = b"", start: int = 0
    ) -> None:
        self._files, self.fd, self._first, self._start = files, fd, first, start
        self._pieces = self._backwards(status.size)
        self.end, self.lacks_newline, self.last_line = self._find_end(status.size)

    def _find_end(self, size: int) -> tuple[int, bool, bytes | None]:
        """Return where the complete lines end, whether the last lacks its newline, and it."""
        offset, tail = next(self._pieces)
        whole = tail.rstrip(b"\0")
        if is_sealed(whole):
            return offset + len(whole), True, whole
        if is_sealed(whole[:-1]):
            raise Damaged("the last line: its newline is damaged")
        end = offset
        for offset, piece in self._pieces:
            if not _has_holes(piece, offset):
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
        block = BLOCK
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
            behind, block = [first], BLOCK
            for piece in reversed(pieces):
                stop -= len(piece)
                yield stop, piece
                stop -= 1
        yield self._start, b"".join(reversed(behind))

    def _read(self, begin: int, end: int) -> bytes:
        if end <= len(self._first):
            return self._first[begin:end]
        found = self._files.read_at(self.fd, end - begin, begin)
        if len(found) != end - begin:
            raise Damaged("the log became shorter while it was being read")
        return found


def _has_holes(piece: bytes, offset: int) -> bool:
    """Whether the piece has NUL bytes, all of them in runs that a lost sector would leave."""

    def is_border(position: int) -> bool:
        return position in {0, len(piece)} or (offset + position) % _SECTOR == 0

    runs = [run.span() for run in re.finditer(rb"\0+", piece)]
    return bool(runs) and all(b - a > 1 and is_border(a) and is_border(b) for a, b in runs)
