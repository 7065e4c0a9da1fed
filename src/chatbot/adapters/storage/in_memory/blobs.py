"""Blobs in the memory of this process."""

from collections.abc import Mapping, Sequence

from chatbot.domain.ports.blobs import PART_BYTES, Blobs, require_blob_name


class InMemoryBlobs(Blobs):
    """Blobs that last as long as their process."""

    def __init__(self) -> None:
        self._by_name: dict[str, bytes] = {}

    def put(self, name: str, data: bytes) -> None:
        require_blob_name(name)
        self._by_name[name] = data

    def get(self, name: str) -> bytes | None:
        return self._by_name.get(name)

    def get_all(self, names: Sequence[str]) -> Mapping[str, bytes]:
        return {name: self._by_name[name] for name in names if name in self._by_name}

    def part(self, name: str, number: int) -> bytes | None:
        data = self._by_name.get(name, b"")
        return data[number * PART_BYTES : (number + 1) * PART_BYTES] or None

    def names(self, folder: str, *, after: str = "", limit: int | None = None) -> Sequence[str]:
        return [name for name in self._below(folder) if name > after][:limit]

    def size(self, folder: str) -> int:
        return sum(len(self._by_name[name]) for name in self._below(folder))

    def remove(self, name: str) -> None:
        for each in [name, *self._below(name)]:
            self._by_name.pop(each, None)

    def _below(self, folder: str) -> Sequence[str]:
        return sorted(name for name in self._by_name if name.startswith(f"{folder}/"))
