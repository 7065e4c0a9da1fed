"""What a turn has used is settled with its answer, on every storage, whatever becomes of the answer."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import UTC, timedelta

import pytest

from chatbot.domain.chat import Lease, MessageRole, Session, SessionId, TurnId
from chatbot.domain.errors import NotFound, SessionBusy
from chatbot.domain.memory import Memory
from chatbot.domain.ports.counters import Addition, Bill, CounterKey
from chatbot.domain.ports.storage import Storage
from chatbot.domain.quotas import Period, window_of
from chatbot.domain.usage import (
    Dimension,
    Payer,
    Used,
    summed,
    usage_additions,
    usage_prefix,
    usage_rows,
)
from samples import ANA, T0, new_message

DAY = window_of(Period.DAY, T0, UTC)
PAYER = Payer(client="default", user="ana|%7C", department="R&D, |x", roles=("a,b", "c"))
BUDGET = CounterKey("budget", "monthly||2026-03")
SOON, LATE = T0 + timedelta(minutes=2), T0 + timedelta(days=20)
USED = Used(requests=2, turns=1, input_tokens=30, output_tokens=12, estimated_tokens=5)


@pytest.fixture
async def storage(closed_storage: Storage) -> AsyncIterator[Storage]:
    async with closed_storage:
        yield closed_storage


def reservation(amount: int = 100, limit: int | None = None) -> Addition:
    return Addition(key=BUDGET, amount=amount, expires_at=SOON, limit=limit)


def bill(payer: Payer = PAYER) -> Bill:
    used = Addition(key=BUDGET, amount=42, expires_at=LATE)
    usage = usage_additions(DAY, payer, "openai/m|1", USED)
    return Bill(reserved=(reservation(),), used=(used, *usage), at=T0)


async def held(storage: Storage, number: int = 1) -> Lease:
    session_id, turn_id = SessionId(f"{number:032x}"), TurnId(f"{number:032x}")
    new = Session(id=session_id, owner=ANA, created_at=T0, updated_at=T0)
    await storage.transact(lambda tx: tx.sessions.create(new))
    return await storage.transact(lambda tx: tx.sessions.acquire(ANA, session_id, turn_id))


async def found(storage: Storage, user: str = PAYER.user) -> tuple[int, dict[str, Used]]:
    """What the budget holds, and the usage of a person."""

    def read(tx: object) -> tuple[int, dict[str, int]]:
        counters = tx.counters  # type: ignore[attr-defined] # a transaction
        amounts = counters.read([BUDGET], now=T0)[BUDGET]
        prefix = usage_prefix(DAY.name, user)
        return sum(each.amount for each in amounts), counters.scan("usage", prefix, now=T0)

    held_now, totals = await storage.transact(read)
    return held_now, dict(summed(list(usage_rows(totals)), Dimension.USER))


async def test_reservation_is_replaced_by_what_was_used(storage: Storage) -> None:
    lease = await held(storage)
    assert not await storage.add_counts([reservation(limit=100)], now=T0)
    assert await found(storage) == (100, {})
    said = new_message(lease, MessageRole.ASSISTANT, "ok", ts=T0)
    await storage.store_answer(lease, said, bill())
    assert await found(storage) == (42, {PAYER.user: USED})


async def test_lost_lease_is_still_billed_once(storage: Storage) -> None:
    lease = await held(storage)
    other = replace(lease, turn_id=TurnId("f" * 32))
    said = new_message(other, MessageRole.ASSISTANT, "ok", ts=T0)
    with pytest.raises(SessionBusy):
        await storage.store_answer(other, said, bill())
    assert await found(storage) == (42, {PAYER.user: USED})


async def test_turn_of_a_deleted_session_is_still_billed(storage: Storage) -> None:
    lease = await held(storage)
    await storage.transact(lambda tx: tx.sessions.delete(lease))
    said = new_message(lease, MessageRole.ASSISTANT, "ok", ts=T0)
    with pytest.raises((NotFound, SessionBusy)):
        await storage.store_answer(lease, said, bill())
    assert await found(storage) == (42, {PAYER.user: USED})


@pytest.mark.parametrize("version", [0, 7], ids=["stored", "changed meanwhile"])
async def test_bill_of_memory_is_settled_whether_or_not_it_is_stored(
    storage: Storage, version: int
) -> None:
    lease = await held(storage)
    memory = Memory(version=version, summary="x")
    is_stored = await storage.store_memory(ANA, lease.session_id, memory, epoch=0, bill=bill())
    assert is_stored is (version == 0)
    assert await found(storage) == (42, {PAYER.user: USED})


async def test_bills_of_many_turns_at_once_add_up(storage: Storage) -> None:
    leases = [await held(storage, number) for number in range(12)]
    payers = [replace(PAYER, user=f"user {number % 3}") for number in range(12)]
    await asyncio.gather(
        *(
            storage.store_answer(
                lease, new_message(lease, MessageRole.ASSISTANT, "ok", ts=T0), bill(payer)
            )
            for lease, payer in zip(leases, payers, strict=True)
        )
    )
    for number in range(3):
        total, usage = await found(storage, f"user {number}")
        assert usage[f"user {number}"].tokens == 4 * USED.tokens
        assert total == 12 * 42


async def test_usage_survives_a_restart(closed_storage: Storage) -> None:
    async with closed_storage:
        lease = await held(closed_storage)
        said = new_message(lease, MessageRole.ASSISTANT, "ok", ts=T0)
        await closed_storage.store_answer(lease, said, bill())
    async with closed_storage:
        assert await found(closed_storage) == (42, {PAYER.user: USED})
