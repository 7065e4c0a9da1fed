"""Documents in a store, for tests of what uses them."""

from collections.abc import Collection, Sequence
from dataclasses import replace
from datetime import datetime
from hashlib import sha256

from chatbot.domain.document_passages import StoredPassage
from chatbot.domain.documents import (
    Access,
    Document,
    DocumentId,
    Status,
    Version,
    audience,
    label_atom,
    owner_atom,
    scope_of,
)
from chatbot.domain.identity import Owner
from chatbot.domain.search import Passage
from chatbot.domain.transaction import Transaction
from samples import T0

PUBLIC = Access(public=True)


def put_document(
    tx: Transaction,
    title: str,
    texts: Sequence[str],
    *,
    uploader: Owner,
    access: Access = PUBLIC,
    labels: Collection[str] = (),
    created_at: datetime = T0,
) -> Document:
    """Store a document with these passages; its id is made of the title."""
    digest = sha256(title.encode()).hexdigest()
    version = Version(number=1, media_type="text/plain", size=1, digest=digest, passages=len(texts))
    made = Document(
        id=DocumentId(digest[:32]),
        title=title,
        access=access,
        labels=tuple(sorted(labels)),
        scope=scope_of((), ()),
        uploaded_by=owner_atom(uploader),
        digest=digest,
        created_at=created_at,
        updated_at=T0,
        status=Status.READY,
        newest=version,
        live=version,
    )
    document = replace(made, scope=scope_of(audience(made), made.labels))
    tx.documents.put(document, old=None)
    stored = passages_of(texts)
    tx.documents.put_passages(document.id, 1, stored)
    _index(tx, document, stored)
    return document


def passages_of(texts: Sequence[str]) -> Sequence[StoredPassage]:
    """Passages with these texts, which follow each other in the document."""
    found, start = [], 0
    for seq, text in enumerate(texts, start=1):
        end = start + len(text)
        found.append(StoredPassage(seq=seq, text=text, heading="Rules", start=start, end=end))
        start = end + 2
    return found


def set_access(tx: Transaction, document: Document, access: Access) -> Document:
    """Store a document with another rule."""
    changed = replace(document, access=access)
    changed = replace(changed, scope=scope_of(audience(changed), changed.labels))
    tx.documents.put(changed, old=document)
    tx.index.remove(document.scope, document.id)
    _index(tx, changed, tx.documents.all_passages(changed))
    return changed


def _index(tx: Transaction, document: Document, stored: Sequence[StoredPassage]) -> None:
    tx.index.set_audience(document.scope, [*audience(document), *map(label_atom, document.labels)])
    passages = [Passage(seq=each.seq, text=each.text, heading=each.heading) for each in stored]
    tx.index.put(document.scope, document.id, passages)
