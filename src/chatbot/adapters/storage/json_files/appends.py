"""Appending to a session's log so that acknowledged messages are on the disk."""

import logging
from dataclasses import dataclass, replace
from pathlib import Path

from chatbot.adapters.filesystem.atomic import (
    make_durable_folder,
    opened,
    write_all,
    write_new,
)
from chatbot.adapters.filesystem.file_status import Status
from chatbot.adapters.filesystem.files import Files
from chatbot.adapters.storage.codec import codec
from chatbot.adapters.storage.json_files.log import LogView
from chatbot.adapters.storage.json_files.places import Place, to_ns
from chatbot.adapters.storage.json_files.sealed import seal
from chatbot.adapters.storage.json_values import Damaged
from chatbot.domain.chat import Message
from chatbot.domain.errors import StorageFailure, StorageUnavailable

_log = logging.getLogger("chatbot.storage")


@dataclass(frozen=True, slots=True, kw_only=True)
class Tail:
    """Where a log ends: after the message `last_seq`, as long as the file has this status."""

    status: Status
    last_seq: int
    end: int
    lacks_newline: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Written:
    """A message at the end of a log, which is not synced yet. `before` is where the log ended."""

    message: Message
    before: Tail
    tail: Tail


class SessionAppends:
    """Writes to logs whose session is held by this process."""

    def __init__(self, files: Files) -> None:
        self._files = files
        self._unsure: dict[Path, tuple[Tail, Status]] = {}

    def append(self, place: Place, message: Message, known: Tail | None) -> tuple[Message, Tail]:
        """Write and sync the message with the next number.

        A tail that is known from the last append, and still matches the file, saves a look at it.

        Raises:
            FileNotFoundError: the session does not exist.
            Damaged: the log is damaged; nothing was written.
            StorageFailure: the message is not on the disk, and was cut off again.
        """
        with opened(self._files, self._files.open_to_append(place.log)) as fd:
            self._cut_unsure(place, fd)
            written = self.write(place, fd, message, known)
            try:
                self._files.fsync(fd)
            except StorageFailure:
                self.undo(place, fd, written.before)
                raise
            return written.message, written.tail

    def write(self, place: Place, fd: int, message: Message, known: Tail | None) -> Written:
        """Write a message to the open log; a sync has to follow, and `undo` if that fails.

        Raises:
            Damaged: the log is; nothing was written.
        """
        tail = known
        if tail is None or tail.status != self._files.status(fd):
            tail = self._look(place, fd, known)
        message = replace(message, seq=tail.last_seq + 1)
        line = seal(codec(Message).to_json(message)) + b"\n"
        start = b"\n" if tail.lacks_newline else b""
        status = self._write(place, fd, tail, start + line, mtime_ns=to_ns(message.ts))
        after = Tail(status=status, last_seq=message.seq, end=status.size)
        return Written(message=message, before=tail, tail=after)

    def is_unsure(self, place: Place) -> bool:
        """Whether a failed append may have left something: see `make_sure`."""
        return place.log in self._unsure

    def make_sure(self, place: Place) -> None:
        """Undo what a failed append may have left, before anyone reads it.

        Raises:
            FileNotFoundError: the session does not exist.
        """
        if place.log in self._unsure:
            with opened(self._files, self._files.open_to_append(place.log)) as fd:
                self._cut_unsure(place, fd)

    def _look(self, place: Place, fd: int, known: Tail | None) -> Tail:
        """Find the end of the log; bytes of a torn write after it are moved to a separate file."""
        view = LogView(self._files, fd, session_id=place.session_id, owner=place.owner)
        if known is not None and view.last_seq < known.last_seq:
            raise Damaged(f"message {known.last_seq}: removed after it was written")
        self._set_torn_aside(place, fd, view)
        return Tail(
            status=self._files.status(fd),
            last_seq=view.last_seq,
            end=view.end,
            lacks_newline=view.lacks_newline,
        )

    def _write(self, place: Place, fd: int, tail: Tail, line: bytes, *, mtime_ns: int) -> Status:
        """Write and stamp, before the sync: so the time reaches the disk together with the data."""
        try:
            write_all(self._files, fd, line)
            self._files.set_mtime(fd, place.log, mtime_ns)
            status = self._files.status(fd)
            if status.size != tail.end + len(line):
                raise StorageUnavailable("The store does not return what was written.")
        except StorageFailure:
            self.undo(place, fd, tail)
            raise
        return status

    def undo(self, place: Place, fd: int, tail: Tail) -> None:
        """Cut off what a failed write or sync left.

        After a failed sync it is unknown what is on the disk, and a second one may succeed without
        having written anything (https://wiki.postgresql.org/wiki/Fsync_Errors). If cutting fails
        too, the next holder of the session repeats it.
        """
        try:
            self._files.truncate(fd, tail.end)
            self._files.set_mtime(fd, place.log, tail.status.mtime_ns)
            self._files.fsync(fd)
        except StorageFailure as error:
            self._unsure[place.log] = (tail, self._files.status(fd))
            _log.warning(
                "%s: a failed write could not be undone yet: %s", place.log, error.__cause__
            )

    def _cut_unsure(self, place: Place, fd: int) -> None:
        """Undo a failed append for good, unless another process has written to the log since."""
        if place.log not in self._unsure:
            return
        tail, left = self._unsure[place.log]
        if left == self._files.status(fd):
            self._files.truncate(fd, tail.end)
            self._files.set_mtime(fd, place.log, tail.status.mtime_ns)
            self._files.fsync(fd)
        del self._unsure[place.log]

    def _set_torn_aside(self, place: Place, fd: int, view: LogView) -> None:
        """Cut off a torn tail, and keep its bytes, which are all that remains of that message.

        The cut is synced before anything is written: otherwise a power failure might mix the two.
        """
        if view.size == view.end:
            return
        make_durable_folder(self._files, place.work)
        aside = place.torn()
        write_new(self._files, aside, view.torn())
        self._files.fsync_folder(place.work)
        self._files.truncate(fd, view.end)
        self._files.set_mtime(fd, place.log, view.mtime_ns)
        self._files.fsync(fd)
        _log.warning(
            "%s: the last write was incomplete; its bytes were moved to %s", place.log, aside.name
        )
