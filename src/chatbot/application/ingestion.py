"""Extracts the text of uploaded documents, splits it into passages and indexes them.

The queue is in the store. A job is held by a lease that its process renews, so that another process
takes over the job of a process that has died, and none is lost.
"""

import asyncio
import logging
import tempfile
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

from chatbot.application import document_index
from chatbot.application.document_files import parts_of
from chatbot.application.document_vectors import DocumentVectors
from chatbot.application.ingested_text import (
    STORED_AT_ONCE,
    forms_of,
    is_due,
    stored_ahead,
    title_of,
)
from chatbot.application.job_leases import give_back, held
from chatbot.domain.document_jobs import MAX_ATTEMPTS, DocumentJob
from chatbot.domain.document_passages import StoredPassage, folder_of
from chatbot.domain.documents import Document, Status
from chatbot.domain.errors import ChatbotError, cause_of
from chatbot.domain.ports.extraction import Extracted, ExtractionFailed, Extractor
from chatbot.domain.ports.runtime import Clock, NewId
from chatbot.domain.ports.search import Prepare, Prepared
from chatbot.domain.ports.storage import Storage
from chatbot.domain.ports.telemetry import NO_TELEMETRY, Activity, Telemetry
from chatbot.domain.search import Embedded
from chatbot.domain.transaction import Transaction

logger = logging.getLogger("chatbot.ingestion")

LOOKS_EVERY_S = 5.0
"""How often a process checks for jobs of other processes; its own uploads wake it immediately."""
_GIVEN_UP = "The file could not be read after several attempts."


@dataclass(frozen=True, slots=True, kw_only=True)
class _Content:
    """The result of processing a file."""

    extracted: Extracted
    passages: Sequence[StoredPassage]
    prepared: Prepared
    embedded: Embedded | None


