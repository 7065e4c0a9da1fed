"""Decoding text files of an unknown encoding."""

import codecs

from chatbot.domain.extraction import FailureReason
from chatbot.domain.ports.extraction import ExtractionFailed

_MARKS = (
    (codecs.BOM_UTF8, "utf-8"),
    (codecs.BOM_UTF32_LE, "utf-32-le"),
    (codecs.BOM_UTF32_BE, "utf-32-be"),
    (codecs.BOM_UTF16_LE, "utf-16-le"),
    (codecs.BOM_UTF16_BE, "utf-16-be"),
)


def decode(raw: bytes, *, declared: str = "") -> str:
    """Return the text by its byte order mark, as UTF-8, by the declared charset, or as cp1252.

    Line ends become line feeds.

    Raises:
        ExtractionFailed: the bytes are not a text (`TYPE_MISMATCH`).
    """
    return _decoded(raw, declared).replace("\r\n", "\n").replace("\r", "\n")


def _decoded(raw: bytes, declared: str) -> str:
    for mark, encoding in _MARKS:
        if raw.startswith(mark):
            return _strict(raw[len(mark) :], encoding)
    if b"\0" in raw:
        raise ExtractionFailed(FailureReason.TYPE_MISMATCH)
    try:
        return raw.decode("utf-8")
    except UnicodeDecodeError:
        return raw.decode(_text_encoding(declared), "replace")


def _strict(raw: bytes, encoding: str) -> str:
    try:
        text = raw.decode(encoding)
    except UnicodeDecodeError as error:
        raise ExtractionFailed(FailureReason.DAMAGED) from error
    if "\0" in text:
        raise ExtractionFailed(FailureReason.TYPE_MISMATCH)
    return text


def _text_encoding(declared: str) -> str:
    """Return the declared encoding if Python has it for texts, else that of Windows."""
    try:
        "".encode(declared or "cp1252")
        return codecs.lookup(declared or "cp1252").name
    except (LookupError, ValueError):
        return "cp1252"
