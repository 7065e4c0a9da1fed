"""A service with all callers of docs/access.md, and the calls that they make."""

import asyncio
from collections.abc import AsyncGenerator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx

from access_keys import Portal, ended_keys, key_without_scopes, portal
from access_people import (
    KEY,
    OWNER,
    Headers,
    bad_tokens,
    dismiss,
    hire,
    signed_in_staff,
    user_of,
)
from access_table import CALLERS, Row
from chatbot.adapters.llm.scripted import ScriptedModel
from chatbot.adapters.storage.json_files.storage import JsonFileStorage
from chatbot.domain.limits import Limit, LimitKind, Subject
from chatbot.domain.permissions import Role
from chatbot.entrypoints.container.parts import random_id
from plain_extractor import PlainExtractor
from service import API_KEY, HOST, PASSWORD, Service, serving, settings_for_tests
from staff import InstantHasher

CANARY = "canary-4711"
NEW_PASSWORD = "a quite different set of words"
REASON: dict[str, object] = {"reason": "A complaint."}
SPARE_ROLE = "spare"
SPARE_LIMIT = Limit(id="spare", subject=Subject.CLIENT, name="x", kind=LimitKind.STREAMS, limit=9)
BODIES: dict[str, dict[str, object]] = {  # a call that is not here is made without a body
    "POST /auth/login": {"email": OWNER, "password": PASSWORD},
    "POST /auth/refresh": {"refresh_token": "x"},
    "POST /me/password": {"current_password": PASSWORD, "new_password": NEW_PASSWORD},
    "POST /chat": {"prompt": "Hi"},
    "DELETE /me": {"password": "x" * 200},
    "POST /admin/sessions/{session_id}/read": REASON,
    "POST /sessions/{session_id}/hold": REASON,
    "POST /sessions/{session_id}/release": REASON,
    "PATCH /sessions/{session_id}": {"title": "Changed."},
    "PUT /sessions/{session_id}/summary": {"summary": "Changed."},
    "PUT /sessions/{session_id}/memory": {"structured_memory": {"facts": ["Changed."]}},
    "POST /documents": {"title": "A", "text": "Changed."},
    "PATCH /documents/{document_id}": {"title": "Changed."},
    "PUT /documents/{document_id}/content": {"text": "Changed."},
    "POST /search": {"query": CANARY},
    "POST /me/memory": {"kind": "fact", "text": "Likes tea."},
    "PUT /me/memory/settings": {"enabled": True, "cross_session": True, "extract": True},
    "POST /me/memory/search": {"query": "tea"},
    "DELETE /me/memory": {"confirm": "forget everything"},
    "PATCH /me/memory/{item_id}": {"text": "Likes coffee."},
    "POST /me/memory/{item_id}/restore": {"version": 1},
    "POST /admin/keys": {"client": "partner", "scopes": ["chat"]},
    "POST /admin/users": {"roles": ["employee"], "department": "sales"},
    "PATCH /admin/users/{user_id}": {"is_active": True},
    "PUT /admin/roles/{name}": {"permissions": ["chat"]},
    "PUT /admin/limits/{limit_id}": {
        "subject": "client",
        "name": "x",
        "kind": "streams",
        "limit": 5,
    },
}


