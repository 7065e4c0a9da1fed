"""uvicorn, stopped as the service promises: streams end with an event, the exit code is 0."""

import asyncio
import errno
import gc
import socket
from types import FrameType

import structlog
import typer
import uvicorn
from starlette.types import ASGIApp

from chatbot.adapters.storage.json_files.files import Files
from chatbot.adapters.storage.json_files.inspection import count_legacy_sessions
from chatbot.application.chat import Chat
from chatbot.domain.errors import StorageFailure
from chatbot.domain.ports.storage import Storage
from chatbot.entrypoints.container import build_container
from chatbot.entrypoints.http.app import build_app
from chatbot.entrypoints.http.protocol import ProblemProtocol
from chatbot.entrypoints.model_choice import with_model_name
from chatbot.entrypoints.settings import Settings, SettingsError
from chatbot.entrypoints.storage_url import StorageKind

logger = structlog.get_logger("chatbot.server")

GRACE_S = 10
"""Seconds that answers have to get out after their turns have ended."""


_ALLOCATIONS_BETWEEN_COLLECTIONS = 10_000
"""Python's own default is 700 (2,000 from 3.13 on)."""


class Server(uvicorn.Server):
    """Ends running turns before it waits for connections.

    uvicorn alone waits for a stream as long as it lasts, and hands the signal on at the end, so
    that the process dies of it.
    """

    def __init__(self, config: uvicorn.Config, chat: Chat) -> None:
        super().__init__(config)
        self._chat = chat

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:  # noqa: ARG002 # uvicorn's signature
        """Stop in good order; a second Ctrl-C waits for no connection."""
        self.force_exit = self.should_exit
        self.should_exit = True

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Stop accepting, end the turns and save what they have, then close."""
        ending = asyncio.create_task(self._chat.aclose())
        await super().shutdown(sockets)
        if self.force_exit:  # uvicorn would not close the stores, and cancel what waits for that
            await self.lifespan.shutdown()
        await ending


def listen(settings: Settings) -> socket.socket:
    """Take the address.

    Small packets are sent at once, or else a body waits 40 ms for the acknowledgement of its
    headers (Nagle's algorithm). Connections inherit that, those of before the start too.

    Raises:
        SettingsError: it is taken, not ours, or needs a right that we lack.
    """
    family = socket.AF_INET6 if ":" in settings.host else socket.AF_INET
    try:
        sock = socket.create_server((settings.host, settings.port), family=family, backlog=2048)
    except OSError as error:
        where = f"{settings.host}:{settings.port}"
        if error.errno == errno.EADDRINUSE:
            mend = (
                f"PORT: {where} is taken. Stop what is there, or choose another port: --port 8300."
            )
        else:
            mend = f"HOST: cannot listen on {where} ({error.strerror}). Choose an address of this machine."
        raise SettingsError(mend) from error
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return sock


def run(settings: Settings) -> None:
    """Serve until a signal says stop.

    Raises:
        SettingsError: the address, the model or the store cannot be had.
    """
    settings = with_model_name(settings)
    sock = listen(settings)
    container = build_container(settings)
    app = build_app(settings, container)
    asyncio.run(_try_out(container.storage()))
    chat = container.chat()
    _greet(settings, sock.getsockname()[1])
    _spare_the_collector()
    Server(build_config(app, settings), chat).run(sockets=[sock])


def build_config(app: ASGIApp, settings: Settings) -> uvicorn.Config:
    """How uvicorn serves the application; what it would do otherwise by default is unsafe here."""
    return uvicorn.Config(
        app,
        http=ProblemProtocol,
        loop="asyncio",  # uvloop, which comes with Genkit, costs a turn a sixth more CPU
        ws="none",
        access_log=False,
        log_config=None,
        server_header=False,
        proxy_headers=bool(settings.trusted_proxies),  # uvicorn alone trusts any local process
        forwarded_allow_ips=list(settings.trusted_proxies),
        ssl_certfile=settings.tls_cert_file,
        ssl_keyfile=settings.tls_key_file,
        timeout_graceful_shutdown=GRACE_S,
    )


def _spare_the_collector() -> None:
    """Look for cycles less often, and never among what was imported.

    That saves a seventh of a turn's CPU, and costs some 5 MiB of cycles that wait to be found.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(_ALLOCATIONS_BETWEEN_COLLECTIONS)


async def _try_out(storage: Storage) -> None:
    """Open and close the store: what is wrong with it is one line now, not a failed start later."""
    try:
        async with storage:
            await storage.check()
    except StorageFailure as error:
        raise SettingsError(f"STORAGE_URL: {error} `chatbot doctor` says more.") from error


def _greet(settings: Settings, port: int) -> None:
    """Say where data lies and where the service listens; warn of an open door."""
    typer.echo(f"data: {settings.storage_url}")
    scheme = "https" if settings.tls_cert_file else "http"
    host = f"[{settings.host}]" if ":" in settings.host else settings.host
    url = f"{scheme}://{host}:{port}"
    folder = settings.storage_url.path if settings.storage_url.kind is StorageKind.JSON else None
    waiting = count_legacy_sessions(folder, Files()) if folder else 0
    if waiting:
        typer.echo(
            f"sessions of the first version, left untouched: {waiting} "
            f"(`chatbot import {folder}` comes with the next storage)"
        )
    typer.echo(f"model: {settings.genkit_model}")
    typer.echo(f"serving: {url}" + (f" (try {url}/docs)" if settings.docs_enabled else ""))
    if not (settings.is_loopback or settings.tls_cert_file or settings.trusted_proxies):
        logger.warning(
            "public address without TLS or proxy: API keys and passwords travel in clear text",
            host=settings.host,
        )
