"""METRICS_PORT: the metrics on a loopback port of their own, for a Prometheus on this machine.

It works in threads of its own, so that it answers while the event loop is busy.
"""

import errno
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from chatbot.entrypoints.http.routes.metrics import PROMETHEUS
from chatbot.entrypoints.settings.subject import SettingsError

HOST = "127.0.0.1"
Read = Callable[[], bytes | None]


def listen_for_metrics(port: int | None) -> socket.socket | None:
    """Bind the port; None if none is set.

    Raises:
        SettingsError: it is in use or not permitted.
    """
    if port is None:
        return None
    try:
        sock = socket.create_server((HOST, port))
    except OSError as error:
        is_taken = error.errno == errno.EADDRINUSE
        why = "is already in use" if is_taken else f"cannot be used ({error.strerror})"
        raise SettingsError(f"METRICS_PORT: {HOST}:{port} {why}. Choose another port.") from error
    sock.setblocking(False)  # several workers accept from it
    return sock


@contextmanager
def serving_metrics(sock: socket.socket | None, read: Read) -> Iterator[None]:
    """Answer `GET /metrics` with what `read` returns, until the end of the block."""
    if sock is None:
        yield
        return
    with _Server(sock, partial(_Handler, read)) as server:
        threading.Thread(target=server.serve_forever, name="metrics-port", daemon=True).start()
        try:
            yield
        finally:
            server.shutdown()


class _Server(ThreadingHTTPServer):
    daemon_threads = True

    def __init__(self, sock: socket.socket, handler: Callable[..., BaseHTTPRequestHandler]) -> None:
        super().__init__(sock.getsockname(), handler, bind_and_activate=False)
        self.socket.close()
        self.socket = sock


class _Handler(BaseHTTPRequestHandler):
    timeout = 5.0
    """Seconds that a client has to send its request."""

    def __init__(self, read: Read, *connection: Any) -> None:  # noqa: ANN401 - the library's
        self._read = read
        super().__init__(*connection)

    def do_GET(self) -> None:
        is_metrics = self.path.partition("?")[0] == "/metrics"
        text = self._read() if is_metrics else None
        self.send_response(HTTPStatus.OK if text is not None else HTTPStatus.NOT_FOUND)
        self.send_header("Content-Type", PROMETHEUS)
        self.send_header("Content-Length", str(len(text or b"")))
        self.end_headers()
        self.wfile.write(text or b"")

    def version_string(self) -> str:
        return "chatbot"

    def log_message(self, *_: object) -> None:
        """Discard it: a request a few times a minute is not worth a line."""
