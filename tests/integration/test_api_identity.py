"""Login, tokens and permissions over a real uvicorn, with manual edits of users.json."""

import json
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest
import pytest_asyncio

from chatbot.adapters.llm.scripted import ScriptedModel
from chatbot.adapters.security.argon2_hasher import Argon2Hasher
from chatbot.adapters.storage.in_memory.storage import InMemoryStorage
from chatbot.adapters.storage.json_files.storage import JsonFileStorage
from chatbot.domain.permissions import Permission, Role
from service import API_KEY, PASSWORD, Service, code_of, said_by, serving, settings_for_tests

pytestmark = pytest.mark.asyncio(loop_scope="module")

EMAIL = "luis@example.com"
OTHER_PASSWORD = "a quite different set of words"
EditUser = Callable[[dict[str, Any]], object]


@asynccontextmanager
async def serving_luis() -> AsyncGenerator[Service]:
    """A service in memory with one employee."""
    model = ScriptedModel(lambda _: "Of course.")
    settings = settings_for_tests(mem_structured_enable=False)
    async with serving(settings, model=model) as service:
        await service.add_user(EMAIL)
        yield service


@asynccontextmanager
async def serving_files(folder: Path) -> AsyncGenerator[Service]:
    """A service in JSON mode with one employee, with its files in this folder."""
    async with JsonFileStorage(folder) as storage:
        await storage.make_initial_records()
    settings = settings_for_tests(storage_url=f"json:{folder}", mem_structured_enable=False)
    async with serving(settings, model=ScriptedModel(lambda _: "Of course.")) as service:
        await service.add_user(EMAIL)
        yield service


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def shared() -> AsyncGenerator[Service]:
    """A shared service for tests that change nothing."""
    async with serving_luis() as service:
        yield service


def edit_user(folder: Path, edit: EditUser) -> None:
    """Edit the only user as an operator with an editor would."""
    path = folder / "auth" / "users.json"
    document = json.loads(path.read_text(encoding="utf-8"))
    edit(document["users"][0])
    path.write_text(json.dumps(document, indent=4), encoding="utf-8")


async def log_in(
    service: Service, email: object = EMAIL, password: object = PASSWORD
) -> httpx.Response:
    return await service.client.post("/auth/login", json={"email": email, "password": password})


async def me(service: Service, bearer: dict[str, str]) -> httpx.Response:
    return await service.client.get("/me", headers=bearer)


async def test_login_gives_a_bearer_token_that_names_the_user(shared: Service) -> None:
    answer = await log_in(shared, "  LUIS@Example.com ")
    token = answer.json()
    who = await me(shared, {"Authorization": f"Bearer {token['access_token']}"})
    assert token.keys() == {
        *("access_token", "token_type", "expires_in", "refresh_token", "refresh_expires_in")
    }
    assert (token["token_type"], token["expires_in"]) == ("bearer", 3600)
    assert token["refresh_expires_in"] == 14 * 24 * 3600
    assert who.status_code == 200
    assert who.json().keys() == {"id", "email", "roles", "department", "is_active"}
    assert who.json() | {"id": ""} == {
        "id": "",
        "email": EMAIL,
        "roles": ["employee"],
        "department": "sales",
        "is_active": True,
    }


async def test_setting_decides_how_long_a_token_lives() -> None:
    async with serving(settings_for_tests(jwt_ttl_minutes=7)) as service:
        await service.add_user(EMAIL)
        assert (await log_in(service)).json()["expires_in"] == 420


@pytest.mark.parametrize("key", ["", "x", API_KEY[:-1], API_KEY + "x", API_KEY.upper(), "ñ"])
async def test_wrong_api_key_is_distinguished_from_a_missing_one(shared: Service, key: str) -> None:
    headers = {b"X-API-Key": key.encode()}
    answer = await shared.anonymous.get("/sessions", headers=headers)
    assert code_of(answer) == (401, "invalid_api_key")
    assert answer.headers["www-authenticate"] == 'ApiKey header="X-API-Key"'


async def test_unauthenticated_response_names_the_missing_scheme(shared: Service) -> None:
    without_key = await shared.anonymous.get("/me", headers={"Authorization": "Bearer x"})
    without_token = await shared.client.get("/me")
    with_another = await shared.client.get("/me", headers={"Authorization": "Basic YTpi"})

    assert without_key.headers["www-authenticate"] == 'ApiKey header="X-API-Key"'
    assert without_token.headers["www-authenticate"] == "Bearer"
    assert with_another.headers["www-authenticate"] == "Bearer"


