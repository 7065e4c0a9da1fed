"""The queue of documents: none is lost, in any process, and each is processed once."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest

from analysis import analysed_in_transactions
from chatbot.application import document_index
from chatbot.domain.document_jobs import LEASE, MAX_ATTEMPTS
from chatbot.domain.documents import Access, Status
from chatbot.domain.errors import StorageUnavailable
from chatbot.domain.ports.extraction import Extracted
from chatbot.domain.ports.storage import Storage
from chatbot.domain.repositories.documents import DOCUMENT_JOBS
from document_queue import Queue, emptied, until
from plain_extractor import BROKEN, PlainExtractor


@pytest.fixture
async def queue(closed_storage: Storage) -> AsyncIterator[Queue]:
    async with closed_storage:
        yield Queue(closed_storage)


async def test_documents_are_extracted_and_indexed_in_turn(queue: Queue) -> None:
    made = [await queue.add(n) for n in range(3)]
    broken = await queue.add(3, BROKEN)
    empty = await queue.add(4, b"")
    await emptied(queue.worker())
    for each in made:
        found = await queue.get(each)
        assert (found.status, found.live) == (Status.READY, found.newest)
        assert found.newest.passages == 2
        counts = await queue.storage.transact(lambda tx, s=found.scope: tx.index.indexed(s))  # type: ignore[misc] # a default
        assert counts[each.id] == 2
    assert (await queue.get(broken)).reason == "The file is damaged or incomplete."
    assert (await queue.get(empty)).reason == "The file is empty."
    assert not await queue.has_jobs()


async def test_no_transaction_waits_for_the_analysis_of_passages(
    queue: Queue, monkeypatch: pytest.MonkeyPatch
) -> None:
    analysed = analysed_in_transactions(queue.storage, monkeypatch)
    waiting = await queue.add(1)
    await emptied(queue.worker())
    ready = await queue.get(waiting)
    public = document_index.classified(replace(ready, access=Access(public=True)))
    await queue.storage.transact(lambda tx: document_index.change(tx, public, old=ready))
    counts = await queue.storage.transact(lambda tx: tx.index.indexed(public.scope))
    assert (counts, analysed) == ({ready.id: 2}, [0, 0])


async def test_job_of_a_process_that_died_is_taken_once_its_lease_has_ended(queue: Queue) -> None:
    waiting = await queue.add(1)
    dead = await queue.storage.transact(lambda tx: tx.documents.take_job("dead", queue.now, most=1))
    assert dead is not None
    assert not await queue.worker().work_once()
    assert (await queue.get(waiting)).status is Status.QUEUED
    queue.now += LEASE
    assert await queue.worker().work_once()
    assert (await queue.get(waiting)).status is Status.READY


async def test_work_of_a_process_that_lost_its_job_is_dropped(queue: Queue) -> None:
    slow = PlainExtractor()
    slow.pause = True
    waiting = await queue.add(1)
    late = asyncio.create_task(queue.worker(slow).work_once())
    await until(lambda: slow.begun == 1)
    queue.now += 2 * LEASE
    assert await queue.worker().work_once()
    ready = await queue.get(waiting)
    assert ready.status is Status.READY
    slow.go_on.set()
    await late
    assert await queue.get(waiting) == ready
    assert not await queue.has_jobs()


async def test_no_more_are_worked_on_at_once_than_allowed(queue: Queue) -> None:
    for n in range(4):
        await queue.add(n)
    slow = PlainExtractor()
    slow.pause = True
    running = [asyncio.create_task(queue.worker(slow, workers=2).work_once()) for _ in range(2)]
    await until(lambda: slow.begun == 2)
    assert not await queue.worker(workers=2).work_once()
    slow.go_on.set()
    await asyncio.gather(*running)
    assert await queue.worker(workers=2).work_once()


async def test_stopped_service_gives_its_job_back(queue: Queue) -> None:
    waiting = await queue.add(1)
    slow = PlainExtractor()
    slow.pause = True
    stopped = queue.worker(slow)
    stopped.start()
    await until(lambda: slow.begun == 1)
    await stopped.aclose()
    assert (await queue.get(waiting)).status is Status.PROCESSING
    assert await queue.worker().work_once(), "nobody has to wait for the lease"
    assert (await queue.get(waiting)).status is Status.READY


async def test_document_that_kills_its_process_is_given_up(queue: Queue) -> None:
    waiting = await queue.add(1)
    for _ in range(MAX_ATTEMPTS):
        await queue.storage.transact(lambda tx: tx.documents.take_job("x", queue.now, most=1))
        queue.now += 2 * LEASE
    await emptied(queue.worker())
    found = await queue.get(waiting)
    assert (found.status, found.live) == (Status.FAILED, None)
    assert "several attempts" in found.reason
    assert queue.extractor.begun == 0
    assert await queue.storage.transact(lambda tx: tx.blobs.names(f"documents/{found.id}")) == []


async def test_document_that_is_deleted_meanwhile_stays_deleted(queue: Queue) -> None:
    waiting = await queue.add(1)
    slow = PlainExtractor()
    slow.pause = True
    running = asyncio.create_task(queue.worker(slow).work_once())
    await until(lambda: slow.begun == 1)
    found = await queue.get(waiting)
    await queue.storage.transact(lambda tx: document_index.remove(tx, found))
    slow.go_on.set()
    await running
    assert await queue.storage.transact(lambda tx: tx.documents.all()) == []
    assert await queue.storage.transact(lambda tx: tx.blobs.names("documents")) == []
    assert await queue.storage.transact(lambda tx: tx.index.scopes_for(["managers"])) == []
    assert not await queue.has_jobs()


async def test_failure_of_the_store_leaves_the_job(
    queue: Queue, monkeypatch: pytest.MonkeyPatch
) -> None:
    waiting = await queue.add(1)

    def fail(*_: object, **__: object) -> None:
        raise StorageUnavailable("It fails.")

    with monkeypatch.context() as patch:
        patch.setattr(document_index, "publish", fail)
        with pytest.raises(StorageUnavailable):
            await queue.worker().work_once()
    assert await queue.has_jobs()
    queue.now += LEASE
    await emptied(queue.worker())
    assert (await queue.get(waiting)).status is Status.READY


async def test_defect_of_the_extractor_does_not_stop_the_worker(
    queue: Queue, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A defect is one of `extract`: the next document is worked on all the same."""
    first, second = await queue.add(1), await queue.add(2)
    original = PlainExtractor.extract

    async def odd(self: PlainExtractor, path: Path, media_type: str, name: str) -> Extracted:
        if self.begun == 0:
            self.begun += 1
            raise RuntimeError("A defect.")
        return await original(self, path, media_type, name)

    monkeypatch.setattr(PlainExtractor, "extract", odd)
    worker = queue.worker(workers=2)
    worker.start()
    try:

        async def is_ready() -> bool:
            return (await queue.get(second)).status is Status.READY

        await until(is_ready)
    finally:
        await worker.aclose()
    queue.now += timedelta(minutes=1)
    await emptied(queue.worker())
    assert (await queue.get(first)).status is Status.READY


