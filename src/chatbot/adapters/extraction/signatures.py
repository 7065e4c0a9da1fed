"""Whether the bytes of a file fit its format, before it is read."""

from typing import BinaryIO

from chatbot.domain.extraction import FailureReason
from chatbot.domain.ports.extraction import ExtractionFailed

_HEAD_BYTES = 1024
_OLE = b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1"
_ENCRYPTED_PACKAGE = "EncryptedPackage".encode("utf-16-le")
"""Name of the stream in which Office stores an encrypted document."""
_BINARY = (
    b"%PDF-",
    b"PK\x03\x04",
    b"PK\x05\x06",
    _OLE,
    b"{\\rtf",
    b"\x1f\x8b",
    b"BZh",
    b"\xfd7zXZ\x00",
    b"7z\xbc\xaf\x27\x1c",
    b"Rar!\x1a\x07",
    b"\x7fELF",
    b"MZ\x90\x00",
    b"\x89PNG\r\n",
    b"\xff\xd8\xff",
    b"GIF8",
    b"RIFF",
    b"%!PS",
)
"""Starts of files that are not text."""


def check(stream: BinaryIO, signature: bytes, *, is_archive: bool) -> None:
    """Check the first bytes, and rewind the file. An empty signature is that of a text.

    Raises:
        ExtractionFailed: the file is empty, encrypted by Office, or of another format.
    """
    head = stream.read(_HEAD_BYTES)
    stream.seek(0)
    if not head:
        raise ExtractionFailed(FailureReason.EMPTY)
    if is_archive and head.startswith(_OLE):
        encrypted = _ENCRYPTED_PACKAGE in stream.read()
        raise ExtractionFailed(
            FailureReason.ENCRYPTED if encrypted else FailureReason.TYPE_MISMATCH
        )
    if not _fits(head, signature):
        raise ExtractionFailed(FailureReason.TYPE_MISMATCH)


def _fits(head: bytes, signature: bytes) -> bool:
    if signature == b"%PDF-":
        return b"%PDF-" in head  # readers accept bytes before it
    if signature:
        return head.lstrip().startswith(signature)
    return not head.startswith(_BINARY)
