"""Answers every error in the format of the surface on which it occurs."""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from functools import partial
from http import HTTPStatus
from typing import cast, get_args

from fastapi import FastAPI
from fastapi.exceptions import RequestValidationError
from fastapi.routing import APIRoute, iter_route_contexts
from pydantic import BaseModel
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import Scope

from chatbot.domain.errors import ChatbotError, cause_of
from chatbot.domain.ports.telemetry import ERROR_CODE
from chatbot.entrypoints.http.errors import ErrorDetails, details_of
from chatbot.entrypoints.http.surfaces import Surface

EXPECTED = (ChatbotError, RequestValidationError, HTTPException)
"""The expected exceptions; any other is a defect, and its traceback is logged."""


def install(app: FastAPI) -> None:
    """Answer every expected error of a route; the guard answers the others."""
    for kind in EXPECTED:
        app.add_exception_handler(kind, _answer)


async def _answer(request: Request, error: Exception) -> Response:
    details = details_of(
        error, partial(_allowed_fields, request), partial(_example_of_body, request)
    )
    if details.status == HTTPStatus.METHOD_NOT_ALLOWED:
        details = replace(details, headers=_allowed_methods(request))
    return error_response(request.scope, error, details)


def error_response(scope: Scope, error: Exception, details: ErrorDetails | None = None) -> Response:
    """Returns the response for an error, and keeps the cause of a server error for the log."""
    details = details or details_of(error)
    state = scope["state"]
    state[ERROR_CODE] = details.code
    if details.status >= HTTPStatus.INTERNAL_SERVER_ERROR:
        state["log"]["cause"] = cause_of(error)
    if details.session_id is not None:
        state["log"]["session_id"] = details.session_id
    return cast("Surface", state["surface"]).errors.response(details, state["request_id"])


def _allowed_fields(request: Request, location: Sequence[str | int]) -> Sequence[str]:
    """Returns the fields of the object at a location in the body of a request."""
    model = _model_of(request)
    for name in location[1:]:
        field = model.model_fields.get(str(name)) if model else None
        model = next(_models(field.annotation), None) if field else None
    return list(model.model_fields) if model else []


def _example_of_body(request: Request) -> object:
    """Returns the example of the schema of the body of a request."""
    model = _model_of(request)
    extra = model.model_config.get("json_schema_extra") if model else None
    examples = extra.get("examples") if isinstance(extra, dict) else None
    return examples[0] if isinstance(examples, list) else {}


def _model_of(request: Request) -> type[BaseModel] | None:
    """Returns the schema of the body of a request."""
    route = request.scope["route"]
    body = route.body_field if isinstance(route, APIRoute) else None
    return next(_models(body.field_info.annotation), None) if body else None


def _models(annotation: object) -> Iterator[type[BaseModel]]:
    """Yields the models in a type: the type itself, or the alternatives of a union."""
    for one in get_args(annotation) or (annotation,):
        if isinstance(one, type) and issubclass(one, BaseModel):
            yield one


def _allowed_methods(request: Request) -> dict[str, str]:
    """Returns every method of the path; the framework lists only those of its first route."""
    path = getattr(request.scope.get("route"), "path", None)
    methods = {
        method
        for route in iter_route_contexts(request.app.routes)
        if route.path == path
        for method in route.methods or ()
    }
    return {"Allow": ", ".join(sorted(methods))}
