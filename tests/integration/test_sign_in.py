"""Refresh and log-out over HTTP, on every store."""

import asyncio
from collections.abc import AsyncGenerator
from pathlib import Path

import httpx
import pytest

from chatbot.adapters.storage.json_files.storage import JsonFileStorage
from chatbot.domain.audit import AUDIT
from chatbot.domain.ports.journal import entries_of
from chatbot.entrypoints.settings import Settings
from service import PASSWORD, Service, code_of, serving, settings_for_tests

EMAIL = "luis@example.com"


@pytest.fixture(params=["json", "sqlite", "postgres", "memory"])
async def settings(request: pytest.FixtureRequest, tmp_path: Path) -> Settings:
    match request.param:
        case "json":
            async with JsonFileStorage(tmp_path / "data") as storage:
                await storage.make_initial_records()
            url = f"json:{tmp_path / 'data'}"
        case "sqlite":
            url = f"sqlite:///{request.getfixturevalue('sqlite_store')}"
        case "postgres":
            url = request.getfixturevalue("postgres_store")
        case _:
            url = "memory:"
    return settings_for_tests(storage_url=url, mem_structured_enable=False)


@pytest.fixture
async def service(settings: Settings) -> AsyncGenerator[Service]:
    async with serving(settings) as made:
        await made.add_admin()
        await made.add_user(EMAIL)
        yield made


async def log_in(service: Service, email: str = EMAIL) -> dict[str, str]:
    body = {"email": email, "password": PASSWORD}
    answer = (await service.client.post("/auth/login", json=body)).raise_for_status()
    found: dict[str, str] = answer.json()
    return found


async def refresh(service: Service, token: str) -> httpx.Response:
    return await service.client.post("/auth/refresh", json={"refresh_token": token})


def bearer(pair: dict[str, str]) -> dict[str, str]:
    return {"Authorization": f"Bearer {pair['access_token']}"}


async def me(service: Service, pair: dict[str, str]) -> httpx.Response:
    return await service.client.get("/me", headers=bearer(pair))


async def actions(service: Service) -> list[str]:
    """What is recorded of sign-ins."""
    found = await service.use.storage.transact(
        lambda tx: [str(entry.content["action"]) for entry in entries_of(tx.journal, AUDIT)]
    )
    return [action for action in found if action.startswith(("auth.", "token."))]


async def test_refresh_answers_the_next_pair_like_a_log_in(service: Service) -> None:
    first = await log_in(service)
    answer = await refresh(service, first["refresh_token"])
    second = answer.json()
    assert answer.status_code == 200
    assert second.keys() == first.keys()
    assert (second["expires_in"], second["refresh_expires_in"]) == (3600, 14 * 24 * 3600)
    assert {second[name] != first[name] for name in ("access_token", "refresh_token")} == {True}
    assert [(await me(service, pair)).status_code for pair in (first, second)] == [200, 200]


async def test_fifty_refreshes_of_one_token_at_once_give_one_pair(service: Service) -> None:
    first = await log_in(service)
    answers = await asyncio.gather(*(refresh(service, first["refresh_token"]) for _ in range(50)))
    assert {answer.status_code for answer in answers} == {200}
    assert len({answer.content for answer in answers}) == 1
    assert (await refresh(service, answers[0].json()["refresh_token"])).status_code == 200


async def test_reuse_ends_the_sign_in_and_is_recorded(service: Service) -> None:
    first = await log_in(service)
    second = (await refresh(service, first["refresh_token"])).json()
    third = (await refresh(service, second["refresh_token"])).json()
    assert code_of(await refresh(service, first["refresh_token"])) == (401, "invalid_token")
    assert code_of(await refresh(service, third["refresh_token"])) == (401, "invalid_token")
    assert code_of(await me(service, third)) == (401, "invalid_token")
    assert await actions(service) == ["auth.login", "token.reuse"]


async def test_log_out_holds_from_the_next_request(service: Service) -> None:
    pair, elsewhere = await log_in(service), await log_in(service)
    answer = await service.client.post("/auth/logout", headers=bearer(pair))
    assert (answer.status_code, answer.json()) == (200, {"logged_out": True})
    assert code_of(await me(service, pair)) == (401, "invalid_token")
    assert code_of(await refresh(service, pair["refresh_token"])) == (401, "invalid_token")
    assert (await me(service, elsewhere)).status_code == 200


async def test_log_out_with_a_refresh_token_needs_no_access_token(service: Service) -> None:
    pair = await log_in(service)
    body = {"refresh_token": pair["refresh_token"]}
    for _ in range(2):
        answer = await service.client.post("/auth/logout", json=body)
        assert (answer.status_code, answer.json()) == (200, {"logged_out": True})
    assert code_of(await me(service, pair)) == (401, "invalid_token")
    assert await actions(service) == ["auth.login", "auth.logout"]


async def test_log_out_everywhere_holds_from_the_next_request(service: Service) -> None:
    pairs = [await log_in(service) for _ in range(3)]
    other = await log_in(service, "ana@example.com")
    answer = await service.client.post("/auth/logout-all", headers=bearer(pairs[0]))
    assert (answer.status_code, answer.json()) == (200, {"logged_out": True})
    for pair in pairs:
        assert code_of(await me(service, pair)) == (401, "invalid_token")
        assert code_of(await refresh(service, pair["refresh_token"])) == (401, "invalid_token")
    assert (await me(service, other)).status_code == 200


async def test_refresh_ignores_the_access_token(service: Service) -> None:
    pair = await log_in(service)
    for header in ("Bearer x", "Basic x", f"Bearer {pair['access_token']}"):
        body = {"refresh_token": pair["refresh_token"]}
        answer = await service.client.post(
            "/auth/refresh", json=body, headers={"Authorization": header}
        )
        assert answer.status_code == 200
        pair = answer.json()
