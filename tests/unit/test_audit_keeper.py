"""The head is logged from time to time and at the end, and what was counted is written down."""

import asyncio
import logging
from collections.abc import Callable
from datetime import UTC, datetime

import pytest

from chatbot.adapters.storage.in_memory.storage import InMemoryStorage
from chatbot.application.audit_keeper import AuditKeeper
from chatbot.application.audit_queue import AuditQueue
from chatbot.application.audit_trail import AuditTrail
from chatbot.application.auditing import Auditing
from chatbot.application.refusals import Refusals
from chatbot.domain.audit import AUDIT, Action, AuditEvent
from chatbot.domain.authorization import of_host
from chatbot.domain.errors import StorageUnavailable

ROOT = of_host("root")
EVENT = AuditEvent(action=Action.ACCESS_REFUSE, object_type="route", object_id="GET /x")


class AuditWorld:
    def __init__(self) -> None:
        self.storage = InMemoryStorage()
        auditing = Auditing(b"k" * 32, clock=lambda: datetime(2030, 1, 1, tzinfo=UTC))
        queue = AuditQueue(self.storage, auditing)
        self.trail = AuditTrail(self.storage, auditing)
        self.refusals = Refusals(queue, lambda: datetime(2030, 1, 1, tzinfo=UTC))
        self.keeper = AuditKeeper(
            self.trail,
            queue,
            self.refusals,
            clock=lambda: datetime(2030, 1, 1, tzinfo=UTC),
            look_every_s=0.001,
            head_every_s=0.001,
        )


async def until(is_true: Callable[[], bool]) -> None:
    for _ in range(5000):
        if is_true():
            return
        await asyncio.sleep(0.001)
    raise TimeoutError


def heads(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [text for text in caplog.messages if text.startswith("audit head ")]


async def test_head_is_logged_while_the_service_runs_and_at_its_end(
    caplog: pytest.LogCaptureFixture,
) -> None:
    world = AuditWorld()
    with caplog.at_level(logging.INFO, "chatbot.audit"):
        world.keeper.start()
        await until(lambda: bool(heads(caplog)))
        await world.refusals.note(ROOT, EVENT)
        caplog.clear()
        await world.keeper.aclose()
    assert heads(caplog)[-1] == f"audit head {await world.trail.head()}"
    assert heads(caplog)[-1].startswith("audit head 1:")


async def test_counted_refusals_are_recorded_at_the_end() -> None:
    world = AuditWorld()
    for _ in range(15):
        await world.refusals.note(ROOT, EVENT)
    await world.keeper.aclose()
    last = await world.storage.transact(lambda tx: tx.journal.last(AUDIT))
    assert last is not None
    assert str(last.content["reason"]).startswith("5 more in the minute")


async def test_keeper_keeps_running_while_the_store_is_unavailable(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    world = AuditWorld()

    async def unavailable() -> None:
        raise StorageUnavailable("down")

    monkeypatch.setattr(world.trail, "head", unavailable)
    world.keeper.start()
    await until(lambda: len(caplog.messages) >= 2)
    await world.keeper.aclose()
    assert "could not be read" in caplog.messages[0]
