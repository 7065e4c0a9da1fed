"""Files are private, and links, pipes and files in place of folders are refused."""
# ruff: noqa: ASYNC240 - a test may block a loop that is its own

import asyncio
import os
import stat
import subprocess
from pathlib import Path

import pytest

from chatbot.adapters.storage.json_files.storage import JsonFileStorage
from chatbot.domain.chat import (
    MessageRole,
)
from chatbot.domain.errors import (
    StorageUnavailable,
)
from chatbot.domain.memory import Memory
from json_store import (
    ANA,
    GUESSED,
    ONE,
    T0,
    TWO,
    attempts_of,
    messages_of,
    new_session,
    sessions_of,
    talk,
    user,
    users_of,
)
from samples import new_message

POSIX = pytest.mark.skipif(os.name == "nt", reason="Windows has no such rights or links")


@POSIX
class TestRightsAndLinks:
    async def test_store_files_are_readable_by_their_owner_only(self, root: Path) -> None:
        async with JsonFileStorage(root) as storage:
            talk(storage)
            sessions_of(storage).put_memory(ANA, ONE, Memory(), epoch=0)
            users_of(storage).add(user(1))
            attempts_of(storage).count([GUESSED], at=T0)
            for path in (root, *root.rglob("*")):
                expected = 0o700 if path.is_dir() else 0o600
                assert stat.S_IMODE(path.stat().st_mode) == expected, path
            assert await storage.findings() == []

    async def test_linked_files_are_refused(self, root: Path, log: Path, tmp_path: Path) -> None:
        async with JsonFileStorage(root) as storage:
            lease = talk(storage)
            elsewhere = tmp_path / "elsewhere"
            log.rename(elsewhere)
            log.symlink_to(elsewhere)
            before = elsewhere.read_bytes()
            with pytest.raises(StorageUnavailable):
                messages_of(storage)
            with pytest.raises(StorageUnavailable):
                sessions_of(storage).append(lease, new_message(lease, MessageRole.USER, "x", ts=T0))
            assert elsewhere.read_bytes() == before
            assert list(sessions_of(storage).page(ANA, limit=9)) == []

    async def test_pipe_in_place_of_a_file_does_not_block(
        self, root: Path, log: Path, folder: Path
    ) -> None:
        async with JsonFileStorage(root) as storage:
            talk(storage)
            await asyncio.to_thread(log.unlink)
            for place in (log, folder / f"{TWO}.log"):
                await asyncio.to_thread(lambda: subprocess.run(["mkfifo", place], check=True))  # noqa: B023 # it is done by then
            with pytest.raises(StorageUnavailable):
                messages_of(storage)
            assert len([f for f in await storage.findings() if ".log" in f.path]) == 2

    @pytest.mark.parametrize("name", [".", "auth", "counters", "memory", "memory/.locks"])
    async def test_linked_folders_are_refused(self, root: Path, tmp_path: Path, name: str) -> None:
        elsewhere = tmp_path / "elsewhere"
        elsewhere.mkdir()
        link = root if name == "." else root / name
        link.parent.mkdir(parents=True, exist_ok=True)
        link.symlink_to(elsewhere, target_is_directory=True)
        with pytest.raises(StorageUnavailable):
            async with JsonFileStorage(root):
                pass
        assert list(elsewhere.iterdir()) == []

    async def test_linked_owner_folder_is_refused(
        self, root: Path, folder: Path, tmp_path: Path
    ) -> None:
        async with JsonFileStorage(root) as storage:
            talk(storage)
            folder.rename(tmp_path / "elsewhere")
            folder.symlink_to(tmp_path / "elsewhere", target_is_directory=True)
            with pytest.raises(StorageUnavailable):
                messages_of(storage)
            with pytest.raises(StorageUnavailable):
                sessions_of(storage).create(new_session(TWO))
            with pytest.raises(StorageUnavailable):
                sessions_of(storage).page(ANA, limit=9)

    async def test_file_in_place_of_the_folder_is_refused(self, root: Path) -> None:
        root.write_text("not a folder", "utf-8")
        with pytest.raises(StorageUnavailable):
            async with JsonFileStorage(root):
                pass
        assert root.read_text("utf-8") == "not a folder"
