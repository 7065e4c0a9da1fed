"""The service as its own process: how it stops, how it dies, and what it listens on."""

import asyncio
import json
import os
import random
import signal
from contextlib import AsyncExitStack, suppress
from pathlib import Path

import httpx
import psutil  # type: ignore[import-untyped] # its stubs are not in the lock
import pytest

import kill_under_load
from process import STOPS_WITHIN_S, Running, first_delta, last_event, running, with_provider
from provider import FakeProvider, Fault
from service import SSE

POSIX = pytest.mark.skipif(os.name == "nt", reason="Windows sends programs no signals")
HANGUP = getattr(signal, "SIGHUP", signal.SIGTERM)
STREAMS = 50
PATIENT = {
    "MODEL_MAX_CONCURRENT": str(4 * (STREAMS + 1)),  # one client may have a quarter
    "MODEL_IDLE_TIMEOUT_S": "300",
    "MODEL_FIRST_TOKEN_TIMEOUT_S": "300",
    "MODEL_TURN_TIMEOUT_S": "600",
}


async def ask_until_refused(service: Running) -> None:
    """Ask on new connections until the socket is closed; every response is a 503."""
    with suppress(httpx.TransportError):
        while True:
            answer = await service.client.post("/chat", json={"prompt": "New"})
            assert (answer.status_code, answer.json()["code"]) == (503, "shutting_down")


@POSIX
async def test_sigterm_ends_streams_with_an_event_saves_partial_answers_and_exits_with_0(
    tmp_path: Path,
) -> None:
    async with FakeProvider() as upstream:
        upstream.fault = Fault.IDLE  # two pieces, then silence
        async with (
            running(tmp_path, **with_provider(upstream), **PATIENT) as service,
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
            await asyncio.wait_for(upstream.arrived.wait(), STOPS_WITHIN_S)

            service.process.send_signal(signal.SIGTERM)
            async with asyncio.timeout(STOPS_WITHIN_S):
                await ask_until_refused(service)
                ends = [await last_event(lines) for _, lines in streams]
                refused = await plain
                assert await service.process.wait() == 0
            logged = [json.loads(line) for line in service.log.read_bytes().splitlines()]
        upstream.fault = None

        for name, problem in ends:
            assert name == "error"
            assert (problem["status"], problem["code"]) == (503, "shutting_down")
        assert (refused.status_code, refused.json()["code"]) == (503, "shutting_down")
        turns = [line for line in logged if line.get("route") == "/chat"]
        assert len({line["request_id"] for line in turns}) == len(turns) > STREAMS

        async with running(tmp_path, **with_provider(upstream)) as service:
            for number, (session_id, _) in enumerate(streams):
                session = await service.answer("GET", f"/sessions/{session_id}")
                question, partial = session["messages"]
                assert question["content"] == f"Question {number}"
                assert (partial["state"], partial["reason"]) == ("interrupted", "shutdown")
                assert partial["content"] == "You said:"
            listed = (await service.answer("GET", "/sessions?limit=200"))["sessions"]
            assert {line["title"] for line in listed} - {"New"} == {"Plain"} | {
                f"Question {number}" for number in range(STREAMS)
            }
            assert {line["message_count"] for line in listed} == {2}


@POSIX
@pytest.mark.parametrize("workers", ["1", "2"])
@pytest.mark.parametrize("repeated", [1, 3])
async def test_sighup_ends_streams_gracefully_like_sigterm(
    tmp_path: Path, workers: str, repeated: int
) -> None:
    async with (
        FakeProvider() as upstream,
        running(tmp_path, WORKERS=workers, **with_provider(upstream), **PATIENT) as service,
    ):
        upstream.fault = Fault.IDLE
        body = {"prompt": "Cut"}
        async with service.client.stream("POST", "/chat", json=body, headers=SSE) as answer:
            lines = answer.aiter_lines()
            session_id = await first_delta(lines)
            for _ in range(repeated):
                service.process.send_signal(HANGUP)
                await asyncio.sleep(0.05)  # two at once could arrive as one
            name, problem = await last_event(lines)
        assert await asyncio.wait_for(service.process.wait(), STOPS_WITHIN_S) == 0
        upstream.fault = None
        async with running(tmp_path, **with_provider(upstream)) as again:
            messages = (await again.answer("GET", f"/sessions/{session_id}"))["messages"]
    assert (name, problem["code"]) == ("error", "shutting_down")
    assert (messages[1]["state"], messages[1]["reason"]) == ("interrupted", "shutdown")


@POSIX
@pytest.mark.parametrize("workers", ["1", "2"])
async def test_sighup_is_ignored_under_nohup(tmp_path: Path, workers: str) -> None:
    async with running(tmp_path, "nohup", WORKERS=workers) as service:
        service.process.send_signal(HANGUP)
        assert (await service.client.get("/health")).status_code == 200
        service.process.send_signal(signal.SIGTERM)
        assert await asyncio.wait_for(service.process.wait(), STOPS_WITHIN_S) == 0
    assert "Traceback" not in service.log.read_text(encoding="utf-8")


@POSIX
async def test_two_quick_ctrl_c_stop_without_a_traceback(tmp_path: Path) -> None:
    async with running(tmp_path) as service:
        service.process.send_signal(signal.SIGINT)
        service.process.send_signal(signal.SIGTERM)  # two of the same kind could arrive as one
        assert await asyncio.wait_for(service.process.wait(), STOPS_WITHIN_S) == 0
        assert "Traceback" not in service.log.read_text(encoding="utf-8")


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


async def test_nothing_acknowledged_is_lost_when_the_process_is_killed_under_load(
    tmp_path: Path,
) -> None:
    """Two rounds of `make kill`."""
    assert await kill_under_load.run(tmp_path, rounds=2, seed=random.randrange(10**6)) == []


@POSIX
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
