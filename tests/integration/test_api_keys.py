"""API keys over HTTP, on every store: shown once, scoped, and revoked in every process."""

import asyncio
import time
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import httpx
import pytest

from chatbot.adapters.llm.scripted import ScriptedModel
from chatbot.adapters.storage.json_files.storage import JsonFileStorage
from chatbot.domain.authorization import of_host
from chatbot.domain.credentials import make_key
from chatbot.domain.errors import StorageUnavailable
from chatbot.entrypoints.lifecycle import opened_management
from chatbot.entrypoints.settings import Settings
from service import API_KEY, Service, code_of, serving, settings_for_tests

WANTED = {"client": "partner", "scopes": ["chat"]}
WRONG_KEY = (401, "invalid_api_key")
ENDS_WITHIN_S = 5.0
Headers = dict[str, str]


@pytest.fixture
def settings(each_store: str) -> Settings:
    return settings_for_tests(storage_url=each_store, mem_structured_enable=False)


@asynccontextmanager
async def serving_admin(settings: Settings) -> AsyncGenerator[tuple[Service, Headers]]:
    """A service, and the headers of its administrator."""
    async with serving(settings, model=ScriptedModel(lambda _: "Of course.")) as service:
        await service.add_admin()
        yield service, await service.bearer()


async def make(service: Service, admin: Headers, **changed: object) -> dict[str, Any]:
    answer = await service.client.post("/admin/keys", json=WANTED | changed, headers=admin)
    assert answer.status_code == 201, answer.text
    found: dict[str, Any] = answer.json()
    return found


async def call(service: Service, raw_key: str, path: str = "/sessions") -> httpx.Response:
    return await service.anonymous.get(path, headers={"X-API-Key": raw_key})


async def listed(service: Service, admin: Headers) -> list[dict[str, Any]]:
    answer = await service.client.get("/admin/keys", headers=admin)
    found: list[dict[str, Any]] = answer.raise_for_status().json()["keys"]
    return found


async def test_key_is_made_listed_used_rotated_and_revoked(settings: Settings) -> None:
    async with serving_admin(settings) as (service, admin):
        me = (await service.client.get("/me", headers=admin)).json()
        made = await make(service, admin, label="Widget", expires_at="2999-01-31T01:00:00+01:00")
        raw_key = made.pop("key")
        assert await listed(service, admin) == [made]
        assert made == {
            "id": raw_key[3:11],
            "client": "partner",
            "scopes": ["chat"],
            "label": "Widget",
            "created_at": made["created_at"],
            "created_by": me["id"],
            "expires_at": "2999-01-31T00:00:00.000000Z",
            "last_used_on": None,
            "state": "active",
        }
        assert (await call(service, raw_key)).status_code == 200
        path = f"/admin/keys/{made['id']}"
        answer = await service.client.post(f"{path}/rotate", headers=admin)
        new = answer.json()
        assert answer.status_code == 201
        assert sorted(key["state"] for key in await listed(service, admin)) == [
            "active",
            "expiring",
        ]
        assert {(await call(service, each)).status_code for each in (raw_key, new["key"])} == {200}
        answer = await service.client.delete(path, headers=admin)
        assert (answer.status_code, answer.json()["state"]) == (200, "revoked")
        assert raw_key not in str(await listed(service, admin))


async def test_keys_of_a_client_share_its_sessions_and_no_others(settings: Settings) -> None:
    async with serving_admin(settings) as (service, admin):
        first, second = [(await make(service, admin))["key"] for _ in range(2)]
        other = (await make(service, admin, client="other"))["key"]
        begun = await service.anonymous.post("/sessions/new", headers={"X-API-Key": first})
        path = f"/sessions/{begun.json()['session_id']}"
        found = [
            (await call(service, key, path)).status_code for key in (first, second, other, API_KEY)
        ]
    assert found == [200, 200, 404, 404]


