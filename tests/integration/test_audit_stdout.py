"""AUDIT_STDOUT and AUDIT_RETENTION_DAYS, on every store."""

import json
from collections.abc import Callable
from datetime import UTC, datetime, timedelta

import pytest

from chatbot.application.audit_trail import AuditTrail
from chatbot.application.auditing import Auditing
from chatbot.domain.audit import AUDIT, Action, AuditEvent, event_object
from chatbot.domain.audit_chain import StoredEvent, Tampering
from chatbot.domain.audit_check import verified
from chatbot.domain.authorization import of_host
from chatbot.domain.ports.journal import JournalEntry
from chatbot.domain.ports.storage import Storage
from chatbot.domain.transaction import Transaction

KEY = b"k" * 32
ROOT = of_host("root")
EVENT = AuditEvent(action=Action.ROLE_SET, object_type="role", object_id="r")
NOW = datetime(2030, 6, 15, tzinfo=UTC)


async def entries(storage: Storage) -> list[JournalEntry]:
    return list(await storage.transact(lambda tx: tx.journal.read(AUDIT, limit=9999)))


def noting(auditing: Auditing, *, fails: bool = False) -> Callable[[Transaction], None]:
    def work(tx: Transaction) -> None:
        auditing.note(tx, ROOT, EVENT)
        if fails:
            raise ZeroDivisionError

    return work


async def test_each_event_is_announced_once_and_only_if_it_is_stored(
    closed_storage: Storage,
) -> None:
    lines: list[str] = []
    auditing = Auditing(KEY, clock=lambda: NOW, announce=lines.append)
    async with closed_storage as storage:
        await storage.transact(noting(auditing))
        with pytest.raises(ZeroDivisionError):
            await storage.transact(noting(auditing, fails=True))
        await storage.transact(noting(auditing))
        stored = [event_object(entry) for entry in await entries(storage)]
        assert [json.loads(line) for line in lines] == stored
        assert len(stored) in {2, 3}  # what a store that undoes nothing keeps is announced


async def test_nothing_is_announced_before_it_is_durable(closed_storage: Storage) -> None:
    lines: list[str] = []
    auditing = Auditing(KEY, clock=lambda: NOW, announce=lines.append)

    def work(tx: Transaction) -> None:
        auditing.note(tx, ROOT, EVENT)
        assert lines == []

    async with closed_storage as storage:
        await storage.transact(work)
    assert len(lines) == 1


async def test_chain_whose_beginning_was_pruned_is_intact_and_no_more_can_be_removed(
    closed_storage: Storage,
) -> None:
    times = iter([NOW - timedelta(days=days) for days in (200, 150, 100, 50, 2, 1)] + [NOW] * 99)
    auditing = Auditing(KEY, clock=lambda: next(times))
    async with closed_storage as storage:
        for _ in range(6):
            await storage.transact(noting(auditing))
        trail = AuditTrail(storage, auditing)
        assert await trail.prune(NOW - timedelta(days=60)) == 3
        assert await trail.prune(NOW - timedelta(days=60)) == 0
        left = await entries(storage)
    assert left[0].seq == 4
    assert left[-1].content["action"] == "audit.prune"
    verdict = verified((StoredEvent(seq=e.seq, entry=e) for e in left), [KEY])
    assert not verdict.findings
    assert list(verdict.notes) == ["events 1 to 3 were pruned, as recorded"]
    more = verified((StoredEvent(seq=e.seq, entry=e) for e in left[1:]), [KEY])
    assert [(each.kind, each.first, each.last) for each in more.findings] == [
        (Tampering.REMOVED, 4, 4)
    ]
