"""Storage in a folder of JSON files."""

import asyncio
import contextvars
import secrets
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import asynccontextmanager
from datetime import datetime
from itertools import takewhile
from pathlib import Path
from typing import ParamSpec, Self, TypeVar

from chatbot.adapters.storage.durable_files import exists, make_durable_folder, write_new
from chatbot.adapters.storage.files import Files
from chatbot.adapters.storage.inspection import Finding, count_legacy_sessions, inspect
from chatbot.adapters.storage.session_files import SessionFiles
from chatbot.adapters.storage.user_files import UserFiles
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
from chatbot.domain.errors import StorageUnavailable
from chatbot.domain.identity import Owner, Role, User, UserId
from chatbot.domain.memory import Memory
from chatbot.domain.ports.storage import (
    SessionRepository,
    Storage,
    Transaction,
    UserRepository,
)

_THREADS = 8
Params = ParamSpec("Params")
Found = TypeVar("Found")


class _Threads:
    """Where the blocking calls run: one hop for each method of the port."""

    def __init__(self) -> None:
        self._pool: ThreadPoolExecutor | None = None

    def open(self) -> None:
        self._pool = ThreadPoolExecutor(_THREADS, thread_name_prefix="chatbot-storage")

    async def close(self) -> None:
        """Wait for what is being written; new calls are refused."""
        pool, self._pool = self._pool, None
        if pool is not None:
            await asyncio.to_thread(pool.shutdown)

    def submit(
        self, call: Callable[Params, Found], *args: Params.args, **kwargs: Params.kwargs
    ) -> Future[Found]:
        if self._pool is None:
            raise StorageUnavailable("The store is not open.")
        context = contextvars.copy_context()  # the request's, for what is logged
        return self._pool.submit(lambda: context.run(call, *args, **kwargs))

    async def run(
        self, call: Callable[Params, Found], *args: Params.args, **kwargs: Params.kwargs
    ) -> Found:
        """Call in a thread. A caller that leaves does not stop a write that has begun."""
        try:
            return await asyncio.wrap_future(self.submit(call, *args, **kwargs))
        except FileNotFoundError as error:
            raise StorageUnavailable("A part of the store is missing.") from error


class _JsonSessions(SessionRepository):
    def __init__(self, sessions: SessionFiles, threads: _Threads) -> None:
        self._sessions, self._threads = sessions, threads

    async def create(self, session: Session) -> None:
        await self._threads.run(self._sessions.create, session)

    async def get(self, owner: Owner, session_id: SessionId) -> Session:
        return await self._threads.run(self._sessions.get, owner, session_id)

    async def page(
        self, owner: Owner, *, limit: int, after: PageMark | None = None
    ) -> Sequence[Session]:
        return await self._threads.run(self._sessions.page, owner, limit=limit, after=after)

    async def acquire(self, owner: Owner, session_id: SessionId, turn_id: TurnId) -> Lease:
        """Take the lease. If the caller leaves meanwhile, nobody would release it: we do."""
        future = self._threads.submit(self._sessions.acquire, owner, session_id, turn_id)
        try:
            return await asyncio.wrap_future(future)
        except asyncio.CancelledError:
            future.add_done_callback(self._release_unwanted)
            raise

    def _release_unwanted(self, future: Future[Lease]) -> None:
        if not future.cancelled() and future.exception() is None:
            self._sessions.release(future.result())

    async def release(self, lease: Lease) -> None:
        await self._threads.run(self._sessions.release, lease)

    async def append(
        self,
        lease: Lease,
        role: Author,
        content: str,
        *,
        ts: datetime,
        reason: Interruption | None = None,
    ) -> Message:
        append = self._sessions.append
        return await self._threads.run(append, lease, role, content, ts=ts, reason=reason)

    async def messages(
        self,
        owner: Owner,
        session_id: SessionId,
        *,
        limit: int,
        before: int | None = None,
        after: int = 0,
    ) -> Sequence[Message]:
        messages = self._sessions.messages
        return await self._threads.run(
            messages, owner, session_id, limit=limit, before=before, after=after
        )

    async def messages_from(
        self, owner: Owner, session_id: SessionId, *, after: int, limit: int
    ) -> Sequence[Message]:
        messages_from = self._sessions.messages_from
        return await self._threads.run(messages_from, owner, session_id, after=after, limit=limit)

    async def memory(self, owner: Owner, session_id: SessionId) -> Memory:
        return await self._threads.run(self._sessions.memory, owner, session_id)

    async def put_memory(
        self, owner: Owner, session_id: SessionId, memory: Memory, *, epoch: int
    ) -> bool:
        put_memory = self._sessions.put_memory
        return await self._threads.run(put_memory, owner, session_id, memory, epoch=epoch)

    async def reset(self, lease: Lease, *, ts: datetime) -> None:
        await self._threads.run(self._sessions.reset, lease, ts=ts)

    async def delete(self, lease: Lease) -> None:
        await self._threads.run(self._sessions.delete, lease)


