"""Single system calls on files. The stores use no others, so that tests can replace them.

What differs between the systems is handled here:

- Syncing a folder: not possible on Windows; NTFS journals file names by itself.
- `O_NOFOLLOW`: missing on Windows, where a path is checked for a symbolic link before it is opened.
- Modes 0600 and 0700: Windows keeps the permissions of the parent folder.
- macOS: `fsync` leaves data in the disk's own cache, `F_FULLFSYNC` does not (`man 2 fsync`).
- Replacing or removing an open file: Windows refuses it, so it is retried for half a second.
"""

import asyncio
import errno
import os
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from filelock import lock_descriptor, unlock_descriptor

from chatbot.adapters.filesystem.file_status import Status
from chatbot.adapters.filesystem.kernel_aio import KernelAio
from chatbot.domain.errors import StorageFull, StorageUnavailable

_NO_SPACE = {errno.ENOSPC, errno.EFBIG, getattr(errno, "EDQUOT", errno.ENOSPC)}
"""The disk is full, a file may not grow (`ulimit -f`), or the account has used up its share."""
_FLAGS = 0
for _flag in ("O_NOFOLLOW", "O_NONBLOCK", "O_CLOEXEC", "O_BINARY"):  # a pipe is not waited for
    _FLAGS |= getattr(os, _flag, 0)
_ENTRIES_AT_ONCE, _PAUSE_S = 512, 0.002
_TRIES = 50  # Windows: half a second


class _Translated:
    """Translates an `OSError`. A missing file is not translated: the caller decides what it means.

    A class, because a `contextlib` generator costs more than many of the wrapped calls.
    """

    def __enter__(self) -> None:
        pass

    def __exit__(self, _: object, error: BaseException | None, __: object) -> None:
        if not isinstance(error, OSError) or isinstance(error, FileNotFoundError):
            return
        if error.errno in _NO_SPACE:
            raise StorageFull("The store has no space left.") from error
        raise StorageUnavailable("The store cannot be read or written.") from error


translated = _Translated()


def _retried_while_open(change: Callable[[], object]) -> None:
    """Change a file's name; on Windows, retry while another process has the file open."""
    for _ in range(_TRIES if sys.platform == "win32" else 0):
        try:
            change()
        except PermissionError:
            time.sleep(0.01)
        else:
            return
    change()


