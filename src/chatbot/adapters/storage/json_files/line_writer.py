"""Appends to files of lines so that acknowledged lines are on the disk."""

import logging
import secrets
from collections.abc import Collection
from dataclasses import replace
from functools import partial
from pathlib import Path

from chatbot.adapters.filesystem.atomic import WORK, make_durable_folder, write_all, write_new
from chatbot.adapters.filesystem.file_status import Status
from chatbot.adapters.filesystem.files import Files
from chatbot.adapters.storage.json_files.line_file import Tail
from chatbot.adapters.storage.json_files.steps import Fsync, Steps
from chatbot.domain.errors import StorageFailure, StorageUnavailable

_log = logging.getLogger("chatbot.storage")


class LineWriter:
    """Appends to files that are locked for this process and open for appending."""

    def __init__(self, files: Files) -> None:
        self._files = files
        self._failed: dict[Path, tuple[Tail, Status]] = {}

    @property
    def failed(self) -> Collection[Path]:
        """Files with an append that failed and could not be rolled back yet: see `recover`."""
        return self._failed

    def append(
        self, path: Path, fd: int, tail: Tail, line: bytes, *, mtime_ns: int | None = None
    ) -> Steps[Tail]:
        """Append a line, and return the new end. After the last step the line is on the disk.

        Raises:
            StorageFailure: the line is not on the disk, and was rolled back.
        """
        if tail.is_torn:
            yield partial(self.quarantine_torn_tail, path, fd, tail)
            tail = replace(tail, status=self._files.status(fd))
        line = b"\n" + line if tail.lacks_newline else line
        try:
            write_all(self._files, fd, line)
            if mtime_ns is not None:  # before the sync, which saves it with the data
                self._files.set_mtime(fd, path, mtime_ns)
            status = self._files.status(fd)
            if status.size != tail.end + len(line):
                raise StorageUnavailable("The store does not return what was written.")
            yield Fsync(self._files, fd)
        except StorageFailure:
            yield partial(self.roll_back_failed_append, path, fd, tail)
            raise
        return Tail(status=status, last_seq=tail.last_seq + 1, end=status.size)

    def roll_back_failed_append(self, path: Path, fd: int, tail: Tail) -> None:
        """Cut off what a failed write or sync left.

        After a failed sync it is unknown what is on the disk, and a second one may succeed without
        having written anything (https://wiki.postgresql.org/wiki/Fsync_Errors). If this fails,
        too, the next process that locks the file repeats it: see `recover`.
        """
        try:
            self._cut(path, fd, tail)
        except StorageFailure as error:
            self._failed[path] = (tail, self._files.status(fd))
            _log.warning("%s: a failed write could not be undone yet: %s", path, error.__cause__)

    def recover(self, path: Path, fd: int) -> Steps[None]:
        """Roll back a failed append for good, before anyone reads it.

        A process that has written to the file since has cut it off.
        """
        if path in self._failed:
            tail, status = self._failed[path]
            if status == self._files.status(fd):
                yield partial(self._cut, path, fd, tail)
            del self._failed[path]

    def quarantine_torn_tail(self, path: Path, fd: int, tail: Tail) -> None:
        """Move the bytes of an incomplete write, all that remains of it, to a file of their own.

        The cut is synced before anything is written: otherwise a power failure might mix the two.
        """
        work = path.parent / WORK
        make_durable_folder(self._files, work)
        torn = work / f"{path.stem}.torn-{secrets.token_hex(8)}"
        write_new(self._files, torn, self._files.read_at(fd, tail.status.size - tail.end, tail.end))
        self._files.fsync_folder(work)
        self._cut(path, fd, tail)
        _log.warning(
            "%s: the last write was incomplete; its bytes were moved to %s", path, torn.name
        )

    def _cut(self, path: Path, fd: int, tail: Tail) -> None:
        self._files.truncate(fd, tail.end)
        self._files.set_mtime(fd, path, tail.status.mtime_ns)
        self._files.fsync(fd)
