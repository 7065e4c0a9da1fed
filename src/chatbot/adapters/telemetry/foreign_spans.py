"""Keeps the spans of libraries out of what is exported: Genkit's are whole prompts and answers."""

import os

from opentelemetry import trace
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.trace import NoOpTracer, Tracer
from opentelemetry.util.types import Attributes

_GENKIT = "genkit"


class SilentProvider(TracerProvider):
    """The provider that libraries find: their tracers record nothing.

    Only Genkit's does, with `GENKIT_ENV=dev`, for the Developer UI, whose exporter it adds itself.
    Our own spans never pass through here, so neither do Genkit's reach our exporter.
    """

    def get_tracer(
        self,
        instrumenting_module_name: str,
        instrumenting_library_version: str | None = None,
        schema_url: str | None = None,
        attributes: Attributes = None,
    ) -> Tracer:
        is_genkit = instrumenting_module_name.startswith(_GENKIT)
        if not is_genkit or os.environ.get("GENKIT_ENV") != "dev":
            return NoOpTracer()
        return super().get_tracer(
            instrumenting_module_name, instrumenting_library_version, schema_url, attributes
        )


def install(provider: TracerProvider) -> None:
    """Make it the process's provider, before Genkit is imported; a no-op if there is one.

    OpenTelemetry allows this once per process.
    """
    if not isinstance(trace.get_tracer_provider(), TracerProvider):
        trace.set_tracer_provider(provider)
