"""The file system in memory does what the real one does; the real one's errors are translated."""

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from chatbot.adapters.filesystem.files import Files
from chatbot.adapters.storage.json_files.storage import JsonFileStorage
from chatbot.domain.errors import StorageFailure
from volatile_files import NO_STEPS, Tree, VolatileFiles
from write_script import SCRIPT, Writer, check

NO_FD = 999_999
FAILING: dict[str, Callable[[Files, Path], object]] = {
    "open_to_read": lambda files, file: files.open_to_read(file / "x"),
    "open_to_append": lambda files, file: files.open_to_append(file / "x"),
    "create": lambda files, file: files.create(file),
    "open_lock": lambda files, file: files.open_lock(file / "x"),
    "close": lambda files, _: files.close(NO_FD),
    "read_at": lambda files, _: files.read_at(NO_FD, 1, 0),
    "write": lambda files, _: files.write(NO_FD, b"x"),
    "truncate": lambda files, _: files.truncate(NO_FD, 0),
    "set_mtime": lambda files, file: files.set_mtime(NO_FD, file / "x", 0),
    "fsync": lambda files, _: files.fsync(NO_FD),
    "fsync_folder": lambda files, file: files.fsync_folder(file / "x"),
    "replace": lambda files, file: files.replace(file, file / "x"),
    "remove": lambda files, file: files.remove(file / "x"),
    "mkdir": lambda files, file: files.mkdir(file),
    "status": lambda files, _: files.status(NO_FD),
    "status_of": lambda files, file: files.status_of(file / "x"),
    "listdir": lambda files, file: files.listdir(file),
    "listdir_by_mtime": lambda files, file: files.listdir_by_mtime(file, ".log"),
    "listdir_by_size": lambda files, file: files.listdir_by_size(file, ".log"),
    "try_lock": lambda files, _: files.try_lock(NO_FD),
    "unlock": lambda files, _: files.unlock(NO_FD),
    "remove_locked": lambda files, file: files.remove_locked(file / "x"),
}


@pytest.mark.parametrize("step", FAILING)
def test_error_of_any_step_is_translated(tmp_path: Path, step: str) -> None:
    if os.name == "nt" and step in {"fsync_folder", "remove_locked"}:
        pytest.skip("Windows does nothing there")
    file = tmp_path / "file"
    file.write_bytes(b"")
    with pytest.raises((StorageFailure, FileNotFoundError)):
        FAILING[step](Files(), file)


def test_every_file_operation_is_made_to_fail_once() -> None:
    steps = {name for name in vars(Files) if not name.startswith("_")} - NO_STEPS
    assert steps == set(FAILING)
    assert steps | {"now_ns", "enable_kernel_fsync"} <= set(vars(VolatileFiles))


def tree_of(root: Path) -> Tree:
    return {
        path.relative_to(root).as_posix(): None
        if path.is_dir()
        else (path.read_bytes(), path.stat().st_mtime_ns)
        for path in root.rglob("*")
    }


def without_clock(tree: Tree) -> dict[str, object]:
    """Everything except the times of memory, user and lock files, which are not set."""
    return {
        path: found if found is None or path.endswith(".log") else found[0]
        for path, found in tree.items()
    }


@pytest.mark.skipif(os.name == "nt", reason="there the files of locks stay")
async def test_same_writes_leave_the_same_files_in_memory_as_on_the_disk(tmp_path: Path) -> None:
    files, trees = VolatileFiles(), []
    for root, used in ((Path("/data"), files), (tmp_path / "data", Files())):
        writer = Writer()
        async with JsonFileStorage(root, used) as storage:
            for step in SCRIPT:
                assert await writer.write(storage, step), step
            trees.append(files.tree() if used is files else tree_of(tmp_path))
            await check(storage, writer.possible)
    in_memory, on_disk = map(without_clock, trees)
    assert in_memory == on_disk
