"""The port to storage: one `Storage`, whose transactions work on the repositories.

The owner is part of every signature. A session of somebody else and a session that does not
exist are the same `NotFound`.
"""

from abc import abstractmethod
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Protocol, Self, TypeVar

from chatbot.domain.chat import Lease, Message, Question, TurnContext
from chatbot.domain.identity import Role, User, UserId
from chatbot.domain.ports.counters import Counters
from chatbot.domain.ports.session_log import SessionLog
from chatbot.domain.repositories.attempts import AttemptRepository

Found = TypeVar("Found")

ROOM_BYTES = 64 * 1024
"""What a store has room for while it is ready: some turns."""


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
    def all(self) -> Sequence[User]:
        """Return everybody, by e-mail address."""

    @abstractmethod
    def password_schemes(self) -> Mapping[str, int]:
        """Return the schemes of the stored password hashes, each with how many users have it."""

    @abstractmethod
    def replace(
        self, user: User, *, old: User, keeping_one_of: frozenset[str] = frozenset()
    ) -> None:
        """Store the user in place of `old`, who has the same id and e-mail address.

        Raises:
            Conflict: the stored user is not `old` by now, or nobody active would be left who has
                one of the roles `keeping_one_of`; of two such changes at once, one wins at most.
        """

    @abstractmethod
    def set_password_hash(self, user_id: UserId, *, old: str, new: str) -> None:
        """Replace a password hash and raise the token version, if the hash still is `old`."""

    @abstractmethod
    def roles(self) -> Mapping[str, Role]:
        """Return the roles by name."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Transaction:
    """What can be read and written together."""

    sessions: SessionLog
    users: UserRepository
    counters: Counters

    @property
    def attempts(self) -> AttemptRepository:
        return AttemptRepository(self.counters)


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

    async def find_caller(self, user_id: UserId) -> tuple[User | None, Mapping[str, Role]]:
        """Return the user, or None, and the roles by name.

        This and the next two are what every turn does. Each is one transaction, and is defined by
        the repositories' methods; a store may have a shorter way that comes to the same.
        """
        return await self.transact(lambda tx: (tx.users.by_id(user_id), tx.users.roles()))

    async def store_question(self, question: Question) -> TurnContext:
        """Begin a turn of a session: see `SessionLog.store_question`."""
        return await self.transact(lambda tx: tx.sessions.store_question(question))

    async def store_answer(self, lease: Lease, answer: Message) -> None:
        """End a turn: see `SessionLog.store_answer`."""
        await self.transact(lambda tx: tx.sessions.store_answer(lease, answer))

    @abstractmethod
    def renewing(self, lease: Lease) -> AbstractContextManager[None]:
        """Keep a lease from running out, for as long as it takes; to be entered on the event loop.

        For what goes on between two transactions, as a model that is asked. A lease that was lost
        all the same is noticed by the next write.
        """

    @abstractmethod
    async def check(self) -> None:
        """Return if the store can be read and written right now, and has room for `ROOM_BYTES`.

        Raises:
            StorageUnavailable, StorageFull: it cannot.
        """

    @abstractmethod
    async def flaws(self) -> Sequence[str]:
        """Look at everything that is stored, and say what is wrong and the mend. Writes nothing."""
