"""Five hundred disconnecting clients, over both transports: only delivered text is stored."""

import asyncio
import json
import socket
import struct
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil  # type: ignore[import-untyped] # its stubs are not in the lock
import pytest

from conversation import PATIENCE_S, eventually
from provider import FakeProvider, Fault
from service import API_KEY, Service, serving, settings_for_tests

WAVE = 50  # clients at once, each in a session of its own
RESET = struct.pack("ii", 1, 0)


@dataclass(frozen=True)
class Leaving:
    """When a client disconnects: during which provider fault, and after which data."""

    fault: Fault
    as_stream: bool = False
    reads_up_to: bytes = b""
    sends_all: bool = True
    headers: bytes = b""


AFTER_THE_FIRST_DELTA = Leaving(Fault.IDLE, as_stream=True, reads_up_to=b" said:")
WAVES = [
    Leaving(Fault.SILENT),
    Leaving(Fault.SILENT, as_stream=True),
    Leaving(Fault.IDLE),
    AFTER_THE_FIRST_DELTA,
    Leaving(Fault.SILENT, sends_all=False),
]
UPGRADE = b"Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABk\r\n"
"""What Java's HTTP client offers with every request in clear text."""
STORED = ["", "", "", "You said:"]  # of who had sent all of the question


@asynccontextmanager
async def world(transport: str, folder: Path) -> AsyncGenerator[tuple[Service, FakeProvider]]:
    async with FakeProvider() as upstream:
        settings = settings_for_tests(
            storage_url=f"json:{folder}",
            openai_base_url=upstream.base_url,
            genkit_model="openai/fake-model",
            model_transport=transport,
            model_max_concurrent=4 * WAVE,  # one client may have a quarter
            model_first_token_timeout_s=600,
            model_idle_timeout_s=600,
            model_turn_timeout_s=900,
            mem_structured_enable=False,
            mem_summarize_threshold=0,
        )
        async with serving(settings) as service:
            service.client.headers["Connection"] = "close"
            yield service, upstream


async def arrive(
    service: Service, session_id: str, how: Leaving
) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    port = int(service.url.rpartition(":")[2])
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    body = json.dumps({"prompt": "Hello there", "session_id": session_id}).encode()
    accept = b"text/event-stream" if how.as_stream else b"application/json"
    head = (
        b"POST /chat HTTP/1.1\r\nHost: x\r\nX-API-Key: %b\r\nAccept: %b\r\nContent-Length: %d\r\n"
    )
    writer.write(head % (API_KEY.encode(), accept, len(body)))
    writer.write(how.headers + b"Content-Type: application/json\r\n\r\n")
    writer.write(body if how.sends_all else body[: len(body) // 2])
    await writer.drain()
    return reader, writer


def leave(writer: asyncio.StreamWriter, *, by_reset: bool) -> None:
    if by_reset:
        raw: socket.socket = writer.get_extra_info("socket")
        raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
    writer.close()


async def wave(service: Service, upstream: FakeProvider, ids: list[str], how: Leaving) -> None:
    """One client in each session; all disconnect once every one has arrived."""
    upstream.fault = how.fault
    known = len(upstream.requests)
    clients = [await arrive(service, session_id, how) for session_id in ids]
    if how.sends_all:
        await eventually(lambda: len(upstream.requests) == known + len(ids))
    else:
        await eventually(lambda: len(service.server.server_state.tasks) == len(ids))
    if how.reads_up_to:
        for reader, _ in clients:
            await asyncio.wait_for(reader.readuntil(how.reads_up_to), PATIENCE_S)
    for number, (_, writer) in enumerate(clients):
        leave(writer, by_reset=number % 2 == 0)
    for received in upstream.requests[known:]:
        await asyncio.wait_for(received.client_left.wait(), PATIENCE_S)
    await eventually(lambda: not service.server.server_state.tasks)


async def ask(service: Service, session_id: str) -> dict[str, Any]:
    body = {"prompt": "And now?", "session_id": session_id}
    answer = await service.client.post("/chat", json=body)
    assert answer.status_code == 200, answer.text
    found: dict[str, Any] = answer.json()
    return found


def open_files() -> int:
    """Open files, sockets and session locks."""
    process = psutil.Process()
    return int(process.num_handles() if psutil.WINDOWS else process.num_fds())


@pytest.mark.parametrize("transport", ["aiohttp", "sdk"])
async def test_disconnected_clients_leave_nothing_behind(transport: str, tmp_path: Path) -> None:
    async with world(transport, tmp_path) as (service, upstream):
        ids = [
            (await service.client.post("/sessions/new")).json()["session_id"] for _ in range(WAVE)
        ]
        await ask(service, ids[0])
        await eventually(lambda: not service.server.server_state.connections)
        tasks, files = asyncio.all_tasks(), open_files()
        for how in WAVES:
            await wave(service, upstream, ids, how)
        await eventually(lambda: not service.server.server_state.connections)
        await eventually(lambda: asyncio.all_tasks() <= tasks)
        await eventually(lambda: open_files() <= files)

        upstream.fault = None
        for session_id in ids:
            await ask(service, session_id)
            session = (await service.client.get(f"/sessions/{session_id}?limit=200")).json()
            answers = [m for m in session["messages"] if m["role"] == "assistant"]
            partial = [m for m in answers if m["state"] == "interrupted"]
            assert len(session["messages"]) == 2 * len(answers)
            assert [m["content"] for m in partial] == STORED
            assert {m["reason"] for m in partial} == {"client"}
            assert answers[-1]["state"] == "complete"


@pytest.mark.parametrize("as_stream", [False, True])
@pytest.mark.parametrize("headers", [b"", UPGRADE], ids=["plain", "upgrade"])
@pytest.mark.parametrize("ahead", [b"\r\n", b"GET /health HTTP/1.1\r\nHost: x\r\n\r\n"])
async def test_disconnect_is_noticed_even_after_pipelined_data(
    tmp_path: Path, ahead: bytes, headers: bytes, as_stream: bool
) -> None:
    async with world("aiohttp", tmp_path) as (service, upstream):
        session_id = (await service.client.post("/sessions/new")).json()["session_id"]
        upstream.fault = Fault.SILENT
        how = Leaving(Fault.SILENT, as_stream=as_stream, headers=headers)
        _, writer = await arrive(service, session_id, how)
        await eventually(lambda: upstream.requests)
        writer.write(ahead)
        leave(writer, by_reset=False)
        await asyncio.wait_for(upstream.requests[-1].client_left.wait(), PATIENCE_S)
