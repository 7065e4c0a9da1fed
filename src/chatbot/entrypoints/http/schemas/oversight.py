"""Schemas of accesses to conversations of others."""

from collections.abc import Mapping
from typing import Literal, Self

from pydantic import Field

from chatbot.domain.access import AccessKind
from chatbot.domain.chat import Session, SessionView
from chatbot.domain.session_fields import MAX_REASON_CHARS, MIN_REASON_CHARS
from chatbot.domain.text import rfc3339
from chatbot.entrypoints.http.schemas.base import (
    SESSION_ID,
    UPDATED_AT,
    Answer,
    Body,
    Json,
    Timestamp,
    example,
)
from chatbot.entrypoints.http.schemas.sessions import SESSION_EXAMPLE, SessionAnswer

REASON = (
    f"The reason, {MIN_REASON_CHARS} to {MAX_REASON_CHARS} characters. It is shown to the owner and to "
    "readers of the audit, and is never erased from the audit: name a case, not a person."
)
_REASON = "Complaint 2026-17 of the works council."
_OWNER = {"kind": "user", "id": "2d1f0c9b8a7e4d5f9c3b2a1e0f9d8c7b"}
_ACCESS: Json = {
    "at": UPDATED_AT,
    "action": "read",
    "by": "user 7c5f3d1b9e8a4c2d8b6f0a1c3e5d7f90",
    "session_id": SESSION_ID,
    "reason": _REASON,
}


class ReasonBody(Body):
    model_config = example({"reason": _REASON})

    reason: str = Field(description=REASON)


class OwnerSchema(Answer):
    kind: Literal["user", "client"] = Field(
        description="Whether the owner is a person (`user`) or an application (`client`)."
    )
    id: str = Field(description="The id of the person or the application.")


class AnySessionAnswer(SessionAnswer):
    model_config = example({**SESSION_EXAMPLE, "owner": _OWNER, "on_hold": False})

    owner: OwnerSchema = Field(description="The owner of the session.")
    on_hold: bool = Field(
        description="Whether the session is on hold, so that it cannot be reset or deleted."
    )

    @classmethod
    def of_any(cls, view: SessionView, defaults: Mapping[str, str]) -> Self:
        shown = SessionAnswer.of(view, defaults)
        return cls(
            **{name: getattr(shown, name) for name in SessionAnswer.model_fields},
            owner=OwnerSchema.model_validate(view.session.owner),
            on_hold=view.session.hold is not None,
        )


class HoldAnswer(Answer):
    model_config = example(
        {"session_id": SESSION_ID, "on_hold": True, "reason": _REASON, "since": UPDATED_AT}
    )

    session_id: str = Field(description="The id of the session.")
    on_hold: bool = Field(
        description="Whether the session is on hold, so that it cannot be reset or deleted."
    )
    reason: str | None = Field(
        description="The reason for the hold; null if the session is not on hold."
    )
    since: str | None = Field(
        description="When the hold began (RFC 3339, UTC); null if the session is not on hold."
    )

    @classmethod
    def of(cls, session: Session) -> Self:
        hold = session.hold
        return cls(
            session_id=session.id,
            on_hold=hold is not None,
            reason=hold.reason if hold else None,
            since=rfc3339(hold.at) if hold else None,
        )


class AccessSchema(Answer):
    at: Timestamp = Field(description="When it happened (RFC 3339, UTC).")
    action: AccessKind = Field(
        description="`read`: a conversation was read; `export`: everything was exported; `hold`, "
        "`release`: a session was put on hold or released."
    )
    by: str = Field(
        description="Who did it: `user <id>`, `application <name>` or `host account <name>`."
    )
    session_id: str | None = Field(description="The session concerned; null for an export.")
    reason: str = Field(description="The reason that was given.")


class AccessLogAnswer(Answer):
    model_config = example({"accesses": [_ACCESS], "next": f"fffa1c0b2d3e4f50-{SESSION_ID}"})

    accesses: list[AccessSchema] = Field(description="A page of accesses, newest first.")
    next: str | None = Field(
        description="Opaque: send it as `after` to get the next page. Null on the last page."
    )
