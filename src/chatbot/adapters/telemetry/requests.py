"""The ASGI layer that reports each request, as a server span and in metrics.

It records the route's template, never the path, the query, a header or an address of the caller.
"""

import time
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

from opentelemetry.context import Context
from opentelemetry.trace import SpanKind
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

from chatbot.adapters.telemetry import names
from chatbot.adapters.telemetry.metrics import Metrics
from chatbot.adapters.telemetry.tracing import Tracer
from chatbot.domain.ports.telemetry import ERROR_CODE, TRUSTED_PEER

Scope = MutableMapping[str, Any]
Event = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Event]]
Send = Callable[[Event], Awaitable[None]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]

_METHODS = frozenset(
    {"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "CONNECT", "TRACE"}
)
_OTHER = "_OTHER"  # the conventions' own word
_NO_ROUTE = "/{unknown}"
_SIGN_IN = "/auth/"
_UNAUTHENTICATED, _TOO_MANY_REQUESTS, _SERVER_ERROR = 401, 429, 500
_USUAL_FAILURES = ("unauthenticated", "invalid_api_key", "invalid_credentials", "invalid_token")
_USUAL_REJECTIONS = ("rate_limited", "budget_exhausted")
_propagator = TraceContextTextMapPropagator()


class TracedRequests:
    """Reports the requests of an ASGI application."""

    def __init__(self, app: App, tracer: Tracer, metrics: Metrics) -> None:
        self._app, self._tracer, self._metrics = app, tracer, metrics
        metrics.begin(names.AUTH_FAILURES, names.REASON, _USUAL_FAILURES)
        metrics.begin(names.BUDGET_REJECTIONS, names.REASON, _USUAL_REJECTIONS)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            await self._serve(scope, receive, send)
        else:
            await self._app(scope, receive, send)

    async def _serve(self, scope: Scope, receive: Receive, send: Send) -> None:
        method = scope["method"] if scope["method"] in _METHODS else _OTHER
        attributes: dict[str, str | int] = {
            names.HTTP_METHOD: method,
            names.URL_SCHEME: scope.get("scheme", "http"),
        }
        span = self._tracer.begin_trace(
            method, {**attributes}, kind=SpanKind.SERVER, caller=_caller(scope)
        )
        began = time.perf_counter()

        async def send_noting_status(event: Event) -> None:
            if event["type"] == "http.response.start":
                attributes[names.HTTP_STATUS] = event["status"]
            await send(event)

        span.enter()
        try:
            await self._app(scope, receive, send_noting_status)
        finally:
            span.leave()
            route = getattr(scope.get("route"), "path", _NO_ROUTE)
            attributes[names.HTTP_ROUTE] = route
            self._count_refusal(scope, attributes)
            error_type = _error_type(attributes)
            duration_s = time.perf_counter() - began
            self._metrics.measure(names.HTTP_DURATION, duration_s, attributes)
            span.name = f"{method} {route}"
            span.attributes = {**attributes, names.URL_PATH: route}
            span.end(error_type)

    def _count_refusal(self, scope: Scope, attributes: dict[str, str | int]) -> None:
        """Count a refusal by its error code; too many log-ins are a failure to authenticate."""
        status = attributes.get(names.HTTP_STATUS)
        if status not in {_UNAUTHENTICATED, _TOO_MANY_REQUESTS}:
            return
        is_sign_in = str(attributes[names.HTTP_ROUTE]).startswith(_SIGN_IN)
        is_about_identity = status == _UNAUTHENTICATED or is_sign_in
        metric = names.AUTH_FAILURES if is_about_identity else names.BUDGET_REJECTIONS
        reason = scope.get("state", {}).get(ERROR_CODE, _OTHER)
        self._metrics.count(metric, {names.REASON: reason})


def _error_type(attributes: dict[str, str | int]) -> str | None:
    """The status of a server error, also in the metric; a client that leaves first has none."""
    status = attributes.get(names.HTTP_STATUS)
    if not isinstance(status, int) or status < _SERVER_ERROR:
        return None
    attributes[names.ERROR_TYPE] = str(status)
    return str(status)


def _caller(scope: Scope) -> Context | None:
    """The trace that the caller continues, if a trusted proxy has passed it on."""
    if not scope.get("state", {}).get(TRUSTED_PEER, False):
        return None
    headers = {
        name.decode("latin-1"): value.decode("latin-1")
        for name, value in scope["headers"]
        if name in {b"traceparent", b"tracestate"}
    }
    return _propagator.extract(headers) if headers else None
