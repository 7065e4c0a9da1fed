r"""One session's messages: an append-only log of sealed lines, read from its end.

The first line is the header, every other one a message. A message is acknowledged when its line
is synced, so a power loss can only spoil the last line, in ways that are told from damage:

- Without its newline, it is a torn write: ignored, and cut off (kept aside) by the next append.
  If all of it but the newline is there, it counts: nobody was told, but it is whole.
- With holes of NUL bytes it is one as well: file systems may save a file's length before its
  data (https://lwn.net/Articles/322823/). Holes begin and end at sector borders, a flip does not.

Everything else that does not fit its checksum, or is out of sequence, is damage.
"""

import re
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from functools import lru_cache
from itertools import dropwhile, islice, takewhile

from chatbot.adapters.filesystem.files import Files
from chatbot.adapters.storage.codec import codec
from chatbot.adapters.storage.json_files.sealed import is_sealed, seal, unseal
from chatbot.adapters.storage.json_values import (
    VERSION,
    Corruption,
    Damaged,
    Json,
    JsonObject,
    load,
)
from chatbot.domain.chat import Message, MessageRange, SessionId, title_of
from chatbot.domain.identity import Owner
from chatbot.domain.text import rfc3339

_BLOCK = 8192
_LARGE_BLOCK = 1 << 20
"""A line that is longer than a block is read in larger and larger ones, and joined once."""
_SECTOR = 512
_HEADERS_KEPT = 1024
_LINES_KEPT, _SHORT_BYTES = 2048, 4096  # 16 MB at the very most
_SEQ = re.compile(rb'\{"seq":(\d{1,18}),')


@dataclass(frozen=True, slots=True, kw_only=True)
class Header:
    """The first line. Messages count on from `base_seq`, the newest number before the reset."""

    session_id: SessionId
    owner: Owner
    created_at: datetime
    epoch: int = 0
    base_seq: int = 0

    def line(self) -> bytes:
        found: Json = {
            "version": VERSION,
            "session_id": self.session_id,
            "owner": {"kind": self.owner.kind, "id": self.owner.id},
            "created_at": rfc3339(self.created_at),
            "epoch": self.epoch,
            "base_seq": self.base_seq,
        }
        return seal(found) + b"\n"


@lru_cache(maxsize=_HEADERS_KEPT)
def read_header(line: bytes, *, session_id: SessionId, owner: Owner) -> Header:
    """Read a header and make sure that it belongs where it was found.

    Raises:
        Damaged: it does not, or its version is newer.
    """
    fields = JsonObject(unseal(line, "header"), "header")
    fields.require_version()
    whose = JsonObject(fields.nested("owner"), "header, owner")
    if (whose.text("kind"), whose.text("id")) != (owner.kind, owner.id):
        raise Damaged("header: names another owner", corruption=Corruption.FOREIGN)
    if fields.text("session_id") != session_id:
        raise Damaged("header: names another session", corruption=Corruption.FOREIGN)
    return Header(
        session_id=session_id,
        owner=owner,
        created_at=fields.timestamp("created_at"),
        epoch=fields.number("epoch"),
        base_seq=fields.number("base_seq"),
    )


@dataclass(frozen=True, slots=True)
class Line:
    """A sealed line of a message, not decoded yet."""

    seq: int
    raw: bytes

    def message(self) -> Message:
        decode = _decoded if len(self.raw) <= _SHORT_BYTES else _decode
        return decode(self.raw, self.seq)


def _decode(raw: bytes, seq: int) -> Message:
    what = f"message {seq}"
    return codec(Message).from_json(load(raw, what), what)


_decoded = lru_cache(maxsize=_LINES_KEPT)(_decode)
"""Most of a turn's window was in the window of the turn before."""


