"""TLS in the service itself."""

import asyncio
import ssl
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager, suppress
from pathlib import Path

import httpx
import pytest

from chatbot.adapters.llm.scripted import ScriptedModel
from company_network import Authority
from raw_http import Connection, read_answer
from service import API_KEY, Service, serving, settings_for_tests

MANY_BYTES = 64 * 2**20
"""More than 16 KiB each millisecond for 2 s, and what the kernel takes for a server that does not read."""
HSTS = "max-age=31536000"
HEAD = f"POST /chat HTTP/1.1\r\nHost: localhost\r\nX-API-Key: {API_KEY}\r\n".encode()
JSON = b"Content-Type: application/json\r\n"


@asynccontextmanager
async def over_tls(folder: Path) -> AsyncGenerator[tuple[Service, ssl.SSLContext]]:
    authority = Authority(folder)
    authority.server("localhost")
    pem = folder / "server.pem"  # the certificate and its key
    settings = settings_for_tests(
        tls_cert_file=pem, tls_key_file=pem, mem_structured_enable=False, trusted_proxies="10.0.0.2"
    )
    async with serving(settings, model=ScriptedModel(lambda _: "Of course.")) as service:
        yield service, ssl.create_default_context(cafile=str(authority.file))


@asynccontextmanager
async def connected(service: Service, context: ssl.SSLContext) -> AsyncGenerator[Connection]:
    port = httpx.URL(service.url).port
    reader, writer = await asyncio.open_connection("localhost", port, ssl=context)
    try:
        yield reader, writer
    finally:
        writer.close()
        await asyncio.wait({asyncio.ensure_future(writer.wait_closed())})


@pytest.mark.parametrize(
    ("request_", "status"),
    [
        (b"GET /health HTTP/1.1\r\nHost: localhost\r\n\r\n", 200),
        (b"GET /me HTTP/1.1\r\nHost: localhost\r\n\r\n", 401),
        (HEAD + JSON + b'Content-Length: 16\r\n\r\n{"prompt": "Hi"}', 200),
        (HEAD + b"Accept: text/event-stream\r\nContent-Length: 1\r\n\r\n{", 415),
        (b"\r\n\r\n", 400),
    ],
)
async def test_tls_response_sets_hsts(tmp_path: Path, request_: bytes, status: int) -> None:
    async with (
        over_tls(tmp_path) as (service, context),
        connected(service, context) as (reader, writer),
    ):
        writer.write(request_)
        answer = await read_answer(reader)
    assert (answer.status_code, answer.headers["strict-transport-security"]) == (status, HSTS)


async def test_body_larger_than_the_read_buffer_arrives_over_tls(tmp_path: Path) -> None:
    body = b'{"prompt": "Hi"}'.ljust(60_000)
    async with (
        over_tls(tmp_path) as (service, context),
        connected(service, context) as (reader, writer),
    ):
        for _ in range(3):
            writer.write(HEAD + JSON + b"Content-Length: %d\r\n\r\n" % len(body) + body)
            assert (await read_answer(reader)).status_code == 200


async def test_long_head_and_pipelined_requests_are_answered_over_tls(tmp_path: Path) -> None:
    cookies = (b"Cookie: " + b"x" * 8000 + b"\r\n") * 8
    request = b"GET /health HTTP/1.1\r\nHost: localhost\r\n" + cookies + b"\r\n"
    async with (
        over_tls(tmp_path) as (service, context),
        connected(service, context) as (reader, writer),
    ):
        writer.write(request * 5)
        for _ in range(5):
            assert (await read_answer(reader)).status_code == 200


async def test_client_that_sends_a_whole_refused_body_receives_the_response_over_tls(
    tmp_path: Path,
) -> None:
    async with over_tls(tmp_path) as (service, context):
        port = httpx.URL(service.url).port
        async with httpx.AsyncClient(verify=context) as client:
            answer = await client.post(f"https://localhost:{port}/chat", content=b"x" * 12_000_000)
    assert (answer.status_code, answer.json()["code"]) == (401, "unauthenticated")


async def test_body_that_is_refused_unread_is_not_read_on_over_tls(tmp_path: Path) -> None:
    async with (
        over_tls(tmp_path) as (service, context),
        connected(service, context) as (reader, writer),
    ):
        writer.write(b"POST /chat HTTP/1.1\r\nHost: x\r\nContent-Length: 200000000\r\n\r\n")
        answer = await read_answer(reader)
        assert (answer.status_code, answer.headers["connection"]) == (401, "close")
        sent = 0
        with suppress(OSError):
            while sent < 2 * MANY_BYTES:
                writer.write(b"x" * 2**16)
                await writer.drain()
                sent += 2**16
        assert sent < MANY_BYTES


@pytest.mark.parametrize("forwarded", [{}, {"X-Forwarded-Proto": "https"}])
async def test_plain_http_does_not_ask_for_tls(forwarded: dict[str, str]) -> None:
    """Behind a TLS proxy, the proxy sets that header."""
    async with serving(settings_for_tests(trusted_proxies="127.0.0.1")) as service:
        answer = await service.client.get("/health", headers=forwarded)
    assert "strict-transport-security" not in answer.headers
