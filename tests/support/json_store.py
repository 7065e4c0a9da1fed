"""A store in a folder of JSON files: samples, short calls, and file systems that fail or interrupt."""

import asyncio
import threading
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

from chatbot.adapters.filesystem.files import Files
from chatbot.adapters.storage.json_files.storage import JsonFileStorage
from chatbot.domain.chat import (
    Lease,
    Message,
    MessageRange,
    MessageRole,
    Session,
    SessionId,
    TurnId,
)
from chatbot.domain.errors import (
    SessionBusy,
    StorageFull,
    StorageUnavailable,
)
from chatbot.domain.identity import Owner, User, UserId
from chatbot.domain.ports.session_log import SessionLog
from chatbot.domain.repositories.attempts import AttemptRepository
from chatbot.domain.repositories.users import Users
from chatbot.domain.throttling import account_throttle
from repositories import here_and_now
from samples import new_message

T0 = datetime(2026, 3, 1, 12, 0, 0, 123457, tzinfo=UTC)
ANA = Owner(kind="user", id="a" * 32)
BOB = Owner(kind="user", id="b" * 32)
TURN = TurnId("1" * 32)
GUESSED = account_throttle("ana@example.com")
ONE, TWO = SessionId("0" * 31 + "1"), SessionId("0" * 31 + "2")


def later(seconds: float) -> datetime:
    return T0 + timedelta(seconds=seconds)


def new_session(session_id: SessionId = ONE, owner: Owner = ANA) -> Session:
    return Session(id=session_id, owner=owner, title="", created_at=T0, updated_at=T0)


def sessions_of(storage: JsonFileStorage) -> SessionLog:
    return here_and_now(storage).sessions


def users_of(storage: JsonFileStorage) -> Users:
    return here_and_now(storage).users


def attempts_of(storage: JsonFileStorage) -> AttemptRepository:
    return here_and_now(storage).attempts


def talk(storage: JsonFileStorage, session_id: SessionId = ONE, count: int = 3) -> Lease:
    """Create a session with some messages; its lease is still held."""
    sessions = sessions_of(storage)
    sessions.create(new_session(session_id))
    lease = sessions.acquire(ANA, session_id, TURN)
    for n in range(count):
        author = MessageRole.ASSISTANT if n % 2 else MessageRole.USER
        sessions.append(lease, new_message(lease, author, f"text ñ {n}", ts=later(n)))
    return lease


def messages_of(storage: JsonFileStorage, session_id: SessionId = ONE) -> list[Message]:
    return list(sessions_of(storage).read(ANA, session_id, MessageRange(limit=99)))


def add_message(storage: JsonFileStorage) -> Message:
    """Append one message in its own turn."""
    lease = sessions_of(storage).acquire(ANA, ONE, TURN)
    try:
        return sessions_of(storage).append(
            lease, new_message(lease, MessageRole.USER, "one more", ts=later(99))
        )
    finally:
        sessions_of(storage).release(lease)


def tree(root: Path) -> dict[str, tuple[int, bytes]]:
    """Every file below the folder with its time and bytes, except lock files."""
    return {
        str(path.relative_to(root)): (path.stat().st_mtime_ns, path.read_bytes())
        for path in sorted(root.rglob("*"))
        if path.is_file() and path.suffix != ".lock"
    }


class Faulty(Files):
    """A file system that fails at the calls named by a test."""

    def __init__(self) -> None:
        self.failing: set[str] = set()
        self.read_bytes = 0
        self.opened = 0
        self.now: int | None = None
        self.is_syncing, self.may_sync = threading.Event(), threading.Event()
        self.may_sync.set()

    def now_ns(self) -> int:
        return super().now_ns() if self.now is None else self.now

    def write(self, fd: int, data: bytes) -> int:
        if "write" in self.failing:
            super().write(fd, data[: len(data) // 2])
            raise StorageFull("full")
        short = max(1, len(data) // 3) if "short" in self.failing else len(data)
        return super().write(fd, data[:short])

    def fsync(self, fd: int) -> None:
        if "fsync" in self.failing:
            raise StorageUnavailable("sync")
        if not self.may_sync.is_set():
            self.is_syncing.set()
            self.may_sync.wait(10)
        if "late sync" in self.failing:
            self.failing = set()
            raise StorageUnavailable("sync")
        super().fsync(fd)

    def truncate(self, fd: int, length: int) -> None:
        if "truncate" in self.failing:
            raise StorageUnavailable("cut")
        super().truncate(fd, length)

    def replace(self, source: Path, target: Path) -> None:
        if "replace" in self.failing:
            raise StorageUnavailable("replace")
        super().replace(source, target)

    def remove(self, path: Path) -> None:
        if "remove" in self.failing:
            raise StorageUnavailable("remove")
        super().remove(path)

    def open_to_read(self, path: Path) -> int:
        self.opened += 1
        return super().open_to_read(path)

    def read_at(self, fd: int, length: int, offset: int) -> bytes:
        found = super().read_at(fd, length, offset)
        self.read_bytes += len(found)
        return found


class Interrupted(Files):
    """A file system that runs an action right before an operation."""

    def __init__(self, step: str) -> None:
        self._step = step
        self.meanwhile: Callable[[], object] = lambda: None

    def open_lock(self, path: Path) -> int:
        self._reach("open_lock")
        return super().open_lock(path)

    def try_lock(self, fd: int) -> bool:
        self._reach("try_lock")
        return super().try_lock(fd)

    def read_at(self, fd: int, length: int, offset: int) -> bytes:
        self._reach("read_at")
        return super().read_at(fd, length, offset)

    def replace(self, source: Path, target: Path) -> None:
        self._reach("replace")
        super().replace(source, target)

    def _reach(self, step: str) -> None:
        if step == self._step:
            meanwhile, self.meanwhile = self.meanwhile, lambda: None
            meanwhile()


def user(number: int, roles: tuple[str, ...] = ()) -> User:
    return User(
        id=UserId(f"{number:032x}"),
        email=f"u{number}@example.com",
        password_hash="old",
        roles=roles,
        department="",
        created_at=T0,
    )


async def eventually(work: Callable[[], object]) -> None:
    """Retry the work until the session is free."""
    for _ in range(500):
        try:
            work()
        except SessionBusy:
            await asyncio.sleep(0.01)
        else:
            return
    raise AssertionError("still busy")
