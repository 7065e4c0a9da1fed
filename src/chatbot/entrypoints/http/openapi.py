"""The OpenAPI document, completed with what FastAPI does not know: security and errors.

Both are collected from the surface of a route, the route itself and its dependencies.
"""

from collections.abc import Callable, Iterator
from typing import Any

from fastapi import FastAPI
from fastapi.dependencies.models import Dependant
from fastapi.routing import APIRoute, iter_route_contexts
from pydantic.json_schema import models_json_schema

from chatbot.domain.errors import InvalidInput
from chatbot.entrypoints.http.body import METHODS, TOO_LARGE, TOO_SLOW, UNSUPPORTED
from chatbot.entrypoints.http.documented import documentation_of
from chatbot.entrypoints.http.errors import BAD_REQUEST, INTERNAL_ERROR, ErrorDetails, example_of
from chatbot.entrypoints.http.schemas.base import REQUEST_ID
from chatbot.entrypoints.http.surfaces import Surface, Surfaces

Json = dict[str, Any]

_DESCRIPTION = (
    "Press **Authorize** and enter the API key from `.env`. That is enough to call as an application. "
    "To call as a person, log in with `POST /auth/login` and also enter the `access_token` as the bearer "
    "token: the sessions then belong to that person only."
)
_SCHEMA = "#/components/schemas/{model}"


def completed(app: FastAPI, surfaces: Surfaces) -> Callable[[], Json]:
    """Returns the application's `openapi` function; the document is completed once."""
    plain = app.openapi

    def openapi() -> Json:
        if app.openapi_schema is not None:
            return app.openapi_schema
        document = plain()
        document["info"]["description"] = _DESCRIPTION
        components = document.setdefault("components", {})
        for name in ("HTTPValidationError", "ValidationError"):
            components.get("schemas", {}).pop(name, None)
        for surface in surfaces:
            components.setdefault("securitySchemes", {}).update(surface.security_schemes)
        _, schemas = models_json_schema(
            [(surface.errors.schema, "serialization") for surface in surfaces],
            ref_template=_SCHEMA,
        )
        components.setdefault("schemas", {}).update(schemas["$defs"])
        for context in iter_route_contexts(app.routes):
            operations = document["paths"].get(context.path_format, {})
            for method in context.methods or ():
                if isinstance(context.original_route, APIRoute) and method.lower() in operations:
                    surface = surfaces.of(context.path or "")
                    operation = operations[method.lower()]
                    _complete(operation, components, surface, context.original_route)
        return document

    return openapi


def _complete(operation: Json, components: Json, surface: Surface, route: APIRoute) -> None:
    summary, _, description = operation.pop("description", "").partition("\n\n")
    operation["summary"] = " ".join(summary.split()).removesuffix(".").replace("`", "")
    if description:
        operation["description"] = description
    operation["security"] = _security(surface, route)
    operation["responses"].pop("422", None)  # FastAPI's own form of it
    operation["responses"] |= _responses(components, surface, route)


def _security(surface: Surface, route: APIRoute) -> list[dict[str, list[str]]]:
    if route.path in surface.public:
        return []
    alone: dict[str, list[str]] = {surface.credential: []}
    found = [each for each in documentation_of(route.dependant) if each.tokens]
    needed = [each for each in found if each.needs_token]
    tokens = next((each.tokens for each in (*needed, *found)), ())
    with_tokens = [alone | {each: []} for each in tokens if each in surface.security_schemes]
    return with_tokens if needed else [alone, *with_tokens]


def _responses(components: Json, surface: Surface, route: APIRoute) -> Json:
    found: dict[int, dict[str, ErrorDetails]] = {}
    for details in _errors(surface, route):
        found.setdefault(details.status, {}).setdefault(details.code, details)
    return {
        str(status): _response(components, surface, list(codes.values()))
        for status, codes in sorted(found.items())
    }


def _errors(surface: Surface, route: APIRoute) -> Iterator[ErrorDetails]:
    """Yields what the guard, the framework, the dependencies and the route may answer."""
    yield BAD_REQUEST
    if route.path not in surface.public:
        yield from surface.credential_errors
    if METHODS.intersection(route.methods or ()):
        yield from (TOO_SLOW, TOO_LARGE, UNSUPPORTED)
    if route.body_field is not None or _has_query(route.dependant):
        yield example_of(InvalidInput)
    for documentation in documentation_of(route.dependant):
        yield from map(example_of, documentation.raises)
    yield INTERNAL_ERROR


def _has_query(dependant: Dependant) -> bool:
    return bool(dependant.query_params) or any(map(_has_query, dependant.dependencies))


def _response(components: Json, surface: Surface, errors: list[ErrorDetails]) -> Json:
    """Returns a reference to the response for the errors of one status."""
    codes = [details.code for details in errors]
    name = _name(surface, "_or_".join(codes))
    allowed: Json = {"enum": codes}
    for key in reversed(surface.errors.code_path):
        allowed = {"type": "object", "properties": {key: allowed}}
    schema = {"$ref": _SCHEMA.format(model=surface.errors.schema.__name__)}
    content = {
        "schema": {"allOf": [schema, allowed]},
        "examples": {one.code: _example(components, surface, one) for one in errors},
    }
    components.setdefault("responses", {})[name] = {
        "description": ", ".join(f"`{code}`" for code in codes),
        "content": {surface.errors.media_type: content},
    }
    return {"$ref": f"#/components/responses/{name}"}


def _example(components: Json, surface: Surface, details: ErrorDetails) -> Json:
    name = _name(surface, details.code)
    value = surface.errors.body(details, REQUEST_ID)
    components.setdefault("examples", {})[name] = {"value": value}
    return {"$ref": f"#/components/examples/{name}"}


def _name(surface: Surface, name: str) -> str:
    """Returns a name for a component, which two surfaces do not share."""
    return f"{surface.prefix}/{name}".strip("/").replace("/", ".")
