"""docs/access.md is true: every call is made as every caller, over a real service."""

import re
from collections.abc import AsyncGenerator, Mapping
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest
import pytest_asyncio

from access_keys import Portal, ended_keys, key_without_scopes, portal
from access_table import CALLERS, CALLS, OTHERS, Row
from chatbot.adapters.llm.scripted import ScriptedModel
from chatbot.adapters.security.jose_tokens import JoseTokens
from chatbot.adapters.storage.json_files.storage import JsonFileStorage
from chatbot.domain.limits import Limit, LimitKind, Subject
from chatbot.domain.permissions import Role
from chatbot.entrypoints.container.parts import random_id, utc_now
from chatbot.entrypoints.http.native import PUBLIC_PATHS
from service import (
    ADMIN_EMAIL,
    API_KEY,
    HOST,
    JWT_SECRET,
    PASSWORD,
    Service,
    said_by,
    serving,
    settings_for_tests,
)
from sign_in import signed_in

pytestmark = pytest.mark.asyncio(loop_scope="module")

CANARY = "canary-4711"
NEW_PASSWORD = "a quite different set of words"
SPARE_ROLE = "spare"
SPARE_LIMIT = Limit(id="spare", subject=Subject.CLIENT, name="x", kind=LimitKind.STREAMS, limit=9)
OWNER = "luis@example.com"
DISABLED = "gone@example.com"
METHODS = ("GET", "HEAD", "OPTIONS", "POST", "PUT", "PATCH", "DELETE", "TRACE", "BREW")
BODIES: dict[str, dict[str, object]] = {  # a call that is not here is made without a body
    "POST /auth/login": {"email": OWNER, "password": PASSWORD},
    "POST /auth/refresh": {"refresh_token": "x"},
    "POST /me/password": {"current_password": PASSWORD, "new_password": NEW_PASSWORD},
    "POST /chat": {"prompt": "Hi"},
    "DELETE /me": {"password": "x" * 200},
    "POST /admin/sessions/{session_id}/read": {"reason": "A complaint."},
    "POST /sessions/{session_id}/hold": {"reason": "A complaint."},
    "POST /sessions/{session_id}/release": {"reason": "A complaint."},
    "PATCH /sessions/{session_id}": {"title": "Changed."},
    "PUT /sessions/{session_id}/summary": {"summary": "Changed."},
    "PUT /sessions/{session_id}/memory": {"structured_memory": {"facts": ["Changed."]}},
    "POST /admin/keys": {"client": "partner", "scopes": ["chat"]},
    "POST /admin/users": {"email": "new@example.com", "roles": [], "department": "legal"},
    "PATCH /admin/users/{user_id}": {"is_active": True},
    "PUT /admin/roles/{name}": {"permissions": ["chat"]},
    "PUT /admin/limits/{limit_id}": {
        "subject": "client",
        "name": "x",
        "kind": "streams",
        "limit": 5,
    },
}
PEOPLE = {
    "owner": [OWNER],
    "colleague": ["eva@example.com", "noa@example.com"],
    "admin": [ADMIN_EMAIL],
}
ENDS_SIGN_INS = {"POST /auth/logout", "POST /auth/logout-all", "POST /me/password"}
Headers = dict[str, str]
_PLACEHOLDER = re.compile(r"\{\w+\}")
SESSION_CALLS = [row for row in CALLS if row.is_about_a_session]


