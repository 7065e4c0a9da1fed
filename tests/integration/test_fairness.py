"""Nothing that one caller sends delays another."""

import asyncio
import json
import math
import statistics
import sys
import time
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager, suppress
from pathlib import Path

import pytest

import abusive_clients
from chatbot.entrypoints.server.backlog import Backlog
from process import Running, running
from raw_http import answer_to_raw, connected, read_answer
from service import API_KEY, Service, code_of, serving, settings_for_tests

SAMPLES = 30
TRIES = 3
"""Other work on the machine makes figures worse, never better: the best of some is ours."""
HEALTH_P99_S = 0.1
"""On an idle machine; on a busy one, up to three times the figure without the attackers."""
SLOWER = 3.0

LINGERING_BYTES = 64 * 2**20
"""More than 16 KiB each millisecond for 2 s, and what the kernel takes for a server that does not read."""

HEAD = b"POST /chat HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
KEYED = HEAD + b"X-API-Key: %b\r\nTransfer-Encoding: chunked\r\n\r\n"


@asynccontextmanager
async def under_attack(service: Running, kind: str) -> AsyncGenerator[None]:
    port = str(service.client.base_url.port)
    program = [abusive_clients.__file__, kind, port, API_KEY]
    attacker = await asyncio.create_subprocess_exec(sys.executable, *program)
    try:
        yield
    finally:
        attacker.kill()
        await attacker.wait()


async def measured(service: Running, session_id: str) -> tuple[float, float]:
    """The p99 of /health and the median of a turn, in seconds."""
    body = {"prompt": "hola", "session_id": session_id}
    health, turns = list[float](), list[float]()
    for _ in range(SAMPLES):
        began = time.perf_counter()
        (await service.client.get("/health")).raise_for_status()
        health.append(time.perf_counter() - began)
        began = time.perf_counter()
        (await service.client.post("/chat", json=body)).raise_for_status()
        turns.append(time.perf_counter() - began)
    return sorted(health)[math.ceil(0.99 * SAMPLES) - 1], statistics.median(turns)


async def test_health_and_turns_are_served_beside_eight_connections_of_any_kind(
    tmp_path: Path,
) -> None:
    slow: dict[str, list[str]] = {}
    async with running(tmp_path, MEM_SUMMARIZE_THRESHOLD="0", LOG_LEVEL="warning") as service:
        session_id = (await service.answer("POST", "/sessions/new"))["session_id"]
        await measured(service, session_id)
        for kind in abusive_clients.KINDS:
            for _ in range(TRIES):
                quiet_health_s, quiet_s = await measured(service, session_id)
                bound_s = max(HEALTH_P99_S, SLOWER * quiet_health_s)
                async with under_attack(service, kind):
                    health_s, turn_s = await measured(service, session_id)
                if health_s < bound_s and turn_s < SLOWER * quiet_s:
                    break
                figures = f"health {health_s * 1000:.0f} ms, turn {turn_s / quiet_s:.1f} times"
                slow.setdefault(kind, []).append(figures)
    assert {kind: figures for kind, figures in slow.items() if len(figures) == TRIES} == {}


FRAMED = {
    "chunks of a byte": b"1\r\na\r\n" * 3000,
    "a long extension": b"1;" + b"x" * 5000 + b"\r\na\r\n",
    "extensions": (b"5;a=b;c=d\r\nhello\r\n") * 500,
    "leading zeros": b"0000000000000001\r\na\r\n" * 300,
    "a long trailer": b"2\r\n{}\r\n0\r\nX: " + b"x" * 5000 + b"\r\n\r\n",
    "many trailers": b"2\r\n{}\r\n0\r\n" + b"a: b\r\n" * 500 + b"\r\n",
    "an unfinished trailer": b"2\r\n{}\r\n0\r\nX: " + b"x" * 5000,
}


@pytest.mark.parametrize("body", FRAMED.values(), ids=FRAMED)
async def test_framing_that_is_much_larger_than_its_body_is_refused(body: bytes) -> None:
    async with serving() as service, connected(service) as (reader, writer):
        writer.write(KEYED.replace(b"%b", API_KEY.encode()) + body)
        answer = await read_answer(reader)
        assert code_of(answer) == (400, "bad_request")
        assert answer.headers["connection"] == "close"
        assert await reader.read() == b""


@pytest.mark.parametrize("size", [1, 2, 16])
async def test_body_in_small_chunks_is_accepted(size: int) -> None:
    """Chunks as written by an encoder that flushes each token: few, or not tiny."""
    body = json.dumps({"prompt": "x" * (100 if size < 16 else 3900)}).encode()
    pieces = [body[at : at + size] for at in range(0, len(body), size)]
    sent = b"".join(b"%x\r\n%b\r\n" % (len(piece), piece) for piece in pieces) + b"0\r\n\r\n"
    async with serving() as service:
        answer = await answer_to_raw(service, KEYED + sent)
    assert answer.status_code == 200


