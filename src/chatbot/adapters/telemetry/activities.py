"""The activities of the use cases, as spans and durations."""

import time
from types import TracebackType

from chatbot.adapters.telemetry import names
from chatbot.adapters.telemetry.metrics import Metrics
from chatbot.adapters.telemetry.names import Metric
from chatbot.adapters.telemetry.tracing import Tracer
from chatbot.domain.ports.telemetry import Activity

_REPORTED: dict[Activity, tuple[str, Metric | None]] = {
    Activity.LEASE_WAIT: (names.SPAN_LEASE_WAIT, names.LEASE_WAIT),
    Activity.PROMPT: (names.SPAN_PROMPT, None),
    Activity.CONSOLIDATION: (names.SPAN_CONSOLIDATION, names.CONSOLIDATION_DURATION),
    Activity.INGESTION: (names.SPAN_INGESTION, names.INGESTION_DURATION),
    Activity.EMBEDDING: (names.SPAN_EMBEDDING, names.EMBEDDING_DURATION),
}


class During:
    """Reports the block of `with` as an activity."""

    __slots__ = ("_began", "_metric", "_metrics", "_span")

    def __init__(self, activity: Activity, tracer: Tracer, metrics: Metrics) -> None:
        name, self._metric = _REPORTED[activity]
        self._span, self._metrics = tracer.begin(name), metrics
        self._began = time.perf_counter()

    def __enter__(self) -> None:
        self._span.__enter__()

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._span.__exit__(kind, error, traceback)
        if self._metric is not None:
            series = self._metrics.histogram(self._metric, {})
            series.record(time.perf_counter() - self._began)
