"""The backend `memory:`."""

from pathlib import Path

from chatbot.adapters.storage.in_memory.storage import InMemoryStorage
from chatbot.domain.errors import StorageUnavailable
from chatbot.domain.ports.backend import StorageBackend, StorageOptions, StorageUrl
from chatbot.domain.ports.export import ExportTarget
from chatbot.domain.ports.storage import Storage


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
        return InMemoryStorage()

    def export(self, url: StorageUrl) -> ExportTarget:
        raise StorageUnavailable(f"{url.raw} ends with its process. Name a persistent store.")

    def create(self, url: StorageUrl) -> str:  # noqa: ARG002 # the port's
        return "STORAGE_URL=memory: needs no folders"
