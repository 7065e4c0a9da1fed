"""GET /metrics: for a Prometheus on another machine."""

from fastapi import Response

from chatbot.domain.errors import Forbidden, NotFound
from chatbot.entrypoints.http import routing
from chatbot.entrypoints.http.deps.caller import Caller
from chatbot.entrypoints.http.deps.parameters import UseCases
from chatbot.entrypoints.http.documented import documented

PROMETHEUS = "text/plain; version=0.0.4; charset=utf-8"
_EXAMPLE = """\
# HELP chatbot_turns_total Finished turns, by outcome.
# TYPE chatbot_turns_total counter
chatbot_turns_total{state="complete"} 1027.0
"""

router = routing.router(tag="metrics", prefix="/metrics")


@router.get(
    "",
    response_class=Response,
    responses={
        200: {
            "description": "The metrics of all workers, in Prometheus' text format.",
            "content": {"text/plain": {"schema": {"type": "string"}, "example": _EXAMPLE}},
        }
    },
)
@documented(Forbidden, NotFound)
def metrics(caller: Caller, use: UseCases) -> Response:
    """Return the metrics of the service; the key needs the scope `metrics`."""
    return Response(use.monitoring.metrics(caller), media_type=PROMETHEUS)
