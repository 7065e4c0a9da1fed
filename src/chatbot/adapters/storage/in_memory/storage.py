"""Storage in dictionaries, and its backend `memory:`."""

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Self

from chatbot.adapters.search.caches import IndexCache
from chatbot.adapters.search.stored_index import StoredIndex
from chatbot.adapters.storage.in_memory.blobs import InMemoryBlobs
from chatbot.adapters.storage.in_memory.counters import InMemoryCounters
from chatbot.adapters.storage.in_memory.index_rows import InMemoryIndexRows
from chatbot.adapters.storage.in_memory.journal import InMemoryJournal
from chatbot.adapters.storage.in_memory.records import InMemoryRecords
from chatbot.adapters.storage.in_memory.session_log import InMemorySessionLog
from chatbot.domain.chat import Lease
from chatbot.domain.errors import StorageUnavailable
from chatbot.domain.permissions import DEFAULT_ROLES, Role
from chatbot.domain.person_memory import MEMORY_ON, MemorySettings
from chatbot.domain.ports.backend import StorageBackend, StorageOptions, StorageUrl
from chatbot.domain.ports.export import ExportTarget
from chatbot.domain.ports.storage import Found, Storage
from chatbot.domain.repositories.roles import ROLES
from chatbot.domain.transaction import Transaction


class InMemoryStorage(Storage):
    """Keeps everything in dictionaries. Work runs immediately and is never interleaved.

    Transactions are not rolled back: what was written before an exception stays.
    """

    def __init__(
        self,
        roles: Mapping[str, Role] = DEFAULT_ROLES,
        *,
        memory_default: MemorySettings = MEMORY_ON,
    ) -> None:
        records = InMemoryRecords({ROLES: roles.values()})
        index = StoredIndex(InMemoryIndexRows(), IndexCache())
        self._transaction = Transaction(
            sessions=InMemorySessionLog(index),
            index=index,
            records=records,
            counters=InMemoryCounters(),
            journal=InMemoryJournal(),
            blobs=InMemoryBlobs(),
            is_atomic=False,
            on_commit=[],
            memory_default=memory_default,
        )

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *exc_info: object) -> None:
        """Keep the data for the next opening."""

    async def transact(self, work: Callable[[Transaction], Found]) -> Found:
        on_commit = self._transaction.on_commit
        try:
            return work(self._transaction)
        finally:  # also after an exception, which undoes nothing
            for call in on_commit:
                call()
            on_commit.clear()

    def renewing(self, lease: Lease) -> AbstractContextManager[None]:  # noqa: ARG002 # it lasts as long as this does
        return nullcontext()

    async def check(self) -> None:
        """Always succeeds."""

    async def inspect(self) -> Sequence[str]:
        return []


class InMemoryBackend(StorageBackend):
    """Process memory: for tests and trials."""

    form = "memory:"

    def parse(self, raw: str) -> StorageUrl | None:
        if raw != self.form:
            return None
        return StorageUrl(
            raw=raw,
            shown="in memory only, lost when the service stops",
            local_folder=Path.cwd() / "data",
            is_persistent=False,
        )

    def storage(self, url: StorageUrl, options: StorageOptions) -> Storage:  # noqa: ARG002 # the port's
        return InMemoryStorage(memory_default=options.memory_default)

    def export(self, url: StorageUrl) -> ExportTarget:
        raise StorageUnavailable(
            f"{url.raw} is lost when its process ends. Name a persistent store."
        )

    def create(self, url: StorageUrl) -> str:  # noqa: ARG002 # the port's
        return "STORAGE_URL=memory: needs no folders"
