"""The outermost layer, in pure ASGI: runs before anything is parsed.

It gives each request an id, checks host, headers and API key, receives the body within its
limits, and writes one log line when the response has been sent.
"""

import asyncio
import re
import time
from collections import Counter
from collections.abc import AsyncGenerator, Callable, Mapping
from dataclasses import dataclass

import structlog
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from chatbot.domain.errors import cause_of
from chatbot.domain.ports.runtime import NewId
from chatbot.domain.ports.security import IdentifyClient
from chatbot.entrypoints.http import checked_body, strict_json
from chatbot.entrypoints.http.errors import ErrorDetails, details_of
from chatbot.entrypoints.http.security_headers import add_security_headers
from chatbot.entrypoints.web import docs_page

PUBLIC_PATHS = frozenset({"/health", "/ready"}) | docs_page.PATHS
BODY_DEADLINE_S = 20.0
MAX_QUERY_PARAMETERS = 32

_BODY_METHODS = frozenset({"POST", "PUT", "PATCH"})
_SINGLE_HEADERS = frozenset(
    {
        b"authorization",
        b"content-encoding",
        b"content-length",
        b"content-type",
        b"host",
        b"transfer-encoding",
        b"x-api-key",
    }
)
_ASK_FOR_KEY = {"WWW-Authenticate": 'ApiKey header="X-API-Key"'}
_OTHER_CHARSET = re.compile(rb"charset\s*=(?!\s*\"?utf-?8\b)")

logger = structlog.get_logger("chatbot.access")


class Rejected(Exception):
    """An error response on its way, not a defect."""

    def __init__(self, status: int, code: str, detail: str, **headers: str) -> None:
        super().__init__(detail)
        self.problem = ErrorDetails(status=status, code=code, detail=detail, headers=headers)


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """The limits of the guard. `max_body_bytes` counts received bytes."""

    max_body_bytes: int
    allowed_hosts: tuple[str, ...]
    body_deadline_s: float = BODY_DEADLINE_S


class Guard:
    """Wraps the application; passes only HTTP and lifespan."""

    def __init__(
        self,
        app: ASGIApp,
        *,
        identify: IdentifyClient,
        new_id: NewId,
        limits: Limits,
        cors: Callable[[ASGIApp], ASGIApp] | None = None,
        is_tls: bool = False,
    ) -> None:
        self._app = app
        self._answer = cors(self._guarded) if cors else self._guarded
        self._identify = identify
        self._new_id = new_id
        self._limits = limits
        self._is_tls = is_tls

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await self._app(scope, receive, send)
        elif scope["type"] == "http":
            await self._http(scope, receive, send)

    async def _http(self, scope: Scope, receive: Receive, send: Send) -> None:
        request_id, began = self._new_id(), time.perf_counter()
        log: dict[str, object] = {"request_id": request_id}
        scope["state"] = {**scope.get("state", {}), "request_id": request_id, "log": log}

        async def send_with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                log["status"] = message["status"]
                headers = message.get("headers", ())
                message["headers"] = add_security_headers(headers, request_id, is_tls=self._is_tls)
            await send(message)

        try:
            await self._answer(scope, receive, send_with_headers)
        finally:
            log["ms"] = round((time.perf_counter() - began) * 1000, 1)
            _write_line(scope, log)

    async def _guarded(self, scope: Scope, receive: Receive, send: Send) -> None:
        request_id, log = scope["state"]["request_id"], scope["state"]["log"]
        try:
            await self._app(scope, await self._admit(scope, receive), send)
        except Rejected as refused:
            await refused.problem.response(request_id)(scope, receive, send)
        except Exception as error:
            log["cause"] = cause_of(error)
            logger.exception("unexpected error", request_id=request_id)
            if "status" not in log:
                await details_of(error).response(request_id)(scope, receive, send)

    async def _admit(self, scope: Scope, receive: Receive) -> Receive:
        """Check the request; returns the `receive` from which the application reads its body."""
        headers = _headers(scope)
        self._check_host(headers)
        if scope.get("query_string", b"").count(b"&") >= MAX_QUERY_PARAMETERS:
            raise Rejected(400, "bad_request", "The query has too many parameters.")
        if scope["path"] not in PUBLIC_PATHS:
            self._check_key(scope, headers)
        if scope["method"] not in _BODY_METHODS:
            return receive
        body = await self._body(headers, receive)
        if body:
            scope["state"][checked_body.STATE] = _checked(headers, body)
        return _replay(body, receive)

    def _check_host(self, headers: Mapping[bytes, bytes]) -> None:
        host = re.sub(r":\d+$", "", headers.get(b"host", b"").decode("latin-1")).lower()
        if self._limits.allowed_hosts and host not in self._limits.allowed_hosts:
            raise Rejected(400, "bad_request", "The Host header is not in ALLOWED_HOSTS.")

    def _check_key(self, scope: Scope, headers: Mapping[bytes, bytes]) -> None:
        raw_key = headers.get(b"x-api-key")
        if raw_key is None:
            detail = "The header X-API-Key is missing."
            raise Rejected(401, "unauthenticated", detail, **_ASK_FOR_KEY)
        client = self._identify(raw_key.decode("latin-1"))
        if client is None:
            detail = "The API key is invalid."
            raise Rejected(401, "invalid_api_key", detail, **_ASK_FOR_KEY)
        scope["state"]["client"] = client
        scope["state"]["log"]["client"] = client.id

    async def _body(self, headers: Mapping[bytes, bytes], receive: Receive) -> bytes:
        too_large = Rejected(413, "body_too_large", "The body is too large.")
        if int(headers.get(b"content-length", b"0")) > self._limits.max_body_bytes:
            raise too_large
        chunks, size = [], 0
        try:
            async with asyncio.timeout(self._limits.body_deadline_s):
                async for chunk in _chunks(receive):
                    size += len(chunk)
                    if size > self._limits.max_body_bytes:
                        raise too_large
                    chunks.append(chunk)
        except TimeoutError:
            raise Rejected(
                408, "request_timeout", "The request body took too long to arrive."
            ) from None
        return b"".join(chunks)