@pytest.mark.parametrize("path", ["/me", "/sessions"])
@pytest.mark.parametrize("token", ["x", "a.b.c", "x" * 5000, "a b", "...", "ñ.ñ.ñ"])
async def test_bad_token_is_invalid_and_never_falls_back_to_the_client(
    shared: Service, path: str, token: str
) -> None:
    headers = {b"Authorization": b"Bearer " + token.encode()}
    answer = await shared.client.get(path, headers=headers)
    assert code_of(answer) == (401, "invalid_token")
    assert answer.headers["www-authenticate"] == "Bearer"


async def test_token_in_which_one_byte_was_changed_is_invalid(shared: Service) -> None:
    token = (await shared.bearer(EMAIL))["Authorization"].removeprefix("Bearer ")
    for at in range(0, len(token), 9):
        new = "A" if token[at] != "A" else "B"
        headers = {"Authorization": f"Bearer {token[:at]}{new}{token[at + 1 :]}"}
        assert code_of(await shared.client.get("/me", headers=headers)) == (401, "invalid_token")


@pytest.mark.parametrize("header", ["", "Bearer", "Basic bHVpczp4", "x"])
async def test_authorization_without_a_bearer_token_is_unauthenticated(
    shared: Service, header: str
) -> None:
    answer = await shared.client.get("/sessions", headers={"Authorization": header})
    assert code_of(answer) == (401, "unauthenticated")


async def test_unknown_disabled_and_wrong_password_get_the_same_bytes(tmp_path: Path) -> None:
    async with serving_files(tmp_path) as service:
        wrong = await log_in(service, password=OTHER_PASSWORD)
        unknown = await log_in(service, "nobody@example.com")
        no_address = await log_in(service, "no address")
        huge = await log_in(service, password="x" * 2000)
        empty = await log_in(service, password="")
        edit_user(tmp_path, lambda user: user.update(is_active=False))
        disabled = await log_in(service)
    answers = [wrong, unknown, no_address, huge, empty, disabled]
    assert {code_of(answer) for answer in answers} == {(401, "invalid_credentials")}
    assert len({said_by(answer) for answer in answers}) == 1


@pytest.mark.parametrize(
    "body",
    [
        {"email": EMAIL, "password": [PASSWORD]},
        {"email": EMAIL, "password": {"value": PASSWORD}},
        {"email": EMAIL, "password": PASSWORD, "extra": PASSWORD},
        {"email": EMAIL, PASSWORD: PASSWORD},
        {"email": [EMAIL], "password": PASSWORD},
        {"password": PASSWORD},
    ],
)
async def test_password_is_never_echoed(shared: Service, body: dict[str, Any]) -> None:
    answer = await shared.client.post("/auth/login", json=body)
    assert code_of(answer) == (422, "invalid_request")
    assert answer.json()["errors"]
    assert PASSWORD not in answer.text
    assert EMAIL not in answer.text


async def test_disabled_user_is_rejected_at_the_next_request(tmp_path: Path) -> None:
    async with serving_files(tmp_path) as service:
        bearer = await service.bearer(EMAIL)
        assert (await me(service, bearer)).status_code == 200
        edit_user(tmp_path, lambda user: user.update(is_active=False))
        assert code_of(await me(service, bearer)) == (401, "invalid_token")
        chatting = await service.client.post("/chat", json={"prompt": "Hi"}, headers=bearer)
        assert code_of(chatting) == (401, "invalid_token")


async def test_raised_token_version_revokes_the_tokens_before_it(tmp_path: Path) -> None:
    async with serving_files(tmp_path) as service:
        before = await service.bearer(EMAIL)
        edit_user(tmp_path, lambda user: user.update(token_version=user["token_version"] + 1))
        assert code_of(await me(service, before)) == (401, "invalid_token")
        assert (await me(service, await service.bearer(EMAIL))).status_code == 200


async def test_removed_user_is_rejected_at_the_next_request(tmp_path: Path) -> None:
    async with serving_files(tmp_path) as service:
        bearer = await service.bearer(EMAIL)
        edit_user(tmp_path, lambda user: user.update(id="f" * 32, email="other@example.com"))
        assert code_of(await me(service, bearer)) == (401, "invalid_token")
        assert code_of(await log_in(service)) == (401, "invalid_credentials")


