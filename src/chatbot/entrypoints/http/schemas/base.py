"""What all schemas have in common."""

from typing import cast

from pydantic import BaseModel, ConfigDict
from pydantic.config import JsonDict

SESSION_ID = "0123456789abcdef" * 2
TURN_ID = "b94f8afc8be6ad8dbb5ebb3a46e176d7"
REQUEST_ID = "f1d6e8a07b6c4ae39a4f1c5d0b2e8f37"
CREATED_AT, UPDATED_AT = "2026-01-31T09:30:00.123456Z", "2026-01-31T09:30:02.654321Z"
PROMPT = "Hello, my name is Ana. Remind me to call HR."
TITLE = "Calls to make"
TEXT = "Noted, Ana: call HR."
NOTICE = "You are talking to an artificial intelligence system; its answers may be wrong."

Json = dict[str, object]


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
