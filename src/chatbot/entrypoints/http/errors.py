"""Maps errors to HTTP: a status, a stable `code` and a detail, in the format of each surface."""

import json
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any

from fastapi.exceptions import RequestValidationError
from pydantic import BaseModel
from starlette.exceptions import HTTPException
from starlette.responses import Response

from chatbot.domain import errors
from chatbot.entrypoints.http.rate_limit_headers import rate_limit_headers

AllowedFields = Callable[[Sequence[str | int]], Sequence[str]]
BodyExample = Callable[[], object]

_STATUS_AND_CODE: Mapping[type[Exception], tuple[int, str]] = {
    errors.InvalidInput: (422, "invalid_request"),
    errors.PromptTooLong: (413, "prompt_too_long"),
    errors.NotAcceptable: (406, "not_acceptable"),
    errors.Unauthenticated: (401, "unauthenticated"),
    errors.InvalidCredentials: (401, "invalid_credentials"),
    errors.InvalidToken: (401, "invalid_token"),
    errors.Revoked: (401, "revoked"),
    errors.UnknownUser: (401, "unknown_user"),
    errors.Forbidden: (403, "forbidden"),
    errors.PasswordChangeRequired: (403, "password_change_required"),
    errors.NotFound: (404, "not_found"),
    errors.Conflict: (409, "conflict"),
    errors.SessionBusy: (409, "session_busy"),
    errors.LastAdministrator: (409, "last_administrator"),
    errors.TooManySessions: (409, "too_many_sessions"),
    errors.TooManyDocuments: (409, "too_many_documents"),
    errors.DuplicateDocument: (409, "conflict"),
    errors.UnsupportedDocument: (415, "unsupported_media_type"),
    errors.ChangedMeanwhile: (412, "changed_meanwhile"),
    errors.SessionHeld: (409, "session_held"),
    errors.RateLimited: (429, "rate_limited"),
    errors.BudgetExhausted: (429, "budget_exhausted"),
    errors.ModelError: (502, "model_error"),
    errors.PromptRefused: (422, "prompt_refused"),
    errors.ModelUnavailable: (503, "model_unavailable"),
    errors.ModelTimeout: (504, "model_timeout"),
    errors.StorageUnavailable: (503, "storage_unavailable"),
    errors.AuditUnavailable: (503, "audit_unavailable"),
    errors.StorageFull: (507, "storage_full"),
    errors.ShuttingDown: (503, "shutting_down"),
}

_EXAMPLES: Mapping[type[Exception], str] = {
    errors.InvalidInput: "The prompt is empty.",
    errors.PromptTooLong: "A prompt can have at most 4000 characters.",
    errors.Unauthenticated: "This call requires a user: log in and send the Authorization header.",
    errors.Forbidden: "You are not allowed to do this.",
    errors.NotAcceptable: (
        "The response is not available in a format of the header Accept. Available: text/markdown, "
        "application/json."
    ),
    errors.UnsupportedDocument: "Files of this type are not supported. Supported: txt, md, html, csv.",
    errors.Conflict: "The request conflicts with the current state.",
    errors.RateLimited: "Too many failed log-ins. Try again later.",
    errors.BudgetExhausted: "The token budget is used up: sales-monthly.",
    errors.ModelError: "The language model returned no usable answer.",
    errors.StorageUnavailable: "The store cannot be read or written.",
    errors.StorageFull: "The store has no space left.",
}
"""Example details of errors whose class has no default sentence."""

_FRAMEWORK_CODES = {
    400: "bad_request",
    404: "not_found",
    405: "method_not_allowed",
    422: "invalid_request",
}

_FRAMEWORK_SENTENCES = {
    404: "The API has no such path.",
    405: "The path does not support this method. The header Allow lists those that it supports.",
}

_UNREAD_BODY = {"request_timeout", "body_too_large"}
"""The rest of the body may still be in transit and is not worth reading."""

_NOT_TO_BE_RETRIED = {"session_busy", "budget_exhausted"}
"""OpenAI's SDKs retry 409 and 429 automatically, unless a header says otherwise."""

_LONGEST_PAUSE_S = 60
"""OpenAI's SDKs ignore a longer `Retry-After`, and would call again too soon."""

MAX_ERRORS = 20
"""Maximum number of errors listed in a 422: a body can contain thousands."""

MAX_RETRY_AFTER_S = 3600
"""The longest wait that a provider may ask our callers for."""

