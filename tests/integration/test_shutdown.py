"""The service as a process of its own: how it stops, how it dies, and what it listens on."""

import asyncio
import json
import os
import signal
import socket
import sys
from asyncio.subprocess import PIPE, Process
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import psutil  # type: ignore[import-untyped] # its stubs are not in the lock
import pytest

from provider import FakeProvider, Fault
from service import API_KEY, JWT_SECRET

SSE = {"Accept": "text/event-stream"}
STREAMS = 5
STARTS_WITHIN_S, STOPS_WITHIN_S = 20, 6


@dataclass(frozen=True)
class Running:
    process: Process
    client: httpx.AsyncClient

    async def answer(self, method: str, path: str, **given: Any) -> dict[str, Any]:
        answer = await self.client.request(method, path, **given)
        found: dict[str, Any] = answer.json()
        return found


@asynccontextmanager
async def running(folder: Path, **environment: str) -> AsyncGenerator[Running]:
    """`python -m chatbot` in a folder of its own, until it stops or the block ends."""
    port = _free_port()
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "chatbot", "--port", str(port)),
        cwd=folder,
        env={
            "PATH": os.environ["PATH"],
            "API_KEY": API_KEY,
            "JWT_SECRET": JWT_SECRET,
            "MEM_STRUCTURED_ENABLE": "false",
            **environment,
        },
        stdout=PIPE,
        stderr=PIPE,
    )
    try:
        url = f"http://127.0.0.1:{port}"
        async with httpx.AsyncClient(
            base_url=url, headers={"X-API-Key": API_KEY}, trust_env=False, timeout=10
        ) as client:
            await _until_ready(process, client)
            yield Running(process, client)
    finally:
        if process.returncode is None:
            process.kill()
        await process.communicate()


def _free_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return int(free.getsockname()[1])


async def _until_ready(process: Process, client: httpx.AsyncClient) -> None:
    async with asyncio.timeout(STARTS_WITHIN_S):
        while True:
            try:
                if (await client.get("/ready")).status_code == 200:
                    return
            except httpx.TransportError:
                assert process.returncode is None, (await process.communicate())[1].decode()
            await asyncio.sleep(0.05)


def with_provider(upstream: FakeProvider) -> dict[str, str]:
    return {"OPENAI_BASE_URL": upstream.base_url, "GENKIT_MODEL": "openai/fake-model"}


async def first_delta(lines: AsyncIterator[str]) -> str:
    """Read up to the first delta; return the id of the session."""
    session_id = ""
    async for line in lines:
        if line.startswith('data: {"session_id"'):
            session_id = json.loads(line.removeprefix("data: "))["session_id"]
        if line == "event: delta":
            return session_id
    raise AssertionError("the stream ended before its first delta")


async def last_event(lines: AsyncIterator[str]) -> tuple[str, dict[str, Any]]:
    name, data = "", ""
    async for line in lines:
        if line.startswith("event: "):
            name = line.removeprefix("event: ")
        if line.startswith("data: "):
            data = line.removeprefix("data: ")
    return name, json.loads(data)


