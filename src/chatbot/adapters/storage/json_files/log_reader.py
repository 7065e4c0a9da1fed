"""One session's messages: a header, then a line for each message.

The header holds the session as it was when the log was created, except for what follows from the
log: the numbers from its messages, `updated_at` from the file's time. Its title is the one that a
person gave it; without one the first message is the title. A message that is out of sequence is
damage.
"""

import re
from collections import deque
from collections.abc import Iterator
from dataclasses import replace
from functools import lru_cache
from itertools import islice
from math import inf

from chatbot.adapters.filesystem.files import Files
from chatbot.adapters.storage.codec import codec
from chatbot.adapters.storage.json_files.checksummed import decode_line, encode_line, is_intact
from chatbot.adapters.storage.json_files.line_file import LineFile
from chatbot.adapters.storage.json_files.paths import SessionPaths, from_ns
from chatbot.adapters.storage.json_values import VERSION, Corruption, Damaged, load
from chatbot.domain.chat import Message, MessageRange, Session, SessionId, title_of
from chatbot.domain.identity import Owner

_HEADERS_CACHED = 1024
_LINES_CACHED, _SHORT_BYTES = 2048, 4096  # 16 MB at the very most
_SEQ = re.compile(rb'\{"seq":(\d{1,18}),')
_SEQ_BYTES, _FEW_BYTES = 32, 4096
_DERIVED = {"id", "updated_at", "message_count", "last_seq"}


def header_line(session: Session) -> bytes:
    """Return the first line of a log whose messages continue from the session's last number."""
    stored = codec(Session).to_json(session)
    own = {key: value for key, value in stored.items() if key not in _DERIVED}
    if not session.title:
        del own["title"]
    names = {"version": VERSION, "session_id": session.id}
    return encode_line({**names, **own, "base_seq": session.reset_at})


def message_line(message: Message) -> bytes:
    """Return the line of a message that has its number."""
    return encode_line(codec(Message).to_json(message))


@lru_cache(maxsize=_HEADERS_CACHED)
def read_header(line: bytes, *, session_id: SessionId, owner: Owner) -> Session:
    """Read a header and verify that it belongs where it was found.

    Raises:
        Damaged: it does not, or it has a newer version.
    """
    stored = decode_line(line, "header")
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


class Line:
    """The line of a message, which matches its checksum; it is decoded when it is needed."""

    __slots__ = ("_message", "_raw", "seq")

    def __init__(self, raw: bytes) -> None:
        found = _SEQ.match(raw)
        if found is None or not is_intact(raw):
            where = f"message {int(found[1])}" if found else "a message"
            raise Damaged(f"{where}: checksum mismatch")
        self.seq, self._raw = int(found[1]), raw
        self._message: Message | None = None

    def message(self) -> Message:
        if self._message is None:
            what = f"message {self.seq}"
            self._message = codec(Message).from_json(load(self._raw, what), what)
        return self._message


_cached_line = lru_cache(maxsize=_LINES_CACHED)(Line)
"""Prompts overlap: most messages of a turn were part of the turn before."""


def forget_messages() -> None:
    """Drop the messages and titles that this process keeps."""
    _cached_line.cache_clear()
    read_header.cache_clear()


def _line(raw: bytes) -> Line:
    return _cached_line(raw) if len(raw) <= _SHORT_BYTES else Line(raw)


class LogReader(LineFile):
    """A log as of the moment it was opened. `lines` can be iterated once."""

    def __init__(self, files: Files, fd: int, paths: SessionPaths) -> None:
        super().__init__(files, fd)
        self.paths = paths
        header, newline, _ = self._first.partition(b"\n")
        if not newline:
            raise Damaged("header: empty or cut off", corruption=Corruption.FOREIGN)
        self.header = read_header(header, session_id=paths.session_id, owner=paths.owner)
        last = self._find_last(len(header) + 1)
        self._last = None if last is None else _line(last)
        self.last_seq = self.header.last_seq if self._last is None else self._last.seq
        if self._last is not None and self.last_seq <= self.header.last_seq:
            raise Damaged(f"message {self.last_seq}: numbered before the header's base")

    def session(self) -> Session:
        """Return the session as its log has it. A derived title is usually in the first line."""
        return replace(
            self.header,
            title=self.header.title or title_of(self._from_start()),
            updated_at=from_ns(self.status.mtime_ns),
            message_count=self.last_seq - self.header.last_seq,
            last_seq=self.last_seq,
        )

    def lines(self) -> Iterator[Line]:
        """Yield all messages, newest first; those that are not consumed are not read.

        Raises:
            Damaged: a line fails its checksum, or is missing.
        """
        seq, base = self.last_seq, self.header.last_seq
        if self._last is not None:
            yield self._last
            for _, piece in self._pieces:
                line, seq = _line(piece), seq - 1
                if line.seq != seq:
                    raise Damaged(f"message {seq}: missing")
                yield line
        if self._last is not None and seq != base + 1:
            raise Damaged(f"message {seq - 1}: missing")

    def messages(self, selected: MessageRange) -> list[Message]:
        """Return the selected messages in ascending order.

        Those after them are read, too; but if many follow the oldest, these are found by number.
        """
        if not selected.limit:
            return []
        following = self.last_seq - max(selected.after, self.header.last_seq)
        if selected.oldest and following > 2 * selected.limit:
            return self._oldest(selected)
        kept: deque[Line] = deque(maxlen=selected.limit)
        for line in self.lines():
            if line.seq <= selected.after:
                break
            if selected.before is None or line.seq < selected.before:
                kept.append(line)
                if len(kept) == selected.limit and not selected.oldest:
                    break
        return [line.message() for line in reversed(kept)]

    def _oldest(self, selected: MessageRange) -> list[Message]:
        """Read forward from the first selected message.

        Raises:
            Damaged: as `lines`.
        """
        seq = max(selected.after, self.header.last_seq) + 1
        before = self.last_seq + 1 if selected.before is None else selected.before
        stop = min(before, self.last_seq + 1, seq + selected.limit)
        if seq >= stop:
            return []
        raw_lines = self._forwards(self._offset_of(seq))
        lines = [_line(raw) for raw in islice(raw_lines, stop - seq)]
        for number in range(seq, stop):
            if number - seq >= len(lines) or lines[number - seq].seq != number:
                raise Damaged(f"message {number}: missing")
        return [line.message() for line in lines]

    def _offset_of(self, seq: int) -> int:
        """Return where the first line with this number or a higher one begins, by bisection.

        A line without a number counts as one: what reads on from there reports the damage.
        """
        low, high = self._start, self.end
        while high - low > _FEW_BYTES:
            middle = (low + high) // 2
            begin = self._line_after(middle, high)
            if begin < high and self._seq_at(begin) < seq:
                low = begin
            else:
                high = middle
        while low < self.end and self._seq_at(low) < seq:
            low += len(self._line_from(low)) + 1
        return low

    def _seq_at(self, offset: int) -> float:
        found = _SEQ.match(self._read(offset, min(offset + _SEQ_BYTES, self.end)))
        return int(found[1]) if found else inf

    def _from_start(self) -> Iterator[Message]:
        offset = self._start
        while offset < self.end:
            raw = self._line_from(offset)
            yield _line(raw).message()
            offset += len(raw) + 1
