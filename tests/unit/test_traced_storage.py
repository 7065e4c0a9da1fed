"""A traced store passes every call on to the store behind it."""

import inspect
from collections.abc import Callable

import pytest
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace.sampling import ALWAYS_ON

from chatbot.adapters.storage.in_memory.storage import InMemoryStorage
from chatbot.adapters.telemetry import names
from chatbot.adapters.telemetry.metrics import Metrics
from chatbot.adapters.telemetry.storage import TracedStorage
from chatbot.adapters.telemetry.tracing import Span, Tracer
from chatbot.domain.errors import NotFound
from chatbot.domain.identity import UserId
from chatbot.domain.ports.storage import Storage
from chatbot.domain.transaction import Transaction


def methods_of(kind: type) -> dict[str, Callable[..., object]]:
    return {
        name: method
        for name, method in inspect.getmembers(kind, inspect.isfunction)
        if not name.startswith("_") or name in {"__aenter__", "__aexit__"}
    }


def test_every_method_of_the_port_is_passed_on() -> None:
    """One that was not would run the port's slow default instead of the store's own."""
    own = vars(TracedStorage)

    assert methods_of(Storage).keys() <= own.keys()


class Traced:
    def __init__(self) -> None:
        self.spans: list[Span] = []
        self.reader = InMemoryMetricReader()
        metrics = Metrics(Resource.get_empty(), "1", names.OWN)
        metrics.connect(self.reader)
        tracer = Tracer(ALWAYS_ON, self.spans.append)
        self.storage = TracedStorage(InMemoryStorage(), tracer, metrics)

    def points(self, metric: str) -> dict[object, int]:
        """The number of measurements of a histogram, by the value of its only label."""
        data = self.reader.get_metrics_data()
        assert data is not None
        return {
            next(iter((point.attributes or {}).values())): getattr(point, "count", -1)
            for resource in data.resource_metrics
            for scope in resource.scope_metrics
            for found in scope.metrics
            if found.name == metric
            for point in found.data.data_points
        }


async def test_transactions_are_spans_and_durations_by_operation() -> None:
    traced = Traced()
    async with traced.storage as storage:
        await storage.transact(lambda tx: tx.roles.all())
        await storage.find_caller(UserId("nobody"))

    assert [span.name for span in traced.spans] == ["storage.transaction"] * 2
    operations = [span.attributes["chatbot.storage.operation"] for span in traced.spans]
    assert operations == ["transact", "find_caller"]
    assert traced.points("chatbot.storage.transaction.duration") == {
        "transact": 1,
        "find_caller": 1,
    }


async def test_failed_transaction_is_reported_by_its_class_without_its_text() -> None:
    traced = Traced()

    def fail(_: Transaction) -> None:
        raise NotFound("a canary")

    async with traced.storage as storage:
        with pytest.raises(NotFound):
            await storage.transact(fail)

    (span,) = traced.spans
    assert span.error_type == "NotFound"
    assert b"NotFound" in span.encoded()
    assert b"canary" not in span.encoded()
