"""Damaged, empty, foreign or newer files in the store, as clients see them."""

import re
from collections.abc import AsyncGenerator, Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from chatbot.adapters.llm.scripted import ScriptedModel
from chatbot.adapters.storage.json_files.check import Problem
from chatbot.adapters.storage.json_files.storage import JsonFileStorage
from chatbot.domain.errors import StorageUnavailable
from service import ADMIN_EMAIL, PASSWORD, SSE, Service, serving, settings_for_tests

pytestmark = pytest.mark.asyncio(loop_scope="module")

Call = tuple[str, str, dict[str, Any]]
UNAVAILABLE = (503, "storage_unavailable")
SPOILS: dict[str, Callable[[bytes], bytes]] = {
    "damaged": lambda whole: whole[: len(whole) // 2] + b"\x01" + whole[len(whole) // 2 + 1 :],
    "cut": lambda whole: whole[:30],
    "empty": lambda _: b"",
    "foreign": lambda _: b'{"not": "ours"}\n',
    "no text": lambda _: b"\x89PNG\r\n\x1a\n\0\0\xff\xfe",
    "newer": lambda whole: re.sub(rb'"version": ?1', b'"version":7', whole, count=1),
}


@dataclass(frozen=True)
class World:
    """A service with an administrator, and two sessions with memory of an API client."""

    service: Service
    storage: JsonFileStorage
    root: Path
    bearer: dict[str, str]
    mine: str
    other: str

    async def call(self, method: str, path: str, **given: Any) -> tuple[int, str | None]:
        answer = await self.service.client.request(method, path, **given)
        is_stream = answer.headers["content-type"].startswith("text/event-stream")
        return answer.status_code, None if is_stream else answer.json().get("code")

    async def goes_on(self) -> None:
        """Check that callers unrelated to the corrupt file are unaffected."""
        for method, path, given in (*uses_of(self.other), ("GET", "/sessions", {})):
            assert await self.call(method, path, **given) == (200, None)
        assert (await self.service.anonymous.get("/ready")).status_code == 200


def talk_in(session_id: str, **given: Any) -> list[Call]:
    """Calls that read a session's messages."""
    body = {"prompt": "Hi", "session_id": session_id}
    return [
        ("GET", f"/sessions/{session_id}", given),
        ("POST", "/chat", {"json": body, **given}),
        ("POST", "/chat", {"json": body, **given, "headers": SSE | given.get("headers", {})}),
    ]


def uses_of(session_id: str, **given: Any) -> list[Call]:
    """Those calls, and calls that read or write its memory."""
    path = f"/sessions/{session_id}"
    return [
        *talk_in(session_id, **given),
        ("GET", f"{path}/memory", given),
        ("PUT", f"{path}/summary", {"json": {"summary": "new"}, **given}),
    ]


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def world(tmp_path_factory: pytest.TempPathFactory) -> AsyncGenerator[World]:
    root = tmp_path_factory.mktemp("store") / "data"
    storage = JsonFileStorage(root)
    settings = settings_for_tests(mem_structured_enable=False)
    model = ScriptedModel(lambda _: "Of course.")
    async with serving(settings, storage=storage, model=model) as service:
        await storage.make_initial_records()
        await service.add_admin()
        bearer = await service.bearer()
        ids = []
        for _ in range(2):
            answer = await service.client.post("/chat", json={"prompt": "Hello"})
            ids.append(str(answer.json()["session_id"]))
            summary = {"summary": "We have met."}
            await service.client.put(f"/sessions/{ids[-1]}/summary", json=summary)
        yield World(service, storage, root, bearer, *ids)


@contextmanager
def spoilt(path: Path, how: str) -> Iterator[None]:
    """Corrupt the file for a while and check that it stays unchanged."""
    whole = path.read_bytes()
    bad = SPOILS[how](whole)
    assert bad != whole
    path.write_bytes(bad)
    try:
        yield
        assert path.read_bytes() == bad
    finally:
        path.write_bytes(whole)


async def check_doctor(world: World, path: Path, how: str) -> None:
    [finding] = await world.storage.findings()
    assert world.root / finding.path == path
    assert (finding.problem is Problem.NEWER) == (how == "newer")


@pytest.mark.parametrize("how", SPOILS)
@pytest.mark.parametrize("suffix", [".log", ".json"], ids=["messages", "memory"])
async def test_corrupt_session_is_a_503_left_unchanged_and_named_while_others_work(
    world: World, suffix: str, how: str
) -> None:
    [path] = world.root.rglob(world.mine + suffix)
    only_a_message = (suffix, how) == (".log", "damaged")
    with spoilt(path, how):
        for method, where, given in talk_in(world.mine) if only_a_message else uses_of(world.mine):
            assert await world.call(method, where, **given) == UNAVAILABLE, (method, where)
        await world.goes_on()
        await check_doctor(world, path, how)
    for method, where, given in uses_of(world.mine):
        assert await world.call(method, where, **given) == (200, None)


@pytest.mark.parametrize("how", SPOILS)
@pytest.mark.parametrize("name", ["users.json", "roles.json"])
async def test_corrupt_users_or_roles_are_a_named_503_for_users_while_clients_work(
    world: World, name: str, how: str
) -> None:
    path = world.root / "auth" / name
    login: Call = (
        *("POST", "/auth/login"),
        {"json": {"email": ADMIN_EMAIL, "password": PASSWORD}},
    )
    as_user = [("GET", "/me", {"headers": world.bearer})]
    as_user += uses_of(world.mine, headers=world.bearer)
    with spoilt(path, how):
        for method, where, given in [login, *as_user] if name == "users.json" else as_user:
            assert await world.call(method, where, **given) == UNAVAILABLE, (method, where)
        with pytest.raises(StorageUnavailable):
            await world.service.add_user("new@example.com")
        await world.goes_on()
        await check_doctor(world, path, how)
    assert await world.call(*login[:2], **login[2]) == (200, None)
    assert await world.call("GET", "/me", headers=world.bearer) == (200, None)