async def test_changed_role_and_department_hold_at_the_next_request(tmp_path: Path) -> None:
    async with serving_files(tmp_path) as service:
        bearer = await service.bearer(EMAIL)
        edit_user(tmp_path, lambda user: user.update(roles=["admin"], department="legal"))
        who = (await me(service, bearer)).json()
    assert (who["roles"], who["department"]) == (["admin"], "legal")


async def test_role_that_is_taken_away_forbids_at_the_next_request(tmp_path: Path) -> None:
    async with serving_files(tmp_path) as service:
        bearer = await service.bearer(EMAIL)
        assert (await service.client.get("/sessions", headers=bearer)).status_code == 200
        edit_user(tmp_path, lambda user: user.update(roles=[]))
        answer = await service.client.get("/sessions", headers=bearer)
        assert code_of(answer) == (403, "forbidden")
        assert (await me(service, bearer)).json()["roles"] == []


async def test_permission_that_roles_json_takes_away_forbids_at_the_next_request(
    tmp_path: Path,
) -> None:
    roles = tmp_path / "auth" / "roles.json"
    async with serving_files(tmp_path) as service:
        bearer = await service.bearer(EMAIL)
        document = json.loads(roles.read_text(encoding="utf-8"))
        document["roles"]["employee"]["permissions"] = ["memory"]
        roles.write_text(json.dumps(document), encoding="utf-8")
        answer = await service.client.post("/chat", json={"prompt": "Hi"}, headers=bearer)
    assert code_of(answer) == (403, "forbidden")


async def test_password_hash_edited_by_hand_holds_at_the_next_login(tmp_path: Path) -> None:
    hasher = Argon2Hasher()
    other_hash = await hasher.hash(OTHER_PASSWORD)
    await hasher.aclose()
    async with serving_files(tmp_path) as service:
        edit_user(tmp_path, lambda user: user.update(password_hash=other_hash))
        assert code_of(await log_in(service)) == (401, "invalid_credentials")
        assert (await log_in(service, password=OTHER_PASSWORD)).status_code == 200


async def test_invalid_edit_is_503_until_the_next_valid_edit(tmp_path: Path) -> None:
    path = tmp_path / "auth" / "users.json"
    async with serving_files(tmp_path) as service:
        good = path.read_bytes()
        path.write_bytes(good[:-5])
        assert code_of(await log_in(service)) == (503, "storage_unavailable")
        assert path.read_bytes() == good[:-5], "it is left alone"
        assert (await service.client.get("/sessions")).status_code == 200
        path.write_bytes(good)
        assert (await log_in(service)).status_code == 200


async def test_user_without_the_permission_is_forbidden() -> None:
    """The client may do everything; the user's own permissions limit what it does for the user."""
    roles = {
        "mute": Role(name="mute", permissions=frozenset({Permission.USERS_READ})),
        "reader": Role(name="reader", permissions=frozenset({Permission.CHAT})),
    }
    model = ScriptedModel(lambda _: "Of course.")
    async with serving(storage=InMemoryStorage(roles), model=model) as service:
        await service.add_user("mute@example.com", "mute")
        await service.add_user("reader@example.com", "reader")
        mute = await service.bearer("mute@example.com")
        reader = await service.bearer("reader@example.com")
        begun = await service.client.post("/sessions/new", headers=reader)
        path = f"/sessions/{begun.json()['session_id']}"
        memory: dict[str, Any] = {"structured_memory": {}}
        forbidden = [
            await service.client.post("/chat", json={"prompt": "Hi"}, headers=mute),
            await service.client.post("/sessions/new", headers=mute),
            await service.client.get("/sessions", headers=mute),
            await service.client.get(path, headers=mute),
            await service.client.delete(path, headers=mute),
            await service.client.put(f"{path}/summary", json={"summary": ""}, headers=reader),
            await service.client.post(f"{path}/summary/reset", headers=reader),
            await service.client.put(f"{path}/memory", json=memory, headers=reader),
            await service.client.post(f"{path}/memory/reset", headers=reader),
        ]
        assert (await me(service, mute)).status_code == 200
        assert (await service.client.get(f"{path}/memory", headers=reader)).status_code == 200
    assert {code_of(answer) for answer in forbidden} == {(403, "forbidden")}
    assert not model.requests
