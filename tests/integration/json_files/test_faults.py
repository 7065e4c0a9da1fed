"""A full disk and failing file operations leave the stored data as it was."""

import os
import shutil
from pathlib import Path

import pytest

from chatbot.adapters.filesystem.atomic import locked
from chatbot.adapters.filesystem.files import Files
from chatbot.adapters.storage.json_files.check import Problem
from chatbot.adapters.storage.json_files.storage import JsonFileStorage
from chatbot.domain.chat import (
    MessageRole,
)
from chatbot.domain.errors import (
    NotFound,
    StorageFull,
    StorageUnavailable,
)
from chatbot.domain.memory import Memory
from json_store import (
    ANA,
    GUESSED,
    ONE,
    T0,
    TWO,
    Faulty,
    add_message,
    attempts_of,
    later,
    messages_of,
    new_session,
    sessions_of,
    talk,
    tree,
    user,
    users_of,
)
from samples import new_message


class TestFaults:
    async def test_full_disk_leaves_the_session_as_it_was_and_recovers(
        self, root: Path, log: Path
    ) -> None:
        files = Faulty()
        async with JsonFileStorage(root, files) as storage:
            lease, sessions = talk(storage), sessions_of(storage)
            sessions.put_memory(ANA, ONE, Memory(summary="old"), epoch=0)
            users_of(storage).add(user(1))
            attempts_of(storage).count([GUESSED], at=T0)
            before, found = tree(root), sessions.get(ANA, ONE)
            files.failing = {"write"}
            for change in (
                lambda: sessions.append(
                    lease, new_message(lease, MessageRole.USER, "x" * 99, ts=later(99))
                ),
                lambda: sessions.put_memory(ANA, ONE, Memory(version=1), epoch=0),
                lambda: sessions.reset(lease, ts=later(99)),
                lambda: sessions.create(new_session(TWO)),
                lambda: users_of(storage).add(user(2)),
                lambda: attempts_of(storage).count([GUESSED], at=T0),
                lambda: attempts_of(storage).clear(GUESSED.key),
            ):
                with pytest.raises(StorageFull):
                    change()
            with pytest.raises(StorageFull):
                await storage.check()
            assert tree(root) == before
            files.failing = set()
            assert sessions.get(ANA, ONE) == found
            assert (
                sessions.append(lease, new_message(lease, MessageRole.USER, "x", ts=later(99))).seq
                == 4
            )
            users_of(storage).add(user(2))
            await storage.check()

    async def test_short_writes_are_continued(self, root: Path) -> None:
        files = Faulty()
        files.failing = {"short"}
        async with JsonFileStorage(root, files) as storage:
            talk(storage)
            assert len(messages_of(storage)) == 3

    async def test_failed_write_is_not_undone_over_what_another_process_wrote(
        self, root: Path
    ) -> None:
        files = Faulty()
        async with JsonFileStorage(root, files) as storage, JsonFileStorage(root) as other:
            lease = talk(storage)
            files.failing = {"fsync", "truncate"}
            with pytest.raises(StorageUnavailable):
                sessions_of(storage).append(
                    lease, new_message(lease, MessageRole.USER, "unsure", ts=T0)
                )
            files.failing = set()
            sessions_of(storage).release(lease)
            stored = add_message(other)
            add_message(storage)
            assert stored in messages_of(storage)

    async def test_failed_replace_leaves_the_old_file(self, root: Path) -> None:
        files = Faulty()
        async with JsonFileStorage(root, files) as storage:
            lease, sessions = talk(storage), sessions_of(storage)
            users_of(storage).add(user(1))
            before = tree(root)
            files.failing = {"replace"}
            for change in (
                lambda: sessions.put_memory(ANA, ONE, Memory(), epoch=0),
                lambda: sessions.reset(lease, ts=T0),
                lambda: sessions.delete(lease),
                lambda: users_of(storage).set_password_hash(user(1).id, old="old", new="new"),
            ):
                with pytest.raises(StorageUnavailable):
                    change()
            assert tree(root) == before

    async def test_interrupted_deletion_is_invisible_and_finished_by_the_next_change(
        self, root: Path, folder: Path
    ) -> None:
        files = Faulty()
        async with JsonFileStorage(root, files) as storage:
            lease, sessions = talk(storage), sessions_of(storage)
            sessions.put_memory(ANA, ONE, Memory(summary="canary"), epoch=0)
            files.failing = {"remove"}
            with pytest.raises(StorageUnavailable):
                sessions.delete(lease)
            files.failing = set()
            with pytest.raises(NotFound):
                sessions.memory(ANA, ONE)
            assert list(sessions.page(ANA, limit=9)) == []
            assert not sessions.put_memory(ANA, ONE, Memory(version=1), epoch=0)
            assert {f.problem for f in await storage.findings()} == {Problem.LEFTOVER}
            sessions.create(new_session(TWO))
            assert [name for name in tree(folder) if ONE in name] == []

    async def test_interrupted_reset_has_emptied_the_memory_too(
        self, root: Path, log: Path
    ) -> None:
        files = Faulty()
        async with JsonFileStorage(root, files) as storage:
            lease, sessions = talk(storage), sessions_of(storage)
            sessions.put_memory(ANA, ONE, Memory(summary="old"), epoch=0)
            files.failing = {"remove"}
            with pytest.raises(StorageUnavailable):
                sessions.reset(lease, ts=T0)
            files.failing = set()
            assert sessions.memory(ANA, ONE) == Memory()
            assert sessions.put_memory(ANA, ONE, Memory(summary="new"), epoch=1)
            assert sessions.memory(ANA, ONE).summary == "new"

    @pytest.mark.skipif(not Path("/dev/full").exists(), reason="a device of Linux")
    def test_error_of_a_full_disk_is_translated(self) -> None:
        fd = os.open("/dev/full", os.O_WRONLY)
        with pytest.raises(StorageFull):
            Files().write(fd, b"x")
        Files().close(fd)
        with pytest.raises(StorageUnavailable):
            Files().write(fd, b"x")

    def test_waiting_for_a_lock_is_bounded(self, tmp_path: Path) -> None:
        path = tmp_path / "lock"
        with (
            locked(Files(), path),
            pytest.raises(StorageUnavailable),
            locked(Files(), path, wait_s=0.01),
        ):
            pass
        with locked(Files(), path, wait_s=0.01):
            pass

    async def test_store_that_is_not_open_refuses(self, root: Path) -> None:
        storage = JsonFileStorage(root)
        with pytest.raises(StorageUnavailable):
            await storage.check()
        async with storage:
            await storage.check()
        with pytest.raises(StorageUnavailable):
            await storage.transact(lambda tx: tx.roles.all())

    async def test_removed_folder_is_unavailable(self, root: Path) -> None:
        async with JsonFileStorage(root) as storage:
            shutil.rmtree(root)
            with pytest.raises(StorageUnavailable):
                await storage.check()
            with pytest.raises(StorageUnavailable):
                await storage.transact(lambda tx: tx.sessions.create(new_session()))
