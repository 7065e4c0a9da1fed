"""One of several processes that work on the queue of documents: `python ingest_worker.py URL`.

It says `ready`, and works until it is killed or the queue is empty.
"""
# ruff: noqa: T201 - it prints

import asyncio
import secrets
import sys
from datetime import UTC, datetime

from chatbot.adapters.search.preparing import prepared_apart
from chatbot.application import job_leases
from chatbot.application.ingestion import Ingestion
from chatbot.domain.ports.backend import StorageOptions
from chatbot.entrypoints.storage_backends import backend_of, parse_storage_url
from plain_extractor import PlainExtractor


async def work(url: str) -> None:
    job_leases.RENEWS_EVERY_S = 0.2
    parsed = parse_storage_url(url)
    async with backend_of(parsed).storage(parsed, StorageOptions(replica=url)) as storage:
        worker = Ingestion(
            storage,
            PlainExtractor(),
            prepared_apart,
            workers=4,
            clock=lambda: datetime.now(UTC),
            new_id=lambda: secrets.token_hex(16),
        )
        print("ready", flush=True)
        while await storage.transact(lambda tx: tx.documents.has_jobs()):
            if not await worker.work_once():
                await asyncio.sleep(0.05)


if __name__ == "__main__":
    asyncio.run(work(sys.argv[1]))
