"""Limits over HTTP: how many requests, answers and sessions a caller may have."""

import asyncio
import re
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path

import httpx

from chatbot.adapters.llm.scripted import Script, ScriptedModel
from chatbot.application.limit_rules import LimitRules
from chatbot.domain.errors import RateLimited
from chatbot.entrypoints.container.limit_parts import build_request_limits
from chatbot.entrypoints.container.parts import build_storage
from conversation import ANA, eventually, never
from service import SSE, Service, code_of, serving, settings_for_tests


@asynccontextmanager
async def limited(**given: object) -> AsyncGenerator[Service]:
    async with serving(settings_for_tests(**given)) as service:
        await service.add_admin()
        yield service


async def until_refused(client: httpx.AsyncClient, headers: dict[str, str]) -> httpx.Response:
    """The first refusal of some requests; one that the turn of the minute allows again is not."""
    for _ in range(9):
        answer = await client.get("/sessions", headers=headers)
        if answer.status_code != 200:
            break
    return answer


async def test_request_beyond_the_rate_gets_429_with_the_headers_of_the_draft() -> None:
    async with limited(rate_limit_per_minute=3) as service:
        answer = await until_refused(service.client, {})
    assert code_of(answer) == (429, "rate_limited")
    wait = int(answer.headers["retry-after"])
    assert 0 < wait <= 60
    assert answer.headers["ratelimit-policy"] == '"requests per minute";q=3;w=60'
    assert answer.headers["ratelimit"] == f'"requests per minute";r=0;t={wait}'
    assert "x-should-retry" not in answer.headers


async def test_each_person_has_a_rate_and_the_client_that_calls_for_itself_another() -> None:
    async with limited(rate_limit_per_minute=3) as service:
        await service.add_user("eva@example.com")
        admin, eva = await service.bearer(), await service.bearer("eva@example.com")
        assert (await until_refused(service.client, admin)).status_code == 429
        for other in (eva, {}):
            assert (await service.client.get("/sessions", headers=other)).status_code == 200


async def test_public_paths_log_ins_and_calls_without_a_key_do_not_count() -> None:
    async with limited(rate_limit_per_minute=1) as service:
        for _ in range(3):
            assert (await service.anonymous.get("/health")).status_code == 200
            assert (await service.client.get("/ready")).status_code == 200
            assert (await service.anonymous.get("/sessions")).status_code == 401
            await service.bearer()
        assert (await service.client.get("/sessions")).status_code == 200


async def test_answer_beyond_the_maximum_at_once_is_a_plain_429_before_the_stream() -> None:
    model = ScriptedModel(lambda _: Script(pause=never))
    settings = settings_for_tests(max_streams_per_user=1)
    async with serving(settings, model=model) as service:
        await service.add_admin()
        person, body = await service.bearer(), {"prompt": "hello"}
        first = asyncio.create_task(service.client.post("/chat", json=body, headers=person))
        await eventually(lambda: service.use.chat.running.is_answering)
        answer = await service.client.post("/chat", json=body, headers=person | SSE)
        first.cancel()
    assert code_of(answer) == (429, "rate_limited")
    assert answer.headers["ratelimit-policy"] == '"answers at once";q=1;qu="concurrent-requests"'
    assert answer.headers["ratelimit"] == '"answers at once";r=0'
    assert answer.headers["retry-after"] == "2"


async def test_session_beyond_the_maximum_gets_409() -> None:
    async with limited(max_sessions_per_user=1, genkit_model="local/extractive") as service:
        assert (await service.client.post("/sessions/new")).status_code == 201
        for path, body in (("/sessions/new", None), ("/chat", {"prompt": "hello"})):
            answer = await service.client.post(path, json=body)
            assert code_of(answer) == (409, "too_many_sessions")


async def test_browsers_may_read_the_headers_of_limits() -> None:
    origin = {"Origin": "https://intranet.example.com"}
    async with limited(cors_allow_origins=origin["Origin"]) as service:
        answer = await service.client.get("/sessions", headers=origin)
    exposed = re.split(", ", answer.headers["access-control-expose-headers"])
    assert {"Retry-After", "RateLimit", "RateLimit-Policy"} <= set(exposed)


async def test_workers_of_one_folder_count_together(tmp_path: Path) -> None:
    settings = settings_for_tests(
        storage_url=f"json:{tmp_path}", workers=2, rate_limit_per_minute=5
    )
    storages = [build_storage(settings) for _ in range(2)]
    passed = 0
    async with storages[0], storages[1]:
        workers = [
            build_request_limits(settings, storage, LimitRules(storage), None)
            for storage in storages
        ]
        for number in range(20):
            try:
                await workers[number % 2].count(ANA)
                passed += 1
            except RateLimited:
                pass
    assert passed in {5, 10}, "10 if the minute has ended meanwhile"
