"""How real worker processes stop, are replaced, and stop the service."""

import asyncio
import json
import signal
import socket
import sys
from asyncio.subprocess import PIPE, Process
from collections.abc import AsyncGenerator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

import psutil  # type: ignore[import-untyped] # its stubs are not in the lock

from chatbot.adapters.storage.json_files.storage import JsonFileStorage
from chatbot.domain.chat import Message, MessageRange, SessionId
from chatbot.domain.transaction import Transaction
from chatbot.entrypoints.container.parts import DEFAULT_PRINCIPAL
from process import (
    ENVIRONMENT,
    STARTS_WITHIN_S,
    STOPS_WITHIN_S,
    first_delta,
    last_event,
    running,
    with_provider,
)
from provider import FakeProvider, Fault
from service import API_KEY, SSE, begin, messages_of
from workers import (
    PATIENT,
    POSIX,
    WORKERS,
    a_client_of_each,
    several,
    workers_of,
)

PROGRAM = str(Path(__file__).parents[1] / "support" / "workers_program.py")


async def stored(folder: Path, session_id: str) -> Sequence[Message]:
    """The log messages of a stopped service."""

    def work(tx: Transaction) -> Sequence[Message]:
        return tx.sessions.read(
            DEFAULT_PRINCIPAL.owner, SessionId(session_id), MessageRange(limit=9)
        )

    async with JsonFileStorage(folder / "data") as storage:
        return await storage.transact(work)


@POSIX
async def test_sigterm_ends_the_streams_of_all_workers_saves_them_and_exits_with_0(
    tmp_path: Path,
) -> None:
    async with (
        FakeProvider() as upstream,
        several(tmp_path, **with_provider(upstream), **PATIENT) as service,
        a_client_of_each(service) as each,
        AsyncExitStack() as open_,
    ):
        upstream.fault = Fault.IDLE  # two pieces, then silence
        streams = []
        for number, client in enumerate([*each.values()] * 3):
            asking = client.stream("POST", "/chat", json={"prompt": f"{number}"}, headers=SSE)
            lines = (await open_.enter_async_context(asking)).aiter_lines()
            streams.append((await first_delta(lines), lines))
        workers = workers_of(service).values()

        service.process.send_signal(signal.SIGTERM)
        async with asyncio.timeout(STOPS_WITHIN_S):
            ends = [await last_event(lines) for _, lines in streams]
            assert await service.process.wait() == 0
        assert not any(worker.is_running() for worker in workers)

    assert {(name, problem["code"]) for name, problem in ends} == {("error", "shutting_down")}
    for number, (session_id, _) in enumerate(streams):
        question, partial = await stored(tmp_path, session_id)
        assert question.content == f"{number}"
        assert (partial.reason, partial.content) == ("shutdown", "You said:")


@POSIX
async def test_ctrl_c_in_a_terminal_stops_all_workers_with_exit_code_0(tmp_path: Path) -> None:
    async with several(tmp_path) as service:
        for each in (*workers_of(service).values(), psutil.Process(service.process.pid)):
            each.send_signal(signal.SIGINT)
        assert await asyncio.wait_for(service.process.wait(), STOPS_WITHIN_S) == 0
        log = service.log.read_text("utf-8")
    assert "Traceback" not in log
    assert "has ended" not in log


@POSIX
async def test_workers_end_when_their_parent_is_killed(tmp_path: Path) -> None:
    async with FakeProvider() as upstream:
        upstream.fault = Fault.IDLE
        async with several(tmp_path, **with_provider(upstream), **PATIENT) as service:
            asking = service.client.stream("POST", "/chat", json={"prompt": "Hi"}, headers=SSE)
            async with asking as answer:
                lines = answer.aiter_lines()
                await first_delta(lines)
                workers = list(workers_of(service).values())
                service.process.kill()
                name, problem = await asyncio.wait_for(last_event(lines), STOPS_WITHIN_S)
            _, left = await asyncio.to_thread(psutil.wait_procs, workers, STOPS_WITHIN_S)
            port = service.client.base_url.port
    assert len(workers) == WORKERS
    assert not left
    assert (name, problem["code"]) == ("error", "shutting_down")
    socket.create_server(("127.0.0.1", port)).close()


@POSIX
async def test_workers_are_spawned_where_they_cannot_be_forked(tmp_path: Path) -> None:
    within = (sys.executable, PROGRAM, "spawn")
    async with running(tmp_path, *within, WORKERS="2") as service:
        session_id = await begin(service.client)
        assert await messages_of(service.client, session_id) == []
        commands = [worker.cmdline() for worker in workers_of(service).values()]
        service.process.send_signal(signal.SIGTERM)
        assert await asyncio.wait_for(service.process.wait(), STOPS_WITHIN_S) == 0
    assert sum("--multiprocessing-fork" in command for command in commands) == 2
    assert API_KEY not in str(commands)


@asynccontextmanager
async def faulty(folder: Path, fault: str) -> AsyncGenerator[Process]:
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, PROGRAM, fault, "--port", "0"),
        cwd=folder,
        env=ENVIRONMENT | {"WORKERS": "2"},
        stdout=PIPE,
        stderr=PIPE,
    )
    try:
        yield process
    finally:
        if process.returncode is None:
            for each in (*psutil.Process(process.pid).children(), process):
                each.kill()
        await process.wait()


async def test_service_whose_workers_cannot_start_ends_with_a_line_and_exit_code_1(
    tmp_path: Path,
) -> None:
    async with faulty(tmp_path, "broken") as process:
        out, errors = await asyncio.wait_for(process.communicate(), STARTS_WITHIN_S)
    assert process.returncode == 1
    assert out.count(b"a worker begins") <= 2
    [line] = errors.splitlines()
    assert (
        json.loads(line)["event"]
        == "the service is stopping: a worker could not start (exit code 3)"
    )


@POSIX
async def test_crashing_workers_are_replaced_with_exponential_backoff(
    tmp_path: Path,
) -> None:
    async with faulty(tmp_path, "short") as process, asyncio.timeout(STARTS_WITHIN_S):
        assert process.stderr is not None
        lines = [json.loads(await process.stderr.readline()) for _ in range(3)]
        process.terminate()
        await process.communicate()
    assert [line["pause_s"] for line in lines] == [1.0, 2.0, 4.0]
    assert process.returncode == 0


@POSIX
async def test_worker_that_does_not_stop_is_killed_and_the_exit_code_reports_it(
    tmp_path: Path,
) -> None:
    async with faulty(tmp_path, "stubborn") as process, asyncio.timeout(STARTS_WITHIN_S):
        assert process.stdout is not None
        while not (await process.stdout.readline()).startswith(b"serving: "):
            pass
        family = psutil.Process(process.pid)
        while len(workers := family.children()) < 2:  # noqa: ASYNC110 - no event exists
            await asyncio.sleep(0.05)
        process.terminate()
        _, errors = await process.communicate()
    assert process.returncode == 1
    assert b"2 workers did not stop within 1 s" in errors
    assert not any(worker.is_running() for worker in workers)
