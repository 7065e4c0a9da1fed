"""The telemetry of a process: providers, exporters, and the wrappers around the parts."""

import asyncio
import os
import threading
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Self, cast

from opentelemetry.sdk.metrics.export import PeriodicExportingMetricReader
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace.sampling import ALWAYS_OFF

from chatbot.adapters.telemetry import foreign_spans, names
from chatbot.adapters.telemetry.activities import During
from chatbot.adapters.telemetry.exporting import OutageMetricExporter, SpanQueue
from chatbot.adapters.telemetry.exposition import Exposition
from chatbot.adapters.telemetry.foreign_spans import SilentProvider
from chatbot.adapters.telemetry.metrics import Metrics
from chatbot.adapters.telemetry.model import ModelReports, TracedModel
from chatbot.adapters.telemetry.providers import labels_of
from chatbot.adapters.telemetry.requests import App, TracedRequests
from chatbot.adapters.telemetry.session import InSession
from chatbot.adapters.telemetry.storage import TracedStorage
from chatbot.adapters.telemetry.tracing import Span, Tracer
from chatbot.domain.chat import SessionId
from chatbot.domain.ports.model import ChatModel
from chatbot.domain.ports.storage import Storage
from chatbot.domain.ports.telemetry import Activity, Layer, Telemetry, Workers

CLOSES_WITHIN_S = 3.0
"""How long a stopping process waits for a collector that does not answer."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """What is exported, and how. Everything else is configured by `OTEL_...`.

    `latest_names` selects the newer names of the metrics of model calls.
    """

    version: str
    traces: bool
    otlp_metrics: bool
    prometheus: bool
    latest_names: bool = False
    captures_content: bool = False


class OpenTelemetry(Telemetry):
    """Traces and metrics of this process. Without `async with`, it has no threads and no sockets."""

    def __init__(self, options: Options, workers: Workers | None = None) -> None:
        self._options = options
        if "service.name=" not in os.environ.get("OTEL_RESOURCE_ATTRIBUTES", ""):
            os.environ.setdefault("OTEL_SERVICE_NAME", "chatbot")
        resource = Resource.create({"service.version": options.version})
        provider = SilentProvider(resource=resource, shutdown_on_exit=False)
        foreign_spans.install(provider)
        sampler = provider.sampler if options.traces else ALWAYS_OFF
        self._resource = resource
        self._spans: SpanQueue | None = None
        self._tracer = Tracer(sampler, self._export)
        self._model_names = names.LATEST if options.latest_names else names.V1_41
        used = (*names.OWN, *self._model_names.all)
        self._metrics = Metrics(resource, options.version, used)
        self._metrics.counter(names.MODEL_RETRIES, {})
        self._exposition = Exposition(workers) if options.prometheus else None
        if self._exposition is not None:
            self._metrics.connect(self._exposition.reader)
        self._sender: PeriodicExportingMetricReader | None = None

    async def __aenter__(self) -> Self:
        if self._options.traces:
            self._spans = SpanQueue(self._resource, self._options.version)
        if self._options.otlp_metrics:
            self._sender = PeriodicExportingMetricReader(OutageMetricExporter())
            self._metrics.connect(self._sender)
        if self._exposition is not None:
            self._exposition.open()
        return self

    async def __aexit__(self, *exc_info: object) -> None:
        """Export the remaining data, in a thread that does not keep the process from exiting."""
        closing = threading.Thread(target=self._close, name="telemetry", daemon=True)
        closing.start()
        await asyncio.to_thread(closing.join, CLOSES_WITHIN_S)

    def _close(self) -> None:
        if self._exposition is not None:
            self._exposition.close()
        if self._spans is not None:
            self._spans.close()
        if self._sender is not None:
            self._sender.shutdown()

    def _export(self, span: Span) -> None:
        if self._spans is not None:
            self._spans.add(span)

    def during(self, activity: Activity) -> AbstractContextManager[object]:
        return During(activity, self._tracer, self._metrics)

    def in_session(self, session_id: SessionId) -> AbstractContextManager[object]:
        return InSession(session_id)

    def observe(self, *, active_turns: Callable[[], int], backlog: Callable[[], int]) -> None:
        self._metrics.observe(names.TURNS_ACTIVE, active_turns)
        self._metrics.observe(names.CONSOLIDATION_BACKLOG, backlog)

    def around(self, app: Layer) -> Layer:
        return cast("Layer", TracedRequests(cast("App", app), self._tracer, self._metrics))

    def exposition(self) -> bytes | None:
        return None if self._exposition is None else self._exposition.text()

    def storage(self, storage: Storage) -> Storage:
        """Returns the store, reporting its transactions."""
        return TracedStorage(storage, self._tracer, self._metrics)

    def model(self, model: ChatModel, base_url: str | None, temperature: float | None) -> ChatModel:
        """Returns the model, reporting its calls."""
        name = model.name.removeprefix("openai/")
        labels = {names.OPERATION: names.CHAT, names.REQUEST_MODEL: name, **labels_of(base_url)}
        reports = ModelReports(
            tracer=self._tracer,
            metrics=self._metrics,
            names=self._model_names,
            model=name,
            labels=labels,
            temperature=temperature,
            captures_content=self._options.captures_content,
            first_chunk=self._metrics.histogram(self._model_names.time_to_first_chunk, labels),
            later_chunks=self._metrics.histogram(self._model_names.time_per_output_chunk, labels),
        )
        return TracedModel(model, reports)

    def count_retry(self) -> None:
        self._metrics.counter(names.MODEL_RETRIES, {}).add(1)

    def count_embedding_tokens(self, tokens: int) -> None:
        self._metrics.counter(names.EMBEDDING_TOKENS, {}).add(tokens)

    def count_audit_event(self, action: str, outcome: str) -> None:
        labels = {names.ACTION: action, names.OUTCOME: outcome}
        self._metrics.counter(names.AUDIT_EVENTS, labels).add(1)
