"""Revoking a user's tokens and running answers: on every store, by command and by manual edit."""

import asyncio
import json
import time
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from chatbot.adapters.llm.scripted import Script, ScriptedModel
from chatbot.adapters.storage.json_files.storage import JsonFileStorage
from chatbot.application.user_changes import UserChange
from chatbot.domain.errors import Conflict
from chatbot.domain.identity import UserId
from chatbot.entrypoints.container.use_cases import Management, UseCases
from chatbot.entrypoints.lifecycle import opened_management
from chatbot.entrypoints.settings import Settings
from conversation import eventually
from service import (
    ADMIN_EMAIL,
    HOST,
    SSE,
    Service,
    code_of,
    messages_of,
    serving,
    settings_for_tests,
)

EMAIL = "luis@example.com"
OTHER_PASSWORD = "a quite different set of words"
ENDS_WITHIN_S = 5.0
Operator = Callable[[Management | UseCases], Awaitable[object]]


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


@asynccontextmanager
async def serving_luis(settings: Settings) -> AsyncGenerator[Service]:
    model = ScriptedModel(lambda _: Script(pieces=("Half",), pause=asyncio.Event().wait))
    async with serving(settings, model=model) as service:
        await service.add_admin()
        await service.add_user(EMAIL)
        yield service


async def operate(service: Service, settings: Settings, operator: Operator) -> None:
    """Make the change like a command beside the service; in memory, through the service."""
    if settings.storage.url.raw == "memory:":
        await operator(service.use)
        return
    async with opened_management(settings) as management:
        await operator(management)


async def id_of(use: Management | UseCases, email: str) -> UserId:
    return (await use.people.find(HOST, email)).user.id


async def set_password(use: Management | UseCases) -> None:
    await use.user_passwords.set(HOST, await id_of(use, EMAIL), OTHER_PASSWORD)


def switching(email: str = EMAIL, *, on: bool) -> Operator:
    """Disables or enables a user."""

    async def operator(use: Management | UseCases) -> None:
        await use.people.change(HOST, await id_of(use, email), UserChange(is_active=on))

    return operator


async def is_accepted(service: Service, bearer: dict[str, str]) -> bool:
    answer = await service.client.get("/me", headers=bearer)
    assert answer.status_code == 200 or code_of(answer) == (401, "invalid_token")
    return answer.status_code == 200


async def test_changing_the_password_revokes_earlier_tokens(settings: Settings) -> None:
    async with serving_luis(settings) as service:
        before, admin = await service.bearer(EMAIL), await service.bearer()
        await operate(service, settings, set_password)
        assert not await is_accepted(service, before)
        assert await is_accepted(service, admin), "other users keep their tokens"
        assert await is_accepted(service, await service.bearer(EMAIL, OTHER_PASSWORD))


async def test_reenabled_user_logs_in_again_and_earlier_tokens_stay_revoked(
    settings: Settings,
) -> None:
    async with serving_luis(settings) as service:
        before = await service.bearer(EMAIL)
        await operate(service, settings, switching(on=False))
        await operate(service, settings, switching(on=True))
        assert not await is_accepted(service, before)
        after = await service.bearer(EMAIL)
        await operate(service, settings, switching(on=True))
        assert await is_accepted(service, after), "enabling once more changes nothing"


async def test_last_active_administrator_is_not_disabled(settings: Settings) -> None:
    async with serving_luis(settings) as service:
        with pytest.raises(Conflict, match="last active administrator"):
            await operate(service, settings, switching(ADMIN_EMAIL, on=False))
        assert await is_accepted(service, await service.bearer())


@pytest.mark.parametrize("stream", [True, False], ids=["stream", "complete"])
async def test_running_answer_ends_when_its_user_is_disabled_and_is_stored_as_partial(
    settings: Settings, *, stream: bool
) -> None:
    async with serving_luis(settings) as service:
        bearer, began = await service.bearer(EMAIL), time.monotonic()
        asked = asyncio.create_task(
            service.client.post(
                "/chat", json={"prompt": "Hi"}, headers={**bearer, **(SSE if stream else {})}
            )
        )
        await eventually(lambda: bool(service.use.chat.running._turns))
        await operate(service, settings, switching(on=False))
        answer = await asked
        assert time.monotonic() - began < ENDS_WITHIN_S
        await operate(service, settings, switching(on=True))
        bearer = await service.bearer(EMAIL)
        [session] = (await service.client.get("/sessions", headers=bearer)).json()["sessions"]
        path = f"/sessions/{session['session_id']}"
        last = (await service.client.get(path, headers=bearer)).json()["messages"][-1]
    assert problem_in(answer.text, stream=stream)["code"] == "revoked"
    assert (last["role"], last["state"], last["reason"]) == ("assistant", "interrupted", "revoked")
    assert last["content"] == ("Half" if stream else "")


