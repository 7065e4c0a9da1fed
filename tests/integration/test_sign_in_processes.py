"""Sign-ins in several processes on one store, one of which is killed before it answers."""
# ruff: noqa: ASYNC240 - a test may block a loop that is its own

import asyncio
import sys
from asyncio.subprocess import PIPE, create_subprocess_exec
from collections.abc import AsyncGenerator, Iterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from itertools import cycle
from pathlib import Path
from typing import Any

import httpx
import pytest
import pytest_asyncio

import answer_killer
from postgres import new_database
from process import ENVIRONMENT, Running, running
from service import ADMIN_EMAIL, PASSWORD, code_of

pytestmark = pytest.mark.asyncio(loop_scope="module")
if sys.platform == "win32":
    pytest.skip("Windows has no SIGKILL", allow_module_level=True)

Pair = dict[str, Any]


@dataclass(frozen=True)
class Processes:
    """Two services on one store."""

    folder: Path
    url: str
    services: list[Running]

    async def log_in(self) -> Pair:
        body = {"email": ADMIN_EMAIL, "password": PASSWORD}
        return await self.services[0].answer("POST", "/auth/login", json=body)


@pytest.fixture(scope="module")
def empty_database(postgres: str) -> Iterator[str]:
    with new_database(postgres) as url:
        yield url


@pytest_asyncio.fixture(scope="module", loop_scope="module", params=["json", "sqlite", "postgres"])
async def processes(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> AsyncGenerator[Processes]:
    folder = tmp_path_factory.mktemp("processes")
    match request.param:
        case "json":
            url = f"json:{folder / 'data'}"
        case "sqlite":
            url = f"sqlite:///{folder / 'chatbot.db'}"
        case _:
            url = request.getfixturevalue("empty_database")
    await command(folder, url, "init")
    create = ("admin", "create", "--email", ADMIN_EMAIL, "--password-stdin")
    await command(folder, url, *create, text=PASSWORD)
    async with AsyncExitStack() as stack:
        services = [
            await stack.enter_async_context(service_in(folder / name, url)) for name in ("a", "b")
        ]
        yield Processes(folder, url, services)


async def command(folder: Path, url: str, *arguments: str, text: str = "") -> None:
    process = await create_subprocess_exec(
        *(str(Path(sys.executable).with_name("chatbot")), *arguments),
        cwd=folder,
        env=ENVIRONMENT | {"STORAGE_URL": url},
        stdin=PIPE,
    )
    await process.communicate(text.encode())
    assert process.returncode == 0


@asynccontextmanager
async def service_in(folder: Path, url: str, *within: str) -> AsyncGenerator[Running]:
    folder.mkdir(exist_ok=True)
    async with running(folder, *within, STORAGE_URL=url) as service:
        yield service


async def refresh(service: Running, pair: Pair) -> httpx.Response:
    body = {"refresh_token": pair["refresh_token"]}
    return await service.client.post("/auth/refresh", json=body)


async def me(service: Running, pair: Pair) -> httpx.Response:
    headers = {"Authorization": f"Bearer {pair['access_token']}"}
    return await service.client.get("/me", headers=headers)


async def test_fifty_refreshes_of_one_token_in_two_processes_give_one_pair(
    processes: Processes,
) -> None:
    for _ in range(3):
        pair = await processes.log_in()
        services = cycle(processes.services)
        answers = await asyncio.gather(*(refresh(next(services), pair) for _ in range(50)))
        assert {answer.status_code for answer in answers} == {200}
        assert len({answer.content for answer in answers}) == 1
        again = await refresh(processes.services[1], answers[0].json())
        assert again.status_code == 200


async def test_pair_that_a_killed_process_has_stored_is_given_by_the_others(
    processes: Processes,
) -> None:
    first = await processes.log_in()
    killer = (sys.executable, str(answer_killer.__file__))
    async with service_in(processes.folder / "killed", processes.url, *killer) as service:
        with pytest.raises(httpx.TransportError):
            await refresh(service, first)
        answers = [await refresh(each, first) for each in processes.services]
        assert await service.process.wait() < 0
    assert {answer.status_code for answer in answers} == {200}
    assert answers[0].content == answers[1].content
    second = answers[0].json()
    assert (await me(processes.services[0], second)).status_code == 200
    third = (await refresh(processes.services[1], second)).json()
    assert code_of(await refresh(processes.services[0], first)) == (401, "invalid_token")
    for service in processes.services:
        assert code_of(await me(service, third)) == (401, "invalid_token")


@pytest.mark.parametrize("path", ["/auth/logout", "/auth/logout-all"])
async def test_log_out_in_one_process_holds_at_once_in_the_other(
    processes: Processes, path: str
) -> None:
    here, there = processes.services
    for _ in range(10):
        pair = await processes.log_in()
        for service in (here, there):
            assert (await me(service, pair)).status_code == 200
        headers = {"Authorization": f"Bearer {pair['access_token']}"}
        assert (await here.client.post(path, headers=headers)).status_code == 200
        assert code_of(await me(there, pair)) == (401, "invalid_token")
        assert code_of(await refresh(there, pair)) == (401, "invalid_token")


async def test_concurrent_refresh_and_log_out_leave_no_one_signed_in(processes: Processes) -> None:
    here, there = processes.services
    for _ in range(10):
        pair = await processes.log_in()
        body = {"refresh_token": pair["refresh_token"]}
        renewed, logged_out = await asyncio.gather(
            refresh(here, pair), there.client.post("/auth/logout", json=body)
        )
        assert logged_out.status_code == 200
        newest = renewed.json() if renewed.status_code == 200 else pair
        assert code_of(await me(here, newest)) == (401, "invalid_token")
        assert code_of(await refresh(there, newest)) == (401, "invalid_token")
