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


def made_at(known_id: DocumentId) -> datetime:
    """Return the moment at which an id was created."""
    return _EPOCH + (_MOST - int(known_id[:16], 16)) * _MICROSECOND


def is_document_id(text: str) -> bool:
    return _ID.fullmatch(text) is not None