def problem_in(text: str, *, stream: bool) -> dict[str, Any]:
    if stream:
        assert "event: delta" in text
        text = text.partition("event: error\ndata: ")[2].partition("\n")[0]
    found: dict[str, Any] = json.loads(text)
    return found


@pytest.mark.parametrize(
    "edit", [{"roles": ["admin"]}, {"department": "legal"}, {"password_hash": "$argon2id$other"}]
)
async def test_running_answer_ends_when_its_user_is_edited_by_hand(
    tmp_path: Path, edit: dict[str, object]
) -> None:
    async with JsonFileStorage(tmp_path) as storage:
        await storage.make_initial_records()
    settings = settings_for_tests(storage_url=f"json:{tmp_path}", mem_structured_enable=False)
    async with serving_luis(settings) as service:
        bearer, began = await service.bearer(EMAIL), time.monotonic()
        asking = service.client.post("/chat", json={"prompt": "Hi"}, headers={**bearer, **SSE})
        asked = asyncio.create_task(asking)
        await eventually(lambda: bool(service.use.chat.running._turns))
        edit_luis(tmp_path, edit)
        answer = await asked
    assert time.monotonic() - began < ENDS_WITHIN_S
    assert problem_in(answer.text, stream=True)["code"] == "revoked"


def edit_luis(folder: Path, edit: dict[str, object]) -> None:
    path = folder / "auth" / "users.json"
    document = json.loads(path.read_text(encoding="utf-8"))
    next(each for each in document["users"] if each["email"] == EMAIL).update(edit)
    path.write_text(json.dumps(document, indent=4), encoding="utf-8")


async def test_disabling_and_enabling_by_hand_revives_no_token(tmp_path: Path) -> None:
    async with JsonFileStorage(tmp_path) as storage:
        await storage.make_initial_records()
    settings = settings_for_tests(storage_url=f"json:{tmp_path}", mem_structured_enable=False)
    async with serving_luis(settings) as service:
        before = await service.bearer(EMAIL)
        original = (tmp_path / "auth" / "users.json").read_bytes()
        edit_luis(tmp_path, {"is_active": False})
        assert not await is_accepted(service, before)
        (tmp_path / "auth" / "users.json").write_bytes(original)
        assert not await is_accepted(service, before)
        assert await is_accepted(service, await service.bearer(EMAIL))


@pytest.mark.parametrize("path", ["/auth/logout", "/auth/logout-all"])
async def test_running_answer_ends_when_its_user_logs_out_and_no_other_does(
    settings: Settings, path: str
) -> None:
    async with serving_luis(settings) as service:
        bearer, other, began = await service.bearer(EMAIL), await service.bearer(), time.monotonic()
        asked = [
            asyncio.create_task(
                service.client.post("/chat", json={"prompt": "Hi"}, headers={**each, **SSE})
            )
            for each in (bearer, other)
        ]
        await eventually(lambda: service.use.chat.running.count == 2)
        async with service_beside(service, settings) as beside:
            (await beside.client.post(path, headers=bearer)).raise_for_status()
        async with asyncio.timeout(4 * ENDS_WITHIN_S):
            answer = await asked[0]
        assert time.monotonic() - began < ENDS_WITHIN_S
        assert problem_in(answer.text, stream=True)["code"] == "revoked"
        bearer = await service.bearer(EMAIL)
        [session] = (await service.client.get("/sessions", headers=bearer)).json()["sessions"]
        session_path = f"/sessions/{session['session_id']}"
        last = (await service.client.get(session_path, headers=bearer)).json()["messages"][-1]
        assert (last["content"], last["reason"]) == ("Half", "revoked")
        assert not asked[1].done()
        asked[1].cancel()


@asynccontextmanager
async def service_beside(service: Service, settings: Settings) -> AsyncGenerator[Service]:
    """Another service on the same store; in memory, the same one."""
    if settings.storage.url.raw == "memory:":
        yield service
        return
    async with serving(settings) as beside:
        yield beside


async def test_answers_of_other_users_and_clients_continue() -> None:
    go_on = asyncio.Event()
    model = ScriptedModel(lambda _: Script(pieces=("All",), pause=go_on.wait))
    settings = settings_for_tests(mem_structured_enable=False)
    async with serving(settings, model=model) as service:
        await service.add_admin()
        await service.add_user(EMAIL)
        asked = [
            asyncio.create_task(
                service.client.post("/chat", json={"prompt": "Hi"}, headers={**bearer, **SSE})
            )
            for bearer in ({}, await service.bearer(), await service.bearer(EMAIL))
        ]
        await eventually(lambda: len(model.requests) == 3)
        await switching(on=False)(service.use)
        ended = await asked[2]
        assert problem_in(ended.text, stream=True)["code"] == "revoked"
        go_on.set()
        for answer in await asyncio.gather(*asked[:2]):
            assert "event: done" in answer.text
        [session] = (await service.client.get("/sessions")).json()["sessions"]
        assert [m["state"] for m in await messages_of(service.client, session["session_id"])] == [
            "complete",
            "complete",
        ]
