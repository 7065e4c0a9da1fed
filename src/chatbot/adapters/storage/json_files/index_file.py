"""The search index of a folder: `index.db`, an SQLite file that is derived from the other files.

It is always consistent, but after a power failure it may be older than they are. A damaged file, or
one of another version, is rebuilt under another name: other processes may still have the old one
open, and SQLite removes the log of a closed file by its name.
"""

import logging
import re
import sqlite3
from collections.abc import Callable
from contextlib import ExitStack, suppress
from pathlib import Path
from threading import Lock

from chatbot.adapters.filesystem.atomic import exists, locked
from chatbot.adapters.filesystem.files import Files
from chatbot.adapters.storage.json_files.index_session import IndexSession, OtherVersion
from chatbot.domain.errors import StorageFailure, StorageFull, StorageUnavailable
from chatbot.domain.ports.storage import Found

INDEX, INDEX_LOCK = "index.db", "index.lock"
_NAME = re.compile(r"index(?:\.(\d+))?\.db")
_DAMAGED = ("SQLITE_CORRUPT", "SQLITE_NOTADB")
_FULL = ("SQLITE_FULL", "SQLITE_IOERR_SHMSIZE")
_SUFFIXES = ("", "-wal", "-shm")
_log = logging.getLogger("chatbot.storage")


class _Damaged(Exception):
    """The file can no longer be used."""

    def __init__(self, path: Path, error: sqlite3.Error) -> None:
        super().__init__(str(error))
        self.path = path


class IndexFile:
    """The file of a folder, for all threads. It is created when it is first needed."""

    def __init__(self, root: Path, files: Files) -> None:
        self._root, self._files = root, files
        self._idle: list[IndexSession] = []
        self._lock = Lock()

    def is_made(self) -> bool:
        return self._path() is not None

    def paths(self) -> list[Path]:
        """The file and those that SQLite keeps beside it, as far as they exist."""
        path = self._path()
        named = [] if path is None else [path.with_name(path.name + each) for each in _SUFFIXES]
        return [each for each in named if exists(self._files, each)]

    def identity(self) -> tuple[Path, int] | None:
        """The identity of the file, which differs from that of a rebuilt one; None if there is none."""
        path = self._path()
        return None if path is None else (path, path.stat().st_ino)

    def read(self, work: Callable[[IndexSession], Found]) -> Found:
        """Do the work on one state of the file."""
        return self._attempt(lambda: self._do("BEGIN", work))

    def write(self, work: Callable[[IndexSession], Found], *, erases: bool = False) -> Found:
        """Do the work in one transaction. Erased data is also removed from the file."""

        def written() -> Found:
            return self._do("BEGIN IMMEDIATE", work, erases=erases)

        return self._attempt(written)

    def close(self) -> None:
        idle, self._idle = self._idle, []
        for session in idle:
            session.raw.close()

    def _attempt(self, work: Callable[[], Found]) -> Found:
        """Do the work; retry on a new file if this one is damaged."""
        try:
            return work()
        except _Damaged as damaged:
            self._replace(damaged)
        try:
            return work()
        except _Damaged as damaged:
            raise StorageUnavailable("The search index cannot be read or written.") from damaged

    def _do(
        self, begin: str, work: Callable[[IndexSession], Found], *, erases: bool = False
    ) -> Found:
        session = self._take()
        with ExitStack() as failure:
            failure.callback(session.raw.close)  # which undoes it
            try:
                found = session.transact(begin, work, erases=erases)
            except sqlite3.Error as error:
                raise _own(session.path, error) from error
            failure.pop_all()
        with self._lock:
            self._idle.append(session)
        return found

    def _take(self) -> IndexSession:
        with self._lock:
            while self._idle:
                session = self._idle.pop()
                if session.is_current():
                    return session
                session.raw.close()
        return self._connected()

    def _connected(self) -> IndexSession:
        with locked(self._files, self._root / INDEX_LOCK):
            path = self._path() or self._made(self._root / INDEX)
            self._files.close(self._files.open_to_read(path))  # refuses a symbolic link
            session = IndexSession(path)
            try:
                session.prepare()
            except sqlite3.Error as error:
                session.raw.close()
                raise _own(path, error) from error
            return session

    def _made(self, path: Path) -> Path:
        self._files.close(self._files.create(path))
        return path

    def _path(self) -> Path | None:
        """The newest file, if there is one."""
        numbered = self._numbered()
        return self._root / numbered[max(numbered)] if numbered else None

    def _numbered(self) -> dict[int, str]:
        with suppress(FileNotFoundError):
            names = self._files.listdir(self._root)
            return {int(m[1] or 0): name for name in names if (m := _NAME.fullmatch(name))}
        return {}

    def _replace(self, damaged: _Damaged) -> None:
        """Create a new file beside the damaged one, and remove that."""
        with locked(self._files, self._root / INDEX_LOCK):
            numbered = self._numbered()
            last = max(numbered, default=0)
            if not numbered or self._root / numbered[last] != damaged.path:
                return  # another process was first
            _log.warning("%s: the search index is rebuilt: %s", damaged.path, damaged)
            self._made(self._root / f"index.{last + 1}.db")
            for name in numbered.values():
                for suffix in _SUFFIXES:
                    self._files.remove(self._root / f"{name}{suffix}")


def _own(path: Path, error: sqlite3.Error) -> StorageFailure | _Damaged:
    name = getattr(error, "sqlite_errorname", None) or ""
    if isinstance(error, OtherVersion) or name.startswith(_DAMAGED):
        return _Damaged(path, error)
    if name.startswith(_FULL):
        return StorageFull("The store has no space left.")
    return StorageUnavailable("The search index cannot be read or written.")
