"""How faulty provider responses are described in the error, the log and the advice."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import aclosing, asynccontextmanager

import pytest

from chatbot.adapters.llm.diagnosis import CUT, UNUSABLE, explanation
from chatbot.adapters.llm.faults import Fault, fault_of
from chatbot.adapters.llm.genkit_model import GenkitChatModel
from chatbot.adapters.llm.provider import TransportName, build_genkit
from chatbot.domain.chat import MessageRole
from chatbot.domain.errors import (
    ModelError,
    ModelFailure,
    ModelTimeout,
    ModelUnavailable,
    cause_of,
)
from chatbot.domain.ports.model import ModelRequest, PromptMessage, Task
from tcp_server import tcp_server

SECRET = "sk-quoted-by-the-provider"
REQUEST = ModelRequest(
    task=Task.CHAT,
    system="",
    messages=(PromptMessage(role=MessageRole.USER, text="Hi"),),
    max_output_tokens=77,
)
WORDS = f"No, {SECRET} is not welcome here."

each_wire = pytest.mark.parametrize("transport", ["aiohttp", "sdk"])


@asynccontextmanager
async def answering(raw: bytes) -> AsyncIterator[str]:
    """The base URL of a server that sends these bytes to every request and closes."""

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = await reader.readuntil(b"\r\n\r\n")
        length = head.lower().partition(b"content-length:")[2].partition(b"\r\n")[0]
        await reader.readexactly(int(length or 0))
        writer.write(raw)
        await writer.drain()

    async with tcp_server(answer) as port:
        yield f"http://127.0.0.1:{port}/v1"


async def failures(transport: TransportName, base_url: str) -> list[ModelFailure]:
    """The results of a non-streaming and a streaming call."""
    ai = build_genkit(
        transport=transport,
        api_key="sk-ours",
        base_url=base_url,
        connect_timeout_s=10,
        turn_timeout_s=20,
    )
    model = GenkitChatModel(ai, "openai/fake-model", temperature=None)
    found = []
    async with aclosing(model):
        with pytest.raises(ModelFailure) as whole:
            await model.complete(REQUEST)
        found.append(whole.value)
        with pytest.raises(ModelFailure) as streamed:
            async for _ in model.stream(REQUEST):
                pass
        found.append(streamed.value)
    return found


def http(status: int, body: bytes, **headers: str) -> bytes:
    headers = {"Content-Type": "application/json", "Content-Length": str(len(body)), **headers}
    lines = [f"HTTP/1.1 {status} Whatever", *(f"{k}: {v}" for k, v in headers.items()), "", ""]
    return "\r\n".join(lines).encode() + body


def refusal(status: int, **error: str) -> bytes:
    return http(status, json.dumps({"error": {"message": WORDS, **error}}).encode())


@each_wire
@pytest.mark.parametrize(
    "raw",
    [
        b"\x15\x03\x01\x00\x02\x02\x46",  # an alert of TLS
        b"SSH-2.0-OpenSSH_9.2\r\n\r\n",
        b"HTTP/1.1 abc Nonsense\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nBroken header\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: x\r\n\r\n{}",
        http(200, b"not gzip at all", **{"Content-Encoding": "gzip"}),
        http(200, b"not known", **{"Content-Encoding": "klingon"}),
        http(200, b"<html>Welcome</html>", **{"Content-Type": "text/html"}),
        http(200, b"[]"),
        http(200, b""),
    ],
    ids=["tls", "ssh", "status", "header", "length", "gzip", "coding", "html", "list", "empty"],
)
async def test_response_in_another_protocol_is_not_reported_as_a_refusal(
    transport: TransportName, raw: bytes
) -> None:
    async with answering(raw) as base_url:
        for failure in await failures(transport, base_url):
            assert type(failure) is ModelError
            assert str(failure) == UNUSABLE
            assert failure.status is None
            assert "refused" not in cause_of(failure).lower()
            assert fault_of(failure) is Fault.ANSWER
            assert "is not an OpenAI-compatible API. Fix: " in explanation(failure, base_url)


@each_wire
async def test_unsupported_content_encoding_is_not_reported_as_a_refusal(
    transport: TransportName,
) -> None:
    async with answering(
        http(200, b"\x0b\x02\x80{}\x03", **{"Content-Encoding": "br"})
    ) as base_url:
        for failure in await failures(transport, base_url):
            assert (type(failure), str(failure)) == (ModelError, UNUSABLE)


@each_wire
async def test_tls_failure_is_not_reported_as_a_refusal(transport: TransportName) -> None:
    async def alert(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(1)
        writer.write(b"\x15\x03\x03\x00\x02\x02\x28")  # handshake_failure, RFC 8446 section 6
        await reader.read()

    async with tcp_server(alert) as port:
        base_url = f"https://127.0.0.1:{port}/v1"
        for failure in await failures(transport, base_url):
            assert type(failure) is ModelUnavailable
            assert "refused" not in cause_of(failure)
            assert fault_of(failure) is Fault.TLS
            assert explanation(failure, base_url).startswith("the TLS handshake with 127.0.0.1:")


@each_wire
@pytest.mark.parametrize(
    ("raw", "kind", "said", "fault"),
    [
        (refusal(400, code="bad_value", param="top_k"), ModelError, "400 bad_value, param top_k", Fault.REQUEST),
        (refusal(400, type="invalid_request_error", code="bad_value"), ModelError, "400 bad_value", Fault.REQUEST),
        (refusal(401, type="auth_error"), ModelError, "401 auth_error", Fault.KEY),
        (refusal(404, code="model_not_found"), ModelError, "404 model_not_found", Fault.ADDRESS),
        (refusal(418, code=SECRET), ModelError, "418", Fault.REQUEST),
        (refusal(418, code="x" * 65, param="a b"), ModelError, "418", Fault.REQUEST),
        (refusal(429, code="insufficient_quota"), ModelUnavailable, "429 insufficient_quota", Fault.BUSY),
        (refusal(500, code="500"), ModelUnavailable, "500", Fault.BUSY),
        (http(302, b"", Location="/login"), ModelError, "302", Fault.MOVED),
        (http(403, b"<html>" + WORDS.encode(), **{"Content-Type": "text/html"}), ModelError, "403", Fault.KEY),
    ],
)  # fmt: skip
async def test_status_and_identifiers_of_a_refusal_are_in_the_log_and_its_words_are_not(
    transport: TransportName, raw: bytes, kind: type[ModelFailure], said: str, fault: Fault
) -> None:
    async with answering(raw) as base_url:
        for failure in await failures(transport, base_url):
            assert type(failure) is kind
            assert f"[{said}]" in cause_of(failure)
            assert fault_of(failure) is fault
            advice = explanation(failure, base_url)
            assert f"({said})" in advice
            assert ". Fix: " in advice
            for text in (cause_of(failure), advice, str(failure)):
                assert SECRET not in text
                assert "welcome" not in text


@each_wire
async def test_truncated_answer_is_marked_as_truncated(transport: TransportName) -> None:
    async with answering(http(200, b'{"choices": [', **{"Content-Length": "400"})) as base_url:
        whole, streamed = await failures(transport, base_url)
        for failure in (whole, streamed):
            assert (type(failure), str(failure)) == (ModelError, CUT)
            assert fault_of(failure) is Fault.CUT


@each_wire
async def test_connection_that_is_closed_unanswered_is_an_outage(transport: TransportName) -> None:
    async with answering(b"") as base_url:
        for failure in await failures(transport, base_url):
            assert type(failure) is ModelUnavailable
            assert fault_of(failure) is Fault.HANG_UP


def test_time_out_without_a_foreign_cause_is_slow() -> None:
    failure = ModelTimeout()
    failure.__cause__ = TimeoutError()
    advice = explanation(failure, "http://model.example:8080/v1")
    assert advice.startswith("model.example:8080 does not answer in time. Fix: ")


def test_domain_error_is_passed_on_unchanged() -> None:
    failure = ModelError("Only thinking: see MODEL_MAX_OUTPUT_TOKENS.")
    assert explanation(failure, "http://model.example/v1") == str(failure)
