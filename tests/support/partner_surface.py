"""A second surface for tests that shares nothing with the native one.

Callers send a Bearer key, which is looked up in a store; errors are in an envelope of their own;
files can be uploaded; bodies have other sizes; some answers are not JSON.
"""

import asyncio
import hashlib
import json
from collections.abc import Mapping
from typing import Annotated, cast

from fastapi import APIRouter, File, Form, Query, Request, Response, UploadFile
from pydantic import BaseModel, ConfigDict
from starlette.requests import HTTPConnection

from chatbot.application.turn import Cited, Delta, Remembered, Reply, ReplyEvent, Started
from chatbot.domain.authorization import of_client
from chatbot.domain.errors import SessionBusy, StorageUnavailable
from chatbot.domain.identity import Client, ClientId, Principal
from chatbot.domain.permissions import Permission
from chatbot.entrypoints.http import routing
from chatbot.entrypoints.http.body import BodyFormat
from chatbot.entrypoints.http.credential_cache import CredentialCache
from chatbot.entrypoints.http.deps.parameters import UseCases
from chatbot.entrypoints.http.errors import ErrorDetails, ErrorFormat, Rejected
from chatbot.entrypoints.http.json_body import json_body
from chatbot.entrypoints.http.streaming import Encoder, TurnStream
from chatbot.entrypoints.http.surfaces import Surface

PREFIX = "/partner"
KEY = "pk-partner-1"
MAX_JSON_BYTES = 1000
MAX_UPLOAD_BYTES = 300_000
BODY_DEADLINE_S = 0.5

WRONG_KEY = ErrorDetails(status=401, code="invalid_api_key", detail="Incorrect API key.")
_CHAT = frozenset({Permission.CHAT})
PARTNER = Client(id=ClientId("partner"), permissions=_CHAT, user_permissions=_CHAT)


class Error(BaseModel):
    message: str
    code: str
    request: str
    where: list[dict[str, object]] | None = None


class Envelope(BaseModel):
    error: Error


def envelope(details: ErrorDetails, request_id: str) -> Mapping[str, object]:
    error = {"message": details.detail, "code": details.code, "request": request_id}
    return {"error": error | ({"where": list(details.errors)} if details.errors else {})}


class Keys:
    """The store of keys; `is_down` makes it fail, `now` is the time of its cache."""

    def __init__(self) -> None:
        self.clients = {KEY: PARTNER}
        self.is_down = False
        self.now = 0.0

    async def look_up(self, raw_key: str) -> Client | None:
        await asyncio.sleep(0)
        if self.is_down:
            raise StorageUnavailable("The store cannot be used.")
        return self.clients.get(raw_key)


def partner_surface(keys: Keys) -> Surface:
    cache = CredentialCache(keys.look_up, clock=lambda: keys.now)

    async def authenticate(connection: HTTPConnection) -> Principal:
        scheme, _, raw_key = connection.headers.get("authorization", "").partition(" ")
        client = await cache.identify(raw_key) if scheme.lower() == "bearer" else None
        if client is None:
            raise Rejected(WRONG_KEY)
        return of_client(client)

    return Surface(
        prefix=PREFIX,
        authenticate=authenticate,
        errors=ErrorFormat(
            media_type="application/json",
            body=envelope,
            schema=Envelope,
            code_path=("error", "code"),
        ),
        bodies=(
            json_body(max_bytes=MAX_JSON_BYTES),
            BodyFormat(
                media_type="multipart/form-data",
                max_bytes=MAX_UPLOAD_BYTES,
                deadline_s=BODY_DEADLINE_S,
            ),
        ),
        public=frozenset({f"{PREFIX}/status"}),
        routers=(router,),
        credential="partner_key",
        credential_errors=(WRONG_KEY,),
        security_schemes={"partner_key": {"type": "http", "scheme": "bearer"}},
    )


class Question(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)
    text: str


class LineEncoder(Encoder):
    """Data without names and ids, and a last line that says so."""

    media_type = b"text/event-stream"
    keep_alive = b":\n\n"

    def encode(self, event: ReplyEvent) -> bytes:
        match event:
            case Started() | Remembered() | Cited():
                return b""
            case Delta():
                return f"data: {json.dumps(event.text)}\n\n".encode()
            case Reply():
                return b"data: [DONE]\n\n"

    def error(self, details: ErrorDetails, request_id: str) -> bytes:
        return f"data: {json.dumps(envelope(details, request_id))}\n\n".encode()


router: APIRouter = routing.router(tag="partner", prefix=PREFIX)


@router.get("/status")
async def status() -> dict[str, str]:
    """Respond without a key."""
    return {"status": "ok"}


@router.get("/whoami")
async def whoami(request: Request) -> dict[str, str]:
    """Return the client's name."""
    return {"client": cast("Principal", request.state.principal).client.id}


@router.get("/numbers")
async def numbers(n: Annotated[int, Query(ge=1)]) -> Response:
    """Respond with CSV."""
    lines = ["n", *map(str, range(n))]
    return Response("\r\n".join(lines), media_type="text/csv")


@router.post("/questions")
async def ask(question: Question, request: Request, use: UseCases) -> Response:
    """Stream a turn."""
    principal = cast("Principal", request.state.principal)
    events = use.chat.reply(principal, None, question.text, stream=True)
    return TurnStream(events, LineEncoder())


@router.post("/files")
async def upload(
    file: Annotated[UploadFile, File()], title: Annotated[str, Form()] = ""
) -> dict[str, object]:
    """Describe the upload."""
    content = await file.read()
    digest = hashlib.sha256(content).hexdigest()
    return {"title": title, "name": file.filename, "size": len(content), "sha256": digest}


@router.delete("/files")
async def delete_files(question: Question) -> dict[str, str]:
    """Accept a body with DELETE."""
    return {"deleted": question.text}


@router.get("/busy")
async def busy() -> None:
    """Fail with a domain error."""
    raise SessionBusy


@router.get("/defect")
async def defect() -> None:
    """Fail with an unexpected exception."""
    raise RuntimeError("canary-4711")
