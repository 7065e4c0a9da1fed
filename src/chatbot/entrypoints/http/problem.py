"""The error format of the native API: a problem document (RFC 9457)."""

from http import HTTPStatus

from pydantic import Field

from chatbot.entrypoints.http.errors import ErrorDetails, ErrorFormat
from chatbot.entrypoints.http.schemas.base import Answer

_TITLES = {413: "Content Too Large", 422: "Unprocessable Content"}
"""The names in RFC 9110, which Python uses since 3.13; defined here so that all versions return the
same.
"""


class FieldProblem(Answer):
    loc: list[str | int] = Field(description="The location of the field, such as `body`, `prompt`.")
    msg: str = Field(description="What is wrong with the field; never contains the input.")


class Problem(Answer):
    """An error (RFC 9457)."""

    type: str = Field(description="Always `about:blank`; use `code` instead.")
    title: str = Field(description="The standard name of the status code.")
    status: int = Field(description="The status code of the response.")
    detail: str = Field(description="A sentence for people; the wording may change.")
    code: str = Field(description="The kind of error, for programs; it never changes.")
    instance: str = Field(description="The request id, also in `X-Request-Id` and in the log.")
    errors: list[FieldProblem] | None = Field(
        default=None, description="The invalid fields, at most 20."
    )
    session_id: str | None = Field(
        default=None, description="Present if the turn failed after its question was stored."
    )
    turn_id: str | None = Field(default=None, description="Present together with `session_id`.")
    document_id: str | None = Field(
        default=None,
        description="The id of the existing document, if the same file is already stored.",
    )


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
    if details.document_id is not None:
        body["document_id"] = details.document_id
    return body | ({"errors": list(details.errors)} if details.errors else {})


PROBLEM = ErrorFormat(media_type="application/problem+json", body=problem_body, schema=Problem)
