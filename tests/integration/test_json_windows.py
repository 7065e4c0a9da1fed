"""The store under simulated Windows rules, in memory: open files keep their names.

An open file is neither replaced nor removed; no folder is synced; names that
differ in case only are the same; lock files stay. Real ones: `TestOpenFilesOnWindows`.
"""

import random
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from chatbot.adapters.storage.json_files import storage as storage_module
from chatbot.adapters.storage.json_files.check import Problem
from chatbot.adapters.storage.json_files.storage import JsonFileStorage
from chatbot.domain.chat import Session
from chatbot.domain.errors import StorageUnavailable
from chatbot.domain.identity import Owner
from repositories import here_and_now
from volatile_files import Loss, Node, VolatileFiles, materialise
from write_script import ONE, SCRIPT, T0, Writer, check, everything

ROOT = Path("/data")


class WindowsFiles(VolatileFiles):
    """Files in memory, under the names and refusals of NTFS."""

    def __init__(self, *, has_journal: bool = True) -> None:
        super().__init__(has_journal=has_journal)

    def _key(self, name: str) -> str:
        return name.casefold()

    def _refuse_open(self, path: Path) -> None:
        if any(node is self._find(path) for node in self._fds.values()):
            raise StorageUnavailable("open") from PermissionError(str(path))

    def replace(self, source: Path, target: Path) -> None:
        self._refuse_open(source)
        if self._is_there(target):
            self._refuse_open(target)
        super().replace(source, target)

    def _remove(self, path: Path) -> None:
        if self._is_there(path):
            self._refuse_open(path)
        super()._remove(path)

    def _is_there(self, path: Path) -> bool:
        try:
            return isinstance(self._find(path), Node)
        except FileNotFoundError:
            return False

    def fsync_folder(self, folder: Path) -> None:
        pass

    def remove_locked(self, path: Path) -> None:
        pass


@contextmanager
def read_by_others(files: VolatileFiles) -> Iterator[None]:
    """Another process holds every file open except lock files."""
    paths = [Path("/") / path for path, found in files.tree().items() if found is not None]
    fds = [files.open_to_read(path.absolute()) for path in paths if path.suffix != ".lock"]
    yield
    for fd in fds:
        files.close(fd)


@pytest.fixture(autouse=True)
def one_thread(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(storage_module, "_THREADS", 1)


async def test_every_write_is_done_and_leaves_nothing_open() -> None:
    files, writer = WindowsFiles(), Writer()
    async with JsonFileStorage(ROOT, files) as storage:
        for step in SCRIPT:
            assert await writer.write(storage, step), step
        await check(storage, writer.possible)
    assert files.open_count == 0


@pytest.mark.parametrize("number", range(len(SCRIPT)))
async def test_write_beside_readers_succeeds_or_fails_completely_and_succeeds_once_they_close(
    number: int,
) -> None:
    files, writer = WindowsFiles(), Writer()
    async with JsonFileStorage(ROOT, files) as storage:
        for step in SCRIPT[:number]:
            assert await writer.write(storage, step), step
        with read_by_others(files):
            is_done = await writer.write(storage, SCRIPT[number])
        assert is_done or SCRIPT[number].name not in {"append", "ask", "answer"}
        assert everything(here_and_now(storage)) in writer.possible
        writer.settle_on(everything(here_and_now(storage)))
        for step in SCRIPT[number + is_done :]:
            await writer.write(storage, step)
        assert everything(here_and_now(storage)) in writer.possible
        await check(storage, writer.possible)
    assert files.open_count == 0


async def test_power_loss_undoes_only_renames_newest_first(
    tmp_path: Path,
) -> None:
    files, writer, rng = WindowsFiles(), Writer(), random.Random(1)
    async with JsonFileStorage(ROOT, files) as storage:
        for number, step in enumerate(SCRIPT):
            assert await writer.write(storage, step), step
            [history] = writer.histories
            before = [Writer([history[:end]]).possible[0] for end in range(len(history) + 1)]
            root = tmp_path / str(number)
            materialise(files.after(Loss(rng, 0, 1)), root)
            async with JsonFileStorage(root / "data") as left:
                found = everything(here_and_now(left))
                assert {f.problem for f in await left.findings()} <= {Problem.LEFTOVER}
            newest = max(n for n, each in enumerate(before) if each == found)
            undone = {step.name for step, _ in history[newest:]}
            assert undone <= {
                "create",
                "put memory",
                "title",
                "trim",
                "reset",
                "delete",
                "add user",
                "new password",
            }


async def test_owners_whose_ids_differ_in_case_do_not_see_each_other() -> None:
    lower, upper = Owner(kind="user", id="ana"), Owner(kind="user", id="ANA")
    files = WindowsFiles()
    async with JsonFileStorage(ROOT, files) as storage:
        sessions = here_and_now(storage).sessions
        for owner in (lower, upper):
            sessions.create(Session(id=ONE, owner=owner, title="", created_at=T0, updated_at=T0))
            assert [found.owner for found in sessions.page(owner, limit=9)] == [owner]


def test_windows_file_name_ignores_case() -> None:
    files = WindowsFiles()
    files.close(files.create(Path("/A").absolute()))
    with pytest.raises(StorageUnavailable):
        files.create(Path("/a").absolute())
