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
from chatbot.adapters.telemetry.metrics import HistogramSeries, Labels, Metrics
from chatbot.adapters.telemetry.tracing import Tracer
from chatbot.domain.ports.telemetry import ERROR_CODE, STATUS, TRUSTED_PEER

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
        self._durations: dict[tuple[object, ...], tuple[Labels, HistogramSeries]] = {}
        metrics.begin(names.AUTH_FAILURES, names.REASON, _USUAL_FAILURES)
        metrics.begin(names.BUDGET_REJECTIONS, names.REASON, _USUAL_REJECTIONS)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            await self._serve(scope, receive, send)
        else:
            await self._app(scope, receive, send)

    async def _serve(self, scope: Scope, receive: Receive, send: Send) -> None:
        method = scope["method"] if scope["method"] in _METHODS else _OTHER
        span = self._tracer.begin_trace(method, SpanKind.SERVER, _caller(scope))
        began = time.perf_counter()
        try:
            with span.current():
                await self._app(scope, receive, send)
        finally:
            state = scope.get("state", {})
            status = state.get(STATUS, 0)
            route = getattr(scope.get("route"), "path", _NO_ROUTE)
            labels, series = self._labelled(method, route, status, scope.get("scheme", "http"))
            series.record(time.perf_counter() - began)
            if status in {_UNAUTHENTICATED, _TOO_MANY_REQUESTS}:
                self._count_refusal(status, route, state.get(ERROR_CODE, _OTHER))
            span.name = f"{method} {route}"
            span.attributes = {**labels, names.URL_PATH: route}
            span.end(str(status) if status >= _SERVER_ERROR else "")

    def _labelled(
        self, method: str, route: str, status: int, scheme: str
    ) -> tuple[Labels, HistogramSeries]:
        """The labels of a request and the durations of those with the same.

        A request whose client disconnects before the response begins has no status.
        """
        key = (method, route, status, scheme)
        found = self._durations.get(key)
        if found is None:
            labels: dict[str, str | int] = {
                names.HTTP_METHOD: method,
                names.HTTP_ROUTE: route,
                names.URL_SCHEME: scheme,
            }
            if status:
                labels[names.HTTP_STATUS] = status
            if status >= _SERVER_ERROR:
                labels[names.ERROR_TYPE] = str(status)
            found = (labels, self._metrics.histogram(names.HTTP_DURATION, labels))
            self._durations[key] = found
        return found

    def _count_refusal(self, status: int, route: str, code: str) -> None:
        """Count a refusal by its error code; too many log-ins are a failure to authenticate."""
        is_about_identity = status == _UNAUTHENTICATED or route.startswith(_SIGN_IN)
        metric = names.AUTH_FAILURES if is_about_identity else names.BUDGET_REJECTIONS
        self._metrics.counter(metric, {names.REASON: code}).add(1)


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