async def test_key_without_a_scope_is_forbidden_what_needs_it(settings: Settings) -> None:
    async with serving_admin(settings) as (service, admin):
        key = (await make(service, admin, scopes=["memory", "usage.read"]))["key"]
        assert code_of(await call(service, key)) == (403, "forbidden")
        assert code_of(await call(service, key, "/admin/keys")) == (403, "forbidden")
        asked = await service.anonymous.post(
            "/chat", json={"prompt": "Hi"}, headers={"X-API-Key": key}
        )
        assert code_of(asked) == (403, "forbidden")
        manager = (await make(service, admin, client="b", scopes=["keys.manage"]))["key"]
        assert len((await call(service, manager, "/admin/keys")).json()["keys"]) == 2
        assert code_of(await call(service, manager)) == (403, "forbidden")


async def test_person_has_through_a_key_only_the_rights_of_both(settings: Settings) -> None:
    async with serving_admin(settings) as (service, admin):
        chat = {"X-API-Key": (await make(service, admin))["key"]}
        keys = {
            "X-API-Key": (await make(service, admin, client="b", scopes=["keys.manage"]))["key"]
        }
        await service.add_user("luis@example.com")
        luis = await service.bearer("luis@example.com")
        found = {
            (name, path): (await service.anonymous.get(path, headers=key | person)).status_code
            for name, key, person in (
                ("admin, chat", chat, admin),
                ("admin, keys", keys, admin),
                ("luis, chat", chat, luis),
                ("luis, keys", keys, luis),
            )
            for path in ("/sessions", "/admin/keys")
        }
    assert found == {
        ("admin, chat", "/sessions"): 200,
        ("admin, chat", "/admin/keys"): 403,
        ("admin, keys", "/sessions"): 403,
        ("admin, keys", "/admin/keys"): 200,
        ("luis, chat", "/sessions"): 200,
        ("luis, chat", "/admin/keys"): 403,
        ("luis, keys", "/sessions"): 403,
        ("luis, keys", "/admin/keys"): 403,
    }


async def test_revocation_by_a_command_ends_a_key_that_is_in_use(settings: Settings) -> None:
    async with serving_admin(settings) as (service, admin):
        made = await make(service, admin)
        assert (await call(service, made["key"])).status_code == 200
        if settings.storage.url.is_persistent:
            async with opened_management(settings) as use:
                await use.api_keys.revoke(of_host("root"), made["id"])
        else:
            await service.client.delete(f"/admin/keys/{made['id']}", headers=admin)
        began = time.monotonic()
        while (await call(service, made["key"])).status_code == 200:
            assert time.monotonic() - began < ENDS_WITHIN_S
            await asyncio.sleep(0.1)
        assert code_of(await call(service, made["key"])) == WRONG_KEY


