"""The port to a storage backend: parses its URLs and opens its stores.

A backend is a folder in `adapters/storage/` and one line in `entrypoints/storage_backends.py`.
"""

from abc import abstractmethod
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from chatbot.domain.person_memory import MEMORY_ON, MemorySettings
from chatbot.domain.ports.export import ExportTarget
from chatbot.domain.ports.storage import Storage


@dataclass(frozen=True, slots=True, kw_only=True)
class StorageUrl:
    """A valid storage URL; `str()` returns it without anything that could be a secret."""

    raw: str = field(repr=False)
    shown: str
    path: Path | None = None
    """The absolute folder or file of a local store."""
    local_folder: Path
    """The folder for files that commands keep on this machine."""
    password: str = field(default="", repr=False)
    is_persistent: bool = True
    is_database: bool = False
    """Whether a database server or library stores the data, rather than files of our own."""

    def __str__(self) -> str:
        return self.shown

    @property
    def scheme(self) -> str:
        """The part before the colon; it names the backend."""
        return self.raw.partition(":")[0]


@dataclass(frozen=True, slots=True, kw_only=True)
class StorageOptions:
    """Options of a running service. Those of connections are ignored by backends without any.

    The defaults suit commands, and any connection pooler. `replica` names this process among those
    that share the store. `memory_default`: the settings of people who have not chosen any.
    """

    connections: int = 1
    prepared_statements: bool = False
    replica: str = ""
    memory_default: MemorySettings = MEMORY_ON


Progress = Callable[[int, int], None]
"""Called during long work with the amount done and the total."""


def unreported(done: int, total: int) -> None:
    """Reports no progress."""


class Tables(Protocol):
    """The versioned tables of a database."""

    @abstractmethod
    def version(self) -> str | None:
        """Returns the schema version; None if there are no tables.

        Raises:
            StorageFailure: the database is unavailable, or belongs to another application.
        """

    @abstractmethod
    def upgrade(self, progress: Progress = unreported) -> str:
        """Creates or upgrades the tables; returns a sentence about what was done.

        Raises:
            StorageFailure: as `version`, or the tables belong to a newer release.
        """


class StorageBackend(Protocol):
    """One kind of store. Importing it and parsing a URL is fast; the rest may import libraries."""

    form: str
    """The form of its URLs, for messages: `json:DIR`."""

    @abstractmethod
    def parse(self, raw: str) -> StorageUrl | None:
        """Returns the URL, with a relative path resolved; None if it is invalid."""

    @abstractmethod
    def storage(self, url: StorageUrl, options: StorageOptions) -> Storage:
        """Returns the store, which is not open yet."""

    @abstractmethod
    def export(self, url: StorageUrl) -> ExportTarget:
        """Returns all data of the store, for copying and backup.

        Raises:
            StorageUnavailable: the store ends with its process.
        """

    @abstractmethod
    def create(self, url: StorageUrl) -> str:
        """Creates a new store, or what is missing in one; returns a sentence about it.

        Raises:
            StorageFailure: it cannot be created.
        """

    def has_store(self, url: StorageUrl) -> bool:
        """Whether there may be a store at this URL, judging by the path."""
        return url.path is None or url.path.exists()

    def tables(self, url: StorageUrl) -> Tables | None:  # noqa: ARG002 # for backends that have them
        """Returns the tables of the store; None if the backend has none."""
        return None
