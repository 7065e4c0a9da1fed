"""A backup: all data of a store in one compressed file that can be restored into any store.

The file is gzip with one JSON object per line: a header, the items, and a seal with their number
and the SHA-256 of all lines before it. `zcat` shows it. A file without the seal is invalid.
"""

import hashlib
import secrets
import zlib
from collections.abc import Generator, Iterable, Iterator
from datetime import datetime
from pathlib import Path

from chatbot.adapters.filesystem.atomic import exists, opened, write_all
from chatbot.adapters.filesystem.files import Files
from chatbot.adapters.storage.backup_items import item_to_json, items_from_json
from chatbot.adapters.storage.json_values import Damaged, JsonObject, dump, load
from chatbot.domain.chat import SessionId
from chatbot.domain.errors import Conflict
from chatbot.domain.identity import Owner
from chatbot.domain.ports.blobs import Blob
from chatbot.domain.ports.export import (
    Conversation,
    Item,
    StoreExport,
    Unreadable,
)
from chatbot.domain.text import rfc3339

FORMAT = "chatbot backup"
VERSION = 2
_GZIP = 31  # zlib's word for a gzip stream with the largest window
_CHUNK = 1 << 20
_MESSAGE_CHARS, _BYTES_A_CHAR = (
    300,
    6,
)  # a message without its content; an escaped control character
_BLOB_CHARS = 1000  # a blob without its data
MAX_LINE_BYTES = 128 << 20
"""The largest item, as JSON: some 30,000 long turns in one session."""


class BackupFile(StoreExport):
    """A backup. No item is returned before the whole file has been verified.

    Args:
        is_lenient: whether an item that cannot be stored is returned as `Unreadable` instead of
            raising `Damaged`.
    """

    def __init__(self, path: Path, *, is_lenient: bool = False) -> None:
        self._path, self._is_lenient = path, is_lenient

    def items(self) -> Generator[Item | Unreadable]:
        """Returns all items of the file.

        Raises:
            Damaged: the file was truncated or modified, is not a backup, or has a newer version.
        """
        count = self.verify()
        for number, line in enumerate(_lines(self._path)):
            if 0 < number <= count:
                yield from self._items_in(line, f"item {number}")

    def _items_in(self, line: bytes, what: str) -> Iterator[Item | Unreadable]:
        try:
            yield from list(items_from_json(load(line, what), what))
        except Damaged as damage:
            if not self._is_lenient:
                raise
            yield Unreadable(name=what, reason=str(damage).removeprefix(f"{what}: "))

    def session_keys(self) -> set[tuple[Owner, SessionId]]:
        sessions = (item.session for item in self.items() if isinstance(item, Conversation))
        return {(session.owner, session.id) for session in sessions}

    def verify(self) -> int:
        """Read the whole file and return the number of items.

        Raises:
            Damaged: as `items`.
        """
        digest, line, number = hashlib.sha256(), b"", 0
        for number, next_line in enumerate(_lines(self._path)):
            if number == 0:
                self._require_header(next_line)
            digest.update(line)
            line = next_line
        if line != _seal(digest.hexdigest(), number - 1):
            raise _damaged()
        return number - 1

    def _require_header(self, line: bytes) -> None:
        header = JsonObject(load(line, "backup"), "backup")
        if header.found.get("format") != FORMAT:
            raise _damaged()
        header.require_version(VERSION)

    @staticmethod
    def fits(item: Item) -> bool:
        """Whether a backup can hold the item."""
        if isinstance(item, Blob):
            return len(item.data) * 4 // 3 + _BLOB_CHARS < MAX_LINE_BYTES
        if not isinstance(item, Conversation):
            return True
        chars = sum(_MESSAGE_CHARS + len(message.content) for message in item.messages)
        is_small = chars * _BYTES_A_CHAR < MAX_LINE_BYTES
        return is_small or len(dump(item_to_json(item))) < MAX_LINE_BYTES

    def write(self, items: Iterable[Item], *, made_at: datetime) -> None:
        """Write a new backup that only its owner can read; it is verified before it gets its name.

        All items must fit.

        Raises:
            Conflict: the file already exists.
            StorageFailure: it cannot be written, or does not read back as written.
        """
        files, path = Files(), self._path
        unfinished = path.with_name(f".{path.name}.{secrets.token_hex(8)}")
        _require_free(files, path)
        try:
            with opened(files, files.create(unfinished)) as fd:
                for chunk in _packed(items, made_at=made_at):
                    write_all(files, fd, chunk)
                files.fsync(fd)
            BackupFile(unfinished).verify()
            _require_free(files, path)
            files.replace(unfinished, path)
        finally:
            files.remove(unfinished)
        files.fsync_folder(path.absolute().parent)


def _require_free(files: Files, path: Path) -> None:
    if exists(files, path):
        raise Conflict(f"{path}: the file already exists and was not changed. Choose another name.")


def _packed(items: Iterable[Item], *, made_at: datetime) -> Iterator[bytes]:
    pack, digest, count = zlib.compressobj(wbits=_GZIP), hashlib.sha256(), 0
    line = dump({"format": FORMAT, "version": VERSION, "made_at": rfc3339(made_at)}) + b"\n"
    digest.update(line)
    yield pack.compress(line)
    for count, item in enumerate(items, start=1):  # noqa: B007 # how many there were
        line = dump(item_to_json(item)) + b"\n"
        digest.update(line)
        yield pack.compress(line)
    yield pack.compress(_seal(digest.hexdigest(), count)) + pack.flush()


def _seal(digest: str, count: int) -> bytes:
    return dump({"sealed": {"items": count, "sha256": digest}}) + b"\n"


def _lines(path: Path) -> Iterator[bytes]:
    """The lines of the file, each with its newline."""
    begun: list[bytes] = []  # pieces of a line whose end is not unpacked yet
    size = 0
    for piece in _unpacked(path):
        first, *lines = piece.split(b"\n")
        begun.append(first)
        size += len(first)
        if size > MAX_LINE_BYTES:
            raise Damaged(
                f"This is not a valid backup: an item is larger than {MAX_LINE_BYTES >> 20} MiB."
            )
        if lines:
            yield b"".join((*begun, b"\n"))
            yield from (line + b"\n" for line in lines[:-1])
            begun, size = [lines[-1]], len(lines[-1])
    if size:
        raise _damaged()


def _unpacked(path: Path) -> Iterator[bytes]:
    """Yields the content in pieces of at most 1 MiB, whatever its compression ratio.

    Raises:
        Damaged: the file is not a single gzip stream, or something follows it.
    """
    unpack = zlib.decompressobj(wbits=_GZIP)
    try:
        with path.open("rb") as file:
            while not unpack.eof:
                packed = unpack.unconsumed_tail or file.read(_CHUNK)
                piece = unpack.decompress(packed, _CHUNK)
                if not packed and not piece and not unpack.eof:
                    raise _damaged()
                yield piece
            if unpack.unused_data or file.read(1):
                raise _damaged()
    except zlib.error as error:
        raise _damaged() from error


def _damaged() -> Damaged:
    return Damaged(
        "This is not a valid backup, or it was truncated or modified. Use another backup."
    )
