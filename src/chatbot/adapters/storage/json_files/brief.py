"""Sessions as brief work sees them: written on the spot, synced once, in a thread.

Reading a few blocks and writing one costs less than a way to a thread and back, with a fight for
the interpreter's lock at each system call; only the sync has to wait for the disk.
"""

from datetime import datetime
from pathlib import Path

from chatbot.adapters.storage.json_files.appends import SessionAppends, Written
from chatbot.adapters.storage.json_files.files import Files
from chatbot.adapters.storage.json_files.leases import SessionLeases
from chatbot.adapters.storage.json_files.sessions import SessionFiles
from chatbot.domain.chat import Author, Interruption, Lease, Message, SessionId, TurnId
from chatbot.domain.identity import Owner


class BriefSessions(SessionFiles):
    """The sessions for one piece of brief work, with what of it is not on the disk yet.

    Nobody else may write behind a message that may have to be cut off again, so a lease that is
    given back after a write stays held until `settle`.
    """

    def __init__(
        self, root: Path, files: Files, leases: SessionLeases, appends: SessionAppends
    ) -> None:
        super().__init__(root, files, leases, appends)
        self._taken: list[Lease] = []
        self._given_back: list[Lease] = []
        self._written: Written | None = None

    @property
    def is_settled(self) -> bool:
        """Whether there is nothing to sync."""
        return self._written is None

    def acquire(self, owner: Owner, session_id: SessionId, turn_id: TurnId) -> Lease:
        lease = super().acquire(owner, session_id, turn_id)
        self._taken.append(lease)
        return lease

    def release(self, lease: Lease) -> None:
        if self.is_settled:
            super().release(lease)
        else:
            self._given_back.append(lease)

    def append(
        self,
        lease: Lease,
        role: Author,
        content: str,
        *,
        ts: datetime,
        reason: Interruption | None = None,
    ) -> Message:
        """Write a message; one before it is synced first, on the spot, which only a crash needs.

        A loss of power may spoil the sectors of what is not synced in any order: with two messages
        the first alone, and a log that is torn before its end is damaged.
        """
        self._sync()
        return super().append(lease, role, content, ts=ts, reason=reason)

    def _conclude(self, written: Written) -> None:
        self._written = written

    def settle(self) -> None:
        """Sync what was written, then give back what was given back.

        Raises:
            StorageFailure: a write is not on the disk; leases that were taken for it are given
                back, for nobody will hear of them.
        """
        try:
            self._sync()
        except BaseException:
            self._given_back += self._taken
            raise
        finally:
            for lease in self._given_back:
                super().release(lease)

    def _sync(self) -> None:
        written, self._written = self._written, None
        if written is not None:
            self._appends.settle(written)