@dataclass(frozen=True, kw_only=True)
class Company:
    """A service and its callers; all callers of a column must get the same response."""

    service: Service
    callers: Mapping[str, list[Headers]]
    folder: Path
    user_id: str
    portal: Portal

    async def begin(self, caller: str) -> str:
        """A session of this caller with a secret that no other caller may see."""
        body = {"prompt": f"Remember {CANARY}."}
        headers = self.callers[caller][0]
        answer = await self.service.anonymous.post("/chat", json=body, headers=headers)
        return str(answer.raise_for_status().json()["session_id"])

    async def key_id(self) -> str:
        return (await self.service.add_key()).line.id

    async def call(
        self, row: Row, headers: Headers, session_id: str, *, key_id: str = ""
    ) -> httpx.Response:
        ids = {
            "session_id": session_id,
            "key_id": key_id,
            "user_id": self.user_id,
            "name": SPARE_ROLE,
            "limit_id": SPARE_LIMIT.id,
        }
        method, path = row.route.format_map(ids).split(" ")
        body = BODIES.get(row.route)
        headers = self.portal.signed(headers)
        if body is not None and row.is_about_a_session and "{session_id}" not in row.route:
            body = body | {"session_id": session_id}
        answer = await self.service.anonymous.request(method, path, json=body, headers=headers)
        if row.route == "POST /me/password" and answer.is_success:
            await self._change_back(headers, answer)
        return answer

    async def _change_back(self, headers: Headers, answer: httpx.Response) -> None:
        """Restore the password, and give the caller a valid token."""
        bearer = {"X-API-Key": API_KEY, "Authorization": f"Bearer {answer.json()['access_token']}"}
        body = {"current_password": NEW_PASSWORD, "new_password": PASSWORD}
        back = await self.service.anonymous.post("/me/password", json=body, headers=bearer)
        headers["Authorization"] = f"Bearer {back.raise_for_status().json()['access_token']}"

    async def sign_in_again(self) -> None:
        """After calls that have ended the sign-ins of those who made them."""
        for caller, emails in PEOPLE.items():
            bearers = [await self.service.bearer(email) for email in emails]
            self.callers[caller][:] = [{"X-API-Key": API_KEY} | bearer for bearer in bearers]

    def files(self) -> dict[Path, bytes]:
        """Every stored byte, except of the audit, which records refusals, and of used assertions."""
        paths = [path for path in self.folder.rglob("*") if path.is_file()]
        return {p: p.read_bytes() for p in paths if p.parent.name not in {"audit", "assertions"}}


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def company(tmp_path_factory: pytest.TempPathFactory) -> AsyncGenerator[Company]:
    folder = tmp_path_factory.mktemp("data")
    async with JsonFileStorage(folder) as storage:
        await storage.make_initial_records()
    settings = settings_for_tests(
        storage_url=f"json:{folder}", mem_structured_enable=False, mem_summarize_threshold=0
    )
    async with serving(settings, model=ScriptedModel(lambda _: "Of course.")) as service:
        owner = await service.add_user(OWNER)
        app = await portal(service, owner.id)
        callers = await _callers(service, app)
        await _disable(service)
        target = await service.add_user("target@example.com")
        await service.use.roles.put(HOST, Role(name=SPARE_ROLE, permissions=frozenset()))
        await service.use.limits.put(HOST, SPARE_LIMIT)
        yield Company(
            service=service, callers=callers, folder=folder, user_id=target.id, portal=app
        )


async def _callers(service: Service, app: Portal) -> dict[str, list[Headers]]:
    key = {"X-API-Key": API_KEY}
    people = {}
    await service.add_admin()
    people["admin"] = await service.bearer()
    people["owner"] = await service.bearer(OWNER)
    for name, email, department in (
        ("colleague", "eva@example.com", "sales"),
        ("colleague elsewhere", "noa@example.com", "legal"),
        ("disabled", DISABLED, "sales"),
    ):
        await service.add_user(email, department=department)
        people[name] = await service.bearer(email)
    owner = people["owner"]
    found = {
        "no key": [{}, owner],
        "wrong key": [
            {"X-API-Key": "x" * len(API_KEY)},
            owner | {"X-API-Key": API_KEY[:-1]},
            *await ended_keys(service),
        ],
        "no scope": [await key_without_scopes(service)],
        "key": [key],
        "end user": [app.good],
        "bad token": [
            *(key | bad for bad in await _bad_tokens(service)),
            *await app.bad(service),
        ],
    }
    for name, bearer in people.items():
        found.setdefault(name.removesuffix(" elsewhere"), []).append(key | bearer)
    assert found.keys() == set(CALLERS)
    return found


async def _bad_tokens(service: Service) -> list[Headers]:
    """Tokens of the owner: expired, signed with another secret, and malformed."""
    user = await service.use.storage.transact(lambda tx: tx.users.by_email(OWNER))
    assert user is not None
    family_id = await signed_in(service.use.storage, user, utc_now)

    def issued(secret: str, *, hours_ago: int) -> str:
        tokens = JoseTokens(secret, ttl_s=3600, clock=utc_now)
        at = utc_now() - timedelta(hours=hours_ago)
        return tokens.issue(user, family_id=family_id, token_id=random_id(), at=at)

    good, expired, forged = (
        issued(JWT_SECRET, hours_ago=0),
        issued(JWT_SECRET, hours_ago=2),
        issued(JWT_SECRET[::-1], hours_ago=0),
    )
    answer = await service.client.get("/me", headers={"Authorization": f"Bearer {good}"})
    assert answer.status_code == 200, "the others differ only in what their names say"
    return [{"Authorization": f"Bearer {token}"} for token in (expired, forged, "x")]


