"""Builds telemetry, if the settings switch it on."""

import os

from chatbot import __version__
from chatbot.domain.ports.storage import Storage
from chatbot.domain.ports.telemetry import NO_TELEMETRY, Telemetry, Workers
from chatbot.entrypoints.settings import Settings
from chatbot.entrypoints.settings.subject import SettingsError

NEEDS_EXTRA = (
    "METRICS_PORT and OTEL_...: telemetry needs OpenTelemetry. Fix: install the extra `telemetry`; "
    "in a checkout, run `make install`; or unset them."
)


def build_telemetry(settings: Settings, workers: Workers | None = None) -> Telemetry:
    """Call it before building the model: OpenTelemetry's provider must exist when Genkit is imported.

    Raises:
        SettingsError: telemetry is switched on, and the extra is not installed.
    """
    asked = settings.telemetry
    if not asked.is_on:
        return NO_TELEMETRY
    for name, value in asked.environment.items():
        os.environ.setdefault(name, value)
    try:
        from chatbot.adapters.telemetry.service import OpenTelemetry, Options  # noqa: PLC0415
    except ImportError as error:
        raise SettingsError(NEEDS_EXTRA) from error
    options = Options(
        version=__version__,
        traces=asked.exports_traces,
        otlp_metrics=asked.exports_metrics,
        prometheus=asked.has_prometheus,
        latest_names=asked.latest_names,
        captures_content=asked.captures_content,
    )
    return OpenTelemetry(options, workers)


def build_reporting_storage(storage: Storage, telemetry: Telemetry) -> Storage:
    """Returns the store, whose transactions are reported if telemetry is switched on."""
    return telemetry.storage(storage)


def describe_collector(settings: Settings) -> str:
    """Returns a description of what is exported, after sending the collector an empty request.

    Raises:
        SettingsError: the extra is not installed, or the collector cannot be reached or refuses it.
    """
    asked = settings.telemetry
    if not asked.is_on:
        return "off"
    build_telemetry(settings)
    kept = f"metrics on 127.0.0.1:{asked.metrics_port}" if asked.metrics_port else "metrics"
    if not (asked.exports_traces or asked.exports_metrics):
        return kept
    from chatbot.adapters.telemetry.exporting import refusal_of_collector  # noqa: PLC0415 - optional

    reason = refusal_of_collector(traces=asked.exports_traces)
    if reason is not None:
        raise SettingsError(f"the collector does not accept the exported data: {reason}")
    return "the collector accepts the exported data"
