"""What the service logs about a request; what it never logs is in test_canaries.py."""

import asyncio
import io
import json
import logging
import os
import re
import signal
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal

import pytest
import structlog

from chatbot.adapters.llm.scripted import Answer, Script, ScriptedModel
from chatbot.adapters.storage.in_memory.storage import InMemoryStorage
from chatbot.domain.errors import ModelUnavailable
from chatbot.entrypoints import logging_setup
from chatbot.entrypoints.commands import command_line
from chatbot.entrypoints.http import access_log, guard
from chatbot.entrypoints.server import h11_protocol
from company_network import Authority, Proxy
from process import STOPS_WITHIN_S, running
from provider import FakeProvider
from service import SSE, serving, settings_for_tests

POSIX = pytest.mark.skipif(os.name == "nt", reason="there is no shell to hand a pipe on")
OF_EVERY_LINE = {"event", "level", "time"}
OF_EVERY_REQUEST = OF_EVERY_LINE | {"request_id", "method", "route", "status", "ms"}
OF_A_CLIENT = OF_EVERY_REQUEST | {"client"}
OF_A_TURN = OF_A_CLIENT | {
    *("session_id", "model", "input_tokens", "output_tokens", "finish_reason"),
}


@pytest.fixture
def stderr(monkeypatch: pytest.MonkeyPatch) -> Iterator[io.StringIO]:
    """Logging as configured when stderr is not a terminal; restored at the end."""
    written = io.StringIO()
    for module in (
        access_log,
        command_line,
        guard,
        h11_protocol,
    ):  # loggers keep their first stream
        monkeypatch.setattr(module, "logger", structlog.get_logger("chatbot.access"))
    root = logging.getLogger()
    handlers, level = root.handlers, root.level
    configure(written)
    yield written
    root.handlers, root.level = handlers, level
    structlog.reset_defaults()


