"""The outermost layer: gives each request an id, each response its headers, each call a log line."""

import time
from collections.abc import Sequence

import structlog
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from chatbot.domain.ports.runtime import NewId
from chatbot.domain.ports.telemetry import STATUS

logger = structlog.get_logger("chatbot.access")

RawHeaders = list[tuple[bytes, bytes]]

_ALWAYS: RawHeaders = [  # OWASP Secure Headers Project, for a JSON API
    (b"cache-control", b"no-store"),
    (b"referrer-policy", b"no-referrer"),
    (b"x-content-type-options", b"nosniff"),
    (b"x-frame-options", b"DENY"),
]
_OVER_TLS: RawHeaders = [
    *_ALWAYS,
    (b"strict-transport-security", b"max-age=31536000"),  # a year: RFC 6797, section 6.1.1
]


def add_security_headers(
    headers: Sequence[tuple[bytes, bytes]], request_id: str, *, is_tls: bool
) -> RawHeaders:
    """Returns the headers of an answer with the request id and the security headers added.

    Headers that the response already has stay. `is_tls` says that the service speaks TLS itself;
    behind a proxy that does, `Strict-Transport-Security` is the proxy's.
    """
    given = {name for name, _ in headers}
    added = [pair for pair in (_OVER_TLS if is_tls else _ALWAYS) if pair[0] not in given]
    return [*headers, (b"x-request-id", request_id.encode()), *added]


class AccessLog:
    """ASGI middleware that only passes on HTTP and lifespan."""

    def __init__(self, app: ASGIApp, *, new_id: NewId, is_tls: bool = False) -> None:
        self._app = app
        self._new_id = new_id
        self._is_tls = is_tls

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await self._app(scope, receive, send)
        elif scope["type"] == "http":
            await self._serve(scope, receive, send)

    async def _serve(self, scope: Scope, receive: Receive, send: Send) -> None:
        request_id, began = self._new_id(), time.perf_counter()
        log: dict[str, object] = {"request_id": request_id}
        scope["state"] = {**scope.get("state", {}), "request_id": request_id, "log": log}

        async def send_with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                log["status"] = scope["state"][STATUS] = message["status"]
                headers = message.get("headers", ())
                message["headers"] = add_security_headers(headers, request_id, is_tls=self._is_tls)
            await send(message)

        try:
            await self._app(scope, receive, send_with_headers)
        finally:
            log["ms"] = round((time.perf_counter() - began) * 1000, 1)
            write = logger.error if "cause" in log else logger.info
            route = getattr(scope.get("route"), "path", "-")
            write("request", method=scope["method"], route=route, **log)
