"""Sends spans by OTLP, as the environment's `OTEL_EXPORTER_OTLP_...` says."""

from collections.abc import Sequence
from typing import cast

from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExportResult

from chatbot.adapters.telemetry import encoding, names
from chatbot.adapters.telemetry.encoding import Value
from chatbot.adapters.telemetry.tracing import Span


class SpanExporter(OTLPSpanExporter):
    """The SDK's exporter for spans that encode themselves."""

    def __init__(self, resource: Resource, version: str) -> None:
        super().__init__()
        self._attributes = cast("dict[str, Value]", dict(resource.attributes))
        self._version = version

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        encoded = (cast("Span", span).encoded() for span in spans)
        body = encoding.request(self._attributes, (names.SCOPE, self._version), encoded)
        sent = self._client.export(body)
        return SpanExportResult.SUCCESS if sent.success else SpanExportResult.FAILURE


class SpanQueue:
    """The SDK's queue of spans that have ended, which a thread of it empties in batches."""

    def __init__(self, resource: Resource, version: str) -> None:
        self._processor = BatchSpanProcessor(SpanExporter(resource, version))

    def add(self, span: Span) -> None:
        self._processor.on_end(cast("ReadableSpan", span))

    def close(self) -> None:
        """Export what is left. Blocks."""
        self._processor.shutdown()  # type: ignore[no-untyped-call] # of the SDK
