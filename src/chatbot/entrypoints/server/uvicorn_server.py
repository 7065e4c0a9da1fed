"""uvicorn with a clean shutdown: streams end with an event, and the exit code is 0."""

import asyncio
import errno
import signal
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType

import uvicorn
from starlette.types import ASGIApp
from uvicorn.server import HANDLED_SIGNALS

from chatbot.application.chat import Chat
from chatbot.entrypoints.server.h11_protocol import ProblemProtocol
from chatbot.entrypoints.server.supervisor import stop_signals
from chatbot.entrypoints.server.trusted_peers import TrustedPeers
from chatbot.entrypoints.settings import Settings
from chatbot.entrypoints.settings.subject import SettingsError

GRACE_S = 10
"""Seconds that responses have to be sent after their turns have ended."""


class Server(uvicorn.Server):
    """Ends running turns before it waits for connections.

    uvicorn alone waits for a stream as long as it lasts, and re-raises the signal at the end, which
    kills the process.
    """

    def __init__(
        self, config: uvicorn.Config, chat: Chat, *, on_start: Callable[[], None] = lambda: None
    ) -> None:
        super().__init__(config)
        self._chat, self._on_start = chat, on_start

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        self._on_start()

    def stop(self) -> None:
        """Shut down cleanly; can be called from any thread."""
        self.should_exit = True

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:  # noqa: ARG002 # uvicorn's
        """Shut down cleanly; on a second Ctrl-C, do not wait for connections.

        A terminal that closes may send its signal twice.
        """
        if self.should_exit and sig in HANDLED_SIGNALS:
            self.force_exit = True
        self.should_exit = True

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Handle uvicorn's signals and SIGHUP."""
        more = set(stop_signals()) - set(HANDLED_SIGNALS)
        with super().capture_signals():
            if threading.current_thread() is not threading.main_thread():
                more = set()
            before = {number: signal.signal(number, self.handle_exit) for number in more}
            try:
                yield
            finally:
                for number, handler in before.items():
                    signal.signal(number, handler)

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Stop accepting, end the turns and save what they have, then close."""
        ending = asyncio.create_task(self._chat.running.aclose())
        await super().shutdown(sockets)
        if self.force_exit:  # uvicorn would not close the stores, and would cancel waiting tasks
            await self.lifespan.shutdown()
        await ending


def listen(settings: Settings) -> socket.socket:
    """Bind the address.

    Small packets are sent at once; otherwise a body waits 40 ms for the acknowledgement of its
    headers (Nagle's algorithm). Connections inherit this, also those made before startup is
    complete.

    Raises:
        SettingsError: the address is in use, not local, or not permitted.
    """
    family = socket.AF_INET6 if ":" in settings.http.host else socket.AF_INET
    try:
        sock = socket.create_server(
            (settings.http.host, settings.http.port), family=family, backlog=2048
        )
    except OSError as error:
        where = f"{settings.http.host}:{settings.http.port}"
        if error.errno == errno.EADDRINUSE:
            message = (
                f"PORT: {where} is already in use. Stop the other program, or choose "
                "another port: --port 8300."
            )
        else:
            message = (
                f"HOST: cannot listen on {where} ({error.strerror}). Choose an address of this "
                "machine."
            )
        raise SettingsError(message) from error
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return sock


def build_config(app: ASGIApp, settings: Settings) -> uvicorn.Config:
    """Returns uvicorn's configuration; several of its defaults are unsafe here."""
    proxies = settings.http.trusted_proxies
    return uvicorn.Config(
        TrustedPeers(app, proxies) if proxies else app,
        http=ProblemProtocol,
        loop="asyncio",  # uvloop, which Genkit installs, costs a sixth more CPU per turn
        ws="none",
        access_log=False,
        log_config=None,
        server_header=False,
        proxy_headers=False,  # uvicorn by default trusts any local process
        ssl_certfile=settings.http.tls_cert_file,
        ssl_keyfile=settings.http.tls_key_file,
        # uvicorn's 5 s are shorter than any connection pool's
        timeout_keep_alive=settings.http.keep_alive_s,
        timeout_graceful_shutdown=GRACE_S,
        workers=settings.http.workers,  # Windows has to duplicate the socket once more
    )


def load_config(config: uvicorn.Config) -> uvicorn.Config:
    """Reads the certificate, so that errors are reported before startup.

    Raises:
        SettingsError: certificate and key do not work together.
    """
    try:
        config.load()
    except OSError as error:  # includes ssl.SSLError
        raise SettingsError(
            "TLS_CERT_FILE: does not match TLS_KEY_FILE "
            f"({error.strerror or error}). Replace one of them."
        ) from error
    return config
