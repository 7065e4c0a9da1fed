"""docs/openapi.json matches the code, and its routes are those of docs/access.md."""

import copy
import re
from typing import Any

import pytest
from fastapi.routing import iter_route_contexts
from schemathesis.specs.openapi.definitions import OPENAPI_31_VALIDATOR

import openapi_document
from access_table import CALLS, Row
from chatbot.adapters.llm.scripted import ScriptedModel
from chatbot.entrypoints.container.wiring import build
from chatbot.entrypoints.http.app import build_app
from chatbot.entrypoints.http.native import PUBLIC_PATHS
from partner_surface import Keys, partner_surface
from service import serving, settings_for_tests

PUBLIC, KEY, KEY_AND_USER, KEY_OR_USER = "public", "key", "key and user", "key, or key and user"
DOCS = {row.path for row in CALLS if re.match(r"/$|/docs|/openapi", row.path)}
DOCUMENTED = [row for row in CALLS if not re.match(r"HEAD |[A-Z]+ /(docs|openapi|$)", row.route)]
"""HEAD mirrors GET without a body; the documentation routes are undocumented."""
SECURITY: dict[str, list[dict[str, list[str]]]] = {
    PUBLIC: [],
    KEY: [{"api_key": []}],
    KEY_AND_USER: [{"api_key": [], "bearer": []}, {"api_key": [], "end_user": []}],
    KEY_OR_USER: [
        {"api_key": []},
        {"api_key": [], "bearer": []},
        {"api_key": [], "end_user": []},
    ],
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
        "(here: that of a similar call):\n" + "\n".join(lacking)
    )
    assert not listed - routed, "docs/access.md has lines without a route: remove them"


def _line(route: str) -> str:
    like = "GET /admin/roles" if " /admin" in route else "GET /me"
    similar = next(row for row in CALLS if row.route == like)
    return f"| {' | '.join((f'`{route}`', *similar.cells))} |"


def test_access_table_has_one_line_for_each_call() -> None:
    lines = [row.cell for row in CALLS]
    assert len(set(lines)) == len(lines)


def test_public_paths_are_those_of_the_access_table() -> None:
    public = {row.path for row in CALLS if row.is_public}
    assert public == PUBLIC_PATHS, "native.py and docs/access.md differ about who needs no key"


def test_every_call_except_the_documentation_itself_is_documented(document: dict[str, Any]) -> None:
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
    if row.route == "POST /auth/logout":
        return KEY_OR_USER  # a refresh token in the body names the user, too
    return KEY_AND_USER if row.answers["key"].startswith("401") else KEY_OR_USER


def test_document_is_valid_openapi(document: dict[str, Any]) -> None:
    assert OPENAPI_31_VALIDATOR.is_valid(document)
    broken = copy.deepcopy(document)
    broken["paths"]["/chat"]["post"]["responses"]["409"] = {"unknown": 1}
    assert not OPENAPI_31_VALIDATOR.is_valid(broken)


