"""A service with several workers, and a client of each of them."""

import asyncio
import json
import os
from collections.abc import AsyncGenerator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
import psutil  # type: ignore[import-untyped] # its stubs are not in the lock
import pytest

from process import (
    STARTS_WITHIN_S,
    STOPS_WITHIN_S,
    Running,
    running,
)
from service import API_KEY

POSIX = pytest.mark.skipif(os.name == "nt", reason="Windows sends programs no signals")
WORKERS = 4
PATIENT = {
    "MODEL_IDLE_TIMEOUT_S": "300",
    "MODEL_FIRST_TOKEN_TIMEOUT_S": "300",
    "MODEL_TURN_TIMEOUT_S": "600",
}
Clients = dict[int, httpx.AsyncClient]


@asynccontextmanager
async def several(folder: Path, *within: str, **environment: str) -> AsyncGenerator[Running]:
    async with running(folder, *within, WORKERS=str(WORKERS), **environment) as service:
        yield service


def workers_of(service: Running) -> dict[int, psutil.Process]:
    children = psutil.Process(service.process.pid).children()
    return {child.pid: child for child in children if child.is_running()}


def logged(service: Running) -> list[dict[str, Any]]:
    return [json.loads(line) for line in service.log.read_bytes().splitlines()]


async def worker_at(service: Running, answer: httpx.Response) -> int:
    """The id of the process at the other end of the connection."""
    address = answer.extensions["network_stream"].get_extra_info("client_addr")
    for pid, worker in workers_of(service).items():
        for connection in worker.net_connections(kind="tcp"):
            if connection.raddr and connection.raddr.port == address[1]:
                return pid
    raise AssertionError("no worker has this connection")


@asynccontextmanager
async def a_client_of_each(service: Running) -> AsyncGenerator[Clients]:
    """A client with an open connection for each worker."""
    found: Clients = {}
    async with AsyncExitStack() as open_, asyncio.timeout(STARTS_WITHIN_S):
        while len(found) < WORKERS:
            client = await open_.enter_async_context(
                httpx.AsyncClient(
                    base_url=service.client.base_url,
                    headers={"X-API-Key": API_KEY},
                    trust_env=False,
                    timeout=STOPS_WITHIN_S,
                )
            )
            async with client.stream("GET", "/health") as answer:
                await answer.aread()  # or else the connection would not be kept
                found.setdefault(await worker_at(service, answer), client)
        yield found
