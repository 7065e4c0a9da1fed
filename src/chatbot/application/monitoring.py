"""The metrics that a monitoring system reads."""

from chatbot.domain.authorization import require
from chatbot.domain.errors import NotFound
from chatbot.domain.identity import Principal
from chatbot.domain.permissions import Permission
from chatbot.domain.ports.telemetry import Telemetry


class Monitoring:
    """Returns the metrics of the service."""

    def __init__(self, telemetry: Telemetry) -> None:
        self._telemetry = telemetry

    def metrics(self, principal: Principal) -> bytes:
        """Return the metrics of all workers in Prometheus' text format. Blocks.

        Raises:
            Forbidden: the caller's key lacks the permission.
            NotFound: no metrics are kept for Prometheus.
        """
        require(principal, Permission.METRICS)
        text = self._telemetry.exposition()
        if text is None:
            raise NotFound(
                "Metrics are off: set METRICS_PORT, or OTEL_METRICS_EXPORTER=prometheus."
            )
        return text
