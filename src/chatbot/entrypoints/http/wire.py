"""Pydantic models of requests and responses, and their conversion from domain objects."""

from collections.abc import Mapping
from dataclasses import asdict
from typing import Literal, Self

from pydantic import BaseModel, ConfigDict, Field

from chatbot.application.sessions import Page
from chatbot.application.turn import Reply
from chatbot.domain.chat import FinishReason, Message, Session, SessionView
from chatbot.domain.identity import User
from chatbot.domain.memory import Memory, MemoryItem, Update
from chatbot.domain.text import rfc3339
from chatbot.entrypoints.http.cursor import write_cursor


def _is_none(value: object) -> bool:
    return value is None


def _is_false(value: object) -> bool:
    return value is False


class Body(BaseModel):
    """A request body: strict types, no unknown fields."""

    model_config = ConfigDict(extra="forbid", strict=True, hide_input_in_errors=True)


class Answer(BaseModel):
    """A response body."""

    model_config = ConfigDict(from_attributes=True)


class NoFields(Body):
    """The body of a call without fields; it can also be omitted."""


class LoginBody(Body):
    email: str
    password: str = Field(json_schema_extra={"format": "password"})


class TokenAnswer(Answer):
    access_token: str
    token_type: Literal["bearer"] = "bearer"  # noqa: S105 # RFC 6750's word
    expires_in: int = Field(description="seconds")


class MeAnswer(Answer):
    id: str
    email: str
    roles: list[str]
    department: str
    is_active: bool

    @classmethod
    def of(cls, user: User) -> Self:
        return cls.model_validate(user)


class ChatBody(Body):
    prompt: str
    session_id: str | None = None


class UsageAnswer(Answer):
    input_tokens: int
    output_tokens: int
    estimated: bool


class RecollectionAnswer(Answer):
    id: str
    kind: Literal["profile", "preference", "fact", "todo", "summary"]
    text: str


class ChatAnswer(Answer):
    """The answer to a prompt; `notice` is present in a session's first answer."""

    session_id: str
    text: str
    turn_id: str
    finish_reason: FinishReason
    usage: UsageAnswer
    model: str
    memory_used: list[RecollectionAnswer]
    notice: str | None = Field(default=None, exclude_if=_is_none)


def chat_answer(reply: Reply) -> dict[str, object]:
    """The body of `ChatAnswer`, without the cost of validating our own data."""
    body = asdict(reply)
    if reply.notice is None:
        del body["notice"]
    return body


class NewSessionAnswer(Answer):
    session_id: str
    notice: str | None = Field(default=None, exclude_if=_is_none)


class SessionLine(Answer):
    session_id: str
    title: str
    created_at: str
    updated_at: str
    message_count: int

    @classmethod
    def of(cls, session: Session) -> Self:
        return cls(
            session_id=session.id,
            title=session.title,
            created_at=rfc3339(session.created_at),
            updated_at=rfc3339(session.updated_at),
            message_count=session.message_count,
        )


class SessionsAnswer(Answer):
    sessions: list[SessionLine]
    next: str | None = Field(description="opaque: pass it as `after`")

    @classmethod
    def of(cls, page: Page) -> Self:
        following = write_cursor(page.next) if page.next else None
        return cls(sessions=[SessionLine.of(one) for one in page.sessions], next=following)


class MessageAnswer(Answer):
    seq: int
    role: Literal["user", "assistant"]
    content: str
    ts: str
    turn_id: str
    state: Literal["complete", "interrupted"]
    reason: str | None = Field(default=None, exclude_if=_is_none)

    @classmethod
    def of(cls, message: Message) -> Self:
        return cls(
            seq=message.seq,
            role=message.role.value,
            content=message.content,
            ts=rfc3339(message.ts),
            turn_id=message.turn_id,
            state=message.state,
            reason=message.reason,
        )


class ProfileShape(Body):
    model_config = ConfigDict(extra="allow")
    __pydantic_extra__: dict[str, str | None]
    name: str | None = None
    role: str | None = None


class PreferencesShape(Body):
    model_config = ConfigDict(extra="allow")
    __pydantic_extra__: dict[str, str | None]
    language: str | None = None
    tone: str | None = None


class StructuredMemoryShape(Body):
    profile: ProfileShape = ProfileShape()
    preferences: PreferencesShape = PreferencesShape()
    facts: list[str] = []
    todos: list[str] = []

    def as_update(self) -> Update:
        return Update(
            profile=_said(self.profile),
            preferences=_said(self.preferences),
            facts=tuple(self.facts),
            todos=tuple(self.todos),
        )

    @classmethod
    def of(cls, memory: Memory, defaults: Mapping[str, str]) -> Self:
        known = memory.structured
        return cls.model_validate(
            {
                "profile": {"name": None, "role": None, **_values(known.profile)},
                "preferences": {**defaults, **_values(known.preferences)},
                "facts": [item.value for item in known.facts],
                "todos": [item.value for item in known.todos],
            }
        )


def _said(shape: BaseModel) -> dict[str, str]:
    return {key: value for key, value in shape.model_dump().items() if value is not None}


def _values(items: Mapping[str, MemoryItem]) -> dict[str, str]:
    return {key: item.value for key, item in items.items()}


class SessionAnswer(Answer):
    session_id: str
    title: str
    created_at: str
    updated_at: str
    summary: str
    structured_memory: StructuredMemoryShape
    messages: list[MessageAnswer]

    @classmethod
    def of(cls, opened: SessionView, defaults: Mapping[str, str]) -> Self:
        session = opened.session
        return cls(
            session_id=session.id,
            title=session.title,
            created_at=rfc3339(session.created_at),
            updated_at=rfc3339(session.updated_at),
            summary=opened.memory.summary,
            structured_memory=StructuredMemoryShape.of(opened.memory, defaults),
            messages=[MessageAnswer.of(message) for message in opened.messages],
        )


class DeletedAnswer(Answer):
    deleted: Literal[True] = True
    session_id: str


class SummaryBody(Body):
    summary: str


class SummaryAnswer(Answer):
    session_id: str
    summary: str


class MemoryBody(Body):
    structured_memory: StructuredMemoryShape


class MemoryAnswer(Answer):
    """`pending` is present while an answered turn is still being extracted."""

    session_id: str
    structured_memory: StructuredMemoryShape
    pending: bool = Field(default=False, exclude_if=_is_false)


class StatusAnswer(Answer):
    status: Literal["ok"] = "ok"


class FieldProblem(Answer):
    loc: list[str | int]
    msg: str


class Problem(Answer):
    """An error, as RFC 9457 problem details; `instance` is the request id.

    `session_id` and `turn_id` are present when a turn failed whose question is stored.
    """

    type: str
    title: str
    status: int
    detail: str
    code: str
    instance: str
    errors: list[FieldProblem] | None = None
    session_id: str | None = None
    turn_id: str | None = None
