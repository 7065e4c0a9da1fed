"""Stored answers, as their reader may see them.

Answers are stored with references to the passages that they cite. The content of a citation is read
from the document, so documents that were deleted, or that the reader may no longer read, are not
cited.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace

from chatbot.application.recalled_texts import readable_documents
from chatbot.domain.answer_details import Citation
from chatbot.domain.chat import Message, SessionView
from chatbot.domain.document_passages import StoredPassage
from chatbot.domain.documents import Document, DocumentId
from chatbot.domain.identity import Principal
from chatbot.domain.repositories.documents import VersionPassageKey
from chatbot.domain.transaction import Transaction


def shown(tx: Transaction, reader: Principal, messages: Sequence[Message]) -> tuple[Message, ...]:
    """Return the messages with only the citations of documents that the reader may read now."""
    cited = [citation for message in messages for citation in message.citations]
    if not cited:
        return tuple(messages)
    documents = readable_documents(tx, reader, (each.document_id for each in cited))
    keys = [_key(each) for each in cited if each.document_id in documents]
    passages = tx.documents.passages_of_versions(dict.fromkeys(keys))
    return tuple(_shown(message, documents, passages) for message in messages)


def shown_view(tx: Transaction, reader: Principal, view: SessionView) -> SessionView:
    """Return the session with its messages as the reader may see them."""
    return replace(view, messages=shown(tx, reader, view.messages))


def _shown(
    message: Message,
    documents: Mapping[DocumentId, Document],
    passages: Mapping[VersionPassageKey, StoredPassage],
) -> Message:
    if message.details is None:
        return message
    kept = tuple(
        _quoted(each, documents[DocumentId(each.document_id)], passages.get(_key(each)))
        for each in message.citations
        if each.document_id in documents
    )
    return replace(message, details=replace(message.details, citations=kept))


def _quoted(citation: Citation, document: Document, passage: StoredPassage | None) -> Citation:
    """Return the citation with the title that the document has now, and the words of its version."""
    if passage is None:
        return replace(citation.reference, title=document.title)
    quote = passage.text[citation.start - passage.start : citation.end - passage.start]
    return replace(citation, title=document.title, heading=passage.heading, quote=quote)


def _key(citation: Citation) -> VersionPassageKey:
    return DocumentId(citation.document_id), citation.version, citation.seq