class LogView:
    """A view of a log as of the moment it was opened.

    `end` is where the last complete message ends and the next one is written; bytes between `end`
    and `size` are torn. `lines` can be iterated once.
    """

    def __init__(self, files: Files, fd: int, *, session_id: SessionId, owner: Owner) -> None:
        self._files, self._fd = files, fd
        self.status = status = files.status(fd)
        self.size, self.mtime_ns = status.size, status.mtime_ns
        self._first = files.read_at(fd, min(_BLOCK, self.size), 0)
        header, newline, _ = self._first.partition(b"\n")
        if not newline:
            raise Damaged("header: empty or cut off", corruption=Corruption.FOREIGN)
        self.header = read_header(header, session_id=session_id, owner=owner)
        self._start = len(header) + 1
        self._pieces = self._backwards()
        self.end, self.lacks_newline, last = self._find_end()
        self._last = None if last is None else self._line(last)
        self.last_seq = self.header.base_seq if self._last is None else self._last.seq
        if self._last is not None and self.last_seq <= self.header.base_seq:
            raise Damaged(f"message {self.last_seq}: numbered before the header's base")

    @property
    def message_count(self) -> int:
        return self.last_seq - self.header.base_seq

    def lines(self) -> Iterator[Line]:
        """Yields all messages, newest first; messages that are not requested are not read.

        Raises:
            Damaged: a line fails its checksum, or is missing.
        """
        seq = self.last_seq
        if self._last is not None:
            yield self._last
            for _, piece in self._pieces:
                line, seq = self._line(piece), seq - 1
                if line.seq != seq:
                    raise Damaged(f"message {seq}: missing")
                yield line
        if self._last is not None and seq != self.header.base_seq + 1:
            raise Damaged(f"message {seq - 1}: missing")

    def messages(self, selected: MessageRange) -> list[Message]:
        """Returns the selected messages, in ascending order. Those after them are read too."""
        if not selected.limit:
            return []
        before = selected.before or self.last_seq + 1
        older = dropwhile(lambda line: line.seq >= before, self.lines())
        lines = takewhile(lambda line: line.seq > selected.after, older)
        kept = deque(lines if selected.oldest else islice(lines, selected.limit), selected.limit)
        return [line.message() for line in reversed(kept)]

    def title(self) -> str:
        """Returns the session's title, usually from the first line."""
        return title_of(self._from_start())

    def _from_start(self) -> Iterator[Message]:
        offset = self._start
        while offset < self.end:
            raw = self._line_from(offset)
            yield self._line(raw).message()
            offset += len(raw) + 1

    def torn(self) -> bytes:
        """Returns the bytes after the last complete message."""
        return self._read(self.end, self.size)

    def _line(self, raw: bytes) -> Line:
        found = _SEQ.match(raw)
        if found is None or not is_sealed(raw):
            where = f"message {int(found[1])}" if found else "a message"
            raise Damaged(f"{where}: checksum mismatch")
        return Line(int(found[1]), raw)

    def _find_end(self) -> tuple[int, bool, bytes | None]:
        """Returns the end of the complete messages, if the last lacks its newline, and that one."""
        offset, tail = next(self._pieces)
        whole = tail.rstrip(b"\0")
        if is_sealed(whole):
            return offset + len(whole), True, whole
        if is_sealed(whole[:-1]):
            raise Damaged("the last message: its newline is damaged")
        end = offset
        for offset, piece in self._pieces:
            if not _has_holes(piece, offset):
                return end, False, piece
            if end != self.size:
                raise Damaged("the last messages: two incomplete writes")
            end = offset
        return end, False, None

    def _backwards(self) -> Iterator[tuple[int, bytes]]:
        """Yields the text between newlines, with its offset, from the end to the header.

        The first piece is the text after the last newline, usually empty.
        """
        begin = stop = self.size
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

    def _read(self, begin: int, end: int) -> bytes:
        if end <= len(self._first):
            return self._first[begin:end]
        found = self._files.read_at(self._fd, end - begin, begin)
        if len(found) != end - begin:
            raise Damaged("the log became shorter while it was being read")
        return found


def _has_holes(piece: bytes, offset: int) -> bool:
    """Whether the piece has NUL bytes, all of them in runs that a lost sector would leave."""

    def is_border(position: int) -> bool:
        return position in {0, len(piece)} or (offset + position) % _SECTOR == 0

    runs = [run.span() for run in re.finditer(rb"\0+", piece)]
    return bool(runs) and all(b - a > 1 and is_border(a) and is_border(b) for a, b in runs)
