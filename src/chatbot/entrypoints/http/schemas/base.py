"""Shared by all schemas."""

import re
from collections.abc import Collection
from datetime import UTC, datetime
from typing import Annotated, cast

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field
from pydantic.config import JsonDict

from chatbot.domain.text import rfc3339

SESSION_ID = "0123456789abcdef" * 2
TURN_ID = "b94f8afc8be6ad8dbb5ebb3a46e176d7"
DOCUMENT_ID = "5f2b9a1c0d3e4f60718293a4b5c6d7e8"
REQUEST_ID = "f1d6e8a07b6c4ae39a4f1c5d0b2e8f37"
CREATED_AT, UPDATED_AT = "2026-01-31T09:30:00.123456Z", "2026-01-31T09:30:02.654321Z"
PROMPT = "Hello, my name is Ana. Remind me to call HR."
TITLE = "Calls to make"
TEXT = "Noted, Ana: call HR."
NOTICE = "You are talking to an artificial intelligence system; its answers may contain errors."

Json = dict[str, object]

_RFC3339 = re.compile(
    r"\d{4}-\d\d-\d\d[Tt]\d\d:\d\d:\d\d(\.\d{1,9})?([Zz]|[+-]\d\d:\d\d)", re.ASCII
)


def _require_rfc3339(raw: object) -> object:
    """Rejects numbers and dates, which pydantic would accept as times."""
    if not isinstance(raw, str) or _RFC3339.fullmatch(raw) is None:
        raise ValueError("must be a time with its zone, such as 2030-01-31T09:30:00Z")
    return raw


def _in_utc(moment: datetime) -> datetime:
    try:
        return moment.astimezone(UTC)
    except OverflowError:
        raise ValueError("is out of range") from None


Moment = Annotated[
    datetime, Field(strict=False), BeforeValidator(_require_rfc3339), AfterValidator(_in_utc)
]
"""A time in a request body (RFC 3339), in any zone."""
Timestamp = Annotated[str, BeforeValidator(rfc3339)]
"""A time in a response body (RFC 3339, UTC)."""


class Body(BaseModel):
    """A request body: strict types, no unknown fields."""

    model_config = ConfigDict(extra="forbid", strict=True, hide_input_in_errors=True)


class Answer(BaseModel):
    """A response body."""

    model_config = ConfigDict(from_attributes=True)


class NoFields(Body):
    """The body of a call without fields; it can also be omitted."""

    model_config = ConfigDict(json_schema_extra={"examples": [{}]})


def example(value: Json) -> ConfigDict:
    """Returns the configuration of a schema with one example."""
    return ConfigDict(json_schema_extra=cast("JsonDict", {"examples": [value]}))


def is_none(value: object) -> bool:
    """Tells pydantic to leave out a field without a value."""
    return value is None


def is_empty(value: Collection[object]) -> bool:
    """Tells pydantic to leave out an empty list."""
    return not value
