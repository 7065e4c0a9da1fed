"""Sends spans and metrics by OTLP, as configured by `OTEL_EXPORTER_OTLP_...`."""

import logging
from collections.abc import Sequence
from typing import Any, cast

from opentelemetry.exporter.otlp.proto.http.metric_exporter import OTLPMetricExporter
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.metrics.export import MetricExporter, MetricExportResult, MetricsData
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExporter, SpanExportResult

from chatbot.adapters.telemetry import encoding, names
from chatbot.adapters.telemetry.encoding import Value
from chatbot.adapters.telemetry.tracing import Span

_logger = logging.getLogger("chatbot.telemetry")
_PROBE_WITHIN_S = 2.0


class _Outage:
    """Logs once when a collector stops accepting data, and once when it accepts data again."""

    def __init__(self, what: str) -> None:
        self._what, self._is_out = what, False

    def note(self, *, success: bool, why: str = "") -> None:
        if success == self._is_out:
            self._is_out = not success
            if success:
                _logger.warning("the collector accepts %s again", self._what)
            else:
                _logger.warning(
                    "the collector does not accept %s, which are lost%s", self._what, why
                )


class EncodedSpanExporter(SpanExporter):
    """The SDK's exporter for spans that encode themselves."""

    def __init__(self, resource: Resource, version: str) -> None:
        self._otlp: Any = OTLPSpanExporter()  # whose `_client` and `shutdown` have no types
        self._attributes = cast("dict[str, Value]", dict(resource.attributes))
        self._version = version
        self._outage = _Outage("traces")

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        encoded = (cast("Span", span).encoded() for span in spans)
        body = encoding.request(self._attributes, (names.SCOPE, self._version), encoded)
        sent = self._otlp._client.export(body)  # noqa: SLF001 - what is behind its encoder
        self._outage.note(success=sent.success, why=f": {_reason(sent)}")
        return SpanExportResult.SUCCESS if sent.success else SpanExportResult.FAILURE

    def shutdown(self) -> None:
        self._otlp.shutdown()


class OutageMetricExporter(MetricExporter):
    """The SDK's exporter, which logs an outage once."""

    def __init__(self) -> None:
        super().__init__()
        self._otlp, self._outage = OTLPMetricExporter(), _Outage("metrics")

    def export(
        self, metrics_data: MetricsData, timeout_millis: float = 10_000, **kwargs: object
    ) -> MetricExportResult:
        result: MetricExportResult = self._otlp.export(metrics_data, timeout_millis, **kwargs)
        self._outage.note(success=result is MetricExportResult.SUCCESS)
        return result

    def force_flush(self, timeout_millis: float = 10_000) -> bool:  # noqa: ARG002
        return True

    def shutdown(self, timeout_millis: float = 30_000, **kwargs: object) -> None:  # noqa: ARG002
        self._otlp.shutdown(timeout_millis)


class SpanQueue:
    """The SDK's queue of spans that have ended, which a thread of it empties in batches."""

    def __init__(self, resource: Resource, version: str) -> None:
        self._processor = BatchSpanProcessor(EncodedSpanExporter(resource, version))

    def add(self, span: Span) -> None:
        self._processor.on_end(cast("ReadableSpan", span))

    def close(self) -> None:
        """Export the remaining spans. Blocks."""
        self._processor.shutdown()  # type: ignore[no-untyped-call] # of the SDK


def refusal_of_collector(*, traces: bool) -> str | None:
    """Send an empty request to the collector, and return why it is not accepted, or None.

    The SDK retries for 2 s.
    """
    exporter = (OTLPSpanExporter if traces else OTLPMetricExporter)(timeout=_PROBE_WITHIN_S)
    sent = exporter._client.export(b"")  # noqa: SLF001 - as above
    return None if sent.success else _reason(sent)


def _reason(sent: Any) -> str:  # noqa: ANN401 - a private class of the SDK's
    """The status or the class of the error: its text may have the URL's password."""
    return f"status {sent.status_code}" if sent.status_code else type(sent.error).__name__
