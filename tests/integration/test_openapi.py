"""docs/openapi.json is what the code does, and the code serves what is promised and no more."""

from typing import Any

import pytest

import openapi_document
from chatbot.adapters.llm.scripted import ScriptedModel
from chatbot.entrypoints.container import build_container
from chatbot.entrypoints.http.app import build_app
from chatbot.entrypoints.http.edge import PUBLIC_PATHS
from service import serving, settings_for_tests

PUBLIC, KEY, KEY_AND_USER, KEY_OR_USER = "public", "key", "key and user", "key, or key and user"
ROUTES = {  # every path that is promised, with who may call
    "GET /health": PUBLIC,
    "GET /ready": PUBLIC,
    "POST /auth/login": KEY,
    "GET /me": KEY_AND_USER,
    "POST /chat": KEY_OR_USER,
    "POST /sessions/new": KEY_OR_USER,
    "GET /sessions": KEY_OR_USER,
    "GET /sessions/{session_id}": KEY_OR_USER,
    "POST /sessions/{session_id}/reset": KEY_OR_USER,
    "DELETE /sessions/{session_id}": KEY_OR_USER,
    "GET /sessions/{session_id}/summary": KEY_OR_USER,
    "PUT /sessions/{session_id}/summary": KEY_OR_USER,
    "POST /sessions/{session_id}/summary/reset": KEY_OR_USER,
    "GET /sessions/{session_id}/memory": KEY_OR_USER,
    "PUT /sessions/{session_id}/memory": KEY_OR_USER,
    "POST /sessions/{session_id}/memory/reset": KEY_OR_USER,
}
DOCS = {  # public too, and none of them where DOCS_ENABLED is false
    *("/docs", "/docs/page.css", "/docs/initializer.js"),
    *("/docs/swagger-ui.css", "/docs/swagger-ui-bundle.js", "/openapi.json"),
}
SECURITY: dict[str, list[dict[str, list[str]]]] = {
    PUBLIC: [],
    KEY: [{"api_key": []}],
    KEY_AND_USER: [{"api_key": [], "bearer": []}],
    KEY_OR_USER: [{"api_key": []}, {"api_key": [], "bearer": []}],
}


@pytest.fixture(scope="module")
def document() -> dict[str, Any]:
    return openapi_document.document()


def operations_of(document: dict[str, Any]) -> dict[str, dict[str, Any]]:
    return {
        f"{method.upper()} {path}": operation
        for path, operations in document["paths"].items()
        for method, operation in operations.items()
    }


def test_the_versioned_document_is_current() -> None:
    versioned = openapi_document.FILE.read_text(encoding="utf-8")
    assert versioned == openapi_document.text(), f"write it again: {openapi_document.COMMAND}"


def test_routes_are_those_of_the_contract(document: dict[str, Any]) -> None:
    assert operations_of(document).keys() == ROUTES.keys()


def test_every_route_of_the_application_stands_in_a_table() -> None:
    settings = settings_for_tests()
    app = build_app(settings, build_container(settings))
    included = [getattr(route, "original_router", None) for route in app.routes]
    assert all(included)
    routes = [route for router in included if router for route in router.routes]
    assert {f"{method} {route.path}" for route in routes for method in route.methods} == (
        ROUTES.keys() | {f"GET {path}" for path in DOCS}
    )


def test_public_paths_are_exactly_these() -> None:
    public = {name.removeprefix("GET ") for name, who in ROUTES.items() if who is PUBLIC}
    assert public | DOCS == PUBLIC_PATHS


def test_every_route_declares_who_may_call(document: dict[str, Any]) -> None:
    declared = {name: found["security"] for name, found in operations_of(document).items()}
    assert declared == {name: SECURITY[who] for name, who in ROUTES.items()}


async def test_declared_security_is_what_a_caller_meets() -> None:
    async with serving(model=ScriptedModel([])) as service:
        for name, who in ROUTES.items():
            method, path = name.split(" ")
            anonymous = await service.anonymous.request(method, path)
            with_key = await service.client.request(method, path)
            assert (anonymous.status_code == 401) is (who is not PUBLIC), name
            assert (with_key.status_code == 401) is (who is KEY_AND_USER), name


def test_every_error_is_documented_as_a_problem(document: dict[str, Any]) -> None:
    for name, operation in operations_of(document).items():
        errors = {code: found for code, found in operation["responses"].items() if code > "3"}
        assert errors.keys() == {"default"}, name
        [media_type] = errors["default"]["content"]
        assert media_type == "application/problem+json", name


def test_operation_ids_are_unique_and_speak(document: dict[str, Any]) -> None:
    ids = [operation["operationId"] for operation in operations_of(document).values()]
    assert len(set(ids)) == len(ids)
    assert {"chat_chat", "sessions_new", "memory_put_summary"} <= set(ids)


async def test_documents_can_be_switched_off() -> None:
    settings = settings_for_tests(docs_enabled=False)
    async with serving(settings, model=ScriptedModel([])) as service:
        switched_off = [(await service.anonymous.get(path)).status_code for path in sorted(DOCS)]
    async with serving(model=ScriptedModel([])) as service:
        shown = [(await service.anonymous.get(path)).status_code for path in sorted(DOCS)]
    assert (switched_off, shown) == ([404] * 6, [200] * 6)
