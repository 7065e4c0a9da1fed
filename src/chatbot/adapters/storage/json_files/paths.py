"""The files of a session, and times as file times."""

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import cached_property, lru_cache
from pathlib import Path
from urllib.parse import unquote

from chatbot.adapters.filesystem.atomic import WORK
from chatbot.domain.chat import SessionId
from chatbot.domain.identity import Owner

LOG, MEMORY, FIELDS, DELETED, LOCK = ".log", ".json", ".fields", ".deleted", ".lock"
LOCKS = ".locks"

_PATHS_CACHED = 1024

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)
_SAFE = frozenset("abcdefghijklmnopqrstuvwxyz0123456789_-")


def folder_name(owner: Owner) -> str:
    """Return the name of the owner's folder: portable, and different for every owner.

    Ids of legacy users may contain any character, and some file systems ignore case.
    """
    escaped = (
        char if char in _SAFE else "".join(f"%{byte:02x}" for byte in char.encode())
        for char in owner.id
    )
    return f"{owner.kind}-{''.join(escaped)}"


def owner_of(folder: str) -> Owner | None:
    """Return the owner of the folder with this name; None if it is not an owner's folder."""
    kind, _, name = folder.partition("-")
    owner = Owner(kind="user" if kind == "user" else "client", id=unquote(name))
    return owner if folder_name(owner) == folder else None


def to_ns(moment: datetime) -> int:
    """Return the time as a file time, exact to the microsecond."""
    return (moment - _EPOCH) // _MICROSECOND * 1000


def from_ns(ns: int) -> datetime:
    return _EPOCH + timedelta(microseconds=ns // 1000)


@lru_cache(maxsize=_PATHS_CACHED)
def folder_of(root: Path, owner: Owner) -> Path:
    return root / folder_name(owner)


@lru_cache(maxsize=_PATHS_CACHED)
def paths_of(root: Path, owner: Owner, session_id: SessionId) -> "SessionPaths":
    """Return the paths of a session. They are cached: joining them takes longer than a read."""
    return SessionPaths(folder_of(root, owner), owner, session_id)


@dataclass(frozen=True)
class SessionPaths:
    """The files of one session in its owner's folder."""

    folder: Path
    owner: Owner
    session_id: SessionId

    @cached_property
    def log(self) -> Path:
        return self.folder / f"{self.session_id}{LOG}"

    @cached_property
    def memory(self) -> Path:
        return self.folder / f"{self.session_id}{MEMORY}"

    @cached_property
    def fields(self) -> Path:
        return self.folder / f"{self.session_id}{FIELDS}"

    @cached_property
    def lock(self) -> Path:
        return self.folder / LOCKS / f"{self.session_id}{LOCK}"

    @property
    def work(self) -> Path:
        return self.folder / WORK

    @property
    def deleted(self) -> Path:
        """The log's name after the session is deleted and while its other files still exist."""
        return self.work / f"{self.session_id}{DELETED}"
