"""Shared by the two layouts of records in files."""

from abc import abstractmethod
from collections.abc import Iterable, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Protocol

from chatbot.adapters.storage.in_memory.records import RecordTable
from chatbot.domain.ports.records import Key, Record

KIND_LOCK = ".lock"
Puts = Sequence[tuple[Record, Record | None]]
"""New records, each with the one that it replaces."""


class RecordFiles(Protocol[Record]):
    """The files of one kind of record.

    `own_folder`, if not None, contains only these files. `is_locked`: the caller holds the lock of
    the kind, and sees the records that it is about to change.
    """

    own_folder: Path | None = None

    @abstractmethod
    def open(self) -> None:
        """Create the folder."""

    def known(self, *key: str) -> RecordTable[Record] | None:  # noqa: ARG002 # a kind may have one file
        """Return the records of the file that contains this key, if it need not be read."""
        return None

    @abstractmethod
    def paths(self) -> list[Path]:
        """Return the files that exist."""

    @abstractmethod
    def locked(self) -> AbstractContextManager[None]:
        """Lock out other writers of this kind, in any process."""

    @abstractmethod
    def get(self, key: Key, *, is_locked: bool) -> Record | None: ...

    @abstractmethod
    def page(
        self, *, field: str | None, value: str, after: Key, limit: int | None, is_locked: bool
    ) -> Sequence[Record]: ...

    @abstractmethod
    def table(self, *, is_locked: bool) -> RecordTable[Record]:
        """Return all records."""

    @abstractmethod
    def tables(self, *, is_locked: bool) -> Sequence[RecordTable[Record]]:
        """Return all records, by file."""

    @abstractmethod
    def change(self, puts: Puts[Record], removed: Iterable[Key] = ()) -> None:
        """Write the changes, those of one file all or none; the caller holds the lock.

        Raises:
            Conflict: see `Records.put`; nothing was written.
        """

    @abstractmethod
    def verify(self, path: Path) -> None:
        """Read one of the files.

        Raises:
            Damaged: the file is damaged.
        """
