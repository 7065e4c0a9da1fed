"""The instruments of a process, by their names."""

from collections.abc import Callable, Iterable, Mapping

from opentelemetry.metrics import (
    CallbackOptions,
    Counter,
    Histogram,
    Meter,
    MeterProvider,
    Observation,
)

from chatbot.adapters.telemetry import names
from chatbot.adapters.telemetry.names import Metric

Labels = Mapping[str, str | int]


class Metrics:
    """Counts and measures. Labels have few values: never a person, a session or an address."""

    def __init__(self, provider: MeterProvider, version: str, metrics: Iterable[Metric]) -> None:
        meter = provider.get_meter(names.SCOPE, version)
        given = tuple(metrics)
        self._observed: dict[str, Callable[[], int]] = {}
        self._counters = {m.name: _counter(meter, m) for m in given if m.kind == "counter"}
        self._histograms = {m.name: _histogram(meter, m) for m in given if m.kind == "histogram"}
        for metric in given:
            if metric.kind == "observed":
                self._create_observed(meter, metric)

    def begin(self, metric: Metric, label: str, values: Iterable[str]) -> None:
        """Begin a counter at 0 for these values of its label, so that its first event is an increase."""
        for value in values:
            self.count(metric, {label: value}, 0)

    def count(self, metric: Metric, labels: Labels, amount: int = 1) -> None:
        self._counters[metric.name].add(amount, labels)

    def measure(self, metric: Metric, value: float, labels: Labels) -> None:
        self._histograms[metric.name].record(value, labels)

    def observe(self, metric: Metric, value: Callable[[], int]) -> None:
        """Call `value` whenever the metrics are read; a later one replaces it."""
        self._observed[metric.name] = value

    def _create_observed(self, meter: Meter, metric: Metric) -> None:
        def read(_: CallbackOptions) -> Iterable[Observation]:
            value = self._observed.get(metric.name)
            return () if value is None else (Observation(value()),)

        meter.create_observable_up_down_counter(
            metric.name, [read], unit=metric.unit, description=metric.description
        )


def _counter(meter: Meter, metric: Metric) -> Counter:
    return meter.create_counter(metric.name, unit=metric.unit, description=metric.description)


def _histogram(meter: Meter, metric: Metric) -> Histogram:
    return meter.create_histogram(
        metric.name,
        unit=metric.unit,
        description=metric.description,
        explicit_bucket_boundaries_advisory=metric.buckets,
    )
