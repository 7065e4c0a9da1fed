"""The lease of a job on a document: as long as it is renewed, no other process takes the job."""

import asyncio
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager, suppress

from chatbot.domain.document_jobs import LEASE, DocumentJob
from chatbot.domain.errors import ChatbotError, Conflict, StorageFailure
from chatbot.domain.ports.runtime import Clock
from chatbot.domain.ports.storage import Storage

RENEWS_EVERY_S = LEASE.total_seconds() / 3


@asynccontextmanager
async def held(storage: Storage, job: DocumentJob, clock: Clock) -> AsyncGenerator[None]:
    """Renew the lease of a job. If this is stopped, the job goes back into the queue at once."""
    renewing = asyncio.create_task(_renew(storage, job, clock))
    try:
        yield
    except asyncio.CancelledError:
        with suppress(ChatbotError):
            await asyncio.shield(give_back(storage, job))
        raise
    finally:
        renewing.cancel()
        await asyncio.wait({renewing})  # awaiting it would hide that this is cancelled, too


async def give_back(storage: Storage, job: DocumentJob) -> None:
    """Put the job back into the queue."""
    await storage.transact(lambda tx: tx.documents.give_back(job))


async def _renew(storage: Storage, job: DocumentJob, clock: Clock) -> None:
    is_held = True
    while is_held:
        await asyncio.sleep(RENEWS_EVERY_S)
        with suppress(StorageFailure, Conflict):
            is_held = await storage.transact(lambda tx: tx.documents.renew_job(job, clock()))
