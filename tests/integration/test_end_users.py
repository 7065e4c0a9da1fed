"""Acting for a user with `X-End-User`, over HTTP and on every store."""

import asyncio
import json
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import httpx
import pytest

from assertions import assertion
from chatbot.adapters.llm.scripted import Script, ScriptedModel
from chatbot.application.api_keys import MadeKey
from chatbot.application.new_keys import NewKey
from chatbot.application.user_changes import UserChange
from chatbot.domain.audit import AUDIT
from chatbot.domain.authorization import of_host
from chatbot.domain.identity import User
from chatbot.domain.permissions import Permission
from chatbot.entrypoints.container.parts import utc_now
from conversation import eventually
from service import API_KEY, SSE, Service, code_of, serving, settings_for_tests

ROOT = of_host("root")
EMAIL = "luis@example.com"
CHAT_FOR_USERS = (Permission.CHAT, Permission.MEMORY, Permission.ACT_FOR_USERS)
INVALID, UNKNOWN = (401, "invalid_token"), (401, "unknown_user")
USER_SECRET = "Zq7vX2nB9kL4mT6wR1yH8cJ3dF5gP0sAeUiO"


@dataclass(frozen=True, kw_only=True)
class Application:
    """An application with a key that may act for users, and the employee Luis."""

    service: Service
    key: MadeKey
    luis: User

    def sign(self, **changed: object) -> str:
        named: dict[str, object] = (
            {} if {"sub", "email"} & changed.keys() else {"sub": self.luis.id}
        )
        return assertion(self.key.assertion_secret, self.key.line.client, **named, **changed)

    def headers(self, raw_assertion: str | None = None) -> dict[str, str]:
        signed = self.sign() if raw_assertion is None else raw_assertion
        return {"X-API-Key": self.key.raw_key, "X-End-User": signed}

    async def me(self, raw_assertion: str | None = None, **more: str) -> httpx.Response:
        headers = self.headers(raw_assertion) | more
        return await self.service.anonymous.get("/me", headers=headers)

    async def events(self, action: str) -> list[dict[str, Any]]:
        entries = await self.service.use.storage.transact(
            lambda tx: tx.journal.read(AUDIT, limit=1000)
        )
        events = [dict(entry.content) for entry in entries]
        return [e for e in events if e["action"] == action and e.get("stage") != "intent"]


@asynccontextmanager
async def acting(each_store: str = "memory:", **given: object) -> AsyncGenerator[Application]:
    settings = settings_for_tests(storage_url=each_store, mem_structured_enable=False, **given)
    model = ScriptedModel(lambda _: Script(pieces=("Half",), pause=asyncio.Event().wait))
    async with serving(settings, model=model) as service:
        await service.add_admin()
        await service.add_user(EMAIL)
        luis = await service.use.storage.transact(lambda tx: tx.users.by_email(EMAIL))
        assert luis is not None
        key = await service.add_key(*CHAT_FOR_USERS)
        yield Application(service=service, key=key, luis=luis)


async def test_application_calls_for_a_person_by_id_or_address(each_store: str) -> None:
    async with acting(each_store) as app:
        for named in ({"sub": app.luis.id}, {"email": " Luis@Example.com "}):
            answer = await app.me(app.sign(**named))
            assert (answer.status_code, answer.json()["id"]) == (200, app.luis.id)
        both = {"sub": app.luis.id, "email": EMAIL}
        assert (await app.me(app.sign(**both))).status_code == 200


async def test_sessions_belong_to_the_person_as_after_a_log_in(each_store: str) -> None:
    async with acting(each_store) as app:
        client = app.service.anonymous
        begun = await client.post("/sessions/new", headers=app.headers())
        path = f"/sessions/{begun.json()['session_id']}"
        bearer = await app.service.bearer(EMAIL)
        assert (await app.service.client.get(path, headers=bearer)).status_code == 200
        assert (await client.get(path, headers=app.headers())).status_code == 200
        alone = await client.get(path, headers={"X-API-Key": app.key.raw_key})
        assert code_of(alone) == (404, "not_found")


async def test_assertion_can_be_used_once_whatever_comes_of_it(each_store: str) -> None:
    async with acting(each_store) as app:
        raw = app.sign(sub="nobody")
        assert code_of(await app.me(raw)) == UNKNOWN
        assert code_of(await app.me(raw)) == INVALID
        raw = app.sign()
        answers = await asyncio.gather(*(app.me(raw) for _ in range(20)))
        assert sorted(answer.status_code for answer in answers) == [200] + [401] * 19
        assert {code_of(a) for a in answers if a.status_code == 401} == {INVALID}
        again = app.sign(jti="the same", exp=None)
        assert code_of(await app.me(again)) == INVALID, "without an end it is not valid at all"


