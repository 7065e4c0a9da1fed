"""What the service writes about a request, and what never stands in a log."""

import io
import json
import logging
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal

import httpx
import pytest
import structlog

import provider
from chatbot.adapters.llm.scripted import Answer, Script, ScriptedModel
from chatbot.adapters.storage.in_memory import InMemoryStorage
from chatbot.domain.errors import ModelUnavailable
from chatbot.entrypoints import logs
from chatbot.entrypoints.http import edge
from company_network import Authority, Proxy
from provider import FakeProvider, Fault
from service import ADMIN_EMAIL, PASSWORD, serving, settings_for_tests

OF_EVERY_LINE = {"event", "level", "time"}
OF_EVERY_REQUEST = OF_EVERY_LINE | {"request_id", "method", "route", "status", "ms"}
OF_A_CLIENT = OF_EVERY_REQUEST | {"client"}
OF_A_TURN = OF_A_CLIENT | {
    *("session_id", "model", "input_tokens", "output_tokens", "finish_reason"),
}
SSE = {"Accept": "text/event-stream"}


@pytest.fixture
def stderr(monkeypatch: pytest.MonkeyPatch) -> Iterator[io.StringIO]:
    """Logs as they are configured when stderr is no terminal; undone at the end."""
    written = io.StringIO()
    monkeypatch.setattr(edge, "logger", structlog.get_logger("chatbot.access"))
    root = logging.getLogger()
    handlers, level = root.handlers, root.level
    configure(written)
    yield written
    root.handlers, root.level = handlers, level
    structlog.reset_defaults()


