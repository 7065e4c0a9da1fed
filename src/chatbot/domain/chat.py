"""Sessions, their messages, and the states of a turn."""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from enum import StrEnum
from typing import Literal, NewType

from chatbot.domain.answer_details import AnswerDetails, Citation
from chatbot.domain.identity import Owner
from chatbot.domain.memory import Memory
from chatbot.domain.session_fields import Hold
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
    """The client disconnected."""
    UPSTREAM = "upstream"
    """The model failed."""
    TIMEOUT = "timeout"
    """The model took too long."""
    SHUTDOWN = "shutdown"
    """The service was stopped."""
    REVOKED = "revoked"
    """The user's sign-in was revoked while the model was answering."""
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

    `seq` counts from 1 in its session and is never used twice, not after a reset either; it is 0
    until the message is appended. An answer with a `reason` is interrupted, one without it is
    complete. `details` are those of an answer; the history of a turn does not contain them.
    """

    seq: int = 0
    role: MessageRole
    content: str
    ts: datetime
    turn_id: TurnId
    reason: InterruptReason | None = None
    details: AnswerDetails | None = None

    @property
    def state(self) -> Literal["complete", "interrupted"]:
        return "complete" if self.reason is None else "interrupted"

    @property
    def is_answer(self) -> bool:
        """Whether it is a complete answer of the assistant."""
        return self.role is MessageRole.ASSISTANT and self.reason is None and self.content != ""

    @property
    def citations(self) -> tuple[Citation, ...]:
        """The passages of documents that an answer cites."""
        return self.details.citations if self.details else ()

    @property
    def used_items(self) -> frozenset[str]:
        """The ids of the remembered items that the prompt of an answer contained."""
        parts = self.details.parts if self.details else ()
        return frozenset(each.id for each in parts if each.kind == "item" and not each.reason)

    @property
    def title(self) -> str:
        """The title of a session that begins with this message: its first 60 characters."""
        return self.content[:TITLE_CHARS] if self.role is MessageRole.USER else ""


def is_session_id(raw: str) -> bool:
    """Whether `raw` has the form of a session id: 32 lower-case hexadecimal digits."""
    return _SESSION_ID.fullmatch(raw) is not None


def _session_id(raw: str) -> SessionId:
    if not is_session_id(raw):
        raise ValueError
    return SessionId(raw)


@dataclass(frozen=True, slots=True, kw_only=True)
class Session:
    """The metadata of a session.

    `epoch` counts resets, and `revision` other changes since the last one. `last_seq` is the number
    of the newest message ever written; `message_count` counts the remaining ones.
    """

    id: SessionId = field(
        metadata=Stored(clean=_session_id, expected="the id of a session").metadata()
    )
    owner: Owner
    title: str = ""
    created_at: datetime
    updated_at: datetime
    message_count: int = 0
    last_seq: int = 0
    epoch: int = 0
    revision: int = field(default=0, metadata=Stored(is_sparse=True).metadata())
    hold: Hold | None = None

    @property
    def reset_at(self) -> int:
        """The number of the newest message that was removed, as by a reset; 0 if there was none."""
        return self.last_seq - self.message_count

    def appended(self, message: Message) -> "tuple[Session, Message]":
        """Returns the session after a message is appended, and the message with its number."""
        numbered = replace(message, seq=self.last_seq + 1)
        session = replace(
            self,
            title=self.title or message.title,
            updated_at=message.ts,
            message_count=self.message_count + 1,
            last_seq=numbered.seq,
        )
        return session, numbered

    def was_reset(self, ts: datetime) -> "Session":
        """Returns the session after a reset, which empties it. A session on hold cannot be reset."""
        epoch = self.epoch + 1
        return replace(self, title="", message_count=0, updated_at=ts, epoch=epoch, revision=0)

    def trimmed(self, upto: int, title: str) -> "Session":
        """Returns the session without the messages up to this number, with another title."""
        count, revision = self.last_seq - upto, self.revision + 1
        return replace(self, title=title, message_count=count, revision=revision)

    def updated(self, wanted: "Session") -> "Session":
        """Returns the session with those fields of `wanted` that people change."""
        return replace(self, title=wanted.title, hold=wanted.hold, revision=self.revision + 1)


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
class MessageRange:
    """Selects messages of a session: the newest `limit` with `after < seq < before`.

    With `oldest`, the oldest of them.
    """

    limit: int
    before: int | None = None
    after: int = 0
    oldest: bool = False


NO_MESSAGES = MessageRange(limit=0)


@dataclass(frozen=True, slots=True, kw_only=True)
class SessionView:
    """A session with its memory and some of its messages, ascending by `seq`."""

    session: Session
    memory: Memory
    messages: tuple[Message, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Question:
    """A message of the user that begins a turn, and how much of the history its prompt may contain.

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

    @property
    def lease(self) -> Lease:
        """The lease that its turn holds."""
        return Lease(owner=self.owner, session_id=self.session_id, turn_id=self.turn_id)

    def history(self, memory: Memory) -> MessageRange:
        """The messages before the question that its prompt may contain."""
        start = memory.summarized_to - memory.summarized_to % self.summarized_step
        return MessageRange(limit=self.history_limit, after=start)

    def messages_after(self, history: Sequence[Message]) -> tuple[Message, ...]:
        """The messages to append after the history: the question.

        Before it, if the last message has no answer, an empty one: the session was free, so the
        process that should have answered has died.
        """
        asked = Message(role=MessageRole.USER, content=self.text, ts=self.ts, turn_id=self.turn_id)
        if not history or history[-1].role is MessageRole.ASSISTANT:
            return (asked,)
        crashed = Message(
            role=MessageRole.ASSISTANT,
            content="",
            ts=self.ts,
            turn_id=history[-1].turn_id,
            reason=InterruptReason.CRASH,
        )
        return (crashed, asked)


@dataclass(frozen=True, slots=True, kw_only=True)
class TurnContext:
    """A turn whose question is stored, and the data for its prompt.

    `history` ends with the question.
    """

    lease: Lease
    session: Session
    memory: Memory
    history: tuple[Message, ...]

    def answered(self, answer: Message) -> SessionView:
        """Returns the session with its newest messages after the answer is stored.

        Messages before a reset count as processed for its memory.
        """
        session, numbered = self.session.appended(answer)
        memory = self.memory.after_reset(session.reset_at)
        return SessionView(session=session, memory=memory, messages=(*self.history, numbered))


def title_of(messages: Iterable[Message]) -> str:
    """The title of a session with these messages: see `Message.title`."""
    return next((message.title for message in messages if message.title), "")
