r"""One session's messages: an append-only log of checksummed lines, read from its end.

The first line is the header, every other one a message. A message is acknowledged when its line
is synced, so a power loss can only spoil the last line, in ways that differ from damage:

- Without its newline, it is a torn write: readers ignore it, and the next append moves its bytes to
  a file of their own. If only the newline is missing, the message counts: it was never
  acknowledged, but it is complete.
- With holes of NUL bytes it is torn too: file systems may save a file's length before its data
  (https://lwn.net/Articles/322823/). Holes begin and end at sector borders, flipped bits do not.

Everything else that does not match its checksum, or is out of sequence, is damage.

The header holds the session as it was when the log was created, except for what follows from the
log: the title and the numbers from its messages, `updated_at` from the file's time.
"""

import re
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import lru_cache
from itertools import dropwhile, islice, takewhile

from chatbot.adapters.filesystem.file_status import Status
from chatbot.adapters.filesystem.files import Files
from chatbot.adapters.storage.codec import codec
from chatbot.adapters.storage.json_files.checksummed import is_sealed, seal, unseal
from chatbot.adapters.storage.json_files.log_lines import BLOCK, LogLines
from chatbot.adapters.storage.json_files.paths import SessionPaths, from_ns
from chatbot.adapters.storage.json_values import VERSION, Corruption, Damaged, JsonObject, load
from chatbot.domain.chat import Message, MessageRange, Session, SessionId, title_of
from chatbot.domain.identity import Owner

_HEADERS_CACHED = 1024
_LINES_CACHED, _SHORT_BYTES = 2048, 4096  # 16 MB at the very most
_SEQ = re.compile(rb'\{"seq":(\d{1,18}),')
_DERIVED = {"id", "title", "updated_at", "message_count", "last_seq"}


def header_line(session: Session) -> bytes:
    """Return the first line of a log whose messages continue from the session's last number."""
    stored = codec(Session).to_json(session)
    own = {key: value for key, value in stored.items() if key not in _DERIVED}
    names = {"version": VERSION, "session_id": session.id}
    return seal({**names, **own, "base_seq": session.reset_at}) + b"\n"


@lru_cache(maxsize=_HEADERS_CACHED)
def read_header(line: bytes, *, session_id: SessionId, owner: Owner) -> Session:
    """Read a header and verify that it belongs where it was found.

    Raises:
        Damaged: it does not, or it has a newer version.
    """
    stored = JsonObject(unseal(line, "header"), "header")
    stored.require_version()
    derived = {
        "id": stored.text("session_id"),
        "updated_at": stored.text("created_at"),
        "last_seq": stored.number("base_seq"),
    }
    own = {key: value for key, value in stored.found.items() if key not in _DERIVED}
    session = codec(Session).from_json({**own, **derived}, "header")
    if session.owner != owner:
        raise Damaged("header: names another owner", corruption=Corruption.FOREIGN)
    if session.id != session_id:
        raise Damaged("header: names another session", corruption=Corruption.FOREIGN)
    return session


@dataclass(frozen=True, slots=True)
class Line:
    """The checksummed line of a message, not decoded yet."""

    seq: int
    raw: bytes

    def message(self) -> Message:
        decode = _decoded if len(self.raw) <= _SHORT_BYTES else _decode
        return decode(self.raw, self.seq)


def _decode(raw: bytes, seq: int) -> Message:
    what = f"message {seq}"
    return codec(Message).from_json(load(raw, what), what)


_decoded = lru_cache(maxsize=_LINES_CACHED)(_decode)
"""Prompts overlap: most messages of a turn were part of the turn before."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Tail:
    """The end of a log: after the message `last_seq`, as long as the file has this status."""

    status: Status
    last_seq: int
    end: int
    lacks_newline: bool = False

    @property
    def is_torn(self) -> bool:
        """Whether bytes of an incomplete write follow."""
        return self.status.size != self.end


class LogReader(LogLines):
    """A log as of the moment it was opened. `lines` can be iterated once."""

    def __init__(self, files: Files, fd: int, paths: SessionPaths) -> None:
        status = files.status(fd)
        first = files.read_at(fd, min(BLOCK, status.size), 0)
        header, newline, _ = first.partition(b"\n")
        if not newline:
            raise Damaged("header: empty or cut off", corruption=Corruption.FOREIGN)
        self.header = read_header(header, session_id=paths.session_id, owner=paths.owner)
        super().__init__(files, fd, status, first=first, start=len(header) + 1)
        self._last = None if self.last_line is None else self._line(self.last_line)
        last_seq = self.header.last_seq if self._last is None else self._last.seq
        if self._last is not None and last_seq <= self.header.last_seq:
            raise Damaged(f"message {last_seq}: numbered before the header's base")
        self.tail = Tail(
            status=status, last_seq=last_seq, end=self.end, lacks_newline=self.lacks_newline
        )

    def session(self) -> Session:
        """Return the session. Its title is usually in the first line."""
        return replace(
            self.header,
            title=title_of(self._from_start()),
            updated_at=from_ns(self.tail.status.mtime_ns),
            message_count=self.tail.last_seq - self.header.last_seq,
            last_seq=self.tail.last_seq,
        )

    def lines(self) -> Iterator[Line]:
        """Yield all messages, newest first; those that are not consumed are not read.

        Raises:
            Damaged: a line fails its checksum, or is missing.
        """
        seq, base = self.tail.last_seq, self.header.last_seq
        if self._last is not None:
            yield self._last
            for _, piece in self._pieces:
                line, seq = self._line(piece), seq - 1
                if line.seq != seq:
                    raise Damaged(f"message {seq}: missing")
                yield line
        if self._last is not None and seq != base + 1:
            raise Damaged(f"message {seq - 1}: missing")

    def messages(self, selected: MessageRange) -> list[Message]:
        """Return the selected messages in ascending order. Those after them are read, too."""
        if not selected.limit:
            return []
        before = selected.before or self.tail.last_seq + 1
        older = dropwhile(lambda line: line.seq >= before, self.lines())
        lines = takewhile(lambda line: line.seq > selected.after, older)
        kept = deque(lines if selected.oldest else islice(lines, selected.limit), selected.limit)
        return [line.message() for line in reversed(kept)]

    def _from_start(self) -> Iterator[Message]:
        offset = self._start
        while offset < self.tail.end:
            raw = self._line_from(offset)
            yield self._line(raw).message()
            offset += len(raw) + 1

    def _line(self, raw: bytes) -> Line:
        found = _SEQ.match(raw)
        if found is None or not is_sealed(raw):
            where = f"message {int(found[1])}" if found else "a message"
            raise Damaged(f"{where}: checksum mismatch")
        return Line(int(found[1]), raw)

    def _line_from(self, offset: int) -> bytes:
        known = len(self._first)
        end = min(known if offset < known else offset + BLOCK, self.tail.end)
        while (found := self._read(offset, end)).find(b"\n") < 0 and end < self.tail.end:
            end = min(end + (end - offset), self.tail.end)
        return found.partition(b"\n")[0]
