"""A complete service in its own process, and readers of its streams."""
# ruff: noqa: ASYNC240 - a test may block a loop that is its own

import asyncio
import json
import os
import re
import sys
from asyncio.subprocess import Process
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx

from provider import FakeProvider
from service import API_KEY, JWT_SECRET

STARTS_WITHIN_S, STOPS_WITHIN_S = 60, 30
"""Far more than needed: the machine may be busy with other work."""

ENVIRONMENT = {
    **{name: os.environ[name] for name in ("PATH", "SYSTEMROOT") if name in os.environ},
    "API_KEY": API_KEY,
    "JWT_SECRET": JWT_SECRET,
    "MEM_STRUCTURED_ENABLE": "false",
    "RATE_LIMIT_PER_MINUTE": "0",
    "MAX_STREAMS_PER_USER": "1000",
}


@dataclass(frozen=True)
class Running:
    """A serving process. Its output is in `out` and `log`; a restart appends to the log."""

    process: Process
    client: httpx.AsyncClient
    out: Path
    log: Path

    async def answer(self, method: str, path: str, **given: Any) -> dict[str, Any]:
        answer = await self.client.request(method, path, **given)
        found: dict[str, Any] = answer.json()
        return found


@asynccontextmanager
async def running(folder: Path, *within: str, **environment: str | None) -> AsyncGenerator[Running]:
    """`python -m chatbot` in this folder, until it stops or the block ends.

    `within` is a command that takes another one and becomes it, as `nice` does. A variable of the
    `environment` that is None is not set.
    """
    out, log = folder / "service.out", folder / "service.log"
    with out.open("wb") as stdout, log.open("ab") as stderr:
        process = await asyncio.create_subprocess_exec(
            *(*within, sys.executable, "-m", "chatbot", "--port", "0"),
            cwd=folder,
            env={n: v for n, v in (ENVIRONMENT | environment).items() if v is not None},
            stdout=stdout,
            stderr=stderr,
        )
    try:
        url = await _serving_at(process, out, log)
        async with httpx.AsyncClient(
            base_url=url, headers={"X-API-Key": API_KEY}, trust_env=False, timeout=STOPS_WITHIN_S
        ) as client:
            await _until_ready(client)
            yield Running(process, client, out, log)
    finally:
        if process.returncode is None:
            process.kill()
        await process.wait()


async def _serving_at(process: Process, out: Path, log: Path) -> str:
    async with asyncio.timeout(STARTS_WITHIN_S):
        while not (found := re.search(r"^serving: (\S+)", out.read_text("utf-8"), re.MULTILINE)):
            assert process.returncode is None, log.read_text("utf-8")
            await asyncio.sleep(0.02)
    return found[1]


async def _until_ready(client: httpx.AsyncClient) -> None:
    """Wait until the service is ready; its socket accepts connections before that."""
    async with asyncio.timeout(STARTS_WITHIN_S):
        while (await client.get("/ready")).status_code != 200:  # noqa: ASYNC110 - no event exists
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