async def test_unknown_person_is_created_only_if_the_settings_say_so(each_store: str) -> None:
    async with acting(each_store) as app:
        for named in ({"sub": "nobody"}, {"email": "eva@example.com"}):
            assert code_of(await app.me(app.sign(**named))) == UNKNOWN
        other = {"sub": app.luis.id, "email": "ana@example.com"}
        assert code_of(await app.me(app.sign(**other))) == UNKNOWN, "not the address of this id"


async def test_person_is_created_once_by_many_first_calls(each_store: str) -> None:
    async with acting(each_store, provision_users="true") as app:
        answers = await asyncio.gather(
            *(app.me(app.sign(email="Eva@example.com")) for _ in range(20))
        )
        assert {answer.status_code for answer in answers} == {200}
        assert len({answer.json()["id"] for answer in answers}) == 1
        eva = await app.service.use.storage.transact(
            lambda tx: tx.users.by_email("eva@example.com")
        )
        assert eva is not None
        assert (eva.roles, eva.department, eva.source, eva.has_password) == (
            ("employee",),
            "",
            "assertion",
            False,
        )
        [event] = [e for e in await app.events("user.create") if e["object"]["id"] == eva.id]
        assert event["actor"]["client"] == app.key.line.client
        assert "eva@" not in str(event)
        assert code_of(await app.me(app.sign(sub="nobody"))) == UNKNOWN, "an id is not an address"
        login = await app.service.client.post(
            "/auth/login", json={"email": "eva@example.com", "password": ""}
        )
        assert code_of(login)[0] in {401, 422}


async def test_disabled_and_expired_persons_are_refused(each_store: str) -> None:
    async with acting(each_store, provision_users="true") as app:
        people = app.service.use.people
        await people.change(ROOT, app.luis.id, UserChange(is_active=False))
        for named in ({"sub": app.luis.id}, {"email": EMAIL}):
            assert code_of(await app.me(app.sign(**named))) == INVALID
        await people.change(ROOT, app.luis.id, UserChange(is_active=True))
        assert (await app.me()).status_code == 200
        soon = utc_now() + timedelta(milliseconds=50)
        await people.change(ROOT, app.luis.id, UserChange(expires_at=soon))
        await asyncio.sleep(0.1)
        assert code_of(await app.me()) == INVALID


async def test_person_with_a_one_time_password_has_their_rights(each_store: str) -> None:
    """The application has logged them in; the one-time password is not used."""
    async with acting(each_store) as app:
        made = await app.service.use.user_passwords.reset(ROOT, app.luis.id)
        assert made.one_time_password
        answer = await app.service.anonymous.get("/sessions", headers=app.headers())
        assert answer.status_code == 200
        bearer = await app.service.bearer(EMAIL, made.one_time_password)
        answer = await app.service.client.get("/sessions", headers=bearer)
        assert code_of(answer) == (403, "password_change_required")


async def test_rights_are_those_of_both_the_key_and_the_person(each_store: str) -> None:
    async with acting(each_store) as app:
        admin = app.sign(email="ana@example.com")
        answer = await app.service.anonymous.get("/admin/keys", headers=app.headers(admin))
        assert code_of(answer) == (403, "forbidden"), "the key has no such scope"
        wider = await app.service.add_key(*CHAT_FOR_USERS, Permission.KEYS_MANAGE)
        for email, status in (("ana@example.com", 200), (EMAIL, 403)):
            raw = assertion(wider.assertion_secret, wider.line.client, email=email)
            headers = {"X-API-Key": wider.raw_key, "X-End-User": raw}
            answer = await app.service.anonymous.get("/admin/keys", headers=headers)
            assert answer.status_code == status
        narrow = await app.service.add_key(Permission.ACT_FOR_USERS)
        raw = assertion(narrow.assertion_secret, narrow.line.client, email=EMAIL)
        headers = {"X-API-Key": narrow.raw_key, "X-End-User": raw}
        answer = await app.service.anonymous.get("/sessions", headers=headers)
        assert code_of(answer) == (403, "forbidden")


async def test_key_without_the_scope_cannot_act_for_users() -> None:
    async with acting() as app:
        plain = await app.service.add_key(Permission.CHAT, client="plain")
        assert plain.assertion_secret is None
        for key, client in ((plain.raw_key, "plain"), (API_KEY, "default")):
            for raw in (app.sign(), assertion(API_KEY, client, sub=app.luis.id), "x", ""):
                headers = {"X-API-Key": key, "X-End-User": raw}
                answer = await app.service.anonymous.get("/me", headers=headers)
                assert code_of(answer) == (403, "forbidden")


