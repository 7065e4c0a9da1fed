"""Schemas of API keys."""

from dataclasses import asdict
from typing import Annotated, Self

from pydantic import Field

from chatbot.application.api_keys import MadeKey
from chatbot.application.new_keys import MAX_LABEL_CHARS, MAX_OVERLAP, NewKey
from chatbot.domain.assertions import MAX_SECRET_CHARS, MIN_SECRET_CHARS
from chatbot.domain.credentials import KeyState
from chatbot.domain.permissions import Permission
from chatbot.entrypoints.http.schemas.base import (
    CREATED_AT,
    Answer,
    Body,
    Json,
    Moment,
    Timestamp,
    example,
    is_none,
)

KEY_ID = "k7m2x9qd"
MAX_OVERLAP_HOURS = int(MAX_OVERLAP.total_seconds()) // 3600
_EXPIRES_AT = "2027-01-31T00:00:00.000000Z"
_KEY: Json = {
    "id": KEY_ID,
    "client": "intranet",
    "scopes": ["chat", "memory"],
    "label": "Intranet widget",
    "created_at": CREATED_AT,
    "created_by": "5f0c6a1e9d5b4f0e8f6b1d2c3a4b5c6d",
    "expires_at": _EXPIRES_AT,
    "last_used_on": "2026-02-01",
    "state": "active",
}
_TEXT = f"cb_{KEY_ID}_3q2u...Zk9x"

UserSecret = Annotated[
    str | None,
    Field(
        min_length=MIN_SECRET_CHARS,
        max_length=MAX_SECRET_CHARS,
        description="For `act_for_users`: the secret with which the application signs assertions, if it "
        "already has one. Default: a new secret is generated.",
        json_schema_extra={"format": "password"},
    ),
]
Scope = Annotated[Permission, Field(strict=False)]


class NewKeyBody(Body):
    model_config = example(
        {
            "client": "intranet",
            "scopes": ["chat", "memory"],
            "label": "Intranet widget",
            "expires_at": _EXPIRES_AT,
        }
    )

    client: str = Field(
        max_length=100,
        description="The name of the application: lower-case letters, digits, `.`, `_` and `-`. It may be "
        "new. All keys of an application share its sessions.",
    )
    scopes: list[Scope] = Field(
        max_length=2 * len(Permission),
        description="What the key allows: permissions that you hold, `act_for_users` and `metrics`.",
    )
    label: str = Field(
        default="", max_length=MAX_LABEL_CHARS, description="A note, shown in the list of keys."
    )
    expires_at: Moment | None = Field(
        default=None, description="When the key expires (RFC 3339). Default: never."
    )
    user_secret: UserSecret = None

    def as_new_key(self) -> NewKey:
        return NewKey(
            client=self.client,
            scopes=frozenset(self.scopes),
            label=self.label,
            expires_at=self.expires_at,
            user_secret=self.user_secret,
        )


class RotationBody(Body):
    model_config = example({"overlap_hours": 24})

    overlap_hours: int = Field(
        default=24,
        ge=0,
        le=MAX_OVERLAP_HOURS,
        description="Hours for which the old key stays valid; 0 revokes it immediately.",
    )
    user_secret: UserSecret = None


class KeyAnswer(Answer):
    model_config = example(_KEY)

    id: str = Field(description="The id of the key, which is also part of the key.")
    client: str = Field(description="The application that the key identifies.")
    scopes: list[str] = Field(description="What the key allows.")
    label: str = Field(description="The note; may be empty.")
    created_at: Timestamp = Field(description="When the key was created (RFC 3339, UTC).")
    created_by: str = Field(
        description="Who created it: the id of a user, `cli:ACCOUNT` for a command on the host, or "
        "`client:NAME` for another application."
    )
    expires_at: Timestamp | None = Field(
        description="When the key expires (RFC 3339, UTC); null for never."
    )
    last_used_on: str | None = Field(
        description="The day on which the key was last used (UTC); null for never."
    )
    state: KeyState = Field(
        description="`active`, `expiring` (within 7 days), `expired` or `revoked`."
    )


class NewKeyAnswer(KeyAnswer):
    model_config = example({**_KEY, "key": _TEXT})

    key: str = Field(
        description="The key. Send it in the header `X-API-Key`. It is not shown again."
    )
    assertion_secret: str | None = Field(
        default=None,
        exclude_if=is_none,
        description="For `act_for_users`: the secret with which to sign assertions. It is not shown again.",
    )

    @classmethod
    def of(cls, made: MadeKey) -> Self:
        return cls(**asdict(made.line), key=made.raw_key, assertion_secret=made.assertion_secret)


class KeysAnswer(Answer):
    model_config = example({"keys": [_KEY], "next": KEY_ID})

    keys: list[KeyAnswer] = Field(description="The keys, sorted by id.")
    next: str | None = Field(
        description="Opaque: send it as `after` to get the next page. Null on the last page."
    )
