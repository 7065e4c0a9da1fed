"""docs/openapi.json is what the code does, and its routes are those of docs/access.md."""

import re
from typing import Any

import pytest
from fastapi.routing import iter_route_contexts

import openapi_document
from access_table import CALLS, Row
from chatbot.adapters.llm.scripted import ScriptedModel
from chatbot.entrypoints.container import build
from chatbot.entrypoints.http.app import build_app
from chatbot.entrypoints.http.native import PUBLIC_PATHS
from service import serving, settings_for_tests

PUBLIC, KEY, KEY_AND_USER, KEY_OR_USER = "public", "key", "key and user", "key, or key and user"
DOCS = {row.path for row in CALLS if re.match(r"/$|/docs|/openapi", row.path)}
DOCUMENTED = [row for row in CALLS if not re.match(r"HEAD |[A-Z]+ /(docs|openapi|$)", row.route)]
"""HEAD is that of its GET, without a body; the documents do not describe themselves."""
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


def test_access_table_has_exactly_the_routes_of_the_application() -> None:
    settings = settings_for_tests()
    app = build_app(settings, build(settings))
    routed = set()
    for route in iter_route_contexts(app.routes):
        assert route.methods, f"{route.path} takes any method: make each file of it a route"
        routed |= {f"{method} {route.path}" for method in route.methods}
    listed = {row.route for row in CALLS}
    lacking = [_line(route) for route in sorted(routed - listed)]
    assert not lacking, (
        "docs/access.md lacks these calls. Add the lines, with what each caller shall get "
        "(here: that of a public page):\n" + "\n".join(lacking)
    )
    assert not listed - routed, "docs/access.md has lines without a route: remove them"


def _line(route: str) -> str:
    public = next(row for row in CALLS if row.route == "GET /health")
    return f"| {' | '.join((f'`{route}`', *public.answers.values()))} |"


def test_every_call_has_one_line() -> None:
    lines = [row.said for row in CALLS]
    assert len(set(lines)) == len(lines)


def test_public_paths_of_the_edge_are_those_of_the_access_table() -> None:
    public = {row.path for row in CALLS if row.is_public}
    assert public == PUBLIC_PATHS, "native.py and docs/access.md differ about who needs no key"


def test_every_call_is_documented_but_the_documents(document: dict[str, Any]) -> None:
    listed = {row.route for row in DOCUMENTED}
    assert operations_of(document).keys() == listed


def test_document_declares_who_may_call_as_the_access_table_does(document: dict[str, Any]) -> None:
    declared = {name: found["security"] for name, found in operations_of(document).items()}
    wanted = {row.route: SECURITY[_who(row)] for row in DOCUMENTED}
    assert declared == wanted


def _who(row: Row) -> str:
    if row.is_public:
        return PUBLIC
    if row.answers["bad token"] == row.answers["key"]:
        return KEY  # tokens are not looked at
    return KEY_AND_USER if row.answers["key"].startswith("401") else KEY_OR_USER


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
    assert (set(switched_off), set(shown)) == ({404}, {200, 307})
