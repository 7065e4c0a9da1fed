"""The whole service with a provider that refuses, lies, stalls and hangs up."""

import asyncio
import json
import secrets
from collections.abc import AsyncGenerator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from typing import Any

import httpx
import pytest
import pytest_asyncio

from chatbot.adapters.llm import resilience
from provider import SECRET, FakeProvider, Fault, closed_port_url
from service import SSE, Service, begin, messages_of, serving, settings_for_tests

pytestmark = pytest.mark.asyncio(loop_scope="module")

WITHIN_S = 15
HASTY = {
    "model_first_token_timeout_s": 0.3,
    "model_idle_timeout_s": 0.3,
    "model_turn_timeout_s": 0.6,
}

MODEL_ERROR = (502, "model_error", "upstream")
UNAVAILABLE = (503, "model_unavailable", "upstream")
TIMEOUT = (504, "model_timeout", "timeout")
FAILURES = {
    Fault.REDIRECT: MODEL_ERROR,
    Fault.BAD_REQUEST: MODEL_ERROR,
    Fault.UNAUTHENTICATED: MODEL_ERROR,
    Fault.FORBIDDEN: MODEL_ERROR,
    Fault.NOT_FOUND: MODEL_ERROR,
    Fault.RATE_LIMITED: UNAVAILABLE,
    Fault.SERVER_ERROR: UNAVAILABLE,
    Fault.UNAVAILABLE: UNAVAILABLE,
    Fault.SILENT: TIMEOUT,
    Fault.IDLE: TIMEOUT,
    Fault.HANG_UP: UNAVAILABLE,
    Fault.DROP: MODEL_ERROR,
    Fault.RESET: MODEL_ERROR,
    Fault.GARBAGE: MODEL_ERROR,
    Fault.GARBAGE_EVENT: MODEL_ERROR,
    Fault.IN_BAND: MODEL_ERROR,
    Fault.NO_CHOICES: MODEL_ERROR,
    Fault.NO_FINISH_REASON: MODEL_ERROR,
    Fault.EMPTY: MODEL_ERROR,
}
NEVER_ENDS = {Fault.SILENT, Fault.IDLE}
CUT_IN_THE_MIDDLE = {
    *(Fault.IDLE, Fault.DROP, Fault.RESET, Fault.GARBAGE_EVENT, Fault.IN_BAND),
}
FINISHED = {
    Fault.SLOW: "stop",
    Fault.NO_USAGE: "stop",
    Fault.ALTERNATE: "stop",
    Fault.LENGTH: "length",
    Fault.CONTENT_FILTER: "blocked",
}


@dataclass(frozen=True)
class World:
    service: Service
    hasty: Service
    upstream: FakeProvider

    def service_for(self, fault: Fault | None) -> Service:
        """Short time-outs only where a test expects one: a busy machine is slow anyway."""
        return self.hasty if fault in NEVER_ENDS else self.service


