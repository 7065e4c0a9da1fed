"""Ids of documents: those of later documents sort first."""

import re
from datetime import UTC, datetime, timedelta

from chatbot.domain.documents import DocumentId

_ID = re.compile("[0-9a-f]{32}")
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)
_MOST = 2**64 - 1


def document_id(at: datetime, random_id: str) -> DocumentId:
    """Return an id that sorts before those of earlier moments: 32 hexadecimal digits."""
    return DocumentId(f"{_MOST - (at - _EPOCH) // _MICROSECOND:016x}{random_id[:16]}")


def was_made_before(at: datetime, known_id: str) -> bool:
    """Whether it is the id of a document that was created before this moment."""
    return is_document_id(known_id) and known_id[:16] > document_id(at, "")


def is_document_id(text: str) -> bool:
    return _ID.fullmatch(text) is not None