class Ingestion:
    """Processes the queue of documents.

    Args:
        workers: how many documents all processes together process at the same time.
        vectors: embeds passages, if there is an embedding model.
    """

    def __init__(
        self,
        storage: Storage,
        extractor: Extractor,
        prepare: Prepare,
        *,
        workers: int,
        clock: Clock,
        new_id: NewId,
        vectors: DocumentVectors | None = None,
        telemetry: Telemetry = NO_TELEMETRY,
    ) -> None:
        self._storage, self._extractor, self._prepare = storage, extractor, prepare
        self._vectors = vectors
        self._workers, self._clock, self._new_id = workers, clock, new_id
        self._telemetry = telemetry
        self._tasks: list[asyncio.Task[None]] = []
        self._woken = asyncio.Event()

    def start(self) -> None:
        """Start processing the queue, until `aclose`."""
        self._tasks = [asyncio.create_task(self._work()) for _ in range(self._workers)]

    def wake(self) -> None:
        """Check the queue now."""
        self._woken.set()

    async def aclose(self) -> None:
        """Stop, and close the extractor. Unfinished jobs go back into the queue."""
        for task in self._tasks:
            task.cancel()
        if self._tasks:
            await asyncio.wait(self._tasks)
        self._tasks = []
        await self._extractor.aclose()

    async def work_once(self) -> bool:
        """Do one job; False if there is none, or the maximum is already being processed."""
        taken = await self._take()
        if taken is None:
            return False
        job, document = taken
        if document is not None:
            with self._telemetry.during(Activity.INGESTION):
                await self._do(job, document)
        return True

    async def _work(self) -> None:
        while True:
            self._woken.clear()
            try:
                is_busy = await self.work_once()
            except ChatbotError as error:
                logger.warning("a document could not be processed: %s", cause_of(error))
                is_busy = False
            except Exception:  # it is tried again, and one document must not stop the others
                logger.exception("a document could not be processed")
                is_busy = True
            if not is_busy:
                with suppress(TimeoutError):
                    async with asyncio.timeout(LOOKS_EVERY_S):
                        await self._woken.wait()

    async def _take(self) -> tuple[DocumentJob, Document | None] | None:
        """Hold the next job; with its document, if there is anything to do."""
        if not await self._storage.transact(lambda tx: tx.documents.has_jobs()):
            return None
        begin = partial(self._begin, self._new_id())
        beginning = asyncio.ensure_future(self._storage.transact(begin))
        try:
            return await asyncio.shield(beginning)
        except asyncio.CancelledError:
            await self._give_back_taken(beginning)
            raise

    async def _give_back_taken(
        self, beginning: "asyncio.Future[tuple[DocumentJob, Document | None] | None]"
    ) -> None:
        """Release a job that was taken while stopping."""
        with suppress(ChatbotError):
            taken = await beginning
            if taken is not None:
                await give_back(self._storage, taken[0])

    def _begin(self, by: str, tx: Transaction) -> tuple[DocumentJob, Document | None] | None:
        tx.documents.lock()
        job = tx.documents.take_job(by, self._clock(), most=self._workers)
        if job is None:
            return None
        document = tx.documents.get(job.document_id)
        if document is None or not is_due(document, job):
            tx.documents.end_job(job)
            return job, None
        if job.attempts > MAX_ATTEMPTS:
            self._put_failed(tx, document, _GIVEN_UP)
            tx.documents.end_job(job)
            return job, None
        begun = replace(document, status=Status.PROCESSING)
        if begun != document:
            tx.documents.put(begun, old=document)
        return job, begun

    async def _do(self, job: DocumentJob, document: Document) -> None:
        async with held(self._storage, job, self._clock):
            try:
                content = await self._content(document)
                await self._store(job, content.passages)
            except ExtractionFailed as error:
                await self._storage.transact(partial(self._fail, job, str(error)))
                return
            published = await self._storage.transact(partial(self._finish, job, content))
            if published is not None and self._vectors is not None:
                self._vectors.published(published, content.embedded)

    async def _content(self, document: Document) -> _Content:
        extracted = await self._extracted(document)
        passages, indexed = await asyncio.to_thread(forms_of, extracted.passages)
        return _Content(
            extracted=extracted,
            passages=passages,
            prepared=await self._prepare(document.id, indexed),
            embedded=None if self._vectors is None else await self._vectors.of(indexed),
        )

    async def _store(self, job: DocumentJob, passages: Sequence[StoredPassage]) -> None:
        """Store most passages of a big document in transactions of their own, which are short."""
        for first in range(0, stored_ahead(passages), STORED_AT_ONCE):
            some = passages[first : first + STORED_AT_ONCE]
            await self._storage.transact(partial(self._put_some, job, some))

    def _put_some(
        self, job: DocumentJob, passages: Sequence[StoredPassage], tx: Transaction
    ) -> None:
        tx.documents.lock()
        document = tx.documents.get(job.document_id)
        if tx.documents.is_held(job) and document is not None and is_due(document, job):
            tx.documents.put_passages(document.id, job.version, passages)

    async def _extracted(self, document: Document) -> Extracted:
        version = document.newest
        with tempfile.TemporaryDirectory(prefix="chatbot-") as folder:
            path = Path(folder) / "document"
            await self._write(path, document)
            return await self._extractor.extract(path, version.media_type, version.name)

    async def _write(self, path: Path, document: Document) -> None:
        """Write the newest version into a file, which is empty if the version was removed in the
        meantime.
        """
        with path.open("wb") as file:
            async for part in parts_of(self._storage, document.id, document.newest.number):
                await asyncio.to_thread(file.write, part)

    def _finish(self, job: DocumentJob, content: _Content, tx: Transaction) -> Document | None:
        """Make the version the live one, unless the job or the document was lost in the meantime."""
        tx.documents.lock()
        document, published = tx.documents.get(job.document_id), None
        if not tx.documents.is_held(job):
            return None
        if document is not None and is_due(document, job):
            published = document_index.publish(
                tx,
                document,
                content.passages,
                content.prepared,
                stored=stored_ahead(content.passages),
                title=title_of(document, content.extracted),
                at=self._clock(),
                embedded=content.embedded,
            )
        tx.documents.end_job(job)
        return published

    def _fail(self, job: DocumentJob, reason: str, tx: Transaction) -> None:
        """Keep only the record with the reason, and nothing else of the version."""
        tx.documents.lock()
        document = tx.documents.get(job.document_id)
        if not tx.documents.is_held(job):
            return
        if document is not None and is_due(document, job):
            self._put_failed(tx, document, reason)
        tx.documents.end_job(job)

    def _put_failed(self, tx: Transaction, document: Document, reason: str) -> None:
        tx.documents.put(document_index.failed(document, reason, at=self._clock()), old=document)
        tx.blobs.remove(folder_of(document.id, document.newest.number))
