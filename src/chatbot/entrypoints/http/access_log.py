"""The outermost layer: gives each request an id, each response its headers, each call a log line."""

import time

import structlog
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from chatbot.domain.ports.runtime import NewId
from chatbot.entrypoints.http.security_headers import add_security_headers

logger = structlog.get_logger("chatbot.access")


class AccessLog:
    """ASGI middleware that passes on only HTTP and lifespan."""

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
                log["status"] = message["status"]
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
