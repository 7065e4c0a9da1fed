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
from chatbot.adapters.storage.json_files.appends import Tail
from chatbot.adapters.storage.json_files.places import Place
from chatbot.domain.chat import Lease
from chatbot.domain.errors import SessionBusy, StorageFailure


class Held:
    """A lock that is held. `writing` keeps a release from overtaking a write in another thread.

    `place` is where the session was found when it was locked; `tail` is where its log ended after
    the last write under this lock; `log` is the log, if it is kept open for the next write.
    """

    def __init__(self, fd: int, place: Place) -> None:
        self.fd, self.place = fd, place
        self.log: int | None = None
        self.writing = threading.Lock()
        self.is_over = False
        self.tail: Tail | None = None


class SessionLeases:
    """The leases of this process."""

    def __init__(self, files: Files) -> None:
        self._files = files
        self._held: dict[Lease, Held] = {}

    def take(self, lease: Lease, place: Place) -> Held:
        """Acquire the session's lock.

        Raises:
            SessionBusy: another process holds it, or is removing it.
        """
        fd = self._open(place.lock)
        is_ours = False
        try:
            is_ours = self._files.try_lock(fd) and self._files.status(fd).links > 0
        finally:
            if not is_ours:
                self._files.close(fd)
        if not is_ours:
            raise SessionBusy
        held = self._held[lease] = Held(fd, place)
        return held

    def _open(self, lock: Path) -> int:
        try:
            return self._files.open_lock(lock)
        except FileNotFoundError:
            make_durable_folder(self._files, lock.parent)
            return self._files.open_lock(lock)

    def get(self, lease: Lease) -> Held | None:
        """Returns the lock held by this lease, if it is still held."""
        return self._held.get(lease)

    def begin_writing(self, lease: Lease) -> Held:
        """Keep the lease from being given back until `Held.writing` is released.

        Raises:
            SessionBusy: it is not held any more.
        """
        held = self._held.get(lease)
        if held is not None:
            held.writing.acquire()
            if not held.is_over:
                return held
            held.writing.release()
        raise SessionBusy("The turn no longer holds the session.")

    @contextmanager
    def writing(self, lease: Lease) -> Iterator[Held]:
        """Write under a lease, which stays held until the end: see `begin_writing`."""
        held = self.begin_writing(lease)
        try:
            yield held
        finally:
            held.writing.release()

    def give_back(self, lease: Lease, *, with_file_of: Place | None = None) -> None:
        """Free the lock once nothing is being written; with its file if the session is gone."""
        held = self._held.get(lease)
        if held is None:
            return
        with held.writing:
            if held.is_over:
                return
            held.is_over = True
            del self._held[lease]
            try:
                if with_file_of is not None:
                    self._files.remove_locked(with_file_of.lock)
            finally:
                self._close(held)

    def _close(self, held: Held) -> None:
        try:
            if held.log is not None:
                self._files.close(held.log)
        finally:
            self._files.close(held.fd)

    def give_all_back(self) -> None:
        """Free every lock of this process, as its end would."""
        failures: list[StorageFailure] = []
        for lease in list(self._held):
            try:
                self.give_back(lease)
            except StorageFailure as error:
                failures.append(error)
        if failures:
            raise failures[0]