def configure(
    stderr: io.StringIO,
    *,
    level: str = "info",
    form: Literal["text", "json"] | None = None,
    with_pid: bool = False,
) -> None:
    """Send logs to this stream: pytest restores its own stderr before each test phase."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "stderr", stderr)
        logging_setup.configure(level, form, with_pid=with_pid)


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


async def test_of_several_processes_each_line_names_its_own(stderr: io.StringIO) -> None:
    configure(stderr, with_pid=True)
    async with serving(model=ScriptedModel([])) as service:
        await service.client.post("/sessions/new")
    logging.getLogger("chatbot.chat").warning("another one")
    assert {line["pid"] for line in lines_of(stderr)} == {os.getpid()}


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


async def test_5xx_is_logged_with_its_cause_at_level_error(stderr: io.StringIO) -> None:
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
    defect, request = (line for line in lines_of(stderr) if "request_id" in line)
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


def test_log_level_filters_lines(stderr: io.StringIO) -> None:
    configure(stderr, level="warning")
    structlog.get_logger("chatbot.test").info("small")
    logging.getLogger("chatbot.test").info("small")
    logging.getLogger("httpx").info("small")
    structlog.get_logger("chatbot.test").warning("big")
    logging.getLogger("chatbot.test").warning("big too")
    assert [line["event"] for line in lines_of(stderr)] == ["big", "big too"]


@pytest.mark.parametrize("get_logger", [structlog.get_logger, logging.getLogger])
def test_libraries_log_warnings_and_errors_only(stderr: io.StringIO, get_logger: Any) -> None:
    """At `debug`, genkit logs provider messages, which contain prompts and keys."""
    configure(stderr, level="debug")
    for name in ("genkit._core._tracing", "chatbot.test"):
        for level in ("debug", "info", "warning"):
            getattr(get_logger(name), level)(f"{level} of {name}")
    assert [line["event"] for line in lines_of(stderr)] == [
        "warning of genkit._core._tracing",
        *(f"{level} of chatbot.test" for level in ("debug", "info", "warning")),
    ]


@pytest.mark.parametrize(
    "value",
    [
        "Bearer abcdef",
        "eyJhbGciOi.eyJzdWIi.c2ln",
        "$argon2id$v=19$m=19456,t=2,p=1$c2FsdA$aGFzaA",
        "sk-abcdefghijkl",
    ],
)
def test_apparent_secret_is_redacted(stderr: io.StringIO, value: str) -> None:
    configure(stderr)
    structlog.get_logger("chatbot.test").info(f"saw {value}", cause=f"it was {value}!")
    logging.getLogger("chatbot.test").warning("saw %s", value)
    try:
        raise RuntimeError(value)  # noqa: TRY301 - a defect is raised somewhere
    except RuntimeError:
        structlog.get_logger("chatbot.test").exception("failed")
    assert value not in stderr.getvalue()
    assert stderr.getvalue().count("[redacted]") == 4


@pytest.mark.parametrize("transport", ["aiohttp", "sdk"])
@pytest.mark.parametrize("headers", [{}, SSE], ids=["json", "sse"])
async def test_unknown_certificate_is_named_and_neither_key_nor_proxy_password(
    stderr: io.StringIO,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    transport: str,
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
            model_transport=transport,
        )
        async with serving(settings) as service:
            answer = await service.client.post("/chat", json={"prompt": "Hi"}, headers=headers)
    assert (answer.status_code, answer.json()["code"]) == (503, "model_unavailable")
    assert "CERTIFICATE_VERIFY_FAILED" in requests_of(stderr)[-1]["cause"]
    for secret in ("sk-ours-and-only-ours", "open-sesame", "YW5hOm9wZW4tc2VzYW1l"):
        assert secret not in stderr.getvalue() + answer.text


def test_repeated_asyncio_messages_are_logged_once_a_second(stderr: io.StringIO) -> None:
    for _ in range(50):
        logging.getLogger("asyncio").error("socket.accept() out of system resource")
    assert 1 <= len(lines_of(stderr)) <= 25  # one, but a slow machine needs more seconds
    logging.getLogger("asyncio").error("something else")
    assert lines_of(stderr)[-1]["event"] == "something else"


@pytest.mark.parametrize("form", ["text", "json"])
def test_control_characters_never_reach_a_terminal(
    stderr: io.StringIO, form: Literal["text", "json"]
) -> None:
    configure(stderr, form=form)
    odd = "\x1b[2J \x9b31m \x7f \u202e \r\n2026-01-01 forged"
    structlog.get_logger("chatbot.test").info(f"saw {odd}", host=odd[:40], nested=[odd], cause=odd)
    logging.getLogger("chatbot.test").warning("saw %s", odd, extra={"odd": {odd: odd}})
    try:
        raise RuntimeError(odd)  # noqa: TRY301 - a defect is raised somewhere
    except RuntimeError:
        structlog.get_logger("chatbot.test").exception("failed")
    written = stderr.getvalue()
    assert not re.search("[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e]", written)
    first, second, *_ = written.splitlines()
    assert "forged" in first
    assert "forged" in second
    if form == "json":
        assert json.loads(first)["cause"] == odd


async def test_text_of_a_caller_is_cut(stderr: io.StringIO) -> None:
    long = "x" * 300
    async with serving(model=ScriptedModel([])) as service:
        headers = {"User-Agent": long, "X-Request-Id": long, "Host": long}
        await service.client.request(long.upper(), f"/sessions/{long}?{long}", headers=headers)
        await service.client.get(f"/{long}", headers=headers)
    for line in requests_of(stderr):
        assert all(len(value) <= 64 for value in line.values() if isinstance(value, str))
    assert requests_of(stderr)[0]["method"] == "X" * 63 + "…"


@POSIX
@pytest.mark.parametrize("workers", ["1", "2"])
async def test_unread_stderr_pipe_does_not_stop_the_service(tmp_path: Path, workers: str) -> None:
    """The pipe holds about 300 lines; stopping is graceful too."""
    program = 'mkfifo unread; exec 2<>unread; exec "$0" "$@"'
    environment = {"WORKERS": workers, "LOG_FORMAT": "json"}
    async with running(tmp_path, "bash", "-c", program, **environment) as service:
        for _ in range(1000):
            assert (await service.client.get("/sessions")).status_code == 200
        service.process.send_signal(signal.SIGTERM)
        assert await asyncio.wait_for(service.process.wait(), STOPS_WITHIN_S) == 0
