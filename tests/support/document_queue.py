"""A queue of documents that wait for their extraction."""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field, replace
from datetime import datetime

from chatbot.adapters.search.preparing import prepared_apart
from chatbot.application import document_index
from chatbot.application.ingestion import Ingestion
from chatbot.domain.document_passages import content_name
from chatbot.domain.documents import Document, Status
from chatbot.domain.ports.storage import Storage
from chatbot.domain.transaction import Transaction
from chatbot.entrypoints.container.parts import random_id
from plain_extractor import PlainExtractor
from samples import T0
from waiting_documents import document

TEXT = b"# Rules\n\nReceipts are due."


async def emptied(worker: Ingestion) -> None:
    """Work until no job can be taken any more."""
    while await worker.work_once():
        pass


@dataclass
class Queue:
    """A store with documents that wait, and the clock of those who work on them."""

    storage: Storage
    now: datetime = T0
    extractor: PlainExtractor = field(default_factory=PlainExtractor)

    def worker(self, extractor: PlainExtractor | None = None, *, workers: int = 1) -> Ingestion:
        return Ingestion(
            self.storage,
            extractor or self.extractor,
            prepared_apart,
            workers=workers,
            clock=lambda: self.now,
            new_id=random_id,
        )

    async def add(self, number: int, content: bytes = TEXT, *, owner: str = "user:ana") -> Document:
        new = replace(document(number, owner=owner), live=None, status=Status.QUEUED)
        new = document_index.classified(new)

        def work(tx: Transaction) -> None:
            tx.blobs.put(content_name(new.id, 1), content)
            document_index.open_class(tx, new)
            tx.documents.put(new, old=None)
            tx.documents.enqueue(new)

        await self.storage.transact(work)
        return new

    async def get(self, wanted: Document) -> Document:
        found = await self.storage.transact(lambda tx: tx.documents.get(wanted.id))
        assert found is not None
        return found

    async def has_jobs(self) -> bool:
        return await self.storage.transact(lambda tx: tx.documents.has_jobs())


async def until(is_so: Callable[[], bool | Awaitable[bool]]) -> None:
    for _ in range(1000):
        found = is_so()
        if found if isinstance(found, bool) else await found:
            return
        await asyncio.sleep(0.005)
    raise AssertionError("It has not become so.")
