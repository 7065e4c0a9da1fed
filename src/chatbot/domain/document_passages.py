"""The stored form of the passages of a version: several in each blob.

A blob is one line of JSON with the offset of each passage, followed by the UTF-8 texts, so that
reading one passage does not decode the others.
"""

import json
from collections.abc import Container, Iterator, Sequence
from dataclasses import dataclass

from chatbot.domain.documents import DocumentId

PASSAGES_A_BLOB = 16


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredPassage:
    """A passage of one version of a document.

    `seq` counts from 1 in the version; `heading` is the path of headings above it; `start` and
    `end` are its offsets in the text of the version, in code points.
    """

    seq: int
    text: str
    heading: str = ""
    start: int
    end: int


@dataclass(frozen=True, slots=True, kw_only=True)
class FoundPassage:
    """A passage with the document to which it belongs, as it is shown and cited."""

    document_id: DocumentId
    version: int
    title: str
    passage: StoredPassage


def folder_of(document_id: DocumentId, version: int | None = None) -> str:
    """Return the folder of all blobs of a document, or of one version."""
    return f"documents/{document_id}" + ("" if version is None else f"/{version}")


def content_name(document_id: DocumentId, version: int) -> str:
    """Return the name of the blob with the bytes of a version."""
    return f"{folder_of(document_id, version)}/content"


def passages_folder(document_id: DocumentId, version: int) -> str:
    return f"{folder_of(document_id, version)}/passages"


def passage_blob(document_id: DocumentId, version: int, seq: int) -> str:
    """Return the name of the blob that contains the passage with this number."""
    return f"{passages_folder(document_id, version)}/{(seq - 1) // PASSAGES_A_BLOB}"


def packed(
    document_id: DocumentId, version: int, passages: Sequence[StoredPassage]
) -> Iterator[tuple[str, bytes]]:
    """Yield the blobs of all passages of a version, which are numbered from 1 on."""
    for first in range(0, len(passages), PASSAGES_A_BLOB):
        group = passages[first : first + PASSAGES_A_BLOB]
        yield passage_blob(document_id, version, group[0].seq), _blob(group)


def _blob(group: Sequence[StoredPassage]) -> bytes:
    texts = [each.text.encode() for each in group]
    lines = [
        [each.seq, each.start, each.end, len(text), each.heading]
        for each, text in zip(group, texts, strict=True)
    ]
    head = json.dumps(lines, ensure_ascii=False, separators=(",", ":")).encode()
    return b"\n".join((head, b"".join(texts)))


def unpacked(blob: bytes, *, only: Container[int] | None = None) -> Sequence[StoredPassage]:
    """Return the passages of a blob, or only those with these numbers.

    Raises:
        ValueError: it is not such a blob.
    """
    head, _, texts = blob.partition(b"\n")
    found, offset = [], 0
    for seq, start, end, length, heading in json.loads(head):
        if only is None or seq in only:
            text = texts[offset : offset + length].decode()
            found.append(StoredPassage(seq=seq, text=text, heading=heading, start=start, end=end))
        offset += length
    return found
