"""The port to storage: one `Storage`, whose transactions work on the repositories."""

from abc import abstractmethod
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from datetime import datetime
from typing import NamedTuple, Protocol, Self, TypeVar

from chatbot.domain.chat import Lease, Message, Question, SessionId, TurnContext
from chatbot.domain.errors import NotFound, SessionBusy
from chatbot.domain.identity import FamilyId, Owner, User, UserId
from chatbot.domain.memory import Memory
from chatbot.domain.permissions import Role
from chatbot.domain.ports.counters import Addition, Bill
from chatbot.domain.transaction import Transaction

Found = TypeVar("Found")

ROOM_BYTES = 64 * 1024
"""The free space that a store needs to be ready: enough for some turns."""


class StoredCaller(NamedTuple):
    """The stored data of a caller.

    `user` is None if unknown; `roles` are all roles by name; `is_signed_in`: the sign-in is the
    user's, and has not ended.
    """

    user: User | None
    roles: Mapping[str, Role]
    is_signed_in: bool


class Storage(Protocol):
    """A store. Opened and closed with `async with`; constructing does no I/O.

    All methods may raise `StorageUnavailable` and `StorageFull`.
    """

    @abstractmethod
    async def __aenter__(self) -> Self: ...

    @abstractmethod
    async def __aexit__(self, *exc_info: object) -> None: ...

    @abstractmethod
    async def transact(self, work: Callable[[Transaction], Found]) -> Found:
        """Do the work on the repositories and commit; an exception rolls back.

        The writes are durable when this returns. The work is an ordinary function, so no
        transaction can be open during a model call. If it blocks, it runs off the event loop. It may
        be done again from its beginning if the database has undone it, as after a deadlock: it has
        no effects except on the repositories, or such as may happen twice.
        Cancelling the caller does not stop work that has begun. How much an exception rolls back
        depends on the backend: see its docstring.
        """

    async def find_caller(self, user_id: UserId, family_id: FamilyId | None = None) -> StoredCaller:
        """Return the user, the roles, and whether the user is signed in with this family.

        Every turn calls this method and the next two, and every other one the third. Each is one
        transaction, defined by methods of the repositories; a store may override it with a faster
        equivalent.
        """
        return await self.transact(
            lambda tx: StoredCaller(
                tx.users.by_id(user_id),
                tx.roles.all(),
                tx.refresh_families.is_signed_in(family_id, user_id),
            )
        )

    async def store_question(self, question: Question) -> TurnContext:
        """Begin a turn of a session: see `SessionLog.store_question`."""
        return await self.transact(lambda tx: tx.sessions.store_question(question))

    async def store_answer(self, lease: Lease, answer: Message, bill: Bill | None = None) -> None:
        """End a turn: see `SessionLog.store_answer`.

        The bill is settled, too, even if the lease or the session is lost.
        """

        def work(tx: Transaction) -> SessionBusy | NotFound | None:
            tx.settle(bill)
            try:
                tx.sessions.store_answer(lease, answer)
            except (SessionBusy, NotFound) as error:
                return error  # raised here it would undo the settlement
            return None

        if (lost := await self.transact(work)) is not None:
            raise lost

    async def store_memory(
        self,
        owner: Owner,
        session_id: SessionId,
        memory: Memory,
        *,
        epoch: int,
        bill: Bill | None = None,
    ) -> bool:
        """Store the memory unless it has changed: see `SessionLog.put_memory`.

        The bill is settled in any case.
        """

        def work(tx: Transaction) -> bool:
            tx.settle(bill)
            return tx.sessions.put_memory(owner, session_id, memory, epoch=epoch)

        return await self.transact(work)

    async def add_counts(
        self, additions: Sequence[Addition], *, now: datetime
    ) -> Sequence[Addition]:
        """Add amounts to counters: see `Counters.add`. Every request calls this method.

        These amounts may be lost in a power failure, so that no request waits for a disk.
        """
        return await self.transact(lambda tx: tx.counters.add(additions, now=now))

    @abstractmethod
    def renewing(self, lease: Lease) -> AbstractContextManager[None]:
        """Renew a lease until the end of the block, which is entered on the event loop.

        For work between two transactions, such as a model call. If the lease is lost nevertheless,
        the next write fails.
        """

    def forget(self) -> None:
        """Drop the stored texts that this process keeps in memory."""
        return

    @abstractmethod
    async def check(self) -> None:
        """Verify that the store can be read and written, and has room for `ROOM_BYTES`.

        Raises:
            StorageUnavailable, StorageFull: it cannot.
        """

    @abstractmethod
    async def inspect(self) -> Sequence[str]:
        """Check all stored data, and return the errors with their fixes. Writes nothing."""
