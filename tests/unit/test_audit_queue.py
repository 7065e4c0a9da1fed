"""Events of many callers are appended together, and none is lost."""

import asyncio
from collections.abc import Callable
from datetime import UTC, datetime

import pytest

from chatbot.adapters.storage.in_memory.storage import InMemoryStorage
from chatbot.application.audit_queue import AuditQueue
from chatbot.application.auditing import Auditing
from chatbot.domain.audit import AUDIT, Action, AuditEvent
from chatbot.domain.audit_chain import StoredEvent
from chatbot.domain.audit_check import verified
from chatbot.domain.authorization import of_host
from chatbot.domain.errors import AuditUnavailable, StorageFull, StorageUnavailable
from chatbot.domain.ports.journal import JournalEntry
from chatbot.domain.ports.storage import Found
from chatbot.domain.transaction import Transaction

KEY = b"k" * 32
ROOT = of_host("root")


class SlowStorage(InMemoryStorage):
    """Counts transactions, which take a round of the event loop; some fail."""

    def __init__(self) -> None:
        super().__init__()
        self.count = 0
        self.failures: list[Exception] = []

    async def transact(self, work: Callable[[Transaction], Found]) -> Found:
        self.count += 1
        await asyncio.sleep(0)
        if self.failures:
            raise self.failures.pop(0)
        return await super().transact(work)


@pytest.fixture
def storage() -> SlowStorage:
    return SlowStorage()


@pytest.fixture
def queue(storage: SlowStorage) -> AuditQueue:
    return AuditQueue(storage, Auditing(KEY, clock=lambda: datetime(2030, 1, 1, tzinfo=UTC)))


def event(number: int) -> AuditEvent:
    return AuditEvent(action=Action.LOGIN, object_type="sign-in", object_id=f"{number}")


async def entries(storage: InMemoryStorage) -> list[JournalEntry]:
    return list(await storage.transact(lambda tx: tx.journal.read(AUDIT, limit=9999)))


async def test_events_that_wait_share_a_transaction_and_keep_their_order(
    storage: SlowStorage, queue: AuditQueue
) -> None:
    await asyncio.gather(*(queue.note(ROOT, event(number)) for number in range(1200)))
    assert storage.count < 10
    found = await entries(storage)
    assert [each.content["object"] for each in found] == [
        {"type": "sign-in", "id": f"{number}"} for number in range(1200)
    ]
    assert not verified((StoredEvent(seq=e.seq, entry=e) for e in found), [KEY]).findings


async def test_event_of_a_caller_that_left_is_written(
    storage: SlowStorage, queue: AuditQueue
) -> None:
    leaving = asyncio.create_task(queue.note(ROOT, event(1)))
    staying = asyncio.create_task(queue.note(ROOT, event(2)))
    await asyncio.sleep(0)
    leaving.cancel()
    await staying
    assert len(await entries(storage)) == 2


@pytest.mark.parametrize("failure", [StorageFull(), StorageUnavailable("down")])
async def test_every_caller_of_a_failed_transaction_gets_the_error_and_later_ones_do_not(
    storage: SlowStorage, queue: AuditQueue, failure: Exception
) -> None:
    storage.failures.append(failure)
    found = await asyncio.gather(
        *(queue.note(ROOT, event(number)) for number in range(3)), return_exceptions=True
    )
    assert [type(each) for each in found] == [AuditUnavailable] * 3
    await queue.note(ROOT, event(4))
    assert len(await entries(storage)) == 1


async def test_closing_waits_for_what_was_noted(storage: SlowStorage, queue: AuditQueue) -> None:
    noted = asyncio.create_task(queue.note(ROOT, event(1)))
    await asyncio.sleep(0)
    await queue.aclose()
    assert len(await entries(storage)) == 1
    await noted