@pytest_asyncio.fixture(scope="module", loop_scope="module", params=["aiohttp", "sdk"])
async def world(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> AsyncGenerator[World]:
    """One provider and two services on one folder for each transport."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(resilience, "BACKOFF_S", 0.01)
        async with FakeProvider() as upstream:
            upstream.retry_after = "41"  # longer than the service waits by itself
            data = {"storage_url": f"json:{tmp_path_factory.mktemp('data')}"}
            patient = _settings(upstream.base_url, request.param, **data)
            hasty = _settings(upstream.base_url, request.param, **data, **HASTY)
            async with serving(patient) as service, serving(hasty) as impatient:
                yield World(service, impatient, upstream)


def _settings(base_url: str, transport: str, **given: object) -> Any:
    provider = {"openai_base_url": base_url, "genkit_model": "openai/fake-model"}
    return settings_for_tests(
        **provider, model_transport=transport, mem_structured_enable=False, **given
    )


async def ask(
    service: Service,
    session_id: str,
    prompt: str = "Hi there",
    headers: dict[str, str] | None = None,
) -> httpx.Response:
    body = {"prompt": prompt, "session_id": session_id}
    async with asyncio.timeout(WITHIN_S):
        return await service.client.post("/chat", json=body, headers=headers)


def last_event(answer: httpx.Response) -> tuple[str, dict[str, Any]]:
    name, data, _ = answer.text.strip().split("\n\n")[-1].split("\n")
    return name.removeprefix("event: "), json.loads(data.removeprefix("data: "))


@pytest.mark.parametrize("headers", [{}, SSE], ids=["json", "sse"])
@pytest.mark.parametrize("fault", FAILURES)
async def test_failed_turn_is_a_problem_and_the_session_continues(
    world: World, fault: Fault, headers: dict[str, str], request: pytest.FixtureRequest
) -> None:
    service = world.service_for(fault)
    session_id = await begin(service.client)
    status, code, reason = FAILURES[fault]
    if "sdk-reset-json" in request.node.name:
        # The SDK cannot distinguish a reset inside a body from a failed connection.
        status, code = 503, "model_unavailable"
    world.upstream.fault = fault
    answer = await ask(service, session_id, headers=headers)
    world.upstream.fault = None
    failed = await messages_of(service.client, session_id)
    again = await ask(world.service, session_id, "And now?", headers)
    afterwards = await messages_of(service.client, session_id)

    has_begun = bool(headers) and (fault in CUT_IN_THE_MIDDLE or fault is Fault.NO_FINISH_REASON)
    if has_begun:
        name, problem = last_event(answer)
        assert (answer.status_code, name) == (200, "error")
    else:
        problem = answer.json()
        assert answer.status_code == status
        assert answer.headers["content-type"] == "application/problem+json"
    assert (problem["status"], problem["code"]) == (status, code)
    assert SECRET not in answer.text
    assert ("retry-after" in answer.headers) == (fault in {Fault.RATE_LIMITED, Fault.UNAVAILABLE})
    assert ("GENKIT_MODEL" in problem["detail"]) == (fault is Fault.NOT_FOUND)

    question, lost = failed
    assert (question["role"], question["content"]) == ("user", "Hi there")
    assert (lost["state"], lost["reason"]) == ("interrupted", reason)
    if has_begun and fault is not Fault.NO_FINISH_REASON:
        assert lost["content"] == "You said:"
    assert again.status_code == 200
    assert [m["state"] for m in afterwards] == ["complete", "interrupted", "complete", "complete"]
    assert afterwards[:2] == failed


@pytest.mark.parametrize("headers", [{}, SSE], ids=["json", "sse"])
@pytest.mark.parametrize("fault", FINISHED)
async def test_unusual_but_valid_answer_is_returned(
    world: World, fault: Fault, headers: dict[str, str]
) -> None:
    session_id = await begin(world.service.client)
    world.upstream.fault = fault
    answer = await ask(world.service, session_id, headers=headers)
    world.upstream.fault = None
    body = last_event(answer)[1] if headers else answer.json()
    assert answer.status_code == 200
    assert body["finish_reason"] == FINISHED[fault]
    assert body["usage"]["estimated"] == (fault is Fault.NO_USAGE)
    assert [m["state"] for m in await messages_of(world.service.client, session_id)] == [
        "complete"
    ] * 2


@pytest.mark.parametrize("headers", [{}, SSE], ids=["json", "sse"])
async def test_blocked_answer_without_text_is_a_refused_prompt_and_the_next_one_is_answered(
    world: World, headers: dict[str, str]
) -> None:
    session_id = await begin(world.service.client)
    world.upstream.fault = Fault.REFUSAL
    refused = await ask(world.service, session_id, headers=headers)
    world.upstream.fault = None
    again = await ask(world.service, session_id, headers=headers)
    assert (refused.status_code, refused.json()["code"]) == (422, "prompt_refused")
    assert again.status_code == 200
    messages = await messages_of(world.service.client, session_id)
    assert [m.get("reason") for m in messages] == [None, "refused", None, None]
    assert refused.json()["turn_id"] == messages[0]["turn_id"] == messages[1]["turn_id"]


@pytest.mark.parametrize("headers", [{}, SSE], ids=["json", "sse"])
async def test_first_question_that_is_asked_again_in_an_outage_leaves_one_session(
    world: World, headers: dict[str, str]
) -> None:
    client, prompt = world.service.client, {"prompt": f"A first question, {secrets.token_hex(8)}"}
    world.upstream.fault = Fault("500")
    failed = [await client.post("/chat", json=prompt, headers=headers) for _ in range(3)]
    world.upstream.fault = None
    answered = await client.post("/chat", json=prompt)
    assert [one.status_code for one in failed] == [503] * 3
    listed = (await client.get("/sessions?limit=200")).json()["sessions"]
    assert [s["session_id"] for s in listed if s["title"] == prompt["prompt"]] == [
        answered.json()["session_id"]
    ]


@pytest.mark.parametrize("headers", [{}, SSE], ids=["json", "sse"])
async def test_prompt_follows_no_redirect(world: World, headers: dict[str, str]) -> None:
    async with FakeProvider() as elsewhere:
        world.upstream.fault = Fault.REDIRECT
        world.upstream.moved_to = f"{elsewhere.base_url}/chat/completions"
        answer = await ask(world.service, await begin(world.service.client), headers=headers)
        world.upstream.fault = None
    assert (answer.status_code, answer.json()["code"]) == (502, "model_error")
    assert "OPENAI_BASE_URL" in answer.json()["detail"]
    assert elsewhere.requests == []


@pytest.mark.parametrize("headers", [{}, SSE], ids=["json", "sse"])
async def test_providers_retry_after_is_passed_on(world: World, headers: dict[str, str]) -> None:
    world.upstream.fault = Fault.RATE_LIMITED
    before = len(world.upstream.requests)
    answer = await ask(world.service, await begin(world.service.client), headers=headers)
    world.upstream.fault = None
    assert (answer.status_code, answer.headers["retry-after"]) == (503, "41")
    assert answer.json()["code"] == "model_unavailable"
    assert len(world.upstream.requests) == before + 1, "41 s are not waited for"


@pytest.mark.parametrize(
    ("given", "low", "high"),
    [
        *(("41.5", 42, 42), ("3600", 3600, 3600), ("86400", 3600, 3600), ("9" * 300, 3600, 3600)),
        *((timedelta(minutes=30), 1000, 1800), (timedelta(days=9999), 3600, 3600)),
        ("Fri, 31 Dec 9999 23:59:59 GMT", 3600, 3600),
    ],
)
async def test_providers_retry_after_in_any_form_is_whole_seconds_up_to_an_hour(
    world: World, given: str | timedelta, low: int, high: int
) -> None:
    if isinstance(given, timedelta):  # a date, so far ahead of the call
        given = format_datetime(datetime.now(UTC) + given, usegmt=True)
    world.upstream.fault, usual = Fault.RATE_LIMITED, world.upstream.retry_after
    world.upstream.retry_after = given
    answer = await ask(world.service, await begin(world.service.client), headers={})
    world.upstream.fault, world.upstream.retry_after = None, usual
    assert answer.status_code == 503
    assert low <= int(answer.headers["retry-after"]) <= high


@pytest.mark.parametrize("headers", [{}, SSE], ids=["json", "sse"])
async def test_outage_is_tried_again_before_it_is_reported(
    world: World, headers: dict[str, str]
) -> None:
    world.upstream.fault = Fault.SERVER_ERROR
    before = len(world.upstream.requests)
    await ask(world.service, await begin(world.service.client), headers=headers)
    world.upstream.fault = None
    assert len(world.upstream.requests) == before + 3


@pytest.mark.parametrize("headers", [{}, SSE], ids=["json", "sse"])
async def test_provider_that_wants_alternating_roles_is_satisfied_after_failed_turns(
    world: World, headers: dict[str, str]
) -> None:
    session_id = await begin(world.service.client)
    for fault in (None, Fault.BAD_REQUEST, Fault.IDLE, Fault.SILENT, Fault.ALTERNATE):
        world.upstream.fault = fault
        answer = await ask(world.service_for(fault), session_id, f"With {fault}", headers)
    world.upstream.fault = None
    assert answer.status_code == 200
    sent = world.upstream.requests[-1].body["messages"]
    assert [m["role"] for m in sent] == ["system", "user", "assistant", "user"]
    for fault in (Fault.BAD_REQUEST, Fault.IDLE, Fault.SILENT, Fault.ALTERNATE):
        assert f"With {fault}" in sent[-1]["content"]


async def test_json_caller_is_served_without_streaming_and_a_stream_with_it(world: World) -> None:
    for headers, streams in (({}, False), (SSE, True)):
        await ask(world.service, await begin(world.service.client), headers=headers)
        assert bool(world.upstream.requests[-1].body.get("stream")) is streams


async def test_template_syntax_goes_over_the_wire_as_typed(world: World) -> None:
    typed = '{{role "system"}} {{#each x}}{{this}}{{/each}}'
    await ask(world.service, await begin(world.service.client), typed)
    sent = world.upstream.requests[-1].body["messages"]
    assert [m["role"] for m in sent] == ["system", "user"]
    assert sent[-1]["content"] == typed


@pytest.mark.parametrize("headers", [{}, SSE], ids=["json", "sse"])
async def test_upstream_call_ends_when_the_client_disconnects(
    world: World, headers: dict[str, str]
) -> None:
    world.upstream.fault = Fault.SILENT
    world.upstream.arrived.clear()
    key = world.service.client.headers["x-api-key"]
    async with httpx.AsyncClient(base_url=world.service.url, trust_env=False) as leaver:
        asking = asyncio.create_task(
            leaver.post("/chat", json={"prompt": "Hi"}, headers=headers | {"X-API-Key": key})
        )
        await asyncio.wait_for(world.upstream.arrived.wait(), WITHIN_S)
        asking.cancel()
        await asyncio.wait({asking})
    world.upstream.fault = None
    await asyncio.wait_for(world.upstream.requests[-1].client_left.wait(), WITHIN_S)


@pytest.mark.parametrize("transport", ["aiohttp", "sdk"])
@pytest.mark.parametrize("headers", [{}, SSE], ids=["json", "sse"])
async def test_unreachable_provider_is_a_503(
    transport: str, headers: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(resilience, "BACKOFF_S", 0.01)
    async with serving(_settings(closed_port_url(), transport)) as service:
        session_id = await begin(service.client)
        answer = await ask(service, session_id, headers=headers)
        ready = await service.anonymous.get("/ready")
        _, lost = await messages_of(service.client, session_id)
    assert (answer.status_code, answer.json()["code"]) == (503, "model_unavailable")
    assert lost["reason"] == "upstream"
    assert ready.status_code == 200, "the model itself is not called"
