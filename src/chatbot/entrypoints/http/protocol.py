"""HTTP below the application: what is no HTTP request is refused like everything else."""

import h11
import structlog
from uvicorn.protocols.http.h11_impl import H11Protocol

from chatbot.entrypoints.container import random_id
from chatbot.entrypoints.http.edge import stamp
from chatbot.entrypoints.http.errors import ProblemDetails

logger = structlog.get_logger("chatbot.access")

_AHEAD_BYTES = 64 * 1024


class ProblemProtocol(H11Protocol):
    """uvicorn's h11, whose own refusal is bare text without an id, and which overlooks leavers."""

    def data_received(self, data: bytes) -> None:
        """Read on, up to a bound, when the next request comes before this one's answer.

        uvicorn stops reading there, and so would not see the caller leave.
        """
        super().data_received(data)
        if self.conn.their_state is h11.DONE and len(self.conn.trailing_data[0]) < _AHEAD_BYTES:
            self.flow.resume_reading()

    def send_400_response(self, msg: str) -> None:  # noqa: ARG002 # uvicorn's signature
        """Answer with a problem, unless this request has its answer already; then close.

        The bytes after a complete answer may be no HTTP either: the rest of a body that was
        refused unread. And the application may be at work on the head of what is refused here.
        """
        if self.cycle is not None:
            self.cycle.disconnected = True
        if self.conn.our_state in (h11.IDLE, h11.SEND_RESPONSE):
            self._send_problem(random_id())
        self.transport.close()

    def _send_problem(self, request_id: str) -> None:
        problem = ProblemDetails(
            status=400, code="bad_request", detail="This is no valid HTTP request."
        )
        answer = problem.response(request_id)
        stamp(answer.headers, request_id)
        answer.headers["Connection"] = "close"
        begin = h11.Response(
            status_code=answer.status_code, headers=answer.raw_headers, reason=b"Bad Request"
        )
        for event in (begin, h11.Data(data=bytes(answer.body)), h11.EndOfMessage()):
            self.transport.write(self.conn.send(event) or b"")
        logger.info("request", method="-", route="-", request_id=request_id, status=400)
