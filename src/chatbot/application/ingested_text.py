"""What an extracted text is for a document that waits for it."""

from collections.abc import Iterable, Sequence

from chatbot.application.document_index import indexed_form
from chatbot.domain.document_jobs import DocumentJob
from chatbot.domain.document_passages import PASSAGES_A_BLOB, StoredPassage
from chatbot.domain.documents import Document, Status
from chatbot.domain.passages import DocumentPassage
from chatbot.domain.ports.extraction import Extracted
from chatbot.domain.search import Passage
from chatbot.domain.session_fields import MAX_TITLE_CHARS

STORED_AT_ONCE = 64 * PASSAGES_A_BLOB
"""Passages of a big document that are stored in one transaction."""


def is_due(document: Document, job: DocumentJob) -> bool:
    """Whether the job's version is still the newest one, and waits."""
    is_newest = document.newest.number == job.version
    return is_newest and document.status in {Status.QUEUED, Status.PROCESSING}


def title_of(document: Document, extracted: Extracted) -> str:
    """Return the title that was given, else that in the file, else that of its name."""
    found = "".join(char for char in extracted.title if char.isprintable()).strip()
    if document.is_title_given or not found:
        return document.title
    return found[:MAX_TITLE_CHARS]


def forms_of(
    passages: Iterable[DocumentPassage],
) -> tuple[Sequence[StoredPassage], Sequence[Passage]]:
    """Return passages as they are stored, and as they are indexed."""
    stored = [
        StoredPassage(
            seq=number, text=each.text, heading=each.heading, start=each.start, end=each.end
        )
        for number, each in enumerate(passages, 1)
    ]
    return stored, indexed_form(stored)


def stored_ahead(passages: Sequence[StoredPassage]) -> int:
    """Return how many are stored before the transaction that lets the version answer."""
    return len(passages) // STORED_AT_ONCE * STORED_AT_ONCE
