"""Atomic and durable file operations: writing, replacing, reading, locking."""

import logging
import secrets
import time
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import takewhile
from pathlib import Path

from chatbot.adapters.storage.json_files.files import Files
from chatbot.domain.errors import StorageFailure, StorageUnavailable

WORK = ".work"
"""Sub-folder for files that are not finished yet, so that listing a folder meets none of them."""

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
    """Write every byte, in as many pieces as the file system wants."""
    rest = memoryview(data)
    while rest:
        written = files.write(fd, bytes(rest))
        if written <= 0:
            raise StorageUnavailable("The store accepts no more bytes.")
        rest = rest[written:]


def make_durable_folder(files: Files, folder: Path) -> None:
    """Make a folder, if need be, whose name survives a power loss."""
    if files.make_folder(folder):
        files.sync_folder(folder.parent)


def make_durable_folders(files: Files, folder: Path) -> None:
    """Make a folder and those that it is in."""
    folder = folder.absolute()
    missing = takewhile(lambda path: not exists(files, path), folder.parents)
    for each in (*reversed(list(missing)), folder):
        make_durable_folder(files, each)


def write_new(files: Files, path: Path, data: bytes, *, mtime_ns: int | None = None) -> None:
    """Write a file that is not there yet, sync it and read it back; its name is not synced.

    Of a write that fails nothing stays.
    """
    fd = files.create(path)
    try:
        with opened(files, fd):
            write_all(files, fd, data)
            if mtime_ns is not None:
                files.stamp(fd, path, mtime_ns)
            files.sync(fd)
            if files.read_at(fd, len(data) + 1, 0) != data:
                raise StorageUnavailable("The store does not return what was written.")
    except StorageFailure:  # it is closed by now: Windows removes no open file
        _remove_remains(files, path)
        raise


def put(files: Files, path: Path, data: bytes, *, mtime_ns: int | None = None) -> None:
    """Replace a file atomically: readers see the old one or the new one.

    The new bytes are on the disk before they get the name, and the name is before this returns.
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
    files.sync_folder(path.parent)


def put_unsynced(files: Files, path: Path, data: bytes) -> None:
    """Replace a file, visible to readers at once, without syncing.

    It survives the end of the process. After a power failure it may be the old one, or damaged.
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
    """Hold this lock file's lock, for a short operation, across processes.

    Raises:
        StorageUnavailable: another process held it all the time, as a suspended process does.
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
    """Clean up on the way out of a failure, which must stay the error that is reported."""
    try:
        files.remove(path)
    except StorageFailure as error:
        _log.warning("%s: an unfinished file was left behind: %s", path, error.__cause__)