async def test_sigterm_ends_streams_with_an_event_saves_partial_answers_and_exits_with_0(
    tmp_path: Path,
) -> None:
    async with FakeProvider() as upstream:
        upstream.fault = Fault.IDLE  # two pieces, then silence
        async with (
            running(tmp_path, **with_provider(upstream)) as service,
            AsyncExitStack() as open_,
        ):
            streams = []
            for number in range(STREAMS):
                body = {"prompt": f"Question {number}"}
                asking = service.client.stream("POST", "/chat", json=body, headers=SSE)
                lines = (await open_.enter_async_context(asking)).aiter_lines()
                streams.append((await first_delta(lines), lines))
            upstream.fault = Fault.SILENT
            upstream.arrived.clear()
            plain = asyncio.create_task(service.client.post("/chat", json={"prompt": "Plain"}))
            await asyncio.wait_for(upstream.arrived.wait(), 2)

            service.process.send_signal(signal.SIGTERM)
            async with asyncio.timeout(STOPS_WITHIN_S):
                ends = [await last_event(lines) for _, lines in streams]
                refused = await plain
                assert await service.process.wait() == 0
            with pytest.raises(httpx.TransportError):
                await service.client.get("/health")
            _, logs = await service.process.communicate()
            logged = [json.loads(line) for line in logs.splitlines()]
        upstream.fault = None

        for name, problem in ends:
            assert name == "error"
            assert (problem["status"], problem["code"]) == (503, "shutting_down")
        assert (refused.status_code, refused.json()["code"]) == (503, "shutting_down")
        assert len({line["request_id"] for line in logged if line["event"] == "request"}) > STREAMS

        async with running(tmp_path, **with_provider(upstream)) as service:
            for number, (session_id, _) in enumerate(streams):
                session = await service.answer("GET", f"/sessions/{session_id}")
                question, partial = session["messages"]
                assert question["content"] == f"Question {number}"
                assert (partial["state"], partial["reason"]) == ("interrupted", "shutdown")
                assert partial["content"] == "You said:"
            listed = (await service.answer("GET", "/sessions"))["sessions"]
            assert [line["message_count"] for line in listed] == [2] * (STREAMS + 1)


async def test_turn_that_died_with_the_process_keeps_its_question_and_is_marked_by_the_next(
    tmp_path: Path,
) -> None:
    async with FakeProvider() as upstream:
        upstream.fault = Fault.IDLE
        async with running(tmp_path, **with_provider(upstream)) as service:
            before = await service.answer("POST", "/sessions/new")
            body = {"prompt": "Lost", "session_id": before["session_id"]}
            async with service.client.stream("POST", "/chat", json=body, headers=SSE) as answer:
                await first_delta(answer.aiter_lines())
                service.process.kill()
                await service.process.wait()
        upstream.fault = Fault.ALTERNATE
        path = f"/sessions/{before['session_id']}"
        async with running(tmp_path, **with_provider(upstream)) as service:
            found = (await service.answer("GET", path))["messages"]
            again = {"prompt": "Found", "session_id": before["session_id"]}
            reply = await service.answer("POST", "/chat", json=again)
            afterwards = (await service.answer("GET", path))["messages"]
    assert [(m["role"], m["content"]) for m in found] == [("user", "Lost")]
    assert reply["finish_reason"] == "stop"
    assert [(m["seq"], m["content"], m["state"]) for m in afterwards[:3]] == [
        *((1, "Lost", "complete"), (2, "", "interrupted"), (3, "Found", "complete")),
    ]
    assert afterwards[1]["reason"] == "crash"
    assert afterwards[3]["state"] == "complete"


@pytest.mark.parametrize("environment", [{}, {"GENKIT_ENV": "prod"}])
async def test_nothing_but_the_service_listens_and_sigterm_is_an_exit_with_0(
    tmp_path: Path, environment: dict[str, str]
) -> None:
    async with (
        FakeProvider() as upstream,
        running(tmp_path, **with_provider(upstream), **environment) as service,
    ):
        await service.client.post("/chat", json={"prompt": "Hi"})
        listening = [
            f"{connection.laddr.ip}:{connection.laddr.port}"
            for process in _family(service.process.pid)
            for connection in process.net_connections(kind="inet")
            if connection.status == psutil.CONN_LISTEN
        ]
        service.process.send_signal(signal.SIGTERM)
        assert await asyncio.wait_for(service.process.wait(), STOPS_WITHIN_S) == 0
    assert listening == [f"127.0.0.1:{service.client.base_url.port}"]


def _family(pid: int) -> list[psutil.Process]:
    parent = psutil.Process(pid)
    return [parent, *parent.children(recursive=True)]


async def test_public_paths_stay_public_behind_a_proxy_that_strips_a_prefix(
    tmp_path: Path,
) -> None:
    async with FakeProvider() as upstream:
        environment = with_provider(upstream) | {"ROOT_PATH": "/assistant"}
        async with running(tmp_path, **environment) as service:
            document = await service.answer("GET", "/openapi.json", headers={"X-API-Key": ""})
    assert document["servers"] == [{"url": "/assistant"}]
