"""uvicorn's HTTP/1.1 protocol, with problem documents for invalid requests and fairness."""

import asyncio

import h11
import structlog
from uvicorn.config import Config
from uvicorn.protocols.http.h11_impl import H11Protocol
from uvicorn.server import ServerState

from chatbot.entrypoints.container.parts import random_id
from chatbot.entrypoints.http.access_log import add_security_headers
from chatbot.entrypoints.http.errors import ErrorDetails
from chatbot.entrypoints.http.problem import PROBLEM
from chatbot.entrypoints.server.backlog import READ_BYTES, backlog_of
from chatbot.entrypoints.server.connection import BoundedConnection
from chatbot.entrypoints.server.transport import LingeringTransport

logger = structlog.get_logger("chatbot.access")

_AHEAD_BYTES = 64 * 1024

_SMALL_BYTES = 1024
_SMALL_READS = 8
"""Number of small reads of a request that are parsed immediately; further ones are queued."""


class ProblemProtocol(H11Protocol, asyncio.BufferedProtocol):
    """uvicorn's h11 protocol with our error responses, fairness and prompt disconnect detection.

    As a `BufferedProtocol`, it decides how much is read at a time.
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
            self._wait()  # and discard what was read
        else:
            self.data_received(bytes(self._backlog.buffer[:nbytes]))

    def data_received(self, data: bytes) -> None:
        self._unset_keepalive_if_required()
        is_slow_to_parse = self._is_slow_to_parse(len(data))
        self.conn.receive_data(data)
        if self._is_waiting:
            return
        if is_slow_to_parse:
            self._wait()
        else:
            self._proceed()

    def _is_slow_to_parse(self, nbytes: int) -> bool:
        """Whether a request arrives in many small pieces, or its head is longer than one read."""
        if not self._connection.is_unfinished:
            self._small_reads = 0
            return False
        self._small_reads += nbytes < _SMALL_BYTES
        return self._small_reads > _SMALL_READS or (
            self.conn.their_state is h11.IDLE and self._connection.waiting_bytes >= READ_BYTES
        )

    def handle_events(self) -> None:
        """Called by uvicorn after a response: pipelined requests are queued."""
        if self._connection.waiting_bytes:
            self._wait()

    def _wait(self) -> None:
        if self._is_waiting:
            return
        self._is_waiting = True
        self._outgoing.hold()
        self._backlog.add(self._take_turn)

    def _take_turn(self) -> None:
        self._is_waiting = False
        self._outgoing.release()
        if not self._outgoing.is_closing():
            self._proceed()

    def _proceed(self) -> None:
        """Parse a few events and queue the rest.

        While a request is being answered, reading continues, up to a bound. uvicorn would stop
        when the next request arrives, and so would not see the client disconnect.
        """
        self._connection.allow_more_events()
        super().handle_events()
        if self._connection.is_cut_short:
            self._wait()
        elif self._connection.is_answering and self._connection.waiting_bytes < _AHEAD_BYTES:
            self.flow.resume_reading()

    def _should_upgrade(self) -> bool:
        """Never: otherwise uvicorn would warn of a missing WebSocket library on every offer."""
        return False

    def send_400_response(self, msg: str) -> None:  # noqa: ARG002 # uvicorn's signature
        """Respond with a problem document unless a response has begun; then close.

        The invalid bytes may follow a complete answer. And the application may already be working
        on the head of the request that is refused here: for it the client has disconnected.
        """
        if self.cycle is not None:
            self.cycle.disconnected = True
            self.cycle.message_event.set()
        if self.conn.our_state in (h11.IDLE, h11.SEND_RESPONSE):
            self._send_problem(random_id())
        self.transport.close()

    def _send_problem(self, request_id: str) -> None:
        problem = ErrorDetails(
            status=400, code="bad_request", detail="This is not a valid HTTP request."
        )
        answer = PROBLEM.response(problem, request_id)
        answer.headers["Connection"] = "close"
        headers = add_security_headers(answer.raw_headers, request_id, is_tls=self.config.is_ssl)
        begin = h11.Response(status_code=400, headers=headers, reason=b"Bad Request")
        for event in (begin, h11.Data(data=bytes(answer.body)), h11.EndOfMessage()):
            self.transport.write(self.conn.send(event) or b"")
        logger.info("request", method="-", route="-", request_id=request_id, status=400)
