"""Schemas of sessions and their messages."""

from collections.abc import Mapping
from typing import Literal, Self

from pydantic import Field

from chatbot.application.sessions import Page
from chatbot.domain.chat import Session, SessionView
from chatbot.domain.session_fields import MAX_TITLE_CHARS
from chatbot.domain.text import rfc3339
from chatbot.entrypoints.http.cursor import write_cursor
from chatbot.entrypoints.http.schemas.base import (
    CREATED_AT,
    NOTICE,
    PROMPT,
    SESSION_ID,
    TEXT,
    TITLE,
    TURN_ID,
    UPDATED_AT,
    Answer,
    Body,
    Json,
    Timestamp,
    example,
    is_empty,
    is_none,
)
from chatbot.entrypoints.http.schemas.citations import CitationSchema
from chatbot.entrypoints.http.schemas.memory import MEMORY, StructuredMemorySchema

_SESSION: Json = {
    "session_id": SESSION_ID,
    "title": PROMPT,
    "created_at": CREATED_AT,
    "updated_at": UPDATED_AT,
    "message_count": 2,
}
_TITLE = (
    f"The title, 1 to {MAX_TITLE_CHARS} characters without control characters. Controls of the "
    "direction of text are removed."
)
_QUESTION: Json = {"seq": 1, "role": "user", "content": PROMPT, "ts": CREATED_AT}
_ANSWER: Json = {"seq": 2, "role": "assistant", "content": TEXT, "ts": UPDATED_AT}
_COMPLETE: Json = {"turn_id": TURN_ID, "state": "complete"}


class NewSessionBody(Body):
    model_config = example({"title": TITLE})

    title: str | None = Field(
        default=None, description=f"{_TITLE} Default: the beginning of the first prompt."
    )


class TitleBody(Body):
    model_config = example({"title": TITLE})

    title: str = Field(description=_TITLE)


class NewSessionAnswer(Answer):
    model_config = example({"session_id": SESSION_ID, "notice": NOTICE})

    session_id: str = Field(description="The id of the new session. Send it with each prompt.")
    notice: str | None = Field(
        default=None,
        exclude_if=is_none,
        description="A sentence to display, saying that this is an AI system. Absent if "
        "`ASSISTANT_NOTICE` is empty.",
    )


class _SessionFields(Answer):
    session_id: str = Field(description="The id of the session.")
    title: str = Field(
        description="The title that was set, or the beginning of the first prompt; empty before the "
        "first prompt."
    )
    created_at: str = Field(description="When the session was created (RFC 3339, UTC).")
    updated_at: str = Field(description="When the last message was added (RFC 3339, UTC).")
    message_count: int = Field(
        description="The number of messages since the session was last reset."
    )


class SessionLine(_SessionFields):
    model_config = example(_SESSION)

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
    model_config = example({"sessions": [_SESSION], "next": f"64999c1a3e2c8-{SESSION_ID}"})

    sessions: list[SessionLine] = Field(description="A page of sessions, newest first.")
    next: str | None = Field(
        description="Opaque: send it as `after` to get the next page. Null on the last page."
    )

    @classmethod
    def of(cls, page: Page) -> Self:
        following = write_cursor(page.next) if page.next else None
        return cls(sessions=[SessionLine.of(one) for one in page.sessions], next=following)


class MessageAnswer(Answer):
    seq: int = Field(description="The number of the message in its session, starting at 1.")
    role: Literal["user", "assistant"] = Field(description="Who wrote the message.")
    content: str = Field(description="The text of the message.")
    ts: Timestamp = Field(description="When the message was stored (RFC 3339, UTC).")
    turn_id: str = Field(description="The id of the turn, which a question and its answer share.")
    state: Literal["complete", "interrupted"] = Field(
        description="`interrupted`: the answer was cut off or is missing."
    )
    reason: str | None = Field(
        default=None,
        exclude_if=is_none,
        description="Why an answer was interrupted: `client`, `upstream`, `timeout`, `shutdown`, "
        "`crash`, `revoked` or `refused`.",
    )
    citations: tuple[CitationSchema, ...] = Field(
        default=(),
        exclude_if=is_empty,
        description="The passages of documents that the answer cites with marks such as `[1]`, except "
        "those of documents that the caller may no longer read.",
    )


SESSION_EXAMPLE: Json = {
    **_SESSION,
    "summary": "",
    "structured_memory": MEMORY,
    "messages": [{**_QUESTION, **_COMPLETE}, {**_ANSWER, **_COMPLETE}],
}


class SessionAnswer(_SessionFields):
    model_config = example(SESSION_EXAMPLE)

    summary: str = Field(description="The summary of older messages; may be empty.")
    structured_memory: StructuredMemorySchema = Field(description="What the assistant remembers.")
    messages: list[MessageAnswer] = Field(
        description="The newest messages, or the newest ones before `before`, in ascending order."
    )

    @classmethod
    def of(cls, opened: SessionView, defaults: Mapping[str, str]) -> Self:
        session = opened.session
        return cls(
            session_id=session.id,
            title=session.title,
            created_at=rfc3339(session.created_at),
            updated_at=rfc3339(session.updated_at),
            message_count=session.message_count,
            summary=opened.memory.summary,
            structured_memory=StructuredMemorySchema.of(opened.memory, defaults),
            messages=[MessageAnswer.model_validate(message) for message in opened.messages],
        )


class DeletedAnswer(Answer):
    model_config = example({"deleted": True, "session_id": SESSION_ID})

    deleted: Literal[True] = Field(default=True, description="Always true.")
    session_id: str = Field(description="The id of the deleted session.")
