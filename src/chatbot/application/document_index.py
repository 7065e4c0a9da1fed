"""Changes to a document together with its access class, its passages and the search index.

Where a transaction is not atomic, the document's record is authoritative: passages that it does not
list are never used, whatever the index contains, and `DocumentCheck` repairs the index.
"""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from datetime import datetime

from chatbot.domain.document_passages import StoredPassage, folder_of
from chatbot.domain.documents import (
    ERASED_UPLOADER,
    MANAGERS,
    Document,
    Status,
    Version,
    audience,
    label_atom,
    scope_of,
)
from chatbot.domain.ports.search import Prepared
from chatbot.domain.search import Embedded, Passage, Scope
from chatbot.domain.transaction import Transaction


def classified(document: Document) -> Document:
    """Return the document with the access class of its audience and labels."""
    return replace(document, scope=scope_of(audience(document), document.labels))


def open_class(tx: Transaction, document: Document) -> None:
    """Store who may read the access class of a document."""
    labels = map(label_atom, document.labels)
    tx.index.set_audience(document.scope, [*audience(document), *labels])


def publish(
    tx: Transaction,
    document: Document,
    passages: Sequence[StoredPassage],
    prepared: Prepared,
    *,
    stored: int = 0,
    title: str,
    at: datetime,
    embedded: Embedded | None = None,
) -> Document:
    """Make the newest version the live one: store and index its passages.

    Those of the previous versions stay for the answers that cite them, but are no longer searched.
    Versions that too many others have followed are removed.
    """
    version = replace(document.newest, passages=len(passages))
    older = document.older if document.live is None else (*document.older, document.live)
    ready = replace(
        document,
        title=title,
        status=Status.READY,
        reason="",
        newest=version,
        live=version,
        older=older[len(document.outlived) :],
        updated_at=at,
    )
    tx.documents.put_passages(document.id, version.number, passages[stored:])
    open_class(tx, ready)
    tx.index.put_prepared(ready.scope, prepared)
    if embedded is not None and embedded.vectors:
        tx.index.put_vectors(ready.scope, document.id, embedded)
    tx.documents.put(ready, old=document)
    for each in document.outlived:
        tx.blobs.remove(folder_of(document.id, each.number))
    return ready


def change(tx: Transaction, document: Document, *, old: Document) -> None:
    """Replace the document `old`, and move its passages if the access class has changed."""
    if document.scope == old.scope:
        tx.documents.put(document, old=old)
        return
    open_class(tx, document)
    tx.documents.put(document, old=old)
    if document.live is not None:
        tx.index.move(old.scope, document.scope, document.id)
    leave_class(tx, old)


def remove(tx: Transaction, document: Document) -> None:
    """Remove a document with everything that belongs to it."""
    tx.documents.remove(document.id)
    leave_class(tx, document)


def leave_class(tx: Transaction, document: Document) -> None:
    """Remove the document from its former access class.

    An empty class is cleared, so that nothing of its documents stays in the index.
    """
    if tx.documents.is_alone(document):
        tx.index.clear(document.scope)
    else:
        tx.index.remove(document.scope, document.id)


def erase_person(tx: Transaction, user_id: str, *, at_most: int) -> Counter[str]:
    """Remove the person from access rules, and delete the documents of erased people that no one
    else may read.

    Returns how many documents were deleted and changed; zeros when all is done.
    """
    atom, counts = f"user:{user_id}", Counter[str]()
    tx.documents.lock()
    uploaded = tx.documents.uploaded_by(atom, limit=at_most)
    admitting = tx.documents.page(tx.index.scopes_for([atom]), limit=at_most)
    for document in {each.id: each for each in (*uploaded, *admitting)}.values():
        left = without_person(document, user_id)
        if left.uploaded_by == ERASED_UPLOADER and not left.access.is_shared(ERASED_UPLOADER):
            remove(tx, document)
            counts["documents"] += 1
        else:
            change(tx, left, old=document)
            counts["document_mentions"] += 1
    tx.documents.disown_jobs(atom)
    return counts


def without_person(document: Document, user_id: str) -> Document:
    """Return the document without its uploader, readable only by others."""
    is_theirs = document.uploaded_by == f"user:{user_id}"
    return classified(
        replace(
            document,
            access=document.access.without_user(user_id),
            uploaded_by=ERASED_UPLOADER if is_theirs else document.uploaded_by,
        )
    )


def lacking(tx: Transaction, documents: Sequence[Document]) -> Sequence[Document]:
    """Return the documents whose passages are missing from the index, and store who may read."""
    for document in {each.scope: each for each in documents}.values():
        open_class(tx, document)
    return differing(tx, documents)


def put_again(tx: Transaction, document: Document, prepared: Prepared) -> bool:
    """Index a document again; False if it has changed since its passages were prepared."""
    tx.documents.lock()
    if tx.documents.get(document.id) != document:
        return False
    open_class(tx, document)
    tx.index.put_prepared(document.scope, prepared)
    return True


def differing(tx: Transaction, documents: Iterable[Document]) -> Sequence[Document]:
    """Return the documents whose number of passages differs between the index and the store."""
    found: list[Document] = []
    known: dict[Scope, Mapping[str, int]] = {}
    for document in documents:
        if document.scope not in known:
            known[document.scope] = tx.index.indexed(document.scope)
        wanted = 0 if document.live is None else document.live.passages
        if known[document.scope].get(document.id, 0) != wanted:
            found.append(document)
    return found


def document_scopes(tx: Transaction) -> Sequence[Scope]:
    """Return all access classes of documents: the audience of each contains those who manage
    documents.
    """
    return tx.index.scopes_for([MANAGERS])


def swept(tx: Transaction, scope: Scope) -> int:
    """Remove documents that have left an access class from the index, and return their number."""
    there = {each.id for each in tx.documents.page([scope])}
    gone = [each for each in tx.index.indexed(scope) if each not in there]
    if not there:
        tx.index.clear(scope)
    else:
        for parent in gone:
            tx.index.remove(scope, parent)
    return len(gone)


def failed(document: Document, reason: str, *, at: datetime) -> Document:
    """Return the document whose newest version could not be extracted."""
    return replace(document, status=Status.FAILED, reason=reason, updated_at=at)


def with_version(document: Document, version: Version, *, at: datetime) -> Document:
    """Return the document with a new newest version, which is waiting for extraction."""
    return replace(
        document,
        status=Status.QUEUED,
        reason="",
        newest=version,
        digest=version.digest,
        updated_at=at,
    )


def indexed_form(passages: Sequence[StoredPassage]) -> Sequence[Passage]:
    """Return the passages in the form in which they are indexed."""
    return [Passage(seq=each.seq, text=each.text, heading=each.heading) for each in passages]
