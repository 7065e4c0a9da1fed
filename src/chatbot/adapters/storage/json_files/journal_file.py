"""The file of a journal's month: checksummed lines, found by number and searched by their bytes."""

import json
import re
from collections.abc import Iterator
from pathlib import Path

from chatbot.adapters.filesystem.atomic import opened
from chatbot.adapters.filesystem.files import Files
from chatbot.adapters.storage.json_files.checksummed import decode_line
from chatbot.adapters.storage.json_files.line_file import LineFile, has_holes
from chatbot.adapters.storage.json_values import Damaged
from chatbot.domain.ports.export import Unreadable
from chatbot.domain.ports.journal import JournalEntry, JournalQuery
from chatbot.domain.text import rfc3339

MAX_WRITE_BYTES = 48 * 1024
"""Several lines are written at once up to this size."""

_WINDOW = 64 * 1024
_BLOCK = 16 * 1024
_LARGE_BLOCK = 256 * 1024
_HEAD = re.compile(rb'\{"seq":(\d{1,18}),"at":"([^"]{27})"')


class JournalFile(LineFile):
    """The entries in an open file, as of the moment it was opened.

    Several lines that were written at once may be torn anywhere: the first line with holes, and what
    follows, was never acknowledged.
    """

    def __init__(self, files: Files, fd: int, path: Path) -> None:
        super().__init__(files, fd)
        self._path = path
        last = self._find_last(0, self._end_of_whole_lines())
        self.last = None if last is None else self._entry(last)

    def _end_of_whole_lines(self) -> int:
        begin = max(0, self.status.size - _WINDOW)
        found = self._files.read_at(self.fd, self.status.size - begin, begin)
        if b"\0" not in found:
            return self.status.size
        offset = begin + (found.find(b"\n") + 1 if begin else 0)
        for line in found[offset - begin :].split(b"\n")[:-1]:
            if has_holes(line, offset):
                return offset
            offset += len(line) + 1
        return self.status.size

    def entries(self, *, after: int = 0) -> Iterator[JournalEntry]:
        """Yields the entries after this number, oldest first.

        Raises:
            Damaged: a line fails its checksum.
        """
        entries = map(self._entry, self._lines(self._offset_before(after), _BLOCK))
        return (entry for entry in entries if entry.seq > after)

    def search(
        self, query: JournalQuery, *, after: int
    ) -> Iterator[tuple[int, JournalEntry | None]]:
        """Yields the number of each line after this one, with its entry if it may match.

        A line is decoded only if it contains what the query asks for.

        Raises:
            Damaged: a line that may match fails its checksum.
        """
        words = [word for word in map(_word, query.labels) if word is not None]
        since = b"" if query.since is None else rfc3339(query.since).encode()
        until = b"\xff" if query.until is None else rfc3339(query.until).encode()
        for line in self._lines(self._offset_before(after), _LARGE_BLOCK):
            head = _HEAD.match(line)
            entry = None
            if head is None:
                entry = self._entry(line)
                seq = entry.seq
            else:
                seq = int(head[1])
                if since <= head[2] < until and all(word in line for word in words):
                    entry = self._entry(line)
            if seq > after:
                yield seq, entry

    def _offset_before(self, after: int) -> int:
        """Returns the offset of a line shortly before the first one after this number."""
        low, high = 0, self.end
        while high - low > _BLOCK:
            middle = (low + high) // 2
            lines = self._lines(middle, _BLOCK)
            start = middle + len(next(lines)) + 1
            if start < high and self._entry(next(lines)).seq <= after:
                low = start
            else:
                high = middle
        return low

    def _lines(self, offset: int, size: int) -> Iterator[bytes]:
        begun = b""
        while offset < self.end:
            block = self._read(offset, min(offset + size, self.end))
            *lines, begun = (begun + block).split(b"\n")
            offset += len(block)
            yield from lines
        if begun:  # the last one lacks its newline
            yield begun

    def _entry(self, line: bytes) -> JournalEntry:
        return _decoded(line, self._path)


def stored_entries(files: Files, path: Path) -> Iterator[JournalEntry | Unreadable]:
    """Yield every line in the order of the file, including damaged ones.

    The bytes of an incomplete write at the end are not an entry.
    """
    with opened(files, files.open_to_read(path)) as fd:
        for position, (offset, line, is_last) in enumerate(_all_lines(files, fd), 1):
            try:
                yield _decoded(line, path)
            except Damaged as damage:
                if is_last or has_holes(line, offset):
                    return
                head = _HEAD.match(line)
                seq = int(head[1]) if head else None
                name = f"line {position} of {path.name}"
                yield Unreadable(name=name, reason=str(damage), seq=seq)


def _all_lines(files: Files, fd: int) -> Iterator[tuple[int, bytes, bool]]:
    """Yield each line with its offset, and whether it is the last one and lacks its newline."""
    size, offset, start, begun = files.status(fd).size, 0, 0, b""
    while offset < size:
        block = files.read_at(fd, min(_LARGE_BLOCK, size - offset), offset)
        if not block:
            return
        offset += len(block)
        *lines, begun = (begun + block).split(b"\n")
        for line in lines:
            yield start, line, False
            start += len(line) + 1
    if begun:
        yield start, begun, True


def _decoded(line: bytes, path: Path) -> JournalEntry:
    found = decode_line(line, f"an entry in {path.name}")
    return JournalEntry(
        journal=path.parent.name,
        seq=found.number("seq"),
        at=found.timestamp("at"),
        content=found.nested("content"),
    )


def _word(label: tuple[str, str]) -> bytes | None:
    """Returns the value of a label as it is written in a line; None if it may be written otherwise."""
    try:
        return json.dumps(label[1], ensure_ascii=False).encode()
    except UnicodeEncodeError:
        return None