async def test_key_ends_at_its_moment_although_it_is_cached(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async with serving_admin(settings_for_tests()) as (service, admin):
        made = await make(service, admin, expires_at="2999-01-31T00:00:00Z")
        assert (await call(service, made["key"])).status_code == 200
        end = datetime(2999, 1, 31, tzinfo=UTC)
        monkeypatch.setattr(service.use.key_identification, "_clock", lambda: end)
        assert code_of(await call(service, made["key"])) == WRONG_KEY


async def test_key_of_another_store_or_pepper_is_unknown() -> None:
    async with serving_admin(settings_for_tests()) as (one, admin):
        made = await make(one, admin)
    async with serving_admin(settings_for_tests()) as (two, _):
        assert code_of(await call(two, made["key"])) == WRONG_KEY
    other_pepper = settings_for_tests(api_key_pepper="kP3xw9TqzR7mV2bN8cJ5hG1fD6sA4yLuEoQi0tKr")
    async with serving_admin(other_pepper) as (three, _):
        stored = await one.use.storage.transact(lambda tx: tx.api_keys.by_id(made["id"]))
        assert stored is not None
        await three.use.storage.transact(lambda tx: tx.api_keys.add(stored))
        assert code_of(await call(three, made["key"])) == WRONG_KEY


async def test_key_is_accepted_in_its_header_only() -> None:
    async with serving_admin(settings_for_tests()) as (service, admin):
        raw_key = (await make(service, admin))["key"]
        for given in (
            {"params": {"X-API-Key": raw_key, "api_key": raw_key, "key": raw_key}},
            {"headers": {"Cookie": f"X-API-Key={raw_key}; api_key={raw_key}"}},
            {"headers": {"Authorization": f"Bearer {raw_key}"}},
            {"headers": {"Api-Key": raw_key}},
        ):
            async with httpx.AsyncClient(base_url=service.url, trust_env=False) as browser:
                answer = await browser.request("GET", "/sessions", **given)
            assert code_of(answer) == (401, "unauthenticated")
        twice = [("X-API-Key", raw_key), ("X-API-Key", raw_key)]
        answer = await service.anonymous.get("/sessions", headers=twice)
        assert code_of(answer) == (400, "bad_request")


async def test_key_of_the_settings_works_while_the_store_does_not(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async with serving_admin(settings_for_tests()) as (service, _):

        async def unreachable(_: object) -> None:
            raise StorageUnavailable("The store cannot be used.")

        monkeypatch.setattr(service.use.storage, "transact", unreachable)
        assert code_of(await call(service, API_KEY, "/nothing")) == (404, "not_found")
        _, raw_key = make_key(lambda size: b"7" * size)
        assert code_of(await call(service, raw_key, "/nothing")) == (503, "storage_unavailable")
        assert code_of(await call(service, raw_key[:-1] + "!", "/nothing")) == WRONG_KEY


async def test_edited_file_of_keys_is_reported_and_admits_no_one(tmp_path: Path) -> None:
    async with JsonFileStorage(tmp_path) as storage:
        await storage.make_initial_records()
    async with serving_admin(settings_for_tests(storage_url=f"json:{tmp_path}")) as (
        service,
        admin,
    ):
        raw_key = (await make(service, admin))["key"]
        [file] = (tmp_path / "records" / "api_keys").glob("??.json")
        text = file.read_text(encoding="utf-8")
        assert '"chat"' in text
        file.write_text(text.replace('"chat"', '"audit.read"'), encoding="utf-8")
        assert code_of(await call(service, raw_key)) == (503, "storage_unavailable")
        assert (await service.client.get("/sessions")).status_code == 200


@pytest.mark.parametrize(
    ("changed", "location"),
    [
        ({"scopes": ["administer"]}, ["body", "scopes", 0]),
        ({"scopes": "chat"}, ["body", "scopes"]),
        ({"scopes": []}, ["body", "scopes"]),
        ({"expires_at": 4102444800}, ["body", "expires_at"]),
        ({"expires_at": "4102444800"}, ["body", "expires_at"]),
        ({"expires_at": "2999-01-31"}, ["body", "expires_at"]),
        ({"expires_at": "2999-01-31T00:00:00"}, ["body", "expires_at"]),
        ({"expires_at": "9999-12-31T23:59:59-01:00"}, ["body", "expires_at"]),
        ({"expires_at": "2001-01-31T00:00:00Z"}, ["body", "expires_at"]),
        ({"client": "a\u202eb"}, ["body", "client"]),
        ({"label": "a\u202eb"}, ["body", "label"]),
        ({"label": "\x1b[2J"}, ["body", "label"]),
        ({"secret": "x"}, ["body"]),
    ],
)
async def test_invalid_body_is_refused_with_the_field(
    changed: dict[str, object], location: list[object]
) -> None:
    async with serving_admin(settings_for_tests()) as (service, admin):
        answer = await service.client.post("/admin/keys", json=WANTED | changed, headers=admin)
        assert code_of(answer) == (422, "invalid_request")
        assert [error["loc"] for error in answer.json()["errors"]] == [location]
        for query in ("after=x", "after=%00", "limit=0", "limit=201"):
            answer = await service.client.get(f"/admin/keys?{query}", headers=admin)
            assert code_of(answer) == (422, "invalid_request")
