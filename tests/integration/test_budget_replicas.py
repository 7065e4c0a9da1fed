"""A budget that three replicas on one Postgres share, one of which is killed while it answers."""

import asyncio
import random
from collections import Counter
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx

from chatbot.domain.limits import BUDGET, Limit, LimitKind, Subject
from chatbot.domain.ports.counters import CounterKey
from chatbot.domain.quotas import Period, window_of
from chatbot.domain.transaction import Transaction
from chatbot.domain.usage import USAGE, Dimension, Used, summed, usage_rows
from chatbot.entrypoints.container.parts import build_storage
from kill_under_load import World
from process import Running
from provider import FakeProvider, Fault
from replicas import replicas
from service import settings_for_tests

LIMIT = 30_000
CLIENTS, KILLED_AFTER = 6, 8
BUDGET_RULE = Limit(
    id="all",
    subject=Subject.CLIENT,
    name="default",
    kind=LimitKind.TOKENS,
    per=Period.MONTH,
    limit=LIMIT,
)
SETTINGS = {
    "MODEL_MAX_OUTPUT_TOKENS": "64",
    "MEM_SUMMARIZE_THRESHOLD": "0",
    "MODEL_TURN_TIMEOUT_S": "20",
}


class Callers:
    """Clients that ask until the budget is used up, with the tokens reported to them."""

    def __init__(self) -> None:
        self.answers: list[dict[str, Any]] = []
        self.codes = Counter[str]()

    async def ask(self, service: Running) -> None:
        while True:
            try:
                answer = await service.client.post("/chat", json={"prompt": "hello"})
            except httpx.TransportError:
                return  # the replica was killed
            if answer.status_code != 200:
                self.codes[answer.json()["code"]] += 1
                return
            self.answers.append(answer.json())

    async def kill(self, service: Running) -> None:
        while len(self.answers) < KILLED_AFTER:  # noqa: ASYNC110 # no event announces it
            await asyncio.sleep(0.005)
        service.process.kill()


def held(tx: Transaction, now: datetime) -> tuple[int, Used]:
    """What the budget holds, reservations included, and all usage."""
    month = window_of(Period.MONTH, now, UTC)
    key = CounterKey(BUDGET, f"all||{month.name}")
    budget = sum(count.amount for count in tx.counters.read([key], now=now)[key])
    rows = list(usage_rows(tx.counters.scan(USAGE, "", now=now)))
    return budget, summed(rows, Dimension.CLIENT).get("default", Used())


async def test_replicas_share_a_budget_and_one_that_dies_takes_nothing_of_it(
    postgres_store: str, tmp_path: Path
) -> None:
    callers = Callers()
    async with (
        build_storage(settings_for_tests(storage_url=postgres_store)) as storage,
        FakeProvider() as upstream,
    ):
        upstream.fault, upstream.slow_s = Fault.SLOW, 0.01
        await storage.transact(lambda tx: tx.limits.put(BUDGET_RULE, old=None))
        world = World(random.Random(1))
        async with replicas(
            3, tmp_path, upstream, world, STORAGE_URL=postgres_store, **SETTINGS
        ) as three:
            first, *others = three.services
            asking = [callers.ask(each) for each in three.services for _ in range(CLIENTS)]
            await asyncio.gather(callers.kill(first), *asking)
            now = datetime.now(UTC)
            amount, usage = await storage.transact(lambda tx: held(tx, now))
            later = now + timedelta(minutes=2)
            used, _ = await storage.transact(lambda tx: held(tx, later))
            report = await others[0].client.get("/sessions?limit=200")
    assert set(callers.codes) == {"budget_exhausted"}
    assert callers.codes["budget_exhausted"] == 2 * CLIENTS, "of the replicas that live"
    reported = sum(
        each["usage"]["input_tokens"] + each["usage"]["output_tokens"] for each in callers.answers
    )
    assert reported <= used <= amount <= LIMIT
    assert used == usage.tokens, "usage and budgets are settled together"
    assert usage.turns >= len(callers.answers)
    stored = len(report.json()["sessions"])
    assert stored <= usage.turns + CLIENTS, "of refused turns nothing is stored"
