"""All data about a person as a ZIP file, streamed while it is read.

Memory use is constant: a page of messages, and its compressed form.
"""

import asyncio
import json
import zipfile
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Mapping, Sequence
from dataclasses import fields
from datetime import datetime
from typing import cast

from chatbot.application.data_export import PersonalData
from chatbot.application.transcripts import Transcript
from chatbot.domain.access import Access
from chatbot.domain.errors import Conflict, NotFound
from chatbot.domain.identity import User
from chatbot.domain.text import rfc3339
from chatbot.entrypoints.http import csv_table, markdown
from chatbot.entrypoints.http.schemas.documents import DocumentInfo
from chatbot.entrypoints.http.schemas.memory import StructuredMemorySchema
from chatbot.entrypoints.http.schemas.oversight import AccessSchema
from chatbot.entrypoints.http.schemas.person_memory import (
    ItemAnswer,
    VersionAnswer,
    settings_in,
)
from chatbot.entrypoints.http.schemas.usage import HEADER, UsageAnswer
from chatbot.entrypoints.http.transcripts import CutOffStream, json_written

_LEVEL = 1  # a page of messages in 3 ms; more saves little of such texts
_LARGE_CHARS = 20_000
"""Compressed in a thread."""
_CUT = "it was reset or deleted during the export"
_SECRETS = frozenset({"password_hash", "token_version", "audit_salt"})
"""Fields of a user that contain no information about the person."""

Pieces = AsyncGenerator[str]
FilePieces = AsyncGenerator[str] | AsyncGenerator[bytes]


def archive_stream(data: PersonalData, defaults: Mapping[str, str]) -> CutOffStream:
    """Returns the archive as a response."""
    headers = {"Content-Disposition": 'attachment; filename="chatbot-export.zip"'}
    return CutOffStream(archive(data, defaults), media_type="application/zip", headers=headers)


async def archive(data: PersonalData, defaults: Mapping[str, str]) -> AsyncGenerator[bytes]:
    """Yield the bytes of the ZIP file."""
    out = _Buffer()
    packed = zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED, compresslevel=_LEVEL)  # type: ignore[call-overload] # it is only written to
    async for name, pieces in _files(data, defaults):
        with packed.open(name, "w", force_zip64=True) as file:
            async for piece in pieces:
                raw = piece if isinstance(piece, bytes) else piece.encode("utf-8", "replace")
                if len(raw) > _LARGE_CHARS:
                    await asyncio.to_thread(file.write, raw)
                else:
                    file.write(raw)
                if taken := out.take():
                    yield taken
    packed.close()
    yield out.take()


class _Buffer:
    """The buffer that `zipfile` writes to. It cannot be read or rewound."""

    def __init__(self) -> None:
        self._pieces: list[bytes] = []

    def write(self, data: bytes) -> int:
        self._pieces.append(bytes(data))
        return len(data)

    def flush(self) -> None:
        """Nothing is kept back."""

    def take(self) -> bytes:
        taken, self._pieces = b"".join(self._pieces), []
        return taken


async def _files(
    data: PersonalData, defaults: Mapping[str, str]
) -> AsyncIterator[tuple[str, FilePieces]]:
    yield "profile.json", _once(_profile(data.user))
    forms: Sequence[tuple[str, Callable[[Transcript], Pieces], str]] = (
        ("json", lambda found: json_written(found, defaults), f'],"incomplete":"{_CUT}"}}'),
        ("md", markdown.written, f"\n({_CUT})\n"),
    )
    async for session in data.sessions():
        for suffix, written, cut_off in forms:
            transcript = await data.transcript(session.id)
            if transcript is not None:
                pieces = _until_cut(written(transcript), cut_off)
                yield f"sessions/{session.id}.{suffix}", pieces
    yield "memory.json", _memory(data, defaults)
    yield "items.json", _items(data)
    yield "documents.json", _documents(data)
    async for document in data.documents():
        for version in document.versions:
            name = f"documents/{document.id}/{version.number}-{version.name or 'document'}"
            yield name, data.content(document, version)
    usage = UsageAnswer.of(await data.usage())
    yield "usage.csv", _once(csv_table.csv_of(HEADER, usage.cells()))
    yield "access-log.json", _accesses(data)


async def _once(text: str) -> Pieces:
    yield text


async def _until_cut(pieces: Pieces, cut_off: str) -> Pieces:
    """Yield the pieces. A conversation that is deleted in the meantime ends with a note."""
    try:
        async for piece in pieces:
            yield piece
    except (NotFound, Conflict):
        yield cut_off


def _profile(user: User) -> str:
    """Return all fields of the user's record except secrets."""
    names = [field.name for field in fields(user) if field.name not in _SECRETS]
    return json.dumps(
        {name: getattr(user, name) for name in names}, default=_json, ensure_ascii=False, indent=2
    )


def _json(value: object) -> object:
    if isinstance(value, datetime):
        return rfc3339(value)
    return list(cast("Sequence[object]", value))


async def _memory(data: PersonalData, defaults: Mapping[str, str]) -> Pieces:
    yield "["
    separator = "\n"
    async for session in data.sessions():
        transcript = await data.transcript(session.id)
        if transcript is not None:
            structured = StructuredMemorySchema.of(transcript.memory, defaults)
            found = {
                "session_id": session.id,
                "summary": transcript.memory.summary,
                "structured_memory": structured.model_dump(mode="json"),
            }
            yield separator + json.dumps(found, ensure_ascii=False)
            separator = ",\n"
    yield "\n]\n"


async def _items(data: PersonalData) -> Pieces:
    """Yield the settings, and the items with their versions. Forgotten items have no text."""
    memory = await data.memory()
    settings = json.dumps(settings_in(memory.settings))
    yield f'{{"settings":{settings},"items":['
    separator = "\n"
    for item in memory.items:
        versions = [VersionAnswer.model_validate(each) for each in item.history]
        found = {
            **ItemAnswer.model_validate(item).model_dump(mode="json"),
            "versions": [each.model_dump(mode="json") for each in versions],
        }
        yield separator + json.dumps(found, ensure_ascii=False)
        separator = ",\n"
    yield "\n]}\n"


async def _documents(data: PersonalData) -> Pieces:
    yield "["
    separator = "\n"
    async for document in data.documents():
        yield separator + DocumentInfo.of(document).model_dump_json()
        separator = ",\n"
    yield "\n]\n"


async def _accesses(data: PersonalData) -> Pieces:
    yield "["
    separator = "\n"
    async for page in data.accesses():
        yield separator + ",\n".join(map(_access, page))
        separator = ",\n"
    yield "\n]\n"


def _access(access: Access) -> str:
    return AccessSchema.model_validate(access).model_dump_json()


DOCUMENTED = {
    "description": "`profile.json`, `sessions/<id>.json` and `.md`, `memory.json`, "
    "`items.json`, `documents.json`, `documents/<id>/<version>-<name>`, `usage.csv`, "
    "`access-log.json`.",
    "content": {
        "application/zip": {
            "schema": {"type": "string", "format": "binary"},
            "example": "PK\u0003\u0004 ...",
        }
    },
}
"""The response for the OpenAPI document."""
