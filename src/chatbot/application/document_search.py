"""Searches the documents that a caller may read."""

from collections.abc import Collection, Sequence

from chatbot.application.document_rules import require_reading
from chatbot.domain.document_passages import FoundPassage
from chatbot.domain.documents import DocumentId, clean_labels, is_readable
from chatbot.domain.identity import Principal
from chatbot.domain.ports.search import Search
from chatbot.domain.ports.storage import Storage
from chatbot.domain.transaction import Transaction


class DocumentSearch:
    """Finds passages.

    Documents that the caller may not read affect neither the ranking nor the results.
    """

    def __init__(self, storage: Storage, search: Search) -> None:
        self._storage, self._search = storage, search

    async def passages(
        self, principal: Principal, query: str, *, limit: int, labels: Collection[str] = ()
    ) -> Sequence[FoundPassage]:
        """Return the best matching passages.

        Raises:
            Forbidden: the caller may not read documents.
            InvalidInput: a label is invalid.
        """
        atoms, wanted = require_reading(principal), clean_labels(labels)
        hits = await self._search.documents(atoms, query, limit=limit, labels=wanted)
        keys = [(DocumentId(hit.parent), hit.seq) for hit in hits]

        def work(tx: Transaction) -> Sequence[FoundPassage]:
            return readable_passages(tx, atoms, keys)

        return await self._storage.transact(work) if keys else []


def readable_passages(
    tx: Transaction, atoms: Collection[str], keys: Sequence[tuple[DocumentId, int]]
) -> Sequence[FoundPassage]:
    """Return the passages that a caller with these atoms may read now, in the order of the keys.

    Access may have been revoked since the search.
    """
    documents = tx.documents.get_all(document_id for document_id, _ in keys)
    permitted = [
        key for key in keys if key[0] in documents and is_readable(documents[key[0]], atoms)
    ]
    found = tx.documents.passages(permitted)
    return [found[key] for key in permitted if key in found]
