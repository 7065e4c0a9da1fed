"""A turn over HTTP on Postgres, with keys, people, limits and budgets: its round trips to the server."""

import statistics
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

import pytest

from chatbot.adapters.llm.scripted import ScriptedModel
from chatbot.domain.limits import Limit, LimitKind, Subject
from chatbot.domain.quotas import Period
from relay import Relay, relay_to
from service import HOST, Service, begin, serving, settings_for_tests

TURNS = 11
TOKENS = Limit(
    id="tokens", subject=Subject.EVERYONE, kind=LimitKind.TOKENS, per=Period.MONTH, limit=10**9
)
REQUESTS = Limit(
    id="requests", subject=Subject.EVERYONE, kind=LimitKind.REQUESTS, per=Period.DAY, limit=10**9
)


@dataclass(frozen=True)
class Governed:
    """A service behind a relay, with a stored key."""

    service: Service
    relay: Relay
    key: dict[str, str]

    async def round_trips(self, headers: dict[str, str]) -> int:
        """Those of a turn: the median, as some turns also refresh a cache."""
        client = self.service.anonymous
        client.headers.update(self.key | headers)
        session_id, counts = await begin(client), []
        for _ in range(TURNS):
            before = self.relay.round_trips
            body = {"prompt": "hello", "session_id": session_id}
            (await client.post("/chat", json=body)).raise_for_status()
            counts.append(self.relay.round_trips - before)
        return statistics.median_low(counts)


@asynccontextmanager
async def governed(postgres_store: str, *rules: Limit) -> AsyncIterator[Governed]:
    async with relay_to(postgres_store) as (relay, url):
        settings = settings_for_tests(
            storage_url=url,
            rate_limit_per_minute=10**6,
            mem_structured_enable=False,
            mem_summarize_threshold=0,
        )
        async with serving(settings, model=ScriptedModel(lambda _: "ok")) as service:
            for rule in rules:
                await service.use.limits.put(HOST, rule)
            made = await service.add_key()
            yield Governed(service, relay, {"X-API-Key": made.raw_key})


@pytest.mark.parametrize("rules", [(), (REQUESTS,)], ids=["rate", "rate and limit of requests"])
async def test_turn_without_a_budget_takes_six_round_trips_three_of_them_for_memory(
    postgres_store: str, rules: tuple[Limit, ...]
) -> None:
    async with governed(postgres_store, *rules) as running:
        await running.service.add_user("eva@example.com")
        person = await running.service.bearer("eva@example.com")
        assert await running.round_trips({}) == 6
        assert await running.round_trips(person) == 6


async def test_turn_with_a_budget_takes_one_round_trip_more(postgres_store: str) -> None:
    async with governed(postgres_store, TOKENS, REQUESTS) as running:
        await running.service.add_user("eva@example.com")
        person = await running.service.bearer("eva@example.com")
        assert await running.round_trips({}) == 7
        assert await running.round_trips(person) == 7
