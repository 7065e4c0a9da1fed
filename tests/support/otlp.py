"""A receiver of OTLP over HTTP on loopback, which keeps what it is sent.

async with receiver() as received:
    ... OTEL_EXPORTER_OTLP_ENDPOINT=received.url ...
    received.spans
"""

import asyncio
import threading
from collections.abc import AsyncGenerator, Iterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest


@dataclass(frozen=True, kw_only=True)
class ReceivedSpan:
    name: str
    trace_id: str
    span_id: str
    parent_id: str
    kind: int
    is_error: bool
    attributes: Mapping[str, Any]


@dataclass(kw_only=True)
class Received:
    """What has arrived; `bodies` are the raw bytes."""

    url: str
    bodies: list[bytes] = field(default_factory=list)
    spans: list[ReceivedSpan] = field(default_factory=list)
    metrics: set[str] = field(default_factory=set)
    scopes: set[str] = field(default_factory=set)
    resources: list[Mapping[str, Any]] = field(default_factory=list)

    def named(self, name: str) -> list[ReceivedSpan]:
        return [span for span in self.spans if span.name == name]

    async def span(self, name: str) -> ReceivedSpan:
        """The first span with this name; waits for it."""
        async with asyncio.timeout(20):
            while not self.named(name):  # noqa: ASYNC110 - it arrives in another thread
                await asyncio.sleep(0.02)
        return self.named(name)[0]

    def take(self, path: str, body: bytes) -> None:
        self.bodies.append(body)
        if path == "/v1/traces":
            self._take_spans(ExportTraceServiceRequest.FromString(body))
        else:
            request = ExportMetricsServiceRequest.FromString(body)
            for resource in request.resource_metrics:
                for scope in resource.scope_metrics:
                    self.metrics |= {metric.name for metric in scope.metrics}

    def _take_spans(self, request: ExportTraceServiceRequest) -> None:
        for resource in request.resource_spans:
            self.resources.append(dict(_values(resource.resource.attributes)))
            for scope in resource.scope_spans:
                self.scopes.add(scope.scope.name)
                self.spans.extend(map(_span, scope.spans))


def _span(span: Any) -> ReceivedSpan:
    return ReceivedSpan(
        name=span.name,
        trace_id=span.trace_id.hex(),
        span_id=span.span_id.hex(),
        parent_id=span.parent_span_id.hex(),
        kind=span.kind,
        is_error=span.status.code == span.status.STATUS_CODE_ERROR,
        attributes=dict(_values(span.attributes)),
    )


def _values(attributes: Any) -> Iterator[tuple[str, Any]]:
    for attribute in attributes:
        value = attribute.value
        found = getattr(value, str(value.WhichOneof("value")))
        is_list = value.HasField("array_value")
        yield attribute.key, [one.string_value for one in found.values] if is_list else found


@asynccontextmanager
async def receiver() -> AsyncGenerator[Received]:
    received = Received(url="")

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            received.take(self.path, self.rfile.read(int(self.headers["Content-Length"])))
            self.send_response(200)
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        received.url = f"http://127.0.0.1:{server.server_port}"
        threading.Thread(target=server.serve_forever, args=[0.02], daemon=True).start()
        try:
            yield received
        finally:
            server.shutdown()
