"""The settings of telemetry: METRICS_PORT, and OpenTelemetry's own names."""

from collections.abc import Mapping
from typing import Literal

from pydantic import Field, SecretStr

from chatbot.entrypoints.settings.subject import Subject

Content = Literal["true", "false", "span_only", "span_and_event", "no_content", ""]
"""The values of other instrumentations: events are not written, so `event_only` is refused."""

_EXPORTERS = "^(otlp|prometheus|none)( *, *(otlp|prometheus))*$"
_LATEST = "gen_ai_latest_experimental"


class TelemetrySettings(Subject):
    """METRICS_PORT and OTEL_...: telemetry is off unless a port, an endpoint or an exporter is set."""

    metrics_port: int | None = Field(default=None, ge=0, le=65535)
    otel_sdk_disabled: bool = False
    otel_service_name: str | None = None
    otel_resource_attributes: str | None = None
    otel_exporter_otlp_endpoint: str | None = None
    otel_exporter_otlp_traces_endpoint: str | None = None
    otel_exporter_otlp_metrics_endpoint: str | None = None
    otel_exporter_otlp_headers: SecretStr | None = None
    otel_traces_exporter: Literal["otlp", "none"] | None = None
    otel_metrics_exporter: str | None = Field(default=None, pattern=_EXPORTERS)
    otel_traces_sampler: str | None = None
    otel_traces_sampler_arg: str | None = None
    otel_semconv_stability_opt_in: str = ""
    otel_instrumentation_genai_capture_message_content: Content = "false"

    @property
    def exports_traces(self) -> bool:
        """Whether spans are sent by OTLP."""
        return self._exports(self.otel_traces_exporter, self.otel_exporter_otlp_traces_endpoint)

    @property
    def exports_metrics(self) -> bool:
        """Whether metrics are sent by OTLP."""
        return self._exports(self.otel_metrics_exporter, self.otel_exporter_otlp_metrics_endpoint)

    @property
    def has_prometheus(self) -> bool:
        """Whether metrics are kept for Prometheus."""
        is_asked_for = "prometheus" in (self.otel_metrics_exporter or "")
        is_asked_for = is_asked_for or self.metrics_port is not None
        return is_asked_for and not self.otel_sdk_disabled

    @property
    def is_on(self) -> bool:
        return self.exports_traces or self.exports_metrics or self.has_prometheus

    @property
    def latest_names(self) -> bool:
        return _LATEST in (word.strip() for word in self.otel_semconv_stability_opt_in.split(","))

    @property
    def captures_content(self) -> bool:
        """Whether prompts and answers are recorded."""
        content = self.otel_instrumentation_genai_capture_message_content
        return content in {"true", "span_only", "span_and_event"}

    @property
    def environment(self) -> Mapping[str, str]:
        """The variables that the SDK reads, as far as they are set here."""
        found = {}
        for name in type(self).model_fields:
            value = getattr(self, name)
            if name.startswith("otel_") and isinstance(value, str | SecretStr):
                raw = value.get_secret_value() if isinstance(value, SecretStr) else value
                found[name.upper()] = raw
        return found

    def _exports(self, exporters: str | None, endpoint: str | None) -> bool:
        is_asked_for = "otlp" in (exporters or "") or (
            exporters is None and bool(endpoint or self.otel_exporter_otlp_endpoint)
        )
        return is_asked_for and not self.otel_sdk_disabled
