"""Files of this machine that are read while others may change, replace or exchange them."""

import errno
import hashlib
import os
import stat
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import BinaryIO

from chatbot.domain.extraction import FailureReason
from chatbot.domain.ports.extraction import ExtractionFailed

_CHUNK = 1024 * 1024


@dataclass(frozen=True, slots=True, kw_only=True)
class HostFile:
    """A file below `root`, a path that the command names; or that path itself, which may be a link."""

    path: Path
    root: Path

    @property
    def has_storable_name(self) -> bool:
        """Whether the path is text: on Linux, names are bytes, which need not be UTF-8."""
        try:
            str(self.path).encode()
        except UnicodeEncodeError:
            return False
        return True

    def digest(self, *, max_bytes: int) -> str:
        """Return the SHA-256 of the file, in hexadecimal digits.

        Raises:
            ExtractionFailed: it is larger than allowed, or has become so (`FILE_TOO_LARGE`).
            OSError: it cannot be read, is a link, or is not a regular file.
        """
        with self._opened() as file:
            return _digest_of(_chunks(file, max_bytes))

    def copy(self, target: Path, *, max_bytes: int) -> str:
        """Write the file into another one, and return the digest of what was written.

        Raises:
            ExtractionFailed, OSError: like `digest`.
        """
        with self._opened() as file, target.open("xb") as copied:
            return _digest_of(_written(_chunks(file, max_bytes), copied))

    @contextmanager
    def _opened(self) -> Iterator[BinaryIO]:
        """Open the file without following links below the root, and without waiting for a pipe."""
        with open(self.path, "rb", opener=partial(_open_below, self.root)) as file:  # `opener`
            if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
                raise OSError(errno.EINVAL, "not a regular file")
            yield file


def _open_below(root: Path, name: str, flags: int) -> int:
    if sys.platform == "win32":
        return _open_unless_link(root, Path(name), flags)
    *folders, last = Path(name).relative_to(root).parts or (None,)
    if last is None:
        return os.open(name, flags | os.O_NONBLOCK)
    at = os.open(root, os.O_RDONLY | os.O_DIRECTORY)
    try:
        for folder in folders:
            inner = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW, dir_fd=at)
            os.close(at)
            at = inner
        return os.open(last, flags | os.O_NOFOLLOW | os.O_NONBLOCK, dir_fd=at)
    finally:
        os.close(at)


def _open_unless_link(root: Path, path: Path, flags: int) -> int:
    """Open a file on Windows, where folders cannot be opened, and have no pipes."""
    if any(each.is_symlink() for each in (path, *path.parents) if root in each.parents):
        raise OSError(errno.ELOOP, "a symbolic link")
    return os.open(path, flags)


def _chunks(file: BinaryIO, max_bytes: int) -> Iterator[bytes]:
    size = 0
    while chunk := file.read(_CHUNK):
        size += len(chunk)
        if size > max_bytes:
            raise ExtractionFailed(FailureReason.FILE_TOO_LARGE)
        yield chunk


def _written(chunks: Iterator[bytes], target: BinaryIO) -> Iterator[bytes]:
    for chunk in chunks:
        target.write(chunk)
        yield chunk


def _digest_of(chunks: Iterator[bytes]) -> str:
    digest = hashlib.sha256()
    for chunk in chunks:
        digest.update(chunk)
    return digest.hexdigest()
