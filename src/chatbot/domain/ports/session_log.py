"""The port to sessions: append-only logs of messages, each with an owner and a lease.

The owner is part of every signature. A session of another owner and a session that does not exist
are the same `NotFound`.
"""

from abc import abstractmethod
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import datetime
from typing import Protocol

from chatbot.domain.chat import (
    NO_MESSAGES,
    Lease,
    Message,
    MessageRange,
    Question,
    Session,
    SessionCursor,
    SessionId,
    SessionView,
    TurnContext,
    TurnId,
)
from chatbot.domain.errors import NotFound
from chatbot.domain.identity import Owner
from chatbot.domain.memory import Memory

MessageKey = tuple[SessionId, int]
"""A session and the number of one of its messages."""
Select = Callable[[Session, Memory], MessageRange]


def select_none(_: Session, __: Memory) -> MessageRange:
    """Selects no messages."""
    return NO_MESSAGES


class SessionLog(Protocol):
    """Sessions, their messages and memory.

    Methods that take a session id, except `put_memory`, raise `NotFound` if the owner has no such
    session; those that take a `Lease` raise `SessionBusy` and write nothing if it is no longer
    held.
    """

    @abstractmethod
    def create(self, session: Session) -> None:
        """Store a new, empty session.

        Raises:
            Conflict: the owner has a session with this id.
        """

    @abstractmethod
    def get(self, owner: Owner, session_id: SessionId) -> Session:
        """Return the session."""

    @abstractmethod
    def count(self, owner: Owner) -> int:
        """Return how many sessions the owner has. The cost grows with their number."""

    @abstractmethod
    def owners(self) -> Sequence[Owner]:
        """Return all owners who have or had sessions."""

    @abstractmethod
    def owners_of(self, session_id: SessionId) -> Sequence[Owner]:
        """Return the owners of a session with this id: at most one, unless sessions were copied.

        For callers who may read the sessions of all owners. The cost grows with the number of
        owners,
        not of sessions.
        """

    @abstractmethod
    def page(
        self, owner: Owner, *, limit: int, after: SessionCursor | None = None, title: str = ""
    ) -> Sequence[Session]:
        """Return the owner's sessions by `updated_at`, newest first, then by id ascending.

        Only those whose title contains `title`: see `is_in_title`.
        """

    @abstractmethod
    def acquire(self, owner: Owner, session_id: SessionId, turn_id: TurnId) -> Lease:
        """Acquire the right to write to the session, without waiting.

        It ends with `release`, or some time after the process that holds it has died.

        Raises:
            SessionBusy: another turn or change holds it.
        """

    @abstractmethod
    def release(self, lease: Lease) -> None:
        """Release the session. No-op if the lease is no longer held."""

    @contextmanager
    def held(self, owner: Owner, session_id: SessionId, turn_id: TurnId) -> Iterator[Lease]:
        """Hold the session inside `with`: `acquire` and `release`."""
        lease = self.acquire(owner, session_id, turn_id)
        try:
            yield lease
        finally:
            self.release(lease)

    @abstractmethod
    def append(self, lease: Lease, message: Message) -> Message:
        """Append a message, and return it with its number: see `Session.appended`."""

    @abstractmethod
    def read(
        self, owner: Owner, session_id: SessionId, selected: MessageRange
    ) -> Sequence[Message]:
        """Return the selected messages, ascending by `seq`.

        The cost does not grow with the number of messages before them, nor, if the oldest are
        selected, with those before `after`.
        """

    def with_next(
        self, owner: Owner, keys: Collection[MessageKey]
    ) -> Mapping[MessageKey, Sequence[Message]]:
        """Return those of the owner's messages that exist, each followed by the next one, if any.

        Raises nothing for sessions that do not exist.
        """
        found: dict[MessageKey, Sequence[Message]] = {}
        for session_id, seq in keys:
            selected = MessageRange(limit=2, after=seq - 1, oldest=True)
            try:
                messages = self.read(owner, session_id, selected)
            except NotFound:
                continue
            if messages and messages[0].seq == seq:
                found[session_id, seq] = messages
        return found

    @abstractmethod
    def memory(self, owner: Owner, session_id: SessionId) -> Memory:
        """Return the memory of the session; `Memory()` if nothing was ever stored."""

    @abstractmethod
    def put_memory(
        self, owner: Owner, session_id: SessionId, memory: Memory, *, epoch: int
    ) -> bool:
        """Store the memory if nothing has changed since it was read.

        That is: if the session is still in `epoch` and its memory still has `memory.version`.
        The stored memory has the next version. Needs no lease.

        Returns:
            Whether it was stored. Also False if the session was deleted.
        """

    @abstractmethod
    def update(self, lease: Lease, session: Session) -> Session:
        """Store the fields of the session that people change, and return it: see `Session.updated`.

        Its other fields are ignored. Its place in the list, by `updated_at`, stays.
        """

    @abstractmethod
    def trim(self, lease: Lease, upto: int) -> None:
        """Permanently remove the messages up to this number; later ones keep their numbers.

        A title that was the beginning of a removed message is that of the first one left. The
        session keeps its memory and its place in the list. No-op if there are none.

        Raises:
            SessionHeld: the session must be kept.
        """

    @abstractmethod
    def reset(self, lease: Lease, *, ts: datetime) -> None:
        """Empty messages, title and memory atomically: see `Session.was_reset`.

        Raises:
            SessionHeld: the session must be kept.
        """

    @abstractmethod
    def delete(self, lease: Lease) -> None:
        """Remove the session and everything that belongs to it, including the lease.

        Raises:
            SessionHeld: the session must be kept.
        """

    def clear(self, owner: Owner) -> None:  # noqa: ARG002 # most stores have nothing to do
        """Remove the remains of an owner whose sessions were all deleted, such as unfinished files."""
        return

    def load(
        self, owner: Owner, session_id: SessionId, select: Select = select_none
    ) -> SessionView:
        """Return the session, its memory, and the messages that `select` chooses for these two."""
        session, memory = self.get(owner, session_id), self.memory(owner, session_id)
        selected = select(session, memory)
        messages = self.read(owner, session_id, selected) if selected.limit else ()
        return SessionView(session=session, memory=memory, messages=tuple(messages))

    def store_question(self, question: Question) -> TurnContext:
        """Begin a turn: acquire the session, load the data for its prompt, append the question.

        If the process of the previous turn died, its missing answer is appended first: see
        `Question.messages_after`. Raises as `acquire`; the session is free after an exception.
        """
        lease = self.acquire(question.owner, question.session_id, question.turn_id)
        try:
            found = self.load(
                lease.owner, lease.session_id, lambda _, memory: question.history(memory)
            )
            session, history = found.session, found.messages
            for message in question.messages_after(history):
                session, _ = session.appended(message)
                history = (*history, self.append(lease, message))
        except BaseException:
            self.release(lease)
            raise
        history = history[-question.history_limit :]
        return TurnContext(lease=lease, session=session, memory=found.memory, history=history)

    def store_answer(self, lease: Lease, answer: Message) -> None:
        """End a turn: append the answer, complete or not, and release the session."""
        try:
            self.append(lease, answer)
        finally:
            self.release(lease)
