"""Blobs as files: one line of JSON with name, size and checksum, and the bytes after it.

They are in up to 256 folders; a file's name is that of the blob with `.` for `/`.
"""

import hashlib
import secrets
import zlib
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from chatbot.adapters.filesystem.atomic import (
    WORK,
    exists,
    make_durable_folder,
    make_durable_folders,
    opened,
    read,
    write_new,
)
from chatbot.adapters.filesystem.files import Files
from chatbot.adapters.storage.json_values import (
    VERSION,
    Damaged,
    JsonObject,
    dump,
    load,
    log_damage,
)
from chatbot.domain.errors import StorageFailure
from chatbot.domain.ports.blobs import PART_BYTES, Blobs, is_blob_name, require_blob_name

BLOBS = "blobs"
SHARDS = frozenset(f"{number:02x}" for number in range(256))
_MAX_HEAD = 1024


class JsonBlobs(Blobs):
    """The blobs in a folder, which several processes may share."""

    def __init__(self, root: Path, files: Files) -> None:
        self._root, self._files = root / BLOBS, files

    def put(self, name: str, data: bytes) -> None:
        require_blob_name(name)
        path, work = self._path(name), self._root / WORK
        make_durable_folders(self._files, path.parent)
        make_durable_folder(self._files, work)
        unfinished = work / f"{path.name}.{secrets.token_hex(8)}"
        write_new(self._files, unfinished, _head(name, data) + data)
        try:
            self._files.replace(unfinished, path)
        except (StorageFailure, FileNotFoundError):
            self._files.remove(unfinished)
            raise
        self._files.fsync_folder(path.parent)

    def get(self, name: str) -> bytes | None:
        path = self._path(name)
        try:
            return decode_blob(read(self._files, path), name)
        except FileNotFoundError:
            return None
        except Damaged as damage:
            log_damage(path, damage)
            raise

    def get_all(self, names: Sequence[str]) -> Mapping[str, bytes]:
        found = {name: self.get(name) for name in names}
        return {name: data for name, data in found.items() if data is not None}

    def part(self, name: str, number: int) -> bytes | None:
        try:
            with opened(self._files, self._files.open_to_read(self._path(name))) as fd:
                begins_at = self._files.read_at(fd, _MAX_HEAD, 0).find(b"\n") + 1
                offset = begins_at + number * PART_BYTES
                return self._files.read_at(fd, PART_BYTES, offset) or None
        except FileNotFoundError:
            return None

    def names(self, folder: str, *, after: str = "", limit: int | None = None) -> Sequence[str]:
        found = sorted(name_of(path) for path in self._below(folder))
        return [name for name in found if name > after][:limit]

    def size(self, folder: str) -> int:
        """The sizes of the files, which are about 150 bytes larger than the blobs."""
        return sum(self._size(path) for path in self._below(folder))

    def remove(self, name: str) -> None:
        for path in [self._path(name), *self._below(name)]:
            self._files.remove(path)
            if exists(self._files, path.parent):
                self._files.fsync_folder(path.parent)

    def all(self) -> Iterator[str]:
        """Yield the names of all blobs, in no particular order."""
        for shard in self._shards():
            yield from (name_of(path) for path in self._files_in(shard))

    def _below(self, folder: str) -> Iterator[Path]:
        is_of_one = "/" in folder
        for shard in [self._path(folder).parent] if is_of_one else self._shards():
            prefix = f"{folder}/".replace("/", ".")
            yield from (path for path in self._files_in(shard) if path.name.startswith(prefix))

    def _shards(self) -> list[Path]:
        names = self._files.listdir(self._root) if exists(self._files, self._root) else []
        return [self._root / name for name in sorted(SHARDS.intersection(names))]

    def _files_in(self, shard: Path) -> list[Path]:
        names = self._files.listdir(shard) if exists(self._files, shard) else []
        return [shard / name for name in sorted(names) if is_blob_name(name.replace(".", "/"))]

    def _path(self, name: str) -> Path:
        """The path of a blob; all those below a folder of two words are in one folder."""
        first_two = "/".join(name.split("/")[:2])
        shard = hashlib.sha256(first_two.encode()).hexdigest()[:2]
        return self._root / shard / name.replace("/", ".")

    def _size(self, path: Path) -> int:
        try:
            return self._files.status_of(path).size
        except FileNotFoundError:  # removed in the meantime
            return 0


def name_of(path: Path) -> str:
    """Return the name of the blob in a file."""
    return path.name.replace(".", "/")


def decode_blob(raw: bytes, name: str) -> bytes:
    """Return the bytes in a file.

    Raises:
        Damaged: the bytes were modified, or belong to another blob.
    """
    begins_at = raw.find(b"\n", 0, _MAX_HEAD) + 1
    if not begins_at:
        raise Damaged("blob: empty or cut off")
    head = JsonObject(load(raw[:begins_at], "blob"), "blob")
    head.require_version()
    data = raw[begins_at:]
    if raw[:begins_at] != _head(name, data):
        raise Damaged("blob: checksum mismatch")
    return data


def _head(name: str, data: bytes) -> bytes:
    found = {"version": VERSION, "name": name, "size": len(data), "crc32": zlib.crc32(data)}
    return dump(found) + b"\n"
