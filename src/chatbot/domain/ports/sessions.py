"""The port to sessions, their messages and memory.

The owner is part of every signature. A session of somebody else and a session that does not
exist are the same `NotFound`.
"""

from abc import abstractmethod
from collections.abc import Sequence
from datetime import datetime
from typing import Protocol

from chatbot.domain.chat import (
    InterruptReason,
    Lease,
    Message,
    MessageRole,
    Question,
    Session,
    SessionCursor,
    SessionId,
    TurnContext,
    TurnId,
)
from chatbot.domain.identity import Owner
from chatbot.domain.memory import Memory


class SessionRepository(Protocol):
    """Sessions, their messages and memory.

    What a transaction wrote is durable when `transact` returns. Methods that take a `Lease` raise `SessionBusy` and write
    nothing when it is not held any more.
    """

    @abstractmethod
    def create(self, session: Session) -> None:
        """Store a new, empty session.

        Raises:
            Conflict: the owner has a session with this id.
        """

    @abstractmethod
    def get(self, owner: Owner, session_id: SessionId) -> Session:
        """Return the session.

        Raises:
            NotFound: the owner has no such session.
        """

    @abstractmethod
    def page(
        self, owner: Owner, *, limit: int, after: SessionCursor | None = None
    ) -> Sequence[Session]:
        """Return the owner's sessions by `updated_at`, newest first, then by id ascending."""

    @abstractmethod
    def acquire(self, owner: Owner, session_id: SessionId, turn_id: TurnId) -> Lease:
        """Take the right to write to the session, without waiting.

        It ends with `release`, or some time after the process that holds it has died.

        Raises:
            NotFound: the owner has no such session.
            SessionBusy: somebody else holds it.
        """

    @abstractmethod
    def release(self, lease: Lease) -> None:
        """Give the right back; one that is not held any more is none."""

    @abstractmethod
    def append(
        self,
        lease: Lease,
        role: MessageRole,
        content: str,
        *,
        ts: datetime,
        reason: InterruptReason | None = None,
        turn_id: TurnId | None = None,
    ) -> Message:
        """Append a message of the lease's turn, or of an earlier one, and return it with its number.

        The first message of the user becomes the title; `ts` becomes `updated_at`.
        """

    @abstractmethod
    def messages(
        self,
        owner: Owner,
        session_id: SessionId,
        *,
        limit: int,
        before: int | None = None,
        after: int = 0,
    ) -> Sequence[Message]:
        """Return the newest `limit` messages with `after < seq < before`, ascending by `seq`.

        The cost does not grow with the number of older messages.

        Raises:
            NotFound: the owner has no such session.
        """

    @abstractmethod
    def messages_from(
        self, owner: Owner, session_id: SessionId, *, after: int, limit: int
    ) -> Sequence[Message]:
        """Return the oldest `limit` messages with `seq > after`, ascending by `seq`."""

    @abstractmethod
    def memory(self, owner: Owner, session_id: SessionId) -> Memory:
        """Return what is remembered of the session; `Memory()` if nothing was ever stored.

        Raises:
            NotFound: the owner has no such session.
        """

    @abstractmethod
    def put_memory(
        self, owner: Owner, session_id: SessionId, memory: Memory, *, epoch: int
    ) -> bool:
        """Store the memory if nothing has changed since it was read.

        That is: if the session is still in `epoch` and its memory still has `memory.version`.
        The stored memory has the next version. Needs no lease.

        Returns:
            Whether it was stored. False also if the session is gone.
        """

    @abstractmethod
    def reset(self, lease: Lease, *, ts: datetime) -> None:
        """Empty messages, title and memory, at once or not at all. Numbers are not used again."""

    @abstractmethod
    def delete(self, lease: Lease) -> None:
        """Remove the session with all that belongs to it, and with it the lease."""

    def store_question(self, question: Question) -> TurnContext:
        """Begin a turn: acquire the session, read what its prompt may hold, append the question.

        A last message without an answer means that its process died, for nobody holds the session:
        an empty answer is written down first. After an exception the session is free again.

        Raises:
            NotFound, SessionBusy: as `acquire`.
        """
        lease = self.acquire(question.owner, question.session_id, question.turn_id)
        try:
            memory = self.memory(lease.owner, lease.session_id)
            start, limit = question.history_start(memory), question.history_limit
            history = [*self.messages(lease.owner, lease.session_id, limit=limit, after=start)]
            if history and history[-1].role is MessageRole.USER:
                history.append(self._crashed(lease, history[-1].turn_id, question.ts))
            history.append(self.append(lease, MessageRole.USER, question.text, ts=question.ts))
        except BaseException:
            self.release(lease)
            raise
        return TurnContext(lease=lease, memory=memory, history=tuple(history[-limit:]))

    def _crashed(self, lease: Lease, turn_id: TurnId, ts: datetime) -> Message:
        reason = InterruptReason.CRASH
        return self.append(lease, MessageRole.ASSISTANT, "", ts=ts, reason=reason, turn_id=turn_id)

    def store_answer(
        self, lease: Lease, text: str, *, ts: datetime, reason: InterruptReason | None
    ) -> None:
        """End a turn: append what the model said, however that ended, and release the session."""
        try:
            self.append(lease, MessageRole.ASSISTANT, text, ts=ts, reason=reason)
        finally:
            self.release(lease)
