"""Appends to session logs so that acknowledged messages are on the disk."""

import logging
from dataclasses import replace
from functools import partial
from pathlib import Path

from chatbot.adapters.filesystem.atomic import make_durable_folder, write_all, write_new
from chatbot.adapters.filesystem.file_status import Status
from chatbot.adapters.filesystem.files import Files
from chatbot.adapters.storage.codec import codec
from chatbot.adapters.storage.json_files.checksummed import seal
from chatbot.adapters.storage.json_files.leases import HeldSession
from chatbot.adapters.storage.json_files.log_reader import LogReader, Tail
from chatbot.adapters.storage.json_files.paths import SessionPaths, to_ns
from chatbot.adapters.storage.json_files.steps import Fsync, Steps
from chatbot.adapters.storage.json_values import Damaged
from chatbot.domain.chat import Message
from chatbot.domain.errors import StorageFailure, StorageUnavailable

_log = logging.getLogger("chatbot.storage")


class LogWriter:
    """Writes to the logs of sessions that this process holds."""

    def __init__(self, files: Files) -> None:
        self._files = files
        self._failed: dict[Path, tuple[Tail, Status]] = {}
        """Logs with an append that failed and could not be rolled back yet."""

    def open(self, held: HeldSession) -> Steps[None]:
        """Open the log of a session that was just acquired, and recover it.

        Raises:
            FileNotFoundError: the session does not exist.
        """
        held.log = self._files.open_to_append(held.paths.log)
        yield from self._recover(held.paths, held.log)

    def read(self, held: HeldSession) -> LogReader:
        """Read the log of a held session; the next append continues from its end.

        Raises:
            FileNotFoundError: the session does not exist.
            Damaged: the log is damaged.
        """
        log, known = held.log, held.tail
        if log is None or known is not None:  # another file may have its name by now
            held.close_log(self._files)
            log = held.log = self._files.open_to_append(held.paths.log)
        held.tail = known
        reader = LogReader(self._files, log, held.paths)
        if known is not None and reader.tail.last_seq < known.last_seq:
            raise Damaged(f"message {known.last_seq}: removed after it was written")
        held.tail = reader.tail
        return reader

    def append(self, held: HeldSession, message: Message) -> Steps[Message]:
        """Append the message with the next number. After the last step it is on the disk.

        Raises:
            FileNotFoundError: the session does not exist.
            Damaged: the log is damaged; nothing was written.
            StorageFailure: the message is not on the disk, and was rolled back.
        """
        log, tail = yield from self._end_of(held)
        numbered = replace(message, seq=tail.last_seq + 1)
        line = seal(codec(Message).to_json(numbered)) + b"\n"
        held.tail = None
        try:
            status = self._write(held.paths, log, tail, line, mtime_ns=to_ns(message.ts))
            yield Fsync(self._files, log)
        except StorageFailure:
            yield partial(self.roll_back_failed_append, held.paths, log, tail)
            raise
        held.tail = Tail(status=status, last_seq=numbered.seq, end=status.size)
        return numbered

    def _end_of(self, held: HeldSession) -> Steps[tuple[int, Tail]]:
        """Return the open log and its end, which is known unless the file was changed or moved."""
        log, tail = held.log, held.tail
        if log is not None:
            yield from self._recover(held.paths, log)
        if log is None or tail is None or tail.status != self._files.status_of(held.paths.log):
            reader = self.read(held)
            log, tail = reader.fd, reader.tail
        if tail.is_torn:
            yield partial(self.quarantine_torn_tail, held.paths, log, tail)
            tail = replace(tail, status=self._files.status(log))
        return log, tail

    def _write(
        self, paths: SessionPaths, log: int, tail: Tail, line: bytes, *, mtime_ns: int
    ) -> Status:
        """Write the line. The time is set before the sync, which saves it with the data."""
        line = b"\n" + line if tail.lacks_newline else line
        write_all(self._files, log, line)
        self._files.set_mtime(log, paths.log, mtime_ns)
        status = self._files.status(log)
        if status.size != tail.end + len(line):
            raise StorageUnavailable("The store does not return what was written.")
        return status

    def roll_back_failed_append(self, paths: SessionPaths, log: int, tail: Tail) -> None:
        """Cut off what a failed write or sync left.

        After a failed sync it is unknown what is on the disk, and a second one may succeed without
        having written anything (https://wiki.postgresql.org/wiki/Fsync_Errors). If this fails,
        too, the next holder of the session repeats it.
        """
        try:
            self._cut(paths, log, tail)
        except StorageFailure as error:
            self._failed[paths.log] = (tail, self._files.status(log))
            _log.warning(
                "%s: a failed write could not be undone yet: %s", paths.log, error.__cause__
            )

    def _recover(self, paths: SessionPaths, log: int) -> Steps[None]:
        """Roll back a failed append for good, before anyone reads it.

        A process that has written to the log since has cut it off.
        """
        if paths.log in self._failed:
            tail, status = self._failed[paths.log]
            if status == self._files.status(log):
                yield partial(self._cut, paths, log, tail)
            del self._failed[paths.log]

    def quarantine_torn_tail(self, paths: SessionPaths, log: int, tail: Tail) -> None:
        """Move the bytes of an incomplete write, all that remains of a message, to another file.

        The cut is synced before anything is written: otherwise a power failure might mix the two.
        """
        make_durable_folder(self._files, paths.work)
        torn = paths.new_torn()
        write_new(
            self._files, torn, self._files.read_at(log, tail.status.size - tail.end, tail.end)
        )
        self._files.fsync_folder(paths.work)
        self._cut(paths, log, tail)
        _log.warning(
            "%s: the last write was incomplete; its bytes were moved to %s", paths.log, torn.name
        )

    def _cut(self, paths: SessionPaths, log: int, tail: Tail) -> None:
        self._files.truncate(log, tail.end)
        self._files.set_mtime(log, paths.log, tail.status.mtime_ns)
        self._files.fsync(log)
