"""LIMITS_URL over HTTP: services that share a Redis, which goes away and comes back."""

from collections.abc import AsyncGenerator, Iterator
from contextlib import asynccontextmanager

import pytest

from chatbot.adapters.llm.scripted import ScriptedModel
from chatbot.application import limit_counters
from chatbot.domain.chat import FinishReason
from chatbot.domain.ports.model import Completion, Usage
from redis_server import RedisServer, redis_server
from service import Service, code_of, serving, settings_for_tests

PROMPT = {"prompt": "Hello"}
ANSWER = Completion(
    text="ok", finish_reason=FinishReason.STOP, usage=Usage(input_tokens=100, output_tokens=20)
)


@pytest.fixture
def own_redis() -> Iterator[RedisServer]:
    """One that the test may stop."""
    with redis_server() as server:
        yield server


@asynccontextmanager
async def limited(redis: RedisServer, **given: object) -> AsyncGenerator[Service]:
    """A service with its own store."""
    settings = settings_for_tests(limits_url=redis.url, mem_structured_enable=False, **given)
    async with serving(settings, model=ScriptedModel(lambda _: ANSWER)) as service:
        await service.add_admin()
        yield service


async def refusals(service: Service, requests: int) -> int:
    answers = [await service.client.get("/sessions") for _ in range(requests)]
    assert {answer.status_code for answer in answers} <= {200, 429}
    return [answer.status_code for answer in answers].count(429)


async def test_services_with_one_redis_count_requests_together(redis: RedisServer) -> None:
    """Of 4 to each of two services, 3 pass; 6 if a minute of the clock ends in between."""
    given = {"rate_limit_per_minute": 3}
    async with limited(redis, **given) as one, limited(redis, **given) as other:
        refused = await refusals(one, 4) + await refusals(other, 4)
    assert refused in {5, 2}


async def test_without_redis_requests_pass_and_token_budgets_refuse(
    own_redis: RedisServer, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(limit_counters, "PAUSE_S", 0)
    async with limited(own_redis, rate_limit_per_minute=1) as service:
        unlimited = await service.bearer()
        budget = {"subject": "everyone", "kind": "tokens", "per": "month", "limit": 100_000}
        made = await service.client.put("/admin/limits/all", json=budget, headers=unlimited)
        assert made.status_code == 200
        own_redis.stop()
        assert await refusals(service, 4) == 0
        answer = await service.client.post("/chat", json=PROMPT)
        assert code_of(answer) == (503, "storage_unavailable")
        assert (await service.client.get("/sessions")).json()["sessions"] == []
        own_redis.start()
        assert await refusals(service, 4) >= 2
    said = [record for record in caplog.records if record.name == "chatbot.limits"]
    assert [record.levelname for record in said] == ["ERROR", "WARNING"]
