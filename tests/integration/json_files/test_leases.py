"""Leases on sessions: locks, releases, and changes by other processes."""
# ruff: noqa: ASYNC240 - a test may block a loop that is its own

import asyncio
import os
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import pytest

from chatbot.adapters.storage.json_files.leases import HeldSession
from chatbot.adapters.storage.json_files.storage import JsonFileStorage
from chatbot.domain.chat import (
    MessageRole,
)
from chatbot.domain.errors import (
    Conflict,
    NotFound,
    SessionBusy,
)
from chatbot.domain.memory import Memory
from json_store import (
    ANA,
    ONE,
    T0,
    TURN,
    Faulty,
    Interrupted,
    add_message,
    messages_of,
    new_session,
    sessions_of,
    talk,
)
from samples import new_message

POSIX = pytest.mark.skipif(os.name == "nt", reason="Windows has no such rights or links")


def delete(storage: JsonFileStorage) -> None:
    sessions_of(storage).delete(sessions_of(storage).acquire(ANA, ONE, TURN))


def reset(storage: JsonFileStorage) -> None:
    sessions_of(storage).reset(sessions_of(storage).acquire(ANA, ONE, TURN), ts=T0)


def content(path: Path) -> bytes:
    return path.read_bytes() if path.is_file() else b""


@contextmanager
def blocked_in_a_thread(work: Callable[[], None]) -> Iterator[Callable[[], None]]:
    """Yield a function that starts the work in another thread, and gives it time to block."""
    thread = threading.Thread(target=work)

    def begin() -> None:
        thread.start()
        thread.join(0.2)

    yield begin
    thread.join()


class Overtaken:
    """The lock of a lease, acquired first by another process."""

    def __init__(self, held: HeldSession, other: Callable[[], None]) -> None:
        self._held, self._lock, self._other = held, held.writing, other

    def __enter__(self) -> None:
        self._held.writing = self._lock
        self._other()
        self._lock.acquire()

    def __exit__(self, *exc_info: object) -> None:
        self._lock.release()


class TestLeases:
    @pytest.mark.parametrize("caller_leaves", [False, True])
    async def test_release_waits_for_the_write_that_has_begun(
        self, root: Path, caller_leaves: bool
    ) -> None:
        files = Faulty()
        async with JsonFileStorage(root, files) as storage, JsonFileStorage(root) as other:
            lease = talk(storage)
            files.may_sync.clear()
            write = asyncio.ensure_future(
                storage.transact(
                    lambda tx: tx.sessions.append(
                        lease, new_message(lease, MessageRole.USER, "x", ts=T0)
                    )
                )
            )
            assert await asyncio.to_thread(files.is_syncing.wait, 10)
            if caller_leaves:
                write.cancel()
            release = asyncio.ensure_future(storage.transact(lambda tx: tx.sessions.release(lease)))
            for _ in range(20):
                with pytest.raises(SessionBusy):
                    await other.transact(lambda tx: tx.sessions.acquire(ANA, ONE, TURN))
            assert not release.done()
            files.may_sync.set()
            await release
            assert [message.seq for message in messages_of(other)] == [1, 2, 3, 4]
            sessions_of(other).acquire(ANA, ONE, TURN)
            await asyncio.gather(write, return_exceptions=True)
            assert write.cancelled() is caller_leaves

    async def test_closing_frees_the_leases(self, root: Path) -> None:
        async with JsonFileStorage(root) as storage:
            talk(storage)
        async with JsonFileStorage(root) as storage:
            sessions_of(storage).acquire(ANA, ONE, TURN)

    async def test_two_stores_on_one_folder_exclude_each_other(self, root: Path) -> None:
        async with JsonFileStorage(root) as one, JsonFileStorage(root) as other:
            lease = talk(one)
            with pytest.raises(SessionBusy):
                sessions_of(other).acquire(ANA, ONE, TURN)
            with pytest.raises(SessionBusy):
                sessions_of(other).append(
                    lease, new_message(lease, MessageRole.USER, "not mine", ts=T0)
                )
            sessions_of(one).delete(lease)
            with pytest.raises(NotFound):
                sessions_of(other).acquire(ANA, ONE, TURN)

    async def test_queued_write_is_dropped_when_its_lease_is_released(self, root: Path) -> None:
        async with JsonFileStorage(root) as storage:
            lease = talk(storage)
            held = storage._sessions._leases._held[lease]
            held.writing = Overtaken(held, lambda: sessions_of(storage).release(lease))  # type: ignore[assignment] # a lock
            with pytest.raises(SessionBusy):
                sessions_of(storage).append(
                    lease, new_message(lease, MessageRole.USER, "too late", ts=T0)
                )
            assert len(messages_of(storage)) == 3

    async def test_session_deleted_during_its_acquisition_is_not_found(
        self, root: Path, folder: Path
    ) -> None:
        files = Interrupted("open_lock")
        async with JsonFileStorage(root, files) as storage, JsonFileStorage(root) as other:
            sessions = sessions_of(storage)
            sessions_of(other).release(talk(other))
            files.meanwhile = partial(delete, other)
            with pytest.raises(NotFound):
                sessions.acquire(ANA, ONE, TURN)
        assert [path for path in folder.rglob("*") if path.is_file() and os.name != "nt"] == []

    @POSIX
    async def test_lock_on_a_session_deleted_and_restored_meanwhile_is_not_a_lease(
        self, root: Path
    ) -> None:
        """Restored from a backup: ids are never reused otherwise."""
        files = Interrupted("try_lock")

        def delete_and_bring_back() -> None:
            delete(other)
            sessions_of(other).create(new_session())

        async with JsonFileStorage(root, files) as storage, JsonFileStorage(root) as other:
            sessions_of(other).release(talk(other))
            files.meanwhile = delete_and_bring_back
            with pytest.raises(SessionBusy):
                sessions_of(storage).acquire(ANA, ONE, TURN)
            assert add_message(storage).seq == 1

    @pytest.mark.parametrize("end", ["delete", "reset"])
    async def test_memory_being_stored_does_not_outlive_its_session(
        self, root: Path, end: str
    ) -> None:
        files, ending = Interrupted("replace"), {"delete": delete, "reset": reset}[end]
        async with JsonFileStorage(root, files) as storage, JsonFileStorage(root) as other:
            sessions_of(other).release(talk(other))
            with blocked_in_a_thread(partial(ending, other)) as files.meanwhile:
                memory = Memory(summary="canary")
                assert sessions_of(storage).put_memory(ANA, ONE, memory, epoch=0)
        assert [path for path in root.rglob("*") if b"canary" in content(path)] == []

    async def test_session_that_is_created_twice_at_once_is_created_once(self, root: Path) -> None:
        files, errors = Interrupted("replace"), list[str]()

        def create_again() -> None:
            with pytest.raises(Conflict):
                sessions_of(other).create(new_session())
            errors.append("conflict")

        async with JsonFileStorage(root, files) as storage, JsonFileStorage(root) as other:
            with blocked_in_a_thread(create_again) as files.meanwhile:
                sessions_of(storage).create(new_session())
        assert errors == ["conflict"]