@pytest.mark.parametrize(
    "head",
    [
        b"GET /health HTTP/1.1\r\nHost: x\r\n" + b"a: b\r\n" * 120 + b"\r\n",
        b"GET /health HTTP/1.1\r\nHost: x\r\n" + b"a: b\r\n" * 120,
        b"GET /health HTTP/1.1\r\nHost: x\r\nX: " + b"x" * 66_000 + b"\r\n\r\n",
        b"GET /health HTTP/1.1\r\nHost: x\r\nX: " + b"x" * 66_000,
        b"GET /health?" + b"a&" * 40 + b" HTTP/1.1\r\nHost: x\r\n\r\n",
    ],
    ids=[
        "headers",
        "headers without an end",
        "a long head",
        "a long head without an end",
        "parameters",
    ],
)
async def test_head_that_takes_long_to_read_is_refused(head: bytes) -> None:
    async with serving() as service:
        assert code_of(await answer_to_raw(service, head)) == (400, "bad_request")


async def test_request_head_of_100_headers_or_64_kib_is_accepted() -> None:
    many = b"GET /health HTTP/1.1\r\nHost: x\r\n" + b"a: b\r\n" * 98 + b"\r\n"
    cookies = (b"Cookie: " + b"x" * 8000 + b"\r\n") * 8
    long = b"GET /health HTTP/1.1\r\nHost: x\r\n" + cookies + b"\r\n"
    async with serving() as service:
        for head in (many, long, many.replace(b"\r\n", b"\n")):
            assert (await answer_to_raw(service, head)).status_code == 200


async def taken(service: Service, head: bytes) -> int:
    """How many bytes of an endless body are read before the connection is closed."""
    sent, piece = 0, b"x" * 2**16
    async with connected(service) as (reader, writer):
        writer.write(head)
        answer = await read_answer(reader)
        assert answer.status_code >= 400 or head.startswith(b"GET")
        assert answer.headers["connection"] == "close"
        with suppress(OSError):
            while sent < 2 * LINGERING_BYTES:
                writer.write(piece)
                await writer.drain()
                sent += len(piece)
    return sent


@pytest.mark.parametrize(
    "head",
    [
        HEAD + b"Content-Length: 200000000\r\n\r\n",
        HEAD + b"Transfer-Encoding: chunked\r\n\r\n",
        HEAD.replace(b"POST", b"GET") + b"Content-Length: 200000000\r\n\r\n",
        b"GET /health HTTP/1.1\r\nHost: x\r\nContent-Length: 200000000\r\n\r\n",
        b"\x16\x03\x01\r\n\r\n",
    ],
    ids=["length", "chunks", "no body is read", "public", "not HTTP"],
)
async def test_body_that_is_refused_unread_is_not_read_on(head: bytes) -> None:
    async with serving() as service:
        assert await taken(service, head) < LINGERING_BYTES


async def test_client_that_sends_a_whole_refused_body_receives_the_response() -> None:
    body = {"prompt": "x" * 12_000_000}  # more than the kernel buffers
    async with serving() as service:
        for _ in range(3):
            answer = await service.client.post("/chat", json=body)
            assert code_of(answer) == (413, "body_too_large")
            answer = await service.anonymous.post("/chat", json=body)
            assert code_of(answer) == (401, "unauthenticated")


@pytest.fixture
def waiting(monkeypatch: pytest.MonkeyPatch) -> list[Callable[[], None]]:
    """The work that was added to the queue."""
    found, add = list[Callable[[], None]](), Backlog.add

    def noted(backlog: Backlog, work: Callable[[], None]) -> None:
        found.append(work)
        add(backlog, work)

    monkeypatch.setattr(Backlog, "add", noted)
    return found


@pytest.mark.parametrize("path", ["/health", "/me", "/nowhere"])
async def test_request_after_any_response_is_not_delayed(
    waiting: list[Callable[[], None]], path: str
) -> None:
    """A proxy multiplexes the requests of many clients onto one connection."""
    async with serving() as service, connected(service) as (reader, writer):
        for _ in range(10):
            writer.write(f"GET {path} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
            assert (await read_answer(reader)).status_code in (200, 401)
    assert waiting == []


async def test_long_prompt_in_many_packets_is_not_delayed(
    waiting: list[Callable[[], None]],
) -> None:
    body = json.dumps({"prompt": "x" * 40_000}).encode()
    head = KEYED.replace(b"%b", API_KEY.encode()).replace(
        b"Transfer-Encoding: chunked", b"Content-Length: %d" % len(body)
    )
    settings = settings_for_tests(max_prompt_chars=50_000)
    async with serving(settings) as service, connected(service) as (reader, writer):
        writer.write(head)
        for at in range(0, len(body), 1448):  # an Ethernet packet's
            writer.write(body[at : at + 1448])
            await asyncio.sleep(0.001)
        assert (await read_answer(reader)).status_code == 200
    assert waiting == []


async def test_complete_refused_request_keeps_its_connection() -> None:
    request = HEAD + b"Content-Length: 2\r\n\r\n{}"
    async with serving() as service, connected(service) as (reader, writer):
        for _ in range(3):
            writer.write(request)
            answer = await read_answer(reader)
            assert (answer.status_code, "connection" in answer.headers) == (401, False)


async def test_body_in_tiny_packets_is_accepted() -> None:
    body = b'{"prompt": "Hi"}'
    async with serving() as service, connected(service) as (reader, writer):
        head = KEYED.replace(b"%b", API_KEY.encode()).replace(
            b"Transfer-Encoding: chunked", b"Content-Length: %d" % len(body)
        )
        for byte in head[-20:] + body:
            if head:
                writer.write(head[:-20])
                head = b""
            writer.write(bytes([byte]))
            await writer.drain()
            await asyncio.sleep(0)
        assert (await read_answer(reader)).status_code == 200