async def test_assertion_of_another_key_or_client_is_refused() -> None:
    async with acting() as app:
        other = await app.service.add_key(*CHAT_FOR_USERS)
        for raw in (
            assertion(other.assertion_secret, other.line.client, sub=app.luis.id),
            assertion(other.assertion_secret, app.key.line.client, sub=app.luis.id),
            assertion(app.key.assertion_secret, other.line.client, sub=app.luis.id),
            assertion(app.key.raw_key, app.key.line.client, sub=app.luis.id),
        ):
            assert code_of(await app.me(raw)) == INVALID


async def test_both_credentials_of_a_person_and_repeated_headers_are_refused() -> None:
    async with acting() as app:
        bearer = await app.service.bearer(EMAIL)
        assert code_of(await app.me(**bearer)) == (400, "bad_request")
        assert code_of(await app.me("", **bearer)) == (400, "bad_request")
        twice = [*app.headers().items(), ("x-end-user", app.sign())]
        answer = await app.service.anonymous.get("/me", headers=twice)
        assert code_of(answer) == (400, "bad_request")


async def test_unsigned_identity_headers_are_ignored() -> None:
    names = ("X-User-Id", "X-End-User-Id", "X-Forwarded-User", "X-Forwarded-Email", "Remote-User")
    async with acting() as app:
        unsigned = dict.fromkeys((*names, "X-Auth-Request-Email"), EMAIL)
        headers = {"X-API-Key": app.key.raw_key} | unsigned
        answer = await app.service.anonymous.get("/me", headers=headers)
        assert code_of(answer) == (401, "unauthenticated")


@pytest.mark.parametrize("raw", ["", "x", "a.b.c", "x" * 4097, "é"])
async def test_what_is_no_assertion_is_refused(raw: str) -> None:
    async with acting() as app:
        headers = [(b"X-API-Key", app.key.raw_key.encode()), (b"X-End-User", raw.encode())]
        answer = await app.service.anonymous.get("/me", headers=headers)
        assert code_of(answer) == INVALID


async def test_running_answer_ends_when_the_person_is_disabled(each_store: str) -> None:
    async with acting(each_store) as app:
        asking = app.service.anonymous.post(
            "/chat", json={"prompt": "Hi"}, headers={**app.headers(), **SSE}
        )
        asked = asyncio.create_task(asking)
        await eventually(lambda: bool(app.service.use.chat.running._turns))
        await app.service.use.people.change(ROOT, app.luis.id, UserChange(is_active=False))
        text = (await asked).text
    error = text.partition("event: error\ndata: ")[2].partition("\n")[0]
    assert json.loads(error)["code"] == "revoked"


async def test_chosen_secret_signs_and_is_stored_sealed(each_store: str) -> None:
    async with acting(each_store) as app:
        api_keys = app.service.use.api_keys
        wanted = NewKey(client="portal", scopes=frozenset(CHAT_FOR_USERS), user_secret=USER_SECRET)
        made = await api_keys.create(ROOT, wanted)
        assert made.assertion_secret == USER_SECRET
        key = await app.service.use.storage.transact(lambda tx: tx.api_keys.by_id(made.line.id))
        assert key is not None
        assert key.sealed_secret is not None
        assert USER_SECRET not in key.sealed_secret
        portal = Application(service=app.service, key=made, luis=app.luis)
        assert (await portal.me()).status_code == 200
        rotated = await api_keys.rotate(ROOT, made.line.id, overlap=timedelta(hours=1))
        assert rotated.assertion_secret not in {None, USER_SECRET}
        assert (await Application(service=app.service, key=rotated, luis=app.luis).me()).is_success
        assert (await portal.me()).is_success, "the old key has its own secret until it ends"


async def test_assertion_is_not_used_twice_by_two_keys_with_the_same_secret() -> None:
    async with acting() as app:
        wanted = NewKey(client="portal", scopes=frozenset(CHAT_FOR_USERS), user_secret=USER_SECRET)
        old, new = [await app.service.use.api_keys.create(ROOT, wanted) for _ in range(2)]
        raw = assertion(USER_SECRET, "portal", sub=app.luis.id)
        found = [
            await Application(service=app.service, key=key, luis=app.luis).me(raw)
            for key in (old, new)
        ]
    assert [answer.status_code for answer in found] == [200, 401]