class Files:
    """System calls on files and folders. Making the results durable is up to the caller.

    All methods raise `StorageUnavailable` or `StorageFull`; those that need an existing file
    raise `FileNotFoundError` if there is none. None follows a symbolic link as the last component.
    """

    _kernel: KernelAio | None = None

    def open_to_read(self, path: Path) -> int:
        return self._open(path, os.O_RDONLY)

    def open_to_append(self, path: Path) -> int:
        """Open for reading anywhere and writing at the end."""
        return self._open(path, os.O_RDWR | os.O_APPEND)

    def create(self, path: Path) -> int:
        """Create a new file that only its owner can read."""
        return self._open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL)

    def open_lock(self, path: Path) -> int:
        """Open a lock file; create it if it does not exist."""
        return self._open(path, os.O_RDWR | os.O_CREAT)

    def _open(self, path: Path, flags: int) -> int:
        with translated:
            if sys.platform == "win32" and path.is_symlink():
                raise OSError(errno.ELOOP, "a symbolic link", str(path))
            return os.open(path, flags | _FLAGS, 0o600)

    def close(self, fd: int) -> None:
        with translated:
            os.close(fd)

    def read_at(self, fd: int, length: int, offset: int) -> bytes:
        """Read `length` bytes, fewer only at the end of the file."""
        with translated:
            found = self._read_once(fd, length, offset)
            more = found
            while more and len(found) < length:
                more = self._read_once(fd, length - len(found), offset + len(found))
                found += more
            return found

    def _read_once(self, fd: int, length: int, offset: int) -> bytes:
        if sys.platform == "win32":
            os.lseek(fd, offset, os.SEEK_SET)
            return os.read(fd, length)
        return os.pread(fd, length, offset)

    def write(self, fd: int, data: bytes) -> int:
        """Write as much as fits; returns the number of bytes written."""
        with translated:
            return os.write(fd, data)

    def truncate(self, fd: int, length: int) -> None:
        with translated:
            os.ftruncate(fd, length)

    def set_mtime(self, fd: int, path: Path, mtime_ns: int) -> None:
        """Set the time of the last change, by which the store orders sessions."""
        with translated:
            target = fd if os.utime in os.supports_fd else path
            os.utime(target, ns=(mtime_ns, mtime_ns))

    def fsync(self, fd: int) -> None:
        """Return when the file's data and length are on the disk."""
        with translated:
            if sys.platform == "darwin":
                import fcntl  # noqa: PLC0415 - there is none on Windows

                fcntl.fcntl(fd, fcntl.F_FULLFSYNC)
            elif sys.platform == "win32":
                os.fsync(fd)
            else:
                os.fdatasync(fd)

    def enable_kernel_fsync(self) -> None:
        """Enable `kernel_fsync` for the running event loop, if the system supports it."""
        if sys.platform == "linux":
            with suppress(OSError):
                self._kernel = KernelAio()

    def disable_kernel_fsync(self) -> None:
        kernel, self._kernel = self._kernel, None
        if kernel is not None:
            kernel.close()

    def kernel_fsync(self, fd: int) -> "asyncio.Future[None] | None":
        """Start a sync in the kernel, which needs no thread; None if it cannot be started now."""
        if self._kernel is None:
            return None
        with suppress(OSError):
            return self._kernel.fsync(fd)
        return None

    def fsync_folder(self, folder: Path) -> None:
        """Return when the names in the folder are on the disk."""
        if sys.platform == "win32":
            return
        with translated:
            fd = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | _FLAGS)
            try:
                os.fsync(fd)
            finally:
                os.close(fd)

    def replace(self, source: Path, target: Path) -> None:
        """Rename a file; a file that has the name already is replaced atomically."""
        with translated:
            _retried_while_open(lambda: source.replace(target))

    def remove(self, path: Path) -> None:
        """Remove a file; a no-op if it does not exist."""
        with translated:
            _retried_while_open(lambda: path.unlink(missing_ok=True))

    def mkdir(self, folder: Path) -> bool:
        """Create a folder that only its owner can access; returns whether it is new.

        Raises:
            StorageUnavailable: the name belongs to something else, or to a symbolic link.
        """
        with translated:
            try:
                folder.mkdir(mode=0o700)
            except FileExistsError:
                if not self.status_of(folder).is_folder:
                    raise
                return False
            return True

    def status(self, fd: int) -> Status:
        with translated:
            return _status(os.fstat(fd))

    def status_of(self, path: Path) -> Status:
        """Returns the status of this name; for a symbolic link, that of the link itself."""
        with translated:
            return _status(path.lstat())

    def listdir(self, folder: Path) -> list[str]:
        """Return the names in a folder, in no particular order."""
        with translated:
            return os.listdir(folder)  # noqa: PTH208 - pathlib's takes four times as long

    def listdir_by_mtime(self, folder: Path, *suffixes: str) -> list[tuple[str, int]]:
        """Return the files that end in one of `suffixes` with their times in ns, in no particular order."""
        found = self.listdir_by_size(folder, *suffixes)
        return [(name, mtime_ns) for name, (_, mtime_ns) in found]

    def listdir_by_size(self, folder: Path, *suffixes: str) -> list[tuple[str, tuple[int, int]]]:
        """Return the files that end in one of `suffixes` with their sizes and times in ns.

        Pauses after every 512 entries, so that a large folder does not starve other threads of the
        interpreter's lock.
        """
        found = []
        with translated, os.scandir(folder) as entries:
            for number, entry in enumerate(entries, 1):
                if number % _ENTRIES_AT_ONCE == 0:
                    time.sleep(_PAUSE_S)
                name = entry.name
                if not name.endswith(suffixes) or not entry.is_file(follow_symlinks=False):
                    continue
                try:
                    status = entry.stat(follow_symlinks=False)
                    found.append((name, (status.st_size, status.st_mtime_ns)))
                except FileNotFoundError:
                    continue  # removed since the folder was read
        return found

    def try_lock(self, fd: int) -> bool:
        """Try to acquire the kernel's lock on an open file; returns whether it succeeded.

        The lock excludes other processes and other descriptors of this one, and ends with the
        process.
        """
        with translated:
            return lock_descriptor(fd, blocking=False)

    def unlock(self, fd: int) -> None:
        with translated:
            unlock_descriptor(fd)

    def remove_locked(self, path: Path) -> None:
        """Remove a lock file while its lock is held.

        Windows cannot remove open files: the empty file stays there.
        """
        if sys.platform != "win32":
            self.remove(path)

    def now_ns(self) -> int:
        """Return the current time of the clock that sets file times."""
        return time.time_ns()


def _status(found: os.stat_result) -> Status:
    return Status(found.st_size, found.st_mtime_ns, found.st_ino, found.st_mode, found.st_nlink)