async def test_lease_is_renewed_while_a_document_is_worked_on(
    queue: Queue, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("chatbot.application.job_leases.RENEWS_EVERY_S", 0.01)
    waiting = await queue.add(1)
    slow = PlainExtractor()
    slow.pause = True
    running = asyncio.create_task(queue.worker(slow).work_once())
    await until(lambda: slow.begun == 1)
    queue.now += LEASE * 0.9

    async def is_renewed() -> bool:
        [job] = await queue.storage.transact(lambda tx: tx.records.page(DOCUMENT_JOBS))
        return job.held_until == queue.now + LEASE

    await until(is_renewed)
    slow.go_on.set()
    await running
    assert (await queue.get(waiting)).status is Status.READY


async def test_service_that_stops_as_a_document_ends_does_stop(closed_storage: Storage) -> None:
    """Whenever it is stopped: no step of the work hides it."""
    async with closed_storage:
        queue = Queue(closed_storage)
        for number in range(12):
            await queue.add(number)
            worker = queue.worker()
            worker.start()
            for _ in range(number * 3):
                await asyncio.sleep(0)
            async with asyncio.timeout(10):
                await worker.aclose()
        await emptied(queue.worker())
        found = await closed_storage.transact(lambda tx: tx.documents.all())
        assert {each.status for each in found} == {Status.READY}
