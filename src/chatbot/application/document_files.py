"""Uploaded files, and the documents that they become."""

from collections.abc import AsyncGenerator
from dataclasses import dataclass
from functools import partial
from pathlib import Path, PurePath

from chatbot.domain.document_passages import content_name
from chatbot.domain.documents import PRIVATE, Access, Document, DocumentId
from chatbot.domain.ports.blobs import PART_BYTES
from chatbot.domain.ports.storage import Storage
from chatbot.domain.session_fields import MAX_TITLE_CHARS
from chatbot.domain.text import replace_unstorable
from chatbot.domain.transaction import Transaction

MAX_NAME_CHARS = 255
_OTHER_TEXT_TYPES = frozenset({"application/json", "message/rfc822"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Upload:
    """A file that was received. `digest` is the SHA-256 of its bytes in hexadecimal digits.

    `is_text`: it was sent as a text, which without a media type keeps the one of its document.
    """

    path: Path
    size: int
    digest: str
    name: str = ""
    media_type: str = ""
    is_text: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class NewDocument:
    """The metadata of an upload.

    Without a title, it is taken from the file, or from its name. `source` is the path of the file
    that `chatbot ingest` reads.
    """

    title: str | None = None
    access: Access = PRIVATE
    labels: tuple[str, ...] = ()
    source: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredDocument:
    """A document. `has_no_readers`: no active user except the uploader matches its access rule."""

    document: Document
    has_no_readers: bool = False


async def parts_of(
    storage: Storage, document_id: DocumentId, version: int
) -> AsyncGenerator[bytes]:
    """Yield the stored bytes of a version."""
    name, number = content_name(document_id, version), 0
    while part := await storage.transact(partial(_part, name, number)):
        yield part
        if len(part) < PART_BYTES:
            return
        number += 1


def _part(name: str, number: int, tx: Transaction) -> bytes | None:
    return tx.blobs.part(name, number)


def clean_file_name(raw: str) -> str:
    """Return the file name in its stored form: without folders and invisible characters."""
    name = PurePath(replace_unstorable(raw.replace("\\", "/"))).name
    visible = "".join(char for char in name if char.isprintable())
    return visible[-MAX_NAME_CHARS:].strip()


def declared_type(upload: Upload, document: Document) -> str:
    """Return the media type that an upload declares as a new version of the document."""
    if upload.media_type or not upload.is_text:
        return upload.media_type
    known = document.newest.media_type
    return known if known.startswith("text/") or known in _OTHER_TEXT_TYPES else "text/plain"


def title_of(file_name: str) -> str:
    """Return the title of a document without one: the name of its file."""
    return PurePath(file_name).stem.strip()[:MAX_TITLE_CHARS] or "Untitled"
