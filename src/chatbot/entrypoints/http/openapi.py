"""The OpenAPI document, completed with what FastAPI does not know: security, problems, examples."""

from collections.abc import Callable
from typing import Any

from fastapi import FastAPI

from chatbot.entrypoints.http import examples
from chatbot.entrypoints.http.native import PUBLIC_PATHS
from chatbot.entrypoints.http.problem import PROBLEM

Json = dict[str, Any]

_DESCRIPTION = (
    "Press **Authorize** and enter the API key, which is in `.env`; that is enough to "
    "call as an application. To call as a person, log in with `POST /auth/login` and "
    "enter its `access_token` as the bearer token too: the sessions then belong to that "
    "person alone."
)

_SECURITY_SCHEMES: Json = {
    "api_key": {
        "type": "apiKey",
        "in": "header",
        "name": "X-API-Key",
        "description": "Identifies the calling application.",
    },
    "bearer": {
        "type": "http",
        "scheme": "bearer",
        "bearerFormat": "JWT",
        "description": "Identifies the user: the `access_token` of `POST /auth/login`.",
    },
}


def completed(app: FastAPI) -> Callable[[], Json]:
    """Returns the application's `openapi` function; the document is completed once."""
    plain = app.openapi

    def openapi() -> Json:
        if app.openapi_schema is not None:
            return app.openapi_schema
        document = plain()
        document["info"]["description"] = _DESCRIPTION
        document["components"] |= {
            "securitySchemes": _SECURITY_SCHEMES,
            "examples": {code: {"value": one} for code, one in examples.PROBLEMS.items()},
        }
        for path, operations in document["paths"].items():
            for method, operation in operations.items():
                _complete(operation, f"{method.upper()} {path}", _security_of(path))
        return document

    return openapi


def _complete(operation: Json, call: str, security: list[dict[str, list[str]]]) -> None:
    operation["summary"] = operation.pop("description").removesuffix(".").replace("`", "")
    operation["security"] = security
    example = examples.EXAMPLES[call]
    for status, answer in operation["responses"].items():
        content = answer["content"]
        if status == "default":
            problem = content.pop("application/json")
            problem["examples"] = {
                code: {"$ref": f"#/components/examples/{code}"} for code in example.problems
            }
            content[PROBLEM.media_type] = problem
        else:
            content["application/json"]["example"] = example.answer
    if example.body is not None:
        operation["requestBody"]["content"]["application/json"]["example"] = example.body


def _security_of(path: str) -> list[dict[str, list[str]]]:
    key: dict[str, list[str]] = {"api_key": []}
    both = {**key, "bearer": []}
    if path in PUBLIC_PATHS:
        return []
    return {"/me": [both], "/auth/login": [key]}.get(path, [key, both])
