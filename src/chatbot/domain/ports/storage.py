"""The port to storage: one `Storage`, whose transactions work on the repositories.

The owner is part of every signature. A session of somebody else and a session that does not
exist are the same `NotFound`.
"""

from abc import abstractmethod
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Protocol, Self, TypeVar

from chatbot.domain.chat import (
    Author,
    Interruption,
    Lease,
    Message,
    PageMark,
    Session,
    SessionId,
    TurnId,
)
from chatbot.domain.identity import Owner, Role, User, UserId
from chatbot.domain.memory import Memory
from chatbot.domain.throttling import AttemptKey, Tally

Found = TypeVar("Found")


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
    def page(self, owner: Owner, *, limit: int, after: PageMark | None = None) -> Sequence[Session]:
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
        role: Author,
        content: str,
        *,
        ts: datetime,
        reason: Interruption | None = None,
    ) -> Message:
        """Append a message of the lease's turn, and return it with its number.

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


class UserRepository(Protocol):
    """People and the roles they can have."""

    @abstractmethod
    def add(self, user: User, *, unless_any_has: frozenset[str] = frozenset()) -> None:
        """Store a user unless somebody already has one of these roles; of many at once, one wins.

        Raises:
            Conflict: somebody has such a role, or the e-mail address is taken.
        """

    @abstractmethod
    def by_id(self, user_id: UserId) -> User | None:
        """Return the user, or None."""

    @abstractmethod
    def by_email(self, email: str) -> User | None:
        """Return the user with this normalised e-mail address, or None."""

    @abstractmethod
    def set_password_hash(self, user_id: UserId, *, old: str, new: str) -> None:
        """Replace a password hash if it still is `old`; else do nothing."""

    @abstractmethod
    def roles(self) -> Mapping[str, Role]:
        """Return the roles by name."""


class AttemptRepository(Protocol):
    """Attempts to log in that have not succeeded, for as long as they count.

    Bounded, whatever is tried. Damage is no failure: what cannot be read was never counted.
    """

    @abstractmethod
    def count(self, tallies: Sequence[Tally], *, at: datetime) -> timedelta:
        """Count an attempt in all tallies, or in none if one of them has to wait.

        Of many at once, as many are counted as of the same one after the other.

        Returns:
            How long to wait; zero if the attempt was counted.
        """

    @abstractmethod
    def withdraw(self, tallies: Sequence[Tally], *, at: datetime) -> None:
        """Take back the attempt of this moment; one that is not there is taken back."""

    @abstractmethod
    def clear(self, key: AttemptKey) -> None:
        """Take back all attempts of a tally."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Transaction:
    """What can be read and written together."""

    sessions: SessionRepository
    users: UserRepository
    attempts: AttemptRepository


class Storage(Protocol):
    """A place where things last. Opened and closed with `async with`; constructing does no I/O.

    All methods may raise `StorageUnavailable` and `StorageFull`.
    """

    @abstractmethod
    async def __aenter__(self) -> Self: ...

    @abstractmethod
    async def __aexit__(self, *exc_info: object) -> None: ...

    @abstractmethod
    async def transact(self, work: Callable[[Transaction], Found]) -> Found:
        """Do the work on the repositories and commit; an exception undoes it.

        What it wrote is durable when this returns. The work is an ordinary function: it cannot
        wait for a model, so that no transaction is ever open while one is asked. Where it blocks,
        it is done off the event loop. A caller that is cancelled does not stop work that has
        begun. How much an exception undoes is the backend's: see its docstring.
        """

    @abstractmethod
    def keeping(self, lease: Lease) -> AbstractContextManager[None]:
        """Keep a lease from running out, for as long as it takes; to be entered on the event loop.

        For what goes on between two transactions, as a model that is asked. A lease that was lost
        all the same is noticed by the next write.
        """

    @abstractmethod
    async def check(self) -> None:
        """Return if the store can be read and written right now.

        Raises:
            StorageUnavailable: it cannot.
        """

    @abstractmethod
    async def flaws(self) -> Sequence[str]:
        """Look at everything that is stored, and say what is wrong and the mend. Writes nothing."""
