"""Checks each request before anything is parsed: host, headers, credential, body.

It asks the surface of the path what to accept, and answers every error that no route has answered.
"""

import re
from collections import Counter
from collections.abc import Mapping
from dataclasses import replace

import structlog
from starlette.requests import HTTPConnection
from starlette.types import ASGIApp, Receive, Scope, Send

from chatbot.domain.assertions import ASSERTION_KINDS
from chatbot.domain.identity import Client
from chatbot.entrypoints.http.body import Headers, receive_body
from chatbot.entrypoints.http.error_handlers import EXPECTED, error_response
from chatbot.entrypoints.http.errors import BAD_REQUEST, Rejected
from chatbot.entrypoints.http.surfaces import Surface, Surfaces, source_of

MAX_QUERY_PARAMETERS = 32

_SINGLE_HEADERS = frozenset(
    {
        b"authorization",
        b"content-encoding",
        b"content-length",
        b"content-type",
        b"host",
        b"if-match",
        b"transfer-encoding",
        b"x-api-key",
        *(kind.header.lower().encode() for kind in ASSERTION_KINDS),
    }
)

logger = structlog.get_logger("chatbot.access")


class Guard:
    """ASGI middleware that only passes on requests that their surface accepts."""

    def __init__(
        self, app: ASGIApp, *, surfaces: Surfaces, allowed_hosts: tuple[str, ...] = ()
    ) -> None:
        self._app = app
        self._surfaces = surfaces
        self._allowed_hosts = allowed_hosts

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await self._app(scope, receive, send)
            return
        surface = scope["state"]["surface"] = self._surfaces.of(scope["path"])
        try:
            receive = await self._check(surface, scope, receive)
            await self._app(scope, receive, send)
        except Exception as error:
            response = error_response(scope, error)
            if not isinstance(error, EXPECTED):
                logger.exception("unexpected error", request_id=scope["state"]["request_id"])
            if "status" not in scope["state"]["log"]:
                await response(scope, receive, send)

    async def _check(self, surface: Surface, scope: Scope, receive: Receive) -> Receive:
        """Returns the `receive` from which the application reads the body."""
        headers = _headers(scope)
        self._check_host(headers)
        if scope.get("query_string", b"").count(b"&") >= MAX_QUERY_PARAMETERS:
            raise _bad_request("The query has too many parameters.")
        if scope["path"] not in surface.public:
            principal = await surface.authenticate(HTTPConnection(scope))
            scope["state"]["principal"] = replace(principal, source=source_of(scope))
            _log_client(scope, principal.client)
        bodies = surface.bodies_of(scope["method"], scope["path"])
        return await receive_body(bodies, scope, headers, receive)

    def _check_host(self, headers: Headers) -> None:
        host = re.sub(r":\d+$", "", headers.get(b"host", b"").decode("latin-1")).lower()
        if self._allowed_hosts and host not in self._allowed_hosts:
            raise _bad_request("The Host header is not in ALLOWED_HOSTS.")


def _log_client(scope: Scope, client: Client) -> None:
    log = scope["state"]["log"]
    log["client"] = client.id
    if client.key_id is not None:
        log["key_id"] = client.key_id


def _headers(scope: Scope) -> Headers:
    headers = dict(scope["headers"])
    if len(headers) < len(scope["headers"]):
        counts = Counter(name for name, _ in scope["headers"])
        if any(counts[name] > 1 for name in _SINGLE_HEADERS):
            raise Rejected(BAD_REQUEST)
    if b"content-length" in headers and b"transfer-encoding" in headers:  # RFC 9112, section 6.1
        detail = "The request has both Content-Length and Transfer-Encoding."
        raise _bad_request(detail, {"Connection": "close"})
    return headers


def _bad_request(detail: str, headers: Mapping[str, str] | None = None) -> Rejected:
    return Rejected(replace(BAD_REQUEST, detail=detail, headers=headers))
