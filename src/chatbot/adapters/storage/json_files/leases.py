"""Session leases: the kernel's lock on the session's own lock file.

The kernel releases it when the process dies. Lock files stay when a lease ends: removing a file
that others are about to lock would split them over two files. They are removed with their session,
whose id is never reused; a process that locks a removed file notices that it is unlinked.
"""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from chatbot.adapters.filesystem.atomic import make_durable_folder
from chatbot.adapters.filesystem.files import Files
from chatbot.adapters.storage.json_files.line_file import Tail
from chatbot.adapters.storage.json_files.paths import SessionPaths
from chatbot.domain.chat import Lease
from chatbot.domain.errors import SessionBusy, StorageFailure


class HeldSession:
    """A session whose lock this process holds.

    `writing` keeps a release from overtaking a write. `log` is the open log, and `tail` its end
    after the last read or write under this lock.
    """

    def __init__(self, fd: int, paths: SessionPaths) -> None:
        self.fd, self.paths = fd, paths
        self.writing = threading.Lock()
        self.is_released = False
        self.log: int | None = None
        self.tail: Tail | None = None

    def close_log(self, files: Files) -> None:
        """Close the log, as Windows requires before it is replaced or removed."""
        log, self.log, self.tail = self.log, None, None
        if log is not None:
            files.close(log)


class SessionLeases:
    """The leases of this process."""

    def __init__(self, files: Files) -> None:
        self._files = files
        self._held: dict[Lease, HeldSession] = {}

    def acquire(self, lease: Lease, paths: SessionPaths) -> HeldSession:
        """Acquire the session's lock.

        Raises:
            SessionBusy: another lease holds it, or it is being removed.
        """
        fd = self._open(paths.lock)
        is_acquired = False
        try:
            is_acquired = self._files.try_lock(fd) and self._files.status(fd).links > 0
        finally:
            if not is_acquired:
                self._files.close(fd)
        if not is_acquired:
            raise SessionBusy
        held = self._held[lease] = HeldSession(fd, paths)
        return held

    def _open(self, lock: Path) -> int:
        try:
            return self._files.open_lock(lock)
        except FileNotFoundError:
            make_durable_folder(self._files, lock.parent)
            return self._files.open_lock(lock)

    @contextmanager
    def writing(self, lease: Lease) -> Iterator[HeldSession]:
        """Write under a lease, which is not released before the end.

        Raises:
            SessionBusy: it is no longer held.
        """
        held = self._held.get(lease)
        if held is not None:
            with held.writing:
                if not held.is_released:
                    yield held
                    return
        raise SessionBusy("The turn no longer holds the session.")

    def release(self, lease: Lease, *, with_lock_file: bool = False) -> None:
        """Release the lock once nothing is being written.

        No-op if it is not held. Removes the lock file if the session was deleted.
        """
        held = self._held.get(lease)
        if held is None:
            return
        with held.writing:
            if held.is_released:
                return
            held.is_released = True
            del self._held[lease]
            try:
                if with_lock_file:
                    self._files.remove_locked(held.paths.lock)
                held.close_log(self._files)
            finally:
                self._files.close(held.fd)

    def release_all(self) -> None:
        """Release every lock of this process, as its end would."""
        failures: list[StorageFailure] = []
        for lease in list(self._held):
            try:
                self.release(lease)
            except StorageFailure as error:
                failures.append(error)
        if failures:
            raise failures[0]