def configure(
    stderr: io.StringIO, *, level: str = "info", form: Literal["text", "json"] | None = None
) -> None:
    """Send logs there: pytest puts its own stderr back before each phase of a test."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "stderr", stderr)
        logs.configure(level, form)


def lines_of(stderr: io.StringIO) -> list[dict[str, Any]]:
    return [json.loads(line) for line in stderr.getvalue().splitlines()]


def requests_of(stderr: io.StringIO) -> list[dict[str, Any]]:
    return [line for line in lines_of(stderr) if line["event"] == "request"]


async def test_turn_is_one_line_with_the_documented_fields(stderr: io.StringIO) -> None:
    settings = settings_for_tests(mem_structured_enable=False)
    async with serving(settings, model=ScriptedModel(lambda _: "Of course.")) as service:
        await service.add_user("luis@example.com")
        bearer = await service.bearer("luis@example.com")
        me = (await service.client.get("/me", headers=bearer)).json()
        answer = await service.client.post("/chat", json={"prompt": "Hi"}, headers=bearer)
        stream = await service.client.post("/chat", json={"prompt": "Hi"}, headers=SSE)
    *_, plain, streamed = requests_of(stderr)
    assert plain.keys() == OF_A_TURN | {"user_id"}
    assert streamed.keys() == OF_A_TURN
    assert (plain["level"], plain["method"], plain["route"]) == ("info", "POST", "/chat")
    assert (plain["status"], plain["client"], plain["user_id"]) == (200, "default", me["id"])
    assert plain["request_id"] == answer.headers["x-request-id"]
    assert streamed["request_id"] == stream.headers["x-request-id"]
    assert plain["session_id"] == answer.json()["session_id"]
    assert (plain["model"], plain["finish_reason"]) == ("local/scripted", "stop")
    assert plain["input_tokens"] == answer.json()["usage"]["input_tokens"]
    assert plain["output_tokens"] == answer.json()["usage"]["output_tokens"]
    assert 0 < plain["ms"] < 5000


async def test_every_request_is_one_line(stderr: io.StringIO) -> None:
    async with serving(model=ScriptedModel([])) as service:
        session = (await service.client.post("/sessions/new")).json()["session_id"]
        answers = [
            await service.anonymous.get("/health"),
            await service.anonymous.get("/sessions"),
            await service.client.get(f"/sessions/{session}"),
            await service.client.get("/nowhere/at/all"),
            await service.client.post("/chat", json={}),
            await service.anonymous.get("/docs"),
        ]
    lines = requests_of(stderr)[1:]
    assert [line["request_id"] for line in lines] == [a.headers["x-request-id"] for a in answers]
    assert [(line["route"], line["status"]) for line in lines] == [
        *(("/health", 200), ("-", 401), ("/sessions/{session_id}", 200), ("-", 404)),
        *(("/chat", 422), ("/docs", 200)),
    ]
    assert [line.keys() for line in lines] == [
        *(OF_EVERY_REQUEST, OF_EVERY_REQUEST, OF_A_CLIENT | {"session_id"}, OF_A_CLIENT),
        *(OF_A_CLIENT, OF_EVERY_REQUEST),
    ]
    assert {line["level"] for line in lines} == {"info"}


async def test_5xx_names_its_cause_at_level_error(stderr: io.StringIO) -> None:
    failure = ModelUnavailable("Not now.")
    answers: list[Answer] = [failure, Script(pieces=("one",), failure=failure)]
    async with serving(model=ScriptedModel(answers)) as service:
        await service.client.post("/chat", json={"prompt": "Hi"})
        await service.client.post("/chat", json={"prompt": "Hi"}, headers=SSE)
    plain, streamed = requests_of(stderr)
    assert (plain["status"], streamed["status"]) == (503, 200)
    for line in (plain, streamed):
        assert line["level"] == "error"
        assert "ModelUnavailable" in line["cause"]


class BrokenStorage(InMemoryStorage):
    async def check(self) -> None:
        raise RuntimeError("a defect")


async def test_unexpected_error_is_logged_with_its_traceback(stderr: io.StringIO) -> None:
    async with serving(storage=BrokenStorage(), model=ScriptedModel([])) as service:
        answer = await service.anonymous.get("/ready")
    assert answer.status_code == 500
    defect, request = lines_of(stderr)
    assert defect["level"] == request["level"] == "error"
    assert "Traceback" in defect["exception"]
    assert "a defect" in defect["exception"]
    assert defect["request_id"] == request["request_id"] == answer.headers["x-request-id"]
    assert request["cause"] == "RuntimeError"


def test_text_is_for_people_and_one_line_an_event(stderr: io.StringIO) -> None:
    configure(stderr, form="text")
    structlog.get_logger("chatbot.test").info("it happened", route="/chat")
    [line] = stderr.getvalue().splitlines()
    assert "it happened" in line
    assert "/chat" in line


def test_level_bounds_what_is_written(stderr: io.StringIO) -> None:
    configure(stderr, level="warning")
    structlog.get_logger("chatbot.test").info("small")
    logging.getLogger("chatbot.test").info("small")
    logging.getLogger("httpx").info("small")
    structlog.get_logger("chatbot.test").warning("big")
    logging.getLogger("chatbot.test").warning("big too")
    assert [line["event"] for line in lines_of(stderr)] == ["big", "big too"]


@pytest.mark.parametrize(
    "value",
    [
        "Bearer abcdef",
        "eyJhbGciOi.eyJzdWIi.c2ln",
        "$argon2id$v=19$m=19456,t=2,p=1$c2FsdA$aGFzaA",
        "sk-abcdefghijkl",
    ],
)
def test_what_looks_like_a_secret_is_redacted(stderr: io.StringIO, value: str) -> None:
    configure(stderr)
    structlog.get_logger("chatbot.test").info(f"saw {value}", cause=f"it was {value}!")
    logging.getLogger("chatbot.test").warning("saw %s", value)
    try:
        raise RuntimeError(value)  # noqa: TRY301
    except RuntimeError:
        structlog.get_logger("chatbot.test").exception("failed")
    assert value not in stderr.getvalue()
    assert stderr.getvalue().count("[redacted]") == 4


@pytest.mark.parametrize("wire", ["lean", "plugin"])
async def test_no_canary_ever_stands_in_a_log(
    stderr: io.StringIO, monkeypatch: pytest.MonkeyPatch, wire: str
) -> None:
    """Secrets in every input, and a provider whose errors quote prompt and key."""
    canaries = {name: f"canary{number}zq" for number, name in enumerate(_PLANTED)}
    quoted = {"error": {"message": f"Bad: {canaries['prompt']} {canaries['provider_key']}"}}
    monkeypatch.setattr(provider, "error_body", lambda _: quoted)
    async with FakeProvider() as upstream:
        upstream.retry_after = "60"
        upstream.reply = lambda _: f"Well, {canaries['answer']}"
        settings = settings_for_tests(
            openai_base_url=upstream.base_url,
            openai_api_key=canaries["provider_key"],
            genkit_model="openai/fake-model",
            model_wire=wire,
            model_first_token_timeout_s=0.1,
            model_idle_timeout_s=0.1,
            model_turn_timeout_s=0.3,
            mem_extract_every=1,
        )
        async with serving(settings) as service:
            await service.add_admin(ADMIN_EMAIL, canaries["password"] + PASSWORD)
            bearer = await service.bearer(ADMIN_EMAIL, canaries["password"] + PASSWORD)
            canaries["token"] = bearer["Authorization"].removeprefix("Bearer ")
            for headers in (bearer, bearer | SSE):
                for fault in (None, *Fault):
                    upstream.fault = fault
                    await service.client.post(
                        "/chat",
                        json={"prompt": canaries["prompt"]},
                        headers=headers | {"X-Other": canaries["header"]},
                        params={"q": canaries["query"]},
                    )
            await _misuse(service.client, service.anonymous, canaries)
    assert len(requests_of(stderr)) > 2 * len(Fault)
    text = stderr.getvalue()
    assert [name for name, canary in canaries.items() if canary in text] == []
    assert not {settings.api_key.get_secret_value(), provider.SECRET} & set(text.split('"'))


_PLANTED = (
    *("prompt", "answer", "password", "key", "token", "query", "header", "path", "provider_key"),
    "email",
)


async def _misuse(
    client: httpx.AsyncClient, anonymous: httpx.AsyncClient, canaries: dict[str, str]
) -> None:
    """Send secrets where they do not belong."""
    login = {"email": f"{canaries['email']}@example.com", "password": canaries["password"]}
    await client.post("/auth/login", json=login)
    await client.post("/auth/login", json=[login])
    await client.post("/auth/login", content=str(login), headers={"Content-Type": "text/plain"})
    await anonymous.get("/sessions", headers={"X-API-Key": canaries["key"]})
    await anonymous.get("/sessions", params={"api_key": canaries["key"]})
    await anonymous.get("/sessions", headers={"Cookie": f"key={canaries['key']}"})
    await client.get("/me", headers={"Authorization": f"Bearer {canaries['key']}"})
    await client.get(f"/{canaries['path']}")
    await client.get(f"/sessions/{canaries['path']}")
    await client.request(canaries["path"].upper(), "/chat")
    await client.get("/sessions", params={"after": canaries["query"]})


@pytest.mark.parametrize("wire", ["lean", "plugin"])
@pytest.mark.parametrize("headers", [{}, SSE], ids=["json", "sse"])
async def test_unknown_certificate_is_named_and_neither_key_nor_proxy_password(
    stderr: io.StringIO,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    wire: str,
    headers: dict[str, str],
) -> None:
    configure(stderr, level="debug")
    tls = Authority(tmp_path).server("localhost")
    async with FakeProvider(tls=tls) as provider, Proxy(user="ana:open-sesame") as proxy:
        monkeypatch.setenv("https_proxy", proxy.url)
        monkeypatch.setenv("no_proxy", "")
        settings = settings_for_tests(
            openai_base_url=provider.base_url,
            openai_api_key="sk-ours-and-only-ours",
            genkit_model="openai/fake-model",
            model_wire=wire,
        )
        async with serving(settings) as service:
            answer = await service.client.post("/chat", json={"prompt": "Hi"}, headers=headers)
    assert (answer.status_code, answer.json()["code"]) == (503, "model_unavailable")
    assert "CERTIFICATE_VERIFY_FAILED" in requests_of(stderr)[-1]["cause"]
    for secret in ("sk-ours-and-only-ours", "open-sesame", "YW5hOm9wZW4tc2VzYW1l"):
        assert secret not in stderr.getvalue() + answer.text
