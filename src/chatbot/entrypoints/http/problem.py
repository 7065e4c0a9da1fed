"""How the native API shows an error: a problem document (RFC 9457)."""

from http import HTTPStatus

from chatbot.entrypoints.http.errors import ErrorDetails, ErrorFormat
from chatbot.entrypoints.http.schemas.problem import Problem

_TITLES = {413: "Content Too Large", 422: "Unprocessable Content"}
"""The names in RFC 9110, which Python uses since 3.13; fixed so that all versions answer alike."""


def problem_body(details: ErrorDetails, request_id: str) -> dict[str, object]:
    """Returns the problem document; `instance` is the request id."""
    body: dict[str, object] = {
        "type": "about:blank",
        "title": _TITLES.get(details.status) or HTTPStatus(details.status).phrase,
        "status": details.status,
        "detail": details.detail,
        "code": details.code,
        "instance": request_id,
    }
    if details.session_id is not None:
        body |= {"session_id": details.session_id, "turn_id": details.turn_id}
    return body | ({"errors": list(details.errors)} if details.errors else {})


PROBLEM = ErrorFormat(media_type="application/problem+json", body=problem_body, schema=Problem)
