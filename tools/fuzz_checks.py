"""What schemathesis checks beyond the OpenAPI document: problems, headers, and nothing echoed."""

import json
from collections.abc import Iterator, Mapping
from http import HTTPStatus
from os import environ
from pathlib import Path
from typing import Any
from urllib.request import Request, urlopen

import schemathesis
from schemathesis import AuthContext, Case, CheckContext, Response

DOCUMENT = (Path(__file__).parent.parent / "docs" / "openapi.json").read_text(encoding="utf-8")
HEADERS = {
    "cache-control": "no-store",
    "referrer-policy": "no-referrer",
    "x-content-type-options": "nosniff",
    "x-frame-options": "DENY",
}
CODES = {  # those of the contract that a fuzzer can meet
    400: {"bad_request"},
    401: {"unauthenticated", "invalid_api_key", "invalid_credentials", "invalid_token"},
    403: {"forbidden", "password_change_required"},
    404: {"not_found"},
    405: {"method_not_allowed"},
    406: {"not_acceptable"},
    409: {"session_busy", "conflict", "last_administrator", "session_held", "too_many_sessions"},
    412: {"changed_meanwhile"},
    413: {"prompt_too_long", "body_too_large"},
    415: {"unsupported_media_type"},
    422: {"invalid_request", "prompt_refused"},
    429: {"rate_limited", "budget_exhausted"},
}
LOGIN = json.loads(environ.get("FUZZ_LOGIN", "null"))
"""How to log in again: the address, the headers and the body of the call. None without a user."""
LOG_IN_EVERY_S = 2
KEYS = {"type", "title", "status", "detail", "code", "instance"}
SHORTEST = 6
"""Characters from which on a text counts as repeated: shorter ones are found by chance."""


class LoggedIn:
    """Calls as a user, who logs in again and again: some calls end the sign-in, as they are made to."""

    def get(self, _: Case[Any], __: AuthContext) -> str:
        request = Request(LOGIN["url"], LOGIN["body"].encode(), LOGIN["headers"])  # ours
        with urlopen(request) as answer:
            return f"Bearer {json.load(answer)['access_token']}"

    def set(self, case: Case[Any], data: str, _: AuthContext) -> None:
        case.headers["Authorization"] = data


if LOGIN is not None:
    schemathesis.auth(refresh_interval=LOG_IN_EVERY_S)(LoggedIn)


@schemathesis.check
def every_answer_has_an_id_and_security_headers(
    _: CheckContext, response: Response, __: Case[Any]
) -> None:
    for name, value in HEADERS.items():
        assert response.headers.get(name) == [value], f"{name}: {response.headers.get(name)}"
    [request_id] = response.headers["x-request-id"]
    assert len(request_id) == 32, request_id


@schemathesis.check
def every_error_is_a_problem(_: CheckContext, response: Response, __: Case[Any]) -> None:
    if response.status_code < HTTPStatus.BAD_REQUEST:
        return
    assert response.headers["content-type"] == ["application/problem+json"]
    problem = json.loads(response.content)
    assert problem.keys() - {"errors", "document_id"} == KEYS, sorted(problem)
    assert problem["status"] == response.status_code
    assert problem["code"] in CODES[response.status_code], problem["code"]
    assert [problem["instance"]] == response.headers["x-request-id"]
    assert response.status_code != HTTPStatus.UNAUTHORIZED or "www-authenticate" in response.headers


@schemathesis.check
def no_error_repeats_what_was_sent(_: CheckContext, response: Response, case: Case[Any]) -> None:
    if response.status_code < HTTPStatus.BAD_REQUEST:
        return
    problem = json.loads(response.content)
    reported = "\n".join(texts_of([problem["detail"], problem.get("errors", [])]))
    sent = texts_of([case.path_parameters, case.query, case.body])
    repeated = {text for text in sent if len(text) >= SHORTEST and text in reported}
    assert not {text for text in repeated if text not in DOCUMENT}, "the input is repeated"


@schemathesis.check
def every_stream_ends_well(_: CheckContext, response: Response, __: Case[Any]) -> None:
    if response.headers["content-type"][0].startswith("text/event-stream"):
        last = response.content.decode().strip().rpartition("\n\n")[2]
        assert last.startswith("event: done\n"), last


def texts_of(value: object) -> Iterator[str]:
    """Every text in it, keys as well."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, Mapping):
        for pair in value.items():
            yield from texts_of(pair)
    elif isinstance(value, list | tuple):
        for inner in value:
            yield from texts_of(inner)
