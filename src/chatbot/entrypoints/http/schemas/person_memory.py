"""Schemas of the memory of a person."""

from typing import Literal, Self

from pydantic import Field

from chatbot.application.memory_lists import ItemPage
from chatbot.domain.memory import MAX_KEY_CHARS, MAX_VALUE_CHARS
from chatbot.domain.person_memory import ItemKind, ItemOrigin, ItemState, MemorySettings
from chatbot.entrypoints.http.cursor import write_text_cursor
from chatbot.entrypoints.http.schemas.base import (
    CREATED_AT,
    SESSION_ID,
    UPDATED_AT,
    Answer,
    Body,
    Json,
    Timestamp,
    example,
    is_none,
)

ITEM_ID = "6d0c1f5e2b7a4938a1c0d9e8f7b6a554"
_SOURCE: Json = {"session_id": SESSION_ID, "seq": 1, "quote": "I'm an accountant in Lisbon."}
ITEM: Json = {
    "id": ITEM_ID,
    "kind": "profile",
    "key": "role",
    "text": "accountant",
    "state": "active",
    "origin": "said",
    "sources": [_SOURCE],
    "created_at": CREATED_AT,
    "updated_at": UPDATED_AT,
    "valid_from": CREATED_AT,
    "version": 2,
}
_VERSION: Json = {
    "version": 1,
    "text": "trainee",
    "state": "superseded",
    "origin": "said",
    "sources": [_SOURCE],
    "valid_from": CREATED_AT,
    "valid_to": UPDATED_AT,
}
_SETTINGS: Json = {"enabled": True, "cross_session": True, "extract": True}
_KIND = "What the item is about; `profile` and `preference` have a key."
_STATE = (
    "`active`: used in answers; `pending`: not said by you, waits for your confirmation; `done`; "
    "`superseded`: another version has replaced it; `forgotten`: its text is erased."
)
_ORIGIN = (
    "`said` in a conversation, `confirmed` or `edited` by you, or `imported` from an older version."
)


class SourceAnswer(Answer):
    model_config = example(_SOURCE)

    session_id: str = Field(description="The session of the message that taught the item.")
    seq: int = Field(description="The number of the message.")
    quote: str = Field(
        description="At most 200 characters of the message; empty once the message is deleted."
    )


class ItemAnswer(Answer):
    model_config = example(ITEM)

    id: str = Field(description="The id of the item.")
    kind: ItemKind = Field(description=_KIND)
    key: str | None = Field(default=None, exclude_if=is_none, description="The key, if it has one.")
    text: str = Field(description="What is remembered; empty if it is forgotten.")
    state: ItemState = Field(description=_STATE)
    origin: ItemOrigin = Field(description=_ORIGIN)
    sources: list[SourceAnswer] = Field(description="The messages that taught it.")
    created_at: Timestamp = Field(description="When it was first remembered.")
    updated_at: Timestamp = Field(description="When it changed last.")
    valid_from: Timestamp | None = Field(
        default=None, exclude_if=is_none, description="Since when this version has been valid."
    )
    valid_to: Timestamp | None = Field(
        default=None, exclude_if=is_none, description="Until when this version was valid."
    )
    version: int = Field(
        description="Counts its states; send it as `If-Match`, in quotation marks."
    )


class ItemsAnswer(Answer):
    model_config = example({"items": [ITEM], "next": "MDcyIDZkMGMxZjVlIDAwMQ"})

    items: list[ItemAnswer] = Field(description="The items, the newest first.")
    next: str | None = Field(description="The cursor of the next page; null on the last one.")

    @classmethod
    def of(cls, page: ItemPage) -> Self:
        items = [ItemAnswer.model_validate(item) for item in page.items]
        return cls(items=items, next=write_text_cursor(page.next))


class ItemBody(Body):
    model_config = example({"kind": "profile", "key": "role", "text": "accountant"})

    kind: ItemKind = Field(description=_KIND, strict=False)
    key: str | None = Field(
        default=None,
        description=f"For `profile` and `preference`: 1 to {MAX_KEY_CHARS} characters.",
    )
    text: str = Field(description=f"What to remember: 1 to {MAX_VALUE_CHARS} characters.")


class ItemChangeBody(Body):
    model_config = example({"text": "senior accountant"})

    text: str | None = Field(default=None, description="The new text; null leaves it.")
    state: ItemState | None = Field(
        default=None, description="`active` or `done`; null leaves it.", strict=False
    )


class RestoreBody(Body):
    model_config = example({"version": 1})

    version: int = Field(ge=1, description="The version that shall be the active one again.")


class VersionAnswer(Answer):
    model_config = example(_VERSION)

    version: int = Field(description="The number of the version.")
    text: str = Field(description="What was remembered; empty if it is forgotten.")
    state: ItemState = Field(description=_STATE)
    origin: ItemOrigin = Field(description=_ORIGIN)
    sources: list[SourceAnswer] = Field(description="The messages that taught it.")
    valid_from: Timestamp = Field(description="Since when it was valid.")
    valid_to: Timestamp = Field(
        description="Until when it was valid; of an active one when it changed last."
    )


class HistoryAnswer(Answer):
    model_config = example({"versions": [_VERSION]})

    versions: list[VersionAnswer] = Field(description="All versions, the oldest first.")


class ForgottenAnswer(Answer):
    model_config = example({"forgotten": True})

    forgotten: Literal[True] = Field(default=True, description="Always true.")


class ForgetEverythingBody(Body):
    model_config = example({"confirm": "forget everything"})

    confirm: str = Field(max_length=100, description="The words `forget everything`.")


class MemorySettingsSchema(Body):
    """What a person allows."""

    model_config = example(_SETTINGS)

    enabled: bool = Field(
        description="Whether anything is remembered at all: if not, nothing is read and nothing "
        "learned. Stored items stay until you delete them."
    )
    cross_session: bool = Field(
        description="Whether a session uses what other sessions have taught."
    )
    extract: bool = Field(description="Whether anything is learned from what you say.")

    @classmethod
    def of(cls, settings: MemorySettings) -> Self:
        return cls(
            enabled=settings.enabled,
            cross_session=settings.cross_session,
            extract=settings.extract,
        )

    def to_settings(self) -> MemorySettings:
        return MemorySettings(
            enabled=self.enabled, cross_session=self.cross_session, extract=self.extract
        )