async def _disable(service: Service) -> None:
    folder = service.use.settings.storage.url.path
    assert folder
    path = folder / "auth" / "users.json"
    text = path.read_text(encoding="utf-8")
    before, at, after = text.partition(DISABLED)
    assert at
    path.write_text(before + at + after.replace("true", "false", 1), encoding="utf-8")


def as_cell(answer: httpx.Response) -> str:
    """The response in the notation of the table."""
    status = str(answer.status_code)
    if answer.status_code < 400:
        return status
    problem: dict[str, Any] = {} if answer.request.method == "HEAD" else answer.json()
    return f"{status} {problem['code']}" if problem else status


def names(rows: list[Row]) -> pytest.MarkDecorator:
    return pytest.mark.parametrize("row", rows, ids=[row.cell.replace("`", "") for row in rows])


@names(CALLS)
async def test_each_caller_gets_what_the_table_says(company: Company, row: Row) -> None:
    session_id, key_id = await company.begin("owner"), await company.key_id()
    before = company.files()
    refused = [caller for caller in CALLERS if row.answers[caller] > "4"]
    for caller in refused:
        for headers in company.callers[caller]:
            answer = await company.call(row, headers, session_id, key_id=key_id)
            assert as_cell(answer) == row.answers[caller], caller
            assert CANARY not in answer.text
    assert company.files() == before, "a refused call has changed something"
    for caller in [c for c in CALLERS if c not in refused]:
        if row.is_about_a_session:
            session_id = await company.begin("owner")  # another one may have deleted it
        for headers in company.callers[caller]:
            answer = await company.call(row, headers, session_id, key_id=key_id)
            assert as_cell(answer) == row.answers[caller], caller
            assert caller in {"owner", "end user"} or session_id not in answer.text, caller
    if row.route in ENDS_SIGN_INS:
        await company.sign_in_again()


@names(SESSION_CALLS)
async def test_session_of_an_application_is_hidden_from_users(company: Company, row: Row) -> None:
    session_id = await company.begin("key")
    before = company.files()
    for caller in ("owner", "colleague", "admin"):
        for headers in company.callers[caller]:
            answer = await company.call(row, headers, session_id)
            assert as_cell(answer) == row.answers["colleague"], caller
    assert company.files() == before, "a refused call has changed something"
    answer = await company.call(row, company.callers["key"][0], session_id)
    assert as_cell(answer) == row.answers["owner"]


@names(SESSION_CALLS)
async def test_foreign_session_gets_the_same_response_as_an_unknown_one(
    company: Company, row: Row
) -> None:
    foreign = await company.begin("owner")
    for caller in ("key", "colleague", "admin"):
        for headers in company.callers[caller]:
            found = [
                await company.call(row, headers, session_id)
                for session_id in (foreign, "0" * 32, "no-id")
            ]
            assert len({said_by(answer) for answer in found}) == 1, caller


@pytest.mark.parametrize("caller", CALLERS)
async def test_unknown_paths_and_methods_respond_as_the_table_says(
    company: Company, caller: str
) -> None:
    public, other = (OTHERS[f"any other method, {kind} path"] for kind in ("public", "other"))
    tries = [
        (method, path, public if path in PUBLIC_PATHS else other)
        for path in sorted({row.path for row in CALLS})
        for method in METHODS
        if not any(_fits(f"{method} {path}", row.route) for row in CALLS)
    ]
    tries += [
        (method, path, OTHERS["any other path"])
        for path in ("/x", "/admin", "/docs/", "/sessions/x/y", "/health/x")
        for method in METHODS
    ]
    for method, path, row in tries:
        for headers in company.callers[caller]:
            answer = await company.service.anonymous.request(
                method, _PLACEHOLDER.sub("0" * 32, path), headers=headers
            )
            wanted = row.answers[caller]
            wanted = wanted.split(" ")[0] if method == "HEAD" else wanted
            assert as_cell(answer) == wanted, f"{method} {path}"


def _fits(call: str, route: str) -> bool:
    """Whether the route matches the call; `/sessions/new` also matches `/sessions/{session_id}`."""
    return re.fullmatch(_PLACEHOLDER.sub("[^/]+", route), call) is not None
