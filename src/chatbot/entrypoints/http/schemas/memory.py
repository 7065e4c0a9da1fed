"""Schemas of a session's memory."""

from collections.abc import Mapping
from typing import Self

from pydantic import BaseModel, ConfigDict, Field

from chatbot.application.memory import SessionMemory
from chatbot.domain.memory import Memory, Update
from chatbot.entrypoints.http.schemas.base import SESSION_ID, Answer, Body, example
from chatbot.entrypoints.http.schemas.person_memory import ITEM, ItemAnswer

_SUMMARY = "Ana asked to be reminded to call HR."
MEMORY: dict[str, object] = {
    "profile": {"name": "Ana", "role": "accountant"},
    "preferences": {"language": "en", "tone": "neutral"},
    "facts": ["Ana works in Lisbon."],
    "todos": ["call HR"],
}


class ProfileSchema(Body):
    """Who the user is. Additional keys are allowed."""

    model_config = ConfigDict(extra="allow")
    __pydantic_extra__: dict[str, str | None]
    name: str | None = Field(default=None, description="The user's name.")
    role: str | None = Field(default=None, description="The user's job.")


class PreferencesSchema(Body):
    """How the user wants to be answered. Additional keys are allowed."""

    model_config = ConfigDict(extra="allow")
    __pydantic_extra__: dict[str, str | None]
    language: str | None = Field(default=None, description="The language of answers.")
    tone: str | None = Field(default=None, description="The tone of answers.")


class StructuredMemorySchema(Body):
    """What the assistant remembers."""

    model_config = example(MEMORY)

    profile: ProfileSchema = Field(default=ProfileSchema(), description="Who the user is.")
    preferences: PreferencesSchema = Field(
        default=PreferencesSchema(), description="How the user wants to be answered."
    )
    facts: list[str] = Field(
        default=[], description="Facts about the user; at most `MEM_STRUCTURED_MAX_ITEMS`."
    )
    todos: list[str] = Field(
        default=[], description="The user's tasks; at most `MEM_STRUCTURED_MAX_ITEMS`."
    )

    def as_update(self) -> Update:
        return Update(
            profile=_given(self.profile),
            preferences=_given(self.preferences),
            facts=tuple(self.facts),
            todos=tuple(self.todos),
        )

    @classmethod
    def of(cls, memory: Memory, defaults: Mapping[str, str]) -> Self:
        known = memory.structured.values
        return cls.model_validate(
            {
                "profile": {"name": None, "role": None, **known.profile},
                "preferences": {**defaults, **known.preferences},
                "facts": list(known.facts),
                "todos": list(known.todos),
            }
        )


def _given(schema: BaseModel) -> dict[str, str]:
    return {key: value for key, value in schema.model_dump().items() if value is not None}


def _is_false(value: object) -> bool:
    return value is False


class SummaryBody(Body):
    model_config = example({"summary": _SUMMARY})

    summary: str = Field(description="The new summary; at most 4,000 characters.")


class SummaryAnswer(Answer):
    model_config = example({"session_id": SESSION_ID, "summary": _SUMMARY})

    session_id: str = Field(description="The id of the session.")
    summary: str = Field(description="The summary of older messages; may be empty.")


class MemoryBody(Body):
    model_config = example({"structured_memory": MEMORY})

    structured_memory: StructuredMemorySchema = Field(
        description="What the assistant is to remember. Replaces everything that it remembers now."
    )


class MemoryAnswer(Answer):
    model_config = example({"session_id": SESSION_ID, "structured_memory": MEMORY, "items": [ITEM]})

    session_id: str = Field(description="The id of the session.")
    structured_memory: StructuredMemorySchema = Field(description="What the assistant remembers.")
    items: list[ItemAnswer] = Field(
        description="The items of your memory that were learned in this session or used in its newest "
        "answers, with their ids and sources: see `/me/memory`."
    )
    pending: bool = Field(
        default=False,
        exclude_if=_is_false,
        description="Present and true while an answered turn is still being processed for the memory.",
    )

    @classmethod
    def of(
        cls,
        session_id: str,
        found: SessionMemory,
        defaults: Mapping[str, str],
        *,
        pending: bool = False,
    ) -> Self:
        return cls(
            session_id=session_id,
            structured_memory=StructuredMemorySchema.of(found.memory, defaults),
            items=[ItemAnswer.model_validate(item) for item in found.items],
            pending=pending,
        )
