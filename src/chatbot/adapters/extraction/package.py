"""The archives of office formats, read within bounds: entries, sizes and the ratio of compression.

Archives inside the archive are never opened.
"""

import struct
import zipfile
import zlib
from collections.abc import Iterator
from typing import BinaryIO

from chatbot.adapters.extraction.outline import one_line
from chatbot.adapters.extraction.xml_events import XmlHandler, parse
from chatbot.domain.extraction import FailureReason
from chatbot.domain.ports.extraction import ExtractionFailed

_MOST_ENTRIES = 10_000
_MOST_BYTES = 256 * 1024 * 1024
"""Of all entries that are read, uncompressed."""
_UNSUSPICIOUS_BYTES = 8 * 1024 * 1024
_HIGHEST_RATIO = 200
_CHUNK = 256 * 1024
_ENCRYPTED_FLAG = 0x1
_DAMAGE = (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, struct.error, ValueError)


class Package:
    """Raises `ExtractionFailed` wherever the archive is damaged, encrypted or out of bounds."""

    def __init__(self, stream: BinaryIO) -> None:
        try:
            self._archive = zipfile.ZipFile(stream)
        except _DAMAGE as error:
            raise ExtractionFailed(FailureReason.DAMAGED) from error
        entries = self._archive.infolist()
        self._entries = {entry.filename: entry for entry in entries}
        if len(entries) > _MOST_ENTRIES or len(self._entries) < len(entries):
            raise ExtractionFailed(FailureReason.ARCHIVE_BOUNDS)
        if any(entry.flag_bits & _ENCRYPTED_FLAG for entry in entries):
            raise ExtractionFailed(FailureReason.ENCRYPTED)
        self._read_bytes = 0

    def __contains__(self, name: str) -> bool:
        return name in self._entries

    def require(self, name: str) -> None:
        """Check that the archive has the entry without which it is of another format."""
        if name not in self:
            raise ExtractionFailed(FailureReason.TYPE_MISMATCH)

    def parse(self, name: str, handler: XmlHandler) -> None:
        """Read an entry as XML; a no-op if absent."""
        if name in self:
            parse(self._chunks(name), handler)

    def check_all(self) -> None:
        """Read every entry, for a library that opens the archive itself, and refuse unsafe XML."""
        for name in self._entries:
            if name.endswith((".xml", ".rels")):
                self.parse(name, XmlHandler())
            else:
                for _ in self._chunks(name):
                    pass

    def read(self, name: str) -> bytes:
        """Return an entry; empty if absent."""
        return b"".join(self._chunks(name)) if name in self else b""

    def _chunks(self, name: str) -> Iterator[bytes]:
        entry = self._entries[name]
        size = 0
        try:
            with self._archive.open(entry) as file:
                while chunk := file.read(_CHUNK):
                    size += len(chunk)
                    self._count(len(chunk), size, entry.compress_size)
                    yield chunk
        except _DAMAGE as error:
            raise ExtractionFailed(FailureReason.DAMAGED) from error

    def _count(self, count: int, size: int, compressed: int) -> None:
        self._read_bytes += count
        is_dense = size > _UNSUSPICIOUS_BYTES and size > _HIGHEST_RATIO * compressed
        if is_dense or self._read_bytes > _MOST_BYTES:
            raise ExtractionFailed(FailureReason.ARCHIVE_BOUNDS)


class _Title(XmlHandler):
    def __init__(self) -> None:
        self.parts: list[str] = []
        self._is_title = False

    def start(self, name: str, _: dict[str, str]) -> None:
        self._is_title = name == "title"

    def end(self, _: str) -> None:
        self._is_title = False

    def text(self, data: str) -> None:
        if self._is_title:
            self.parts.append(data)


def title_of(package: Package, name: str) -> str:
    """Return the title in this entry; empty if absent."""
    title = _Title()
    package.parse(name, title)
    return one_line("".join(title.parts))