def _headers(scope: Scope) -> dict[bytes, bytes]:
    headers = dict(scope["headers"])
    if len(headers) < len(scope["headers"]):
        counts = Counter(name for name, _ in scope["headers"])
        if any(counts[name] > 1 for name in _SINGLE_HEADERS):
            raise Rejected(400, "bad_request", "A header that may occur only once is repeated.")
    if b"content-length" in headers and b"transfer-encoding" in headers:  # RFC 9112, section 6.1
        detail = "The request has both Content-Length and Transfer-Encoding."
        raise Rejected(400, "bad_request", detail, Connection="close")
    return headers


async def _chunks(receive: Receive) -> AsyncGenerator[bytes]:
    more = True
    while more:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise Rejected(400, "bad_request", "The request body ended early.")
        yield message.get("body", b"")
        more = message.get("more_body", False)


def _checked(headers: Mapping[bytes, bytes], body: bytes) -> object:
    """Returns the decoded body; only the one accepted form passes."""
    if headers.get(b"content-encoding", b"identity").lower() != b"identity":
        raise Rejected(
            415, "unsupported_media_type", "Compressed request bodies are not supported."
        )
    media_type, _, parameters = headers.get(b"content-type", b"").lower().partition(b";")
    if media_type.strip() != b"application/json":
        raise Rejected(415, "unsupported_media_type", "The request body must be application/json.")
    if _OTHER_CHARSET.search(parameters):
        raise Rejected(415, "unsupported_media_type", "The request body must be UTF-8.")
    try:
        return strict_json.check(body)
    except strict_json.NotStrictJson as error:
        raise Rejected(400, "bad_request", str(error)) from None


def _replay(body: bytes, receive: Receive) -> Receive:
    """A `receive` that delivers the body once, and then waits for the client to disconnect."""
    pending: list[Message] = [{"type": "http.request", "body": body, "more_body": False}]

    async def replayed() -> Message:
        return pending.pop() if pending else await receive()

    return replayed


def _write_line(scope: Scope, log: dict[str, object]) -> None:
    route = scope.get("route")
    write = logger.error if "cause" in log else logger.info
    write(
        "request",
        method=scope["method"],
        route=getattr(route, "path", "-"),
        **log,
    )
