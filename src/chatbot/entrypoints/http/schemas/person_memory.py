"""Schemas of a person's memory."""

from typing import Literal, Self

from pydantic import Field

from chatbot.application.memory_lists import ItemPage
from chatbot.application.prompt_texts import texts_in
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
_KIND = "The kind of item. `profile` and `preference` have a key."
_STATE = (
    "`active`: used in answers. `pending`: not said by you, waiting for your confirmation. `done`: a "
    "finished task. `superseded`: replaced by a newer version. `forgotten`: its text is erased."
)
_ORIGIN = (
    "Where it comes from: `said` in a conversation, `confirmed` or `edited` by you, or `imported` from "
    "an older version of the service."
)


class SourceAnswer(Answer):
    model_config = example(_SOURCE)

    session_id: str = Field(
        description="The session of the message from which the item was learned."
    )
    seq: int = Field(description="The number of the message in its session.")
    quote: str = Field(
        description="At most 200 characters of the message. Empty once the message is deleted."
    )


class ItemAnswer(Answer):
    model_config = example(ITEM)

    id: str = Field(description="The id of the item.")
    kind: ItemKind = Field(description=_KIND)
    key: str | None = Field(default=None, exclude_if=is_none, description="The key, if it has one.")
    text: str = Field(description="What is remembered. Empty if the item is forgotten.")
    state: ItemState = Field(description=_STATE)
    origin: ItemOrigin = Field(description=_ORIGIN)
    sources: list[SourceAnswer] = Field(description="The messages from which it was learned.")
    created_at: Timestamp = Field(description="When it was first remembered.")
    updated_at: Timestamp = Field(description="When it was last changed.")
    valid_from: Timestamp | None = Field(
        default=None, exclude_if=is_none, description="When this version became valid."
    )
    valid_to: Timestamp | None = Field(
        default=None, exclude_if=is_none, description="When this version stopped being valid."
    )
    version: int = Field(
        description="The number of the version. Send it as `If-Match`, in quotation marks."
    )


class ItemsAnswer(Answer):
    model_config = example({"items": [ITEM], "next": "MDcyIDZkMGMxZjVlIDAwMQ"})

    items: list[ItemAnswer] = Field(description="The items, newest first.")
    next: str | None = Field(
        description="Opaque: send it as `after` to get the next page. Null on the last page."
    )

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

    text: str | None = Field(default=None, description="The new text; null leaves it unchanged.")
    state: ItemState | None = Field(
        default=None, description="`active` or `done`; null leaves it unchanged.", strict=False
    )


class RestoreBody(Body):
    model_config = example({"version": 1})

    version: int = Field(ge=1, description="The number of the version to restore.")


class VersionAnswer(Answer):
    model_config = example(_VERSION)

    version: int = Field(description="The number of the version.")
    text: str = Field(description="What was remembered. Empty if the item is forgotten.")
    state: ItemState = Field(description=_STATE)
    origin: ItemOrigin = Field(description=_ORIGIN)
    sources: list[SourceAnswer] = Field(description="The messages from which it was learned.")
    valid_from: Timestamp = Field(description="When the version became valid.")
    valid_to: Timestamp = Field(
        description="When the version stopped being valid; for an active one, when it was last changed."
    )


class HistoryAnswer(Answer):
    model_config = example({"versions": [_VERSION]})

    versions: list[VersionAnswer] = Field(description="All versions, oldest first.")


class ForgottenAnswer(Answer):
    model_config = example({"forgotten": True})

    forgotten: Literal[True] = Field(default=True, description="Always true.")


class ForgetEverythingBody(Body):
    model_config = example({"confirm": "forget everything"})

    confirm: str = Field(max_length=100, description="Must be `forget everything`.")


class MemorySettingsBody(Body):
    """What the person allows the memory to do."""

    model_config = example(_SETTINGS)

    enabled: bool = Field(
        description="Whether the memory is on. If it is off, nothing is read from it and nothing is "
        "learned. Stored items stay until you delete them."
    )
    cross_session: bool = Field(
        description="Whether a session uses what was learned in other sessions."
    )
    extract: bool = Field(description="Whether anything is learned from what you say.")
    notice: str | None = Field(
        default=None, description="Ignored, so that a response can be sent back unchanged."
    )

    def to_settings(self) -> MemorySettings:
        return MemorySettings(
            enabled=self.enabled, cross_session=self.cross_session, extract=self.extract
        )


class MemorySettingsAnswer(Answer):
    model_config = example({**_SETTINGS, "notice": texts_in("en").memory_on})

    enabled: bool = Field(
        description="Whether the memory is on. Until the person has chosen, `MEMORY_DEFAULT` decides."
    )
    cross_session: bool = Field(
        description="Whether a session uses what was learned in other sessions."
    )
    extract: bool = Field(description="Whether anything is learned from what the person says.")
    notice: str = Field(
        description="What is kept, in plain words, in the language of `Accept-Language`."
    )

    @classmethod
    def of(cls, settings: MemorySettings, notice: str) -> Self:
        return cls(**settings_in(settings), notice=notice)


def settings_in(settings: MemorySettings) -> dict[str, bool]:
    """Returns the settings as JSON."""
    return {
        "enabled": settings.enabled,
        "cross_session": settings.cross_session,
        "extract": settings.extract,
    }
