"""Receives uploads: the file is streamed into a temporary folder, which is removed after the
request.

The guard has already counted the bytes; see `body`.
"""

import asyncio
import hashlib
import tempfile
from collections.abc import AsyncGenerator, AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import NoReturn

from python_multipart import MultipartParser
from python_multipart.exceptions import FormParserError
from python_multipart.multipart import parse_options_header

from chatbot.application.document_files import Upload
from chatbot.domain.errors import InvalidInput, StorageFull
from chatbot.entrypoints.http.body import too_large
from chatbot.entrypoints.http.errors import BAD_REQUEST, Rejected

FIELDS_BYTES = 64 * 1024
"""The maximum size of everything in a form except the file."""
JSON, FORM = "application/json", "multipart/form-data"
_FLUSHED_BYTES = 1 << 20
_MAX_PARTS = 64
_FILE = "file"


@dataclass(frozen=True, slots=True, kw_only=True)
class ReceivedForm:
    """A form: its fields as texts, each with its values, and its file, if it has one."""

    fields: Mapping[str, list[str]]
    file: Upload | None


class TemporaryFile:
    """A file that is written and digested in a thread, piece by piece."""

    def __init__(self, path: Path, *, max_bytes: int) -> None:
        self._path, self._max_bytes = path, max_bytes
        self._pending = bytearray()
        self._digest, self._size = hashlib.sha256(), 0

    def restart(self) -> None:
        """Discard the written bytes and start again."""
        self._path.unlink(missing_ok=True)
        self._pending.clear()
        self._digest, self._size = hashlib.sha256(), 0

    def add(self, data: bytes) -> None:
        """Add bytes; `flush` writes them.

        Raises:
            Rejected: the file is too large.
        """
        self._size += len(data)
        if self._size > self._max_bytes:
            raise too_large(self._max_bytes)
        self._pending += data

    async def flush(self, *, at_end: bool = False) -> None:
        if at_end or len(self._pending) >= _FLUSHED_BYTES:
            pending, self._pending = bytes(self._pending), bytearray()
            try:
                await asyncio.to_thread(self._write, pending)
            except OSError as error:
                raise StorageFull("The temporary folder has no space left.") from error

    def _write(self, data: bytes) -> None:
        self._digest.update(data)
        with self._path.open("ab") as file:
            file.write(data)

    def upload(self, *, name: str = "", media_type: str = "", is_text: bool = False) -> Upload:
        return Upload(
            path=self._path,
            size=self._size,
            digest=self._digest.hexdigest(),
            name=name,
            media_type=media_type,
            is_text=is_text,
        )


@asynccontextmanager
async def temporary_file(*, max_bytes: int) -> AsyncGenerator[TemporaryFile]:
    """A file in a folder of its own, which only this account can read and which is removed at the end."""
    folder = await asyncio.to_thread(tempfile.TemporaryDirectory, prefix="chatbot-upload-")
    try:
        yield TemporaryFile(Path(folder.name) / "upload", max_bytes=max_bytes)
    finally:
        await asyncio.to_thread(folder.cleanup)


async def receive_file(
    chunks: AsyncIterator[bytes], file: TemporaryFile, *, media_type: str
) -> Upload:
    """Receive a body that is the file itself."""
    async for chunk in chunks:
        file.add(chunk)
        await file.flush()
    await file.flush(at_end=True)
    return file.upload(media_type=media_type)


async def receive_form(
    chunks: AsyncIterator[bytes], file: TemporaryFile, *, content_type: str
) -> ReceivedForm:
    """Receive a body of `multipart/form-data` (RFC 7578).

    Raises:
        Rejected: it is malformed, or has no end.
        InvalidInput: it has more than one file, or the fields are too large.
    """
    form = _Form(file)
    try:
        boundary = parse_options_header(content_type)[1].get(b"boundary", b"")
        if not boundary:
            _reject("The Content-Type header has no boundary.")
        parser = MultipartParser(boundary, form.callbacks())  # type: ignore[arg-type] # a TypedDict
        async for chunk in chunks:
            parser.write(chunk)
            await file.flush()
    except FormParserError:
        _reject("The multipart body is malformed.")
    if not form.has_ended:
        _reject("The multipart body ended early.")
    await file.flush(at_end=True)
    return form.received()


def _reject(detail: str) -> NoReturn:
    raise Rejected(replace(BAD_REQUEST, detail=detail))


@dataclass(slots=True)
class _Part:
    """One part of a form."""

    headers: dict[str, str] = field(default_factory=dict)
    name: str = ""
    is_file: bool = False
    text: bytearray = field(default_factory=bytearray)


class _Form:
    """The parts that the parser has found so far."""

    def __init__(self, file: TemporaryFile) -> None:
        self._file, self._upload_headers = file, dict[str, str]()
        self._fields: dict[str, list[str]] = {}
        self._part = _Part()
        self._header, self._value = bytearray(), bytearray()
        self._file_name: str | None = None
        self._size, self._parts = 0, 0
        self.has_ended = False

    def callbacks(self) -> dict[str, object]:
        return {
            "on_part_begin": self._begin,
            "on_header_field": self._add_header,
            "on_header_value": self._add_value,
            "on_header_end": self._end_header,
            "on_headers_finished": self._end_headers,
            "on_part_data": self._add_data,
            "on_part_end": self._end_part,
            "on_end": self._end,
        }

    def received(self) -> ReceivedForm:
        upload = None
        if self._file_name is not None:
            media_type = self._upload_headers.get("content-type", "")
            upload = self._file.upload(name=self._file_name, media_type=media_type)
        return ReceivedForm(fields=self._fields, file=upload)

    def _begin(self) -> None:
        self._part, self._parts = _Part(), self._parts + 1
        if self._parts > _MAX_PARTS:
            raise InvalidInput("The form has too many fields.")

    def _add_header(self, data: bytes, start: int, end: int) -> None:
        self._header += data[start:end]

    def _add_value(self, data: bytes, start: int, end: int) -> None:
        self._value += data[start:end]

    def _end_header(self) -> None:
        name = self._header.decode("latin-1").lower()
        self._part.headers[name] = self._value.decode("utf-8", "replace")
        self._header, self._value = bytearray(), bytearray()

    def _end_headers(self) -> None:
        disposition = self._part.headers.get("content-disposition", "")
        _, options = parse_options_header(disposition.encode())
        self._part.name = options.get(b"name", b"").decode("utf-8", "replace")
        self._part.is_file = self._part.name == _FILE
        if self._part.is_file:
            if self._file_name is not None:
                raise InvalidInput("The form contains more than one file.", where=(_FILE,))
            self._file_name = options.get(b"filename", b"").decode("utf-8", "replace")
            self._upload_headers = self._part.headers

    def _add_data(self, data: bytes, start: int, end: int) -> None:
        if self._part.is_file:
            self._file.add(data[start:end])
            return
        self._size += end - start
        if self._size > FIELDS_BYTES:
            raise InvalidInput("The form fields are too large.")
        self._part.text += data[start:end]

    def _end_part(self) -> None:
        if self._part.is_file:
            return
        try:
            text = self._part.text.decode()
        except UnicodeDecodeError:
            raise InvalidInput("The form fields must be UTF-8.") from None
        self._fields.setdefault(self._part.name, []).append(text)

    def _end(self) -> None:
        self.has_ended = True