@dataclass(kw_only=True)
class Company:
    """A service and its callers; all callers of a kind must get the same response."""

    service: Service
    portal: Portal
    callers: Mapping[str, list[Headers]]
    folder: Path
    user_id: str = ""
    key_id: str = ""
    turn_id: str = ""
    item_id: str = ""
    document_id: str = ""

    async def upload(self) -> str:
        """A document of the owner with a secret, which can be searched."""
        headers = self.portal.signed(self.callers["owner"][0])
        body = {"title": "Notes", "text": f"{CANARY} {random_id()}"}
        answer = await self.service.anonymous.post("/documents", json=body, headers=headers)
        document_id = str(answer.raise_for_status().json()["document"]["id"])
        await self._settle()
        return document_id

    async def _settle(self) -> None:
        """Wait until all documents have been worked on."""
        use = self.service.use
        while await use.storage.transact(lambda tx: tx.documents.has_jobs()):
            await use.ingestion.work_once()
            await asyncio.sleep(0.001)

    async def begin(self, caller: str) -> str:
        """A session of this caller with a secret that no other caller may see."""
        body = {"prompt": f"Remember {CANARY}."}
        headers = self.callers[caller][0]
        answer = await self.service.anonymous.post("/chat", json=body, headers=headers)
        begun = answer.raise_for_status().json()
        self.turn_id = str(begun["turn_id"])
        return str(begun["session_id"])

    async def prepare(self, row: Row) -> str:
        """Create what the call is about unless it exists; return a new session of the owner."""
        await self._settle()
        # The next look at the users writes down that one was erased.
        await user_of(self.service, OWNER)
        if "{key_id}" in row.route:
            self.key_id = (await self.service.add_key()).line.id
        if "{item_id}" in row.route:
            self.item_id = await self._remember(f"Likes tea {random_id()[:4]}.")
        if "{name}" in row.route:
            await self.service.use.roles.put(HOST, Role(name=SPARE_ROLE, permissions=frozenset()))
        if "{limit_id}" in row.route:
            await self.service.use.limits.put(HOST, SPARE_LIMIT)
        if row.is_about_a_document or row.route == "POST /search":
            self.document_id = await self.upload()
        if row.is_about_a_person and (row.route.startswith("DELETE") or not self.user_id):
            self.user_id = (await self.service.add_user(f"{random_id()}@example.com")).id
        return await self.begin("owner") if row.is_about_a_session else ""

    async def _remember(self, text: str) -> str:
        """An item of the owner's memory."""
        body, headers = {"kind": "fact", "text": text}, self.callers["owner"][0]
        answer = await self.service.anonymous.post("/me/memory", json=body, headers=headers)
        return str(answer.raise_for_status().json()["id"])

    async def call(
        self,
        row: Row,
        headers: Headers,
        session_id: str = "",
        *,
        user_id: str = "",
        document_id: str = "",
    ) -> httpx.Response:
        ids = {
            "document_id": document_id or self.document_id,
            "session_id": session_id,
            "turn_id": self.turn_id,
            "key_id": self.key_id,
            "user_id": user_id or self.user_id,
            "name": SPARE_ROLE,
            "limit_id": SPARE_LIMIT.id,
            "item_id": self.item_id,
        }
        method, path = row.route.format_map(ids).split(" ")
        body = _body(row, session_id)
        signed = self.portal.signed(headers)
        answer = await self.service.anonymous.request(method, path, json=body, headers=signed)
        if row.route == "POST /me/password" and answer.is_success:
            await self._change_back(headers, answer)
        return answer

    async def _change_back(self, headers: Headers, answer: httpx.Response) -> None:
        """Restore the password, and give the caller a valid token."""
        bearer = {"X-API-Key": API_KEY, "Authorization": f"Bearer {answer.json()['access_token']}"}
        body = {"current_password": NEW_PASSWORD, "new_password": PASSWORD}
        back = await self.service.anonymous.post("/me/password", json=body, headers=bearer)
        token = back.raise_for_status().json()["access_token"]
        if "Authorization" in headers:
            headers["Authorization"] = f"Bearer {token}"

    async def sign_in_again(self) -> None:
        """After calls that have ended the sign-ins of those who made them."""
        for caller, found in (await signed_in_staff(self.service, but="disabled")).items():
            self.callers[caller][:] = found

    def files(self) -> dict[Path, bytes]:
        """Every stored byte, except of the audit, which records refusals, and of used assertions.

        Nor of the search index: it is derived, and tidied in the background.
        """
        paths = [path for path in self.folder.rglob("*") if path.is_file()]
        kept = [p for p in paths if p.parent.name not in {"audit", "assertions"}]
        return {path: path.read_bytes() for path in kept if not path.name.startswith("index.db")}


def _body(row: Row, session_id: str) -> dict[str, object] | None:
    body = BODIES.get(row.route)
    if row.route == "POST /documents":
        body = {**BODIES[row.route], "text": random_id()}
    if row.route == "POST /admin/users":
        body = {**BODIES[row.route], "email": f"{random_id()}@example.com"}
    if body is not None and row.is_about_a_session and "{session_id}" not in row.route:
        body = {**body, "session_id": session_id}
    return body


@asynccontextmanager
async def open_company(folder: Path) -> AsyncGenerator[Company]:
    """Serve it, from files in the folder."""
    async with JsonFileStorage(folder) as storage:
        await storage.make_initial_records()
    settings = settings_for_tests(
        storage_url=f"json:{folder}", mem_structured_enable=False, mem_summarize_threshold=0
    )
    model = ScriptedModel(lambda _: "Of course.")
    extractor = PlainExtractor()
    async with serving(
        settings, model=model, hasher=InstantHasher(), extractor=extractor
    ) as service:
        await hire(service)
        app = await portal(service)
        callers = await _callers(service, app)
        yield Company(service=service, portal=app, callers=callers, folder=folder)


async def _callers(service: Service, app: Portal) -> dict[str, list[Headers]]:
    owner = await user_of(service, OWNER)
    people = await signed_in_staff(service)
    dismissed = [app.for_user(user.id) for user in await dismiss(service)]
    found = people | {
        "no key": [{}, {"Authorization": people["owner"][0]["Authorization"]}],
        "wrong key": [
            {"X-API-Key": "x" * len(API_KEY)},
            people["owner"][0] | {"X-API-Key": API_KEY[:-1]},
            *await ended_keys(service),
        ],
        "no scope": [await key_without_scopes(service)],
        "key": [KEY],
        "end user": [app.for_user(owner.id)],
        "disabled": people["disabled"] + dismissed,
        "bad token": [*await bad_tokens(service), *await app.bad(service, owner.id)],
    }
    assert found.keys() == set(CALLERS)
    return found


def as_cell(answer: httpx.Response) -> str:
    """The response in the notation of the table."""
    status = str(answer.status_code)
    if answer.status_code < 400:
        return status
    problem: dict[str, Any] = {} if answer.request.method == "HEAD" else answer.json()
    return f"{status} {problem['code']}" if problem else status
