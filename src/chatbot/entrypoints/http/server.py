"""uvicorn with a clean shutdown: streams end with an event, and the exit code is 0."""

import asyncio
import errno
import gc
import signal
import socket
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from functools import partial
from types import FrameType

import structlog
import uvicorn
from starlette.types import ASGIApp
from uvicorn.server import HANDLED_SIGNALS

from chatbot.adapters.runtime import return_large_blocks
from chatbot.application.chat import Chat
from chatbot.domain.errors import StorageFailure
from chatbot.domain.ports.storage import Storage
from chatbot.entrypoints import logs
from chatbot.entrypoints.console import say
from chatbot.entrypoints.container import build
from chatbot.entrypoints.http.app import build_app
from chatbot.entrypoints.http.protocol import ProblemProtocol
from chatbot.entrypoints.http.workers import Parent, WorkerFailed, Workers, stop_signals
from chatbot.entrypoints.model_choice import with_model_name
from chatbot.entrypoints.moving import waiting_files
from chatbot.entrypoints.people import people_problem
from chatbot.entrypoints.settings import Settings, SettingsError

logger = structlog.get_logger("chatbot.server")

GRACE_S = 10
"""Seconds that responses have to be sent after their turns have ended."""

_WORKERS_STOP_WITHIN_S = 3.0 * GRACE_S
"""The same for a worker, including the time to save its state and close its store."""


_ALLOCATIONS_BETWEEN_COLLECTIONS = 10_000
"""Python's own default is 700 (2,000 since 3.13)."""


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
    family = socket.AF_INET6 if ":" in settings.host else socket.AF_INET
    try:
        sock = socket.create_server((settings.host, settings.port), family=family, backlog=2048)
    except OSError as error:
        where = f"{settings.host}:{settings.port}"
        if error.errno == errno.EADDRINUSE:
            mend = (
                f"PORT: {where} is already in use. Stop the other program, or choose "
                "another port: --port 8300."
            )
        else:
            mend = (
                f"HOST: cannot listen on {where} ({error.strerror}). Choose an address of this "
                "machine."
            )
        raise SettingsError(mend) from error
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return sock


def run(settings: Settings) -> None:
    """Serve until a signal stops the service.

    Raises:
        SettingsError: the address, the certificate, the model or the store is unusable.
    """
    settings = with_model_name(settings)
    with listen(settings) as sock:
        use = build(settings)
        config = _loaded(build_config(build_app(settings, use), settings))
        problem = asyncio.run(_try_out(use.storage, settings))
        _greet(settings, sock.getsockname()[1], problem)
        _spare_the_collector()
        return_large_blocks()
        if settings.workers > 1:
            _run_workers(settings, sock)
        else:
            Server(config, use.chat).run(sockets=[sock])


def _run_workers(settings: Settings, sock: socket.socket) -> None:
    """Pass the socket and the current settings to several processes."""
    workers = Workers(
        partial(_work, settings, sock), settings.workers, stop_within_s=_WORKERS_STOP_WITHIN_S
    )
    try:
        workers.run(on_stop=sock.close)
    except WorkerFailed as error:
        logger.error("the service is stopping: %s", error)  # noqa: TRY400 # the worker has told the cause
        sys.exit(1)


def _work(settings: Settings, sock: socket.socket, parent: Parent) -> None:
    """Serve in a worker, with its own use cases."""
    stream = logs.configure(settings.log_level, settings.log_format, with_pid=True)
    use = build(settings)
    config = build_config(build_app(settings, use), settings)
    _spare_the_collector()
    return_large_blocks()
    server = Server(config, use.chat, on_start=lambda: parent.heed(server.stop))
    try:
        server.run(sockets=[sock])
    finally:
        stream.drain(logs.EXIT_WITHIN_S)


def build_config(app: ASGIApp, settings: Settings) -> uvicorn.Config:
    """Returns uvicorn's configuration; several of its defaults are unsafe here."""
    return uvicorn.Config(
        app,
        http=ProblemProtocol,
        loop="asyncio",  # uvloop, which Genkit installs, costs a sixth more CPU per turn
        ws="none",
        access_log=False,
        log_config=None,
        server_header=False,
        proxy_headers=bool(settings.trusted_proxies),  # uvicorn by default trusts any local process
        forwarded_allow_ips=list(settings.trusted_proxies),
        ssl_certfile=settings.tls_cert_file,
        ssl_keyfile=settings.tls_key_file,
        timeout_keep_alive=settings.keep_alive_s,  # uvicorn's 5 s are shorter than any connection pool's
        timeout_graceful_shutdown=GRACE_S,
        workers=settings.workers,  # Windows has to duplicate the socket once more
    )


def _loaded(config: uvicorn.Config) -> uvicorn.Config:
    """Let uvicorn read the certificate, so that errors are reported before startup."""
    try:
        config.load()
    except OSError as error:  # includes ssl.SSLError
        raise SettingsError(
            "TLS_CERT_FILE: does not work together with TLS_KEY_FILE "
            f"({error.strerror or error}). Replace one of them."
        ) from error
    return config


def _spare_the_collector() -> None:
    """Run the cyclic garbage collector less often, and never on imported modules.

    This saves a seventh of a turn's CPU, and costs about 5 MiB of uncollected cycles.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(_ALLOCATIONS_BETWEEN_COLLECTIONS)


async def _try_out(storage: Storage, settings: Settings) -> str | None:
    """Open and close the store, so that an error is one line now instead of a failed startup later.

    Returns the reason if no user can log in; applications with a key need no users.
    """
    try:
        async with storage:
            await storage.check()
            with suppress(
                StorageFailure
            ):  # a broken manual edit: log-ins report it, and so does doctor
                return await people_problem(storage, settings)
            return None
    except StorageFailure as error:
        raise SettingsError(f"STORAGE_URL: {error} Run `chatbot doctor` for details.") from error


def _greet(settings: Settings, port: int, people: str | None) -> None:
    """Print where the data is and where the service listens; warn of a public address without
    TLS.
    """
    say(f"data: {settings.storage_url}")
    scheme = "https" if settings.tls_cert_file else "http"
    host = f"[{settings.host}]" if ":" in settings.host else settings.host
    url = f"{scheme}://{host}:{port}"
    waiting = waiting_files(settings.storage_url)
    if waiting:
        folder = settings.storage_url.local_folder
        say(f"sessions of the first version: {waiting} to import (`chatbot import {folder}`)")
    if people is not None:
        say(f"people: {people}")
    say(f"model: {settings.genkit_model}")
    say(f"serving: {url}" + (f" (try {url}/docs)" if settings.docs_enabled else ""))
    if not (settings.is_loopback or settings.tls_cert_file or settings.trusted_proxies):
        logger.warning(
            "public address without TLS or proxy: API keys and passwords are sent in clear text",
            host=settings.host,
        )