_RETRY_AFTER_S = {
    "session_busy": 1,
    "shutting_down": 5,
    "storage_unavailable": 5,
    "audit_unavailable": 5,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class ErrorDetails:
    """An error as HTTP sends it, whatever format its surface gives it.

    `retry_after_s` becomes the header `Retry-After`. `session_id` and `turn_id` locate a question
    that was stored but not answered, `document_id` identifies the existing document.
    """

    status: int
    code: str
    detail: str
    errors: tuple[dict[str, object], ...] = ()
    retry_after_s: float | None = None
    headers: Mapping[str, str] | None = None
    session_id: str | None = None
    turn_id: str | None = None
    document_id: str | None = None

    def all_headers(self) -> dict[str, str]:
        """Returns the headers of the response, apart from those about its body."""
        headers = dict(self.headers or {})
        if self.retry_after_s is not None:
            headers["Retry-After"] = str(math.ceil(max(1.0, self.retry_after_s)))
        if self.status == HTTPStatus.UNAUTHORIZED:
            headers.setdefault("WWW-Authenticate", "Bearer")  # RFC 9110, section 15.5.2
        if self.code in _UNREAD_BODY:
            headers["Connection"] = "close"
        is_long = self.status == HTTPStatus.TOO_MANY_REQUESTS and (
            self.retry_after_s is not None and self.retry_after_s > _LONGEST_PAUSE_S
        )
        if is_long or self.code in _NOT_TO_BE_RETRIED:
            headers["x-should-retry"] = "false"
        return headers


@dataclass(frozen=True, slots=True, kw_only=True)
class ErrorFormat:
    """How a surface shows an error.

    `body` takes the details and the request id; `code_path` leads to the code in what it returns.
    """

    media_type: str
    body: Callable[[ErrorDetails, str], Mapping[str, object]]
    schema: type[BaseModel]
    code_path: tuple[str, ...] = ("code",)

    def response(self, details: ErrorDetails, request_id: str) -> Response:
        """Returns the response for an error."""
        content = json.dumps(self.body(details, request_id), ensure_ascii=False).encode()
        return Response(
            content, details.status, headers=details.all_headers(), media_type=self.media_type
        )


class Rejected(HTTPException):
    """A request that is rejected before a route sees it.

    As an `HTTPException` it passes through the framework unchanged while a form is being read.
    """

    def __init__(self, details: ErrorDetails) -> None:
        super().__init__(details.status, details.detail)
        self.details = details


BAD_REQUEST = ErrorDetails(
    status=400, code="bad_request", detail="A header that may occur only once is repeated."
)
INTERNAL_ERROR = ErrorDetails(
    status=500,
    code="internal_error",
    detail="Internal error: the log has the cause under this request id.",
)


def example_of(kind: type[errors.ChatbotError]) -> ErrorDetails:
    """Returns an example of an error of this kind, for the OpenAPI document."""
    status, code = _status_and_code(kind)
    detail = _EXAMPLES.get(kind) or kind.sentence or HTTPStatus(status).phrase
    where: dict[str, object] = {"loc": ["body", "prompt"], "msg": detail}
    listed = (where,) if code == "invalid_request" else ()
    return ErrorDetails(status=status, code=code, detail=detail, errors=listed)


def details_of(
    error: Exception, fields: AllowedFields = lambda _: (), body: BodyExample = lambda: None
) -> ErrorDetails:
    """Returns the problem for an error, never including its cause or the rejected input.

    `fields` returns the allowed fields at the location of an unknown one.
    """
    if isinstance(error, RequestValidationError):
        return _invalid(error, fields, body)
    if isinstance(error, Rejected):
        return error.details
    if isinstance(error, HTTPException):
        code = _FRAMEWORK_CODES.get(error.status_code, "bad_request")
        detail = _FRAMEWORK_SENTENCES.get(error.status_code, error.detail)
        return ErrorDetails(
            status=error.status_code, code=code, detail=detail, headers=error.headers
        )
    if isinstance(error, errors.ChatbotError):
        return _known(error)
    return INTERNAL_ERROR


def _status_and_code(kind: type[errors.ChatbotError]) -> tuple[int, str]:
    known = (_STATUS_AND_CODE[one] for one in kind.__mro__ if one in _STATUS_AND_CODE)
    return next(known, (INTERNAL_ERROR.status, INTERNAL_ERROR.code))


def _known(error: errors.ChatbotError) -> ErrorDetails:
    status, code = _status_and_code(type(error))
    where = error.where if isinstance(error, errors.InvalidInput) else ()
    quotas = error.quotas if isinstance(error, errors.RateLimited) else ()
    return ErrorDetails(
        status=status,
        code=code,
        detail=str(error),
        errors=({"loc": ["body", *where], "msg": str(error)},) if where else (),
        retry_after_s=_retry_after_s(error) or _RETRY_AFTER_S.get(code),
        headers=rate_limit_headers(quotas),
        session_id=error.session_id,
        turn_id=error.turn_id,
        document_id=error.document_id if isinstance(error, errors.DuplicateDocument) else None,
    )


def _retry_after_s(error: errors.ChatbotError) -> float | None:
    if isinstance(error, errors.RateLimited):
        return error.retry_after_s
    asked_s = error.retry_after_s if isinstance(error, errors.ModelFailure) else None
    return None if asked_s is None else min(MAX_RETRY_AFTER_S, asked_s)


def _invalid(
    error: RequestValidationError, fields: AllowedFields, body: BodyExample
) -> ErrorDetails:
    """Lists locations and reasons, never values: pydantic's own message may repeat the input."""
    listed = error.errors()[:MAX_ERRORS]
    found: tuple[dict[str, object], ...] = tuple(
        {"loc": _location(one), "msg": _message(one, fields, body)} for one in listed
    )
    detail = "The request is invalid: see `errors`."
    return ErrorDetails(status=422, code="invalid_request", detail=detail, errors=found)


def _location(one: Mapping[str, Any]) -> list[str | int]:
    """Returns the location of an error, without the name of an unknown field, which is input."""
    location = list(one["loc"])
    for free in ("profile", "preferences"):
        if free in location:
            return location[: location.index(free) + 1]
    return location[:-1] if one["type"] == "extra_forbidden" else location


def _message(one: Mapping[str, Any], fields: AllowedFields, body: BodyExample) -> str:
    if one["type"] == "missing" and tuple(one["loc"]) == ("body",):
        return f"The call requires a body in JSON, such as {json.dumps(body())}"
    if one["type"] != "extra_forbidden":
        return str(one["msg"])[:200]
    names = ", ".join(fields(_location(one)))
    return f"Unknown field. Allowed: {names or 'none'}."
