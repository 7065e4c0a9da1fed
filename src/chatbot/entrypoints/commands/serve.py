"""`chatbot serve`: check the store, print where it listens, and serve in one or several processes."""

import asyncio
import gc
import socket
import sys
import tempfile
from contextlib import ExitStack, suppress
from functools import partial
from pathlib import Path

import structlog

from chatbot.domain.errors import StorageFailure
from chatbot.domain.ports.storage import Storage
from chatbot.domain.ports.telemetry import Workers
from chatbot.entrypoints import logging_setup
from chatbot.entrypoints.commands.administrators import people_problem
from chatbot.entrypoints.commands.command_line import say
from chatbot.entrypoints.commands.transfer import waiting_sessions
from chatbot.entrypoints.container.wiring import build
from chatbot.entrypoints.http.app import build_app
from chatbot.entrypoints.model_selection import with_model_name
from chatbot.entrypoints.server.malloc import return_large_blocks
from chatbot.entrypoints.server.metrics_server import listen_for_metrics, serving_metrics
from chatbot.entrypoints.server.supervisor import ParentLink, Supervisor, WorkerFailed
from chatbot.entrypoints.server.uvicorn_server import (
    GRACE_S,
    Server,
    build_config,
    listen,
    load_config,
)
from chatbot.entrypoints.settings import Settings
from chatbot.entrypoints.settings.model import EMBEDDED, EMBEDDED_MODEL
from chatbot.entrypoints.settings.subject import SettingsError

logger = structlog.get_logger("chatbot.server")

_WORKERS_STOP_WITHIN_S = 3.0 * GRACE_S
"""Seconds that a worker has to end its responses, save its state and close its store."""

_ALLOCATIONS_BETWEEN_COLLECTIONS = 10_000
"""Python's own default is 700 (2,000 since 3.13)."""


def run(settings: Settings) -> None:
    """Serve until a signal stops the service.

    Raises:
        SettingsError: the address, the certificate, the model or the store is unusable.
    """
    settings = with_model_name(settings)
    with listen(settings) as sock, ExitStack() as stack:
        metrics = listen_for_metrics(settings.telemetry.metrics_port)
        if metrics is not None:
            stack.enter_context(metrics)
        use = build(settings)
        config = load_config(build_config(build_app(settings, use), settings))
        problem = asyncio.run(check_store(use.storage, settings))
        print_banner(settings, sock.getsockname()[1], problem)
        tune_gc()
        return_large_blocks()
        if settings.http.workers > 1:
            _run_workers(settings, sock, metrics)
        else:
            with serving_metrics(metrics, use.telemetry.exposition):
                Server(config, use.chat).run(sockets=[sock])


def _run_workers(settings: Settings, sock: socket.socket, metrics: socket.socket | None) -> None:
    """Pass the sockets and the current settings to several processes."""
    with tempfile.TemporaryDirectory(prefix="chatbot-") as folder:
        work = partial(_work, settings, sock, metrics, Path(folder))
        supervisor = Supervisor(work, settings.http.workers, stop_within_s=_WORKERS_STOP_WITHIN_S)
        _supervise(supervisor, sock)


def _supervise(supervisor: Supervisor, sock: socket.socket) -> None:
    try:
        supervisor.run(on_stop=sock.close)
    except WorkerFailed as error:
        logger.error("the service is stopping: %s", error)  # noqa: TRY400 # the worker has logged the cause
        sys.exit(1)


def _work(
    settings: Settings,
    sock: socket.socket,
    metrics: socket.socket | None,
    folder: Path,
    parent: ParentLink,
) -> None:
    """Serve in a worker, with its own use cases. `folder` is where workers reach each other."""
    stream = logging_setup.configure(settings.log.level, settings.log.format, with_pid=True)
    place = Workers(folder=folder, number=parent.number, count=settings.http.workers)
    use = build(settings, workers=place)
    config = build_config(build_app(settings, use), settings)
    tune_gc()
    return_large_blocks()
    server = Server(config, use.chat, on_start=lambda: parent.watch(server.stop))
    try:
        with serving_metrics(metrics, use.telemetry.exposition):
            server.run(sockets=[sock])
    finally:
        stream.drain(logging_setup.EXIT_WITHIN_S)


def tune_gc() -> None:
    """Run the cyclic garbage collector less often, and never on imported modules.

    This saves a seventh of a turn's CPU, and costs about 5 MiB of uncollected cycles.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(_ALLOCATIONS_BETWEEN_COLLECTIONS)


async def check_store(storage: Storage, settings: Settings) -> str | None:
    """Open and close the store, so that an error is one line now instead of a failed startup later.

    Returns the reason if no user can log in; applications with a key need no users.
    """
    try:
        async with storage:
            await storage.check()
            # a broken manual edit: log-ins report it, and so does doctor
            with suppress(StorageFailure):
                return await people_problem(storage, settings)
            return None
    except StorageFailure as error:
        raise SettingsError(f"STORAGE_URL: {error} Run `chatbot doctor` for details.") from error


def print_banner(settings: Settings, port: int, people: str | None) -> None:
    """Print where the data is and the service listens; warn of a public address without TLS.

    On stderr if stdout is for the events of the audit.
    """
    line = partial(say, err=settings.audit.stdout)
    line(f"data: {settings.storage.url}")
    scheme = "https" if settings.http.tls_cert_file else "http"
    host = f"[{settings.http.host}]" if ":" in settings.http.host else settings.http.host
    url = f"{scheme}://{host}:{port}"
    waiting = waiting_sessions(settings.storage.url)
    if waiting:
        folder = settings.storage.url.local_folder
        line(f"legacy sessions to import: {waiting} (`chatbot import {folder}`)")
    if people is not None:
        line(f"people: {people}")
    name = settings.model.name
    line(f"model: {EMBEDDED if name == EMBEDDED_MODEL else name}")
    line(f"serving: {url}" + (f" (try {url}/docs)" if settings.http.docs_enabled else ""))
    if not (
        settings.http.is_loopback or settings.http.tls_cert_file or settings.http.trusted_proxies
    ):
        logger.warning(
            "public address without TLS or proxy: API keys and passwords are sent in clear text",
            host=settings.http.host,
        )
