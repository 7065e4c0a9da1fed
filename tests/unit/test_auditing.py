"""Events of the audit: what they hold, how they are chained, and that no change lacks one."""

from datetime import UTC, datetime

import pytest

from chatbot.adapters.storage.in_memory.storage import InMemoryStorage
from chatbot.application.auditing import Auditing
from chatbot.domain.audit import AUDIT, Action, AuditEvent, mac_of
from chatbot.domain.authorization import of_host
from chatbot.domain.errors import AuditUnavailable, StorageFull
from chatbot.domain.ports.journal import JournalEntry
from chatbot.domain.transaction import Transaction

NOW = datetime(2030, 1, 1, tzinfo=UTC)
KEY = b"k" * 32
EVENT = AuditEvent(action=Action.USER_CREATE, object_type="user", object_id="u1")
ROOT = of_host("root")
AUDITING = Auditing(KEY, clock=lambda: NOW)


async def entries(storage: InMemoryStorage) -> list[JournalEntry]:
    return list(await storage.transact(lambda tx: tx.journal.read(AUDIT, limit=100)))


async def test_each_event_carries_the_mac_of_the_one_before() -> None:
    storage = InMemoryStorage()
    for _ in range(2):
        await storage.transact(lambda tx: AUDITING.note(tx, ROOT, EVENT))
    first, second = await entries(storage)
    assert first.content["actor"] == {"client": "host", "cli_user": "root"}
    assert second.content["prev"] == first.content["mac"]
    for entry in (first, second):
        assert entry.content["mac"] == mac_of(entry.content, entry.seq, entry.at, key=KEY)
        assert entry.content["mac"] != mac_of(entry.content, entry.seq, entry.at, key=b"x" * 32)


async def test_change_is_recorded_before_and_after_where_nothing_is_undone() -> None:
    storage = InMemoryStorage()

    def work(tx: Transaction) -> None:
        with AUDITING.recording(tx, ROOT, EVENT):
            pass

    await storage.transact(work)
    stages = [(e.content["stage"], e.content["outcome"]) for e in await entries(storage)]
    assert stages == [("intent", "allowed"), ("done", "allowed")]


async def test_change_that_fails_is_recorded_as_failed() -> None:
    storage = InMemoryStorage()

    def work(tx: Transaction) -> None:
        with AUDITING.recording(tx, ROOT, EVENT):
            raise ValueError

    with pytest.raises(ValueError):  # noqa: PT011 # what it says does not matter
        await storage.transact(work)
    stages = [(e.content["stage"], e.content["outcome"]) for e in await entries(storage)]
    assert stages == [("intent", "allowed"), ("done", "failed")]


async def test_nothing_is_changed_while_the_audit_cannot_be_written(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    storage = InMemoryStorage()
    changed = []

    def full(*_: object, **__: object) -> None:
        raise StorageFull

    def work(tx: Transaction) -> None:
        monkeypatch.setattr(tx.journal, "extend", full)
        with AUDITING.recording(tx, ROOT, EVENT):
            changed.append(1)

    with pytest.raises(AuditUnavailable):
        await storage.transact(work)
    assert not changed


def test_digest_depends_on_the_record_and_on_the_salt() -> None:
    one = AUDITING.digest(EVENT, salt="a")
    assert one == AUDITING.digest(EVENT, salt="a")
    assert len({one, AUDITING.digest(EVENT, salt="b"), AUDITING.digest(None, salt="a")}) == 3
