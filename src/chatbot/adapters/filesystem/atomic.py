"""Atomic and durable file operations: writing, replacing, reading, locking."""

import logging
import secrets
import time
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import takewhile
from pathlib import Path

from chatbot.adapters.filesystem.files import Files
from chatbot.domain.errors import StorageFailure, StorageUnavailable

WORK = ".work"
"""Subfolder for unfinished files, so that a folder's listing never contains them."""

LOCK_WAIT_S = 5.0
_LOCK_POLL_S = 0.001
_log = logging.getLogger("chatbot.storage")


@contextmanager
def opened(files: Files, fd: int) -> Iterator[int]:
    """Close the file at the end."""
    try:
        yield fd
    finally:
        files.close(fd)


def write_all(files: Files, fd: int, data: bytes) -> None:
    """Write all bytes, in as many calls as it takes."""
    rest = memoryview(data)
    while rest:
        written = files.write(fd, bytes(rest))
        if written <= 0:
            raise StorageUnavailable("The store accepts no more bytes.")
        rest = rest[written:]


def make_durable_folder(files: Files, folder: Path) -> None:
    """Create a folder if it does not exist; its name is durable."""
    if files.mkdir(folder):
        files.fsync_folder(folder.parent)


def make_durable_folders(files: Files, folder: Path) -> None:
    """Create a folder and its missing parents."""
    folder = folder.absolute()
    missing = takewhile(lambda path: not exists(files, path), folder.parents)
    for each in (*reversed(list(missing)), folder):
        make_durable_folder(files, each)


def write_new(files: Files, path: Path, data: bytes, *, mtime_ns: int | None = None) -> None:
    """Write a new file, sync it and read it back; its name is not synced.

    A failed write leaves no file behind.
    """
    fd = files.create(path)
    try:
        with opened(files, fd):
            write_all(files, fd, data)
            if mtime_ns is not None:
                files.set_mtime(fd, path, mtime_ns)
            files.fsync(fd)
            if files.read_at(fd, len(data) + 1, 0) != data:
                raise StorageUnavailable("The store does not return what was written.")
    except StorageFailure:  # the file is closed by now: Windows cannot remove an open one
        _remove_remains(files, path)
        raise


def put(files: Files, path: Path, data: bytes, *, mtime_ns: int | None = None) -> None:
    """Replace a file atomically: readers see the old one or the new one.

    The contents are synced before the file gets its name, and the name before this returns.
    """
    work = path.parent / WORK
    make_durable_folder(files, work)
    unfinished = work / f"{path.name}.{secrets.token_hex(8)}"
    write_new(files, unfinished, data, mtime_ns=mtime_ns)
    try:
        files.replace(unfinished, path)
    except (StorageFailure, FileNotFoundError):
        _remove_remains(files, unfinished)
        raise
    files.fsync_folder(path.parent)


def remove_unfinished(files: Files, path: Path) -> None:
    """Remove the remains of killed writers of this file. No other writer may be active.

    With a folder as path, remove all that its writers have left.
    """
    is_folder = exists(files, path) and files.status_of(path).is_folder
    work, prefix = (path / WORK, "") if is_folder else (path.parent / WORK, f"{path.name}.")
    for name in files.listdir(work) if exists(files, work) else []:
        if name.startswith(prefix):
            files.remove(work / name)


def put_unsynced(files: Files, path: Path, data: bytes) -> None:
    """Replace a file, visible to readers at once, without syncing.

    The new contents survive the end of the process. After a power failure the file may be the old
    one, or damaged.
    """
    work = path.parent / WORK
    make_durable_folder(files, work)
    unfinished = work / f"{path.name}.{secrets.token_hex(8)}"
    try:
        with opened(files, files.create(unfinished)) as fd:
            write_all(files, fd, data)
        files.replace(unfinished, path)
    except StorageFailure:
        _remove_remains(files, unfinished)
        raise


def read(files: Files, path: Path) -> bytes:
    """Read a whole file.

    Raises:
        FileNotFoundError: the file does not exist.
    """
    with opened(files, files.open_to_read(path)) as fd:
        return files.read_at(fd, files.status(fd).size, 0)


def exists(files: Files, path: Path) -> bool:
    """Whether a file or folder with this name exists."""
    try:
        files.status_of(path)
    except FileNotFoundError:
        return False
    return True


@contextmanager
def locked(files: Files, path: Path, *, wait_s: float = LOCK_WAIT_S) -> Iterator[None]:
    """Hold the lock of a lock file for a short operation, across processes.

    Raises:
        StorageUnavailable: another process, perhaps a suspended one, held it for `wait_s`.
    """
    with opened(files, files.open_lock(path)) as fd:
        deadline = time.monotonic() + wait_s
        while not files.try_lock(fd):
            if time.monotonic() > deadline:
                raise StorageUnavailable("Another process is holding the store's lock. Try again.")
            time.sleep(_LOCK_POLL_S)
        try:
            yield
        finally:
            files.unlock(fd)


def _remove_remains(files: Files, path: Path) -> None:
    """Clean up after a failure, which stays the error that is raised."""
    try:
        files.remove(path)
    except StorageFailure as error:
        _log.warning("%s: an unfinished file was left behind: %s", path, error.__cause__)
