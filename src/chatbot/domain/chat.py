"""Sessions, their messages, and the states of a turn."""

import re
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Literal, NewType

from chatbot.domain.identity import Owner
from chatbot.domain.memory import Memory
from chatbot.domain.stored import Stored

SessionId = NewType("SessionId", str)
TurnId = NewType("TurnId", str)

TITLE_CHARS = 60
_SESSION_ID = re.compile("[0-9a-f]{32}")


class MessageRole(StrEnum):
    """Who wrote a message."""

    USER = "user"
    ASSISTANT = "assistant"


class InterruptReason(StrEnum):
    """Why an answer is not complete."""

    CLIENT = "client"
    """The caller left."""
    UPSTREAM = "upstream"
    """The model failed."""
    TIMEOUT = "timeout"
    """The model took too long."""
    SHUTDOWN = "shutdown"
    """The service was stopped."""
    REVOKED = "revoked"
    """The sign-in of the person who asked was revoked meanwhile."""
    CRASH = "crash"
    """The process died; written by the next turn."""
    REFUSED = "refused"
    """The provider refuses the question, which is left out of later prompts and of memory."""


class FinishReason(StrEnum):
    """Why the model stopped."""

    STOP = "stop"
    LENGTH = "length"
    BLOCKED = "blocked"


@dataclass(frozen=True, slots=True, kw_only=True)
class Message:
    """One message of a session.

    `seq` counts from 1 in its session and is never used twice, not after a reset either.
    An answer with a `reason` is interrupted, one without is complete.
    """

    seq: int
    role: MessageRole
    content: str
    ts: datetime
    turn_id: TurnId
    reason: InterruptReason | None = None

    @property
    def state(self) -> Literal["complete", "interrupted"]:
        return "complete" if self.reason is None else "interrupted"

    @property
    def is_answer(self) -> bool:
        """Whether the assistant gave it to its end."""
        return self.role is MessageRole.ASSISTANT and self.reason is None and self.content != ""


def is_session_id(raw: str) -> bool:
    """Whether `raw` has the form of a session id: 32 lower-case hexadecimal digits."""
    return _SESSION_ID.fullmatch(raw) is not None


def _session_id(raw: str) -> SessionId:
    if not is_session_id(raw):
        raise ValueError
    return SessionId(raw)


@dataclass(frozen=True, slots=True, kw_only=True)
class Session:
    """What there is to know about a session without reading it.

    `epoch` counts resets. `last_seq` is the number of the newest message ever written;
    `message_count` counts those since the last reset.
    """

    id: SessionId = field(
        metadata=Stored(clean=_session_id, expected="the id of a session").metadata()
    )
    owner: Owner
    title: str
    created_at: datetime
    updated_at: datetime
    message_count: int = 0
    last_seq: int = 0
    epoch: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class SessionCursor:
    """The last session of a page: the next page begins after it."""

    updated_at: datetime
    id: SessionId


@dataclass(frozen=True, slots=True, kw_only=True)
class Lease:
    """The right to write to one session, held by one turn or change at a time."""

    owner: Owner
    session_id: SessionId
    turn_id: TurnId


@dataclass(frozen=True, slots=True, kw_only=True)
class Question:
    """A message of the user that begins a turn, and how much of the history its prompt may hold.

    That is the newest `history_limit` messages after the last whole `summarized_step` of messages
    that the summary covers.
    """

    owner: Owner
    session_id: SessionId
    turn_id: TurnId
    text: str
    ts: datetime
    summarized_step: int
    history_limit: int

    def history_start(self, memory: Memory) -> int:
        """The number of the message after which the history begins."""
        return memory.summarized_to - memory.summarized_to % self.summarized_step


@dataclass(frozen=True, slots=True, kw_only=True)
class TurnContext:
    """A turn whose question is stored, and what its prompt is made of.

    `history` ends with the question.
    """

    lease: Lease
    memory: Memory
    history: tuple[Message, ...]


def title_of(prompt: str) -> str:
    """The title of a session: the first 60 characters of its first prompt."""
    return prompt[:TITLE_CHARS]