class _JsonUsers(UserRepository):
    def __init__(self, users: UserFiles, threads: _Threads) -> None:
        self._users, self._threads = users, threads

    async def add(self, user: User) -> None:
        await self._threads.run(self._users.add, user)

    async def add_first(self, user: User, *, unless_any_has: frozenset[str]) -> None:
        await self._threads.run(self._users.add_first, user, unless_any_has=unless_any_has)

    async def by_id(self, user_id: UserId) -> User | None:
        return await self._threads.run(self._users.by_id, user_id)

    async def by_email(self, email: str) -> User | None:
        return await self._threads.run(self._users.by_email, email)

    async def set_password_hash(self, user_id: UserId, *, old: str, new: str) -> None:
        await self._threads.run(self._users.set_password_hash, user_id, old=old, new=new)

    async def roles(self) -> Mapping[str, Role]:
        return await self._threads.run(self._users.roles)


class _JsonTransaction(Transaction):
    def __init__(self, sessions: _JsonSessions, users: _JsonUsers) -> None:
        self._sessions, self._users = sessions, users

    @property
    def sessions(self) -> SessionRepository:
        return self._sessions

    @property
    def users(self) -> UserRepository:
        return self._users


class JsonFileStorage(Storage):
    """A folder with JSON files, which several processes on one machine may share.

    Promised: every write is durable when it returns, and each by itself happens wholly or not at
    all, whenever the process or the power ends; a reset empties messages and memory in one
    instant. Damage is told by checksums, stays with its session and is never overwritten.

    Not promised: a transaction undoes nothing. What was written before an exception stays, each
    write being whole by itself. Not for network file systems without working locks, and not
    encrypted: that is the disk's job.
    """

    def __init__(self, root: Path, files: Files | None = None) -> None:
        self._root, self._files = root, files or Files()
        self._threads = _Threads()
        self._sessions = SessionFiles(root / "memory", self._files)
        self._users = UserFiles(root / "auth", self._files)
        self._transaction = _JsonTransaction(
            _JsonSessions(self._sessions, self._threads), _JsonUsers(self._users, self._threads)
        )

    async def __aenter__(self) -> Self:
        """Make the folders.

        Raises:
            StorageUnavailable: something else stands where a folder should be, or a symbolic link.
        """
        self._threads.open()
        try:
            await self._threads.run(self._open)
        except BaseException:
            await self._threads.close()
            raise
        return self

    def _open(self) -> None:
        root = self._root.absolute()
        missing = takewhile(lambda path: not exists(self._files, path), root.parents)
        for folder in (*reversed(list(missing)), root):
            make_durable_folder(self._files, folder)
        self._users.open()
        self._sessions.open()

    async def __aexit__(self, *exc_info: object) -> None:
        await self._threads.close()
        self._sessions.close()

    @asynccontextmanager
    async def transaction(self) -> AsyncIterator[Transaction]:
        """Give the repositories; see the class for what an exception undoes: nothing."""
        yield self._transaction

    async def check(self) -> None:
        await self._threads.run(self._check)

    def _check(self) -> None:
        probe = self._root / f".probe-{secrets.token_hex(8)}"
        try:
            write_new(self._files, probe, b"ready\n")
        finally:
            self._files.remove(probe)

    async def make_roles(self) -> None:
        """Write `roles.json` with the roles `admin` and `employee`, if there is none."""
        await self._threads.run(self._users.make_roles)

    async def inspect(self) -> list[Finding]:
        """Read everything, verify every checksum, and say what is wrong. Writes nothing."""
        return await self._threads.run(inspect, self._root, self._files)

    async def legacy_sessions(self) -> int:
        """How many sessions of the first MVP wait to be imported."""
        return await self._threads.run(count_legacy_sessions, self._root, self._files)
