"""Documents with many passages: what is stored of them, and when."""

from collections.abc import AsyncIterator, Sequence

import pytest

from chatbot.application import document_index
from chatbot.application.ingested_text import STORED_AT_ONCE
from chatbot.application.ingestion import Ingestion
from chatbot.domain.document_jobs import DocumentJob
from chatbot.domain.document_passages import StoredPassage, folder_of
from chatbot.domain.documents import DocumentId, Status
from chatbot.domain.ports.storage import Storage
from chatbot.domain.repositories.documents import Documents
from chatbot.domain.transaction import Transaction
from document_queue import Queue, emptied

PASSAGES = 2 * STORED_AT_ONCE + 100
BIG = "\n\n".join(f"Rule {n}." for n in range(PASSAGES)).encode()


@pytest.fixture
async def queue(closed_storage: Storage) -> AsyncIterator[Queue]:
    async with closed_storage:
        yield Queue(closed_storage)


@pytest.fixture
def stored_at_once(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """How many passages were stored by each call."""
    counts: list[int] = []
    put = Documents.put_passages

    def noted(
        self: Documents, document_id: DocumentId, version: int, passages: Sequence[StoredPassage]
    ) -> None:
        counts.append(len(passages))
        put(self, document_id, version, passages)

    monkeypatch.setattr(Documents, "put_passages", noted)
    return counts


async def test_passages_of_a_big_document_are_stored_in_several_transactions(
    queue: Queue, stored_at_once: list[int]
) -> None:
    waiting = await queue.add(1, BIG)
    await emptied(queue.worker())
    found = await queue.get(waiting)
    assert (found.status, found.newest.passages) == (Status.READY, PASSAGES)
    assert stored_at_once == [STORED_AT_ONCE, STORED_AT_ONCE, 100]
    passages = await queue.storage.transact(lambda tx: tx.documents.all_passages(found))
    assert [each.text for each in passages] == [f"Rule {n}." for n in range(PASSAGES)]
    counts = await queue.storage.transact(lambda tx: tx.index.indexed(found.scope))
    assert counts == {found.id: PASSAGES}


async def test_nothing_is_left_of_a_big_document_that_is_deleted_while_it_is_stored(
    queue: Queue, monkeypatch: pytest.MonkeyPatch, stored_at_once: list[int]
) -> None:
    waiting = await queue.add(1, BIG)
    store = Ingestion._put_some

    def then_deleted(
        self: Ingestion, job: DocumentJob, passages: Sequence[StoredPassage], tx: Transaction
    ) -> None:
        store(self, job, passages, tx)
        document = tx.documents.get(waiting.id)
        if document is not None:
            document_index.remove(tx, document)

    monkeypatch.setattr(Ingestion, "_put_some", then_deleted)
    await emptied(queue.worker())
    assert stored_at_once == [STORED_AT_ONCE]
    folder = folder_of(waiting.id)
    assert await queue.storage.transact(lambda tx: tx.blobs.names(folder)) == []
    assert not await queue.has_jobs()
