"""Metrics in Prometheus' text format, of this process or of all workers of the service.

Each worker answers its siblings on a local socket, so that whichever of them is asked answers for
all. Each series has the number of its worker: when a worker is replaced, its series begin again at
0, which Prometheus recognises for each series, but could not in a sum.
"""

import logging
import sys
import threading
from collections.abc import Iterable
from contextlib import suppress
from multiprocessing.connection import Client, Listener
from typing import cast

from opentelemetry.exporter.prometheus import PrometheusMetricReader
from prometheus_client import CollectorRegistry, Metric, generate_latest
from prometheus_client.parser import text_string_to_metric_families

from chatbot.adapters.telemetry import names
from chatbot.domain.ports.telemetry import Workers

_ANSWERS_WITHIN_S = 2.0
_logger = logging.getLogger("chatbot.telemetry")


class Exposition:
    """The metrics that `reader` receives. Opened in the process that it belongs to."""

    def __init__(self, workers: Workers | None) -> None:
        self._registry = CollectorRegistry()
        self._workers = workers
        self._listener: Listener | None = None
        self.reader = PrometheusMetricReader(registry=self._registry, scope_info_enabled=False)

    def open(self) -> None:
        if self._workers is None:
            return
        path = _address(self._workers, self._workers.number)
        if sys.platform != "win32":
            self._workers.socket(self._workers.number).unlink(missing_ok=True)
        self._listener = Listener(path)
        threading.Thread(target=self._answer, name="metrics", daemon=True).start()

    def close(self) -> None:
        listener, self._listener = self._listener, None
        if listener is not None:
            listener.close()

    def text(self) -> bytes:
        """The metrics of all workers; one that does not answer within 2 s is left out."""
        if self._workers is None:
            return _text_of(self._registry)
        found = ((n, self._ask(self._workers, n)) for n in range(self._workers.count))
        return _merged((number, text) for number, text in found if text is not None)

    def _ask(self, workers: Workers, number: int) -> bytes | None:
        if number == workers.number:
            return _text_of(self._registry)
        with suppress(OSError, EOFError), Client(_address(workers, number)) as sibling:
            if sibling.poll(_ANSWERS_WITHIN_S):
                return sibling.recv_bytes()
        return None

    def _answer(self) -> None:
        """Runs in its thread, until the listener is closed."""
        while (listener := self._listener) is not None:
            try:
                with listener.accept() as sibling:
                    sibling.send_bytes(_text_of(self._registry))
            except (OSError, EOFError) as error:
                if self._listener is not None:
                    _logger.debug("a worker did not wait for metrics: %s", type(error).__name__)


def _text_of(registry: CollectorRegistry) -> bytes:
    text: bytes = generate_latest(registry)
    return text


def _address(workers: Workers, number: int) -> str:
    path = workers.socket(number)
    return rf"\\.\pipe\{path.parent.name}-{path.name}" if sys.platform == "win32" else str(path)


class _Families:
    """Metrics that are collected already: all of a registry that the library reads."""

    def __init__(self, families: Iterable[Metric]) -> None:
        self._families = families

    def collect(self) -> Iterable[Metric]:
        return self._families


def _merged(texts: Iterable[tuple[int, bytes]]) -> bytes:
    """One exposition: the series of each text with the number of its worker."""
    families: dict[str, Metric] = {}
    for number, text in texts:
        for found in text_string_to_metric_families(text.decode()):
            family = families.setdefault(
                found.name, Metric(found.name, found.documentation, found.type)
            )
            for sample in found.samples:
                labels = {**sample.labels, names.WORKER: str(number)}
                family.samples.append(sample._replace(labels=labels))
    return _text_of(cast("CollectorRegistry", _Families(families.values())))
