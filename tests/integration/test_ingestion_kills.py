"""kill -9 while documents are being indexed: none is lost, half done or indexed twice.

In CI a few kills; `CHATBOT_TEST_EXAMPLES=40` kills as often.
"""

import asyncio
import os
import random
import subprocess
import sys
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path

import pytest

from chatbot.adapters.search.preparing import prepared_apart
from chatbot.application.document_check import DocumentCheck
from chatbot.application.document_index import classified, open_class
from chatbot.domain.document_passages import content_name
from chatbot.domain.documents import Access, Document, Status, owner_atom
from chatbot.domain.identity import Owner
from chatbot.domain.ports.storage import Storage
from chatbot.domain.repositories.documents import DOCUMENT_JOBS
from chatbot.domain.transaction import Transaction
from chatbot.entrypoints.container.parts import build_storage, utc_now
from service import settings_for_tests
from waiting_documents import document

KILLS = int(os.environ.get("CHATBOT_TEST_EXAMPLES", "2"))
DOCUMENTS = 16
WORKER = Path(__file__).parents[1] / "support" / "ingest_worker.py"
TEXT = "\n\n".join(f"# Part {n}\n\nThe otter number {n} swims." for n in range(10))
ANA = Owner(kind="user", id="ana")


def add(tx: Transaction) -> None:
    for number in range(DOCUMENTS):
        new = document(number, owner=owner_atom(ANA))
        new = classified(
            replace(new, live=None, status=Status.QUEUED, access=Access(public=number % 2 == 0))
        )
        tx.blobs.put(content_name(new.id, 1), TEXT.encode())
        open_class(tx, new)
        tx.documents.put(new, old=None)
        tx.documents.enqueue(new)


def begin(url: str) -> "subprocess.Popen[str]":
    path = os.pathsep.join([str(WORKER.parent), *sys.path])
    process = subprocess.Popen(  # our own program
        [sys.executable, str(WORKER), url],
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": path},
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"
    process.stdout.close()
    return process


def release(tx: Transaction) -> None:
    """Let the leases of those who were killed end now."""
    for job in tx.records.page(DOCUMENT_JOBS):
        if job.held_until is not None:
            tx.records.put(DOCUMENT_JOBS, replace(job, held_until=None, attempts=0), expected=job)


def state_of(tx: Transaction) -> tuple[list[Document], dict[str, int], list[str]]:
    documents = list(tx.documents.all())
    counts: dict[str, int] = {}
    for scope in {each.scope for each in documents}:
        counts |= tx.index.indexed(scope)
    return documents, counts, list(tx.blobs.names("documents"))


@pytest.mark.parametrize("kind", ["json", "sqlite"])
async def test_killed_workers_lose_no_document(
    kind: str, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    url = f"json:{tmp_path / 'data'}"
    if kind == "sqlite":
        url = f"sqlite:///{request.getfixturevalue('sqlite_store')}"
    settings = settings_for_tests(storage_url=url)
    async with build_storage(settings) as storage:
        await storage.transact(add)
    chance = random.Random(7)  # no secret
    for _ in range(KILLS):
        process = await asyncio.to_thread(begin, url)
        await asyncio.sleep(chance.uniform(0.02, 0.3))
        process.kill()
        await asyncio.to_thread(process.wait)
        async with build_storage(settings) as storage:
            await storage.transact(release)
    last = await asyncio.to_thread(begin, url)
    assert await asyncio.to_thread(last.wait, 60) == 0
    async with build_storage(settings) as storage:
        await check_everything(storage)


async def check_everything(storage: Storage) -> None:
    def in_an_hour() -> datetime:
        return utc_now() + timedelta(hours=2)

    await DocumentCheck(storage, prepared_apart, clock=in_an_hour, wake=lambda: None).run()
    documents, counts, blobs = await storage.transact(state_of)
    assert len(documents) == DOCUMENTS
    assert {(each.status, each.newest.passages) for each in documents} == {(Status.READY, 20)}
    assert counts == {each.id: 20 for each in documents}
    assert len(blobs) == DOCUMENTS * (1 + 2)
