"""Of a flood of refusals some are recorded singly, and the others as numbers."""

import logging
from datetime import UTC, datetime, timedelta

import pytest

from chatbot.adapters.storage.in_memory.storage import InMemoryStorage
from chatbot.application.audit_queue import AuditQueue
from chatbot.application.auditing import Auditing
from chatbot.application.refusals import MAX_ADDRESSES, SINGLY, SINGLY_OF_ADDRESS, Refusals
from chatbot.domain.audit import AUDIT, Action, AuditEvent, Outcome
from chatbot.domain.authorization import of_nobody
from chatbot.domain.errors import AuditUnavailable
from chatbot.domain.identity import Source
from chatbot.domain.ports.journal import Content

MINUTE = timedelta(minutes=1)


class RefusalWorld:
    """Refusals by a clock that a test sets."""

    def __init__(self) -> None:
        self.now = datetime(2030, 1, 1, tzinfo=UTC)
        self.storage = InMemoryStorage()
        self.queue = AuditQueue(self.storage, Auditing(b"k" * 32, clock=lambda: self.now))
        self.refusals = Refusals(self.queue, lambda: self.now)

    async def refuse(self, address: str, action: Action = Action.ACCESS_REFUSE) -> None:
        event = AuditEvent(
            action=action,
            outcome=Outcome.REFUSED,
            object_type="route",
            object_id="GET /admin/users",
        )
        await self.refusals.note(of_nobody(Source(address=address)), event)

    async def contents(self) -> list[Content]:
        entries = await self.storage.transact(lambda tx: tx.journal.read(AUDIT, limit=9999))
        return [entry.content for entry in entries]


@pytest.fixture
def world() -> RefusalWorld:
    return RefusalWorld()


async def test_flood_of_an_address_leaves_ten_events_and_a_number(world: RefusalWorld) -> None:
    for _ in range(5000):
        await world.refuse("192.0.2.1")
    assert len(await world.contents()) == SINGLY_OF_ADDRESS
    world.now += MINUTE
    await world.refusals.flush_if_over()
    *_, last = await world.contents()
    assert len(await world.contents()) == SINGLY_OF_ADDRESS + 1
    assert (last["action"], last["outcome"]) == ("access.refuse", "refused")
    assert last["object"] == {"type": "address", "id": "192.0.2.1"}
    assert last["reason"] == "4990 more in the minute from 2030-01-01T00:00:00.000000Z"


async def test_flood_does_not_hide_what_another_address_does_nor_another_action(
    world: RefusalWorld,
) -> None:
    for _ in range(100):
        await world.refuse("192.0.2.1")
    await world.refuse("192.0.2.2")
    await world.refuse("192.0.2.1", Action.LOGIN_FAILED)
    found = await world.contents()
    assert len(found) == SINGLY_OF_ADDRESS + 2
    assert [each["actor"] for each in found[-2:]] == [
        {"address": "192.0.2.2"},
        {"address": "192.0.2.1"},
    ]


async def test_flood_from_many_addresses_is_bounded_and_counted_completely(
    world: RefusalWorld,
) -> None:
    for number in range(2000):
        await world.refuse(f"10.0.{number // 250}.{number % 250}")
    assert len(await world.contents()) == SINGLY
    await world.refusals.flush()
    found = await world.contents()
    assert len(found) == SINGLY + MAX_ADDRESSES + 1
    counted = [int(str(each["reason"]).split()[0]) for each in found[SINGLY:]]
    assert sum(counted) == 2000 - SINGLY
    assert {"type": "address", "id": "other addresses"} in [each["object"] for each in found]


async def test_addresses_of_one_network_count_together(world: RefusalWorld) -> None:
    for number in range(30):
        await world.refuse(f"2001:db8::{number:x}")
    assert len(await world.contents()) == SINGLY_OF_ADDRESS


async def test_next_minute_begins_anew_also_if_the_clock_is_set_back(world: RefusalWorld) -> None:
    for step in (MINUTE, -MINUTE * 99):
        for _ in range(20):
            await world.refuse("192.0.2.1")
        world.now += step
    await world.refuse("192.0.2.1")
    assert len(await world.contents()) == 2 * (SINGLY_OF_ADDRESS + 1) + 1


async def test_minute_that_is_not_over_goes_on(world: RefusalWorld) -> None:
    for _ in range(20):
        await world.refuse("192.0.2.1")
        await world.refusals.flush_if_over()
    assert len(await world.contents()) == SINGLY_OF_ADDRESS


async def test_refusal_stays_one_while_it_cannot_be_recorded(
    world: RefusalWorld, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    async def unavailable(*_: object) -> None:
        raise AuditUnavailable

    monkeypatch.setattr(world.queue, "note", unavailable)
    with caplog.at_level(logging.WARNING):
        await world.refuse("192.0.2.1")
    assert "could not be recorded" in caplog.text
