"""The backend `json:DIR`."""

import asyncio
from pathlib import Path

from chatbot.adapters.storage.json_files.export import JsonFileExport
from chatbot.adapters.storage.json_files.storage import JsonFileStorage
from chatbot.domain.ports.backend import StorageBackend, StorageOptions, StorageUrl
from chatbot.domain.ports.export import ExportTarget
from chatbot.domain.ports.storage import Storage

_FOLDERS = ("auth", "memory")


class JsonFileBackend(StorageBackend):
    """A folder of JSON files."""

    form = "json:DIR"

    def parse(self, raw: str) -> StorageUrl | None:
        folder = raw.removeprefix("json:")
        if not folder.strip("/ "):
            return None
        path = Path.cwd() / folder
        return StorageUrl(raw=raw, shown=str(path), path=path, local_folder=path)

    def storage(self, url: StorageUrl, options: StorageOptions) -> Storage:
        return JsonFileStorage(url.local_folder, memory_default=options.memory_default)

    def export(self, url: StorageUrl) -> ExportTarget:
        return JsonFileExport(url.local_folder)

    def create(self, url: StorageUrl) -> str:
        root = url.local_folder

        async def make() -> None:
            async with JsonFileStorage(root) as storage:
                await storage.make_initial_records()

        asyncio.run(make())
        for folder in (root, *(root / name for name in _FOLDERS)):
            folder.chmod(0o700)  # a checkout creates some of them, readable by everyone
        return f"data folder: {root}"

    def has_store(self, url: StorageUrl) -> bool:
        return any((url.local_folder / name).is_dir() for name in _FOLDERS)
