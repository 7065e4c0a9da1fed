"""Repairs inconsistencies that a crash, a power failure or a copy of the store has left.

With atomic transactions, only a restored or migrated store needs it: its index is built here.
"""

import asyncio
import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import timedelta

from chatbot.application import document_index
from chatbot.domain.document_ids import was_made_before
from chatbot.domain.document_passages import folder_of
from chatbot.domain.documents import Document, DocumentId, Status
from chatbot.domain.errors import StorageFailure, cause_of
from chatbot.domain.ports.runtime import Clock
from chatbot.domain.ports.search import Prepare
from chatbot.domain.ports.storage import Storage
from chatbot.domain.search import Scope
from chatbot.domain.transaction import Transaction

logger = logging.getLogger("chatbot.ingestion")

_EVERY_S = 3600.0
_AT_ONCE = 100
_UPLOADED_WITHIN = timedelta(hours=1)
"""A blob without a document may belong to an upload in progress."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Repaired:
    """What was repaired: documents indexed, queued again or removed from the index, and orphaned blobs."""

    indexed: int = 0
    queued: int = 0
    removed: int = 0
    blobs: int = 0

    def __bool__(self) -> bool:
        return bool(self.indexed or self.queued or self.removed or self.blobs)

    def __str__(self) -> str:
        counts = {
            "indexed": self.indexed,
            "queued again": self.queued,
            "removed from the index": self.removed,
            "files without a document": self.blobs,
        }
        return ", ".join(f"{what} {count}" for what, count in counts.items() if count)


class DocumentCheck:
    """Compares documents, queue, index and blobs.

    Args:
        wake: called if something was queued.
    """

    def __init__(
        self, storage: Storage, prepare: Prepare, *, clock: Clock, wake: Callable[[], None]
    ) -> None:
        self._storage, self._prepare = storage, prepare
        self._clock, self._wake = clock, wake

    async def repeat(self) -> None:
        """Check now and periodically, until cancelled."""
        while True:
            try:
                if found := await self.run():
                    logger.info("documents were repaired: %s", found)
            except StorageFailure as error:
                logger.warning("the documents could not be checked: %s", cause_of(error))
            await asyncio.sleep(_EVERY_S)

    async def run(self) -> Repaired:
        """Check all documents, a batch in each transaction."""
        indexed, queued = 0, 0
        after: str | None = ""
        while after is not None:
            lacking, again, after = await self._storage.transact(_checking(after))
            indexed += sum([await self._index(each) for each in lacking])
            queued += again
        scopes = await self._storage.transact(document_index.document_scopes)
        removed = sum([await self._storage.transact(_sweeping(scope)) for scope in scopes])
        found = Repaired(
            indexed=indexed, queued=queued, removed=removed, blobs=await self._remove_lost_blobs()
        )
        if queued:
            self._wake()
        return found

    async def differing(self) -> int:
        """Return how many documents differ between the index and the store."""
        count = 0
        after: str | None = ""
        while after is not None:
            more, after = await self._storage.transact(_comparing(after))
            count += more
        return count

    async def _index(self, document: Document) -> bool:
        """Index a document again; False if it was changed meanwhile, which indexes it, too."""
        passages = await self._storage.transact(lambda tx: tx.documents.all_passages(document))
        prepared = await self._prepare(document.id, document_index.indexed_form(passages))
        return await self._storage.transact(
            lambda tx: document_index.put_again(tx, document, prepared)
        )

    async def _remove_lost_blobs(self) -> int:
        before = self._clock() - _UPLOADED_WITHIN
        lost = await self._storage.transact(_lost_documents)
        old = [each for each in lost if was_made_before(before, each)]
        for each in old:
            folder = folder_of(each)
            await self._storage.transact(lambda tx, folder=folder: tx.blobs.remove(folder))  # type: ignore[misc] # a default
        return len(old)


def _checking(after: str) -> Callable[[Transaction], tuple[Sequence[Document], int, str | None]]:
    """Return the work of a transaction that checks a batch.

    It returns the documents to index, how many were queued, and the id after which the next batch
    begins.
    """

    def work(tx: Transaction) -> tuple[Sequence[Document], int, str | None]:
        documents = tx.documents.all(after=after, limit=_AT_ONCE)
        waiting = [each for each in documents if each.status in {Status.QUEUED, Status.PROCESSING}]
        queued = tx.documents.enqueue_missing(waiting) if waiting else 0
        lacking = document_index.lacking(tx, documents)
        return lacking, queued, documents[-1].id if len(documents) == _AT_ONCE else None

    return work


def _comparing(after: str) -> Callable[[Transaction], tuple[int, str | None]]:
    """Return the work of a transaction that compares a batch, like `_checking`."""

    def work(tx: Transaction) -> tuple[int, str | None]:
        documents = tx.documents.all(after=after, limit=_AT_ONCE)
        count = len(document_index.differing(tx, documents))
        return count, documents[-1].id if len(documents) == _AT_ONCE else None

    return work


def _sweeping(scope: Scope) -> Callable[[Transaction], int]:
    return lambda tx: document_index.swept(tx, scope)


def _lost_documents(tx: Transaction) -> set[DocumentId]:
    """Return the ids of the documents that exist only as blobs."""
    names = tx.blobs.names("documents")
    ids = {DocumentId(name.split("/")[1]) for name in names}
    return ids - tx.documents.get_all(ids).keys()
