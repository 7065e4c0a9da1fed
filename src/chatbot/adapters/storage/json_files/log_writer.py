"""Appends to the logs of sessions that this process holds."""

from dataclasses import replace
from functools import partial
from pathlib import Path

from chatbot.adapters.filesystem.atomic import put
from chatbot.adapters.filesystem.files import Files
from chatbot.adapters.storage.codec import codec
from chatbot.adapters.storage.json_files.checksummed import encode_line
from chatbot.adapters.storage.json_files.leases import HeldSession
from chatbot.adapters.storage.json_files.line_file import Tail
from chatbot.adapters.storage.json_files.line_writer import LineWriter
from chatbot.adapters.storage.json_files.log_reader import LogReader
from chatbot.adapters.storage.json_files.paths import SessionPaths, to_ns
from chatbot.adapters.storage.json_files.steps import Steps
from chatbot.adapters.storage.json_values import Damaged
from chatbot.domain.chat import Message
from chatbot.domain.errors import StorageFailure


class LogWriter:
    """Reads and appends under a lease."""

    def __init__(self, files: Files) -> None:
        self._files, self._lines = files, LineWriter(files)
        self._unsynced: set[Path] = set()

    def open(self, held: HeldSession) -> Steps[None]:
        """Open the log of a session that was just acquired, and recover it.

        Raises:
            FileNotFoundError: the session does not exist.
        """
        held.log = self._files.open_to_append(held.paths.log)
        if held.paths.folder in self._unsynced:
            yield partial(self._sync, held.paths.folder)
        yield from self._lines.recover(held.paths.log, held.log)

    def replace(self, paths: SessionPaths, data: bytes, *, mtime_ns: int) -> None:
        """Replace a log as a whole.

        If it gets its name, but it is unknown whether that is on the disk, the next turn in the
        folder syncs the name first: its messages would be lost with it.
        """
        try:
            put(self._files, paths.log, data, mtime_ns=mtime_ns)
        except StorageFailure:
            self._unsynced.add(paths.folder)
            raise

    def _sync(self, folder: Path) -> None:
        self._files.fsync_folder(folder)
        self._unsynced.discard(folder)

    def read(self, held: HeldSession) -> LogReader:
        """Read the log; the next append continues from its end.

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
        if known is not None and reader.last_seq < known.last_seq:
            raise Damaged(f"message {known.last_seq}: removed after it was written")
        held.tail = reader.tail(reader.last_seq)
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
        line = encode_line(codec(Message).to_json(numbered))
        held.tail = None
        held.tail = yield from self._lines.append(
            held.paths.log, log, tail, line, mtime_ns=to_ns(message.ts)
        )
        return numbered

    def _end_of(self, held: HeldSession) -> Steps[tuple[int, Tail]]:
        """Return the open log and its end, which is known unless the file was changed or moved."""
        path, log, tail = held.paths.log, held.log, held.tail
        if log is not None:
            yield from self._lines.recover(path, log)
        if log is None or tail is None or tail.status != self._files.status_of(path):
            reader = self.read(held)
            log, tail = reader.fd, reader.tail(reader.last_seq)
        return log, tail
