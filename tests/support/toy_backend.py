"""A storage backend that the product does not have: `toy:DIR`, a folder in another layout."""

from pathlib import Path

from chatbot.adapters.storage.json_files.export import JsonFileExport
from chatbot.adapters.storage.json_files.storage import JsonFileStorage
from chatbot.domain.ports.backend import StorageBackend, StorageOptions, StorageUrl
from chatbot.domain.ports.export import ExportTarget
from chatbot.domain.ports.storage import Storage


class ToyBackend(StorageBackend):
    """Stores its files in `DIR/inner`."""

    form = "toy:DIR"

    def parse(self, raw: str) -> StorageUrl | None:
        path = Path.cwd() / raw.removeprefix("toy:")
        return StorageUrl(raw=raw, shown=f"toys in {path.name}", path=path, local_folder=path)

    def storage(self, url: StorageUrl, options: StorageOptions) -> Storage:
        return JsonFileStorage(url.local_folder / "inner")

    def export(self, url: StorageUrl) -> ExportTarget:
        return JsonFileExport(url.local_folder / "inner")

    def create(self, url: StorageUrl) -> str:
        (url.local_folder / "inner").mkdir(mode=0o700, parents=True)
        return f"a box for {url}"
