"""The ASGI application: routes, error handlers and the guard around the use cases."""

from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager

from fastapi import FastAPI
from fastapi.routing import APIRoute
from fastapi.telemetry import TelemetryConfig
from starlette.middleware.cors import CORSMiddleware

from chatbot import __version__
from chatbot.application.prompt_texts import texts_in
from chatbot.entrypoints import logging_setup
from chatbot.entrypoints.container.parts import random_id
from chatbot.entrypoints.container.use_cases import UseCases
from chatbot.entrypoints.container.wiring import build
from chatbot.entrypoints.http import error_handlers
from chatbot.entrypoints.http.access_log import AccessLog
from chatbot.entrypoints.http.flows import register_flows
from chatbot.entrypoints.http.guard import Guard
from chatbot.entrypoints.http.native import native_surface
from chatbot.entrypoints.http.openapi import completed
from chatbot.entrypoints.http.refusal_log import RefusalLog
from chatbot.entrypoints.http.surfaces import Surface, Surfaces
from chatbot.entrypoints.lifecycle import opened
from chatbot.entrypoints.model_selection import with_model_name
from chatbot.entrypoints.settings import Settings
from chatbot.entrypoints.settings.loading import is_developer_mode, load_settings
from chatbot.entrypoints.web import docs_page

_NO_OWN_TELEMETRY: TelemetryConfig = {
    "tracing": False,
    "metrics": False,
    "logs": False,
    "operation_spans": False,
    "auto_configure": False,
}
"""FastAPI's spans have paths with ids and query strings, continue anyone's trace, and its events have
the texts of errors. `Telemetry.around` reports requests instead."""


def create_app() -> FastAPI:
    """Factory for uvicorn: returns the application for this process's settings."""
    settings = with_model_name(load_settings())
    logging_setup.configure(settings.log.level, settings.log.format)
    return build_app(settings, build(settings))


def build_app(
    settings: Settings, use: UseCases, *, more_surfaces: Sequence[Surface] = ()
) -> FastAPI:
    """Returns the application around the use cases, which it opens and closes."""

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncGenerator[None]:
        async with opened(use):
            if is_developer_mode():
                register_flows(use)
            yield

    root_path = settings.http.root_path.rstrip("/")
    app = FastAPI(
        # in English, as the pages that show it
        title=settings.assistant.name or texts_in(settings.assistant.language or "en").name,
        version=__version__,
        lifespan=lifespan,
        openapi_url=None,  # served by web/docs_page.py
        redirect_slashes=False,
        servers=[{"url": root_path}] if root_path else None,
        generate_unique_id_function=_operation_id,
        telemetry=_NO_OWN_TELEMETRY,
    )
    app.state.use_cases = use
    error_handlers.install(app)
    surfaces = Surfaces([native_surface(use), *more_surfaces])
    for router in (router for surface in surfaces for router in surface.routers):
        app.include_router(router)
    if settings.http.docs_enabled:
        app.include_router(docs_page.router(root_path))
    _add_layers(app, use, surfaces)
    app.openapi = completed(app, surfaces)  # type: ignore[method-assign] # FastAPI's documented way
    return app


def _add_layers(app: FastAPI, use: UseCases, surfaces: Surfaces) -> None:
    """Add what surrounds the routes; the layer that is added last is the outermost."""
    settings = use.settings
    allowed_hosts = tuple(map(str.lower, settings.http.allowed_hosts))
    app.add_middleware(Guard, surfaces=surfaces, allowed_hosts=allowed_hosts)
    app.add_middleware(RefusalLog, note=use.refusals.note)
    if settings.http.cors_allow_origins:
        app.add_middleware(
            CORSMiddleware,
            allow_origins=settings.http.cors_allow_origins,
            allow_methods=["GET", "POST", "PUT", "PATCH", "DELETE"],
            allow_headers=["Authorization", "Content-Type", "If-Match", "X-API-Key"],
            expose_headers=["ETag", "X-Request-Id", "Retry-After", "RateLimit", "RateLimit-Policy"],
        )
    app.add_middleware(AccessLog, new_id=random_id, is_tls=settings.http.tls_cert_file is not None)
    app.add_middleware(use.telemetry.around)


def _operation_id(route: APIRoute) -> str:
    return f"{route.tags[0] if route.tags else 'chatbot'}_{route.name}"
