"""Schemas of the audit."""

from typing import Literal, Self

from pydantic import Field

from chatbot.application.audit_trail import AuditFilter, AuditPage
from chatbot.domain.audit import event_object
from chatbot.entrypoints.http.audit_cursor import next_cursor
from chatbot.entrypoints.http.schemas.base import (
    CREATED_AT,
    REQUEST_ID,
    Answer,
    Json,
    example,
    is_none,
)

_USER_ID = "5f0c6a1e9d5b4f0e8f6b1d2c3a4b5c6d"
EVENT: Json = {
    "seq": 4711,
    "at": CREATED_AT,
    "action": "user.create",
    "outcome": "allowed",
    "actor": {"user": _USER_ID, "client": "default", "address": "192.0.2.7"},
    "object": {"type": "user", "id": "0b9d7c1f2e3a4d5c8f6e7a8b9c0d1e2f"},
    "request_id": REQUEST_ID,
    "after": "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08",
    "prev": "60303ae22b998861bce3b28f33eec1be758a213c86c93c076dbe9f558c11c752",
    "mac": "fd61a03af4f77d870fc21e05e7e80678095c92d808cfb3b5c279ee04c74aca13",
}


class ActorSchema(Answer):
    """Who did it. Fields that do not apply are absent."""

    user: str | None = Field(default=None, description="The id of the person.", exclude_if=is_none)
    client: str | None = Field(
        default=None,
        description="The application that made the call; `host` for commands.",
        exclude_if=is_none,
    )
    cli_user: str | None = Field(
        default=None, description="The account of the host that ran a command.", exclude_if=is_none
    )
    address: str | None = Field(
        default=None, description="The network address of the call.", exclude_if=is_none
    )


class ObjectSchema(Answer):
    """What it was done to."""

    type: str = Field(description="The type of object, such as `user`, `role` or `session`.")
    id: str = Field(description="The id or name of the object.")
    owner: str | None = Field(
        default=None,
        description="For a session: the id of the person or application that it belongs to.",
        exclude_if=is_none,
    )


class EventSchema(Answer):
    """An event. With the store `json:`, a change has two events."""

    model_config = example(EVENT)

    seq: int = Field(
        description="The number of the event. Events are numbered from 1 without gaps."
    )
    at: str = Field(description="When it happened (RFC 3339, UTC).")
    action: str = Field(description="One of the actions in docs/security.md.")
    outcome: str = Field(description="`allowed`, `refused` or `failed`.")
    actor: ActorSchema = Field(description="Who did it.")
    object: ObjectSchema = Field(description="What it was done to.")
    request_id: str | None = Field(
        default=None, description="The `X-Request-Id` of the call.", exclude_if=is_none
    )
    reason: str | None = Field(
        default=None,
        description="The reason that was given, or details of the event.",
        exclude_if=is_none,
    )
    before: str | None = Field(
        default=None, description="A digest of the object before the change.", exclude_if=is_none
    )
    after: str | None = Field(
        default=None, description="A digest of the object after the change.", exclude_if=is_none
    )
    stage: Literal["intent", "done"] | None = Field(
        default=None,
        description="With the store `json:`, a change has two events: `intent` before it, `done` after it.",
        exclude_if=is_none,
    )
    prev: str = Field(description="The `mac` of the previous event.")
    mac: str = Field(description="HMAC-SHA-256 of the event under `AUDIT_KEY`.")


class AuditAnswer(Answer):
    model_config = example({"events": [EVENT], "next": "4711-9120-5f1d0c3a"})

    events: list[EventSchema] = Field(description="The events, oldest first.")
    next: str | None = Field(
        description="Send it as `after` to get the next page. Null on the last page. A page may be short or "
        "empty even if more pages follow."
    )

    @classmethod
    def of(cls, page: AuditPage, wanted: AuditFilter) -> Self:
        """Returns the answer for a page that was read with these filters."""
        events = [EventSchema.model_validate(event_object(event)) for event in page.events]
        return cls(events=events, next=next_cursor(page, wanted))
