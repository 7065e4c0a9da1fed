"""HTTP below the application.

What is not HTTP is refused like everything else, and nobody waits for what another caller sends.
"""

import asyncio

import h11
import structlog
from uvicorn.config import Config
from uvicorn.protocols.http.h11_impl import H11Protocol
from uvicorn.server import ServerState

from chatbot.entrypoints.container import random_id
from chatbot.entrypoints.http.backlog import backlog_of
from chatbot.entrypoints.http.connection import BoundedConnection
from chatbot.entrypoints.http.errors import ProblemDetails
from chatbot.entrypoints.http.stamps import stamped
from chatbot.entrypoints.http.transport import LingeringTransport

logger = structlog.get_logger("chatbot.access")

_AHEAD_BYTES = 64 * 1024

_SMALL_BYTES = 1024
_SMALL_READS = 8
"""So many small pieces of a request are taken as they come; after that, one each 10 ms."""


class ProblemProtocol(H11Protocol, asyncio.BufferedProtocol):
    """uvicorn's h11, whose own refusal is bare text without an id, and which overlooks leavers.

    As a `BufferedProtocol` it says itself how much is read at a time.
    """

    def __init__(
        self,
        config: Config,
        server_state: ServerState,
        app_state: dict[str, object],
        _loop: asyncio.AbstractEventLoop | None = None,
    ) -> None:
        super().__init__(config, server_state, app_state, _loop)
        self._connection = self.conn = BoundedConnection()
        self._backlog = backlog_of(self.loop)
        self._is_waiting = False
        self._small_reads = 0

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override] # as uvicorn
        self._outgoing = LingeringTransport(transport, lambda: self._connection.is_unread)
        super().connection_made(self._outgoing)

    def connection_lost(self, exc: Exception | None) -> None:
        self._outgoing.forget()
        super().connection_lost(exc)

    def get_buffer(self, sizehint: int) -> memoryview:  # noqa: ARG002 # asyncio's signature
        return self._backlog.buffer

    def buffer_updated(self, nbytes: int) -> None:
        if self._outgoing.is_lingering:
            self._outgoing.rest()
            return
        self.data_received(bytes(self._backlog.buffer[:nbytes]))
        if not self._connection.is_unfinished:
            self._small_reads = 0
        elif nbytes < _SMALL_BYTES:
            self._small_reads += 1
            if self._small_reads > _SMALL_READS and not self._is_waiting:
                self._outgoing.rest()

    def data_received(self, data: bytes) -> None:
        self._unset_keepalive_if_required()
        self.conn.receive_data(data)
        if self._is_waiting:
            return
        if self._connection.was_refused:
            self._wait()
        else:
            self._proceed()

    def handle_events(self) -> None:
        """Called by uvicorn after an answer: what the caller has sent ahead waits its turn."""
        if self._connection.waiting_bytes:
            self._wait()

    def _wait(self) -> None:
        self._is_waiting = True
        self._outgoing.hold()
        self._backlog.add(self._go_on)

    def _go_on(self) -> None:
        self._is_waiting = False
        if not self._outgoing.is_closing():
            self._outgoing.release()
            self._proceed()

    def _proceed(self) -> None:
        """Parse a few events; the rest waits.

        Reading goes on, up to a bound, when the next request comes before this one's answer:
        uvicorn would stop there, and so would not see the caller leave.
        """
        self._connection.go_on()
        super().handle_events()
        if self._connection.is_cut_short:
            self._wait()
        elif self.conn.their_state is h11.DONE and self._connection.waiting_bytes < _AHEAD_BYTES:
            self.flow.resume_reading()

    def send_400_response(self, msg: str) -> None:  # noqa: ARG002 # uvicorn's signature
        """Answer with a problem, unless this request has its answer already; then close.

        The bytes after a complete answer may be no HTTP either. And the application may be at
        work on the head of what is refused here: for it the caller has left.
        """
        if self.cycle is not None:
            self.cycle.disconnected = True
            self.cycle.message_event.set()
        if self.conn.our_state in (h11.IDLE, h11.SEND_RESPONSE):
            self._send_problem(random_id())
        self.transport.close()

    def _send_problem(self, request_id: str) -> None:
        problem = ProblemDetails(
            status=400, code="bad_request", detail="This is no valid HTTP request."
        )
        answer = problem.response(request_id)
        answer.headers["Connection"] = "close"
        headers = stamped(answer.raw_headers, request_id, is_tls=self.config.is_ssl)
        begin = h11.Response(status_code=400, headers=headers, reason=b"Bad Request")
        for event in (begin, h11.Data(data=bytes(answer.body)), h11.EndOfMessage()):
            self.transport.write(self.conn.send(event) or b"")
        logger.info("request", method="-", route="-", request_id=request_id, status=400)