def errors_of(document: dict[str, Any], operation: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """The media types of each error response by its status."""
    named = {s: one["$ref"] for s, one in operation["responses"].items() if s > "3"}
    responses = document["components"]["responses"]
    return {s: responses[ref.rpartition("/")[2]]["content"] for s, ref in named.items()}


def codes_of(document: dict[str, Any], operation: dict[str, Any]) -> set[str]:
    """The possible responses of a call in the notation of docs/access.md: `404 not_found`."""
    return {
        f"{status} {code}"
        for status, content in errors_of(document, operation).items()
        for code in content["application/problem+json"]["examples"]
    }


def test_every_error_has_a_response_that_lists_its_codes(document: dict[str, Any]) -> None:
    for name, operation in operations_of(document).items():
        errors = errors_of(document, operation)
        assert {"400", "500"} <= errors.keys(), name
        for status, content in errors.items():
            assert content.keys() == {"application/problem+json"}, name
            [problem] = content.values()
            schema, allowed = problem["schema"]["allOf"]
            assert schema == {"$ref": "#/components/schemas/Problem"}
            assert allowed["properties"]["code"]["enum"] == list(problem["examples"]), name
            for code in problem["examples"]:
                example = document["components"]["examples"][code]["value"]
                assert example["status"] == int(status), code


def test_errors_are_those_of_the_call_and_no_others(document: dict[str, Any]) -> None:
    found = {name: codes_of(document, one) for name, one in operations_of(document).items()}
    assert found["GET /health"] == {"400 bad_request", "500 internal_error"}
    assert found["GET /me"] == {
        *("400 bad_request", "500 internal_error", "503 storage_unavailable"),
        *("401 unauthenticated", "401 invalid_api_key", "401 invalid_token", "401 unknown_user"),
        *("403 forbidden", "403 password_change_required", "429 rate_limited"),
        *("503 audit_unavailable", "507 storage_full"),
    }
    only_in_chat = found["POST /chat"] - set().union(
        *(found[n] for n in found if n != "POST /chat")
    )
    assert only_in_chat == {
        *("401 revoked", "413 prompt_too_long", "422 prompt_refused", "502 model_error"),
        *("503 model_unavailable", "504 model_timeout"),
    }
    assert "401 invalid_token" not in found["POST /auth/login"]
    assert "404 not_found" not in found["GET /sessions"]
    assert "422 invalid_request" not in found["DELETE /sessions/{session_id}"]


def test_every_error_of_the_access_table_is_documented(document: dict[str, Any]) -> None:
    operations = operations_of(document)
    for row in DOCUMENTED:
        errors = {answer for answer in row.answers.values() if answer > "4"}
        assert errors <= codes_of(document, operations[row.route]), row.cell


def test_every_field_and_parameter_has_a_description(document: dict[str, Any]) -> None:
    schemas = document["components"]["schemas"]
    for name, schema in schemas.items():
        for field, one in schema.get("properties", {}).items():
            if one.keys() == {"$ref"}:  # pydantic omits what the schema says itself
                one = schemas[one["$ref"].rpartition("/")[2]]  # noqa: PLW2901
            assert one.get("description", "").endswith("."), f"{name}.{field}"
    for name, operation in operations_of(document).items():
        assert operation["summary"], name
        for parameter in operation.get("parameters", []):
            assert parameter["description"].endswith("."), f"{name} {parameter['name']}"


def test_another_surface_is_documented_with_its_own_security_and_errors() -> None:
    settings = settings_for_tests()
    surface = partner_surface(Keys())
    document = build_app(settings, build(settings), more_surfaces=[surface]).openapi()
    assert OPENAPI_31_VALIDATOR.is_valid(document)
    operations = operations_of(document)
    assert operations["GET /partner/status"]["security"] == []
    assert operations["POST /partner/files"]["security"] == [{"partner_key": []}]
    assert operations["POST /chat"]["security"] == SECURITY[KEY_OR_USER]
    assert document["components"]["securitySchemes"].keys() == {
        *("api_key", "bearer", "end_user", "partner_key"),
    }
    errors = errors_of(document, operations["POST /partner/files"])
    assert errors.keys() == {"400", "401", "408", "413", "415", "422", "500"}
    [media_type] = errors["401"]
    schema, allowed = errors["401"][media_type]["schema"]["allOf"]
    assert (media_type, schema) == ("application/json", {"$ref": "#/components/schemas/Envelope"})
    assert allowed["properties"]["error"]["properties"]["code"]["enum"] == ["invalid_api_key"]
    example = document["components"]["examples"]["partner.invalid_api_key"]["value"]
    assert example["error"]["message"] == "Incorrect API key."


def test_operation_ids_are_unique_and_readable(document: dict[str, Any]) -> None:
    ids = [operation["operationId"] for operation in operations_of(document).values()]
    assert len(set(ids)) == len(ids)
    assert {"chat_chat", "sessions_new", "memory_put_summary"} <= set(ids)


async def test_documentation_can_be_disabled() -> None:
    settings = settings_for_tests(docs_enabled=False)
    async with serving(settings, model=ScriptedModel([])) as service:
        switched_off = [(await service.anonymous.get(path)).status_code for path in sorted(DOCS)]
    async with serving(model=ScriptedModel([])) as service:
        shown = [(await service.anonymous.get(path)).status_code for path in sorted(DOCS)]
    assert (set(switched_off), set(shown)) == ({404}, {200, 307})
